package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// batchTime is the timestamp of the test's records.
const batchTime = 1_700_000_000_000

// batchOf makes a batch of records with these values; change may set what the builder has.
func batchOf(t testing.TB, change func(*record.Builder), values ...string) []byte {
	t.Helper()
	b := record.NewBuilder()
	if change != nil {
		change(b)
	}
	for i, v := range values {
		b.Add(batchTime+int64(i), []byte("key"), []byte(v))
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// producer is a change for batchOf: an idempotent producer's batch.
func producer(id int64, epoch int16, sequence int32) func(*record.Builder) {
	return func(b *record.Builder) { b.ProducerID, b.ProducerEpoch, b.BaseSequence = id, epoch, sequence }
}

// topicRef names a topic as the version of a request does.
type topicRef struct {
	name string
	id   metadata.ID
}

// produceOf is a Produce request for partition 0 and up of one topic.
func produceOf(topic topicRef, acks int16, records ...[]byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 30_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = topic.name, topic.id
	for i, r := range records {
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = int32(i), r
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

// produceTo sends a Produce request and returns the results of its partitions.
func produceTo(c *rawConn, version int16, req *kmsg.ProduceRequest) []kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	var all []kmsg.ProduceResponseTopicPartition
	for _, rt := range do[*kmsg.ProduceResponse](c, req, version).Topics {
		all = append(all, rt.Partitions...)
	}
	return all
}

// one expects the only result.
func one[T any](t testing.TB, all []T) T {
	t.Helper()
	if len(all) != 1 {
		t.Fatalf("%d results, want 1: %v", len(all), all)
	}
	return all[0]
}

// topicOf creates a topic and names it for every version.
func (b *box) topicOf(name string, partitions int32, configs ...string) topicRef {
	return topicRef{name, b.topic(name, partitions, configs...)}
}

// closed reports whether the broker has closed the connection.
func (c *rawConn) closed() bool {
	c.conn.SetReadDeadline(time.Now().Add(time.Second))
	n, err := c.conn.Read(make([]byte, 1))
	return n == 0 && !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func TestProduceInEveryVersion(t *testing.T) {
	for _, caching := range []bool{false, true} {
		inBox(t, func(t *testing.T, b *box) {
			topic := b.topicOf("t", 1, fmt.Sprint("write.caching=", caching))
			c := b.dial()
			next := int64(0)
			for v := int16(3); v <= 13; v++ {
				for _, acks := range []int16{acksLeader, acksAll} {
					r := one(t, produceTo(c, v, produceOf(topic, acks, batchOf(t, nil, "a", "b", "c"))))
					wantEqual(t, fmt.Sprint("version ", v), []any{r.ErrorCode, r.BaseOffset, r.LogAppendTime}, []any{0, next, -1})
					if v >= 5 {
						wantEqual(t, "log start", r.LogStartOffset, 0)
					}
					next += 3
				}
			}
			for v := int16(0); v < minProduce; v++ { // trap 28
				old := b.dial()
				old.send(produceOf(topic, 1, batchOf(t, nil, "old")), v)
				if !old.closed() {
					t.Errorf("version %d was served", v)
				}
			}
		})
	}
}

func TestTrap24_NoAcksNoResponse(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		for v := int16(3); v <= 13; v++ {
			c.send(produceOf(topic, acksNone, batchOf(t, nil, "fire", "forget")), v)
			// The next response is that of the next request; its records follow.
			r := one(t, produceTo(c, v, produceOf(topic, acksLeader, batchOf(t, nil, "x"))))
			wantEqual(t, "after acks=0", []any{r.ErrorCode, r.BaseOffset}, []any{0, int64(v-3)*3 + 2})
		}
		c.send(produceOf(topicRef{name: "nobody"}, acksNone, batchOf(t, nil, "x")), 9)
		if !c.closed() {
			t.Error("an error with acks=0 left the connection open")
		}
	})
}

func TestTrap26_StoredAsTheProducerSentIt(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		var sent [][]byte
		for i, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.Lz4, record.Zstd} {
			batch := batchOf(t, func(r *record.Builder) {
				r.Codec, r.BaseOffset, r.LeaderEpoch = codec, -1, 77 // the client's, to be ignored
			}, "one", "two")
			sent = append(sent, bytes.Clone(batch))
			wantEqual(t, "base offset", one(t, produceTo(c, 11, produceOf(topic, acksAll, batch))).BaseOffset, 2*i)
		}
		got := one(t, fetchFrom(c, 11, fetchOf(topic, 0))).RecordBatches
		for i, want := range sent {
			var have record.Batch
			var err error
			if have, got, err = record.Next(got); err != nil {
				t.Fatal(err)
			}
			wantEqual(t, "offset and epoch", []any{have.BaseOffset(), have.LeaderEpoch()}, []any{2 * i, 0})
			if !bytes.Equal(have[16:], want[16:]) || !bytes.Equal(have[8:12], want[8:12]) {
				t.Errorf("batch %d: the bytes outside of offset and epoch have changed", i)
			}
			if err := have.Check(); err != nil {
				t.Error(err)
			}
		}
		wantEqual(t, "what is left", len(got), 0)
	})
}

