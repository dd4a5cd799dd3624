package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// metadataOf asks for topics by name; no names at all is null.
func metadataOf(c *rawConn, version int16, names ...string) *kmsg.MetadataResponse {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	for _, n := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &n
		req.Topics = append(req.Topics, t)
	}
	return do[*kmsg.MetadataResponse](c, req, version)
}

func names(resp *kmsg.MetadataResponse) []string {
	var list []string
	for _, t := range resp.Topics {
		list = append(list, orEmpty(t.Topic))
	}
	return list
}

func wantEqual(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func TestTrap18_AllTopicsAndNone(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		b.topic("y", 1)
		c := b.dial()
		empty := func() *kmsg.MetadataRequest {
			req := kmsg.NewPtrMetadataRequest()
			req.Topics = []kmsg.MetadataRequestTopic{}
			return req
		}
		wantEqual(t, "version 0, []", names(do[*kmsg.MetadataResponse](c, empty(), 0)), []string{"x", "y"})
		for v := int16(1); v <= 13; v++ {
			wantEqual(t, fmt.Sprint("version ", v, ", null"), names(metadataOf(c, v)), []string{"x", "y"})
			wantEqual(t, fmt.Sprint("version ", v, ", []"), len(do[*kmsg.MetadataResponse](c, empty(), v).Topics), 0)
		}
		// Up to version 3 there is no field that forbids creation, so it is allowed.
		for v := int16(0); v <= 3; v++ {
			name := fmt.Sprint("auto", v)
			wantEqual(t, name, metadataOf(c, v, name).Topics[0].ErrorCode, 0)
		}
		for v := int16(4); v <= 13; v++ {
			wantEqual(t, "not allowed", metadataOf(c, v, "auto").Topics[0].ErrorCode, codeUnknownTopicOrPartition)
		}
	})
}

func TestTrap19_UnknownAndInvalidTopics(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		for v := int16(0); v <= 13; v++ {
			resp := metadataOf(c, v, "unknown", "not/valid", "..", "")
			wantEqual(t, fmt.Sprint("names in version ", v), names(resp), []string{"unknown", "not/valid", "..", ""})
			wantEqual(t, "codes", codesOf(resp), []int16{codeUnknownTopicOrPartition, codeInvalidTopic, codeInvalidTopic, codeInvalidTopic})
			for _, mt := range resp.Topics {
				wantEqual(t, "partitions", len(mt.Partitions), 0)
				wantEqual(t, "operations", mt.AuthorizedOperations, -2147483648)
			}
			if v >= 1 {
				wantEqual(t, "controller", resp.ControllerID, 1)
			}
			if v >= 2 {
				wantEqual(t, "cluster id", orEmpty(resp.ClusterID), "box-cluster-000000000")
			}
		}
	}, func(b *box) { b.set.AutoCreateTopics = false })
	inBox(t, func(t *testing.T, b *box) {
		// With creation, an invalid name is still refused, and one that is asked for twice is answered once.
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = true
		for _, n := range []string{"good", "not/valid", "good"} {
			mt := kmsg.NewMetadataRequestTopic()
			mt.Topic = &n
			req.Topics = append(req.Topics, mt)
		}
		resp := do[*kmsg.MetadataResponse](b.dial(), req, 13)
		wantEqual(t, "names", names(resp), []string{"good", "not/valid"})
		wantEqual(t, "codes", codesOf(resp), []int16{0, codeInvalidTopic})
		wantEqual(t, "partitions", len(resp.Topics[0].Partitions), 2)
	})
}

func codesOf(resp *kmsg.MetadataResponse) []int16 {
	var list []int16
	for _, t := range resp.Topics {
		list = append(list, t.ErrorCode)
	}
	return list
}

