package coordinator

import (
	"container/heap"
	"time"
)

// timers holds the timers of one shard in a heap, with one timer of package
// time armed for the earliest.
type timers struct {
	byID map[any]*timerEntry
	heap timerHeap
	next *time.Timer
	seq  uint64
}

type timerEntry struct {
	id    any
	at    time.Time
	seq   uint64 // timers of one moment fire in the order they were set
	index int
}

func newTimers() *timers {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &timers{byID: map[any]*timerEntry{}, next: t}
}

// set applies what a result says about a timer.
func (t *timers) set(now time.Time, tm Timer) {
	e := t.byID[tm.ID]
	if tm.After < 0 {
		if e != nil {
			heap.Remove(&t.heap, e.index)
			delete(t.byID, tm.ID)
		}
		return
	}
	t.seq++
	if e == nil {
		e = &timerEntry{id: tm.ID, at: now.Add(tm.After), seq: t.seq}
		t.byID[tm.ID] = e
		heap.Push(&t.heap, e)
		return
	}
	e.at, e.seq = now.Add(tm.After), t.seq
	heap.Fix(&t.heap, e.index)
}

// due removes and returns the id of a timer that has run out.
func (t *timers) due(now time.Time) (id any, ok bool) {
	if len(t.heap) == 0 || t.heap[0].at.After(now) {
		return nil, false
	}
	e := heap.Pop(&t.heap).(*timerEntry)
	delete(t.byID, e.id)
	return e.id, true
}

// arm sets the one real timer to the earliest entry, or to other if that is earlier and not zero.
func (t *timers) arm(now, other time.Time) {
	at := other
	if len(t.heap) > 0 && (at.IsZero() || t.heap[0].at.Before(at)) {
		at = t.heap[0].at
	}
	if at.IsZero() {
		t.next.Stop()
		return
	}
	t.next.Reset(at.Sub(now))
}

func (t *timers) stop() { t.next.Stop() }

type timerHeap []*timerEntry

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	e := x.(*timerEntry)
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *timerHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
