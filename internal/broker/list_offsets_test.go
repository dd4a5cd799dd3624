package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/record"
)

// contextDone is a context that has ended.
func contextDone(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// listOffsetsOf asks for the offset of a timestamp in partition 0.
func listOffsetsOf(c *rawConn, version int16, topic string, timestamp int64, change ...func(*kmsg.ListOffsetsRequestTopicPartition)) []kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Timestamp = timestamp
	for _, f := range change {
		f(&rp)
	}
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return do[*kmsg.ListOffsetsResponse](c, req, version).Topics[0].Partitions
}

func TestTrap41_ListOffsets(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		empty := func(timestamp int64) kmsg.ListOffsetsResponseTopicPartition {
			return one(t, listOffsetsOf(c, 11, topic.name, timestamp))
		}
		for _, x := range []struct{ timestamp, want int64 }{{-1, 0}, {-2, 0}, {-3, -1}, {0, -1}, {batchTime, -1}} {
			wantEqual(t, fmt.Sprint("empty log, ", x.timestamp), []any{empty(x.timestamp).ErrorCode, empty(x.timestamp).Offset}, []any{0, x.want})
		}
		// Records with timestamps batchTime .. +2 at 0 .. 2, then one that is the greatest, then smaller ones.
		at := func(ms int64) []byte {
			r := record.NewBuilder()
			r.Add(ms, nil, []byte("x"))
			p, err := r.Build()
			b.must(err)
			return p
		}
		for _, batch := range [][]byte{batchOf(t, nil, "a", "b", "c"), at(batchTime + 1000), at(batchTime + 500)} {
			wantEqual(t, "produce", one(t, produceTo(c, 9, produceOf(topic, acksAll, batch))).ErrorCode, 0)
		}
		for v := int16(1); v <= 11; v++ {
			for _, x := range []struct {
				timestamp int64
				since     int16
				offset    int64
				found     int64
			}{
				{-1, 1, 5, -1},
				{-2, 1, 0, -1},
				{-3, 7, 3, batchTime + 1000},
				{-4, 8, 0, -1},
				{-5, 9, -1, -1},
				{-6, 11, -1, -1},
				{0, 1, 0, batchTime},
				{batchTime, 1, 0, batchTime},
				{batchTime + 1, 1, 1, batchTime + 1},
				{batchTime + 3, 1, 3, batchTime + 1000},
				{batchTime + 1000, 1, 3, batchTime + 1000},
				{batchTime + 1001, 1, -1, -1},
			} {
				got := one(t, listOffsetsOf(c, v, topic.name, x.timestamp))
				want := []any{0, x.offset, x.found}
				if v < x.since {
					want = []any{codeUnsupportedVersion, -1, -1}
				}
				wantEqual(t, fmt.Sprintf("version %d, timestamp %d", v, x.timestamp), []any{got.ErrorCode, got.Offset, got.Timestamp}, want)
			}
			wantEqual(t, "below all specials", one(t, listOffsetsOf(c, v, topic.name, -7)).ErrorCode, codeUnsupportedVersion)
			wantEqual(t, "unknown topic", one(t, listOffsetsOf(c, v, "nobody", -1)).ErrorCode, codeUnknownTopicOrPartition)
			if v >= 4 {
				stale := func(p *kmsg.ListOffsetsRequestTopicPartition) { p.CurrentLeaderEpoch = 9 }
				wantEqual(t, "epoch", one(t, listOffsetsOf(c, v, topic.name, -1, stale)).ErrorCode, codeUnknownLeaderEpoch)
				wantEqual(t, "epoch of the answer", one(t, listOffsetsOf(c, v, topic.name, -1)).LeaderEpoch, 0)
			}
		}
	})
}

// TestOffsetsOfATopicThatIsJustThere: who has a topic made by Metadata asks for its offsets at once, and its log is still being made.
func TestOffsetsOfATopicThatIsJustThere(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		for v := int16(1); v <= 11; v++ {
			name := fmt.Sprint("auto", v)
			wantEqual(t, "created", metadataOf(c, 3, name).Topics[0].ErrorCode, 0)
			got := one(t, listOffsetsOf(c, v, name, latestTimestamp))
			wantEqual(t, fmt.Sprint("version ", v), []any{got.ErrorCode, got.Offset}, []any{0, 0})
		}
	}, func(b *box) {
		b.flush = 50 * time.Millisecond
		b.mount(b.fs)
	})
}

func TestTrap47_InitProducerID(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		seen := map[int64]bool{}
		for v := int16(0); v <= 5; v++ {
			for range 3 {
				got := do[*kmsg.InitProducerIDResponse](c, kmsg.NewPtrInitProducerIDRequest(), v)
				wantEqual(t, fmt.Sprint("version ", v), []any{got.ErrorCode, got.ProducerEpoch, got.ProducerID >= 0, seen[got.ProducerID]}, []any{0, 0, true, false})
				seen[got.ProducerID] = true
			}
			txn := kmsg.NewPtrInitProducerIDRequest()
			txn.TransactionalID = kmsg.StringPtr("txn")
			got := do[*kmsg.InitProducerIDResponse](c, txn, v)
			wantEqual(t, "transactional", []any{got.ErrorCode, got.ProducerID, got.ProducerEpoch}, []any{codeInvalidRequest, -1, -1})
		}
		// A restart takes a new block: no id comes twice.
		b.stop()
		b.start()
		got := do[*kmsg.InitProducerIDResponse](b.dial(), kmsg.NewPtrInitProducerIDRequest(), 4)
		wantEqual(t, "after a restart", []any{got.ErrorCode, seen[got.ProducerID]}, []any{0, false})
	})
}

// TestProducerIDsAreAskedForOnce, however many producers begin together.
func TestProducerIDsAreAskedForOnce(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		var reads []func() kmsg.Response
		for range 20 {
			reads = append(reads, b.dial().send(kmsg.NewPtrInitProducerIDRequest(), 4))
		}
		seen := map[int64]bool{}
		for _, read := range reads {
			got := read().(*kmsg.InitProducerIDResponse)
			wantEqual(t, "id", []any{got.ErrorCode, seen[got.ProducerID]}, []any{0, false})
			seen[got.ProducerID] = true
		}
		asked := 0
		for _, cmd := range b.ctl.asked {
			if cmd.GetAllocateProducerIds() != nil {
				asked++
			}
		}
		wantEqual(t, "blocks", asked, 1)
	})
}
