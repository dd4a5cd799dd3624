package cluster

import (
	"context"
	"sync"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// resultRing is how many results of one node's commands the image keeps. A retry
// is recognized only while its result stands there.
const resultRing = 256

// sequences numbers the commands of this incarnation. A number is given out only
// while the oldest unanswered one lies less than resultRing behind it: the
// result of a command that is still retried is then never pushed out of the
// image by later ones, and a retry is always answered the same.
type sequences struct {
	mu    sync.Mutex
	next  uint64              // the next number, from 1
	live  map[uint64]struct{} // given out and not yet released
	low   uint64              // no live number is below it
	freed chan struct{}       // closed and replaced when low rises
}

func newSequences() *sequences {
	return &sequences{next: 1, low: 1, live: make(map[uint64]struct{}), freed: make(chan struct{})}
}

// acquire returns the next number, waiting for room in the window.
func (s *sequences) acquire(ctx context.Context) (uint64, error) {
	for {
		s.mu.Lock()
		if s.next-s.low < resultRing || invariant.Mutant("cluster-no-window") {
			n := s.next
			s.next++
			s.live[n] = struct{}{}
			s.mu.Unlock()
			return n, nil
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// release says that n will not be retried any more.
func (s *sequences) release(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, n)
	low := s.low
	for low < s.next {
		if _, ok := s.live[low]; ok {
			break
		}
		low++
	}
	if low != s.low {
		s.low = low
		close(s.freed)
		s.freed = make(chan struct{})
	}
}