// flip returns a copy with one byte changed.
func flip(p []byte, at int) []byte {
	p = bytes.Clone(p)
	p[at] ^= 0x40
	return p
}

func TestTrap27_RefusedBatches(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 2, "max.message.bytes=300", "message.timestamp.after.max.ms=1000")
		c := b.dial()
		good := batchOf(t, nil, "good")
		for name, x := range map[string]struct {
			batch []byte
			code  int16
		}{
			"no batch":      {[]byte{}, codeInvalidRecord},
			"null":          {nil, codeInvalidRecord},
			"two batches":   {append(bytes.Clone(good), good...), codeInvalidRecord},
			"cut off":       {good[:len(good)-1], codeCorruptMessage},
			"crc":           {flip(good, len(good)-1), codeCorruptMessage}, // trap 25
			"magic 0":       {func() []byte { p := bytes.Clone(good); p[16] = 0; return p }(), codeUnsupportedForMessageFormat},
			"control":       {batchOf(t, func(r *record.Builder) { r.Control = true }, "x"), codeInvalidRecord},
			"too large":     {batchOf(t, nil, string(make([]byte, 400))), codeMessageTooLarge},
			"transactional": {batchOf(t, func(r *record.Builder) { producer(7, 0, 0)(r); r.Transactional = true }, "x"), codeInvalidRequest},
			"from tomorrow": {func() []byte {
				r := record.NewBuilder()
				r.Add(batchTime+100_000, nil, []byte("x"))
				p, _ := r.Build()
				return p
			}(), codeInvalidTimestamp},
		} {
			// The other partition of the request is not touched by it.
			got := produceTo(c, 9, produceOf(topic, acksAll, x.batch, batchOf(t, nil, "fine")))
			wantEqual(t, name, []any{got[0].ErrorCode, got[0].BaseOffset, got[1].ErrorCode}, []any{x.code, -1, 0})
			if got[0].ErrorMessage == nil {
				t.Errorf("%s: no message", name)
			}
		}
		wantEqual(t, "after all", one(t, produceTo(c, 9, produceOf(topic, acksAll, good))).BaseOffset, 0)
	})
}

func TestRefusedRequests(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		ask := func(version int16, req *kmsg.ProduceRequest) kmsg.ProduceResponseTopicPartition {
			return one(t, produceTo(c, version, req))
		}
		batch := func() []byte { return batchOf(t, nil, "x") }
		wantEqual(t, "acks", ask(9, produceOf(topic, 2, batch())).ErrorCode, codeInvalidRequiredAcks)
		txn := produceOf(topic, acksAll, batch())
		txn.TransactionID = kmsg.StringPtr("txn")
		wantEqual(t, "transactional id", ask(9, txn).ErrorCode, codeInvalidRequest)
		wantEqual(t, "unknown topic", ask(9, produceOf(topicRef{name: "nobody"}, acksAll, batch())).ErrorCode, codeUnknownTopicOrPartition)
		wantEqual(t, "unknown id", ask(13, produceOf(topicRef{id: metadata.ID{9}}, acksAll, batch())).ErrorCode, codeUnknownTopicID)
		two := produceOf(topic, acksAll, batch(), batch())
		for _, v := range []int16{9, 13} {
			got := produceTo(c, v, two)
			wantEqual(t, "unknown partition", []any{got[0].ErrorCode, got[1].ErrorCode}, []any{0, codeUnknownTopicOrPartition})
		}
		// Trap 29: zstd needs version 7.
		zstd := batchOf(t, func(r *record.Builder) { r.Codec = record.Zstd }, "x")
		wantEqual(t, "zstd", ask(6, produceOf(topic, acksAll, zstd)).ErrorCode, codeUnsupportedCompressionType)
		wantEqual(t, "zstd", ask(7, produceOf(topic, acksAll, zstd)).ErrorCode, 0)
	})
}

