package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/vfs"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

func find(c *rawConn, version int16, keys ...string) *kmsg.FindCoordinatorResponse {
	c.t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKeys = keys
	if version < 4 {
		req.CoordinatorKey = keys[0]
	}
	return do[*kmsg.FindCoordinatorResponse](c, req, version)
}

func TestTrap45_FindCoordinatorAnswersEveryKey(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		for v := int16(0); v <= 3; v++ {
			resp := find(c, v, "g")
			wantEqual(t, "one", []any{resp.ErrorCode, resp.NodeID, resp.Host, resp.Port}, []any{0, 1, "b1", boxPort})
		}
		for v := int16(4); v <= 6; v++ {
			resp := find(c, v, "g", "h", "")
			wantEqual(t, "keys", len(resp.Coordinators), 3)
			for i, key := range []string{"g", "h", ""} {
				one := resp.Coordinators[i]
				wantEqual(t, "one", []any{one.Key, one.ErrorCode, one.NodeID, one.Host, one.Port}, []any{key, 0, 1, "b1", boxPort})
			}
		}
		for v := int16(1); v <= 6; v++ {
			for kind := int8(1); kind <= 3; kind++ {
				req := kmsg.NewPtrFindCoordinatorRequest()
				req.CoordinatorKey, req.CoordinatorKeys, req.CoordinatorType = "tx", []string{"tx"}, kind
				resp := do[*kmsg.FindCoordinatorResponse](c, req, v)
				errorCode, why, node := resp.ErrorCode, resp.ErrorMessage, resp.NodeID
				if v >= 4 {
					errorCode, why, node = resp.Coordinators[0].ErrorCode, resp.Coordinators[0].ErrorMessage, resp.Coordinators[0].NodeID
				}
				wantEqual(t, "transactional", []any{errorCode, node}, []any{codeInvalidRequest, -1})
				if why == nil || !strings.Contains(*why, "not supported") {
					t.Errorf("message %v", why)
				}
			}
		}
	})
}

// TestTrap45_TheCoordinatorThatIsFoundIsLoaded: sarama and kafka-go do not ask again at COORDINATOR_LOAD_IN_PROGRESS, so that
// the first group of a cluster, whose question has the topic made, and the first after a start must not meet it.
func TestTrap45_TheCoordinatorThatIsFoundIsLoaded(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		for life := range 2 {
			for v := int16(0); v <= 6; v += 3 {
				c, g := b.dial(), fmt.Sprint("g", v)
				resp := find(c, v, g)
				if v >= 4 {
					resp.ErrorCode = resp.Coordinators[0].ErrorCode
				}
				wantEqual(t, "found", resp.ErrorCode, 0)
				wantEqual(t, fmt.Sprint("joined in life ", life), do[*kmsg.JoinGroupResponse](c, consumerJoin(g, ""), 5).ErrorCode, codeMemberIDRequired)
			}
			b.stop()
			b.mount(b.fs)
			b.disk.Inject(vfs.Rule{Ops: vfs.OpRead | vfs.OpOpen, Path: "*.log", Delay: 100 * time.Millisecond})
			b.start()
		}
	}, func(b *box) {
		b.flush = 50 * time.Millisecond // of the new logs, until which shards load
		b.mount(b.fs)
	})
}

