package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// scrape returns the series whose names begin so, each as in the text format, sorted.
func (b *box) scrape(prefixes ...string) (list []string) {
	b.t.Helper()
	families, err := b.reg.Gather()
	b.must(err)
	for _, f := range families {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(f.GetName(), p) }) {
			continue
		}
		if f.GetHelp() == "" {
			b.t.Errorf("%s has no help", f.GetName())
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			list = append(list, fmt.Sprintf("%s{%s} %v", f.GetName(), strings.Join(labels, ","), m.GetGauge().GetValue()))
		}
	}
	slices.Sort(list)
	return list
}

// TestKafkaExporter: kafka_exporter's names, labels and values, each series from the broker that it is for.
func TestKafkaExporter(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		x := b.topicOf("x", 2)
		b.groupTopic()
		c := b.dial()
		values := make([]string, 50)
		produceTo(c, 11, produceOf(x, 1, batchOf(t, nil, values...)))
		j := joinUntil(c, 9, consumerJoin("g", ""))
		syncAs(c, 5, "g", j.MemberID, 1, nil)
		b.commitAndFetch(c, 9, "g", j.MemberID, 1) // x-0 at 42
		b.commitAndFetch(c, 9, "\xff\xfe", "", -1) // no label
		b.ctl.addBroker(2)
		b.topic("y", 2)
		theirs := 0 // the partition of y that broker 2 leads
		if b.ctl.Image().TopicByName("y").Partitions[1].Leader == 2 {
			theirs = 1
		}

		wantSeries(t, b.scrape("kafka_broker", "kafka_consumergroup", "chronik_kafka_exporter"), `
chronik_kafka_exporter_left_out{what="groups"} 1
chronik_kafka_exporter_left_out{what="topics"} 0
kafka_broker_info{address="b1:9092",id="1"} 1
kafka_broker_info{address="b2:9092",id="2"} 1
kafka_brokers{} 2
kafka_consumergroup_current_offset_sum{consumergroup="g",topic="x"} 42
kafka_consumergroup_current_offset{consumergroup="g",partition="0",topic="x"} 42
kafka_consumergroup_lag_sum{consumergroup="g",topic="x"} 8
kafka_consumergroup_lag{consumergroup="g",partition="0",topic="x"} 8
kafka_consumergroup_members{consumergroup="g"} 1`)
		var topics []string
		for _, s := range b.scrape("kafka_topic_partition") {
			if !strings.Contains(s, group.Topic) {
				topics = append(topics, strings.ReplaceAll(s, fmt.Sprintf("partition=%q,topic=\"y\"", fmt.Sprint(theirs)), "theirs"))
			}
		}
		ours := fmt.Sprintf("partition=%q,topic=\"y\"", fmt.Sprint(1-theirs))
		wantSeries(t, topics, strings.ReplaceAll(`
kafka_topic_partition_current_offset{ours} 0
kafka_topic_partition_current_offset{partition="0",topic="x"} 50
kafka_topic_partition_current_offset{partition="1",topic="x"} 0
kafka_topic_partition_in_sync_replica{ours} 1
kafka_topic_partition_in_sync_replica{partition="0",topic="x"} 1
kafka_topic_partition_in_sync_replica{partition="1",topic="x"} 1
kafka_topic_partition_in_sync_replica{theirs} 1
kafka_topic_partition_leader_is_preferred{ours} 1
kafka_topic_partition_leader_is_preferred{partition="0",topic="x"} 1
kafka_topic_partition_leader_is_preferred{partition="1",topic="x"} 1
kafka_topic_partition_leader_is_preferred{theirs} 1
kafka_topic_partition_leader{ours} 1
kafka_topic_partition_leader{partition="0",topic="x"} 1
kafka_topic_partition_leader{partition="1",topic="x"} 1
kafka_topic_partition_leader{theirs} 2
kafka_topic_partition_oldest_offset{ours} 0
kafka_topic_partition_oldest_offset{partition="0",topic="x"} 0
kafka_topic_partition_oldest_offset{partition="1",topic="x"} 0
kafka_topic_partition_replicas{ours} 1
kafka_topic_partition_replicas{partition="0",topic="x"} 1
kafka_topic_partition_replicas{partition="1",topic="x"} 1
kafka_topic_partition_replicas{theirs} 1
kafka_topic_partition_under_replicated_partition{ours} 0
kafka_topic_partition_under_replicated_partition{partition="0",topic="x"} 0
kafka_topic_partition_under_replicated_partition{partition="1",topic="x"} 0
kafka_topic_partition_under_replicated_partition{theirs} 0
kafka_topic_partitions{topic="x"} 2
kafka_topic_partitions{topic="y"} 2`, "ours", ours))

		// Another controller tells of the metadata; the offsets are still this broker's to tell.
		b.ctl.mustDo(&clusterv1.Command{Kind: &clusterv1.Command_ActivateController{ActivateController: &clusterv1.ActivateController{Node: 2, Term: 2}}})
		wantEqual(t, "another's", len(b.scrape("kafka_broker", "kafka_topic_partitions", "kafka_topic_partition_leader")), 0)
		wantEqual(t, "own", len(b.scrape("kafka_consumergroup_lag", "kafka_topic_partition_oldest_offset")) > 4, true)

		// Nobody wants the lag on what has been deleted.
		b.deleteTopic("x")
		wantSeries(t, b.scrape("kafka_consumergroup"), `
kafka_consumergroup_members{consumergroup="g"} 1`)
	})
}