func TestTrap23_LeaderHints(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.ctl.addBroker(2)
		topic := b.topicOf("t", 2) // one partition on each broker
		img := b.ctl.Image().TopicByName("t")
		c := b.dial()
		for v := int16(8); v <= 13; v++ {
			resp := do[*kmsg.ProduceResponse](c, produceOf(topic, acksAll, batchOf(t, nil, "x"), batchOf(t, nil, "y")), v)
			for _, p := range resp.Topics[0].Partitions {
				here := img.Partitions[p.Partition].Leader == 1
				want := []any{0, -1, -1}
				if !here {
					want = []any{codeNotLeaderOrFollower, 2, 0}
					if v < 10 {
						want = []any{codeNotLeaderOrFollower, -1, -1}
					}
				}
				wantEqual(t, fmt.Sprint("version ", v), []any{p.ErrorCode, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch}, want)
			}
			wantEqual(t, "endpoints", len(resp.Brokers), map[bool]int{true: 1, false: 0}[v >= 10])
		}
	})
}

func TestTrap30_LogAppendTime(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1, "message.timestamp.type=LogAppendTime")
		c := b.dial()
		b.clock.Set(batchTime + 5000)
		r := one(t, produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "x", "y"))))
		wantEqual(t, "response", []any{r.ErrorCode, r.LogAppendTime}, []any{0, batchTime + 5000})
		stored := record.Batch(one(t, fetchFrom(c, 11, fetchOf(topic, 0))).RecordBatches)
		wantEqual(t, "batch", []any{stored.Check(), stored.TimestampType(), stored.MaxTimestamp()}, []any{nil, record.LogAppendTime, batchTime + 5000})
	})
}

func TestTrap31_Idempotence(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		send := func(id int64, epoch int16, sequence int32, values ...string) (code int16, offset int64) {
			r := one(t, produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, producer(id, epoch, sequence), values...))))
			return r.ErrorCode, r.BaseOffset
		}
		expect := func(what string, wantCode int16, wantOffset int64) func(int16, int64) {
			return func(code int16, offset int64) {
				t.Helper()
				wantEqual(t, what, []any{code, offset}, []any{wantCode, wantOffset})
			}
		}
		expect("first", 0, 0)(send(100, 0, 0, "a", "b"))
		expect("second", 0, 2)(send(100, 0, 2, "c"))
		expect("duplicate of the first", 0, 0)(send(100, 0, 0, "a", "b"))
		expect("duplicate of the second", 0, 2)(send(100, 0, 2, "c"))
		expect("a gap", codeOutOfOrderSequence, -1)(send(100, 0, 4, "e"))
		expect("a new epoch", 0, 3)(send(100, 1, 0, "d"))
		expect("the old epoch", codeInvalidProducerEpoch, -1)(send(100, 0, 3, "x"))
		expect("an unknown id in the middle of its life", 0, 4)(send(200, 3, 77, "y"))

		// All in one read: they are appended together, and each has its own verdict.
		reads := []func() kmsg.Response{}
		b.disk.Count(vfs.OpWrite)
		for i, sequence := range []int32{1, 2, 1, 9, 3} {
			req := produceOf(topic, acksAll, batchOf(t, producer(100, 1, sequence), fmt.Sprint(i)))
			reads = append(reads, c.send(req, 9))
		}
		for i, want := range [][]any{{0, 5}, {0, 6}, {0, 5}, {codeOutOfOrderSequence, -1}, {0, 7}} {
			r := reads[i]().(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			wantEqual(t, fmt.Sprint("pipelined ", i), []any{r.ErrorCode, r.BaseOffset}, want)
		}
	})
}

