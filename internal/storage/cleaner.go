package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// CleanerOptions are the properties log.cleaner.*. A zero value stands for the default.
type CleanerOptions struct {
	Disabled       bool          // log.cleaner.enable=false: nothing is compacted
	Backoff        time.Duration // log.cleaner.backoff.ms: between two looks for logs to clean; default 15 s
	DedupeBytes    int64         // log.cleaner.dedupe.buffer.size: most memory of the offset map; default 128 MiB
	LoadFactor     float64       // log.cleaner.io.buffer.load.factor: how full that may get; default 0.9
	BufferBytes    int           // log.cleaner.io.buffer.size: of reads and writes together; default 512 KiB
	BytesPerSecond float64       // log.cleaner.io.max.bytes.per.second: reads and writes together; default no limit
}

func (o CleanerOptions) withDefaults() CleanerOptions {
	o.Backoff = cmp.Or(o.Backoff, 15*time.Second)
	o.DedupeBytes = cmp.Or(o.DedupeBytes, 128<<20)
	o.LoadFactor = cmp.Or(o.LoadFactor, 0.9)
	o.BufferBytes = cmp.Or(o.BufferBytes, 512<<10)
	return o
}

// cleaner compacts the logs whose topics ask for it: of the records of a key it keeps the last. One
// goroutine does that for all logs, the one with the largest dirty share first.
//
// A log has a clean part and, from its clean point on, a dirty part. A pass reads the dirty part as
// far as the offset map takes it, and notes for each key where its last record is; then it
// writes the segments from the begin of the log up to there anew, without the records that have a later
// one in the map (cleaning.go), and puts each in the place of those it was made from
// (replace.go). Only segments below the recovery point are touched, so that recovery never has to tell
// a hole that compaction has made from one that a crash has.
//
// The clean points of all logs stand in one file. It follows the segments: a clean point that is too low
// costs work, one that is too high would let old records of a key live on, and come back when the
// tombstone above them goes.
type cleaner struct {
	dir      *Directory
	o        CleanerOptions // as the pass that runs has them
	throttle throttle

	// writing is held, by sending, by the one who writes the file of clean points.
	writing chan struct{}

	mu      sync.Mutex
	written map[string]int64 // what that file holds
}

func newCleaner(d *Directory, o CleanerOptions) cleaner {
	o = o.withDefaults()
	d.cleanerOptions.Store(&o)
	return cleaner{dir: d, o: o, throttle: throttle{rate: o.BytesPerSecond}, writing: make(chan struct{}, 1), written: map[string]int64{}}
}

// SetCleaner changes how logs are cleaned, from the next pass on. Disabled stays as it was at the start.
func (d *Directory) SetCleaner(o CleanerOptions) {
	o = o.withDefaults()
	d.cleanerOptions.Store(&o)
}

// renew takes over what SetCleaner has left. The cleaner's goroutine calls it, between passes.
func (c *cleaner) renew() {
	disabled := c.o.Disabled
	c.o = *c.dir.cleanerOptions.Load()
	c.o.Disabled = disabled
	c.throttle.rate = c.o.BytesPerSecond
}

// run cleans until ctx ends.
func (c *cleaner) run(ctx context.Context) {
	if c.o.Disabled {
		return
	}
	timer := time.NewTimer(c.o.Backoff)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		c.cleanAll(ctx)
		timer.Reset(c.o.Backoff)
	}
}

// cleanAll does passes until no log needs one. A log whose pass has not come to its end, for lack of space
// or because the log was truncated under it, waits for the next call.
func (c *cleaner) cleanAll(ctx context.Context) {
	put := map[*Log]bool{}
	for ctx.Err() == nil {
		c.renew()
		p := c.filthiest(ctx, put)
		if p == nil {
			return
		}
		if err := c.clean(ctx, p); err != nil {
			put[p.log] = true
			c.failed(p.log, err)
		}
	}
}

// filthiest returns the plan for the log that needs cleaning most, nil if none does.
func (c *cleaner) filthiest(ctx context.Context, put map[*Log]bool) *cleaningPlan {
	var best *cleaningPlan
	most := 0.0
	for _, l := range c.dir.Logs() {
		if ctx.Err() != nil {
			return nil
		}
		if put[l] || !l.options.Load().Compacted {
			continue
		}
		p := l.planCleaning(c.dir.clock.NowMillis())
		if p == nil {
			continue
		}
		most = max(most, p.ratio())
		if p.due() && (best == nil || p.ratio() > best.ratio()) {
			best = p
		}
	}
	c.dir.metrics.dirtyRatio.Set(most)
	return best
}

// failed says why a pass has ended early. The disk being full, or the log having changed, may pass; any
// other cause would be met again, so the log is left alone until the next start.
func (c *cleaner) failed(l *Log, err error) {
	switch {
	case errors.Is(err, errLogChanged), errors.Is(err, ErrClosed), errors.Is(err, context.Canceled):
		c.dir.logger.Debug("cleaning was given up, to be taken up again", "log", l.id.String(), "because", err)
	case outOfSpace(err):
		c.dir.logger.Warn("no space to clean a log; it is tried again", "log", l.id.String(), "error", err, "in", c.o.Backoff)
	default:
		l.uncleanable.Store(true)
		c.dir.logger.Error("log cannot be cleaned and grows until the next start; check the disk, and its segments with dump-log",
			"log", l.id.String(), "error", err)
	}
}

// Uncleanable reports whether compaction has given the log up until the next start.
func (l *Log) Uncleanable() bool { return l.uncleanable.Load() }

// clean does one pass over a log.
func (c *cleaner) clean(ctx context.Context, p *cleaningPlan) error {
	l, began := p.log, time.Now()
	r := &cleaning{cleaner: c, plan: p, log: l, ctx: ctx, end: p.to}
	r.compactor.Limit = decompressLimit
	if err := r.prepare(); err != nil {
		return err
	}
	// The place of the recovery point in the file must not lie in a segment that goes.
	if err := c.dir.checkpoints.save(true); err != nil {
		return fmt.Errorf("%w: %s: write recovery points before cleaning: %w", ErrStorage, l.id, err)
	}
	if err := c.mark(p, p.from); err != nil {
		return err
	}
	if invariant.Mutant("cleaner-point-early") {
		_ = c.mark(p, r.end)
	}
	if err := r.rewrite(); err != nil {
		return err
	}
	if err := c.mark(p, r.end); err != nil {
		return err
	}
	m := c.dir.metrics
	m.cleanings.Inc()
	m.cleanerSeconds.Add(time.Since(began).Seconds())
	c.dir.logger.Info("log cleaned", "log", l.id.String(), "to", r.end, "of", p.to, "bytes_before", r.read, "bytes_after", r.wrote,
		"records_removed", r.removed, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// throttle bounds the cleaner's I/O.
type throttle struct {
	rate  float64 // bytes a second; 0: no limit
	began time.Time
	bytes float64 // since then
}

// take accounts for n bytes and waits until they were allowed. What was not used is not saved up.
func (t *throttle) take(ctx context.Context, n int) error {
	if t.rate <= 0 {
		return ctx.Err()
	}
	now := time.Now()
	if now.Sub(t.began).Seconds()*t.rate > t.bytes {
		t.began, t.bytes = now, 0
	}
	t.bytes += float64(n)
	ahead := time.Duration(t.bytes/t.rate*float64(time.Second)) - now.Sub(t.began)
	if ahead < time.Millisecond {
		return ctx.Err()
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
