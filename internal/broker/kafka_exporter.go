package broker

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// exporterWait is how long a scrape waits for the shards of groups; what has not answered by then is not in it.
const exporterWait = time.Second

// kafkaExporter serves the series of kafka_exporter, under its names and with its labels, so that dashboards and
// alerts made for it work without it. They are computed when they are scraped.
//
// Each series is served by one broker, so that sums over the brokers of a cluster are right: offsets by the leader of
// the partition, groups by their coordinator, what the metadata says by the active controller. Where the partitions end that
// other brokers lead, which the lag of its groups is counted to, a coordinator asks them: for peerWait at most, and what is not
// known by then is left out.
//
// Names of topics and groups are labels, and clients make both at will. So there are at most max series of
// topics and as many of groups: they are taken in an order that stays, and a topic or group that does not fit any
// more is left out with all its series and counted.
type kafkaExporter struct {
	b     *Broker
	max   int
	peers peers

	brokers, brokerInfo, leftOut                           *prometheus.Desc
	partitions, leader, preferred, replicas, inSync, under *prometheus.Desc
	newest, oldest                                         *prometheus.Desc
	members, committed, committedSum, lag, lagSum          *prometheus.Desc
}

func newKafkaExporter(b *Broker, most int) *kafkaExporter {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	partition := func(name, help string) *prometheus.Desc {
		return desc("kafka_topic_partition_"+name, help, "topic", "partition")
	}
	const ofGroup = "kafka_consumergroup_"
	return &kafkaExporter{
		b: b, max: most, peers: peers{self: b.o.NodeID, dial: b.o.Dial},
		brokers:    desc("kafka_brokers", "Brokers that are registered and not fenced."),
		brokerInfo: desc("kafka_broker_info", "A broker that is registered and not fenced.", "id", "address"),
		leftOut: desc("chronik_kafka_exporter_left_out",
			"Topics, or groups, whose series are not among the others because there would be more than metrics.kafka.series.max.", "what"),
		partitions: desc("kafka_topic_partitions", "Partitions of a topic.", "topic"),
		leader:     partition("leader", "Broker that leads the partition; -1: none."),
		preferred:  partition("leader_is_preferred", "1 if the leader is the first of the replicas."),
		replicas:   partition("replicas", "Replicas of the partition."),
		inSync:     partition("in_sync_replica", "Replicas that are in sync."),
		under:      partition("under_replicated_partition", "1 if a replica is not in sync."),
		newest:     partition("current_offset", "Offset that the next record which consumers can read will have: the high watermark."),
		oldest:     partition("oldest_offset", "Offset of the first record."),
		members:    desc(ofGroup+"members", "Members of a group.", "consumergroup"),
		committed:  desc(ofGroup+"current_offset", "Offset that a group has committed.", "consumergroup", "topic", "partition"),
		committedSum: desc(ofGroup+"current_offset_sum", "Sum of the offsets that a group has committed for a topic.",
			"consumergroup", "topic"),
		lag: desc(ofGroup+"lag", "Records of a partition behind the offset that a group has committed.",
			"consumergroup", "topic", "partition"),
		lagSum: desc(ofGroup+"lag_sum", "Sum of a group's lag on a topic, if it is known for all partitions that the group has committed for.",
			"consumergroup", "topic"),
	}
}

// Describe implements prometheus.Collector.
func (e *kafkaExporter) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		e.brokers, e.brokerInfo, e.leftOut, e.partitions, e.leader, e.preferred, e.replicas, e.inSync, e.under, e.newest, e.oldest,
		e.members, e.committed, e.committedSum, e.lag, e.lagSum,
	} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (e *kafkaExporter) Collect(c chan<- prometheus.Metric) {
	out := &series{c: c, left: e.max}
	img := e.b.ctl.Image()
	e.topics(img, out)
	gauge(c, e.leftOut, int64(out.leftOut), "topics")
	out = &series{c: c, left: e.max}
	e.groups(img, out)
	gauge(c, e.leftOut, int64(out.leftOut), "groups")
}

// series passes on what fits.
type series struct {
	c       chan<- prometheus.Metric
	left    int // how many series may still be passed on
	leftOut int // topics or groups
}

// take passes all of them on, or none.
func (s *series) take(all []prometheus.Metric) {
	if len(all) > s.left {
		s.leftOut++
		return
	}
	s.left -= len(all)
	for _, m := range all {
		s.c <- m
	}
}

func gauge(c chan<- prometheus.Metric, d *prometheus.Desc, v int64, labels ...string) {
	c <- sample(d, v, labels...)
}

func sample(d *prometheus.Desc, v int64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}

