package metadata_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// bigImage has topics of ten partitions with three replicas each on six brokers.
func bigImage(b *testing.B, topics int) (*metadata.Image, []*metadatav1.Record) {
	b.Helper()
	var recs []*metadatav1.Record
	for n := range int32(6) {
		recs = append(recs, metadata.BrokerRecord(&metadata.Broker{
			ID: n, Incarnation: metadata.ID{1}, Directories: []metadata.ID{{byte(n), 1}}, Listeners: []metadata.Listener{{Host: "h", Port: 1}},
		}))
	}
	for n := range topics {
		id := metadata.ID{byte(n), byte(n >> 8), byte(n >> 16), 7}
		recs = append(recs, metadata.TopicRecord(id, fmt.Sprintf("topic-%06d", n)))
		for p := range int32(10) {
			first := (int32(n) + p) % 6
			replicas := []int32{first, (first + 1) % 6, (first + 2) % 6}
			recs = append(recs, metadata.PartitionRecord(id, &metadata.Partition{
				Index: p, Leader: first, Replicas: replicas, ISR: replicas,
				Directories: []metadata.ID{{byte(first), 1}, {byte(first+1) % 6, 1}, {byte(first+2) % 6, 1}},
			}))
		}
	}
	img, _ := metadata.Empty().Apply(1, recs)
	return img, recs
}

// change is the record of another leader of one partition.
func change(img *metadata.Image, topic int, partition int32) *metadatav1.Record {
	id := metadata.ID{byte(topic), byte(topic >> 8), byte(topic >> 16), 7}
	p := img.Partition(id, partition)
	leader, epoch, version := p.ISR[(int(p.LeaderEpoch)+1)%3], p.LeaderEpoch+1, p.PartitionEpoch+1
	return &metadatav1.Record{Kind: &metadatav1.Record_PartitionChange{PartitionChange: &metadatav1.PartitionChange{
		TopicId: id[:], Index: partition, Leader: &leader, LeaderEpoch: &epoch, PartitionEpoch: &version,
	}}}
}

// BenchmarkApply is one entry with one change, at the given number of topics.
func BenchmarkApply(b *testing.B) {
	for _, topics := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint("topics=", topics), func(b *testing.B) {
			img, _ := bigImage(b, topics)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				img, _ = img.Apply(img.Index()+1, []*metadatav1.Record{change(img, n%topics, int32(n%10))})
			}
		})
	}
}

// BenchmarkApplyFailover is one entry that moves 10,000 leaderships.
func BenchmarkApplyFailover(b *testing.B) {
	img, _ := bigImage(b, 10_000)
	var recs []*metadatav1.Record
	for n := range 10_000 {
		recs = append(recs, change(img, n, int32(n%10)))
	}
	b.ReportAllocs()
	for b.Loop() {
		img.Apply(2, recs)
	}
}

// BenchmarkDraft is one command decided on a draft that has many before it.
func BenchmarkDraft(b *testing.B) {
	img, _ := bigImage(b, 10_000)
	draft := metadata.NewDraft(img)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		draft.Apply([]*metadatav1.Record{change(draft.Image(), n%10_000, int32(n%10))})
	}
}

func BenchmarkDecode(b *testing.B) {
	img, _ := bigImage(b, 10_000)
	var recs []*metadatav1.Record
	for n := range 10_000 {
		recs = append(recs, change(img, n, int32(n%10)))
	}
	data, err := metadata.Encode(&metadatav1.Envelope{Term: 1, Records: recs})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(data))/10_000, "bytes/record")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := metadata.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	img, _ := bigImage(b, 10_000)
	var data bytes.Buffer
	if err := metadata.WriteSnapshot(&data, img); err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.ReportMetric(float64(data.Len()), "bytes")
		for b.Loop() {
			if err := metadata.WriteSnapshot(io.Discard, img); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := metadata.ReadSnapshot(bytes.NewReader(data.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDiff is that of a restored image of 100,000 partitions with one change.
func BenchmarkDiff(b *testing.B) {
	img, _ := bigImage(b, 10_000)
	next, _ := img.Apply(2, []*metadatav1.Record{change(img, 5, 5)})
	var data bytes.Buffer
	if err := metadata.WriteSnapshot(&data, next); err != nil {
		b.Fatal(err)
	}
	restored, err := metadata.ReadSnapshot(&data)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if d := metadata.Diff(img, restored); len(d.Topics()) != 1 {
			b.Fatal("a diff of one change has more")
		}
	}
}
