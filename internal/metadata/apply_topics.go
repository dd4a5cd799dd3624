package metadata

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/invariant"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

// createTopic adds a topic without partitions. A topic that has the id or the
// name already goes: there is never a second.
func (d *Draft) createTopic(id ID, name string) {
	if invariant.Enabled && !d.restoring {
		invariant.Check(d.img.TopicByID(id) == nil && d.img.TopicByName(name) == nil, "I-52", "topic %q is created twice", name)
	}
	d.removeTopic(id)
	if old := d.img.TopicByName(name); old != nil {
		d.removeTopic(old.ID)
	}
	s := d.ownShard(topicShardOf(id))
	t := &Topic{ID: id, Name: name}
	s.topics[id] = t
	d.own.shards[topicShardOf(id)].topics[id] = struct{}{}
	d.rehash(s, t)
	n := nameShardOf(name)
	d.namesChanged(n)
	d.img.names[n][name] = id
	d.img.topicCount++
	d.delta.touchTopic(id, name).touchWhole()
}

func (d *Draft) removeTopic(id ID) {
	t := d.img.TopicByID(id)
	if t == nil {
		return
	}
	n := topicShardOf(id)
	s := d.ownShard(n)
	brokers := map[int32]struct{}{}
	for _, p := range t.Partitions {
		s.digest -= p.hash
		for _, b := range p.Replicas {
			brokers[b] = struct{}{}
		}
	}
	for b := range brokers {
		d.putRefs(n, b, dropTopic(d.ownRefs(n, b), id))
	}
	s.digest -= t.hash
	delete(s.topics, id)
	d.img.topicCount--
	d.img.partitionCount -= len(t.Partitions)
	name := nameShardOf(t.Name)
	d.namesChanged(name)
	delete(d.img.names[name], t.Name)
	d.delta.touchTopic(id, t.Name).touchWhole()
}

// putPartition adds p as the next partition of the topic, or replaces one.
func (d *Draft) putPartition(topic ID, p *Partition) {
	t := d.img.TopicByID(topic)
	if t == nil || p.Index < 0 || int(p.Index) > len(t.Partitions) {
		return
	}
	s, t := d.ownTopic(t)
	var old *Partition
	if int(p.Index) < len(t.Partitions) {
		old = t.Partitions[p.Index]
		t.Partitions[p.Index] = p
	} else {
		t.Partitions = append(t.Partitions, p)
		d.img.partitionCount++
	}
	if invariant.Enabled && !d.restoring {
		d.checkPartition(t, old, p)
	}
	if d.final {
		p.hash = hashPartition(topic, p)
		s.digest += p.hash
		if old != nil {
			s.digest -= old.hash
		}
	}
	d.reindex(topic, old, p)
	d.delta.touchTopic(topic, t.Name).touch(p.Index)
}

func (d *Draft) changePartition(r *metadatav1.PartitionChange) {
	topic := toID(r.GetTopicId())
	old := d.img.Partition(topic, r.GetIndex())
	if old == nil {
		return
	}
	p := *old
	if r.Leader != nil {
		p.Leader = r.GetLeader()
	}
	if r.LeaderEpoch != nil {
		p.LeaderEpoch = r.GetLeaderEpoch()
	}
	if r.PartitionEpoch != nil {
		p.PartitionEpoch = r.GetPartitionEpoch()
	}
	if r.Replicas != nil {
		p.Replicas = slices.Clone(r.GetReplicas().GetIds())
		p.Directories = directoriesFor(p.Replicas, old)
	}
	if r.Directories != nil {
		p.Directories = toIDs(r.GetDirectories().GetIds(), len(p.Replicas))
	}
	if r.Isr != nil {
		p.ISR = slices.Clone(r.GetIsr().GetIds())
	}
	if r.LastKnownElr != nil {
		p.LastKnownELR = slices.Clone(r.GetLastKnownElr().GetIds())
	}
	if r.Recovery != nil {
		p.Recovering = r.GetRecovery() == metadatav1.Recovery_RECOVERY_RECOVERING
	}
	d.putPartition(topic, &p)
}

// directoriesFor keeps the directories of the replicas that stay.
func directoriesFor(replicas []int32, old *Partition) []ID {
	dirs := make([]ID, len(replicas))
	for i, b := range replicas {
		dirs[i], _ = old.Directory(b)
	}
	return dirs
}

// reindex brings the index of brokers from old to p; old is nil for a new one.
func (d *Draft) reindex(topic ID, old, p *Partition) {
	n := topicShardOf(topic)
	set := func(b int32) {
		roles := rolesOf(p, b)
		if roles == rolesOf(old, b) {
			return
		}
		d.putRefs(n, b, setRef(d.ownRefs(n, b), ref{topic: topic, partition: p.Index, roles: roles}))
	}
	for _, b := range p.Replicas {
		set(b)
	}
	if old != nil {
		for _, b := range old.Replicas {
			set(b)
		}
	}
}

// rehash brings the digest of s to what t is now, its partitions left out.
func (d *Draft) rehash(s *topicShard, t *Topic) {
	if !d.final {
		return
	}
	s.digest -= t.hash
	t.hash = hashTopic(t)
	s.digest += t.hash
}

func (d *Draft) ownShard(n uint8) *topicShard {
	if d.own.shards[n] == nil {
		d.own.shards[n] = &ownShard{topics: map[ID]struct{}{}, refs: map[int32]struct{}{}}
		d.img.topics[n] = d.img.topics[n].clone()
	}
	return d.img.topics[n]
}

// ownTopic returns t's shard and t, or a copy of it that may be changed.
func (d *Draft) ownTopic(t *Topic) (*topicShard, *Topic) {
	n := topicShardOf(t.ID)
	s := d.ownShard(n)
	if _, ok := d.own.shards[n].topics[t.ID]; ok {
		return s, t
	}
	clone := *t
	clone.Partitions = slices.Clone(t.Partitions)
	s.topics[t.ID] = &clone
	d.own.shards[n].topics[t.ID] = struct{}{}
	return s, &clone
}

func (d *Draft) ownRefs(n uint8, broker int32) []ref {
	s := d.ownShard(n)
	refs := s.index[broker]
	if _, ok := d.own.shards[n].refs[broker]; !ok {
		refs = slices.Clone(refs)
		d.own.shards[n].refs[broker] = struct{}{}
	}
	return refs
}

func (d *Draft) putRefs(n uint8, broker int32, refs []ref) {
	index := d.img.topics[n].index
	if len(refs) == 0 {
		delete(index, broker)
	} else {
		index[broker] = refs
	}
}
