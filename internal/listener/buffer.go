package listener

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/chronik-stream/chronik/internal/memory"
)

const (
	// maxInFlight bounds the slots of a connection: responses that are owed, and those that are
	// complete and wait for the client to take them.
	maxInFlight = 16
	// maxRun is how many bytes of responses gather before they are written though more requests
	// are in the buffer.
	maxRun = 64 << 10
	// keepSmall is the longest part of a frame that is moved out of a pool buffer while its
	// connection waits for the rest and memory is short.
	keepSmall = 32 << 10
	// atOnce is the class of the buffer, of 2 MiB, up to which a frame's claim is believed while memory is short: a frame that is given
	// all that it needs at once does not wait for the second half with the first in its hand.
	atOnce = 3
	// frameGrace and frameRate say how long a frame may take to arrive.
	frameGrace = 30 * time.Second
	frameRate  = 64 << 10 // bytes a second
	// decay is after how many reads that need less a connection takes smaller buffers again.
	decay = 16
)

// room implements taker: free space for at least one byte, and if the size of the frame under
// way is known, as much of it as may be taken now. When memory is short no more than keepSmall of a frame is read before
// there is a buffer that may be held until the frame is whole: what has been read can then be moved out of the pool
// whenever the client pauses.
func (c *Client) room() []byte {
	if c.buf == nil {
		b := c.l.pool.get(c.class, 0, holding(c.class))
		if b == nil && c.class > 0 {
			b = c.l.pool.get(0, 0, memory.Small)
		}
		if b == nil {
			return nil
		}
		c.buf, c.pooled, c.r, c.w = b, true, 0, 0
		return c.thrifty()
	}
	if !c.pooled {
		if b := c.l.pool.get(c.class, len(c.buf), holding(c.class)); b != nil {
			c.replace(b)
		} else if b := c.l.pool.get(0, len(c.buf), memory.Small); b != nil {
			c.replace(b)
		}
	}
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	need := c.frameSize()
	if len(c.buf)-c.r >= need && c.w < len(c.buf) {
		return c.thrifty()
	}
	if need <= len(c.buf) {
		c.compact()
		return c.thrifty()
	}
	return c.grow(need)
}

// holding is the class of memory that a buffer belongs to.
func holding(k int) memory.Class {
	if k == 0 {
		return memory.Small
	}
	return memory.Large
}

// thrifty returns what of the free part of the buffer may be read into.
func (c *Client) thrifty() []byte {
	if !c.pooled || len(c.buf) > readBuffer || !c.l.account.Pressed() {
		return c.buf[c.w:]
	}
	if c.w-c.r < keepSmall {
		return c.buf[c.w:min(len(c.buf), c.r+keepSmall)]
	}
	// Who holds more than it can let go of reads on: it would wait with the buffer in its hand, and if all do so for each other.
	if c.w-c.r <= keepSmall && !c.l.account.Spacious() {
		return nil
	}
	return c.buf[c.w:]
}

func (c *Client) compact() {
	c.w = copy(c.buf, c.buf[c.r:c.w])
	c.r = 0
}

// frameSize returns the length of the frame under way with its size, or of what must be there to know it.
func (c *Client) frameSize() int {
	if c.w-c.r < sizeBytes {
		return sizeBytes
	}
	return sizeBytes + int(binary.BigEndian.Uint32(c.buf[c.r:]))
}

// grow moves a frame that does not fit into a buffer of twice the size, once this one is full, or while memory is short
// into one of atOnce or the frame's size, once there are keepSmall bytes of it. So no client has more
// memory than twice what it has sent, or atOnce; one whose last frames were large gets a large buffer at once (class).
func (c *Client) grow(need int) []byte {
	if c.r > 0 {
		c.compact()
	}
	short := c.short()
	if c.w < len(c.buf) && !short {
		return c.thrifty()
	}
	k := c.nextClass()
	if short {
		k = max(k, min(class(need), atOnce))
	}
	b := c.l.pool.get(k, len(c.buf), memory.Large)
	if b == nil {
		return nil
	}
	c.replace(b)
	return c.buf[c.w:]
}

// short reports whether the frame under way must wait for a buffer of its own because memory is short.
func (c *Client) short() bool {
	return c.pooled && len(c.buf) == readBuffer && c.w-c.r >= keepSmall && c.l.account.Pressed()
}

// nextClass is the class of the buffer that follows when this one is full.
func (c *Client) nextClass() int {
	if !c.pooled {
		return 0
	}
	return class(len(c.buf)) + 1
}

// replace puts the pool's buffer b in the place of buf.
func (c *Client) replace(b []byte) {
	n := copy(b, c.buf[c.r:c.w])
	c.release()
	c.buf, c.pooled, c.r, c.w = b, true, 0, n
}