// writeFrames sends several requests in one write, so that they arrive in one read.
func (c *rawConn) writeFrames(version int16, reqs ...kmsg.Request) (reads []func() kmsg.Response) {
	c.t.Helper()
	var all bytes.Buffer
	conn := c.conn
	c.conn = &keptBack{Conn: conn, to: &all}
	for _, req := range reqs {
		reads = append(reads, c.send(req, version))
	}
	c.conn = conn
	if _, err := conn.Write(all.Bytes()); err != nil {
		c.t.Fatal(err)
	}
	return reads
}

func TestPipelinedRequestsAreAppendedTogether(t *testing.T) {
	for _, caching := range []bool{false, true} {
		inBox(t, func(t *testing.T, b *box) {
			topic := b.topicOf("t", 2, fmt.Sprint("write.caching=", caching))
			c := b.dial()
			produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "first"), batchOf(t, nil, "first")))
			before := b.disk.Count(vfs.OpWrite)
			var reqs []kmsg.Request
			const n = 40
			for i := range n {
				reqs = append(reqs, produceOf(topic, []int16{acksLeader, acksAll}[i%2], batchOf(t, nil, fmt.Sprint(i)), batchOf(t, nil, "x", "y")))
			}
			for i, read := range c.writeFrames(9, reqs...) {
				got := read().(*kmsg.ProduceResponse).Topics[0].Partitions
				wantEqual(t, fmt.Sprint("request ", i), []any{got[0].ErrorCode, got[0].BaseOffset, got[1].ErrorCode, got[1].BaseOffset}, []any{0, 1 + i, 0, 1 + 2*i})
			}
			if writes := b.disk.Count(vfs.OpWrite) - before; writes > n/2 {
				t.Errorf("%d writes for %d requests of two partitions", writes, n)
			}
			got := consumeAll(t, b, "t")
			for i := range n {
				wantEqual(t, "content", got[0][1+i], fmt.Sprint(i))
			}
		})
	}
}

func TestRequestsOfManyPartitions(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		const n = 100
		topic := b.topicOf("t", n)
		c := b.dial()
		batches := make([][]byte, n)
		var reqs []kmsg.Request
		for range 3 {
			for i := range batches {
				batches[i] = batchOf(t, nil, fmt.Sprint(i))
			}
			reqs = append(reqs, produceOf(topic, acksAll, batches...))
			reqs = append(reqs, produceOf(topic, acksLeader, batchOf(t, nil, "small")))
		}
		for i, read := range c.writeFrames(13, reqs...) {
			for _, p := range read().(*kmsg.ProduceResponse).Topics[0].Partitions {
				want := int64(i / 2)
				if p.Partition == 0 {
					want = int64(i)
				}
				wantEqual(t, fmt.Sprint("request ", i, " partition ", p.Partition), []any{p.ErrorCode, p.BaseOffset}, []any{0, want})
			}
		}
	})
}

// TestAcksWaitForTheFlush: with write.caching=false nothing is answered, or readable, before the
// disk has it.
func TestAcksWaitForTheFlush(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 2)
		cached := b.topicOf("cached", 1, "write.caching=true")
		c, other := b.dial(), b.dial()
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Stall: true})
		waiting := c.send(produceOf(topic, acksLeader, batchOf(t, nil, "a"), batchOf(t, nil, "b")), 9)
		synctest.Wait()
		wantEqual(t, "readable before the flush", one(t, fetchFrom(other, 11, fetchOf(topic, 0))).HighWatermark, 0)
		wantEqual(t, "caching", one(t, produceTo(other, 9, produceOf(cached, acksAll, batchOf(t, nil, "x")))).ErrorCode, 0)
		behind := c.send(produceOf(cached, acksAll, batchOf(t, nil, "y")), 9) // is done, and waits its turn
		if !c.silent() {
			t.Fatal("answered before the flush")
		}
		stall.Heal()
		for _, p := range waiting().(*kmsg.ProduceResponse).Topics[0].Partitions {
			wantEqual(t, "after the flush", []any{p.ErrorCode, p.BaseOffset}, []any{0, 0})
		}
		wantEqual(t, "behind", behind().(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode, 0)
		wantEqual(t, "readable", one(t, fetchFrom(other, 11, fetchOf(topic, 0))).HighWatermark, 1)
	})
}