func TestTrap21_LeadersAreAmongTheBrokers(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.ctl.addBroker(2)
		b.ctl.addBroker(3)
		b.topic("spread", 6)
		c := b.dial()
		leaders := func(resp *kmsg.MetadataResponse) (list []int32) {
			alive := map[int32]bool{}
			for _, br := range resp.Brokers {
				alive[br.NodeID] = true
				if br.Host == "" || br.Host == "0.0.0.0" || br.Port == 0 {
					t.Errorf("advertised %v", br)
				}
			}
			for _, p := range resp.Topics[0].Partitions {
				if p.Leader >= 0 && !alive[p.Leader] {
					t.Errorf("version %d: partition %d is led by %d, which is not in the answer", resp.Version, p.Partition, p.Leader)
				}
				list = append(list, p.Leader)
			}
			return list
		}
		for v := int16(0); v <= 13; v++ {
			all := leaders(metadataOf(c, v, "spread"))
			for id := int32(1); id <= 3; id++ {
				if !slices.Contains(all, id) {
					t.Errorf("broker %d leads nothing of %v", id, all)
				}
			}
		}
		b.ctl.fence(2)
		for v := int16(0); v <= 13; v++ {
			resp := metadataOf(c, v, "spread")
			leaders(resp)
			wantEqual(t, "brokers", len(resp.Brokers), 2)
			for _, p := range resp.Topics[0].Partitions {
				down := b.ctl.Image().TopicByName("spread").Partitions[p.Partition].Replicas[0] == 2
				switch {
				case !down:
					wantEqual(t, "code", p.ErrorCode, 0)
				case v == 0:
					wantEqual(t, "leader, code, replicas", []any{p.Leader, p.ErrorCode, p.Replicas}, []any{-1, codeLeaderNotAvailable, []int32{}})
				default:
					wantEqual(t, "leader, code, replicas", []any{p.Leader, p.ErrorCode, p.Replicas}, []any{-1, codeLeaderNotAvailable, []int32{2}})
					if v >= 5 {
						wantEqual(t, "offline", p.OfflineReplicas, []int32{2})
					}
				}
			}
		}
	})
}

func TestTrap22_LeaderEpochsRise(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		epoch := func() int32 { return metadataOf(b.dial(), 13, "x").Topics[0].Partitions[0].LeaderEpoch }
		first := epoch()
		if first < 0 {
			t.Errorf("leader epoch %d of a partition that has a leader", first)
		}
		b.stop()
		b.start()
		if second := epoch(); second <= first {
			t.Errorf("leader epoch %d after a restart, before it %d", second, first)
		}
		wantEqual(t, "before version 7", metadataOf(b.dial(), 6, "x").Topics[0].Partitions[0].LeaderEpoch, -1)
	})
}

func TestMetadataByID(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		id := b.topic("x", 1)
		c := b.dial()
		ask := func(version int16, id metadata.ID) kmsg.MetadataResponseTopic {
			req := kmsg.NewPtrMetadataRequest()
			mt := kmsg.NewMetadataRequestTopic()
			mt.TopicID = id
			if version < 10 {
				mt.Topic = kmsg.StringPtr("x")
			}
			req.Topics = append(req.Topics, mt)
			return do[*kmsg.MetadataResponse](c, req, version).Topics[0]
		}
		wantEqual(t, "version 9", ask(9, id).ErrorCode, 0) // it has no ids
		wantEqual(t, "version 10", ask(10, id).ErrorCode, codeInvalidRequest)
		wantEqual(t, "version 11", ask(11, id).ErrorCode, codeInvalidRequest)
		for v := int16(12); v <= 13; v++ {
			found := ask(v, id)
			wantEqual(t, "found", []any{found.ErrorCode, *found.Topic, found.TopicID, len(found.Partitions)}, []any{0, "x", id, 1})
			missing := ask(v, metadata.ID{9})
			wantEqual(t, "missing", []any{missing.ErrorCode, missing.Topic, missing.TopicID}, []any{codeUnknownTopicID, (*string)(nil), metadata.ID{9}})
			wantEqual(t, "neither", ask(v, metadata.ID{}).ErrorCode, codeUnknownTopicID)
		}
		for v := int16(10); v <= 13; v++ {
			wantEqual(t, "id in the answer", metadataOf(c, v, "x").Topics[0].TopicID, id)
		}
	})
}

func TestMetadataAuthorizedOperations(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		c := b.dial()
		for v := int16(8); v <= 13; v++ {
			req := kmsg.NewPtrMetadataRequest()
			req.IncludeTopicAuthorizedOperations, req.IncludeClusterAuthorizedOperations = true, true
			resp := do[*kmsg.MetadataResponse](c, req, v)
			wantEqual(t, "topic", resp.Topics[0].AuthorizedOperations, 3576) // read, write, create, delete, alter, describe and the configs
			if v <= 10 {
				wantEqual(t, "cluster", resp.AuthorizedOperations, 8096)
			}
		}
	})
}

func TestMetadataCreatesTopics(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		cl := b.client()
		defer cl.Close()
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = true
		for _, n := range []string{"new", group.Topic} {
			mt := kmsg.NewMetadataRequestTopic()
			mt.Topic = &n
			req.Topics = append(req.Topics, mt)
		}
		resp, err := req.RequestWith(t.Context(), cl)
		b.must(err)
		for i, partitions := range []int{2, 5} {
			mt := resp.Topics[i]
			wantEqual(t, "code, partitions, internal", []any{mt.ErrorCode, len(mt.Partitions), mt.IsInternal}, []any{0, partitions, i == 1})
			for _, p := range mt.Partitions {
				wantEqual(t, "leader", p.Leader, 1) // at once, in the first answer
			}
		}
		wantEqual(t, "cleanup.policy", b.ctl.Image().TopicByName(group.Topic).Configs["cleanup.policy"], "compact")
	})
}

