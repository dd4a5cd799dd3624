package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// digestRing is of how many images the parts of the digest are kept, to compare
// with what other nodes say in their heartbeats.
const digestRing = 1024

// images takes what the FSM makes and tells the subscribers of it.
//
// There are three images. The FSM has the one after the last entry it applied;
// it goes back when a snapshot is restored and entries are replayed. publish lets
// only newer ones through: the newest is the one to be told of next. The told one
// is what Image returns: every subscriber has seen it, so a broker never shows a
// client a partition that its own replicas have not heard of.
//
// The struct is under its own mutex; told and shown are atomics besides, written
// by the publisher. The publisher, one goroutine, is the only one that calls
// subscribers. A slow subscriber merges deltas, it never queues them.
type images struct {
	told        atomic.Pointer[metadata.Image]
	shown       atomic.Uint64                   // index of the last image that subscribers were called with
	first       func(from, img *metadata.Image) // called before all subscribers, from the first image on
	subscribers []metadata.Subscriber           // fixed before run

	mu     sync.Mutex
	newest *metadata.Image
	// delta leads from the image that the publisher took last to newest; nil when
	// there is a gap between them, so that Diff has to find it.
	delta *metadata.Delta
	taken *metadata.Image
	// waiting is since when newest waits to be told; zero if it has been.
	waiting time.Time
	// open: subscribers are told. Before that nobody sees a half-replayed log.
	open    bool
	changed chan struct{} // closed and replaced when told has moved
	digests [digestRing]digests

	wake chan struct{} // one token: there is something for the publisher
}

// digests are those of the image at an index.
type digests struct {
	index  uint64
	sum    uint64
	shards []uint64
}

func newImages() *images {
	i := &images{changed: make(chan struct{}), wake: make(chan struct{}, 1)}
	empty := metadata.Empty()
	i.told.Store(empty)
	i.newest, i.taken, i.delta = empty, empty, &metadata.Delta{}
	return i
}

// publish takes the image that the FSM has made. from is the one it was made
// from, by delta; delta is nil for one that was restored.
func (i *images) publish(from, img *metadata.Image, delta *metadata.Delta) {
	i.mu.Lock()
	defer i.mu.Unlock()
	d := &i.digests[img.Index()%digestRing]
	if d.index != img.Index() || d.shards == nil {
		*d = digests{img.Index(), img.Digest(), img.ShardDigests()}
	} else if invariant.Enabled {
		invariant.Check(d.sum == img.Digest(), "I-4", "a replay made another image of index %d", img.Index())
	}
	if img.Index() <= i.newest.Index() && !invariant.Mutant("cluster-image-goes-back") {
		return // replayed, or restored from before what readers have seen
	}
	switch {
	case delta == nil || from != i.newest:
		i.delta = nil
	case i.delta != nil:
		i.delta.Merge(delta)
	}
	if i.waiting.IsZero() {
		i.waiting = time.Now()
	}
	i.newest = img
	i.signal()
}

// waits is how long the newest image has waited to be told.
func (i *images) waits() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.waiting.IsZero() {
		return 0
	}
	return time.Since(i.waiting)
}

func (i *images) signal() {
	select {
	case i.wake <- struct{}{}:
	default: // a token is there: the publisher will see this change too
	}
}

// release lets the subscribers be told, from the newest image on.
func (i *images) release() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.open = true
	i.signal()
}

// run is the publisher.
func (i *images) run(ctx context.Context) {
	fresh := true // no subscriber was called yet
	last := metadata.Empty()
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.wake:
		}
		i.mu.Lock()
		img, delta, from, open := i.newest, i.delta, i.taken, i.open
		i.taken, i.delta = img, &metadata.Delta{}
		i.mu.Unlock()
		if i.first != nil {
			i.first(last, img)
			last = img
		}
		if open && (fresh || img != from) {
			if fresh {
				from, delta, fresh = metadata.Empty(), nil, false
			}
			if delta == nil {
				delta = metadata.Diff(from, img)
			}
			for _, s := range i.subscribers {
				s.OnImage(img, delta)
			}
			i.shown.Store(img.Index())
		}
		i.told.Store(img)
		i.mu.Lock()
		i.waiting = time.Time{}
		if i.newest != img {
			i.waiting = time.Now()
		}
		close(i.changed)
		i.changed = make(chan struct{})
		i.mu.Unlock()
	}
}

// await waits until ok, which is asked again after each told image.
func (i *images) await(ctx context.Context, ok func() bool) error {
	for {
		i.mu.Lock()
		changed := i.changed
		i.mu.Unlock()
		if ok() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitIndex waits until the told image holds the entry at index.
func (i *images) awaitIndex(ctx context.Context, index uint64) error {
	return i.await(ctx, func() bool { return i.told.Load().Index() >= index })
}

// digestAt returns what is known of the image at index.
func (i *images) digestAt(index uint64) (digests, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	d := i.digests[index%digestRing]
	return d, d.index == index && d.shards != nil
}
