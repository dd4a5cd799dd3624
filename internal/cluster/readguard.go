package cluster

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// readGuard is the log as raft reads it. Raft panics when an entry that it is
// about to apply cannot be read. The process is to end with that reason, but in
// order; so the guard reports it and ends the goroutine that would panic, raft's
// main one: its deferred functions run, whoever waits for it is answered, and
// Shutdown works as ever.
//
// Everywhere else raft copes with the error. A replication goroutine above all
// must not be ended: it has to stop its pipeline's reader first, or Shutdown
// waits for that for ever.
type readGuard struct {
	raft.LogStore
	running *atomic.Bool // raft's goroutines read; before that, NewRaft's caller does
	fatal   func(error)
}

// GetLog implements raft.LogStore.
func (g readGuard) GetLog(index uint64, l *raft.Log) error {
	err := g.LogStore.GetLog(index, l)
	if err != nil && g.running.Load() && applying() {
		g.fatal(fatalf(ReasonStorage, "entry %d of the metadata log is committed and cannot be read: %w", index, err))
		runtime.Goexit()
	}
	return err
}

// applying reports whether the caller is raft on its way to apply entries. It
// looks at the stack, which costs nothing where it matters: an entry could not be read.
func applying() bool {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "raft.(*Raft).processLogs") {
			return true
		}
		if !more {
			return false
		}
	}
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