func zeroOne(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// topics serves what the metadata says, if this broker is the active controller, and the offsets of the partitions that it leads.
func (e *kafkaExporter) topics(img *metadata.Image, out *series) {
	controller, _ := img.Controller()
	controls := controller == e.b.o.NodeID
	if controls {
		active := int64(0)
		for _, b := range img.Brokers() {
			if b.Fenced {
				continue
			}
			active++
			address := b.Host() + ":" + strconv.Itoa(int(b.Port()))
			gauge(out.c, e.brokerInfo, 1, strconv.Itoa(int(b.ID)), address)
		}
		gauge(out.c, e.brokers, active)
	}
	var batch []prometheus.Metric
	for t := range img.Topics() {
		batch = batch[:0]
		if controls {
			batch = append(batch, sample(e.partitions, int64(len(t.Partitions)), t.Name))
		}
		for _, p := range t.Partitions {
			n := strconv.Itoa(int(p.Index))
			if controls {
				batch = append(batch,
					sample(e.leader, int64(p.Leader), t.Name, n),
					sample(e.preferred, zeroOne(p.Leader == p.Replicas[0]), t.Name, n),
					sample(e.replicas, int64(len(p.Replicas)), t.Name, n),
					sample(e.inSync, int64(len(p.ISR)), t.Name, n),
					sample(e.under, zeroOne(len(p.ISR) < len(p.Replicas)), t.Name, n))
			}
			if start, end, ok := e.offsets(t, p.Index); ok {
				batch = append(batch, sample(e.newest, end, t.Name, n), sample(e.oldest, start, t.Name, n))
			}
		}
		out.take(batch)
	}
}

// offsets returns where a partition that this broker leads begins and ends for consumers.
func (e *kafkaExporter) offsets(t *metadata.Topic, index int32) (start, end int64, ok bool) {
	if t == nil {
		return 0, 0, false
	}
	p, err := e.b.o.Replicas.ByID(t.ID, index)
	if err != nil {
		return 0, 0, false
	}
	log, err := p.Log()
	if leader, _ := p.LeaderEpoch(); err != nil || leader != e.b.o.NodeID {
		return 0, 0, false
	}
	return log.Start(), p.HighWatermark(), true
}

// groups serves the groups of the shards that answer in time, in the order of the shards and of the groups' names.
func (e *kafkaExporter) groups(img *metadata.Image, out *series) {
	if e.b.o.Groups == nil {
		return
	}
	list, leftOut := e.usage(out.left)
	out.leftOut += leftOut
	wanted := map[topicPartition]struct{}{}
	for i := range list {
		for _, c := range list[i].Offsets {
			if _, _, ok := e.offsets(img.TopicByName(c.Topic), c.Partition); !ok {
				wanted[topicPartition{c.Topic, c.Partition}] = struct{}{}
			}
		}
	}
	theirs := e.peers.ends(e.b.ctx, img, wanted)
	for i := range list {
		if u := &list[i]; utf8.ValidString(u.Group) {
			out.take(e.group(img, u, theirs))
		} else {
			out.leftOut++ // it cannot be a label
		}
	}
}

// usage asks the shards, one after the other: together they copy no more groups and offsets than limit. They
// answer at once, for a metric need not wait until a commit that is on its way is in the log.
func (e *kafkaExporter) usage(limit int) (list []group.Usage, leftOut int) {
	g := e.b.o.Groups
	timeout := time.NewTimer(exporterWait)
	defer timeout.Stop()
	for _, p := range g.runtime.Partitions() {
		answer := make(chan usage, 1) // so that the shard does not wait for a scrape that has ended
		left := limit
		g.runtime.Submit(p, shards.Event[*group.Machine]{
			Run: func(m *group.Machine, _ shards.Now) shards.Result {
				used, out := m.Usage(left)
				answer <- usage{used, out}
				return shards.Result{}
			},
			Fail: func(error) { answer <- usage{} }, // it loads, or has gone elsewhere
		})
		select {
		case a := <-answer:
			leftOut += a.leftOut
			for i := range a.groups {
				limit -= 1 + len(a.groups[i].Offsets)
			}
			list = append(list, a.groups...)
		case <-timeout.C:
			return list, leftOut
		}
	}
	return list, leftOut
}

// usage is the answer of one shard.
type usage struct {
	groups  []group.Usage
	leftOut int
}

// group makes the series of one group; theirs are the ends of partitions that other brokers lead.
func (e *kafkaExporter) group(img *metadata.Image, u *group.Usage, theirs map[topicPartition]int64) []prometheus.Metric {
	list := []prometheus.Metric{sample(e.members, int64(u.Members), u.Group)}
	for rest := u.Offsets; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Topic == rest[0].Topic {
			n++
		}
		list = e.topicOf(img, u.Group, rest[:n], theirs, list)
		rest = rest[n:]
	}
	return list
}

// topicOf adds the series of one topic of a group.
func (e *kafkaExporter) topicOf(
	img *metadata.Image, groupID string, offsets []group.Committed, theirs map[topicPartition]int64, list []prometheus.Metric,
) []prometheus.Metric {
	name := offsets[0].Topic
	t := img.TopicByName(name)
	sum, lagSum, lags, n := int64(0), int64(0), 0, 0
	for i := range offsets {
		c := &offsets[i]
		if t == nil || c.TopicID != (metadata.ID{}) && c.TopicID != t.ID {
			continue // of a topic that was deleted
		}
		n++
		sum += c.Offset
		partition := strconv.Itoa(int(c.Partition))
		list = append(list, sample(e.committed, c.Offset, groupID, name, partition))
		_, end, ok := e.offsets(t, c.Partition)
		if !ok {
			end, ok = theirs[topicPartition{name, c.Partition}]
		}
		if ok {
			behind := max(end-c.Offset, 0)
			lags++
			lagSum += behind
			list = append(list, sample(e.lag, behind, groupID, name, partition))
		}
	}
	if n > 0 {
		list = append(list, sample(e.committedSum, sum, groupID, name))
	}
	if n > 0 && lags == n {
		list = append(list, sample(e.lagSum, lagSum, groupID, name))
	}
	return list
}
