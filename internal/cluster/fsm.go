package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// errFenced is the result of an entry that was decided in another term than the
// one it stands in: nothing of it was applied, on any node.
var errFenced = errors.New("cluster: the entry was decided in another term")

// applied is what the FSM answers to the proposer of an entry.
type applied struct {
	image *metadata.Image
	err   error
}

// fsm turns entries into images. Each raft instance has one, from the empty image
// on: raft restores the newest snapshot and replays what follows.
//
// Raft calls Apply, Snapshot and Restore from one goroutine (Restore also from
// NewRaft, before that runs), which owns the struct. image is an atomic pointer
// because the controller decides on it.
type fsm struct {
	images *images
	m      *metrics
	// fatal ends the process: this node can no longer say what the state is.
	fatal func(error)
	// check, if not nil, is asked about each new image.
	check func(*metadata.Image) error

	image  atomic.Pointer[metadata.Image]
	failed error // nothing is applied any more

	// bytes and entries since the last snapshot, for those taken by size.
	bytes   atomic.Int64
	entries atomic.Int64
	grown   func() // told after each entry; must not block
}

func newFSM(i *images, m *metrics, fatal func(error)) *fsm {
	f := &fsm{images: i, m: m, fatal: fatal}
	f.image.Store(metadata.Empty())
	return f
}

// Apply implements raft.FSM. Its answer is an applied.
func (f *fsm) Apply(l *raft.Log) any {
	if f.failed != nil {
		return applied{err: f.failed}
	}
	e, err := metadata.Decode(l.Data)
	if err != nil {
		f.failed = fatalf(reasonOf(err), "entry %d of the metadata log (term %d): %w", l.Index, l.Term, err)
		f.fatal(f.failed)
		return applied{err: f.failed}
	}
	f.bytes.Add(int64(len(l.Data)))
	f.entries.Add(1)
	if f.grown != nil {
		f.grown()
	}
	from := f.image.Load()
	// Decided at T by a controller that lost its leadership and won it again: raft
	// stamps the entry with T+2, but it was decided on an image that other entries
	// have changed since. Every node sees the same two numbers and drops it alike.
	if e.GetTerm() != l.Term && !invariant.Mutant("cluster-no-term-fence") {
		f.m.fencedEntries.Inc()
		return applied{image: from, err: errFenced}
	}
	img, delta := from.ApplyEntry(l.Index, e)
	if f.check != nil {
		if err := f.check(img); err != nil {
			f.failed = err
			f.fatal(err)
			return applied{err: err}
		}
	}
	f.image.Store(img)
	f.images.publish(from, img, delta)
	return applied{image: img}
}

// Snapshot implements raft.FSM: an image is immutable, so a pointer is enough.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.failed != nil {
		return nil, f.failed
	}
	f.bytes.Store(0)
	f.entries.Store(0)
	return snapshot{f.image.Load()}, nil
}

// Restore implements raft.FSM. The image may be older than what readers have
// seen: a snapshot can be installed below what was applied, and entries follow.
func (f *fsm) Restore(r io.ReadCloser) error {
	img, err := metadata.ReadSnapshot(r)
	if err != nil {
		if errors.Is(err, metadata.ErrUnknown) || errors.Is(err, metadata.ErrCorrupt) {
			f.fatal(fatalf(reasonOf(err), "a snapshot of the metadata log: %w", err))
		}
		return fmt.Errorf("restore the metadata image: %w", err)
	}
	if f.check != nil {
		if err := f.check(img); err != nil {
			f.fatal(err)
			return err
		}
	}
	from := f.image.Swap(img)
	f.bytes.Store(0)
	f.entries.Store(0)
	f.images.publish(from, img, nil)
	return nil
}

// reasonOf tells whether what cannot be read is damage or newer than this program.
func reasonOf(err error) Reason {
	if errors.Is(err, metadata.ErrUnknown) {
		return ReasonRecord
	}
	return ReasonStorage
}

// snapshot is an image on its way to disk.
type snapshot struct{ image *metadata.Image }

// Persist implements raft.FSMSnapshot; raft closes or cancels the sink.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	return metadata.WriteSnapshot(sink, s.image)
}

// Release implements raft.FSMSnapshot.
func (snapshot) Release() {}
