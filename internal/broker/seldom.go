package broker

import (
	"log/slog"
	"sync"
	"time"
)

// seldomEvery is the least time between two lines of a seldom.
const seldomEvery = 10 * time.Second

// seldom logs a line that clients can cause as often as they like: at most one in seldomEvery, which tells how many were
// left out. The zero value is ready; the mutex guards all fields.
type seldom struct {
	mu   sync.Mutex
	last time.Time
	left int
}

func (s *seldom) warn(log *slog.Logger, msg string, args ...any) {
	s.mu.Lock()
	now := time.Now()
	if !s.last.IsZero() && now.Sub(s.last) < seldomEvery {
		s.left++
		s.mu.Unlock()
		return
	}
	left := s.left
	s.last, s.left = now, 0
	s.mu.Unlock()
	log.Warn(msg, append(args, "more_not_logged", left)...)
}
