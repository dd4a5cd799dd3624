package broker

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/record"
)

// keptBack is a connection whose writes are kept back.
type keptBack struct {
	net.Conn
	to *bytes.Buffer
}

func (g *keptBack) Write(p []byte) (int, error) { return g.to.Write(p) }

// fetchOf is a Fetch request for partition 0 of a topic, without a session, that does not wait.
func fetchOf(topic topicRef, offset int64, change ...func(*kmsg.FetchRequest)) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.SessionEpoch = 1, 50<<20, -1
	addPart(req, topic, 0, offset)
	for _, c := range change {
		c(req)
	}
	return req
}

// addPart adds a partition to a request.
func addPart(req *kmsg.FetchRequest, topic topicRef, partition int32, offset int64) {
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic.name, topic.id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = partition, offset, 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
}

// fetchFrom sends a Fetch request and returns the partitions of its response.
func fetchFrom(c *rawConn, version int16, req *kmsg.FetchRequest) []kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	return fetchedParts(do[*kmsg.FetchResponse](c, req, version))
}

func fetchedParts(resp *kmsg.FetchResponse) (all []kmsg.FetchResponseTopicPartition) {
	for _, rt := range resp.Topics {
		all = append(all, rt.Partitions...)
	}
	return all
}

// offsetsOf lists the base offsets of the batches in p.
func offsetsOf(t *testing.T, p []byte) (offsets []int64) {
	t.Helper()
	for len(p) > 0 {
		b, rest, err := record.Next(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, b.BaseOffset())
		p = rest
	}
	return offsets
}

func TestFetchInEveryVersion(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		for range 5 {
			produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "a", "b")))
		}
		for v := int16(4); v <= 18; v++ {
			for committed := range int8(2) {
				req := fetchOf(topic, 4, func(q *kmsg.FetchRequest) { q.IsolationLevel = committed })
				resp := do[*kmsg.FetchResponse](c, req, v)
				p := one(t, fetchedParts(resp))
				wantEqual(t, fmt.Sprint("version ", v), []any{resp.ErrorCode, resp.SessionID, p.ErrorCode, p.HighWatermark, p.LastStableOffset, offsetsOf(t, p.RecordBatches)},
					[]any{0, 0, 0, 10, 10, []int64{4, 6, 8}})
				if v >= 5 {
					wantEqual(t, "log start", p.LogStartOffset, 0)
				}
				if v >= 11 {
					wantEqual(t, "preferred replica", p.PreferredReadReplica, -1)
				}
				if (p.AbortedTransactions == nil) != (committed == 0) { // trap 38
					t.Errorf("version %d, isolation %d: aborted transactions %v", v, committed, p.AbortedTransactions)
				}
			}
		}
	})
}

func TestTrap33_OneBatchIsAlwaysWholeAndTheSumIsBounded(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 3)
		c := b.dial()
		batch := func() []byte { return batchOf(t, nil, strings.Repeat("x", 1000)) }
		size := len(batch())
		for range 5 {
			produceTo(c, 9, produceOf(topic, acksAll, batch(), batch(), batch()))
		}
		ask := func(maxBytes, partMax int) (got []int) {
			req := fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.MaxBytes = int32(maxBytes) })
			addPart(req, topic, 1, 0)
			addPart(req, topic, 2, 0)
			for i := range req.Topics {
				req.Topics[i].Partitions[0].PartitionMaxBytes = int32(partMax)
			}
			for _, p := range fetchFrom(c, 11, req) {
				got = append(got, len(p.RecordBatches)/size)
			}
			return got
		}
		wantEqual(t, "all", ask(1<<20, 1<<20), []int{5, 5, 5})
		wantEqual(t, "less than a batch in all", ask(1, 1<<20), []int{1, 0, 0})
		wantEqual(t, "less than a batch a partition", ask(1<<20, 1), []int{1, 0, 0})
		wantEqual(t, "two batches a partition", ask(1<<20, 2*size+10), []int{2, 2, 2})
		wantEqual(t, "seven in all", ask(7*size, 1<<20), []int{5, 2, 0})
		wantEqual(t, "nothing negative", ask(-5, -5), []int{1, 0, 0})
	})
}

func TestTrap34_AnOffsetInsideABatch(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		for range 3 {
			produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "a", "b", "c", "d")))
		}
		for offset, want := range map[int64][]int64{0: {0, 4, 8}, 3: {0, 4, 8}, 4: {4, 8}, 7: {4, 8}, 11: {8}, 12: nil} {
			wantEqual(t, fmt.Sprint("from ", offset), offsetsOf(t, one(t, fetchFrom(c, 11, fetchOf(topic, offset))).RecordBatches), want)
		}
	})
}

