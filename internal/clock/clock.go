// Package clock is the wall clock. Durations never come from it: they are
// measured with the monotonic clock of package time. What carries a wall-clock
// time is a record's timestamp, retention, and the now of a metadata entry.
package clock

import (
	"sync/atomic"
	"time"
)

// Clock tells wall-clock time.
type Clock interface {
	// NowMillis returns milliseconds since the Unix epoch.
	NowMillis() int64
}

// Wall is the machine's clock.
type Wall struct{}

// NowMillis implements Clock.
func (Wall) NowMillis() int64 { return time.Now().UnixMilli() }

// Manual is a clock that stands still until it is set; for tests of clock jumps.
type Manual struct{ ms atomic.Int64 }

// NewManual returns a clock that shows ms.
func NewManual(ms int64) *Manual {
	m := &Manual{}
	m.ms.Store(ms)
	return m
}

// NowMillis implements Clock.
func (m *Manual) NowMillis() int64 { return m.ms.Load() }

// Set moves the clock to ms, in either direction.
func (m *Manual) Set(ms int64) { m.ms.Store(ms) }

// Add moves the clock by d.
func (m *Manual) Add(d time.Duration) { m.ms.Add(d.Milliseconds()) }
