package broker

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/record"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

var allCodecs = []record.Codec{record.None, record.Gzip, record.Snappy, record.Lz4, record.Zstd}

// in is a change for batchOf: a codec.
func in(c record.Codec) func(*record.Builder) { return func(r *record.Builder) { r.Codec = c } }

// storedIn fetches the batches of partition 0 from an offset on.
func storedIn(c *rawConn, topic topicRef, offset int64) (all []record.Batch) {
	c.t.Helper()
	p := one(c.t, fetchFrom(c, 11, fetchOf(topic, offset))).RecordBatches
	for len(p) > 0 {
		b, rest, err := record.Next(p)
		if err == nil {
			err = b.Check()
		}
		if err != nil {
			c.t.Fatal(err)
		}
		all, p = append(all, b), rest
	}
	return all
}

// compacted creates a topic whose records need keys.
func (b *box) compacted(name string) topicRef {
	b.t.Helper()
	b.ctl.mustDo(&clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{CreateTopics: &clusterv1.CreateTopics{Topics: []*clusterv1.CreateTopics_Topic{{
		Name: name, NumPartitions: 1, ReplicationFactor: 1, Internal: true, Configs: []*clusterv1.ConfigEntry{{Name: "cleanup.policy", Value: "compact"}},
	}}}}})
	b.settle()
	return topicRef{name, b.ctl.Image().TopicByName(name).ID}
}

// TestCompressionType: whatever a producer sends stands in the log as the topic wants it, with the
// same records; what comes so already is not touched.
func TestCompressionType(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		for _, want := range []string{"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"} {
			for _, stamp := range []string{"CreateTime", "LogAppendTime"} {
				topic := b.topicOf(want+stamp, 1, "compression.type="+want, "message.timestamp.type="+stamp)
				next := int64(0)
				for i, from := range allCodecs {
					sent := batchOf(t, func(r *record.Builder) {
						producer(77, 0, int32(3*i))(r)
						r.Codec = from
					}, "a", "b", "c")
					what := fmt.Sprintf("%s sent to %s, %s", from, want, stamp)
					r := one(t, produceTo(c, 9, produceOf(topic, acksAll, sent)))
					wantEqual(t, what, []any{r.ErrorCode, r.BaseOffset}, []any{0, next})
					stored := one(t, storedIn(c, topic, next))
					target := from
					if want != "producer" {
						target, _ = record.ParseCodec(want)
					}
					wantEqual(t, what, []any{stored.Codec(), stored.BaseOffset(), stored.LastOffset(), stored.ProducerID(), stored.BaseSequence(), stored.TimestampType()},
						[]any{target, next, next + 2, 77, 3 * i, stamp})
					n := 0
					for rec, err := range stored.Records(1 << 20) {
						b.must(err)
						wantTime := int64(batchTime + n)
						if stamp == "LogAppendTime" {
							wantTime = b.clock.NowMillis()
						}
						wantEqual(t, what, []any{string(rec.Key), string(rec.Value), stored.Timestamp(rec), rec.OffsetDelta}, []any{"key", string(rune('a' + n)), wantTime, n})
						n++
					}
					if stamp == "CreateTime" && from == target && !bytes.Equal(stored[21:], sent[21:]) {
						t.Errorf("%s: the batch was touched", what)
					}
					// The producer's retry is recognized though the log has other bytes.
					again := one(t, produceTo(c, 9, produceOf(topic, acksAll, sent)))
					wantEqual(t, what+" again", []any{again.ErrorCode, again.BaseOffset}, []any{0, next})
					next += 3
				}
			}
		}
	})
}

// TestRecompressionObeysMaxMessageBytes before and after.
func TestRecompressionObeysMaxMessageBytes(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		plain := b.topicOf("plain", 1, "compression.type=uncompressed", "max.message.bytes=2000")
		zeros := string(make([]byte, 5000))
		r := one(t, produceTo(c, 9, produceOf(plain, acksAll, batchOf(t, in(record.Zstd), zeros))))
		wantEqual(t, "too large afterwards", r.ErrorCode, codeMessageTooLarge)
		zipped := b.topicOf("zipped", 1, "compression.type=gzip", "max.message.bytes=2000")
		r = one(t, produceTo(c, 9, produceOf(zipped, acksAll, batchOf(t, nil, zeros))))
		wantEqual(t, "too large before", r.ErrorCode, codeMessageTooLarge)
		r = one(t, produceTo(c, 9, produceOf(plain, acksAll, batchOf(t, in(record.Gzip), "small"))))
		wantEqual(t, "small", r.ErrorCode, 0)
		small := b.topicOf("small", 1, "compression.type=uncompressed", "max.decompressed.message.bytes=1000")
		r = one(t, produceTo(c, 9, produceOf(small, acksAll, batchOf(t, in(record.Zstd), zeros))))
		wantEqual(t, "max.decompressed.message.bytes", r.ErrorCode, codeMessageTooLarge)
	})
}

