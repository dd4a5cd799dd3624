package listener

import (
	"encoding/binary"
	"time"
)

const (
	// maxInFlight bounds the slots of a connection: responses that are owed, and those that are
	// complete and wait for the client to take them.
	maxInFlight = 16
	// maxRun is how many bytes of responses gather before they are written though more requests
	// are in the buffer.
	maxRun = 64 << 10
	// keepSmall is the longest part of a frame that is moved out of a pool buffer while its
	// connection waits for the rest and others want memory.
	keepSmall = 32 << 10
	// frameGrace and frameRate say how long a frame may take to arrive.
	frameGrace = 30 * time.Second
	frameRate  = 64 << 10 // bytes a second
	// decay is after how many reads that need less a connection takes smaller buffers again.
	decay = 16
)

// room implements taker: free space for at least one byte, and if the size of the frame under
// way is known, as much of it as may be taken now.
func (c *Client) room() []byte {
	if c.buf == nil {
		b := c.l.pool.get(c.class)
		if b == nil && c.class > 0 {
			b = c.l.pool.get(0)
		}
		if b == nil {
			return nil
		}
		c.buf, c.pooled, c.r, c.w = b, true, 0, 0
		return c.buf
	}
	if !c.pooled {
		if b := c.l.pool.get(c.class); b != nil {
			c.replace(b)
		}
	}
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	need := c.frameSize()
	if len(c.buf)-c.r >= need && c.w < len(c.buf) {
		return c.buf[c.w:]
	}
	if need <= len(c.buf) {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
		return c.buf[c.w:]
	}
	return c.grow(need)
}

// frameSize returns the length of the frame under way with its size, or of what must be there to know it.
func (c *Client) frameSize() int {
	if c.w-c.r < sizeBytes {
		return sizeBytes
	}
	return sizeBytes + int(binary.BigEndian.Uint32(c.buf[c.r:]))
}

// grow moves a frame that does not fit into a buffer of twice the size, once this one is full.
// So no client has more memory than twice what it has sent; one whose last frames were
// large gets a large buffer at once (class).
func (c *Client) grow(need int) []byte {
	if c.r > 0 {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	if c.w < len(c.buf) {
		return c.buf[c.w:]
	}
	k := 0
	if c.pooled {
		k = class(len(c.buf)) + 1
	}
	b := c.l.pool.get(k)
	if b == nil {
		return nil
	}
	c.replace(b)
	return c.buf[c.w:]
}

// replace puts the pool's buffer b in the place of buf.
func (c *Client) replace(b []byte) {
	n := copy(b, c.buf[c.r:c.w])
	if c.pooled {
		c.l.pool.put(c.buf)
	}
	c.buf, c.pooled, c.r, c.w = b, true, 0, n
}

// idle implements taker.
func (c *Client) idle() bool {
	if c.r == c.w {
		c.giveBack()
		return true
	}
	if c.pooled && c.w-c.r <= keepSmall && c.l.pool.pressed() {
		c.shrink()
	}
	return c.buf == nil
}

// shrink moves what is left into a buffer of its own and gives the pool's back.
func (c *Client) shrink() {
	rest := append(make([]byte, 0, max(2*(c.w-c.r), 64)), c.buf[c.r:c.w]...)
	n := len(rest)
	c.l.pool.put(c.buf)
	c.buf, c.pooled, c.r, c.w = rest[:cap(rest)], false, 0, n
	c.holds.Store(0)
}

// giveBack returns the buffer if it is empty, and moves a small rest out of it.
func (c *Client) giveBack() {
	switch {
	case c.buf == nil:
	case c.r == c.w:
		if c.pooled {
			c.l.pool.put(c.buf)
		}
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

// stuck tells the sweep, once a tick, whether memory has been held by the same frame since the last one and the frame
// has grown by less than a second's worth. That may be the server's doing: its reader waits for memory too.
func (c *Client) stuck() bool {
	due, arrived := c.due.Load(), c.arrived.Load()
	stuck := due != 0 && due == c.sweptDue && arrived-c.sweptBytes < frameRate && c.holds.Load() > 0
	c.sweptDue, c.sweptBytes = due, arrived
	return stuck
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
	k := c.class
	if c.buf != nil {
		k = 0
		if c.pooled {
			k = class(len(c.buf)) + 1
		}
	}
	b := c.l.pool.wait(k, c.stopping)
	switch {
	case b == nil:
		return errDraining
	case c.buf == nil:
		c.buf, c.pooled, c.r, c.w = b, true, 0, 0
	default:
		c.replace(b)
	}
	return nil
}

// dropBuffer gives the buffer back, whatever is in it.
func (c *Client) dropBuffer() {
	c.r = c.w
	c.giveBack()
}