// TestOffsetsTopicIsSpread: the first question for a group creates the topic over all brokers, and
// groups on a broker that is down wait for it.
func TestOffsetsTopicIsSpread(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.ctl.addBroker(2)
		b.ctl.addBroker(3)
		c := b.dial()
		nodes := map[int32]string{}
		for i := range 30 {
			key := fmt.Sprint("group-", i)
			one := find(c, 6, key).Coordinators[0]
			wantEqual(t, "code", one.ErrorCode, 0)
			topic := b.ctl.Image().TopicByName(group.Topic)
			wantEqual(t, "leader", one.NodeID, topic.Partitions[group.PartitionFor(key, 5)].Leader)
			nodes[one.NodeID] = key
		}
		wantEqual(t, "brokers", len(nodes), 3)
		b.ctl.fence(2)
		one := find(c, 6, nodes[2]).Coordinators[0]
		wantEqual(t, "on the dead broker", []any{one.ErrorCode, one.NodeID}, []any{codeCoordinatorNotAvailable, -1})
		wantEqual(t, "on another", find(c, 6, nodes[3]).Coordinators[0].ErrorCode, 0)
		b.ctl.unfence(2)
		wantEqual(t, "it has come back", find(c, 6, nodes[2]).Coordinators[0].NodeID, 2)

		// This broker coordinates only what it leads.
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group = nodes[2]
		wantEqual(t, "another's group", do[*kmsg.HeartbeatResponse](c, req, 4).ErrorCode, codeNotCoordinator)
		topic := b.ctl.Image().TopicByName(group.Topic)
		wantEqual(t, "settings", topic.Configs, map[string]string{
			"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600", "write.caching": "false",
		})
	})
}

func TestFindCoordinatorWithoutAController(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.ctl.setLost(context.DeadlineExceeded)
		wantEqual(t, "code", find(b.dial(), 6, "g").Coordinators[0].ErrorCode, codeCoordinatorNotAvailable)
	})
}

// consumerJoin is a JoinGroup of a consumer.
func consumerJoin(groupID, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = groupID, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 60_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", []byte("meta")
	req.Protocols = append(req.Protocols, p)
	return req
}

// joinUntil joins in a version with the detour over MEMBER_ID_REQUIRED where the version has it.
func joinUntil(c *rawConn, version int16, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	c.t.Helper()
	resp := do[*kmsg.JoinGroupResponse](c, req, version)
	if resp.ErrorCode == codeMemberIDRequired {
		req.MemberID = resp.MemberID
		resp = do[*kmsg.JoinGroupResponse](c, req, version)
	}
	return resp
}

func syncAs(c *rawConn, version int16, groupID, member string, generation int32, assign map[string]string) *kmsg.SyncGroupResponse {
	c.t.Helper()
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = groupID, member, generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	for m, a := range assign {
		ga := kmsg.NewSyncGroupRequestGroupAssignment()
		ga.MemberID, ga.MemberAssignment = m, []byte(a)
		req.GroupAssignment = append(req.GroupAssignment, ga)
	}
	return do[*kmsg.SyncGroupResponse](c, req, version)
}

// TestGroupVersions lives a member's life in every version of the group APIs.
func TestGroupVersions(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		for v := int16(0); v <= 10; v++ {
			g := fmt.Sprint("group-", v)
			j := joinUntil(c, min(v, 9), consumerJoin(g, ""))
			wantEqual(t, g, []any{j.ErrorCode, j.Generation, orEmpty(j.Protocol), j.LeaderID, len(j.Members)}, []any{0, 1, "range", j.MemberID, 1})
			wantEqual(t, "member", []any{j.Members[0].MemberID, string(j.Members[0].ProtocolMetadata)}, []any{j.MemberID, "meta"})
			if v >= 7 {
				wantEqual(t, "type", orEmpty(j.ProtocolType), "consumer")
			}
			if !strings.HasPrefix(j.MemberID, "raw-") || len(j.MemberID) != len("raw-")+36 {
				t.Errorf("member id %q", j.MemberID)
			}
			s := syncAs(c, min(v, 5), g, j.MemberID, 1, map[string]string{j.MemberID: "share"})
			wantEqual(t, "assignment", []any{s.ErrorCode, string(s.MemberAssignment)}, []any{0, "share"})
			hb := kmsg.NewPtrHeartbeatRequest()
			hb.Group, hb.MemberID, hb.Generation = g, j.MemberID, 1
			wantEqual(t, "heartbeat", do[*kmsg.HeartbeatResponse](c, hb, min(v, 4)).ErrorCode, 0)
			b.commitAndFetch(c, v, g, j.MemberID, 1)
			b.describeAndList(c, v, g, "Stable", 1)
			lv := kmsg.NewPtrLeaveGroupRequest()
			lv.Group, lv.MemberID = g, j.MemberID
			for _, id := range []string{j.MemberID, "nobody"} {
				m := kmsg.NewLeaveGroupRequestMember()
				m.MemberID = id
				lv.Members = append(lv.Members, m)
			}
			left := do[*kmsg.LeaveGroupResponse](c, lv, min(v, 5))
			wantEqual(t, "left", left.ErrorCode, 0)
			if v >= 3 {
				wantEqual(t, "each", []any{left.Members[0].ErrorCode, left.Members[1].ErrorCode}, []any{0, codeUnknownMemberID})
			} else {
				wantEqual(t, "again", do[*kmsg.LeaveGroupResponse](c, lv, v).ErrorCode, codeUnknownMemberID)
			}
			b.describeAndList(c, v, g, "Empty", 0)
		}
	})
}

