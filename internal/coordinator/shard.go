package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// shard is one partition of the internal topic on the broker that leads it. All
// fields below mail belong to the goroutine of run.
type shard[M Machine] struct {
	r         *Runtime[M]
	partition int32
	epoch     int32
	log       Log
	logger    *slog.Logger
	after     <-chan struct{} // the shard that this one replaces has ended; nil: there is none
	ended     chan struct{}
	mail      *mailbox[M]

	life struct {
		sync.Mutex
		cancel  context.CancelFunc // nil until started
		stopped bool
	}

	machine   M
	live      bool   // machine may be used
	complaint string // the last one
	commits   int    // since the last audit
	todo      []Event[M]
	timers    *timers
	// writes are the batches that are not committed, in the order of the log. The
	// first may be on its way (inflight); the last still gathers unless it is on its way.
	writes   []*write
	inflight bool
	// dirty holds, for every key with records in writes, the last write that has some.
	// Records without a key may be about any: keyless is the last write with such.
	dirty   map[string]*write
	keyless *write
	seq     uint64 // of the last write
	// committed tells how the append on its way ended. It is made anew for each
	// life of the machine, so that an append of an earlier life tells nobody.
	committed chan error
}

// write is one batch: what it holds and who waits for it.
type write struct {
	seq     uint64
	records []Record
	size    int
	keys    []string
	replies []waiting
	sent    time.Time // when it was appended
}

type waiting struct {
	reply    Reply
	deadline time.Time
}

// maxWrites is how many batches gather behind the one on its way before the
// shard leaves further events in its mailbox, which is bounded.
const maxWrites = 8

// Delays between attempts to load a shard again.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

func newShard[M Machine](r *Runtime[M], partition, epoch int32, log Log) *shard[M] {
	s := &shard[M]{
		r: r, partition: partition, epoch: epoch, log: log,
		logger: r.o.Logger.With("topic", r.o.Topic, "partition", partition, "epoch", epoch),
		ended:  make(chan struct{}),
		mail:   newMailbox[M](r.o.QueueLimit),
	}
	s.mail.close(ErrLoading)
	return s
}

// start notes how to end the goroutine that is about to run.
func (s *shard[M]) start(cancel context.CancelFunc) {
	s.life.Lock()
	defer s.life.Unlock()
	s.life.cancel = cancel
	if s.life.stopped {
		cancel()
	}
}

// stop ends the shard; it does not wait. A shard that was never started ends here.
func (s *shard[M]) stop() {
	s.life.Lock()
	defer s.life.Unlock()
	if s.life.stopped {
		return
	}
	s.life.stopped = true
	if s.life.cancel != nil {
		s.life.cancel()
		return
	}
	s.mail.close(ErrNotCoordinator)
	close(s.ended)
}

// run is the goroutine "coordinator shard": it loads and serves until ctx is done.
func (s *shard[M]) run(ctx context.Context) {
	defer close(s.ended)
	if s.after != nil {
		<-s.after
	}
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := s.load(ctx)
		if err == nil {
			s.complaint = ""
			s.r.metrics.active.Inc()
			began := time.Now()
			err = s.serve(ctx)
			s.r.metrics.active.Dec()
			if time.Since(began) > lastRetry {
				retry = firstRetry
			}
		}
		if ctx.Err() != nil {
			s.fail(ErrNotCoordinator, ErrNotCoordinator)
			return
		}
		closed := ErrLoading
		if errors.Is(err, ErrNotCoordinator) {
			closed = ErrNotCoordinator
		}
		s.fail(err, closed)
		s.complain(err, retry)
		if !sleep(ctx, retry) {
			s.mail.close(ErrNotCoordinator)
			return
		}
	}
}

// complain logs why the shard loads again: a cause that stays, a failed disk for example, once.
func (s *shard[M]) complain(err error, retry time.Duration) {
	level := slog.LevelWarn
	if err.Error() == s.complaint {
		level = slog.LevelDebug
	}
	s.complaint = err.Error()
	s.logger.Log(context.Background(), level, "the shard has no state now and loads it from the log", "cause", err, "in", retry)
}

// load makes a new machine and folds the log into it.
func (s *shard[M]) load(ctx context.Context) error {
	select {
	case s.r.loads <- struct{}{}:
		defer func() { <-s.r.loads }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.r.metrics.loading.Inc()
	defer s.r.metrics.loading.Dec()
	began := time.Now()
	m, n := s.r.o.Machine(s.partition), 0
	err := s.log.Load(ctx, s.epoch, func(rec Record) error {
		n++
		return m.Apply(rec)
	})
	if err != nil {
		return fmt.Errorf("loading the shard: %w", err)
	}
	s.machine, s.live = m, true
	s.timers = newTimers()
	s.dirty = map[string]*write{}
	s.committed = make(chan error, 1)
	took := time.Since(began)
	s.r.metrics.loadSeconds.Observe(took.Seconds())
	s.logger.Debug("the shard is loaded", "records", n, "took", took)
	return nil
}

// serve takes events until ctx is done, or an append fails: then it returns the cause.
func (s *shard[M]) serve(ctx context.Context) error {
	defer s.timers.stop()
	now := s.now()
	if err := s.take(now, s.machine.Loaded(now)); err != nil {
		return err
	}
	s.mail.open()
	for {
		s.append()
		s.timers.arm(time.Now(), s.nextDeadline())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.committed:
			if err != nil {
				return err
			}
			s.commit()
		case <-s.mail.ready:
		case <-s.timers.next.C:
		}
		if err := s.advance(); err != nil {
			return err
		}
		if invariant.Enabled {
			s.audit(ctx)
		}
	}
}

