package metadata

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
)

// topicShard holds the topics of one value of topicShardOf.
type topicShard struct {
	topics map[ID]*Topic
	// index holds, per broker, its parts in partitions of this shard, sorted by
	// topic and partition. A broker without a part has no key.
	index map[int32][]ref
	// digest is the sum of the hashes of the topics and their partitions.
	digest uint64
}

// ref says which roles a broker has in a partition.
type ref struct {
	topic     ID
	partition int32
	roles     Role
}

// findRef returns where a partition stands, or would stand, in refs. It is a search
// by hand because an entry may hold ten thousand changes, each with several of it.
func findRef(refs []ref, topic ID, partition int32) (at int, found bool) {
	high, low := binary.BigEndian.Uint64(topic[:8]), binary.BigEndian.Uint64(topic[8:])
	from, to := 0, len(refs)
	for from < to {
		mid := int(uint(from+to) >> 1)
		r := &refs[mid]
		h, l := binary.BigEndian.Uint64(r.topic[:8]), binary.BigEndian.Uint64(r.topic[8:])
		if h < high || h == high && (l < low || l == low && r.partition < partition) {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from, from < len(refs) && refs[from].partition == partition && refs[from].topic == topic
}

// clone copies the maps; the topics and the slices of index stay shared.
func (s *topicShard) clone() *topicShard {
	if s == nil {
		return &topicShard{topics: map[ID]*Topic{}, index: map[int32][]ref{}}
	}
	return &topicShard{topics: maps.Clone(s.topics), index: maps.Clone(s.index), digest: s.digest}
}

func rolesOf(p *Partition, broker int32) Role {
	if p == nil || !slices.Contains(p.Replicas, broker) {
		return 0
	}
	roles := RoleReplica
	if slices.Contains(p.ISR, broker) {
		roles |= RoleISR
	}
	if p.Leader == broker {
		roles |= RoleLeader
	}
	return roles
}

// setRef changes refs, which the caller owns, and returns the result.
func setRef(refs []ref, r ref) []ref {
	at, found := findRef(refs, r.topic, r.partition)
	switch {
	case found && r.roles == 0:
		return slices.Delete(refs, at, at+1)
	case found:
		refs[at] = r
		return refs
	case r.roles == 0:
		return refs
	}
	return slices.Insert(refs, at, r)
}

// dropTopic changes refs, which the caller owns, and returns the result.
func dropTopic(refs []ref, topic ID) []ref {
	from, _ := findRef(refs, topic, 0)
	to := from
	for to < len(refs) && refs[to].topic == topic {
		to++
	}
	return slices.Delete(refs, from, to)
}

// topicShardOf spreads topic ids, which are random already.
func topicShardOf(id ID) uint8 {
	h := uint32(2166136261)
	for _, b := range id {
		h = (h ^ uint32(b)) * 16777619
	}
	return uint8(h >> 24)
}

// nameShardOf puts names that differ only in '.' for '_' into one shard, so that
// a collision is found there.
func nameShardOf(name string) uint8 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(foldDot(name[i]))) * 16777619
	}
	return uint8(h >> 24)
}

func foldDot(b byte) byte {
	if b == '.' {
		return '_'
	}
	return b
}

func sameButDots(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldDot(a[i]) != foldDot(b[i]) {
			return false
		}
	}
	return true
}

// ringSize is how many answers are kept per node: it has no more commands
// unanswered at a time.
const ringSize = 256

// ring keeps the answers of one incarnation of a node, each at its sequence
// modulo ringSize.
type ring struct {
	incarnation ID
	results     [ringSize]*Result
}

// oldestFirst lists the kept answers by sequence.
func (g *ring) oldestFirst() []*Result {
	var list []*Result
	for _, r := range g.results {
		if r != nil {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *Result) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return list
}