// commitAndFetch commits x-0 and reads it back, in the versions that v stands for.
func (b *box) commitAndFetch(c *rawConn, v int16, g, member string, generation int32) {
	t := b.t
	t.Helper()
	id := b.ctl.Image().TopicByName("x").ID
	cm := kmsg.NewPtrOffsetCommitRequest()
	cm.Group, cm.MemberID, cm.Generation = g, member, generation
	for _, rt := range []kmsg.OffsetCommitRequestTopic{{Topic: "x", TopicID: id}, {Topic: "unknown", TopicID: metadata.ID{9}}} {
		for _, n := range []int32{0, 7} {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = n, 42, 3, kmsg.StringPtr("note")
			rt.Partitions = append(rt.Partitions, p)
		}
		cm.Topics = append(cm.Topics, rt)
	}
	cv, fv := min(max(v, 2), 10), min(max(v, 1), 10)
	unknown := codeUnknownTopicOrPartition
	if cv >= 10 {
		unknown = codeUnknownTopicID
	}
	done := do[*kmsg.OffsetCommitResponse](c, cm, cv)
	var codes []int16
	for _, rt := range done.Topics {
		for _, p := range rt.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	wantEqual(t, fmt.Sprint("commit ", cv), codes, []int16{0, codeUnknownTopicOrPartition, unknown, unknown})

	fr := kmsg.NewPtrOffsetFetchRequest()
	fr.Group = g
	one := kmsg.NewOffsetFetchRequestTopic()
	one.Topic, one.Partitions = "x", []int32{0, 1}
	fr.Topics = append(fr.Topics, one)
	for _, name := range []string{g, "nobody's"} {
		fg := kmsg.NewOffsetFetchRequestGroup()
		fg.Group = name
		ft := kmsg.NewOffsetFetchRequestGroupTopic()
		ft.Topic, ft.TopicID, ft.Partitions = "x", id, []int32{0, 1}
		fg.Topics = append(fg.Topics, ft)
		fr.Groups = append(fr.Groups, fg)
	}
	wantEpoch := int32(-1)
	if cv >= 6 && fv >= 5 {
		wantEpoch = 3
	}
	resp := do[*kmsg.OffsetFetchResponse](c, fr, fv)
	what := fmt.Sprint("fetch ", fv)
	if fv < 8 {
		p := resp.Topics[0].Partitions
		wantEqual(t, what, []any{resp.ErrorCode, p[0].Offset, p[0].LeaderEpoch, *p[0].Metadata, p[0].ErrorCode}, []any{0, 42, wantEpoch, "note", 0})
		wantEqual(t, what, []any{p[1].Offset, p[1].LeaderEpoch, *p[1].Metadata, p[1].ErrorCode}, []any{-1, -1, "", 0})
		return
	}
	p := resp.Groups[0].Topics[0].Partitions
	wantEqual(t, what, []any{resp.Groups[0].Group, resp.Groups[0].ErrorCode, p[0].Offset, p[0].LeaderEpoch, *p[0].Metadata}, []any{g, 0, 42, wantEpoch, "note"})
	wantEqual(t, what, []any{p[1].Offset, p[1].LeaderEpoch, *p[1].Metadata, p[1].ErrorCode}, []any{-1, -1, "", 0})
	other := resp.Groups[1].Topics[0].Partitions[0]
	wantEqual(t, what, []any{resp.Groups[1].ErrorCode, other.Offset, other.ErrorCode}, []any{0, -1, 0})
}

// describeAndList looks at a group as an admin does.
func (b *box) describeAndList(c *rawConn, v int16, g, state string, members int) {
	t := b.t
	t.Helper()
	dr := kmsg.NewPtrDescribeGroupsRequest()
	dr.Groups, dr.IncludeAuthorizedOperations = []string{g, "nobody's"}, true
	dv := min(v, 6)
	resp := do[*kmsg.DescribeGroupsResponse](c, dr, dv)
	d, none := resp.Groups[0], resp.Groups[1]
	wantEqual(t, "described", []any{d.ErrorCode, d.Group, d.State, d.ProtocolType, len(d.Members)}, []any{0, g, state, "consumer", members})
	if members > 0 {
		m := d.Members[0]
		wantEqual(t, "member", []any{d.Protocol, m.ClientID, m.ClientHost, string(m.ProtocolMetadata), string(m.MemberAssignment)}, []any{"range", "raw", "/10.0.0.2", "meta", "share"})
	}
	wantCode := int16(0)
	if dv >= 6 {
		wantCode = codeGroupIDNotFound
	}
	wantEqual(t, "no such group", []any{none.ErrorCode, none.Group, none.State}, []any{wantCode, "nobody's", "Dead"})
	if dv >= 3 {
		wantEqual(t, "operations", d.AuthorizedOperations, 3400)
	}

	lr := kmsg.NewPtrListGroupsRequest()
	list := do[*kmsg.ListGroupsResponse](c, lr, min(v, 5))
	i := slices.IndexFunc(list.Groups, func(l kmsg.ListGroupsResponseGroup) bool { return l.Group == g })
	if i < 0 {
		t.Errorf("%s is not listed: %v", g, list.Groups)
		return
	}
	wantEqual(t, "listed", list.Groups[i].ProtocolType, "consumer")
	if v >= 4 {
		wantEqual(t, "state", list.Groups[i].GroupState, state)
	}
	if v >= 5 {
		wantEqual(t, "type", list.Groups[i].GroupType, "classic")
	}
}

func TestListGroupsFilters(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		j := joinUntil(c, 9, consumerJoin("busy", ""))
		syncAs(c, 5, "busy", j.MemberID, 1, nil)
		b.commitAndFetch(c, 9, "idle", "", -1)
		list := func(states, types []string) (names []string) {
			req := kmsg.NewPtrListGroupsRequest()
			req.StatesFilter, req.TypesFilter = states, types
			for _, g := range do[*kmsg.ListGroupsResponse](c, req, 5).Groups {
				names = append(names, g.Group)
			}
			return names
		}
		wantEqual(t, "all", list(nil, nil), []string{"busy", "idle"})
		wantEqual(t, "stable", list([]string{"stable"}, nil), []string{"busy"})
		wantEqual(t, "empty, dead", list([]string{"Dead", "EMPTY"}, nil), []string{"idle"})
		wantEqual(t, "classic", list(nil, []string{"Classic"}), []string{"busy", "idle"})
		wantEqual(t, "consumer", list(nil, []string{"consumer"}), []string{})
	})
}

