package metadata

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/invariant"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

// Apply makes the image after the entry at index, which holds recs, and the
// Delta to it. The records have passed CheckRecords. i stays as it is.
func (i *Image) Apply(index uint64, recs []*Record) (*Image, *Delta) {
	return i.ApplyEntry(index, &metadatav1.Envelope{NowMs: i.now, Records: recs})
}

// ApplyEntry is Apply of an envelope, with its clock. Whether the envelope's term
// is that of its entry is for the caller to see.
func (i *Image) ApplyEntry(index uint64, e *metadatav1.Envelope) (*Image, *Delta) {
	d := newDraft(i)
	d.index, d.final = index, true
	d.Apply(e.GetRecords())
	img := d.img
	img.index = index
	img.now = max(img.now, e.GetNowMs())
	img.digest = img.sumDigest()
	return img, d.delta
}

// Draft is an image that is being changed in place, on which a controller decides
// one command after another before it proposes all their records as one entry.
// It belongs to one goroutine. Its image has no digests, and the numbers that
// come from the entry's index are 0 in it: the epoch of a broker registered in
// the draft, the index of an answer kept in it.
type Draft struct {
	img   *Image
	delta *Delta
	// index is that of the entry; 0 while it is not known.
	index uint64
	// final: the image will be published, so digests are kept up.
	final bool
	// restoring: records come from a snapshot, where no change is to be judged.
	restoring bool

	// What of img was cloned already and may be changed in place.
	own struct {
		shards  [shards]*ownShard
		names   [shards]bool
		brokers bool
		configs bool // resources
		results map[int32]struct{}
		sorted  bool
	}
}

type ownShard struct {
	topics map[ID]struct{}
	refs   map[int32]struct{}
}

// NewDraft begins with img, which stays as it is.
func NewDraft(img *Image) *Draft { return newDraft(img) }

func newDraft(img *Image) *Draft {
	clone := *img
	return &Draft{img: &clone, delta: &Delta{}}
}

// Image is the state so far; valid until the next Apply.
func (d *Draft) Image() *Image { return d.img }

// Apply changes the draft by recs.
func (d *Draft) Apply(recs []*Record) {
	for _, r := range recs {
		d.apply(r)
	}
}

func (d *Draft) apply(r *Record) {
	switch k := r.GetKind().(type) {
	case *metadatav1.Record_ClusterFormed:
		d.formCluster(k.ClusterFormed)
	case *metadatav1.Record_ControllerActive:
		d.img.controller, d.img.term = k.ControllerActive.GetNode(), k.ControllerActive.GetTerm()
		d.delta.Controller = true
	case *metadatav1.Record_Broker:
		b := brokerOf(k.Broker)
		if b.Epoch == 0 {
			b.Epoch = int64(d.index)
		}
		d.putBroker(b)
	case *metadatav1.Record_BrokerChange:
		d.changeBroker(k.BrokerChange)
	case *metadatav1.Record_Topic:
		d.createTopic(toID(k.Topic.GetId()), k.Topic.GetName())
	case *metadatav1.Record_TopicRemoved:
		d.removeTopic(toID(k.TopicRemoved.GetId()))
	case *metadatav1.Record_Partition:
		d.putPartition(toID(k.Partition.GetTopicId()), partitionOf(k.Partition))
	case *metadatav1.Record_PartitionChange:
		d.changePartition(k.PartitionChange)
	case *metadatav1.Record_Config:
		d.changeConfig(k.Config)
	case *metadatav1.Record_ProducerIds:
		d.img.nextProducerID = k.ProducerIds.GetNext()
		d.delta.ProducerIDs = true
	case *metadatav1.Record_CommandResult:
		d.keepResult(k.CommandResult)
	}
}

func (d *Draft) formCluster(r *metadatav1.ClusterFormed) {
	d.img.clusterID, d.img.generation = r.GetClusterId(), r.GetGeneration()
	d.img.founders = nil
	for _, f := range r.GetFounders() {
		d.img.founders = append(d.img.founders, Founder{Node: f.GetNodeId(), Directory: toID(f.GetDirectoryId())})
	}
	d.delta.Cluster = true
}

func (d *Draft) changeBroker(r *metadatav1.BrokerChange) {
	old := d.img.Broker(r.GetId())
	if old == nil {
		return
	}
	b := *old
	if r.Fenced != nil {
		b.Fenced = r.GetFenced()
	}
	if r.InControlledShutdown != nil {
		b.InControlledShutdown = r.GetInControlledShutdown()
	}
	d.putBroker(&b)
}