// TestTrap34_AnOffsetInAGap: what compaction has removed is skipped, or a consumer that stands there would stand there for ever.
func TestTrap34_AnOffsetInAGap(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1, "cleanup.policy=compact", "segment.ms=1000", "min.cleanable.dirty.ratio=0")
		c := b.dial()
		put := func(ms int64, keys ...string) {
			r := record.NewBuilder()
			for _, k := range keys {
				r.Add(ms, []byte(k), []byte("v"))
			}
			p, err := r.Build()
			b.must(err)
			wantEqual(t, "code", one(t, produceTo(c, 9, produceOf(topic, acksAll, p))).ErrorCode, 0)
		}
		put(batchTime, "a", "b") // 0 goes
		put(batchTime, "c")      // 2 goes with its batch
		put(batchTime, "a", "c") // 3 and 4 stay
		put(batchTime, "d")      // 5 goes, the last of its segment
		put(batchTime+2000, "d")
		put(batchTime+4000, "e") // 7, in the segment that is not compacted
		time.Sleep(time.Minute)  // the cleaner comes by
		c = b.dial()
		for v := int16(4); v <= 18; v++ {
			for offset, want := range [][]int64{{1, 3, 4, 6, 7}, {1, 3, 4, 6, 7}, {3, 4, 6, 7}, {3, 4, 6, 7}, {4, 6, 7}, {6, 7}, {6, 7}, {7}, nil} {
				var got []int64
				for at := int64(offset); at < 8; at = got[len(got)-1] + 1 { // as a consumer goes on
					p := one(t, fetchFrom(c, v, fetchOf(topic, at)))
					if wantEqual(t, "code and end", []any{p.ErrorCode, p.HighWatermark}, []any{0, 8}); len(p.RecordBatches) == 0 {
						t.Fatalf("version %d: nothing from %d on", v, at)
					}
					for rest := p.RecordBatches; len(rest) > 0; {
						batch, after, err := record.Next(rest)
						b.must(err)
						b.must(batch.Walk(1<<10, func(r record.Record) error {
							if o := batch.BaseOffset() + int64(r.OffsetDelta); o >= at {
								got = append(got, o)
							}
							return nil
						}))
						rest = after
					}
				}
				wantEqual(t, fmt.Sprint("from ", offset, " in version ", v), got, want)
			}
		}
	})
}

func TestTrap35_RecordsAreNeverNull(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		for v := int16(4); v <= 18; v++ {
			for _, req := range []*kmsg.FetchRequest{fetchOf(topic, 0), fetchOf(topic, 99), fetchOf(topicRef{name: "nobody", id: metadata.ID{5}}, 0)} {
				if p := one(t, fetchFrom(c, v, req)); p.RecordBatches == nil {
					t.Errorf("version %d: null records with error %d", v, p.ErrorCode)
				}
			}
		}
	})
}

