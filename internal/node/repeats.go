package node

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"
)

// A line of the log from warn up that says what one before has said, word for word, is written once in sameEvery, and
// of lines that differ in their values alone likeBurst in each likeEvery. The next that is written tells how many
// were not.
const (
	sameEvery = time.Minute
	likeEvery = 10 * time.Second
	likeBurst = 20
	// maxRepeats bounds what is remembered; beyond it everything is forgotten.
	maxRepeats = 4096
)

// quiet is a slog.Handler that leaves out repeated lines.
type quiet struct {
	slog.Handler
	with   uint64 // hash of the attributes and groups that the handler was given
	shared *repeats
}

// repeats is what has been written; all handlers that come from one share it.
type repeats struct {
	seed maphash.Seed

	mu    sync.Mutex
	lines map[uint64]*repeat
}

// repeat is a line, or a kind of lines.
type repeat struct {
	since   time.Time
	written int
	left    int // not written since the last that was
}

// withoutRepeats wraps a handler.
func withoutRepeats(h slog.Handler) slog.Handler {
	return &quiet{Handler: h, shared: &repeats{seed: maphash.MakeSeed(), lines: map[uint64]*repeat{}}}
}

// Handle implements slog.Handler.
func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return q.Handler.Handle(ctx, r)
	}
	var h maphash.Hash
	h.SetSeed(q.shared.seed)
	h.WriteString(r.Message)
	like := h.Sum64() ^ q.with
	r.Attrs(func(a slog.Attr) bool {
		h.WriteString(a.String())
		h.WriteByte(0)
		return true
	})
	left, ok := q.shared.pass(r.Time, like, h.Sum64()^q.with)
	if !ok {
		return nil
	}
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("like_it_not_logged", left))
	}
	return q.Handler.Handle(ctx, r)
}

// pass reports whether a line is to be written, and how many like it were not since the last that was.
func (s *repeats) pass(now time.Time, like, same uint64) (left int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) > maxRepeats {
		clear(s.lines)
	}
	kind := s.of(like, now, likeEvery)
	// A line without attributes is the only one of its kind.
	if line := s.of(same+1, now, sameEvery); line.written > 0 {
		kind.left++
		return 0, false
	} else if kind.written >= likeBurst {
		kind.left++
		return 0, false
	} else {
		line.written++
	}
	kind.written++
	left, kind.left = kind.left, 0
	return left, true
}

// of finds a line, and begins its count anew when its time is over.
func (s *repeats) of(key uint64, now time.Time, every time.Duration) *repeat {
	r := s.lines[key]
	if r == nil {
		r = &repeat{since: now}
		s.lines[key] = r
	}
	if now.Sub(r.since) >= every || now.Before(r.since) {
		r.since, r.written = now, 0
	}
	return r
}

// WithAttrs implements slog.Handler.
func (q *quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := q.with
	for _, a := range attrs {
		with = with*31 + maphash.String(q.shared.seed, a.String())
	}
	return &quiet{q.Handler.WithAttrs(attrs), with, q.shared}
}

// WithGroup implements slog.Handler.
func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{q.Handler.WithGroup(name), q.with*31 + maphash.String(q.shared.seed, name), q.shared}
}