func (d *Draft) putBroker(b *Broker) {
	if !d.own.brokers {
		d.img.brokers, d.own.brokers = slices.Clone(d.img.brokers), true
	}
	at, found := d.img.findBroker(b.ID)
	if d.final {
		b.hash = hashBroker(b)
		d.img.brokersDigest += b.hash
		if found {
			d.img.brokersDigest -= d.img.brokers[at].hash
		}
	}
	if found {
		if invariant.Enabled {
			old := d.img.brokers[at]
			invariant.Check(b.Epoch >= old.Epoch || !d.final, "I-53", "epoch of broker %d falls from %d to %d", b.ID, old.Epoch, b.Epoch)
		}
		d.img.brokers[at] = b
	} else {
		d.img.brokers = slices.Insert(d.img.brokers, at, b)
	}
	d.delta.touchBroker(b.ID)
}

func (d *Draft) keepResult(r *metadatav1.CommandResult) {
	node := r.GetRequestId().GetNode()
	kept := &Result{
		Node: node, Incarnation: toID(r.GetRequestId().GetIncarnation()), Sequence: r.GetRequestId().GetSequence(),
		Index: r.GetIndex(), Answer: r.GetAnswer(),
	}
	if kept.Index == 0 {
		kept.Index = d.index
	}
	g := d.ownRing(node)
	if g.incarnation != kept.Incarnation {
		for _, old := range g.results {
			if old != nil {
				d.img.resultsDigest -= old.hash
			}
		}
		*g = ring{incarnation: kept.Incarnation}
	}
	slot := &g.results[kept.Sequence%ringSize]
	if d.final {
		kept.hash = hashResult(kept)
		d.img.resultsDigest += kept.hash
		if *slot != nil {
			d.img.resultsDigest -= (*slot).hash
		}
	}
	*slot = kept
}

func (d *Draft) ownRing(node int32) *ring {
	if d.own.results == nil {
		d.img.results, d.own.results = maps.Clone(d.img.results), map[int32]struct{}{}
		if d.img.results == nil {
			d.img.results = map[int32]*ring{}
		}
	}
	g := d.img.results[node]
	if _, ok := d.own.results[node]; ok {
		return g
	}
	clone := &ring{}
	if g != nil {
		*clone = *g
	}
	d.img.results[node] = clone
	d.own.results[node] = struct{}{}
	return clone
}

func (d *Draft) changeConfig(r *metadatav1.Config) {
	if r.GetType() != metadatav1.ConfigType_CONFIG_TYPE_TOPIC {
		d.changeResource(r)
		return
	}
	t := d.img.TopicByName(r.GetName())
	if t == nil {
		return
	}
	s, t := d.ownTopic(t)
	t.Configs = changedConfigs(t.Configs, r)
	d.rehash(s, t)
	d.delta.touchTopic(t.ID, t.Name).Configs = true
}

// changedConfigs is a copy of configs as r leaves them; nil if nothing is left.
func changedConfigs(configs map[string]string, r *metadatav1.Config) map[string]string {
	configs = maps.Clone(configs)
	if configs == nil {
		configs = map[string]string{}
	}
	for _, e := range r.GetEntries() {
		if e.Value == nil {
			delete(configs, e.GetName())
		} else {
			configs[e.GetName()] = e.GetValue()
		}
	}
	if len(configs) == 0 {
		return nil
	}
	return configs
}

// changeResource changes the settings of what is not a topic. With its last setting a resource goes.
func (d *Draft) changeResource(r *metadatav1.Config) {
	key := ResourceKey{ResourceType(r.GetType()), r.GetName()}
	if !d.own.configs {
		d.img.resources, d.own.configs = slices.Clone(d.img.resources), true
	}
	at, found := d.img.findResource(key)
	var old Resource
	if found {
		old = *d.img.resources[at]
	}
	changed := &Resource{Type: key.Type, Name: key.Name, Configs: changedConfigs(old.Configs, r)}
	d.delta.touchResource(key)
	if d.final {
		d.img.resourcesDigest -= old.hash
		if changed.Configs != nil {
			changed.hash = hashResource(changed)
			d.img.resourcesDigest += changed.hash
		}
	}
	switch {
	case changed.Configs == nil && found:
		d.img.resources = slices.Delete(d.img.resources, at, at+1)
	case changed.Configs == nil:
	case found:
		d.img.resources[at] = changed
	default:
		d.img.resources = slices.Insert(d.img.resources, at, changed)
	}
}

// namesChanged forgets the sorted list of names.
func (d *Draft) namesChanged(shard uint8) {
	if !d.own.sorted {
		d.img.sorted, d.own.sorted = new(atomic.Pointer[[]string]), true
	}
	d.img.sorted.Store(nil)
	if !d.own.names[shard] {
		d.own.names[shard] = true
		d.img.names[shard] = maps.Clone(d.img.names[shard])
		if d.img.names[shard] == nil {
			d.img.names[shard] = map[string]ID{}
		}
	}
}
