package raftstore

import (
	"fmt"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// slow is what a write takes when it is logged.
const slow = 100 * time.Millisecond

// state of a store; it only gets worse, but for reset.
type state int

const (
	healthy  state = iota
	poisoned       // a StoreLogs missed its deadline
	failed         // a write failed or hangs, or what was read is damaged
	closed
)

// store is the wrapper over a backend: deadlines, framing, the vote.
//
// A write runs in a goroutine of its own, because a hanging disk cannot be
// interrupted: whoever waits goes on at the deadline, and the write may still
// land. raft cannot live with that: it believes in the last index that it knew.
// So nothing is written any more until raft was restarted on what is on disk.
type store struct {
	o Options
	b backend

	mu      sync.Mutex
	state   state
	err     error         // why, if failed
	running int           // writes that have not returned
	idle    chan struct{} // closed when running is 0
	told    bool          // OnStall has returned
	reading sync.WaitGroup
	vote    vote
	term    uint64 // CurrentTerm, as on disk
	hasTerm bool
}

func newStore(o Options, b backend) (*store, error) {
	s := &store{o: o, b: b, idle: make(chan struct{})}
	close(s.idle)
	if err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// usable returns the error that every write gets in this state.
func (s *store) usable() error {
	switch s.state {
	case healthy:
		return nil
	case poisoned:
		return ErrStalled
	case failed:
		return s.err
	default:
		return ErrClosed
	}
}

// write runs op as one write of the named operation. With a soft deadline it
// returns ErrStalled when that has passed, while op goes on.
func (s *store) write(operation string, entries int, soft time.Duration, op func() error) error {
	s.mu.Lock()
	if err := s.usable(); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.running == 0 {
		s.idle = make(chan struct{})
	}
	s.running++
	s.mu.Unlock()

	done := make(chan error, 1)
	late := make(chan struct{})
	hard := time.AfterFunc(s.o.HardDeadline, func() {
		first := s.fence(fmt.Errorf("a write (%s) has not returned for %v: the disk hangs", operation, s.o.HardDeadline))
		close(late)
		if first {
			s.tell()
		}
	})
	go func() {
		start := time.Now()
		err := op()
		hard.Stop()
		s.wrote(operation, entries, time.Since(start), err)
		done <- err
		s.ended()
	}()

	var stall <-chan time.Time
	if soft > 0 && !invariant.Mutant("raftstore-no-deadline") {
		t := time.NewTimer(soft)
		defer t.Stop()
		stall = t.C
	}
	select {
	case err := <-done:
		if err != nil {
			return s.failure(err)
		}
		return nil
	case <-stall:
	case <-late:
		return s.failure(ErrFailed)
	}
	select {
	case err := <-done: // at the very moment of the deadline
		if err != nil {
			return s.failure(err)
		}
		return nil
	default:
		return s.stalled(operation, soft)
	}
}

// wrote measures a write that has returned, and fences the store if it failed:
// after a failed flush the system may say yes to the next one although the data are gone.
func (s *store) wrote(operation string, entries int, took time.Duration, err error) {
	s.o.Metrics.writes.WithLabelValues(operation).Observe(took.Seconds())
	if err != nil {
		s.fail(fmt.Errorf("a write (%s) failed: %w", operation, err))
		return
	}
	if took > slow {
		s.o.Logger.Warn("Slow write to the metadata log", "operation", operation, "entries", entries, "took", took)
	}
}

// ended counts a write off; the last one of a poisoned store settles it.
func (s *store) ended() {
	s.mu.Lock()
	s.running--
	settled := s.running == 0 && s.state == poisoned && s.told
	if s.running == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	if settled {
		s.settled()
	}
}

func (s *store) settled() {
	s.o.Logger.Warn("The late write to the metadata log has returned: Raft is to be restarted in place")
	s.o.OnSettled()
}

// stalled poisons the store. OnSettled waits for OnStall, so that an owner sees
// them in this order.
func (s *store) stalled(operation string, after time.Duration) error {
	s.mu.Lock()
	first := s.state == healthy
	if first {
		s.state, s.told = poisoned, false
	}
	err := s.usable()
	s.mu.Unlock()
	if !first {
		return err
	}
	s.o.Metrics.stalls.Inc()
	s.o.Logger.Error("The disk of the metadata log stalls: this node gives up its Raft role until the write has returned",
		"operation", operation, "deadline", after)
	s.o.OnStall()
	s.mu.Lock()
	s.told = true
	settled := s.running == 0 && s.state == poisoned
	s.mu.Unlock()
	if settled {
		s.settled()
	}
	return err
}

// fail fences the store for good.
func (s *store) fail(cause error) {
	if s.fence(cause) {
		s.tell()
	}
}

// fence refuses all writes from now on; it reports whether it was the first to do so.
func (s *store) fence(cause error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != healthy && s.state != poisoned {
		return false
	}
	s.state = failed
	s.err = fmt.Errorf("%w: %s: %w; look into the system's log for the device, and start this node again when it is repaired", ErrFailed, s.o.Dir, cause)
	return true
}

// tell tells the owner that the store is lost.
func (s *store) tell() {
	err := s.failure(ErrFailed)
	s.o.Logger.Error("The store of the metadata log is lost", "error", err)
	s.o.OnFail(err)
}

// beginRead lets a read go ahead unless the store is closed: a bolt file must
// not be unmapped under it. A poisoned or failed store can still be read: raft
// panics when it cannot read an entry that it is about to apply.
func (s *store) beginRead() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed {
		return ErrClosed
	}
	s.reading.Add(1)
	return nil
}

// failure returns the error of the failed state, or err if the store was closed meanwhile.
func (s *store) failure(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == failed {
		return s.err
	}
	return err
}

func (s *store) reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state == poisoned && s.running > 0:
		return fmt.Errorf("%w: a write has not returned yet", ErrStalled)
	case s.state == poisoned:
		s.state = healthy
	}
	return s.usable()
}

func (s *store) close() error {
	s.mu.Lock()
	if s.state == closed {
		s.mu.Unlock()
		return nil
	}
	was := s.state
	s.state = closed
	idle := s.idle
	s.mu.Unlock()
	if was == failed {
		select {
		case <-idle:
		default:
			return ErrFailed // a write hangs in the backend, which must not be closed under it
		}
	}
	<-idle
	s.reading.Wait()
	return s.b.Close()
}
