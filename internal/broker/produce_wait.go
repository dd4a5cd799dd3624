package broker

import (
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/listener"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/wire"
)

// answerProduce answers the pending requests in their order: at once, or in slots that wait. Requests
// that follow each other and wait alike share a slot and a wait.
func (s *session) answerProduce(requests []produceRequest) {
	silent := 0
	for i := 0; i < len(requests); {
		r := &requests[i]
		switch {
		case r.body.Acks == acksNone:
			silent++
			if r.refused != nil {
				s.client.Close(r.refused) // the only way to tell: there is no response
			}
			i++
		case s.acknowledged(r):
			out := s.client.Out()
			n := len(out)
			out = r.encode(out)
			s.client.SetOut(out)
			s.producing.answered++
			s.producing.out += len(out) - n
			i++
		default:
			n := 1
			for i+n < len(requests) && requests[i+n].waitsLike(r) {
				n++
			}
			s.timeProduce()
			s.promise(requests[i : i+n])
			i += n
		}
	}
	s.timeProduce()
	if silent > 0 {
		p := &s.producing
		s.b.Answered(&listener.Timing{Key: produceKey, Requests: silent, Queue: p.queue, Local: p.local}, p.queue+p.local)
	}
}

// timeProduce notes where the time of the requests went that have been answered at once.
func (s *session) timeProduce() {
	p := &s.producing
	if p.answered == 0 {
		return
	}
	s.client.Time(listener.Timing{Key: produceKey, Requests: p.answered, Bytes: p.out, Read: p.start, Queue: p.queue, Local: p.local})
	p.answered, p.out = 0, 0
}

func (r *produceRequest) encode(dst []byte) []byte {
	start := len(dst)
	dst = wire.BeginResponse(dst, produceKey, r.body.Version, r.correlationID)
	dst = wire.AppendProduceResponse(dst, &r.body, r.results, r.endpoints)
	wire.EndResponse(dst, start, 0)
	return dst
}

// acknowledged reports whether all that the request appended is as durable as it asked.
func (s *session) acknowledged(r *produceRequest) bool {
	for i := range r.targets {
		t := &r.targets[i]
		if !t.partition.Acknowledged(t.offset, r.body.Acks == acksAll) {
			return false
		}
	}
	return true
}

// waitsLike reports whether two requests can share a wait.
func (r *produceRequest) waitsLike(o *produceRequest) bool {
	return r.body.Acks == o.body.Acks && r.body.TimeoutMillis == o.body.TimeoutMillis
}

// produceWait is the responses of requests that came together and wait for their partitions. They
// stand encoded in a slot, as successes; a partition that fails is patched. Its mutex is never held
// while another lock is taken or anything is written.
type produceWait struct {
	s            *session
	slot         *listener.Slot
	start        time.Time     // when the requests had been read
	queue, local time.Duration // as producing has them
	n            int           // requests
	timer        *time.Timer

	mu      sync.Mutex
	left    int // partitions that are not decided, and one while the reader registers
	ended   bool
	entries []waitEntry
	patches []patch
}

// waitEntry is one partition that is waited for.
type waitEntry struct {
	partition *replica.Partition
	offset    int64
	decided   bool
	code      int16
}

// patch is where a partition's result stands in the slot's bytes.
type patch struct {
	entry   int
	at      int
	version int16
}

// wait takes a wait that is over, or makes one.
func (s *session) wait() *produceWait {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.waits); n > 0 {
		w := s.waits[n-1]
		s.waits = s.waits[:n-1]
		return w
	}
	w := &produceWait{s: s}
	w.timer = time.AfterFunc(time.Hour, w.expire)
	return w
}