// advance handles the timers that have run out and the events that wait.
func (s *shard[M]) advance() error {
	now := s.now()
	s.giveUpWaiting(now.Time)
	for {
		id, ok := s.timers.due(now.Time)
		if !ok {
			break
		}
		if err := s.take(now, s.machine.Expire(now, id)); err != nil {
			return err
		}
	}
	for len(s.writes) < maxWrites {
		if len(s.todo) == 0 {
			if s.todo = s.mail.take(); len(s.todo) == 0 {
				return nil
			}
		}
		ev := s.todo[0]
		s.todo[0] = Event[M]{}
		s.todo = s.todo[1:]
		s.r.metrics.events.Inc()
		if err := s.take(now, ev.Run(s.machine, now)); err != nil {
			return err
		}
	}
	return nil
}

// take carries out a result: applies its records, gathers them for the next
// append, sets its timers, and releases its replies or lets them wait.
func (s *shard[M]) take(now Now, res Result) error {
	for _, tm := range res.Timers {
		s.timers.set(now.Time, tm)
	}
	if size := Size(res.Records); size > s.r.o.MaxBatchBytes {
		release(res.Replies, ErrTooLarge)
		return nil
	}
	for i, rec := range res.Records {
		if err := s.machine.Apply(rec); err != nil {
			err = fmt.Errorf("applying a record of this shard's own making: %w", err)
			invariant.Check(false, "I-39", "%v", err)
			release(res.Replies, err)
			s.logger.Error("the machine cannot read what it wrote", "record", i, "error", err)
			return err
		}
	}
	w := s.gather(res)
	if w == nil || invariant.Mutant("m-28") {
		release(res.Replies, nil)
		return nil
	}
	deadline := now.Time.Add(s.r.o.WriteTimeout)
	for _, reply := range res.Replies {
		w.replies = append(w.replies, waiting{reply, deadline})
	}
	return nil
}

// gather adds the records of a result to the batch that gathers, and returns
// the batch that its replies wait for, nil if they need not wait.
func (s *shard[M]) gather(res Result) *write {
	if len(res.Records) == 0 {
		return s.lastOf(res.Key)
	}
	size := Size(res.Records)
	n := len(s.writes)
	if n == 0 || n == 1 && s.inflight || s.writes[n-1].size+size > s.r.o.GatherBytes {
		s.seq++
		s.writes = append(s.writes, &write{seq: s.seq})
		n++
	}
	w := s.writes[n-1]
	w.records = append(w.records, res.Records...)
	w.size += size
	switch {
	case res.Key == "":
		s.keyless = w
	case s.dirty[res.Key] != w:
		s.dirty[res.Key] = w
		w.keys = append(w.keys, res.Key)
	}
	return w
}

// lastOf returns the last write that may hold records of a key, nil if there is none.
func (s *shard[M]) lastOf(key string) *write {
	if key == "" {
		if n := len(s.writes); n > 0 {
			return s.writes[n-1]
		}
		return nil
	}
	w := s.dirty[key]
	if s.keyless != nil && (w == nil || w.seq < s.keyless.seq) {
		return s.keyless
	}
	return w
}

// append sends the first batch that waits, unless one is on its way.
func (s *shard[M]) append() {
	if s.inflight || len(s.writes) == 0 {
		return
	}
	w := s.writes[0]
	w.sent = time.Now()
	s.inflight = true
	s.r.metrics.appends.Inc()
	s.r.metrics.records.Add(float64(len(w.records)))
	committed := s.committed
	s.log.Append(s.epoch, w.records, func(err error) { committed <- err })
	w.records = nil
}

// commit releases what waited for the batch that has been committed.
func (s *shard[M]) commit() {
	w := s.writes[0]
	s.writes = slices.Delete(s.writes, 0, 1)
	s.inflight = false
	s.commits++
	for _, key := range w.keys {
		if s.dirty[key] == w {
			delete(s.dirty, key)
		}
	}
	if s.keyless == w {
		s.keyless = nil
	}
	s.r.metrics.commitSeconds.Observe(time.Since(w.sent).Seconds())
	for _, wait := range w.replies {
		wait.reply(nil)
	}
}

// nextDeadline returns when the next waiting reply gives up, zero if none waits.
func (s *shard[M]) nextDeadline() time.Time {
	var at time.Time
	for _, w := range s.writes {
		if len(w.replies) > 0 && (at.IsZero() || w.replies[0].deadline.Before(at)) {
			at = w.replies[0].deadline
		}
	}
	return at
}

// giveUpWaiting answers the replies that have waited too long. Their records stay on their way.
func (s *shard[M]) giveUpWaiting(now time.Time) {
	for _, w := range s.writes {
		for len(w.replies) > 0 && !w.replies[0].deadline.After(now) {
			s.r.metrics.timeouts.Inc()
			w.replies[0].reply(ErrTimedOut)
			w.replies = w.replies[1:]
		}
	}
}

// fail answers all that waits with err, drops the machine, and refuses events with closed from here on.
func (s *shard[M]) fail(err, closed error) {
	events := append(s.todo, s.mail.close(closed)...)
	s.todo = nil
	writes := s.writes
	s.writes, s.inflight, s.dirty, s.keyless = nil, false, nil, nil
	for _, w := range writes {
		for _, wait := range w.replies {
			wait.reply(err)
		}
	}
	if s.live {
		release(s.machine.Unload(), err)
		var none M
		s.machine, s.live = none, false
	}
	for _, ev := range events {
		ev.Fail(err)
	}
}

func (s *shard[M]) now() Now {
	return Now{Time: time.Now(), Millis: s.r.o.Clock.NowMillis()}
}

func release(replies []Reply, err error) {
	for _, reply := range replies {
		reply(err)
	}
}

// sleep waits for d; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