func TestTrap43_JoinGroup(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.groupTopic()
		c := b.dial()
		first := do[*kmsg.JoinGroupResponse](c, consumerJoin("g", ""), 9)
		wantEqual(t, "first", []any{first.ErrorCode, first.Generation, first.MemberID != ""}, []any{codeMemberIDRequired, -1, true})
		d := kmsg.NewPtrDescribeGroupsRequest()
		d.Groups = []string{"g"}
		wantEqual(t, "not a member yet", len(do[*kmsg.DescribeGroupsResponse](c, d, 6).Groups[0].Members), 0)

		// Two static members; one comes back, with the same metadata: no new generation, and real bytes for the follower.
		one, two := consumerJoin("s", ""), consumerJoin("s", "")
		one.InstanceID, two.InstanceID = kmsg.StringPtr("i1"), kmsg.StringPtr("i2")
		c2 := b.dial()
		read := c2.send(two, 9)
		j1 := do[*kmsg.JoinGroupResponse](c, one, 9)
		j2 := read().(*kmsg.JoinGroupResponse)
		leader, follower, lc, fc := j1, j2, c, c2
		if j2.LeaderID == j2.MemberID {
			leader, follower, lc, fc = j2, j1, c2, c
		}
		s := syncAs(lc, 5, "s", leader.MemberID, 1, map[string]string{leader.MemberID: "L", follower.MemberID: "F"})
		wantEqual(t, "leader's", string(s.MemberAssignment), "L")
		again := consumerJoin("s", "")
		again.InstanceID = kmsg.StringPtr(follower.MemberID[:2])
		back := do[*kmsg.JoinGroupResponse](fc, again, 9)
		wantEqual(t, "back", []any{back.ErrorCode, back.Generation, back.MemberID != follower.MemberID}, []any{0, 1, true})
		wantEqual(t, "follower's", string(syncAs(fc, 5, "s", back.MemberID, 1, nil).MemberAssignment), "F")
		hb := kmsg.NewPtrHeartbeatRequest()
		hb.Group, hb.MemberID, hb.Generation, hb.InstanceID = "s", follower.MemberID, 1, again.InstanceID
		wantEqual(t, "former self", do[*kmsg.HeartbeatResponse](fc, hb, 4).ErrorCode, codeFencedInstanceID)

		// SyncGroup 5 without protocol.
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.Generation = "s", back.MemberID, 1
		wantEqual(t, "no protocol", do[*kmsg.SyncGroupResponse](fc, req, 5).ErrorCode, codeInconsistentGroupProtocol)
	})
}

