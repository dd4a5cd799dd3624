package broker

import (
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/listener"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/wire"
)

// fetchSet is the partitions of one fetch without a session, or of a fetch session.
//
// One request at a time is served on a set, and while it waits for data anybody may come to look
// whether there is enough: the reader that brought it, whoever moves a high watermark, the timer. The first to find
// the set idle becomes busy with it and owns the parts until it is idle again; what moves meanwhile is
// marked, and it looks again. So nobody waits for anybody, and mu is held for marks only.
//
// A partition of a session subscribes when it enters the session and is looked at only
// when it is marked, or was not read to its end: a poll costs what has changed, not what there is.
// Without a session, parts subscribe when the fetch begins to wait.
type fetchSet struct {
	b    *Broker
	id   int32 // 0 without a session
	byID bool  // topics are named by their ids

	// Owned by who is busy.
	parts   []*fetchPart              // without a session: all, in the order of the request
	arena   []fetchPart               // their storage, used again
	index   map[fetchKeyOf]*fetchPart // of a session
	ready   []*fetchPart              // of a session: the parts to look at
	epoch   int32                     // of a session: the next request's
	chosen  []*fetchPart              // what the response will hold
	timer   *time.Timer               // of the request that waits; made with the first
	scratch []*fetchPart

	mu         sync.Mutex
	busy       bool
	marks      []*fetchPart
	wait       *fetchWait
	forced     bool // answer with what there is
	subscribed bool // parts, without a session
	removed    bool // the session is not in the cache any more
	ended      bool // and its parts have been taken out of the partitions' lists

	used time.Time // of a session; guarded by the cache's mu
	size int       // partitions that the cache counts for it; guarded by the cache's mu
	w    fetchWait // what wait points to
}

// maxKeptParts bounds the parts that a connection keeps room for between its fetches.
const maxKeptParts = 1024

// fetchKeyOf names a partition in a session.
type fetchKeyOf struct {
	topic string
	id    [16]byte
	index int32
}

// fetchWait is the request that is being served on a set.
type fetchWait struct {
	fetchCall
	s     *session
	slot  *listener.Slot
	until time.Time
	timed bool  // the set's timer runs for it
	need  int64 // bytes that must come before it is worth looking; guarded by the set's mu
	woken bool  // somebody is on the way to look; guarded by the set's mu
}

// serve answers a request from the set, now or when there is enough. Only the reader of the
// connection that owns slot calls it, with the set busy for it.
func (set *fetchSet) serve(s *session, slot *listener.Slot, fc fetchCall, wait time.Duration) {
	set.w = fetchWait{fetchCall: fc, s: s, slot: slot, until: fc.start.Add(wait)}
	set.mu.Lock()
	set.wait = &set.w
	set.forced = wait <= 0 || fc.minBytes <= 0
	set.mu.Unlock()
	set.answer(&set.w, false) // not flushed here: the reader does that next
}

// Moved implements replica.Reader.
func (set *fetchSet) Moved(sub *replica.Subscription, bytes int64) bool {
	set.mu.Lock()
	defer set.mu.Unlock()
	f := sub.Tag.(*fetchPart)
	if !f.marked {
		f.marked = true
		set.marks = append(set.marks, f)
	}
	w := set.wait
	if w == nil || set.busy || w.woken {
		return false
	}
	w.need -= bytes
	w.woken = w.need <= 0
	return w.woken
}

// Wake implements replica.Reader.
func (set *fetchSet) Wake() { set.look(true) }

// force answers the request that waits, if any, with what there is.
func (set *fetchSet) force() {
	set.mu.Lock()
	set.forced = true
	set.mu.Unlock()
	set.look(true)
}

// expire is force for the timer of a request. A timer that could not be stopped in time meets the next
// request on the set, whose time is not up.
func (set *fetchSet) expire() {
	set.mu.Lock()
	up := set.wait != nil && !time.Now().Before(set.wait.until)
	set.mu.Unlock()
	if up {
		set.force()
	}
}

// look answers the request that waits on the set if there is enough for it, unless somebody is at that.
func (set *fetchSet) look(flush bool) {
	set.mu.Lock()
	w := set.wait
	if w == nil || set.busy {
		set.mu.Unlock()
		return
	}
	set.busy = true
	set.mu.Unlock()
	set.answer(w, flush)
}

// answer answers the request or lets it wait. The caller is busy with the set.
func (set *fetchSet) answer(w *fetchWait, flush bool) {
	for {
		set.mu.Lock()
		marks, forced := set.marks, set.forced
		for _, f := range marks {
			f.marked = false
		}
		set.marks, w.woken = nil, false
		set.mu.Unlock()
		set.addReady(marks)
		total, enough := set.evaluate(w)
		if enough || forced {
			set.respond(w, flush)
			return
		}
		again := set.beginWait(w)
		set.mu.Lock()
		if !again && len(set.marks) == 0 && !set.forced {
			w.need = int64(w.minBytes - total)
			set.busy = false
			set.mu.Unlock()
			return
		}
		set.mu.Unlock()
	}
}