// silent reports whether nothing comes for a second.
func (c *rawConn) silent() bool {
	c.conn.SetReadDeadline(time.Now().Add(time.Second))
	defer c.conn.SetReadDeadline(time.Time{})
	_, err := c.conn.Read(nil)
	if err == nil {
		_, err = c.conn.Read(make([]byte, 1))
	}
	return isTimeout(err)
}

func TestTrap32_TimeoutIsRequestTimedOut(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Stall: true})
		req := produceOf(topic, acksAll, batchOf(t, producer(5, 0, 0), "a"))
		req.TimeoutMillis = 1500
		begin := time.Now()
		r := one(t, produceTo(c, 9, req))
		wantEqual(t, "timeout", []any{r.ErrorCode, r.BaseOffset, time.Since(begin)}, []any{codeRequestTimedOut, -1, 1500 * time.Millisecond})
		stall.Heal()
		// The batch is in the log: a retry finds it and tells its offset.
		r = one(t, produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, producer(5, 0, 0), "a"))))
		wantEqual(t, "retry", []any{r.ErrorCode, r.BaseOffset}, []any{0, 0})
	})
}

// TestDuplicateWaitsForTheFlush: a retry of a batch that is not flushed yet is not acknowledged
// before the batch is.
func TestDuplicateWaitsForTheFlush(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c, retry := b.dial(), b.dial()
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Stall: true})
		first := c.send(produceOf(topic, acksAll, batchOf(t, producer(5, 0, 0), "a")), 9)
		synctest.Wait()
		second := retry.send(produceOf(topic, acksAll, batchOf(t, producer(5, 0, 0), "a")), 9)
		if !retry.silent() {
			t.Fatal("a duplicate was acknowledged before its batch was flushed")
		}
		stall.Heal()
		for _, read := range []func() kmsg.Response{first, second} {
			r := read().(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			wantEqual(t, "after the flush", []any{r.ErrorCode, r.BaseOffset}, []any{0, 0})
		}
	})
}

// TestFailedFlushIsKafkaStorageError: who waits for a flush that fails is told, at once, and others
// go on.
func TestFailedFlushIsKafkaStorageError(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		bad, good := b.topicOf("bad", 1), b.topicOf("good", 1)
		c := b.dial()
		wantEqual(t, "before", one(t, produceTo(c, 9, produceOf(bad, acksAll, batchOf(t, nil, "kept")))).ErrorCode, 0)
		waiting := b.dial()
		poll := waiting.send(fetchOf(bad, 1, func(q *kmsg.FetchRequest) { q.MaxWaitMillis = 60_000 }), 11)
		synctest.Wait()
		b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "bad-0/*.log", Err: errors.New("disk on fire")})
		got := one(t, produceTo(c, 9, produceOf(bad, acksAll, batchOf(t, nil, "lost"))))
		wantEqual(t, "the append", []any{got.ErrorCode, got.BaseOffset}, []any{codeKafkaStorageError, -1})
		wantEqual(t, "the next", one(t, produceTo(c, 9, produceOf(bad, acksAll, batchOf(t, nil, "x")))).ErrorCode, codeKafkaStorageError)
		wantEqual(t, "a reader that waits", poll().(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode, codeKafkaStorageError)
		wantEqual(t, "another topic", one(t, produceTo(c, 9, produceOf(good, acksAll, batchOf(t, nil, "x")))).ErrorCode, 0)
		b.disk.Heal()
	})
}