func TestTrap44_OffsetsWithoutAGroup(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		b.commitAndFetch(c, 9, "simple", "", -1) // as a consumer with assign() does
		b.commitAndFetch(c, 10, "simple", "", -1)
		list := do[*kmsg.ListGroupsResponse](c, kmsg.NewPtrListGroupsRequest(), 5)
		wantEqual(t, "listed", []any{list.Groups[0].Group, list.Groups[0].GroupState, list.Groups[0].ProtocolType}, []any{"simple", "Empty", ""})

		// Null topics are all that was committed.
		for v := int16(2); v <= 10; v++ {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Group, req.RequireStable = "simple", true
			fg := kmsg.NewOffsetFetchRequestGroup()
			fg.Group = "simple"
			req.Groups = append(req.Groups, fg)
			resp := do[*kmsg.OffsetFetchResponse](c, req, v)
			if v < 8 {
				wantEqual(t, fmt.Sprint("all ", v), []any{len(resp.Topics), resp.Topics[0].Topic, resp.Topics[0].Partitions[0].Offset}, []any{1, "x", 42})
			} else {
				wantEqual(t, fmt.Sprint("all ", v), []any{len(resp.Groups[0].Topics), resp.Groups[0].Topics[0].Partitions[0].Offset}, []any{1, 42})
			}
		}
		// A generation of a group that is not there.
		for v := int16(2); v <= 9; v++ {
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Group, req.MemberID, req.Generation = "not-there", "m", 3
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic = "x"
			rt.Partitions = append(rt.Partitions, kmsg.NewOffsetCommitRequestTopicPartition())
			req.Topics = append(req.Topics, rt)
			want := codeIllegalGeneration
			if v >= 9 {
				want = codeGroupIDNotFound
			}
			wantEqual(t, fmt.Sprint("version ", v), do[*kmsg.OffsetCommitResponse](c, req, v).Topics[0].Partitions[0].ErrorCode, want)
		}
	})
}

