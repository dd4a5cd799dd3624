package broker

import (
	"cmp"
	"math"
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/replica"
)

// DescribeLogDirs (key 35), versions 1 to 5, at any broker about itself: its data directory, with the size
// of the log of each replica here, in order of topics and partitions.
//
//   - 1: throttled after the answer (KIP-219).
//   - 2: flexible.
//   - 3: a code for the whole answer (KIP-784); it is always 0 here.
//   - 4: total and usable bytes of the volume (KIP-827).
//   - 5: whether the directory is cordoned (KIP-1066).
//
// Topics null: all. A partition that is asked for and not here is left out. Left out: cordoning of a
// directory, and moving a replica to another one, so no replica is a future one.
func (b *Broker) describeLogDirs(_ *call, req *kmsg.DescribeLogDirsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	d := kmsg.NewDescribeLogDirsResponseDir()
	dir := b.o.Replicas.Directory()
	d.Dir = dir.Path()
	if path, err := filepath.Abs(d.Dir); err == nil {
		d.Dir = path
	}
	if total, free, err := dir.Usage(); err == nil && total > 0 {
		d.TotalBytes, d.UsableBytes = int64(min(total, math.MaxInt64)), int64(min(free, math.MaxInt64))
	}
	for _, p := range b.replicasHere(req.Topics) {
		log := p.Replica()
		if log == nil {
			continue // not opened yet, or lost
		}
		if n := len(d.Topics); n == 0 || d.Topics[n-1].Topic != p.Topic {
			t := kmsg.NewDescribeLogDirsResponseDirTopic()
			t.Topic = p.Topic
			d.Topics = append(d.Topics, t)
		}
		rp := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		rp.Partition, rp.Size = p.Index, log.Size()
		rp.OffsetLag = max(0, p.HighWatermark()-log.End())
		t := &d.Topics[len(d.Topics)-1]
		t.Partitions = append(t.Partitions, rp)
	}
	resp.Dirs = append(resp.Dirs, d)
	return resp
}

// replicasHere returns the partitions of this broker that a request is about, in order and each once.
func (b *Broker) replicasHere(topics []kmsg.DescribeLogDirsRequestTopic) []*replica.Partition {
	var list []*replica.Partition
	if topics == nil {
		b.o.Replicas.Partitions(func(p *replica.Partition) bool {
			list = append(list, p)
			return true
		})
	}
	for _, t := range topics {
		for _, index := range t.Partitions {
			if p, err := b.o.Replicas.ByName([]byte(t.Topic), index); err == nil {
				list = append(list, p)
			}
		}
	}
	slices.SortFunc(list, func(p, q *replica.Partition) int {
		return cmp.Or(cmp.Compare(p.Topic, q.Topic), cmp.Compare(p.Index, q.Index))
	})
	return slices.Compact(list)
}
