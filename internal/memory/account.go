// Package memory keeps account of the memory that clients can make the broker hold: read buffers, decoded requests,
// responses that nobody takes, decompressed records. Whoever needs some takes it from the one account first, and waits
// if there is none; so a flood of one kind cannot add to a flood of another.
//
// # State and goroutines
//
// An Account is an atomic counter; its mutex guards the two queues of those who wait and is held for short sections. The
// package starts no goroutine.
package memory

import (
	"context"
	"sync"
	"sync/atomic"
)

// Class tells what memory is for.
type Class int

// The classes. Small may use all of the account, Large leaves a quarter to it, so that small requests do not wait for
// large ones.
const (
	Small Class = iota
	Large
	classes
)

// Account is a number of bytes that may be taken.
type Account struct {
	limit int64
	used  atomic.Int64
	spare atomic.Int64 // kept for use again, by who can let go of it: Keep
	drop  atomic.Pointer[func()]

	waiting atomic.Int32
	mu      sync.Mutex
	queues  [classes][]*waiter // of those who wait, in their order
}

type waiter struct {
	n, own int64
	class  Class
	given  chan struct{} // closed when the bytes are the waiter's
	gone   bool          // it does not wait any more
}

// New makes an account of limit bytes.
func New(limit int64) *Account { return &Account{limit: limit} }

// Limit is the size of the account.
func (a *Account) Limit() int64 { return a.limit }

// Used is how much is taken.
func (a *Account) Used() int64 { return a.used.Load() }

// Waiting is how many wait for memory.
func (a *Account) Waiting() int { return int(a.waiting.Load()) }

// Pressed reports whether more than half of the account is taken: time to be thrifty.
func (a *Account) Pressed() bool { return a.used.Load() > a.limit/2 }

// fits tells whether n bytes more may be taken by somebody who holds own of those that are used. What is larger than a quarter of
// the account is let in while the others use less than half, and anything when nobody else has any: so a request
// of every size that is allowed is served in the end, one such at a time.
func (a *Account) fits(used, n, own int64, c Class) bool {
	others := used - own
	switch {
	case others <= 0, n > a.limit/4 && others <= a.limit/2:
		return true
	case c == Large:
		return used+n <= a.limit-a.limit/4
	default:
		return used+n <= a.limit
	}
}

// Spacious reports whether there is more left than the quarter that is for small requests alone.
func (a *Account) Spacious() bool { return a.used.Load() <= a.limit-a.limit/4 }

// TryTake takes n bytes if they are there. own is what the caller holds already and gives back when it has the new ones.
func (a *Account) TryTake(n, own int64, c Class) bool {
	for {
		used := a.used.Load()
		if !a.fits(used, n, own, c) {
			return false
		}
		if a.used.CompareAndSwap(used, used+n) {
			a.fit()
			return true
		}
	}
}

// fit has what is kept for use again let go of, if it does not fit beside what is taken.
func (a *Account) fit() {
	if a.spare.Load() > 0 && a.Over() > a.limit/16 {
		if drop := a.drop.Load(); drop != nil {
			(*drop)()
		}
	}
}

// Force takes n bytes whether they are there or not: for memory that is in use already.
func (a *Account) Force(n int64) {
	a.used.Add(n)
	a.fit()
}

// Take takes n bytes, and waits for its turn if they are not there. It returns why ctx ended if that was first.
func (a *Account) Take(ctx context.Context, n, own int64, c Class) error {
	if a.TryTake(n, own, c) {
		return nil
	}
	w := &waiter{n: n, own: own, class: c, given: make(chan struct{})}
	// Counted before the queue is looked at: whoever gives after that sees it and looks too.
	a.waiting.Add(1)
	defer a.waiting.Add(-1)
	a.mu.Lock()
	a.queues[c] = append(a.queues[c], w)
	a.grantLocked()
	a.mu.Unlock()
	select {
	case <-w.given:
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-w.given:
		return nil
	default:
		w.gone = true
		a.grantLocked() // the next one may fit where this one did not
		return context.Cause(ctx)
	}
}

// Give returns n bytes.
func (a *Account) Give(n int64) {
	a.used.Add(-n)
	if a.waiting.Load() > 0 {
		a.mu.Lock()
		a.grantLocked()
		a.mu.Unlock()
	}
}

// grantLocked gives those at the heads of the queues what they wait for, as far as it is there.
func (a *Account) grantLocked() {
	for c := range a.queues {
		q := a.queues[c]
		for len(q) > 0 && (q[0].gone || a.TryTake(q[0].n, q[0].own, q[0].class)) {
			if !q[0].gone {
				close(q[0].given)
			}
			q[0] = nil
			q = q[1:]
		}
		a.queues[c] = q
	}
}

// Keep notes that n bytes more, or less, are kept for use again: they are not taken, but they are there. Whoever keeps
// any names, with OnShort, what lets go of them.
func (a *Account) Keep(n int64) { a.spare.Add(n) }

// Over is by how much what is taken and what is kept exceed the account; negative if they do not.
func (a *Account) Over() int64 { return a.used.Load() + a.spare.Load() - a.limit }

// OnShort names the function that lets go of what is kept, called when that exceeds the account by a sixteenth. It is
// called by who takes, and may call Keep.
func (a *Account) OnShort(drop func()) { a.drop.Store(&drop) }
