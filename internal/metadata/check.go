package metadata

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// checkPartition holds a changed partition against what must be true of it; old
// is nil for a new one. It runs in test builds, record by record.
func (d *Draft) checkPartition(t *Topic, old, p *Partition) {
	check := func(ok bool, id, what string) {
		invariant.Check(ok, id, "%s-%d: %s: %+v, before %+v", t.Name, p.Index, what, p, old)
	}
	check(len(p.Replicas) > 0 && distinct(p.Replicas), "I-18", "replicas are none or repeated")
	check(len(p.Directories) == len(p.Replicas), "I-18", "a directory for each replica")
	check(distinct(p.ISR) && subset(p.ISR, p.Replicas), "I-18", "the ISR is a subset of the replicas")
	check(len(p.ISR) > 0 || p.Leader == NoLeader, "I-18", "an empty ISR has no leader")
	check(p.Leader == NoLeader || slices.Contains(p.ISR, p.Leader), "I-18", "the leader is in the ISR")
	check(len(p.ISR) == 0 || len(p.LastKnownELR) == 0, "I-18", "a last known leader beside an ISR")
	check(subset(p.LastKnownELR, p.Replicas), "I-18", "the last known leader is a replica")
	elected := p.Leader != NoLeader && (old == nil || old.Leader != p.Leader || old.LeaderEpoch != p.LeaderEpoch)
	if elected {
		b := d.img.Broker(p.Leader)
		check(b != nil && !b.Fenced, "I-18", "the elected leader is registered and not fenced")
		check(b == nil || !b.InControlledShutdown || (old != nil && len(p.ISR) == 1 && slices.Equal(old.ISR, p.ISR)), "I-18",
			"the elected leader is not leaving")
	}
	if old == nil {
		return
	}
	check(p.LeaderEpoch >= old.LeaderEpoch, "I-19", "the leader epoch falls")
	check(p.Leader == old.Leader || p.LeaderEpoch > old.LeaderEpoch, "I-19", "another leader in the same epoch")
	if partitionChanged(old, p) {
		check(p.PartitionEpoch == old.PartitionEpoch+1, "I-19", "a change raises the partition epoch by one")
	} else {
		check(p.PartitionEpoch == old.PartitionEpoch, "I-19", "the partition epoch moves without a change")
	}
	for _, b := range p.ISR {
		if !slices.Contains(old.ISR, b) {
			in := d.img.Broker(b)
			check(in != nil && in.Active(), "I-18", "a fenced or leaving broker enters the ISR")
		}
	}
}

func partitionChanged(old, p *Partition) bool {
	return old.Leader != p.Leader || old.LeaderEpoch != p.LeaderEpoch || old.Recovering != p.Recovering ||
		!slices.Equal(old.Replicas, p.Replicas) || !slices.Equal(old.Directories, p.Directories) ||
		!slices.Equal(old.ISR, p.ISR) || !slices.Equal(old.LastKnownELR, p.LastKnownELR)
}

func distinct(list []int32) bool {
	for i, n := range list {
		if slices.Contains(list[:i], n) {
			return false
		}
	}
	return true
}

func subset(list, of []int32) bool {
	for _, n := range list {
		if !slices.Contains(of, n) {
			return false
		}
	}
	return true
}
