package broker

import (
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/wire"
)

// Fetch sessions (KIP-227): the broker remembers what a client reads, and a request names only what
// has changed since the last one. A session has an id and an epoch that rises with each request;
// a request with epoch 0 makes one, with -1 it wants none.

const (
	// evictAfter is how long a session may be unused before a new one can take its place.
	evictAfter = 2 * time.Minute
	// maxSessionParts bounds the partitions of all sessions; a fetch beyond it gets no session.
	maxSessionParts = 250_000
)

// fetchSessions is the cache of sessions.
type fetchSessions struct {
	b     *Broker
	slots int
	newID func() int32 // random: a client that outlives the broker must not meet another's session under its number

	mu    sync.Mutex
	byID  map[int32]*fetchSet
	parts int
}

// open finds or makes the set that a request is served on, and makes it busy. The code is that of a
// refusal of the whole request.
func (c *fetchSessions) open(s *session, q *wire.Fetch) (*fetchSet, int16) {
	if q.SessionEpoch > 0 {
		return c.resume(s, q)
	}
	if q.SessionID != 0 {
		c.remove(q.SessionID)
	}
	if q.SessionEpoch == 0 && len(q.Partitions) > 0 {
		if set := c.begin(s, q); set != nil {
			return set, codeNone
		}
	}
	set := s.plain
	if set == nil || !set.claim() {
		set = &fetchSet{b: c.b, busy: true}
		s.plain = set
	}
	set.fill(q)
	return set, codeNone
}

// claim makes an idle set busy, unless it is a session that has been taken apart.
func (set *fetchSet) claim() bool {
	set.mu.Lock()
	defer set.mu.Unlock()
	if set.busy || set.wait != nil || set.ended {
		return false
	}
	set.busy = true
	return true
}

// begin makes a session, nil if there is no room for one.
func (c *fetchSessions) begin(s *session, q *wire.Fetch) *fetchSet {
	set := &fetchSet{b: c.b, byID: q.Version >= 13, busy: true, epoch: 1, index: make(map[fetchKeyOf]*fetchPart, len(q.Partitions))}
	c.mu.Lock()
	evicted, ok := c.roomLocked(len(q.Partitions), s.read)
	if ok {
		for set.id == 0 || c.byID[set.id] != nil {
			set.id = c.newID()
		}
		set.used, set.size = s.read, len(q.Partitions)
		c.byID[set.id] = set
		c.parts += set.size
	}
	c.mu.Unlock()
	if evicted != nil {
		evicted.end()
	}
	if !ok {
		return nil
	}
	set.update(q)
	c.resize(set) // a partition may have been named twice
	return set
}

// roomLocked makes room for a session of n partitions; the session that had to go is to be ended.
func (c *fetchSessions) roomLocked(n int, now time.Time) (evicted *fetchSet, ok bool) {
	if len(c.byID) < c.slots && c.parts+n <= maxSessionParts {
		return nil, true
	}
	for _, set := range c.byID {
		if now.Sub(set.used) > evictAfter && (evicted == nil || set.used.Before(evicted.used)) {
			evicted = set
		}
	}
	if evicted == nil {
		return nil, false
	}
	c.dropLocked(evicted)
	return evicted, c.parts+n <= maxSessionParts
}

func (c *fetchSessions) dropLocked(set *fetchSet) {
	delete(c.byID, set.id)
	c.parts -= set.size
}

// resize notes how many partitions a session has now.
func (c *fetchSessions) resize(set *fetchSet) {
	n := len(set.index)
	c.mu.Lock()
	if c.byID[set.id] == set {
		c.parts += n - set.size
		set.size = n
	}
	c.mu.Unlock()
}

// remove ends a session, if there is one of this id.
func (c *fetchSessions) remove(id int32) {
	c.mu.Lock()
	set := c.byID[id]
	if set != nil {
		c.dropLocked(set)
	}
	c.mu.Unlock()
	if set != nil {
		set.end()
	}
}

