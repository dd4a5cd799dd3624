package wire

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceRequest makes a request by kmsg, which is generated from Kafka's schemas.
func produceRequest(r *rand.Rand, version int16) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, int16(r.IntN(3)-1), int32(r.IntN(100_000))
	if r.IntN(2) == 0 {
		req.TransactionID = ptr("txn")
	}
	for range r.IntN(4) {
		t := kmsg.NewProduceRequestTopic()
		t.Topic = string(make([]byte, r.IntN(300)))
		t.TopicID[3] = byte(r.Int())
		for range r.IntN(4) {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition = r.Int32()
			if n := r.IntN(5); n > 0 {
				p.Records = make([]byte, (n-1)*100)
			}
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

func TestProduceDecodesWhatKmsgWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var p Produce
	for range 2000 {
		version := int16(3 + r.IntN(11))
		req := produceRequest(r, version)
		if err := p.Decode(req.AppendTo(nil), version); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if p.Acks != req.Acks || p.TimeoutMillis != req.TimeoutMillis || (p.TransactionalID == nil) != (req.TransactionID == nil) || len(p.Topics) != len(req.Topics) {
			t.Fatalf("version %d: %+v, want %+v", version, p, req)
		}
		for i, want := range req.Topics {
			got := p.Topics[i]
			if version >= 13 && got.ID != want.TopicID || version < 13 && string(got.Name) != want.Topic || got.To-got.From != len(want.Partitions) {
				t.Fatalf("version %d: topic %d is %+v", version, i, got)
			}
			for j, wp := range want.Partitions {
				gp := p.Partitions[got.From+j]
				if gp.Index != wp.Partition || !bytes.Equal(gp.Records, wp.Records) || (gp.Records == nil) != (wp.Records == nil) {
					t.Fatalf("version %d: partition %d of topic %d", version, j, i)
				}
			}
		}
	}
}

func TestProduceResponseIsWhatKmsgReads(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var p Produce
	for range 2000 {
		version := int16(3 + r.IntN(11))
		req := produceRequest(r, version)
		if err := p.Decode(req.AppendTo(nil), version); err != nil {
			t.Fatal(err)
		}
		results := make([]ProduceResult, len(p.Partitions))
		for i := range results {
			results[i] = ProduceResult{
				Code: int16(r.IntN(100)), BaseOffset: r.Int64(), LogAppendTime: r.Int64(), LogStart: r.Int64(),
				Message: []string{"", "what is wrong"}[r.IntN(2)], Leader: []LeaderHint{NoLeaderHint, {7, 9}}[r.IntN(2)],
			}
		}
		var endpoints []Endpoint
		if r.IntN(2) == 0 {
			endpoints = []Endpoint{{1, "host-a", 9092, ""}, {2, string(bytes.Repeat([]byte("h"), 200)), 9093, "rack"}}
		}
		const before = 9
		body := AppendProduceResponse(make([]byte, before), &p, results, endpoints)
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = version
		if err := resp.ReadFrom(body[before:]); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if again := resp.AppendTo(nil); !bytes.Equal(again, body[before:]) {
			t.Fatalf("version %d: kmsg writes %x, we %x", version, again, body[before:])
		}
		k := 0
		for _, rt := range resp.Topics {
			for _, rp := range rt.Partitions {
				want := results[k]
				if rp.ErrorCode != want.Code || rp.BaseOffset != want.BaseOffset || rp.LogAppendTime != want.LogAppendTime {
					t.Fatalf("version %d: %+v, want %+v", version, rp, want)
				}
				if version >= 10 && (rp.CurrentLeader.LeaderID != want.Leader.Node || rp.CurrentLeader.LeaderEpoch != want.Leader.Epoch) {
					t.Fatalf("version %d: leader %+v, want %+v", version, rp.CurrentLeader, want.Leader)
				}
				FailProduceResult(body[want.At:], version, 56)
				k++
			}
		}
		if version >= 10 && len(resp.Brokers) != len(endpoints) {
			t.Fatalf("version %d: %d endpoints", version, len(resp.Brokers))
		}
		checkFailed(t, version, body[before:], results)
	}
}

// checkFailed expects every result to be a failure after FailProduceResult.
func checkFailed(t *testing.T, version int16, body []byte, results []ProduceResult) {
	t.Helper()
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = version
	if err := resp.ReadFrom(body); err != nil {
		t.Fatalf("version %d, patched: %v", version, err)
	}
	n := 0
	for _, rt := range resp.Topics {
		for _, rp := range rt.Partitions {
			if rp.ErrorCode != 56 || rp.BaseOffset != -1 || rp.LogAppendTime != -1 || version >= 5 && rp.LogStartOffset != -1 {
				t.Fatalf("version %d, patched: %+v", version, rp)
			}
			n++
		}
	}
	if n != len(results) {
		t.Fatalf("%d results, want %d", n, len(results))
	}
}

func fetchRequest(r *rand.Rand, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = version, r.Int32(), r.Int32(), r.Int32()
	req.IsolationLevel, req.SessionID, req.SessionEpoch = int8(r.IntN(2)), r.Int32(), r.Int32()
	req.Rack = []string{"", "rack"}[r.IntN(2)]
	if version >= 15 && r.IntN(2) == 0 {
		req.ReplicaState.ID, req.ReplicaState.Epoch = 5, 6
	} else if version < 15 {
		req.ReplicaID = 4
	}
	if version >= 12 && r.IntN(2) == 0 {
		req.ClusterID = ptr("cluster")
	}
	for range r.IntN(4) {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = string(make([]byte, r.IntN(200))), [16]byte{1, 2, byte(r.Int())}
		for range r.IntN(4) {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.FetchOffset, p.LastFetchedEpoch = r.Int32(), r.Int32(), r.Int64(), r.Int32()
			p.LogStartOffset, p.PartitionMaxBytes = r.Int64(), r.Int32()
			if version >= 17 && r.IntN(2) == 0 {
				p.ReplicaDirectoryID[4] = 9
			}
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	for range r.IntN(3) {
		t := kmsg.NewFetchRequestForgottenTopic()
		t.Topic, t.TopicID = "gone", [16]byte{7}
		for range r.IntN(3) {
			t.Partitions = append(t.Partitions, r.Int32())
		}
		req.ForgottenTopics = append(req.ForgottenTopics, t)
	}
	return req
}

func TestFetchDecodesWhatKmsgWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var f Fetch
	for range 3000 {
		version := int16(4 + r.IntN(15))
		req := fetchRequest(r, version)
		if err := f.Decode(req.AppendTo(nil), version); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		replica, session, epoch := req.ReplicaID, int32(0), int32(-1)
		if version >= 15 {
			replica = req.ReplicaState.ID
		}
		if version >= 7 {
			session, epoch = req.SessionID, req.SessionEpoch
		}
		if f.ReplicaID != replica || f.MaxWaitMillis != req.MaxWaitMillis || f.MinBytes != req.MinBytes || f.MaxBytes != req.MaxBytes ||
			f.Isolation != req.IsolationLevel || f.SessionID != session || f.SessionEpoch != epoch || len(f.Topics) != len(req.Topics) {
			t.Fatalf("version %d: %+v, want %+v", version, f, req)
		}
		if version >= 11 && string(f.Rack) != req.Rack {
			t.Fatalf("version %d: rack %q", version, f.Rack)
		}
		checkFetchTopics(t, version, &f, req)
	}
}

func checkFetchTopics(t *testing.T, version int16, f *Fetch, req *kmsg.FetchRequest) {
	t.Helper()
	since := func(v int16, x int64) int64 {
		if version >= v {
			return x
		}
		return -1
	}
	for i, want := range req.Topics {
		got := f.Topics[i]
		if version >= 13 && got.ID != want.TopicID || version < 13 && string(got.Name) != want.Topic {
			t.Fatalf("version %d: topic %+v", version, got)
		}
		for j, wp := range want.Partitions {
			exp := FetchPartition{
				wp.Partition, int32(since(9, int64(wp.CurrentLeaderEpoch))), wp.FetchOffset, int32(since(12, int64(wp.LastFetchedEpoch))),
				since(5, wp.LogStartOffset), wp.PartitionMaxBytes,
			}
			if gp := f.Partitions[got.From+j]; gp != exp {
				t.Fatalf("version %d: %+v, want %+v", version, gp, exp)
			}
		}
	}
	if version < 7 {
		return
	}
	for i, want := range req.ForgottenTopics {
		got := f.Forgotten[i]
		if version >= 13 && got.ID != want.TopicID || version < 13 && string(got.Name) != want.Topic {
			t.Fatalf("version %d: forgotten %+v", version, got)
		}
		if idx := f.ForgottenIdx[got.From:got.To]; len(idx)+len(want.Partitions) > 0 && !reflect.DeepEqual(idx, want.Partitions) {
			t.Fatalf("version %d: forgotten %v, want %v", version, idx, want.Partitions)
		}
	}
}

// TestTrap08_FetchResponseIsWhatKmsgReads also shows that no tag is written that a version lacks.
func TestTrap08_FetchResponseIsWhatKmsgReads(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		version := int16(4 + r.IntN(15))
		topics := r.IntN(4)
		body := AppendFetchHead(nil, version, int16(r.IntN(3)), r.Int32(), topics)
		for range topics {
			n := r.IntN(4)
			body = AppendFetchTopic(body, version, "topic", [16]byte{1}, n)
			for range n {
				res := FetchResult{
					Index: r.Int32(), Code: int16(r.IntN(2)), HighWatermark: r.Int64(), LastStable: r.Int64(), LogStart: r.Int64(),
					NullAborted: r.IntN(2) == 0, Leader: []LeaderHint{NoLeaderHint, {3, 4}}[r.IntN(2)], DivergingEpoch: int32(r.IntN(3) - 1), DivergingEnd: 8,
				}
				records := make([]byte, r.IntN(300))
				body = AppendFetchPartition(body, version, &res, len(records))
				body = append(body, records...)
				body = AppendFetchPartitionEnd(body, version, &res)
			}
			body = AppendFetchTopicEnd(body, version)
		}
		body = AppendFetchEnd(body, version, []Endpoint{{4, "host", 9092, ""}})
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = version
		if err := resp.ReadFrom(body); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if again := resp.AppendTo(nil); !bytes.Equal(again, body) {
			t.Fatalf("version %d: kmsg writes\n%x, we\n%x", version, again, body)
		}
		for _, rt := range resp.Topics {
			for _, rp := range rt.Partitions {
				if rp.RecordBatches == nil { // trap 35
					t.Fatalf("version %d: null records", version)
				}
			}
		}
	}
}

func TestProduceDecodeAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	req := produceRequest(r, 11)
	for len(req.Topics) == 0 {
		req = produceRequest(r, 11)
	}
	body := req.AppendTo(nil)
	var p Produce
	if n := testing.AllocsPerRun(100, func() { _ = p.Decode(body, 11) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecodeProduce(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks = 11, 1
	t := kmsg.NewProduceRequestTopic()
	t.Topic = "topic"
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = make([]byte, 100+r.IntN(2))
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	body := req.AppendTo(nil)
	var d Produce
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(body, 11); err != nil {
			b.Fatal(err)
		}
	}
}
