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
// Nodes of one cluster compare digests, and a snapshot ends with one, so what is
// hashed is part of the format. It is a line of fields, each with its number, and
// a field that is empty is left out: with a field that is added later and empty,
// an image has the digest that it had before.

// canon gathers the bytes to hash. Field numbers are those of the record.
type canon []byte

func (c *canon) raw(n int64)        { *c = binary.AppendVarint(*c, n) }
func (c *canon) sum() uint64        { return xxhash.Sum64(*c) }
func (c *canon) end()               { *c = append(*c, 0) }
func (c *canon) bytes(b []byte)     { c.raw(int64(len(b))); *c = append(*c, b...) }
func (c *canon) kind(name string)   { *c = append(*c, name...); c.end() }
func (c *canon) tag(field byte)     { *c = append(*c, field) }
func (c *canon) id(f byte, id ID)   { c.tag(f); *c = append(*c, id[:]...) }
func (c *canon) list(f byte, n int) { c.tag(f); c.raw(int64(n)) }

func (c *canon) num(field byte, n int64) {
	if n != 0 {
		c.tag(field)
		c.raw(n)
	}
}

func (c *canon) str(field byte, s string) {
	if s != "" {
		c.tag(field)
		c.raw(int64(len(s)))
		*c = append(*c, s...)
	}
}

func (c *canon) flag(field byte, b bool) {
	if b {
		c.tag(field)
	}
}

func (c *canon) configs(field byte, configs map[string]string) {
	if len(configs) > 0 {
		c.list(field, len(configs))
		for _, name := range slices.Sorted(maps.Keys(configs)) {
			c.bytes([]byte(name))
			c.bytes([]byte(configs[name]))
		}
	}
}

func (c *canon) ids(field byte, list []ID) {
	if len(list) > 0 {
		c.list(field, len(list))
		for _, id := range list {
			*c = append(*c, id[:]...)
		}
	}
}

func (c *canon) nodes(field byte, list []int32) {
	if len(list) > 0 {
		c.list(field, len(list))
		for _, n := range list {
			c.raw(int64(n))
		}
	}
}

func hashPartition(topic ID, p *Partition) uint64 {
	var room [512]byte
	c := canon(room[:0])
	c.kind("partition")
	c.id(1, topic)
	c.num(2, int64(p.Index))
	c.num(3, int64(p.Leader))
	c.num(4, int64(p.LeaderEpoch))
	c.num(5, int64(p.PartitionEpoch))
	c.nodes(6, p.Replicas)
	c.ids(7, p.Directories)
	c.nodes(8, p.ISR)
	c.nodes(9, p.LastKnownELR)
	c.flag(10, p.Recovering)
	return c.sum()
}

// hashTopic leaves the partitions out: each has a hash of its own.
func hashTopic(t *Topic) uint64 {
	c := make(canon, 0, 256)
	c.kind("topic")
	c.id(1, t.ID)
	c.str(2, t.Name)
	c.configs(3, t.Configs)
	return c.sum()
}

func hashResource(r *Resource) uint64 {
	c := make(canon, 0, 256)
	c.kind("config")
	c.num(1, int64(r.Type))
	c.str(2, r.Name)
	c.configs(3, r.Configs)
	return c.sum()
}

func hashBroker(b *Broker) uint64 {
	c := make(canon, 0, 512)
	c.kind("broker")
	c.num(1, int64(b.ID))
	c.id(2, b.Incarnation)
	c.num(3, b.Epoch)
	c.ids(4, b.Directories)
	c.str(5, b.BootID)
	c.list(6, len(b.Listeners))
	for _, l := range b.Listeners {
		c.str(1, l.Name)
		c.str(2, l.Host)
		c.num(3, int64(l.Port))
		c.num(4, int64(l.SecurityProtocol))
		c.end()
	}
	c.str(7, b.RaftAddr)
	c.str(8, b.Rack)
	c.list(9, len(b.Features))
	for _, f := range b.Features {
		c.str(1, f.Name)
		c.num(2, int64(f.Min))
		c.num(3, int64(f.Max))
		c.end()
	}
	c.flag(10, b.Fenced)
	c.flag(11, b.InControlledShutdown)
	return c.sum()
}

func hashResult(r *Result) uint64 {
	c := make(canon, 0, 512)
	c.kind("result")
	c.num(1, int64(r.Node))
	c.id(2, r.Incarnation)
	c.num(3, int64(r.Sequence))
	c.num(4, int64(r.Index))
	c.tag(5)
	c.bytes(marshal(&metadatav1.CommandResult{Answer: r.Answer}))
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
	c.kind("cluster")
	c.str(1, i.clusterID)
	c.num(2, int64(i.generation))
	c.list(3, len(i.founders))
	for _, f := range i.founders {
		c.num(1, int64(f.Node))
		c.id(2, f.Directory)
		c.end()
	}
	return c.sum()
}

func (i *Image) restDigest() uint64 {
	var c canon
	c.kind("rest")
	c.num(1, int64(i.clusterDigest()))
	c.num(2, int64(i.controller))
	c.num(3, int64(i.term))
	c.num(4, i.now)
	c.num(5, i.nextProducerID)
	return c.sum()
}

// ShardDigests are the parts of Digest, to tell where two images differ: the
// cluster and its controller, the brokers, the kept answers, then the 256 shards
// of topics, and the settings of what is not a topic.
func (i *Image) ShardDigests() []uint64 {
	list := make([]uint64, 0, 4+shards)
	list = append(list, i.restDigest(), i.brokersDigest, i.resultsDigest)
	for _, s := range i.topics {
		list = append(list, s.sum())
	}
	return append(list, i.resourcesDigest)
}

// sumDigest hashes the shards that have something in them, each with its number.
func (i *Image) sumDigest() uint64 {
	var room [10 * (5 + shards)]byte
	c := room[:0]
	for n, d := range i.ShardDigests() {
		if d != 0 {
			c = binary.BigEndian.AppendUint16(c, uint16(n))
			c = binary.BigEndian.AppendUint64(c, d)
		}
	}
	c = binary.BigEndian.AppendUint64(c, i.index)
	return xxhash.Sum64(c)
}