// TestASmallRequestThatGrows: batches that become large when they are decompressed do not wait for each other in memory.
func TestASmallRequestThatGrows(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long")
	}
	inBox(t, func(t *testing.T, b *box) {
		const n = 24
		topic := b.topicOf("t", n, "compression.type=uncompressed", "write.caching=true")
		batches := make([][]byte, n)
		for i := range batches {
			batches[i] = batchOf(t, in(record.Zstd), string(make([]byte, maxRebuilt/5)))
		}
		c := b.dial()
		for round := range 2 {
			for i, r := range produceTo(c, 9, produceOf(topic, acksAll, batches...)) {
				wantEqual(t, fmt.Sprint("partition ", i), []any{r.ErrorCode, r.BaseOffset}, []any{0, round})
			}
		}
	})
}

// undecodable makes intact batches, by their header and CRC, whose records are none.
func undecodable(t *testing.T, c record.Codec) record.Batch {
	p := record.Batch(batchOf(t, in(c), "a", "b", "c"))
	for i := range p[80:] {
		p[80+i] = 0xff
	}
	p.SetMaxTimestamp(p.MaxTimestamp()) // a right CRC
	return p
}

func TestProduceValidation(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		header, records := b.topicOf("header", 1), b.topicOf("records", 1, "produce.validation=records", "message.timestamp.after.max.ms=1000")
		plain := b.topicOf("plain", 1, "compression.type=uncompressed")
		for _, codec := range allCodecs {
			p := undecodable(t, codec)
			wantEqual(t, "header", one(t, produceTo(c, 9, produceOf(header, acksAll, p))).ErrorCode, 0)
			r := one(t, produceTo(c, 9, produceOf(records, acksAll, p)))
			wantEqual(t, fmt.Sprint("records, ", codec), []any{r.ErrorCode, r.BaseOffset}, []any{codeInvalidRecord, -1})
			if codec != record.None {
				wantEqual(t, "to be opened anyway", one(t, produceTo(c, 9, produceOf(plain, acksAll, p))).ErrorCode, codeInvalidRecord)
			}
			good := batchOf(t, in(codec), "a", "b", "c")
			wantEqual(t, "a good one", one(t, produceTo(c, 9, produceOf(records, acksAll, slices.Clone(good)))).ErrorCode, 0)

			// A header with a wrong greatest timestamp is set right, or ListOffsets would look in the wrong place.
			wrong := record.Batch(slices.Clone(good))
			wrong.SetMaxTimestamp(batchTime + 500)
			r = one(t, produceTo(c, 9, produceOf(records, acksAll, wrong)))
			wantEqual(t, "wrong header", r.ErrorCode, 0)
			stored := one(t, storedIn(c, records, r.BaseOffset))
			wantEqual(t, "greatest timestamp", stored.MaxTimestamp(), batchTime+2)
		}
		end := one(t, listOffsetsOf(c, 11, "records", latestTimestamp)).Offset
		wantEqual(t, "nothing else was appended", end, 2*3*len(allCodecs))
	})
}

// TestTrap27_RecordErrors: the records that are refused are named from version 8 on.
func TestTrap27_RecordErrors(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		compacted := b.compacted("compacted")
		dated := b.topicOf("dated", 1, "produce.validation=records", "message.timestamp.after.max.ms=1000", "message.timestamp.before.max.ms=1000")
		b.clock.Set(batchTime)
		batch := func(add func(r *record.Builder)) []byte {
			r := record.NewBuilder()
			r.Codec = record.Lz4
			add(r)
			p, err := r.Build()
			b.must(err)
			return p
		}
		keyless := batch(func(r *record.Builder) {
			r.Add(batchTime, []byte("k"), nil)
			r.Add(batchTime, nil, []byte("v"))
			r.Add(batchTime, []byte(""), nil)
			r.Add(batchTime, nil, nil)
		})
		early := batch(func(r *record.Builder) {
			r.Add(batchTime, nil, nil)
			r.Add(batchTime-1001, nil, nil) // the header does not show it
		})
		for v := int16(3); v <= 13; v++ {
			for _, x := range []struct {
				topic topicRef
				batch []byte
				code  int16
				at    []int32
			}{{compacted, keyless, codeInvalidRecord, []int32{1, 3}}, {dated, early, codeInvalidTimestamp, []int32{1}}} {
				r := one(t, produceTo(c, v, produceOf(x.topic, acksAll, x.batch)))
				wantEqual(t, fmt.Sprint("version ", v, ", ", x.topic.name), []any{r.ErrorCode, r.BaseOffset, r.ErrorMessage != nil}, []any{x.code, -1, v >= 8})
				at := []int32{}
				for _, e := range r.ErrorRecords {
					at = append(at, e.RelativeOffset)
					if e.ErrorMessage == nil {
						t.Error("a record error without a message")
					}
				}
				if v < 8 {
					x.at = nil
				}
				wantEqual(t, "records", at, x.at)
			}
			wantEqual(t, "keys", one(t, produceTo(c, v, produceOf(compacted, acksAll, batchOf(t, in(record.Zstd), "a")))).ErrorCode, map[bool]int16{true: 0, false: codeUnsupportedCompressionType}[v >= 7])
		}
	})
}

