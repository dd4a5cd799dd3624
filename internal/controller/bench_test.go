package controller

import (
	"fmt"
	"testing"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// bigCluster has 10,000 partitions that broker 1 leads, with the given number of
// replicas, and as many of which it is no part.
func bigCluster(tb testing.TB, replicas int) *metadata.Image {
	tb.Helper()
	var recs []*metadatav1.Record
	for n := range int32(6) {
		recs = append(recs, metadata.BrokerRecord(&metadata.Broker{
			ID: n + 1, Incarnation: metadata.ID{1}, Directories: []metadata.ID{{byte(n), 1}}, Listeners: []metadata.Listener{{Host: "h", Port: 1}},
		}))
	}
	for n := range 2000 {
		id := metadata.ID{byte(n), byte(n >> 8), 7}
		recs = append(recs, metadata.TopicRecord(id, fmt.Sprintf("topic-%06d", n)))
		for p := range int32(10) {
			var r []int32
			for i := range int32(replicas) {
				r = append(r, 1+(p%2*3+i)%6)
			}
			recs = append(recs, metadata.PartitionRecord(id, &metadata.Partition{Index: p, Leader: r[0], Replicas: r, ISR: r, Directories: make([]metadata.ID, len(r))}))
		}
	}
	img, _ := metadata.Empty().Apply(1, recs)
	return img
}

// BenchmarkFenceBroker decides what becomes of the 10,000 partitions of a dead broker.
func BenchmarkFenceBroker(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		b.Run(fmt.Sprint("replicas=", replicas), func(b *testing.B) {
			img := bigCluster(b, replicas)
			cmd := &clusterv1.Command{Kind: &clusterv1.Command_FenceBroker{FenceBroker: &clusterv1.FenceBroker{BrokerId: 1, BrokerEpoch: 1}}}
			b.ReportAllocs()
			for b.Loop() {
				recs, answer := Decide(img, cmd, Env{})
				if answer.GetCode() != 0 || answer.GetMore() || len(recs) != 10_001 {
					b.Fatal(len(recs), answer)
				}
				b.ReportMetric(float64(metadata.RecordsSize(recs)), "entry-bytes")
			}
		})
	}
}

// BenchmarkRepair looks at 20,000 healthy partitions.
func BenchmarkRepair(b *testing.B) {
	img := bigCluster(b, 3)
	cmd := &clusterv1.Command{Kind: &clusterv1.Command_RepairPartitions{RepairPartitions: &clusterv1.RepairPartitions{}}}
	b.ReportAllocs()
	for b.Loop() {
		if recs, _ := Decide(img, cmd, Env{}); len(recs) != 0 {
			b.Fatal(len(recs))
		}
	}
}

// BenchmarkCreateTopic decides one small topic among many.
func BenchmarkCreateTopic(b *testing.B) {
	img := bigCluster(b, 1)
	cmd := &clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{CreateTopics: &clusterv1.CreateTopics{
		Topics: []*clusterv1.CreateTopics_Topic{{Name: "new", NumPartitions: 3, ReplicationFactor: 1}},
	}}}
	env := Env{NewID: func() metadata.ID { return metadata.ID{9, 9, 9} }, Intn: func(int) int { return 0 }, Partitions: 1}
	b.ReportAllocs()
	for b.Loop() {
		if recs, _ := Decide(img, cmd, env); len(recs) != 4 {
			b.Fatal(len(recs))
		}
	}
}
