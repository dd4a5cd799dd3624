package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// deleteRecordsOf asks for the records of partitions 0 and up below these offsets to be deleted.
func deleteRecordsOf(topic string, offsets ...int64) *kmsg.DeleteRecordsRequest {
	req := kmsg.NewPtrDeleteRecordsRequest()
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	for i, o := range offsets {
		rp := kmsg.NewDeleteRecordsRequestTopicPartition()
		rp.Partition, rp.Offset = int32(i), o
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

// deleted sends one and returns the codes and low watermarks of its partitions.
func deleted(c *rawConn, version int16, req *kmsg.DeleteRecordsRequest) (got []any) {
	c.t.Helper()
	for _, p := range one(c.t, do[*kmsg.DeleteRecordsResponse](c, req, version).Topics).Partitions {
		got = append(got, p.ErrorCode, p.LowWatermark)
	}
	return got
}

func TestTrap39_DeleteRecords(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 2, "segment.bytes=1048576")
		c := b.dial()
		for range 4 {
			produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "a", "b", "c"), batchOf(t, nil, "x")))
		}
		for _, x := range []struct {
			version int16
			offsets []int64
			want    []any
		}{
			{0, []int64{2, 0}, []any{0, 2, 0, 0}},
			{0, []int64{1, 0}, []any{0, 2, 0, 0}}, // at or below the start nothing happens
			{1, []int64{2, 5}, []any{0, 2, codeOffsetOutOfRange, -1}},
			{1, []int64{-2, 1}, []any{codeOffsetOutOfRange, -1, 0, 1}},
			{2, []int64{13, 1}, []any{codeOffsetOutOfRange, -1, 0, 1}},
			{2, []int64{7, -1, 0}, []any{0, 7, 0, 4, codeUnknownTopicOrPartition, -1}},
		} {
			wantEqual(t, fmt.Sprint("version ", x.version, ", ", x.offsets), deleted(c, x.version, deleteRecordsOf("t", x.offsets...)), x.want)
		}
		check := func(what string) {
			t.Helper()
			c := b.dial()
			for offset, want := range map[int64][]any{6: {codeOffsetOutOfRange, 7, 12}, 7: {0, 7, 12}, 12: {0, 7, 12}} {
				r := one(t, fetchFrom(c, 11, fetchOf(topic, offset)))
				wantEqual(t, fmt.Sprint(what, ": fetch from ", offset), []any{r.ErrorCode, r.LogStartOffset, r.HighWatermark}, want)
			}
			r := one(t, fetchFrom(c, 11, fetchOf(topic, 7)))
			wantEqual(t, what+": the batch that holds the start comes whole", offsetsOf(t, r.RecordBatches), []int64{6, 9})
			for timestamp, want := range map[int64]int64{-1: 12, -2: 7, -3: 8, -4: 7, 0: 7, batchTime: 7, batchTime + 2: 8} {
				wantEqual(t, fmt.Sprint(what, ": offset of ", timestamp), one(t, listOffsetsOf(c, 11, "t", timestamp)).Offset, want)
			}
		}
		check("afterwards")
		b.stop()
		b.start()
		check("after a restart")
		r := one(t, produceTo(b.dial(), 9, produceOf(topic, acksAll, batchOf(t, nil, "d"))))
		wantEqual(t, "a produce leaves the start", []any{r.BaseOffset, r.LogStartOffset}, []any{12, 7})
		c = b.dial()
		wantEqual(t, "nobody", deleted(c, 2, deleteRecordsOf("nobody", 0)), []any{codeUnknownTopicOrPartition, -1})
		b.groupTopic()
		wantEqual(t, "internal", deleted(c, 2, deleteRecordsOf("__consumer_offsets", 0)), []any{codeInvalidTopic, -1})
		b.ctl.mustDo(&clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{CreateTopics: &clusterv1.CreateTopics{Topics: []*clusterv1.CreateTopics_Topic{{
			Name: "compacted", NumPartitions: 1, ReplicationFactor: 1, Internal: true, Configs: []*clusterv1.ConfigEntry{{Name: "cleanup.policy", Value: "compact"}},
		}}}}})
		b.settle()
		wantEqual(t, "compacted", deleted(c, 2, deleteRecordsOf("compacted", 0)), []any{codePolicyViolation, -1})
	})
}

