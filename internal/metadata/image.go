package metadata

import (
	"iter"
	"slices"
	"sync/atomic"
)

const shards = 256

// Image is the state of the cluster after an entry. It is immutable; so is all
// that can be reached from it: callers must not change what they get.
type Image struct {
	index uint64
	now   int64

	clusterID  string
	founders   []Founder
	generation uint64

	controller int32
	term       uint64

	brokers        []*Broker   // sorted by id
	resources      []*Resource // sorted by type and name
	topics         [shards]*topicShard
	names          [shards]map[string]ID
	results        map[int32]*ring
	nextProducerID int64

	topicCount     int
	partitionCount int

	brokersDigest   uint64
	resultsDigest   uint64
	resourcesDigest uint64
	digest          uint64

	// sorted is the list of topic names in order, made when it is first asked
	// for. Images between which no topic came or went share it.
	sorted *atomic.Pointer[[]string]
}

// Empty is the image before the first entry.
func Empty() *Image {
	img := &Image{sorted: new(atomic.Pointer[[]string])}
	img.digest = img.sumDigest()
	return img
}

// Index is that of the last entry applied.
func (i *Image) Index() uint64 { return i.index }

// NowMillis is the wall clock of the last entry; it never falls.
func (i *Image) NowMillis() int64 { return i.now }

// ClusterID is empty until the cluster is formed.
func (i *Image) ClusterID() string { return i.clusterID }

// Founders are the nodes that the cluster began with, sorted by id.
func (i *Image) Founders() []Founder { return i.founders }

// Generation rises when a lost majority was given up for good.
func (i *Image) Generation() uint64 { return i.generation }

// Controller is the node that opened the last controller's term, and the term;
// 0, 0 before the first.
func (i *Image) Controller() (node int32, term uint64) { return i.controller, i.term }

// Broker returns nil if id is not registered.
func (i *Image) Broker(id int32) *Broker {
	if n, ok := i.findBroker(id); ok {
		return i.brokers[n]
	}
	return nil
}

func (i *Image) findBroker(id int32) (int, bool) {
	return slices.BinarySearchFunc(i.brokers, id, func(b *Broker, id int32) int { return int(b.ID) - int(id) })
}

// Brokers are all that are registered, fenced ones too, sorted by id.
func (i *Image) Brokers() []*Broker { return i.brokers }

// TopicByID returns nil if there is none.
func (i *Image) TopicByID(id ID) *Topic {
	if s := i.topics[topicShardOf(id)]; s != nil {
		return s.topics[id]
	}
	return nil
}

// TopicByName returns nil if there is none.
func (i *Image) TopicByName(name string) *Topic {
	id, ok := i.names[nameShardOf(name)][name]
	if !ok {
		return nil
	}
	return i.TopicByID(id)
}

// Partition returns nil if there is none.
func (i *Image) Partition(topic ID, index int32) *Partition {
	t := i.TopicByID(topic)
	if t == nil || index < 0 || int(index) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[index]
}

// Topics runs over all topics in the order of their names.
func (i *Image) Topics() iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, name := range i.topicNames() {
			if !yield(i.TopicByName(name)) {
				return
			}
		}
	}
}

func (i *Image) topicNames() []string {
	if p := i.sorted.Load(); p != nil {
		return *p
	}
	names := make([]string, 0, i.topicCount)
	for _, shard := range i.names {
		for name := range shard {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	i.sorted.Store(&names)
	return names
}

// TopicCount is the number of topics.
func (i *Image) TopicCount() int { return i.topicCount }

// PartitionCount is the number of partitions of all topics.
func (i *Image) PartitionCount() int { return i.partitionCount }

// CollidingTopic names an existing topic that differs from name in nothing but
// '.' for '_': their metric names would be one. Empty if there is none, or if
// name itself exists.
func (i *Image) CollidingTopic(name string) string {
	shard := i.names[nameShardOf(name)]
	if _, ok := shard[name]; ok {
		return ""
	}
	found := ""
	for other := range shard {
		if sameButDots(name, other) && (found == "" || other < found) {
			found = other
		}
	}
	return found
}

// Config returns the settings made for a resource, without defaults; nil if none.
func (i *Image) Config(kind ResourceType, name string) map[string]string {
	if kind == ResourceTopic {
		if t := i.TopicByName(name); t != nil {
			return t.Configs
		}
		return nil
	}
	if n, ok := i.findResource(ResourceKey{kind, name}); ok {
		return i.resources[n].Configs
	}
	return nil
}

func (i *Image) findResource(k ResourceKey) (int, bool) {
	return slices.BinarySearchFunc(i.resources, k, func(r *Resource, k ResourceKey) int { return r.key().compare(k) })
}

func (r *Resource) key() ResourceKey { return ResourceKey{r.Type, r.Name} }

// Resources are all but topics that have settings, sorted by type and name.
func (i *Image) Resources() []*Resource { return i.resources }

// NextProducerID is the first producer id that was not given away.
func (i *Image) NextProducerID() int64 { return i.nextProducerID }

// Role is a part that a broker has in a partition.
type Role uint8

// The parts; a leader has all three.
const (
	RoleReplica Role = 1 << iota
	RoleISR
	RoleLeader
)

// BrokerPartitions runs over the partitions in which broker has the role, in an
// order that is the same on every node.
func (i *Image) BrokerPartitions(broker int32, role Role) iter.Seq2[*Topic, *Partition] {
	return func(yield func(*Topic, *Partition) bool) {
		for _, s := range i.topics {
			if s == nil {
				continue
			}
			for _, r := range s.index[broker] {
				if r.roles&role == 0 {
					continue
				}
				t := s.topics[r.topic]
				if !yield(t, t.Partitions[r.partition]) {
					return
				}
			}
		}
	}
}

// BrokerPartitionCount counts what BrokerPartitions runs over.
func (i *Image) BrokerPartitionCount(broker int32, role Role) int {
	n := 0
	for _, s := range i.topics {
		if s == nil {
			continue
		}
		for _, r := range s.index[broker] {
			if r.roles&role != 0 {
				n++
			}
		}
	}
	return n
}

// Result looks up the kept answer of a command. overwritten is true when the
// place of the sequence holds a later command's: the command was answered long
// ago, and must not be carried out again.
func (i *Image) Result(node int32, incarnation ID, sequence uint64) (r *Result, overwritten bool) {
	g := i.results[node]
	if g == nil || g.incarnation != incarnation {
		return nil, false
	}
	r = g.results[sequence%ringSize]
	switch {
	case r == nil || r.Sequence < sequence:
		return nil, false
	case r.Sequence > sequence:
		return nil, true
	}
	return r, false
}

// Digest is equal on two nodes that have applied the same entries up to Index.
func (i *Image) Digest() uint64 { return i.digest }