func wantSeries(t *testing.T, got []string, want string) {
	t.Helper()
	slices.Sort(got)
	lines := strings.Split(strings.TrimSpace(want), "\n")
	slices.Sort(lines)
	if g, w := strings.Join(got, "\n"), strings.Join(lines, "\n"); g != w {
		t.Errorf("the series are\n%s\nand should be\n%s", g, w)
	}
}

// TestKafkaExporterIsBounded: topics and groups beyond the limit are left out whole, and it can be switched off.
func TestKafkaExporterIsBounded(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic() // its 36 series do not fit; x has 15
		c := b.dial()
		for i := range 12 {
			b.commitAndFetch(c, 9, fmt.Sprint("group-", i), "", -1) // 5 series each
		}
		series := b.scrape("kafka_topic", "kafka_consumergroup")
		topics, groups := 0, map[string]int{}
		for _, s := range series {
			if strings.HasPrefix(s, "kafka_topic") {
				topics++
				continue
			}
			_, g, _ := strings.Cut(s, `consumergroup="`)
			g, _, _ = strings.Cut(g, `"`)
			groups[g]++
		}
		wantEqual(t, "of topics", topics, 15)
		wantEqual(t, "groups", len(groups), 4)
		for g, n := range groups {
			wantEqual(t, g, n, 5)
		}
		wantSeries(t, b.scrape("chronik_kafka_exporter"), `
chronik_kafka_exporter_left_out{what="groups"} 8
chronik_kafka_exporter_left_out{what="topics"} 1`)
		wantEqual(t, "the next scrape", b.scrape("kafka_topic", "kafka_consumergroup"), series)
	}, func(b *box) { b.set.KafkaSeries = 20 })
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		wantEqual(t, "switched off", len(b.scrape("kafka_", "chronik_kafka_exporter")), 0)
	}, func(b *box) { b.set.KafkaSeries = 0 })
}

// TestKafkaExporterWhileAShardIsStuck: a scrape goes on without the groups of a shard that does not answer.
func TestKafkaExporterWhileAShardIsStuck(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		b.commitAndFetch(c, 9, "g", "", -1)
		release := make(chan struct{})
		b.broker.o.Groups.submit("g", func(*group.Machine, shards.Now) shards.Result {
			<-release
			return shards.Result{}
		}, func(error) {})
		wantEqual(t, "groups", len(b.scrape("kafka_consumergroup")), 0)
		close(release)
		wantEqual(t, "groups", len(b.scrape("kafka_consumergroup")), 5)
	})
}
