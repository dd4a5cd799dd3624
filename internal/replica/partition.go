package replica

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/storage"
)

// Partition is this broker's replica of one partition.
type Partition struct {
	Topic   string
	TopicID metadata.ID
	Index   int32

	m    *Manager
	view atomic.Pointer[view]
	hw   atomic.Int64

	mu      sync.Mutex
	want    want // what the newest image says
	log     *storage.Log
	failed  error        // why the log cannot be used, for good
	waiters []registered // in the order they came
	subs    []*Subscription
	untold  []appended // what readers have not been told of
}

// view is what appends and reads need to know. It is replaced as a whole.
type view struct {
	err     error // why the partition cannot be used here; the rest holds without
	log     *storage.Log
	leader  int32 // -1 if there is none
	epoch   int32 // the leader's
	caching bool  // acknowledged before it is flushed
	inSync  bool  // enough replicas for acks=all
	topic   *config.Topic
}

// want is what the cluster wants of a partition.
type want struct {
	leader, epoch  int32
	partitionEpoch int32
	isr            []int32
	minISR         int32
	directory      metadata.ID
	topic          *config.Topic
	deleted        bool
}

// appended is an append: the offset after it, and its bytes.
type appended struct{ end, bytes int64 }

// registered is a waiter and what it waits for.
type registered struct {
	w      Waiter
	target int64
	all    bool // the high watermark, else this replica's flush
}

// Config returns the topic's settings. They are shared and must not be changed.
func (p *Partition) Config() *config.Topic { return p.view.Load().topic }

// Log returns the partition's log, or why it cannot be used now.
func (p *Partition) Log() (*storage.Log, error) {
	v := p.view.Load()
	return v.log, v.err
}

// Replica returns the partition's log whether it can be used or not, nil if it has not been opened.
func (p *Partition) Replica() *storage.Log {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log
}

// LeaderEpoch returns the leader and its epoch, as the newest image here has them.
func (p *Partition) LeaderEpoch() (leader, epoch int32) {
	v := p.view.Load()
	return v.leader, v.epoch
}

// HighWatermark returns the offset below which consumers may read.
func (p *Partition) HighWatermark() int64 { return p.hw.Load() }

// Opening reports whether the partition will be usable, or be known not to be, when Manager.Wait returns.
func (p *Partition) Opening() bool { return p.view.Load().err == ErrOpening }

// Deleted reports whether the partition is gone from this broker, so that its name may be another's.
func (p *Partition) Deleted() bool { return p.view.Load().err == ErrUnknownPartition }

// InSync reports whether there are enough in-sync replicas to take an append with acks=all.
func (p *Partition) InSync() bool { return p.view.Load().inSync }

// Leading returns nil if this broker leads the partition and the caller's epoch, unless it
// is -1, is the present one.
func (p *Partition) Leading(epoch int32) error {
	v := p.view.Load()
	return v.check(epoch)
}

func (v *view) check(epoch int32) error {
	switch {
	case v.err == ErrOpening:
		return ErrNotLeader
	case epoch >= 0 && epoch < v.epoch:
		return ErrFencedLeaderEpoch
	case epoch > v.epoch:
		return ErrUnknownLeaderEpoch
	}
	return v.err
}

// AppendLeader appends checked batches, in one write. Each has its own verdict in its Append; the
// error concerns all that have none. What was appended is acknowledged by Await. Whoever is
// to learn of it goes into r, which the caller finishes once it has written its own acks.
//
// Leadership may be lost between the look at the view and the append. The log refuses an epoch
// that is older than one it has begun; and where no newer one has begun (the leader is gone and nobody
// has followed) the second look refuses to call it a success.
func (p *Partition) AppendLeader(batches []storage.Append, r *Round) error {
	return p.AppendInEpoch(-1, batches, r)
}

// AppendInEpoch is AppendLeader for who acts for one leader epoch alone: if that is over, nothing is
// appended. The log refuses it too, once a newer epoch is served.
func (p *Partition) AppendInEpoch(epoch int32, batches []storage.Append, r *Round) error {
	v := p.view.Load()
	if err := v.check(epoch); err != nil {
		return err
	}
	if err := v.log.Append(v.epoch, batches); err != nil {
		return err
	}
	a := sum(batches)
	p.m.m.appendedBytes.Add(float64(a.bytes))
	p.note(a, v.caching, r) // whatever becomes of the leadership: it will be readable in the next one
	if now := p.view.Load(); now.err != nil {
		return now.check(-1)
	} else if now.epoch != v.epoch {
		return ErrNotLeader
	}
	return nil
}

// note takes account of an append that the log has.
func (p *Partition) note(a appended, caching bool, r *Round) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.bytes > 0 {
		p.untold = append(p.untold, a)
	}
	switch {
	case caching:
		p.advanceLocked(r)
	case !invariant.Mutant("replica-tell-at-flush-only"):
		p.tellReadableLocked(r) // the flush may have been quicker than we are
	}
}

// sum tells what batches were appended.
func sum(batches []storage.Append) (a appended) {
	for i := range batches {
		if b := &batches[i]; b.Err == nil && !b.Duplicate {
			a.bytes += int64(len(b.Batch))
			a.end = NextOffset(b)
		}
	}
	return a
}

// Acknowledged reports whether everything below target is, in the sense of Await.
func (p *Partition) Acknowledged(target int64, all bool) bool {
	v := p.view.Load()
	return v.err == nil && p.reached(v, target, all)
}