func TestOffsetsByTopicID(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		id := b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		b.commitAndFetch(c, 10, "g", "", -1)
		req := kmsg.NewPtrOffsetFetchRequest()
		fg := kmsg.NewOffsetFetchRequestGroup()
		fg.Group = "g"
		for _, id := range []metadata.ID{{9}, id} {
			ft := kmsg.NewOffsetFetchRequestGroupTopic()
			ft.TopicID, ft.Partitions = id, []int32{1, 0}
			fg.Topics = append(fg.Topics, ft)
		}
		req.Groups = append(req.Groups, fg)
		topics := do[*kmsg.OffsetFetchResponse](c, req, 10).Groups[0].Topics
		unknown, known := topics[0], topics[1]
		wantEqual(t, "unknown", []any{unknown.TopicID, unknown.Partitions[0].ErrorCode, unknown.Partitions[0].Offset}, []any{metadata.ID{9}, codeUnknownTopicID, -1})
		wantEqual(t, "known", []any{known.TopicID, known.Partitions[0].Offset, known.Partitions[1].Offset, known.Partitions[1].ErrorCode}, []any{id, -1, 42, 0})

		none := kmsg.NewPtrOffsetFetchRequest()
		wantEqual(t, "no groups", len(do[*kmsg.OffsetFetchResponse](c, none, 10).Groups), 0)
		wantEqual(t, "nothing committed", len(do[*kmsg.OffsetCommitResponse](c, kmsg.NewPtrOffsetCommitRequest(), 10).Topics), 0)
	})
}

// TestOffsetsOfADeletedTopic: a topic that is made again under its name does not inherit offsets.
func TestOffsetsOfADeletedTopic(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		b.commitAndFetch(c, 9, "g", "", -1)
		b.commitAndFetch(c, 9, "other", "", -1)
		b.deleteTopic("x")
		b.topic("x", 2)
		fetched := func() int64 {
			req := kmsg.NewPtrOffsetFetchRequest()
			fg := kmsg.NewOffsetFetchRequestGroup()
			ft := kmsg.NewOffsetFetchRequestGroupTopic()
			ft.Topic, ft.Partitions = "x", []int32{0}
			fg.Group, fg.Topics = "g", append(fg.Topics, ft)
			req.Groups = append(req.Groups, fg)
			return do[*kmsg.OffsetFetchResponse](c, req, 9).Groups[0].Topics[0].Partitions[0].Offset
		}
		wantEqual(t, "offset", fetched(), -1)
		wantEqual(t, "groups", len(do[*kmsg.ListGroupsResponse](c, kmsg.NewPtrListGroupsRequest(), 5).Groups), 0)

		// The same while the coordinator is down: its offsets stay in the log, and are still not served.
		b.commitAndFetch(c, 9, "g", "", -1)
		b.stop()
		b.deleteTopic("x")
		b.start()
		b.topic("x", 2)
		c = b.dial()
		wantEqual(t, "offset", fetched(), -1)
		wantEqual(t, "groups", len(do[*kmsg.ListGroupsResponse](c, kmsg.NewPtrListGroupsRequest(), 5).Groups), 1)
		time.Sleep(b.group.OffsetsRetentionCheck + time.Second)
		c = b.dial() // the other has been idle for too long
		wantEqual(t, "groups after the next look for expired offsets", len(do[*kmsg.ListGroupsResponse](c, kmsg.NewPtrListGroupsRequest(), 5).Groups), 0)
	})
}

func (b *box) deleteTopic(name string) {
	b.ctl.mustDo(&clusterv1.Command{Kind: &clusterv1.Command_DeleteTopics{DeleteTopics: &clusterv1.DeleteTopics{
		Topics: []*clusterv1.DeleteTopics_Topic{{Name: name}},
	}}})
	synctest.Wait()
}

// TestGroupsSurviveARestart: members, generation and offsets are those of before; the members need not join again.
func TestGroupsSurviveARestart(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		j := joinUntil(c, 9, consumerJoin("g", ""))
		syncAs(c, 5, "g", j.MemberID, 1, map[string]string{j.MemberID: "share"})
		b.commitAndFetch(c, 9, "g", j.MemberID, 1)
		b.stop()
		b.start()
		c = b.dial()
		b.describeAndList(c, 9, "g", "Stable", 1)
		hb := kmsg.NewPtrHeartbeatRequest()
		hb.Group, hb.MemberID, hb.Generation = "g", j.MemberID, 1
		wantEqual(t, "heartbeat", do[*kmsg.HeartbeatResponse](c, hb, 4).ErrorCode, 0)
		b.commitAndFetch(c, 9, "g", j.MemberID, 1)
	})
}

