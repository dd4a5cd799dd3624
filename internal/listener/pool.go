package listener

import (
	"context"
	"math/bits"
	"sync"

	"github.com/chronik-stream/chronik/internal/memory"
)

const (
	// readBuffer is the least size of a read buffer: at 16 KiB a request costs half as much again.
	readBuffer = 256 << 10
	// classes of buffers, each twice as large as the one before: up to 128 MiB.
	classes = 10
)

// pool holds the read buffers of a listener: for each size a stack, so that what is taken is
// what was used last. What connections hold is taken from the account of all memory for clients, and what lies in the
// stacks fills no more than what nobody has taken.
type pool struct {
	account *memory.Account

	mu   sync.Mutex
	free [classes][][]byte
	low  [classes]int // fewest free buffers since the last trim
}

func newPool(a *memory.Account) *pool {
	p := &pool{account: a}
	a.OnShort(p.fit)
	return p
}

// class returns the class of buffers that hold n bytes, -1 if none is large enough.
func class(n int) int {
	if n <= readBuffer {
		return 0
	}
	k := bits.Len(uint(n-1)) - bits.Len(uint(readBuffer-1))
	if k >= classes {
		return -1
	}
	return k
}

// get returns a buffer of class k, nil if the account forbids it. own is what the caller will give back for it.
func (p *pool) get(k, own int, c memory.Class) []byte {
	if !p.account.TryTake(readBuffer<<k, int64(own), c) {
		return nil
	}
	return p.buffer(k)
}

// wait returns a buffer of class k once the account allows it, or why ctx ended before.
func (p *pool) wait(ctx context.Context, k, own int, c memory.Class) ([]byte, error) {
	if err := p.account.Take(ctx, readBuffer<<k, int64(own), c); err != nil {
		return nil, err
	}
	return p.buffer(k), nil
}

// buffer returns a buffer for memory that has been taken.
func (p *pool) buffer(k int) []byte {
	p.mu.Lock()
	if l := len(p.free[k]); l > 0 {
		b := p.free[k][l-1]
		p.popLocked(k)
		p.mu.Unlock()
		return b
	}
	p.mu.Unlock()
	return make([]byte, readBuffer<<k)
}

// popLocked takes the newest buffer off a stack.
func (p *pool) popLocked(k int) {
	l := len(p.free[k])
	p.free[k][l-1] = nil
	p.free[k] = p.free[k][:l-1]
	p.low[k] = min(p.low[k], l-1)
	p.account.Keep(-(readBuffer << k))
}

// put takes a buffer back. It lies in its stack before its memory is given back, so that who gets that finds it there.
func (p *pool) put(b []byte) {
	n := int64(cap(b))
	k := class(cap(b))
	p.mu.Lock()
	p.free[k] = append(p.free[k], b[:cap(b)])
	p.account.Keep(n)
	p.mu.Unlock()
	p.account.Give(n)
	// A sixteenth more than there is room for: those who are given the memory have not come for their buffers yet.
	if p.account.Over() > p.account.Limit()/16 {
		p.fit()
	}
}

// fit lets go of free buffers, the largest first, until what is left has room beside what is taken.
func (p *pool) fit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := classes - 1; k >= 0; k-- {
		for len(p.free[k]) > 0 && p.account.Over() > 0 {
			p.popLocked(k)
		}
	}
}

// trim lets go of the buffers that nobody needed since the last trim.
func (p *pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.free {
		drop := p.low[k]
		if k == 0 {
			drop /= 2
		}
		for range drop {
			p.popLocked(k)
		}
		p.low[k] = len(p.free[k])
	}
}