func TestMetadataWithoutAController(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		b.ctl.setLost(context.DeadlineExceeded)
		began := time.Now()
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = true
		for _, n := range []string{"x", "new"} {
			mt := kmsg.NewMetadataRequestTopic()
			mt.Topic = &n
			req.Topics = append(req.Topics, mt)
		}
		resp := do[*kmsg.MetadataResponse](b.dial(), req, 13)
		wantEqual(t, "codes", codesOf(resp), []int16{0, codeLeaderNotAvailable})
		if d := time.Since(began); d > autoCreateTimeout {
			t.Errorf("took %v", d)
		}
	})
}

func TestMetadataRefusedCreation(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = true
		mt := kmsg.NewMetadataRequestTopic()
		mt.Topic = kmsg.StringPtr("new")
		req.Topics = append(req.Topics, mt)
		resp := do[*kmsg.MetadataResponse](b.dial(), req, 13)
		wantEqual(t, "codes", codesOf(resp), []int16{38}) // INVALID_REPLICATION_FACTOR
	}, func(b *box) { b.set.DefaultReplicationFactor = 3 })
}

func TestDescribeCluster(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.ctl.addBroker(2)
		b.ctl.fence(2)
		c := b.dial()
		for v := int16(0); v <= 2; v++ {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.IncludeClusterAuthorizedOperations, req.IncludeFencedBrokers = true, v == 2
			resp := do[*kmsg.DescribeClusterResponse](c, req, v)
			wantEqual(t, "cluster, controller, operations", []any{resp.ClusterID, resp.ControllerID, resp.ClusterAuthorizedOperations}, []any{"box-cluster-000000000", 1, 8096})
			var brokers []string
			for _, br := range resp.Brokers {
				brokers = append(brokers, fmt.Sprint(br.NodeID, br.Host, br.Port, br.IsFenced))
			}
			want := []string{"1b19092 false"}
			if v == 2 {
				want = append(want, "2b29092 true")
			}
			wantEqual(t, "brokers", brokers, want)
		}
		req := kmsg.NewPtrDescribeClusterRequest()
		wantEqual(t, "not asked", do[*kmsg.DescribeClusterResponse](c, req, 2).ClusterAuthorizedOperations, -2147483648)
		for kind, want := range map[int8]int16{2: codeMismatchedEndpointType, 3: codeUnsupportedEndpointType} {
			req.EndpointType = kind
			wantEqual(t, "endpoint", do[*kmsg.DescribeClusterResponse](c, req, 1).ErrorCode, want)
		}
	})
}

func TestDescribeQuorum(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		ask := func(version int16, topic string, partition int32) *kmsg.DescribeQuorumResponse {
			req := kmsg.NewPtrDescribeQuorumRequest()
			rt := kmsg.NewDescribeQuorumRequestTopic()
			rp := kmsg.NewDescribeQuorumRequestTopicPartition()
			rp.Partition = partition
			rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			return do[*kmsg.DescribeQuorumResponse](c, req, version)
		}
		for v := int16(0); v <= 2; v++ {
			for _, topic := range []string{"__cluster_metadata", "__raft_metadata"} {
				resp := ask(v, topic, 0)
				p := resp.Topics[0].Partitions[0]
				wantEqual(t, "partition", []any{p.ErrorCode, p.LeaderID, p.LeaderEpoch, p.HighWatermark, len(p.CurrentVoters), p.CurrentVoters[1].LogEndOffset}, []any{0, 1, 7, 42, 2, 40})
				if v >= 1 {
					wantEqual(t, "times", p.CurrentVoters[1].LastFetchTimestamp, 1000)
				}
				if v >= 2 {
					wantEqual(t, "nodes", fmt.Sprint(resp.Nodes[1].NodeID, resp.Nodes[1].Listeners[0].Host, resp.Nodes[1].Listeners[0].Port), "2b25002")
				}
			}
			wantEqual(t, "another topic", ask(v, "x", 0).Topics[0].Partitions[0].ErrorCode, codeUnknownTopicOrPartition)
			wantEqual(t, "another partition", ask(v, "__cluster_metadata", 1).Topics[0].Partitions[0].ErrorCode, codeUnknownTopicOrPartition)
		}
		b.ctl.setLost(errors.New("nobody answers"))
		wantEqual(t, "without a controller", ask(2, "__cluster_metadata", 0).ErrorCode, codeRequestTimedOut)
		b.ctl.setLost(nil)
		synctest.Wait()
	})
}