// TestLostLeadershipEndsWaits: appends that are not acknowledged when the leadership goes are
// refused, and so are later ones; a reader hears of it at once.
func TestLostLeadershipEndsWaits(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c, reader := b.dial(), b.dial()
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Stall: true})
		append1 := c.send(produceOf(topic, acksAll, batchOf(t, nil, "a")), 9)
		poll := reader.send(fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.MaxWaitMillis = 60_000 }), 11)
		synctest.Wait()
		begin := time.Now()
		b.ctl.fence(1)
		wantEqual(t, "append", append1().(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode, codeNotLeaderOrFollower)
		wantEqual(t, "poll", poll().(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode, codeNotLeaderOrFollower)
		wantEqual(t, "later", one(t, produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "b")))).ErrorCode, codeNotLeaderOrFollower)
		wantEqual(t, "time", time.Since(begin), time.Duration(0))
		stall.Heal()
		b.ctl.unfence(1)
		wantEqual(t, "again", one(t, produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "c")))).ErrorCode, 0)
	})
}

// TestProduceToATopicThatIsBeingOpened waits for the log rather than send the client away.
func TestProduceToATopicThatIsBeingOpened(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpCreate, Path: "t-0/*", Stall: true})
		go func() {
			time.Sleep(300 * time.Millisecond)
			stall.Heal()
		}()
		go b.ctl.do(&clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{CreateTopics: &clusterv1.CreateTopics{
			Topics: []*clusterv1.CreateTopics_Topic{{Name: "t", NumPartitions: 1, ReplicationFactor: 1}},
		}}})
		time.Sleep(time.Millisecond)
		begin := time.Now()
		r := one(t, produceTo(c, 9, produceOf(topicRef{name: "t"}, acksAll, batchOf(t, nil, "x"))))
		wantEqual(t, "produce", []any{r.ErrorCode, r.BaseOffset, time.Since(begin)}, []any{0, 0, 299 * time.Millisecond})
	})
}

// TestKgoProducesInEveryWay is not in a bubble: kgo's zstd decoders are finalized outside of it.
func TestKgoProducesInEveryWay(t *testing.T) {
	b := overTCP(t)
	b.topic("t", 1)
	var want []string
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		for name, acks := range map[string]kgo.Opt{"all": kgo.RequiredAcks(kgo.AllISRAcks()), "1": kgo.RequiredAcks(kgo.LeaderAck()), "0": kgo.RequiredAcks(kgo.NoAck())} {
			opts := []kgo.Opt{kgo.ProducerBatchCompression(codec), acks, kgo.DefaultProduceTopic("t")}
			if name != "all" {
				opts = append(opts, kgo.DisableIdempotentWrite())
			}
			cl := b.client(opts...)
			for i := range 20 {
				v := fmt.Sprint(name, " ", i, " ", string(make([]byte, 100)))
				want = append(want, v)
				r := &kgo.Record{Value: []byte(v), Timestamp: time.UnixMilli(batchTime)}
				cl.Produce(t.Context(), r, func(_ *kgo.Record, err error) {
					if err != nil {
						t.Errorf("acks %s: %v", name, err)
					}
				})
			}
			b.must(cl.Flush(t.Context()))
			cl.Close()
		}
	}
	p, err := b.broker.o.Replicas.ByName([]byte("t"), 0)
	b.must(err)
	for p.HighWatermark() < int64(len(want)) { // acks=0 says nothing
		time.Sleep(time.Millisecond)
	}
	got := consumeAll(t, b, "t")[0]
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d records read, %d written", len(got), len(want))
	}
}

// consumeAll reads a topic to its end with kgo: the values of each partition, in order.
func consumeAll(t *testing.T, b *box, topic string) map[int32][]string {
	t.Helper()
	cl := b.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	img := b.ctl.Image().TopicByName(topic)
	want := int64(0)
	for _, p := range img.Partitions {
		part, err := b.broker.o.Replicas.ByID(img.ID, p.Index)
		if err != nil {
			t.Fatal(err)
		}
		want += part.HighWatermark()
	}
	got := map[int32][]string{}
	for n := int64(0); n < want; {
		fetches := cl.PollFetches(t.Context())
		if errs := fetches.Errors(); len(errs) > 0 {
			t.Fatal(errs)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got[r.Partition] = append(got[r.Partition], string(r.Value))
			n++
		})
	}
	return got
}