// resume finds the session of an incremental request and brings it up to date.
func (c *fetchSessions) resume(s *session, q *wire.Fetch) (*fetchSet, int16) {
	c.mu.Lock()
	set := c.byID[q.SessionID]
	if set != nil {
		set.used = s.read
	}
	c.mu.Unlock()
	if set == nil {
		return nil, codeFetchSessionIDNotFound
	}
	if set.byID != (q.Version >= 13) {
		return nil, codeFetchSessionTopicIDError
	}
	set.force() // a request that still waits here has been given up by the client
	if !set.claim() {
		return nil, codeInvalidFetchSessionEpoch
	}
	if set.epoch != q.SessionEpoch {
		set.idle()
		return nil, codeInvalidFetchSessionEpoch
	}
	if set.epoch++; set.epoch < 0 {
		set.epoch = 1
	}
	set.refind()
	set.forget(q)
	set.update(q)
	c.resize(set)
	return set, codeNone
}

// update takes over what a request says of partitions: those that are new to the session subscribe.
func (set *fetchSet) update(q *wire.Fetch) {
	for i := range q.Topics {
		t := &q.Topics[i]
		name := ""
		for j := t.From; j < t.To; j++ {
			want := q.Partitions[j]
			f := set.index[fetchKeyOf{string(t.Name), t.ID, want.Index}]
			if f == nil {
				f = &fetchPart{id: t.ID, index: want.Index}
				f.find(set.b, t, set.byID, &name)
				f.sub = replica.Subscription{Reader: set, Tag: f}
				set.index[fetchKeyOf{f.topic, f.id, f.index}] = f
				if f.partition != nil {
					f.partition.Subscribe(&f.sub)
				}
			}
			f.want = want
			set.list(f)
		}
	}
}

// list puts a part on the list of those to look at.
func (set *fetchSet) list(f *fetchPart) {
	if !f.listed && !f.gone {
		f.listed = true
		set.ready = append(set.ready, f)
	}
}

// forget drops the partitions that a request names as forgotten.
func (set *fetchSet) forget(q *wire.Fetch) {
	for i := range q.Forgotten {
		t := &q.Forgotten[i]
		for _, index := range q.ForgottenIdx[t.From:t.To] {
			f := set.index[fetchKeyOf{string(t.Name), t.ID, index}]
			if f != nil {
				f.sub.Unsubscribe()
				f.gone = true
				delete(set.index, fetchKeyOf{f.topic, f.id, f.index})
			}
		}
	}
}

// refind looks up again what failed last time: the topic may be there now, or be another.
func (set *fetchSet) refind() {
	for _, f := range set.ready {
		if f.result.Code == codeNone {
			continue
		}
		t := wire.FetchTopic{Name: []byte(f.topic), ID: f.id}
		before := f.partition
		if f.find(set.b, &t, set.byID, &f.topic); f.partition == before {
			continue
		}
		f.sub.Unsubscribe()
		f.sub = replica.Subscription{Reader: set, Tag: f}
		if f.partition != nil {
			f.partition.Subscribe(&f.sub)
		}
	}
}

// addReady lists the parts that have been marked.
func (set *fetchSet) addReady(marks []*fetchPart) {
	if set.id == 0 {
		return
	}
	for _, f := range marks {
		set.list(f)
	}
}

// settleSession notes what the client is being told, and keeps on the list what has more to give:
// parts that gave records go behind those that did not, so that none starves.
func (set *fetchSet) settleSession() {
	if set.id == 0 {
		return
	}
	for _, f := range set.chosen {
		f.toldHW, f.toldStart, f.told = f.result.HighWatermark, f.result.LogStart, true
	}
	kept := set.scratch[:0]
	for _, gave := range []bool{false, true} {
		for _, f := range set.ready {
			if f.gone || (f.bytes > 0) != (gave != invariant.Mutant("broker-session-no-rotation")) {
				continue
			}
			if f.bytes > 0 || f.result.Code != codeNone || f.want.Offset < f.result.HighWatermark {
				kept = append(kept, f)
			} else {
				f.listed = false
			}
		}
	}
	set.ready, set.scratch = kept, set.ready
	clear(set.scratch)
}

// end takes a session that has left the cache out of the partitions' lists, at once or when the request
// that it serves is answered.
func (set *fetchSet) end() {
	set.mu.Lock()
	set.removed = true
	set.mu.Unlock()
	set.force()
	if set.claim() {
		set.idle()
	}
}

func (set *fetchSet) unsubscribeAll() {
	for _, f := range set.index {
		f.sub.Unsubscribe()
	}
}
