package storage

import (
	"container/list"
	"sync"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// handle is an open segment file: its segment holds it while it is in the cache, and so does each
// slice, flush and scan that uses it. Who lets go last closes it, so a file may be
// renamed, unlinked or dropped from the cache under its readers.
type handle struct {
	vfs.File
	refs atomic.Int32
}

func newHandle(f vfs.File, refs int32) *handle {
	h := &handle{File: f}
	h.refs.Store(refs)
	return h
}

func (h *handle) release() {
	if h.refs.Add(-1) == 0 {
		_ = h.Close() // what was written was synced, or is not relied upon
	}
}

// fileCache bounds the number of segment files that are open with nobody using them: beyond max
// the one that was opened first goes, unless it has been used since it was last looked at, or
// holds bytes that no flush has covered yet (its descriptor must see the flush's error), or has no name yet.
type fileCache struct {
	max int

	mu   sync.Mutex
	open list.List // of *segment; guards segment.elem too
}

// opened enters a segment whose file has just been opened, and makes room.
func (c *fileCache) opened(s *segment) {
	for _, victim := range c.enter(s) {
		victim.closeFile()
	}
}

func (c *fileCache) enter(s *segment) (victims []*segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.elem == nil {
		s.elem = c.open.PushBack(s)
	}
	for tries := c.open.Len(); c.open.Len() > c.max && tries > 0; tries-- {
		front := c.open.Front()
		victim := front.Value.(*segment)
		if victim == s || victim.hot.Swap(false) || victim.dirty.Load() || victim.pinned.Load() {
			c.open.MoveToBack(front)
			continue
		}
		c.open.Remove(front)
		victim.elem = nil
		victims = append(victims, victim)
	}
	return victims
}

// remove forgets a segment that is going away.
func (c *fileCache) remove(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.elem != nil {
		c.open.Remove(s.elem)
		s.elem = nil
	}
}

// len returns the number of segments whose files are kept open.
func (c *fileCache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open.Len()
}