// stuckLog is a log that is never read to its end.
type stuckLog struct{}

func (stuckLog) Load(ctx context.Context, _ int32, _ func(shards.Record) error) error {
	<-ctx.Done()
	return ctx.Err()
}

func (stuckLog) Append(int32, []shards.Record, func(error)) {
	panic("a shard that loads does not append")
}

// TestWhileAGroupLoads: until the log is read, nobody is told that there is nothing in it. Heartbeat and
// SyncGroup have answers of their own, because clients give up for good at COORDINATOR_LOAD_IN_PROGRESS there.
func TestWhileAGroupLoads(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		b.commitAndFetch(c, 9, "g", "", -1)
		b.broker.o.Groups.runtime.Load(group.PartitionFor("g", 5), 99, stuckLog{})
		synctest.Wait()

		hb := kmsg.NewPtrHeartbeatRequest()
		hb.Group, hb.MemberID, hb.Generation = "g", "m", 1
		wantEqual(t, "Heartbeat", do[*kmsg.HeartbeatResponse](c, hb, 4).ErrorCode, 0)
		wantEqual(t, "SyncGroup", syncAs(c, 5, "g", "m", 1, nil).ErrorCode, codeRebalanceInProgress)

		loading := codeCoordinatorLoadInProgress
		wantEqual(t, "JoinGroup", do[*kmsg.JoinGroupResponse](c, consumerJoin("g", ""), 9).ErrorCode, loading)
		lv := kmsg.NewPtrLeaveGroupRequest()
		lv.Group, lv.Members = "g", append(lv.Members, kmsg.NewLeaveGroupRequestMember())
		wantEqual(t, "LeaveGroup", do[*kmsg.LeaveGroupResponse](c, lv, 5).ErrorCode, loading)
		cm := kmsg.NewPtrOffsetCommitRequest()
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic, rt.Partitions = "x", append(rt.Partitions, kmsg.NewOffsetCommitRequestTopicPartition())
		cm.Group, cm.Topics = "g", append(cm.Topics, rt)
		wantEqual(t, "OffsetCommit", do[*kmsg.OffsetCommitResponse](c, cm, 9).Topics[0].Partitions[0].ErrorCode, loading)
		f := kmsg.NewPtrOffsetFetchRequest()
		ft := kmsg.NewOffsetFetchRequestTopic()
		ft.Topic, ft.Partitions = "x", []int32{0}
		fg := kmsg.NewOffsetFetchRequestGroup()
		fg.Group, f.Group, f.Topics = "g", "g", append(f.Topics, ft)
		f.Groups = append(f.Groups, fg)
		one := do[*kmsg.OffsetFetchResponse](c, f, 1).Topics[0].Partitions[0]
		wantEqual(t, "OffsetFetch 1", []any{one.ErrorCode, one.Offset}, []any{loading, -1})
		wantEqual(t, "OffsetFetch 7", do[*kmsg.OffsetFetchResponse](c, f, 7).ErrorCode, loading)
		wantEqual(t, "OffsetFetch 9", do[*kmsg.OffsetFetchResponse](c, f, 9).Groups[0].ErrorCode, loading)
		dr := kmsg.NewPtrDescribeGroupsRequest()
		dr.Groups = []string{"g"}
		wantEqual(t, "DescribeGroups", do[*kmsg.DescribeGroupsResponse](c, dr, 6).Groups[0].ErrorCode, loading)
		list := do[*kmsg.ListGroupsResponse](c, kmsg.NewPtrListGroupsRequest(), 5)
		wantEqual(t, "ListGroups", []any{list.ErrorCode, len(list.Groups)}, []any{loading, 0})
	})
}

// TestConsumers runs kgo consumers of a group through joins, a restart of the broker and a leave; in
// the end every record was consumed, and every partition was committed to its end.
func TestConsumers(t *testing.T) {
	for _, balancer := range []kgo.GroupBalancer{kgo.RangeBalancer(), kgo.CooperativeStickyBalancer()} {
		t.Run(balancer.ProtocolName(), func(t *testing.T) {
			inBox(t, func(t *testing.T, b *box) { (&consumers{box: b, balancer: balancer, seen: map[string]bool{}}).run() })
		})
	}
}