// promise puts the responses in a slot, to be written when their partitions are acknowledged.
func (s *session) promise(requests []produceRequest) {
	w := s.wait()
	first := &requests[0]
	w.slot, w.n, w.ended = s.client.Defer(), len(requests), false
	w.start, w.queue, w.local = s.producing.start, s.producing.queue, s.producing.local
	for i := range requests {
		r := &requests[i]
		w.slot.Buf = r.encode(w.slot.Buf)
		for _, t := range r.targets {
			w.patches = append(w.patches, patch{w.entry(t), r.results[t.position].At, r.body.Version})
		}
	}
	w.left = len(w.entries) + 1
	for i := range w.entries {
		e := &w.entries[i]
		p, offset := e.partition, e.offset
		if p.Await(offset, first.body.Acks == acksAll, w) {
			w.Reached(p, offset, nil)
		}
	}
	// Not before all are registered: what was registered after the timer had cancelled would stay.
	w.timer.Reset(time.Duration(max(first.body.TimeoutMillis, 0)) * time.Millisecond)
	w.mu.Lock()
	w.downLocked() // nothing is flushed here: the reader does that next
}

// entry returns the entry that waits for the target's partition, as far as the target.
func (w *produceWait) entry(t target) int {
	for i := len(w.entries) - 1; i >= 0 && i >= len(w.entries)-maxGroups; i-- {
		if e := &w.entries[i]; e.partition == t.partition {
			e.offset = max(e.offset, t.offset)
			return i
		}
	}
	w.entries = append(w.entries, waitEntry{partition: t.partition, offset: t.offset})
	return len(w.entries) - 1
}

// Reached implements replica.Waiter.
func (w *produceWait) Reached(p *replica.Partition, offset int64, err error) replica.Flusher {
	w.mu.Lock()
	for i := range w.entries {
		if w.ended {
			break // the timer is answering, and reads the entries without mu
		}
		e := &w.entries[i]
		if e.partition == p && e.offset == offset && !e.decided {
			e.decided, e.code = true, code(err)
			break
		}
	}
	return w.downLocked()
}

// downLocked counts down and completes the responses with the last; it unlocks.
func (w *produceWait) downLocked() replica.Flusher {
	w.left--
	if w.left > 0 || w.ended {
		w.mu.Unlock()
		return nil
	}
	w.ended = true
	w.mu.Unlock()
	again := w.timer.Stop()
	c := w.complete()
	if again {
		w.reuse()
	}
	return c
}

// complete patches what failed and marks the slot. Only who has set ended gets here.
func (w *produceWait) complete() replica.Flusher {
	for _, p := range w.patches {
		if c := w.entries[p.entry].code; c != codeNone {
			wire.FailProduceResult(w.slot.Buf[p.at:], p.version, c)
			w.s.b.m.error(produceKey, c)
		}
	}
	w.slot.Time(listener.Timing{
		Key: produceKey, Requests: w.n, Bytes: len(w.slot.Buf), Read: w.start,
		Queue: w.queue, Local: w.local, Remote: time.Since(w.start) - w.queue - w.local,
	})
	c := w.slot.Client()
	w.slot.Done()
	return c
}

// reuse gives a wait back to its session. One whose timer could not be stopped is not used again: a
// partition, or the timer, may still have it in hand.
func (w *produceWait) reuse() {
	if cap(w.entries) > maxPending || cap(w.patches) > maxPending {
		return
	}
	clear(w.entries)
	w.slot, w.entries, w.patches = nil, w.entries[:0], w.patches[:0]
	w.s.mu.Lock()
	w.s.waits = append(w.s.waits, w)
	w.s.mu.Unlock()
}

// expire answers REQUEST_TIMED_OUT for what is not decided: the records are in the log and may
// yet be acknowledged, so no other error would be true.
func (w *produceWait) expire() {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	w.ended = true
	var waiting []*replica.Partition
	for i := range w.entries {
		if e := &w.entries[i]; !e.decided {
			e.code = codeRequestTimedOut
			waiting = append(waiting, e.partition)
		}
	}
	w.mu.Unlock()
	for _, p := range waiting {
		p.Cancel(w)
	}
	w.complete().Flush()
}
