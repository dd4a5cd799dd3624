package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestHotPathOverTCP runs kgo on a real port and real files, so that RawConn and sendfile are in it:
// several producers and consumers, batches small and large, all read back by content.
func TestHotPathOverTCP(t *testing.T) {
	b := overTCP(t)
	const partitions = 3
	each := 60
	if testing.Short() {
		each = 12
	}
	b.topic("t", partitions, "write.caching=true", "segment.bytes=4000000")
	r := rand.New(rand.NewPCG(1, 2))
	var want sync.Map
	cl := b.client(kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer cl.Close()
	for i := range partitions * each {
		v := make([]byte, []int{10, 1000, 30_000, 300_000}[i%4]+r.IntN(100))
		for j := range v {
			v[j] = byte(r.Uint32())
		}
		copy(v, fmt.Sprintf("%06d", i))
		want.Store(i, v)
		cl.Produce(t.Context(), &kgo.Record{Value: v, Timestamp: time.UnixMilli(batchTime)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	b.must(cl.Flush(t.Context()))
	var consumers sync.WaitGroup
	for _, maxBytes := range []int32{1 << 10, 1 << 20, 50 << 20} {
		consumers.Go(func() {
			cl := b.client(kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(maxBytes), kgo.FetchMaxBytes(max(maxBytes, 1<<16)))
			defer cl.Close()
			for n := 0; n < partitions*each; {
				f := cl.PollFetches(t.Context())
				if err := f.Err(); err != nil {
					t.Error(err)
					return
				}
				f.EachRecord(func(r *kgo.Record) {
					n++
					var i int
					fmt.Sscanf(string(r.Value[:6]), "%d", &i)
					if v, ok := want.Load(i); !ok || !bytes.Equal(v.([]byte), r.Value) {
						t.Errorf("record %d has other content", i)
					}
				})
			}
		})
	}
	consumers.Wait()
}

// rawProducer is a connection with a request that was made once.
type rawProducer struct {
	t     testing.TB
	conn  net.Conn
	frame []byte
	resp  []byte
}

func newRawProducer(t testing.TB, b *box, topic topicRef, version int16, pipelined int, batch []byte) *rawProducer {
	conn, err := b.connect(t.Context(), "tcp", "")
	b.must(err)
	t.Cleanup(func() { conn.Close() })
	req := produceOf(topic, acksLeader, batch)
	req.Version = version
	one := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, 7)
	return &rawProducer{t: t, conn: conn, frame: bytes.Repeat(one, pipelined), resp: make([]byte, 64<<10)}
}

// send sends the requests and reads their responses.
func (p *rawProducer) send(n int) {
	if _, err := p.conn.Write(p.frame); err != nil {
		p.t.Fatal(err)
	}
	for range n {
		if _, err := io.ReadFull(p.conn, p.resp[:4]); err != nil {
			p.t.Fatal(err)
		}
		if _, err := io.ReadFull(p.conn, p.resp[:binary.BigEndian.Uint32(p.resp)]); err != nil {
			p.t.Fatal(err)
		}
	}
}

// TestProduceAllocates next to nothing: what is left is amortized growth (the offset index).
func TestProduceAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := overTCP(t)
	topic := b.topicOf("t", 1, "write.caching=true")
	batch := batchOf(t, nil, string(make([]byte, 1000)))
	for _, version := range []int16{7, 11, 13} {
		for _, pipelined := range []int{1, 20} {
			p := newRawProducer(t, b, topic, version, pipelined, batch)
			for range 50 {
				p.send(pipelined)
			}
			got := testing.AllocsPerRun(300, func() { p.send(pipelined) })
			if got > 4 {
				t.Errorf("version %d, %d requests a read: %v allocations", version, pipelined, got)
			}
		}
	}
}

// BenchmarkProduceRequest is a produce of one small record over a real port and its response: alone, and twenty that lie in one read.
func BenchmarkProduceRequest(b *testing.B) {
	for _, pipelined := range []int{1, 20} {
		b.Run(fmt.Sprint("pipelined=", pipelined), func(b *testing.B) {
			box := overTCP(b)
			topic := box.topicOf("t", 1, "write.caching=true")
			p := newRawProducer(b, box, topic, 11, pipelined, batchOf(b, nil, string(make([]byte, 100))))
			b.ReportAllocs()
			for b.Loop() {
				p.send(pipelined)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pipelined), "ns/request")
		})
	}
}

// TestGarbageBesideTheHotPath: random bytes on many connections, and a neighbour who notices nothing.
func TestGarbageBesideTheHotPath(t *testing.T) {
	b := overTCP(t)
	topic := b.topicOf("t", 1, "write.caching=true")
	good := b.dial()
	done := make(chan struct{})
	var vandals sync.WaitGroup
	for i := range 4 {
		vandals.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 9))
			for {
				select {
				case <-done:
					return
				default:
				}
				conn, err := b.connect(t.Context(), "tcp", "")
				if err != nil {
					t.Error(err)
					return
				}
				conn.SetDeadline(time.Now().Add(time.Second))
				conn.Write(vandalFrame(r))
				conn.Read(make([]byte, 1))
				conn.Close()
			}
		})
	}
	rounds := 300
	if testing.Short() {
		rounds = 40
	}
	for i := range rounds {
		r := one(t, produceTo(good, 9, produceOf(topic, acksAll, batchOf(t, nil, "x"))))
		wantEqual(t, "produce", []any{r.ErrorCode, r.BaseOffset}, []any{0, i})
		p := one(t, fetchFrom(good, 12, fetchOf(topic, int64(i))))
		wantEqual(t, "fetch", []any{p.ErrorCode, len(offsetsOf(t, p.RecordBatches))}, []any{0, 1})
	}
	close(done)
	vandals.Wait()
}

// vandalFrame is a frame with a header that is served and a body that is a mutation of a good one, or noise.
// It can append nothing: its batches are broken.
func vandalFrame(r *rand.Rand) []byte {
	keys := apis()
	row := keys[r.IntN(len(keys))]
	version := row.min + int16(r.IntN(int(row.max-row.min)+1))
	req := kmsg.RequestForKey(row.key)
	switch q := req.(type) {
	case *kmsg.ProduceRequest:
		req = produceOf(topicRef{name: "t"}, acksLeader, []byte("no batch"))
	case *kmsg.FetchRequest:
		req = fetchOf(topicRef{name: "t"}, r.Int64N(10))
	case *kmsg.CreateTopicsRequest, *kmsg.DeleteTopicsRequest, *kmsg.CreatePartitionsRequest:
		req = kmsg.NewPtrApiVersionsRequest()
		version = 3
	case *kmsg.MetadataRequest:
		q.AllowAutoTopicCreation = false
		q.Topics = []kmsg.MetadataRequestTopic{}
	}
	req.SetVersion(version)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("vandal")).AppendRequest(nil, req, 1)
	for range r.IntN(4) {
		if at := 12 + r.IntN(len(frame)); at < len(frame) && row.key != 3 && row.key != 10 {
			frame[at] = byte(r.Uint32())
		}
	}
	return frame
}