// TestDeletedRecordsStayDeleted: a log start that was acknowledged is there after the power has
// gone, also where what it left behind had not been flushed.
func TestDeletedRecordsStayDeleted(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		inBox(t, func(t *testing.T, b *box) {
			rnd := rand.New(rand.NewPCG(uint64(seed), 7))
			names := []string{"flushed", "cached"}
			topics := []topicRef{b.topicOf("flushed", 2), b.topicOf("cached", 2, "write.caching=true")}
			start := [2][2]int64{}
			for range 4 {
				c := b.dial()
				for range 1 + rnd.IntN(10) {
					topic := rnd.IntN(2)
					produceTo(c, 9, produceOf(topics[topic], acksAll, batchOf(t, nil, "a", "b"), batchOf(t, nil, "c")))
				}
				for topic, name := range names {
					got := deleted(c, 2, deleteRecordsOf(name, -1, start[topic][1]))
					wantEqual(t, "codes", []any{got[0], got[2]}, []any{0, 0})
					start[topic] = [2]int64{got[1].(int64), got[3].(int64)}
				}
				b.powerLoss(rnd)
				c = b.dial()
				for topic, name := range names {
					got := one(t, listOffsetsOf(c, 11, name, earliestTimestamp))
					wantEqual(t, fmt.Sprint("seed ", seed, ": start of ", name), []any{got.ErrorCode, got.Offset}, []any{0, start[topic][0]})
					if end := one(t, listOffsetsOf(c, 11, name, latestTimestamp)); end.Offset < got.Offset {
						t.Errorf("seed %d: %s ends at %d, before its start %d", seed, name, end.Offset, got.Offset)
					}
				}
			}
		}, func(b *box) {
			b.flush = 3 * time.Millisecond
			b.mount(b.fs)
		})
	}
}

// TestDeleteRecordsSharesAWrite: one request is one write of the recovery points, however many partitions it is about.
func TestDeleteRecordsSharesAWrite(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		const n = 50
		topic := b.topicOf("t", n, "write.caching=true")
		c := b.dial()
		batches := make([][]byte, n)
		for i := range batches {
			batches[i] = batchOf(t, nil, "a", "b")
		}
		produceTo(c, 9, produceOf(topic, acksAll, batches...))
		b.must(b.broker.o.Replicas.Directory().Flush(t.Context()))
		time.Sleep(time.Minute) // until the checkpoints have come to rest
		before := b.disk.Count(vfs.OpSync)
		got := deleted(c, 2, deleteRecordsOf("t", slices.Repeat([]int64{1}, n)...))
		wantEqual(t, "all", got, slices.Repeat([]any{0, 1}, n))
		if syncs := b.disk.Count(vfs.OpSync) - before; syncs > 3 {
			t.Errorf("%d syncs for one request", syncs)
		}
	})
}

func TestDescribeProducers(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 2)
		c := b.dial()
		for _, p := range []func(*record.Builder){producer(9, 1, 0), producer(7, 0, 5), producer(9, 1, 2), nil} {
			wantEqual(t, "produce", one(t, produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, p, "a", "b")))).ErrorCode, 0)
		}
		req := kmsg.NewPtrDescribeProducersRequest()
		for _, name := range []string{"t", "nobody"} {
			rt := kmsg.NewDescribeProducersRequestTopic()
			rt.Topic, rt.Partitions = name, []int32{0, 1, 2}
			req.Topics = append(req.Topics, rt)
		}
		describe := func() (got []any) {
			for _, rt := range do[*kmsg.DescribeProducersResponse](b.dial(), req, 0).Topics {
				for _, p := range rt.Partitions {
					got = append(got, p.ErrorCode)
					for _, a := range p.ActiveProducers {
						got = append(got, []any{a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp, a.CoordinatorEpoch, a.CurrentTxnStartOffset})
					}
				}
			}
			return got
		}
		want := []any{
			0,
			[]any{7, 0, 6, batchTime + 1, -1, -1},
			[]any{9, 1, 3, batchTime + 1, -1, -1},
			0, codeUnknownTopicOrPartition,
			codeUnknownTopicOrPartition, codeUnknownTopicOrPartition, codeUnknownTopicOrPartition,
		}
		wantEqual(t, "producers", describe(), want)
		b.stop()
		b.start()
		wantEqual(t, "after a restart", describe(), want)
	})
}

