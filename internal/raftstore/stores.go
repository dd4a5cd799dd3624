package raftstore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// Options is what an Opener needs. Zero values stand for the defaults given with them.
type Options struct {
	FS      vfs.FS // of Dir; the bolt file is opened by bolt itself, on the machine's file system
	Dir     string // <data>/__raft_metadata-0, made if it is not there
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics *Metrics

	WriteDeadline time.Duration // of StoreLogs; 300 ms, raft.storage.stall.timeout.ms
	HardDeadline  time.Duration // of any write; 10 s, disk.stall.timeout.ms
	Retain        int           // snapshots kept; 2

	// OnStall is told that StoreLogs missed its deadline: the store is poisoned.
	// Close the transport's instance: a raft that cannot write still answers
	// heartbeats, and a disk that hangs must not look alive.
	OnStall func()
	// OnSettled is told that every write of a poisoned store has returned,
	// without an error: restart raft in place (shut it down, Reset, NewRaft).
	OnSettled func()
	// OnFail is told, once, that the store is lost: end the process. It may do so
	// before it returns.
	OnFail func(error)
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.Wall{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.WriteDeadline == 0 {
		o.WriteDeadline = 300 * time.Millisecond
	}
	if o.HardDeadline == 0 {
		o.HardDeadline = 10 * time.Second
	}
	if o.Retain == 0 {
		o.Retain = 2
	}
	if o.OnStall == nil {
		o.OnStall = func() {}
	}
	if o.OnSettled == nil {
		o.OnSettled = func() {}
	}
	if o.OnFail == nil {
		o.OnFail = func(error) {}
	}
	return o
}

// Opener opens the stores of a node: OpenBolt, or Memory.Open in tests.
type Opener func(Options) (*Stores, error)

// Stores is what raft.NewRaft needs. raft.LogCache in front of Log must be a
// new one for each raft.
type Stores struct {
	// Log does not claim IsMonotonic: it would make raft empty the log also above
	// a snapshot that it installs, and lose acknowledged entries.
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore

	store *store
}

var (
	// ErrDamaged says that what is on disk cannot be trusted.
	ErrDamaged = errors.New("raftstore: damaged")
	// ErrLocked says that another process has the store open.
	ErrLocked = errors.New("raftstore: in use by another process")
	// ErrStalled is returned while the store is poisoned by a write that missed its deadline.
	ErrStalled = errors.New("raftstore: the disk of the metadata log stalls")
	// ErrFailed is returned after a write has failed.
	ErrFailed = errors.New("raftstore: the disk of the metadata log has failed")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("raftstore: closed")
)

// backend is a store of entries and values whose every write is one transaction,
// durable on return: *raftboltdb.BoltStore and *handle, the in-memory twin.
// A missing value is an error with the text "not found".
type backend interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// open puts the wrapper on a backend whose last entries stand without a gap from
// the index run on. On an error the backend is closed.
func open(o Options, b backend, run uint64) (*Stores, error) {
	s, err := newStore(o, b)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	sn, err := openSnapshots(o, s.fail)
	if err == nil {
		err = sn.reaches(run)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return &Stores{Log: logStore{s}, Stable: stableStore{s}, Snapshots: sn, store: s}, nil
}

// makeDir makes the directory of the store and its place in the parent durable. That it is there
// does not say that a process before this one lived to sync it.
func makeDir(o Options) error {
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return fmt.Errorf("cannot make the directory of the metadata log: %w", err)
	}
	return syncParent(o.FS, o.Dir)
}

// Reset makes a poisoned store usable again. Call it with raft shut down, after
// OnSettled; it fails with ErrStalled while a late write has not returned.
func (s *Stores) Reset() error { return s.store.reset() }

// DeleteFrom deletes all entries from index on, the last one first. For a
// restart in place after raftrpc's OnConflict; raft must be shut down.
func (s *Stores) DeleteFrom(index uint64) error {
	last, err := s.Log.LastIndex()
	if err != nil || last < index {
		return err
	}
	return s.Log.DeleteRange(index, last)
}

// Close closes the stores. Call it when raft is shut down and its transport is
// closed. It waits for a write that still runs, but not for one that has missed
// the hard deadline: that store is left to the end of the process.
func (s *Stores) Close() error { return s.store.close() }
