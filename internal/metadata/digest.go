package metadata

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"

	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

// A digest is made of the fields themselves and not of the bytes of a record:
// so a codec that forgets a field makes the digests before and after a snapshot
// differ, and ReadSnapshot refuses what it read.
//
// What is hashed for one thing is a line of numbers and of strings with their
// lengths. Its form stands in no file, but nodes of one cluster compare digests:
// a change of it goes with a new feature level.

// canon gathers the bytes to hash.
type canon []byte

func (c *canon) num(n int64)   { *c = binary.AppendVarint(*c, n) }
func (c *canon) unum(n uint64) { *c = binary.AppendUvarint(*c, n) }
func (c *canon) id(id ID)      { *c = append(*c, id[:]...) }
func (c *canon) sum() uint64   { return xxhash.Sum64(*c) }

func (c *canon) str(s string) {
	c.unum(uint64(len(s)))
	*c = append(*c, s...)
}

func (c *canon) flag(b bool) {
	if b {
		*c = append(*c, 1)
	} else {
		*c = append(*c, 0)
	}
}

func (c *canon) ids(list []ID) {
	c.unum(uint64(len(list)))
	for _, id := range list {
		c.id(id)
	}
}

func (c *canon) nodes(list []int32) {
	c.unum(uint64(len(list)))
	for _, n := range list {
		c.num(int64(n))
	}
}

func hashPartition(topic ID, p *Partition) uint64 {
	var room [512]byte
	c := canon(room[:0])
	c.str("partition")
	c.id(topic)
	c.num(int64(p.Index))
	c.num(int64(p.Leader))
	c.num(int64(p.LeaderEpoch))
	c.num(int64(p.PartitionEpoch))
	c.nodes(p.Replicas)
	c.ids(p.Directories)
	c.nodes(p.ISR)
	c.nodes(p.LastKnownELR)
	c.flag(p.Recovering)
	return c.sum()
}

// hashTopic leaves the partitions out: each has a hash of its own.
func hashTopic(t *Topic) uint64 {
	c := make(canon, 0, 256)
	c.str("topic")
	c.id(t.ID)
	c.str(t.Name)
	for _, name := range slices.Sorted(maps.Keys(t.Configs)) {
		c.str(name)
		c.str(t.Configs[name])
	}
	return c.sum()
}

func hashBroker(b *Broker) uint64 {
	c := make(canon, 0, 512)
	c.str("broker")
	c.num(int64(b.ID))
	c.id(b.Incarnation)
	c.num(b.Epoch)
	c.ids(b.Directories)
	c.str(b.BootID)
	c.unum(uint64(len(b.Listeners)))
	for _, l := range b.Listeners {
		c.str(l.Name)
		c.str(l.Host)
		c.num(int64(l.Port))
		c.num(int64(l.SecurityProtocol))
	}
	c.str(b.RaftAddr)
	c.str(b.Rack)
	c.unum(uint64(len(b.Features)))
	for _, f := range b.Features {
		c.str(f.Name)
		c.num(int64(f.Min))
		c.num(int64(f.Max))
	}
	c.flag(b.Fenced)
	c.flag(b.InControlledShutdown)
	return c.sum()
}

func hashResult(r *Result) uint64 {
	c := make(canon, 0, 512)
	c.str("result")
	c.num(int64(r.Node))
	c.id(r.Incarnation)
	c.unum(r.Sequence)
	c.unum(r.Index)
	c.str(string(marshal(&metadatav1.CommandResult{Answer: r.Answer})))
	return c.sum()
}

func (s *topicShard) sum() uint64 {
	if s == nil {
		return 0
	}
	return s.digest
}

func (i *Image) clusterDigest() uint64 {
	var c canon
	c.str(i.clusterID)
	c.unum(i.generation)
	c.unum(uint64(len(i.founders)))
	for _, f := range i.founders {
		c.num(int64(f.Node))
		c.id(f.Directory)
	}
	return c.sum()
}

// ShardDigests are the parts of Digest, to tell where two images differ: the
// cluster and its controller, the brokers, the kept answers, then the 256 shards
// of topics.
func (i *Image) ShardDigests() []uint64 {
	var c canon
	c.unum(i.clusterDigest())
	c.num(int64(i.controller))
	c.unum(i.term)
	c.num(i.now)
	c.num(i.nextProducerID)
	list := make([]uint64, 0, 3+shards)
	list = append(list, c.sum(), i.brokersDigest, i.resultsDigest)
	for _, s := range i.topics {
		list = append(list, s.sum())
	}
	return list
}

func (i *Image) sumDigest() uint64 {
	var room [8 * (4 + shards)]byte
	c := room[:0]
	for _, d := range i.ShardDigests() {
		c = binary.BigEndian.AppendUint64(c, d)
	}
	c = binary.BigEndian.AppendUint64(c, i.index)
	return xxhash.Sum64(c)
}