type consumers struct {
	*box
	balancer kgo.GroupBalancer
	running  sync.WaitGroup

	mu   sync.Mutex
	seen map[string]bool
}

func (c *consumers) run() {
	t := c.t
	c.topic("x", 6)
	producer := c.client(kgo.DefaultProduceTopic("x"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	defer producer.Close()
	adm := kadm.NewClient(producer)
	produce := func(from, to int) {
		for i := from; i < to; i++ {
			if err := producer.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce(0, 50)
	stop1 := c.start("one")
	c.await("one consumer", 50)
	stop2 := c.start("two")
	time.Sleep(5 * time.Second)
	produce(50, 100)
	c.await("two consumers", 100)
	described, err := adm.DescribeGroups(t.Context(), "g")
	c.must(err)
	d := described["g"]
	assigned := d.AssignedPartitions()
	wantEqual(t, "group", []any{d.State, len(d.Members), len(assigned["x"])}, []any{"Stable", 2, 6})

	c.stop()
	c.box.start()
	produce(100, 150)
	c.await("after a restart", 150)
	stop1()
	time.Sleep(5 * time.Second)
	produce(150, 200)
	c.await("one has left", 200)
	described, err = adm.DescribeGroups(t.Context(), "g")
	c.must(err)
	wantEqual(t, "members", len(described["g"].Members), 1)
	time.Sleep(2 * time.Second)
	stop2()
	c.running.Wait()
	lag, err := adm.Lag(t.Context(), "g")
	c.must(err)
	wantEqual(t, "lag", []any{lag["g"].State, lag["g"].Lag.Total()}, []any{"Empty", 0})
}

// await waits until n different records have been consumed.
func (c *consumers) await(what string, n int) {
	c.t.Helper()
	got := 0
	for range 600 {
		c.mu.Lock()
		got = len(c.seen)
		c.mu.Unlock()
		if got >= n {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.t.Fatalf("%s: %d of %d records after a minute", what, got, n)
}

// start runs a consumer, which commits what it has consumed with every poll. The
// client's own commits are not used: they wait for a join on a mutex, which stands the bubble's clock still.
func (c *consumers) start(name string) (stop func()) {
	cl := c.client(
		kgo.ConsumerGroup("g"), kgo.ConsumeTopics("x"), kgo.ClientID(name), kgo.Balancers(c.balancer), kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(500*time.Millisecond), kgo.SessionTimeout(6*time.Second), kgo.RebalanceTimeout(10*time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond),
	)
	ctx, cancel := context.WithCancel(c.t.Context())
	c.running.Go(func() {
		next := map[int32]int64{}
		for {
			poll, done := context.WithTimeout(ctx, time.Second)
			fs := cl.PollFetches(poll)
			done()
			if ctx.Err() != nil || fs.IsClientClosed() {
				return
			}
			c.mu.Lock()
			fs.EachRecord(func(r *kgo.Record) {
				c.seen[string(r.Value)] = true
				next[r.Partition] = r.Offset + 1
			})
			c.mu.Unlock()
			c.commit(ctx, cl, next)
		}
	})
	return func() { cancel(); cl.Close() }
}

// commit commits as the member that the client is now; what it consumed and has not committed is tried again.
func (c *consumers) commit(ctx context.Context, cl *kgo.Client, next map[int32]int64) {
	member, generation := cl.GroupMetadata()
	if generation < 0 || len(next) == 0 {
		return
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = "g", member, generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = "x", c.ctl.Image().TopicByName("x").ID
	for p, offset := range next {
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = p, offset
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return
	}
	for _, p := range resp.Topics[0].Partitions {
		switch p.ErrorCode {
		case codeNone:
			delete(next, p.Partition)
		case codeRebalanceInProgress, codeIllegalGeneration, codeUnknownMemberID:
			clear(next) // whoever has the partition now consumes it from the last commit
		}
	}
}