func TestTrap36_Sessions(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic, second := b.topicOf("t", 2), b.topicOf("second", 1)
		c := b.dial()
		for _, v := range []int16{7, 11, 12, 13, 18} {
			end := one(t, listOffsetsOf(c, 4, topic.name, -1)).Offset
			full := fetchOf(topic, end, func(q *kmsg.FetchRequest) { q.SessionEpoch = 0 })
			addPart(full, topic, 1, 0)
			resp := do[*kmsg.FetchResponse](c, full, v)
			id := resp.SessionID
			wantEqual(t, "a full fetch has all partitions", []any{id > 0, len(fetchedParts(resp))}, []any{true, 2})

			next := func(epoch int32, change ...func(*kmsg.FetchRequest)) *kmsg.FetchResponse {
				t.Helper()
				req := fetchOf(topic, 0, change...)
				req.Topics = req.Topics[1:]
				req.SessionID, req.SessionEpoch = id, epoch
				resp := do[*kmsg.FetchResponse](c, req, v)
				wantEqual(t, "session", []any{resp.ErrorCode, resp.SessionID}, []any{0, id})
				return resp
			}
			begin := time.Now()
			resp = next(1, func(q *kmsg.FetchRequest) { q.MaxWaitMillis = 700 })
			wantEqual(t, "nothing new: it waits and is empty", []any{len(resp.Topics), time.Since(begin)}, []any{0, 700 * time.Millisecond})

			produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "new")))
			p := one(t, fetchedParts(next(2)))
			wantEqual(t, "only what changed", []any{p.Partition, p.HighWatermark, offsetsOf(t, p.RecordBatches)}, []any{0, end + 1, []int64{end}})
			p = one(t, fetchedParts(next(3)))
			wantEqual(t, "again, as the client has not moved on", offsetsOf(t, p.RecordBatches), []int64{end})
			resp = next(4, func(q *kmsg.FetchRequest) { addPart(q, topic, 0, end+1) })
			wantEqual(t, "moved on", len(resp.Topics), 0)

			resp = next(5, func(q *kmsg.FetchRequest) { addPart(q, second, 0, 0) })
			wantEqual(t, "a new partition is told of", one(t, fetchedParts(resp)).HighWatermark, 0)
			next(6, func(q *kmsg.FetchRequest) {
				f := kmsg.NewFetchRequestForgottenTopic()
				f.Topic, f.TopicID, f.Partitions = topic.name, topic.id, []int32{0}
				q.ForgottenTopics = append(q.ForgottenTopics, f)
			})
			produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "x")))
			wantEqual(t, "a forgotten one is not", len(next(7).Topics), 0)

			wrong := fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionID, q.SessionEpoch = id, 7 })
			wantEqual(t, "wrong epoch", do[*kmsg.FetchResponse](c, wrong, v).ErrorCode, codeInvalidFetchSessionEpoch)
			unknown := fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionID, q.SessionEpoch = id+1, 8 })
			wantEqual(t, "unknown id", do[*kmsg.FetchResponse](c, unknown, v).ErrorCode, codeFetchSessionIDNotFound)
			other := fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionID, q.SessionEpoch = id, 8 })
			wantEqual(t, "names for ids", do[*kmsg.FetchResponse](c, other, map[bool]int16{true: 12, false: 13}[v >= 13]).ErrorCode, codeFetchSessionTopicIDError)

			last := fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionID, q.SessionEpoch = id, -1 })
			wantEqual(t, "ended", do[*kmsg.FetchResponse](c, last, v).SessionID, 0)
			gone := fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionID, q.SessionEpoch = id, 8 })
			wantEqual(t, "after its end", do[*kmsg.FetchResponse](c, gone, v).ErrorCode, codeFetchSessionIDNotFound)
		}
		b.broker.sessions.mu.Lock()
		defer b.broker.sessions.mu.Unlock()
		wantEqual(t, "sessions and parts left", []any{len(b.broker.sessions.byID), b.broker.sessions.parts}, []any{0, 0})
	})
}

// TestSessionsStarveNobody: with room for one batch a poll, all partitions get their turn.
func TestSessionsStarveNobody(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		const n = 5
		topic := b.topicOf("t", n)
		c := b.dial()
		for range n {
			var batches [][]byte
			for range n {
				batches = append(batches, batchOf(t, nil, "x"))
			}
			produceTo(c, 9, produceOf(topic, acksAll, batches...))
		}
		req := fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionEpoch, q.MaxBytes = 0, 1 })
		for i := range int32(n - 1) {
			addPart(req, topic, i+1, 0)
		}
		turns := map[int32]int{}
		at := map[int32]int64{}
		for epoch := int32(1); epoch <= 2*n; epoch++ {
			resp := do[*kmsg.FetchResponse](c, req, 11)
			req = fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionID, q.SessionEpoch, q.MaxBytes = resp.SessionID, epoch, 1 })
			req.Topics = nil
			for _, p := range fetchedParts(resp) {
				if len(p.RecordBatches) > 0 {
					turns[p.Partition]++
					at[p.Partition]++
					addPart(req, topic, p.Partition, at[p.Partition])
				}
			}
		}
		for i := range int32(n) {
			wantEqual(t, fmt.Sprint("turns of partition ", i), turns[i], 2)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		begin := func() int32 {
			return do[*kmsg.FetchResponse](c, fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionEpoch = 0 }), 11).SessionID
		}
		first := begin()
		second := begin()
		if first == 0 || second == 0 || first == second {
			t.Fatalf("sessions %d and %d", first, second)
		}
		wantEqual(t, "no room", begin(), 0)
		time.Sleep(evictAfter / 2)
		resp := do[*kmsg.FetchResponse](c, fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionID, q.SessionEpoch = second, 1 }), 11)
		wantEqual(t, "still there", resp.ErrorCode, 0)
		time.Sleep(evictAfter/2 + time.Second)
		if id := begin(); id == 0 {
			t.Error("a session that is not used any more keeps its place")
		}
		resp = do[*kmsg.FetchResponse](c, fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionID, q.SessionEpoch = first, 1 }), 11)
		wantEqual(t, "the oldest went", resp.ErrorCode, codeFetchSessionIDNotFound)
		resp = do[*kmsg.FetchResponse](c, fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionID, q.SessionEpoch = second, 2 }), 11)
		wantEqual(t, "the other stayed", resp.ErrorCode, 0)
	}, func(b *box) { b.set.FetchSessions = 2 })
}