func TestDescribeLogDirs(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.fs.SetCapacity(1<<30, 0)
		topic := b.topicOf("t", 2)
		b.topic("s", 1)
		c := b.dial()
		batch := batchOf(t, nil, "a", "b")
		produceTo(c, 9, produceOf(topic, acksAll, batch))
		ask := func(version int16, topics []kmsg.DescribeLogDirsRequestTopic) (got []any) {
			req := kmsg.NewPtrDescribeLogDirsRequest()
			req.Topics = topics
			resp := do[*kmsg.DescribeLogDirsResponse](c, req, version)
			d := one(t, resp.Dirs)
			wantEqual(t, "dir", []any{resp.ErrorCode, d.ErrorCode, d.Dir, d.IsCordoned}, []any{0, 0, "/data", false})
			switch {
			case version < 4:
				wantEqual(t, "bytes", []any{d.TotalBytes, d.UsableBytes}, []any{-1, -1})
			case d.TotalBytes != 1<<30 || d.UsableBytes <= 0 || d.UsableBytes >= 1<<30:
				t.Errorf("%d of %d bytes are usable", d.UsableBytes, d.TotalBytes)
			}
			for _, rt := range d.Topics {
				for _, p := range rt.Partitions {
					got = append(got, rt.Topic, p.Partition, p.Size, p.OffsetLag, p.IsFuture)
				}
			}
			return got
		}
		all := []any{"s", 0, 0, 0, false, "t", 0, len(batch), 0, false, "t", 1, 0, 0, false}
		some := kmsg.DescribeLogDirsRequestTopic{Topic: "t", Partitions: []int32{1, 0, 9, 0}}
		for v := int16(1); v <= 5; v++ {
			wantEqual(t, fmt.Sprint("version ", v, ": all"), ask(v, nil), all)
			wantEqual(t, "some", ask(v, []kmsg.DescribeLogDirsRequestTopic{some, {Topic: "nobody", Partitions: []int32{0}}}), all[5:])
			wantEqual(t, "none", ask(v, []kmsg.DescribeLogDirsRequestTopic{}), []any{})
		}
	})
}

// describeTopics asks for a page of topics; the cursor is "" for none.
func describeTopics(c *rawConn, limit int32, cursor string, partition int32, names ...string) *kmsg.DescribeTopicPartitionsResponse {
	c.t.Helper()
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = limit
	for _, n := range names {
		rt := kmsg.NewDescribeTopicPartitionsRequestTopic()
		rt.Topic = n
		req.Topics = append(req.Topics, rt)
	}
	if cursor != "" {
		rc := kmsg.NewDescribeTopicPartitionsRequestCursor()
		rc.Topic, rc.Partition = cursor, partition
		req.Cursor = &rc
	}
	return do[*kmsg.DescribeTopicPartitionsResponse](c, req, 0)
}

// pageOf lists the topics and partitions of an answer, errors as negative codes, and its cursor.
func pageOf(resp *kmsg.DescribeTopicPartitionsResponse) string {
	s := ""
	for _, rt := range resp.Topics {
		s += orEmpty(rt.Topic) + ":"
		if rt.ErrorCode != 0 {
			s += fmt.Sprint(-rt.ErrorCode)
		}
		for _, p := range rt.Partitions {
			s += fmt.Sprint(p.Partition)
		}
		s += " "
	}
	if c := resp.NextCursor; c != nil {
		s += fmt.Sprint("> ", c.Topic, c.Partition)
	}
	return s
}

