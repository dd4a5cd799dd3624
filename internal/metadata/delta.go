package metadata

import (
	"iter"
	"maps"
	"slices"
)

// Delta is the set of keys in which an image differs, or may differ, from an
// earlier one. It holds no values: they are read from the image, so deltas that
// were merged, or made by Diff, serve as well as those of single entries.
type Delta struct {
	// Cluster: the cluster was formed, or its generation rose.
	Cluster bool
	// Controller: another controller, or another term of it.
	Controller bool
	// ProducerIDs: a block was given away.
	ProducerIDs bool

	brokers   map[int32]struct{}
	topics    map[ID]*TopicDelta
	resources map[ResourceKey]struct{}
}

// TopicDelta is what was touched of a topic.
type TopicDelta struct {
	ID   ID
	Name string
	// Whole: the topic was created or removed; all of its partitions count.
	Whole bool
	// Configs: settings of the topic changed.
	Configs bool

	partitions map[int32]struct{}
}

// Empty reports whether nothing was touched.
func (d *Delta) Empty() bool {
	return !d.Cluster && !d.Controller && !d.ProducerIDs && len(d.brokers) == 0 && len(d.topics) == 0 && len(d.resources) == 0
}

// HasResource reports whether settings of the resource, which is not a topic, were touched.
func (d *Delta) HasResource(kind ResourceType, name string) bool {
	_, ok := d.resources[ResourceKey{kind, name}]
	return ok
}

// Resources are the resources other than topics whose settings were touched, sorted.
func (d *Delta) Resources() []ResourceKey {
	return slices.SortedFunc(maps.Keys(d.resources), ResourceKey.compare)
}

// Brokers are the ids of the touched brokers, sorted. One that the image does
// not have was removed.
func (d *Delta) Brokers() []int32 { return slices.Sorted(maps.Keys(d.brokers)) }

// HasBroker reports whether the broker was touched.
func (d *Delta) HasBroker(id int32) bool { _, ok := d.brokers[id]; return ok }

// Topics are the touched topics, sorted by id. One that the image does not have
// was removed.
func (d *Delta) Topics() []*TopicDelta {
	return slices.SortedFunc(maps.Values(d.topics), func(a, b *TopicDelta) int { return compareID(a.ID, b.ID) })
}

// Topic returns nil if the topic was not touched.
func (d *Delta) Topic(id ID) *TopicDelta { return d.topics[id] }

// Partitions runs over those of t's partitions that were touched, in order.
func (t *TopicDelta) Partitions(topic *Topic) iter.Seq[*Partition] {
	return func(yield func(*Partition) bool) {
		if topic == nil {
			return
		}
		if t.Whole {
			for _, p := range topic.Partitions {
				if !yield(p) {
					return
				}
			}
			return
		}
		for _, n := range slices.Sorted(maps.Keys(t.partitions)) {
			if int(n) < len(topic.Partitions) && !yield(topic.Partitions[n]) {
				return
			}
		}
	}
}

// Merge adds the keys of next, the delta that follows d. next stays as it is.
func (d *Delta) Merge(next *Delta) {
	d.Cluster = d.Cluster || next.Cluster
	d.Controller = d.Controller || next.Controller
	d.ProducerIDs = d.ProducerIDs || next.ProducerIDs
	for id := range next.brokers {
		d.touchBroker(id)
	}
	for key := range next.resources {
		d.touchResource(key)
	}
	for id, n := range next.topics {
		t := d.touchTopic(id, n.Name)
		t.Configs = t.Configs || n.Configs
		if n.Whole {
			t.touchWhole()
		}
		for p := range n.partitions {
			t.touch(p)
		}
	}
}

func (d *Delta) touchBroker(id int32) {
	if d.brokers == nil {
		d.brokers = map[int32]struct{}{}
	}
	d.brokers[id] = struct{}{}
}

func (d *Delta) touchResource(key ResourceKey) {
	if d.resources == nil {
		d.resources = map[ResourceKey]struct{}{}
	}
	d.resources[key] = struct{}{}
}

func (d *Delta) touchTopic(id ID, name string) *TopicDelta {
	t := d.topics[id]
	if t == nil {
		if d.topics == nil {
			d.topics = map[ID]*TopicDelta{}
		}
		t = &TopicDelta{ID: id, Name: name}
		d.topics[id] = t
	}
	return t
}

func (t *TopicDelta) touch(partition int32) {
	if t.Whole {
		return
	}
	if t.partitions == nil {
		t.partitions = map[int32]struct{}{}
	}
	t.partitions[partition] = struct{}{}
}

func (t *TopicDelta) touchWhole() { t.Whole, t.partitions = true, nil }

// Diff is the delta from one image to another, whatever lies between them.
// Shards of equal digest are not looked at.
func Diff(from, to *Image) *Delta {
	d := &Delta{
		Cluster:     from.clusterDigest() != to.clusterDigest(),
		Controller:  from.controller != to.controller || from.term != to.term,
		ProducerIDs: from.nextProducerID != to.nextProducerID,
	}
	if from.brokersDigest != to.brokersDigest {
		diffBrokers(d, from, to)
	}
	if from.resourcesDigest != to.resourcesDigest {
		diffResources(d, from, to)
	}
	for n := range shards {
		a, b := from.topics[n], to.topics[n]
		if a != b && a.sum() != b.sum() {
			diffShard(d, a, b)
		}
	}
	return d
}

func diffBrokers(d *Delta, from, to *Image) {
	for _, b := range to.brokers {
		if old := from.Broker(b.ID); old == nil || old.hash != b.hash {
			d.touchBroker(b.ID)
		}
	}
	for _, b := range from.brokers {
		if to.Broker(b.ID) == nil {
			d.touchBroker(b.ID)
		}
	}
}

func diffResources(d *Delta, from, to *Image) {
	for _, r := range to.resources {
		if n, ok := from.findResource(r.key()); !ok || from.resources[n].hash != r.hash {
			d.touchResource(r.key())
		}
	}
	for _, r := range from.resources {
		if _, ok := to.findResource(r.key()); !ok {
			d.touchResource(r.key())
		}
	}
}

func diffShard(d *Delta, from, to *topicShard) {
	from, to = from.orEmpty(), to.orEmpty()
	for id, t := range to.topics {
		if old := from.topics[id]; old != t {
			diffTopic(d, old, t)
		}
	}
	for id, t := range from.topics {
		if to.topics[id] == nil {
			d.touchTopic(id, t.Name).touchWhole()
		}
	}
}

func diffTopic(d *Delta, from, to *Topic) {
	if from == nil {
		d.touchTopic(to.ID, to.Name).touchWhole()
		return
	}
	if from.hash != to.hash {
		d.touchTopic(to.ID, to.Name).Configs = true
	}
	for n, p := range to.Partitions {
		if n >= len(from.Partitions) || from.Partitions[n].hash != p.hash {
			d.touchTopic(to.ID, to.Name).touch(p.Index)
		}
	}
}

var emptyShard = &topicShard{}

func (s *topicShard) orEmpty() *topicShard {
	if s == nil {
		return emptyShard
	}
	return s
}
