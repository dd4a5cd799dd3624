package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// logView is the log that raft works on. It keeps two promises that raft 1.7.3
// itself does not keep once a snapshot from the leader has been installed over a
// log that ends before it.
//
// Nothing from before the snapshot stays. Raft leaves what it had, a hole after
// it, and goes on behind the snapshot. But what it had may never have been
// committed (it was the tail of a deposed leader), and this node would send it on,
// as leader, to a follower that lies behind: two nodes would apply different
// entries at one index. Raft's paper says it in rule 7 of InstallSnapshot: discard
// the entire log.
//
// The entry at the snapshot's index stays, by index and term. When everything
// behind it is in conflict with the next leader, this is where the two logs meet;
// raft looks for it in the log only, would refuse it, and get the same snapshot
// again, for ever. In a log that was discarded it is a no-op of the same index
// and term: it is never applied, for the snapshot holds it, and never sent, for
// what stands before it is gone, so that a follower there gets the snapshot.
type logView struct {
	raft.LogStore
	snapshots raft.SnapshotStore
}

// StoreLog implements raft.LogStore.
func (v logView) StoreLog(l *raft.Log) error { return v.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. Raft leaves a gap only behind a snapshot
// that it has installed.
func (v logView) StoreLogs(logs []*raft.Log) error {
	last, err := v.LastIndex()
	if err != nil {
		return err
	}
	if len(logs) == 0 || logs[0].Index <= last+1 {
		return v.LogStore.StoreLogs(logs)
	}
	base, err := v.base(logs[0].Index - 1)
	if err != nil {
		return err
	}
	if base == nil {
		return fmt.Errorf("the log ends at %d, no snapshot ends at %d, and entry %d is to follow", last, logs[0].Index-1, logs[0].Index)
	}
	if last > 0 {
		first, err := v.FirstIndex()
		if err != nil {
			return err
		}
		if err := v.LogStore.DeleteRange(first, last); err != nil {
			return err
		}
	}
	return v.LogStore.StoreLogs(append([]*raft.Log{base}, logs...))
}

// DeleteRange implements raft.LogStore. Of a prefix, the entry that a snapshot
// ends with stays.
func (v logView) DeleteRange(low, high uint64) error {
	first, err := v.FirstIndex()
	if err != nil {
		return err
	}
	if low <= first {
		last, err := v.LastIndex()
		if err != nil {
			return err
		}
		if base, err := v.base(high); err != nil {
			return err
		} else if base != nil && last > high {
			high--
		}
	}
	if high < low {
		return nil
	}
	return v.LogStore.DeleteRange(low, high)
}

// base stands for the entry at index if a snapshot ends there; nil if none does.
func (v logView) base(index uint64) (*raft.Log, error) {
	list, err := v.snapshots.List()
	if err != nil {
		return nil, fmt.Errorf("list the snapshots of the metadata log: %w", err)
	}
	for _, s := range list {
		if s.Index == index {
			return &raft.Log{Index: index, Term: s.Term, Type: raft.LogNoop}, nil
		}
	}
	return nil, nil
}
