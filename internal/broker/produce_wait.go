package broker

import (
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/listener"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/wire"
)

// answerProduce writes the response of a request, or promises it.
func (s *session) answerProduce(r *produceRequest) {
	if r.body.Acks == acksNone {
		s.b.m.answered(produceKey, s.producing.elapsed, 0)
		if r.refused != nil {
			s.client.Close(r.refused) // the only way to tell: there is no response
		}
		return
	}
	if s.acknowledged(r) {
		out := s.client.Out()
		n := len(out)
		out = r.encode(out)
		s.client.SetOut(out)
		s.b.m.answered(produceKey, s.producing.elapsed, len(out)-n)
		return
	}
	s.promise(r)
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

// produceWait is a produce response that waits for its partitions. It stands encoded in its
// slot, as a success; a partition that fails is patched. Its mutex is never held while
// another lock is taken or anything is written.
type produceWait struct {
	b       *Broker
	slot    *listener.Slot
	version int16
	start   time.Time
	timer   *time.Timer

	mu      sync.Mutex
	left    int // partitions that are not decided, and one while the reader registers
	ended   bool
	entries []waitEntry
}

// waitEntry is one partition of a waiting response.
type waitEntry struct {
	partition *replica.Partition
	offset    int64
	at        int // of the partition's result in the slot's bytes
	decided   bool
	code      int16
}

// promise puts the response in a slot, to be written when its partitions are acknowledged.
func (s *session) promise(r *produceRequest) {
	w := &produceWait{b: s.b, slot: s.client.Defer(), version: r.body.Version, start: r.start}
	w.slot.Buf = r.encode(w.slot.Buf)
	w.left = len(r.targets) + 1
	w.entries = make([]waitEntry, len(r.targets))
	for i, t := range r.targets {
		w.entries[i] = waitEntry{partition: t.partition, offset: t.offset, at: r.results[t.position].At}
	}
	timeout := time.Duration(max(r.body.TimeoutMillis, 0)) * time.Millisecond
	w.mu.Lock()
	w.timer = time.AfterFunc(timeout, w.expire)
	w.mu.Unlock()
	all := r.body.Acks == acksAll
	for i := range r.targets {
		if t := &r.targets[i]; t.partition.Await(t.offset, all, w) {
			w.Reached(t.partition, t.offset, nil)
		}
	}
	w.release() // nothing is flushed here: the reader does that next
}

// Reached implements replica.Waiter.
func (w *produceWait) Reached(p *replica.Partition, offset int64, err error) replica.Flusher {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return nil
	}
	for i := range w.entries {
		e := &w.entries[i]
		if e.partition == p && e.offset == offset && !e.decided {
			e.decided, e.code = true, code(err)
			break
		}
	}
	return w.downLocked()
}

// release ends the registration.
func (w *produceWait) release() replica.Flusher {
	w.mu.Lock()
	return w.downLocked()
}

// downLocked counts down and completes the response with the last; it unlocks.
func (w *produceWait) downLocked() replica.Flusher {
	w.left--
	if w.left > 0 || w.ended {
		w.mu.Unlock()
		return nil
	}
	w.ended = true
	w.mu.Unlock()
	w.timer.Stop()
	return w.complete()
}

// complete patches what failed and marks the slot. Only who has set ended gets here.
func (w *produceWait) complete() replica.Flusher {
	for i := range w.entries {
		if e := &w.entries[i]; e.code != codeNone {
			wire.FailProduceResult(w.slot.Buf[e.at:], w.version, e.code)
			w.b.m.error(produceKey, e.code)
		}
	}
	w.b.m.done(produceKey, w.start, len(w.slot.Buf))
	c := w.slot.Client()
	w.slot.Done()
	return c
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
