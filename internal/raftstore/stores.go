package raftstore

import (
	"errors"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// Options is what an Opener needs. Zero values stand for the defaults given with them.
type Options struct {
	FS      vfs.FS // for snapshots; the bolt file is opened by bolt itself
	Dir     string // <data>/__raft_metadata-0
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics *Metrics

	WriteDeadline time.Duration // of StoreLogs; 300 ms, raft.storage.stall.timeout.ms
	HardDeadline  time.Duration // of any write; 10 s, disk.stall.timeout.ms
	Retain        int           // snapshots kept; 2

	// OnStall is told that StoreLogs missed its deadline. The store is poisoned.
	OnStall func()
	// OnSettled is told that the late write has returned, without an error:
	// restart raft in place (shut it down, Reset, NewRaft).
	OnSettled func()
	// OnFail is told, once, that the store is lost: end the process. It may do so
	// before it returns.
	OnFail func(error)
}

// Opener opens the stores of a node: OpenBolt, or Memory.Open in tests.
type Opener func(Options) (*Stores, error)

// Stores is what raft.NewRaft needs.
type Stores struct {
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
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

// OpenBolt opens the stores of a node in a bolt file, made if it is not there.
func OpenBolt(o Options) (*Stores, error) { return nil, nil }

// Reset makes a poisoned store usable again. Call it with raft shut down, after
// OnSettled; it fails with ErrStalled while the late write has not returned.
func (s *Stores) Reset() error { return nil }

// DeleteFrom deletes all entries from index on, the last one first. For a
// restart in place after raftrpc's OnConflict; raft must be shut down.
func (s *Stores) DeleteFrom(index uint64) error { return nil }

// Close closes the stores. Call it when raft is shut down and its transport is
// closed; it waits for a write that is still running.
func (s *Stores) Close() error { return nil }
