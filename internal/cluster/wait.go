package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// pause waits for d, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pauseForLeader waits for d, or until another leader is known, or returns the
// context's error.
func (c *Cluster) pauseForLeader(ctx context.Context, d time.Duration) error {
	_, _, while := c.leader.get()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-while.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until returns a context that ends with either of two.
func until(ctx, while context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(while, cancel)
	return ctx, func() {
		unhook()
		cancel()
	}
}

// whileRunning returns a context that also ends when Run does.
func (c *Cluster) whileRunning(ctx context.Context) (context.Context, context.CancelFunc) {
	return until(ctx, c.life)
}

// stopped is the error of who waited for something: ErrStopped if Run has ended.
func (c *Cluster) stopped(err error) error {
	if err != nil && c.life.Err() != nil {
		return ErrStopped
	}
	return err
}

// awaitFormed waits until this node belongs to a cluster.
func (c *Cluster) awaitFormed(ctx context.Context) error {
	select {
	case <-c.formed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sometimes logs what would otherwise be said all the time.
type sometimes struct {
	log  *slog.Logger
	mu   sync.Mutex
	last map[string]time.Time
}

func newSometimes(l *slog.Logger) *sometimes {
	return &sometimes{log: l, last: make(map[string]time.Time)}
}

// warn says it the first time, and then once in sayEvery for each key. Keys are
// few: node ids in them come from the network, so the map is bounded.
func (s *sometimes) warn(key, msg string, args ...any) {
	s.mu.Lock()
	now := time.Now()
	last, ok := s.last[key]
	due := !ok || now.Sub(last) >= sayEvery
	if due {
		if len(s.last) >= 1024 {
			clear(s.last)
		}
		s.last[key] = now
	}
	s.mu.Unlock()
	if due {
		s.log.Warn(msg, args...)
	}
}