func TestTrap37_WaitsOnlyWhileAllIsWell(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 2)
		c, producer := b.dial(), b.dial()
		timed := func(what string, req *kmsg.FetchRequest, want time.Duration) []kmsg.FetchResponseTopicPartition {
			t.Helper()
			begin := time.Now()
			parts := fetchFrom(c, 11, req)
			wantEqual(t, what, time.Since(begin), want)
			return parts
		}
		waits := func(q *kmsg.FetchRequest) { q.MaxWaitMillis = 5000; addPart(q, topic, 1, 0) }
		timed("an empty topic", fetchOf(topic, 0, waits), 5*time.Second)
		timed("a partition that is not there", fetchOf(topic, 0, waits, func(q *kmsg.FetchRequest) { addPart(q, topic, 9, 0) }), 0)
		timed("an offset out of range", fetchOf(topic, 7, waits), 0)
		timed("min bytes 0", fetchOf(topic, 0, waits, func(q *kmsg.FetchRequest) { q.MinBytes = 0 }), 0)
		timed("no partitions", fetchOf(topic, 0, waits, func(q *kmsg.FetchRequest) { q.Topics = nil }), 0)

		go func() {
			time.Sleep(200 * time.Millisecond)
			produceTo(producer, 9, produceOf(topic, acksAll, batchOf(t, nil, "x")))
		}()
		parts := timed("woken by the append", fetchOf(topic, 0, waits), 200*time.Millisecond)
		wantEqual(t, "records", len(offsetsOf(t, parts[0].RecordBatches)), 1)

		go func() {
			for range 4 {
				time.Sleep(200 * time.Millisecond)
				produceTo(producer, 9, produceOf(topic, acksAll, batchOf(t, nil, strings.Repeat("x", 100))))
			}
		}()
		parts = timed("enough bytes", fetchOf(topic, 1, waits, func(q *kmsg.FetchRequest) { q.MinBytes = 450 }), 600*time.Millisecond)
		wantEqual(t, "records", len(offsetsOf(t, parts[0].RecordBatches)), 3)
		time.Sleep(time.Second)
		parts = timed("not enough, but the time is up", fetchOf(topic, 1, waits, func(q *kmsg.FetchRequest) { q.MinBytes = 10_000 }), 5*time.Second)
		wantEqual(t, "records", len(offsetsOf(t, parts[0].RecordBatches)), 4)
	})
}

func TestTrap39_OffsetsOutOfRange(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		for range 3 {
			produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "a")))
		}
		p, err := b.broker.o.Replicas.ByID(topic.id, 0)
		b.must(err)
		log, err := p.Log()
		b.must(err)
		b.must(log.TrimBefore(2))
		for offset, code := range map[int64]int16{-1: codeOffsetOutOfRange, 0: codeOffsetOutOfRange, 1: codeOffsetOutOfRange, 2: 0, 3: 0, 4: codeOffsetOutOfRange} {
			r := one(t, fetchFrom(c, 11, fetchOf(topic, offset)))
			wantEqual(t, fmt.Sprint("from ", offset), []any{r.ErrorCode, r.LogStartOffset, r.HighWatermark}, []any{code, 2, 3})
		}
		r := one(t, produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "b"))))
		wantEqual(t, "log start in a produce response", r.LogStartOffset, 2)
	})
}