// release gives the memory of buf back.
func (c *Client) release() {
	if c.pooled {
		c.l.pool.put(c.buf)
	} else {
		c.l.account.Give(int64(len(c.buf)))
	}
}

// idle implements taker.
func (c *Client) idle() bool {
	if c.r == c.w {
		c.giveBack()
		return true
	}
	if c.pooled && c.w-c.r <= keepSmall && c.l.account.Pressed() {
		c.shrink()
	}
	return !c.pooled
}

// shrink moves what is left into a buffer of its own and gives the pool's back.
func (c *Client) shrink() {
	n := c.w - c.r
	rest := make([]byte, max(n+n/4, 64))
	copy(rest, c.buf[c.r:c.w])
	c.l.account.Force(int64(len(rest)))
	c.l.pool.put(c.buf)
	c.buf, c.pooled, c.r, c.w = rest, false, 0, n
	c.holds.Store(0)
}

// giveBack returns the buffer if it is empty, and moves a small rest out of it.
func (c *Client) giveBack() {
	switch {
	case c.buf == nil:
	case c.r == c.w:
		c.release()
		c.buf, c.pooled, c.r, c.w = nil, false, 0, 0
	case c.pooled && c.w-c.r <= keepSmall:
		c.shrink()
	}
}

// expectRest looks at the part of a frame that is left in the buffer: it sets the time by which
// the rest must be there.
func (c *Client) expectRest() {
	if c.r == c.w {
		c.due.Store(0)
		if c.class > 0 && len(c.buf) > readBuffer {
			c.settleClass(c.w)
		}
		return
	}
	if c.pooled {
		c.holds.Store(int64(len(c.buf)))
	}
	if c.due.Load() == 0 || c.whole { // of a client that sends without a pause a part of the next frame is always there
		c.whole = false
		c.due.Store(c.l.tick.Load() + ticks(frameGrace+time.Duration(c.frameSize())*time.Second/frameRate))
	}
}

// stuck tells the sweep, once a tick, why memory has been held since the last one for what has moved by less than a second's
// worth: by a frame under way, or by responses. nil if none has. The client is to blame unless errInNeed is the reason: then the
// reader waits for the server, with memory in its hand that others wait for.
func (c *Client) stuck() error {
	due, arrived, owed, taken := c.due.Load(), c.arrived.Load(), c.owed.Load(), c.conn.Taken()
	var why error
	switch {
	case owed != 0 && owed == c.sweptOwed && taken-c.sweptTaken < frameRate:
		why = errHoarding
	case due == 0 || due != c.sweptDue || arrived-c.sweptBytes >= frameRate || c.holds.Load() == 0:
	case c.waits.Load():
		why = errInNeed
	default:
		why = errStarving
	}
	c.sweptDue, c.sweptBytes, c.sweptOwed, c.sweptTaken = due, arrived, owed, taken
	return why
}

// settleClass lowers the class when what is read would have fitted a smaller buffer for a while.
func (c *Client) settleClass(used int) {
	if class(used) >= c.class {
		c.small = 0
		return
	}
	if c.small++; c.small >= decay {
		c.class--
		c.small = 0
	}
}

// waitForMemory waits until the pool has the buffer that room was refused.
func (c *Client) waitForMemory() error {
	ctx, done := c.untilStopped()
	defer done()
	k, kind := 0, memory.Small
	if c.buf != nil && c.w-c.r >= keepSmall {
		if k, kind = min(class(c.frameSize()), atOnce), memory.Large; c.pooled && !c.short() {
			k = c.nextClass()
		}
	}
	if c.pooled && c.w-c.r <= keepSmall {
		c.shrink() // nobody waits with memory in the hand that others wait for, if it can be helped
	}
	c.waits.Store(true)
	b, err := c.l.pool.wait(ctx, k, len(c.buf), kind)
	c.waits.Store(false)
	if err != nil {
		return err
	}
	if c.buf == nil {
		c.buf, c.pooled, c.r, c.w = b, true, 0, 0
		return nil
	}
	c.replace(b)
	return nil
}

// untilStopped returns a context that ends when the connection does or is drained; done is to be called.
func (c *Client) untilStopped() (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	c.mu.Lock()
	c.giveUp = cancel
	if c.draining || c.dead != nil {
		cancel(errDraining)
	}
	c.mu.Unlock()
	return ctx, func() {
		c.mu.Lock()
		c.giveUp = nil
		c.mu.Unlock()
		cancel(nil)
	}
}

// dropBuffer gives the buffer back, whatever is in it.
func (c *Client) dropBuffer() {
	c.r = c.w
	c.giveBack()
}