// Await tells whether everything below target is acknowledged: by the flush of this replica, or
// with all by the high watermark. If not it registers w. Appends of a topic with write.caching
// are acknowledged by this replica as they are made.
func (p *Partition) Await(target int64, all bool, w Waiter) bool {
	v := p.view.Load()
	if v.err == nil && p.reached(v, target, all) {
		return true
	}
	p.mu.Lock()
	v = p.view.Load()
	if v.err == nil && p.reached(v, target, all) {
		p.mu.Unlock()
		return true
	}
	if err := v.err; err != nil && err != ErrOpening {
		p.mu.Unlock()
		w.Reached(p, target, err)
		return false
	}
	p.waiters = append(p.waiters, registered{w, target, all})
	p.mu.Unlock()
	return false
}

func (p *Partition) reached(v *view, target int64, all bool) bool {
	return target <= p.hw.Load() || !all && (v.caching || target <= v.log.Flushed())
}

// Cancel takes back the registrations of w and reports how many there were.
func (p *Partition) Cancel(w Waiter) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.waiters)
	p.waiters = slices.DeleteFunc(p.waiters, func(r registered) bool { return r.w == w })
	return before - len(p.waiters)
}

// Subscribe puts s into the partition's list; s.Partition is set.
func (p *Partition) Subscribe(s *Subscription) {
	p.mu.Lock()
	s.Partition, s.at = p, len(p.subs)
	p.subs = append(p.subs, s)
	p.mu.Unlock()
}

// Unsubscribe takes s out of the list. When it has returned Moved is not called for it any more; Wake may be.
func (s *Subscription) Unsubscribe() {
	p := s.Partition
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.at < 0 || s.at >= len(p.subs) || p.subs[s.at] != s {
		return
	}
	last := len(p.subs) - 1
	p.subs[s.at] = p.subs[last]
	p.subs[s.at].at = s.at
	p.subs[last] = nil
	p.subs = p.subs[:last]
	s.at = -1
}

// advance moves the high watermark as far as the in-sync replicas allow.
func (p *Partition) advance(r *Round) {
	p.mu.Lock()
	p.advanceLocked(r)
	p.mu.Unlock()
}

func (p *Partition) advanceLocked(r *Round) {
	v := p.view.Load()
	if v.log == nil {
		return
	}
	old := p.hw.Load()
	hw := old
	if v.err == nil {
		hw = max(old, p.leastInSyncLocked(v))
	}
	flushed := v.log.Flushed()
	if hw > old {
		p.hw.Store(hw)
		v.log.SetRetentionBound(hw)
	}
	if len(p.waiters) > 0 {
		p.dueLocked(r, hw, flushed)
	}
	p.tellReadableLocked(r)
}

// tellReadableLocked tells readers of the appends that have come below the high watermark. An append is
// noted after the log has it, so the watermark may pass it first; then it is told of here by the one who
// notes it.
func (p *Partition) tellReadableLocked(r *Round) {
	hw, bytes := p.hw.Load(), int64(0)
	kept := p.untold[:0]
	for _, a := range p.untold {
		if a.end <= hw {
			bytes += a.bytes
		} else {
			kept = append(kept, a)
		}
	}
	p.untold = kept
	if bytes > 0 {
		p.tellLocked(r, bytes)
	}
}

// leastInSyncLocked returns the offset that every in-sync replica holds: this one's flushed
// offset, or with write.caching its end. Another member of the in-sync set has nothing to show here, so it
// holds the watermark where it is.
func (p *Partition) leastInSyncLocked(v *view) int64 {
	own := v.log.Flushed()
	if v.caching {
		own = v.log.End()
	}
	for _, id := range p.want.isr {
		if id != p.m.o.NodeID {
			own = min(own, p.hw.Load())
		}
	}
	return own
}

// dueLocked moves the waiters that have what they wait for into the round.
func (p *Partition) dueLocked(r *Round, hw, flushed int64) {
	kept := p.waiters[:0]
	for _, w := range p.waiters {
		if w.target <= hw || !w.all && w.target <= flushed {
			r.due = append(r.due, due{w.w, p, w.target, nil})
		} else {
			kept = append(kept, w)
		}
	}
	clear(p.waiters[len(kept):])
	p.waiters = kept
}

// tellLocked marks the subscriptions.
func (p *Partition) tellLocked(r *Round, bytes int64) {
	for _, s := range p.subs {
		if s.Reader.Moved(s, bytes) {
			r.addReader(s.Reader)
		}
	}
}

// loseLocked ends all that waits: with err for appends; reads look for themselves.
func (p *Partition) loseLocked(r *Round, err error) {
	for _, w := range p.waiters {
		r.due = append(r.due, due{w.w, p, w.target, err})
	}
	p.waiters, p.untold = nil, nil
	p.tellLocked(r, everything)
}

// fail takes the partition offline here because its log has failed.
func (p *Partition) fail(r *Round, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil || p.want.deleted {
		return
	}
	p.failed = err
	v := *p.view.Load()
	v.err = err
	p.view.Store(&v)
	p.loseLocked(r, err)
}

// NextOffset returns the offset after the last record of an append that was not refused.
func NextOffset(a *storage.Append) int64 {
	return a.BaseOffset + int64(record.Batch(a.Batch).LastOffsetDelta()) + 1
}