// respond writes the response for what evaluate has chosen. The set is idle again before the
// response can be read, so that the client's next request finds it so.
func (set *fetchSet) respond(w *fetchWait, flush bool) {
	encodeFetch(set.b, w.slot, &w.fetchCall, set.chosen)
	set.settleSession()
	slot, client := w.slot, w.s.client
	if w.timed {
		set.timer.Stop()
		w.s.endWait(set)
	}
	set.unsubscribeParts()
	if cap(set.arena) > maxKeptParts {
		set.arena, set.parts, set.chosen = nil, nil, nil
	}
	took := w.took
	*w = fetchWait{}
	set.idle()
	slot.Done()
	set.b.o.Memory.Give(took)
	if flush {
		client.Flush()
	}
}

// idle ends being busy. A session that was removed meanwhile is taken apart first.
func (set *fetchSet) idle() {
	set.mu.Lock()
	for set.removed && !set.ended {
		set.ended = true
		set.mu.Unlock()
		set.unsubscribeAll()
		set.mu.Lock()
	}
	set.wait, set.busy, set.forced = nil, false, false
	set.mu.Unlock()
}

// evaluate reads what the request may have and chooses the parts of its response. enough tells that it
// is not to wait: there are bytes enough, or something that the client must hear of now.
func (set *fetchSet) evaluate(w *fetchWait) (total int, enough bool) {
	set.chosen = set.chosen[:0]
	parts := set.parts
	if set.id != 0 {
		parts = set.ready
	}
	for _, f := range parts {
		if f.gone {
			continue
		}
		n := f.read(set.b, &w.fetchCall, w.maxBytes-total, total == 0)
		total += n
		if f.result.Code != codeNone || f.result.DivergingEpoch >= 0 {
			enough = true
		}
		if set.id == 0 || n > 0 || f.news() {
			set.chosen = append(set.chosen, f)
		}
	}
	return total, enough || total >= w.minBytes || set.empty()
}

// news reports whether a session's part has something to tell beside records.
func (f *fetchPart) news() bool {
	r := &f.result
	return !f.told || r.Code != codeNone || r.DivergingEpoch >= 0 || r.HighWatermark != f.toldHW || r.LogStart != f.toldStart
}

// empty reports whether the fetch names no partition: there is nothing to wait for.
func (set *fetchSet) empty() bool { return len(set.parts) == 0 && len(set.index) == 0 }

// beginWait makes ready for waiting and reports whether it is to look again, because something may
// have moved before it was subscribed to.
func (set *fetchSet) beginWait(w *fetchWait) (again bool) {
	for _, f := range set.chosen {
		f.release()
	}
	if !w.timed {
		w.timed = true
		w.s.beginWait(set)
		now := time.Now()
		w.local = now.Sub(w.start) - w.queue
		set.startTimer(max(w.until.Sub(now), 0))
	}
	if set.id != 0 || set.subscribed {
		return false
	}
	set.subscribed = true
	for _, f := range set.parts {
		if f.partition != nil {
			f.sub = replica.Subscription{Reader: set, Tag: f}
			f.partition.Subscribe(&f.sub)
		}
	}
	return true
}

// startTimer starts the set's only timer.
func (set *fetchSet) startTimer(d time.Duration) {
	if set.timer == nil {
		set.timer = time.AfterFunc(d, set.expire)
		return
	}
	set.timer.Reset(d)
}

func (set *fetchSet) unsubscribeParts() {
	if !set.subscribed {
		return
	}
	set.subscribed = false
	for _, f := range set.parts {
		f.sub.Unsubscribe()
	}
	set.mu.Lock()
	for _, f := range set.marks {
		f.marked = false
	}
	set.marks = nil
	set.mu.Unlock()
}

// fill makes the set the partitions of a request without a session.
func (set *fetchSet) fill(q *wire.Fetch) {
	if cap(set.arena) < len(q.Partitions) {
		set.arena = make([]fetchPart, len(q.Partitions))
	}
	set.arena = set.arena[:len(q.Partitions)]
	set.parts = set.parts[:0]
	for i := range q.Topics {
		t := &q.Topics[i]
		name := ""
		for j := t.From; j < t.To; j++ {
			f := &set.arena[j]
			*f = fetchPart{id: t.ID, index: q.Partitions[j].Index, want: q.Partitions[j]}
			f.find(set.b, t, q.Version >= 13, &name)
			set.parts = append(set.parts, f)
		}
	}
}

// find looks the partition of a part up and takes the topic's name from it, so that nothing of the
// frame is kept. The name of a topic that is not there is copied once for all its parts.
func (f *fetchPart) find(b *Broker, t *wire.FetchTopic, byID bool, name *string) {
	if byID {
		f.partition, f.err = b.o.Replicas.ByID(t.ID, f.index)
		return
	}
	f.partition, f.err = b.o.Replicas.ByName(t.Name, f.index)
	if f.partition != nil {
		f.topic = f.partition.Topic
		return
	}
	if *name == "" {
		*name = string(t.Name)
	}
	f.topic = *name
}