func TestTrap40_LeaderEpochs(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "a", "b")))
		b.ctl.fence(1)
		b.ctl.unfence(1)
		synctest.Wait()
		p, err := b.broker.o.Replicas.ByID(topic.id, 0)
		b.must(err)
		_, epoch := p.LeaderEpoch()
		if epoch < 1 {
			t.Fatalf("epoch %d after a fence", epoch)
		}
		produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "c")))
		ask := func(version int16, current, last int32, offset int64) kmsg.FetchResponseTopicPartition {
			return one(t, fetchFrom(c, version, fetchOf(topic, offset, func(q *kmsg.FetchRequest) {
				q.Topics[0].Partitions[0].CurrentLeaderEpoch, q.Topics[0].Partitions[0].LastFetchedEpoch = current, last
			})))
		}
		wantEqual(t, "unknown to the client", ask(11, -1, -1, 0).ErrorCode, 0)
		wantEqual(t, "the same", ask(11, epoch, -1, 0).ErrorCode, 0)
		wantEqual(t, "older", ask(11, epoch-1, -1, 0).ErrorCode, codeFencedLeaderEpoch)
		wantEqual(t, "newer", ask(11, epoch+1, -1, 0).ErrorCode, codeUnknownLeaderEpoch)
		wantEqual(t, "follows", ask(12, epoch, 0, 2).ErrorCode, 0)
		r := ask(12, epoch, 0, 3) // the reader has an offset 2 of epoch 0, which ended at 2
		wantEqual(t, "diverges", []any{r.ErrorCode, r.DivergingEpoch.Epoch, r.DivergingEpoch.EndOffset, len(r.RecordBatches)}, []any{0, 0, 2, 0})

		end := func(current, of int32) (int16, int32, int64) {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
			rt.Topic = topic.name
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.CurrentLeaderEpoch, rp.LeaderEpoch = current, of
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			var first *kmsg.OffsetForLeaderEpochResponseTopicPartition
			for v := int16(2); v <= 4; v++ {
				got := do[*kmsg.OffsetForLeaderEpochResponse](c, req, v).Topics[0].Partitions[0]
				if first == nil {
					first = &got
				}
				wantEqual(t, "every version", []any{got.ErrorCode, got.LeaderEpoch, got.EndOffset}, []any{first.ErrorCode, first.LeaderEpoch, first.EndOffset})
			}
			return first.ErrorCode, first.LeaderEpoch, first.EndOffset
		}
		for _, x := range []struct {
			current, of int32
			want        []any
		}{
			{-1, 0, []any{0, 0, 2}},
			{epoch, epoch, []any{0, epoch, 3}},
			{epoch, epoch + 1, []any{0, -1, -1}},
			{epoch - 1, 0, []any{codeFencedLeaderEpoch, -1, -1}},
			{epoch + 1, 0, []any{codeUnknownLeaderEpoch, -1, -1}},
		} {
			code, e, o := end(x.current, x.of)
			wantEqual(t, fmt.Sprint("end of ", x.of), []any{code, e, o}, x.want)
		}
	})
}

func TestTrap42_UnknownTopicIDs(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		for v := int16(4); v <= 18; v++ {
			want := codeUnknownTopicOrPartition
			if v >= 13 {
				want = codeUnknownTopicID
			}
			wantEqual(t, fmt.Sprint("version ", v), one(t, fetchFrom(c, v, fetchOf(topicRef{"nobody", metadata.ID{9}}, 0))).ErrorCode, want)
			req := fetchOf(topic, 0)
			req.Topics[0].Partitions[0].Partition = 4
			wantEqual(t, "partition", one(t, fetchFrom(c, v, req)).ErrorCode, codeUnknownTopicOrPartition)
		}
		deleteTopic(c, "t")
		again := b.topicOf("t", 1)
		for v := int16(13); v <= 18; v++ { // its name says nothing
			wantEqual(t, "the id of the topic before", one(t, fetchFrom(c, v, fetchOf(topic, 0))).ErrorCode, codeUnknownTopicID)
			wantEqual(t, "its own id", one(t, fetchFrom(c, v, fetchOf(again, 0))).ErrorCode, 0)
		}
	})
}

// TestSessionFollowsATopicThatIsMadeAgain: by its name a session finds the new one.
func TestSessionFollowsATopicThatIsMadeAgain(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c, reader := b.dial(), b.dial()
		resp := do[*kmsg.FetchResponse](reader, fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.SessionEpoch = 0 }), 11)
		poll := func(epoch int32) *kmsg.FetchRequest {
			return fetchOf(topic, 0, func(q *kmsg.FetchRequest) {
				q.Topics, q.SessionID, q.SessionEpoch, q.MaxWaitMillis = nil, resp.SessionID, epoch, 60_000
			})
		}
		waiting := reader.send(poll(1), 11)
		synctest.Wait()
		deleteTopic(c, topic.name)
		wantEqual(t, "deleted", fetchedParts(waiting().(*kmsg.FetchResponse))[0].ErrorCode, codeUnknownTopicOrPartition)
		wantEqual(t, "still", fetchFrom(reader, 11, poll(2))[0].ErrorCode, codeUnknownTopicOrPartition)
		again := b.topicOf("t", 1)
		got := fetchFrom(reader, 11, poll(3))
		wantEqual(t, "made again", []any{got[0].ErrorCode, got[0].HighWatermark}, []any{0, 0})
		waiting = reader.send(poll(4), 11)
		synctest.Wait()
		produceTo(c, 9, produceOf(again, acksAll, batchOf(t, nil, "x")))
		wantEqual(t, "woken", len(fetchedParts(waiting().(*kmsg.FetchResponse))[0].RecordBatches) > 0, true)
	})
}