// TestTrap29_Zstd: clients that cannot know zstd neither send it nor get it from a topic that is zstd's.
func TestTrap29_Zstd(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		zstd, mixed := b.topicOf("zstd", 1, "compression.type=zstd"), b.topicOf("mixed", 1)
		for v := int16(3); v <= 13; v++ {
			want := int16(0)
			if v < 7 {
				want = codeUnsupportedCompressionType
			}
			wantEqual(t, fmt.Sprint("produce ", v), one(t, produceTo(c, v, produceOf(mixed, acksAll, batchOf(t, in(record.Zstd), "a")))).ErrorCode, want)
			wantEqual(t, fmt.Sprint("produce plain ", v), one(t, produceTo(c, v, produceOf(zstd, acksAll, batchOf(t, nil, "a")))).ErrorCode, 0)
		}
		for v := int16(4); v <= 18; v++ {
			r := one(t, fetchFrom(c, v, fetchOf(zstd, 0)))
			if v < 10 {
				wantEqual(t, fmt.Sprint("fetch ", v), []any{r.ErrorCode, len(r.RecordBatches), r.HighWatermark}, []any{codeUnsupportedCompressionType, 0, -1})
			} else {
				wantEqual(t, fmt.Sprint("fetch ", v), []any{r.ErrorCode, len(offsetsOf(t, r.RecordBatches))}, []any{0, 11})
			}
			wantEqual(t, "what producers chose is served", one(t, fetchFrom(c, v, fetchOf(mixed, 0))).ErrorCode, 0)
		}
	})
}

// TestTrap29_Snappy: the framing of the Java library and bare blocks of others are read alike.
func TestTrap29_Snappy(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		topic := b.topicOf("t", 1, "compression.type=uncompressed")
		framed := record.Batch(batchOf(t, in(record.Snappy), "a", "b"))
		p, err := framed.Open(1 << 10)
		b.must(err)
		// A bare block: the length of what it holds, then one literal.
		bare := append([]byte{}, framed[:record.HeaderSize]...)
		bare = append(bare, byte(len(p)), byte(len(p)-1)<<2)
		bare = append(bare, p...)
		bare[11] = byte(len(bare) - record.Overhead)
		record.Batch(bare).SetMaxTimestamp(framed.MaxTimestamp())
		for i, sent := range [][]byte{framed, bare} {
			r := one(t, produceTo(c, 9, produceOf(topic, acksAll, sent)))
			wantEqual(t, "code", []any{r.ErrorCode, r.BaseOffset}, []any{0, 2 * i})
			stored := one(t, storedIn(c, topic, r.BaseOffset))
			wantEqual(t, "records", []any{stored.Codec(), bytes.Equal(stored.Payload(), p)}, []any{record.None, true})
		}
	})
}

// TestRecompressedByKgo: what a client writes in any codec to a topic of any other, it reads back.
func TestRecompressedByKgo(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long")
	}
	b := overTCP(t)
	for _, want := range []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"} {
		b.topic(want, 1, "compression.type="+want, "compression.gzip.level=9", "compression.lz4.level=12", "compression.zstd.level=8")
		codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
		for _, codec := range codecs {
			cl := b.client(kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(want))
			for i := range 3 {
				r := &kgo.Record{Value: []byte(fmt.Sprint(i, strings.Repeat(" and more", 100))), Timestamp: time.UnixMilli(batchTime)}
				b.must(cl.ProduceSync(t.Context(), r).FirstErr())
			}
			cl.Close()
		}
		got := consumeAll(t, b, want)[0]
		wantEqual(t, want, len(got), 3*len(codecs))
		for i, v := range got {
			wantEqual(t, want, v, fmt.Sprint(i%3, strings.Repeat(" and more", 100)))
		}
	}
}
