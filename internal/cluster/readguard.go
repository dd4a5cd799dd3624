package cluster

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// readGuard is the log as raft reads it. Raft panics when an entry that it is
// about to apply cannot be read. By then the store has reported itself lost, and
// the process ends with that reason, in order; so the guard ends the goroutine
// that reads, which is one of raft's: its deferred functions run, whoever waits
// for it is answered, and Shutdown works as ever.
type readGuard struct {
	raft.LogStore
	running *atomic.Bool // raft's goroutines read; before that, NewRaft's caller does
}

// GetLog implements raft.LogStore.
func (g readGuard) GetLog(index uint64, l *raft.Log) error {
	err := g.LogStore.GetLog(index, l)
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) && g.running.Load() {
		runtime.Goexit()
	}
	return err
}

// newRaft is raft.NewRaft, whose panic about an entry that cannot be read is an error.
func newRaft(c *raft.Config, f *fsm, logs raft.LogStore, s raft.StableStore, snaps raft.SnapshotStore, t raft.Transport) (r *raft.Raft, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			r, err = nil, fmt.Errorf("the log cannot be read: %w", p)
		default:
			r, err = nil, fmt.Errorf("the log cannot be read: %v", p)
		}
	}()
	return raft.NewRaft(c, f, logs, s, snaps, t)
}