func deleteTopic(c *rawConn, name string) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{name}
	do[*kmsg.DeleteTopicsResponse](c, req, 4)
}

// TestManyReadersAreWokenByOneAppend, with sessions and without, and the producer has its ack.
func TestManyReadersAreWokenByOneAppend(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		var polls []func() kmsg.Response
		for i := range 20 {
			r := b.dial()
			change := func(q *kmsg.FetchRequest) { q.MaxWaitMillis, q.SessionEpoch = 60_000, []int32{-1, 0}[i%2] }
			polls = append(polls, r.send(fetchOf(topic, 0, change), 11))
		}
		synctest.Wait()
		produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, nil, "x")))
		for _, poll := range polls {
			wantEqual(t, "records", len(offsetsOf(t, fetchedParts(poll().(*kmsg.FetchResponse))[0].RecordBatches)), 1)
		}
	})
}

// TestClosedConnectionEndsItsWait: nothing is left behind in the partition.
func TestClosedConnectionEndsItsWait(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		r := b.dial()
		r.send(fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.MaxWaitMillis = 1 << 30 }), 11)
		synctest.Wait()
		r.conn.Close()
		synctest.Wait()
		wantEqual(t, "produce goes on", one(t, produceTo(b.dial(), 9, produceOf(topic, acksAll, batchOf(t, nil, "x")))).ErrorCode, 0)
	})
}

// TestFetchesArePipelined: a fetch that waits holds up the responses behind it, not the requests.
func TestFetchesArePipelined(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		poll := c.send(fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.MaxWaitMillis = 60_000 }), 11)
		produced := c.send(produceOf(topic, acksAll, batchOf(t, nil, "x")), 9)
		wantEqual(t, "woken by the request behind it", len(fetchedParts(poll().(*kmsg.FetchResponse))[0].RecordBatches) > 0, true)
		wantEqual(t, "and that", produced().(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode, 0)
	})
}

// TestRoundTripOfKgo: what is produced is consumed at once, though the consumer waits.
func TestRoundTripOfKgo(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("t", 4)
		consumer := b.client(kgo.ConsumeTopics("t"), kgo.FetchMaxWait(30*time.Second))
		defer consumer.Close()
		consumer.PollFetches(contextDone(t)) // finds the partitions
		synctest.Wait()
		producer := b.client(kgo.DefaultProduceTopic("t"))
		defer producer.Close()
		for i := range 50 {
			b.must(producer.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr())
			begin := time.Now()
			for n := 0; n == 0; {
				f := consumer.PollFetches(t.Context())
				b.must(f.Err())
				f.EachRecord(func(r *kgo.Record) {
					wantEqual(t, "record", string(r.Value), fmt.Sprint(i))
					n++
				})
			}
			if d := time.Since(begin); d > time.Second && i > 0 {
				t.Errorf("record %d came after %v", i, d)
			}
		}
	})
}

// TestLongUnknownNamesAreKeptOnce: many partitions of a topic that is not there must not each keep its name.
func TestLongUnknownNamesAreKeptOnce(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		n := int32(10_000)
		if testing.Short() {
			n = 3000
		}
		topic := topicRef{name: strings.Repeat("x", 30_000)}
		req := fetchOf(topic, 0)
		for i := range n - 1 {
			rp := req.Topics[0].Partitions[0]
			rp.Partition = i + 1
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, rp)
		}
		c := b.dial()
		for _, epoch := range []int32{-1, 0} {
			req.SessionEpoch = epoch
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			parts := fetchFrom(c, 11, req)
			runtime.ReadMemStats(&after)
			wantEqual(t, "parts", len(parts), int(n))
			if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
				t.Errorf("%d MiB for a request of %d partitions", got>>20, n)
			}
		}
	})
}
