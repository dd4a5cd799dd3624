package listener

import (
	"math/bits"
	"sync"
)

const (
	// readBuffer is the least size of a read buffer: at 16 KiB a request costs half as much again.
	readBuffer = 256 << 10
	// classes of buffers, each twice as large as the one before: up to 128 MiB.
	classes = 10
)

// pool holds the read buffers of a listener: for each size a stack, so that what is taken is
// what was used last. It bounds the bytes that connections hold, and when the bound is reached
// they wait, in no order; one that holds nothing is always let in if nobody else holds anything.
// A quarter is for buffers of the smallest class alone, so that small requests do not wait for large ones.
type pool struct {
	limit   int64
	reserve int64

	mu      sync.Mutex
	freed   sync.Cond
	free    [classes][][]byte
	low     [classes]int // fewest free buffers since the last trim
	held    int64        // bytes of buffers that connections hold
	waiting int
	closed  bool
}

func newPool(limit int64) *pool {
	p := &pool{limit: max(limit, readBuffer)}
	p.reserve = p.limit / 4
	p.freed.L = &p.mu
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

// get returns a buffer of class k, nil if the bound forbids it.
func (p *pool) get(k int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.getLocked(k)
}

func (p *pool) getLocked(k int) []byte {
	n := readBuffer << k
	limit := p.limit
	if k > 0 {
		limit -= p.reserve
	}
	if p.held > 0 && p.held+int64(n) > limit {
		return nil
	}
	p.held += int64(n)
	if l := len(p.free[k]); l > 0 {
		b := p.free[k][l-1]
		p.free[k][l-1] = nil
		p.free[k] = p.free[k][:l-1]
		p.low[k] = min(p.low[k], l-1)
		return b
	}
	return make([]byte, n)
}

// wait returns a buffer of class k once the bound allows it, or nil when the pool is closed or
// give is called for and says so: give is asked after every wake-up.
func (p *pool) wait(k int, give func() bool) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	defer func() { p.waiting-- }()
	for {
		if b := p.getLocked(k); b != nil {
			return b
		}
		if p.closed || give() {
			return nil
		}
		p.freed.Wait()
	}
}

// put takes a buffer back.
func (p *pool) put(b []byte) {
	k := class(cap(b))
	p.mu.Lock()
	p.held -= int64(cap(b))
	p.free[k] = append(p.free[k], b[:cap(b)])
	wake := p.waiting > 0
	p.mu.Unlock()
	if wake {
		p.freed.Broadcast()
	}
}

// nudge makes those who wait ask whether they still want to.
func (p *pool) nudge() {
	p.mu.Lock()
	wake := p.waiting > 0
	p.mu.Unlock()
	if wake {
		p.freed.Broadcast()
	}
}

// starved reports whether connections wait for memory.
func (p *pool) starved() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting > 0
}

// pressed reports whether more than half of the bound is held.
func (p *pool) pressed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held > p.limit/2
}

// trim lets go of the buffers that nobody needed since the last trim.
func (p *pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.free {
		l := len(p.free[k])
		drop := p.low[k]
		if k == 0 {
			drop /= 2
		}
		clear(p.free[k][l-drop:])
		p.free[k] = p.free[k][:l-drop]
		p.low[k] = l - drop
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.freed.Broadcast()
}