func TestDescribeTopicPartitions(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.ctl.addBroker(2)
		for _, name := range []string{"c", "a", "b"} {
			b.topic(name, 3)
		}
		c := b.dial()
		for _, x := range []struct {
			limit     int32
			cursor    string
			partition int32
			names     []string
			want      string
		}{
			{2000, "", 0, nil, "a:012 b:012 c:012 "},
			{4, "", 0, nil, "a:012 b:0 > b1"},
			{4, "b", 1, nil, "b:12 c:01 > c2"},
			{4, "c", 2, nil, "c:2 "},
			{3, "", 0, nil, "a:012 > b0"},
			{0, "", 0, nil, "a:0 > a1"},
			{-5, "a", 2, nil, "a:2 > b0"},
			{9, "aa", 7, nil, "b:012 c:012 "}, // the topic of the cursor has been deleted
			{9, "b", 9, nil, "b: c:012 "},
			{9, "z", 0, nil, ""},
			{9, "", 0, []string{"c", "a", "x", "c", "not/valid"}, "a:012 c:012 not/valid:-17 x:-3 "},
			{5, "c", 1, []string{"a", "c"}, "c:12 "},
			{5, "b", 0, []string{"a", "c"}, "a:-42 c:-42 "},
			{5, "a", -1, []string{"a"}, "a:-42 "},
			{5, "a", -1, nil, ""},
		} {
			got := pageOf(describeTopics(c, x.limit, x.cursor, x.partition, x.names...))
			wantEqual(t, fmt.Sprint(x.names, " from ", x.cursor, x.partition, ", ", x.limit), got, x.want)
		}
		// What it says of a partition is what Metadata says.
		b.ctl.fence(2)
		for i, rt := range describeTopics(c, 100, "", 0).Topics {
			mt := metadataOf(c, 13).Topics[i]
			wantEqual(t, "topic", []any{rt.TopicID, rt.IsInternal, rt.AuthorizedOperations}, []any{mt.TopicID, mt.IsInternal, topicOperations})
			for j, p := range rt.Partitions {
				mp := mt.Partitions[j]
				wantEqual(t, "partition", []any{p.ErrorCode, p.Partition, p.LeaderID, p.LeaderEpoch, p.Replicas, p.ISR, p.OfflineReplicas},
					[]any{0, mp.Partition, mp.Leader, mp.LeaderEpoch, mp.Replicas, mp.ISR, mp.OfflineReplicas})
				if p.EligibleLeaderReplicas == nil || p.LastKnownELR == nil || len(p.EligibleLeaderReplicas)+len(p.LastKnownELR) > 0 {
					t.Errorf("eligible leader replicas: %v, %v; want two empty lists", p.EligibleLeaderReplicas, p.LastKnownELR)
				}
			}
		}
		// However much a client asks for, one answer has its bound.
		b.ctl.unfence(2)
		large := &clusterv1.CreateTopics_Topic{Name: "large", NumPartitions: -1, ReplicationFactor: -1}
		for i := range int32(b.set.DescribedPartitions + 1) { // all on the broker that nobody runs
			large.Assignments = append(large.Assignments, &clusterv1.ReplicaAssignment{Partition: i, BrokerIds: []int32{2}})
		}
		b.ctl.mustDo(&clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{CreateTopics: &clusterv1.CreateTopics{Topics: []*clusterv1.CreateTopics_Topic{large}}}})
		resp := describeTopics(c, 1<<30, "", 0, "large")
		wantEqual(t, "large", []any{len(resp.Topics[0].Partitions), resp.NextCursor.Partition}, []any{300, 300})
	}, func(b *box) { b.set.DescribedPartitions = 300 })
}

// TestLogApisByKadm: the admin client of franz-go does what its users do with them.
func TestLogApisByKadm(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		batch := batchOf(t, producer(1, 0, 0), "a", "b", "c")
		produceTo(c, 9, produceOf(topic, acksAll, batch))
		cl := b.client()
		defer cl.Close()
		adm := kadm.NewClient(cl)
		dirs, err := adm.DescribeAllLogDirs(t.Context(), nil)
		b.must(err)
		wantEqual(t, "size", dirs[1]["/data"].Size(), len(batch))
		producers, err := adm.DescribeProducers(t.Context(), kadm.TopicsSet{"t": {0: {}}})
		b.must(err)
		wantEqual(t, "producer", producers["t"].Partitions[0].ActiveProducers[1].LastSequence, 2)
		gone, err := adm.DeleteRecords(t.Context(), kadm.Offsets{"t": {0: {Topic: "t", At: 2}}})
		b.must(err)
		wantEqual(t, "deleted", []any{gone["t"][0].Err, gone["t"][0].LowWatermark}, []any{nil, 2})
	})
}
