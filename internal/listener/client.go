package listener

import "sync"

// Client is one connection of a client, as handlers see it.
type Client struct {
	id     uint64
	remote string
	run    *Slot // the reader's: responses in a row that are complete but not yet queued

	mu         sync.Mutex
	head, tail *Slot // the queue, in request order
	queued     int
}

// ID returns a number that no other connection of this process has had.
func (c *Client) ID() uint64 { return c.id }

// RemoteAddr returns the client's address, host:port.
func (c *Client) RemoteAddr() string { return c.remote }

// Out returns the buffer to append the response of the request that is being served to.
// Only Session.Serve and Session.Settle may call it, and give it back with SetOut.
func (c *Client) Out() []byte {
	if c.run == nil {
		c.run = newSlot(c)
	}
	return c.run.Buf
}

// SetOut gives back the buffer of Out with one more whole response in it.
func (c *Client) SetOut(b []byte) { c.run.Buf = b }

// Defer queues a slot for the request that is being served and returns it. Only
// Session.Serve and Session.Settle may call it.
func (c *Client) Defer() *Slot {
	s := newSlot(c)
	c.mu.Lock()
	c.queueRunLocked()
	c.queueLocked(s)
	c.mu.Unlock()
	return s
}

func (c *Client) queueRunLocked() {
	if s := c.run; s != nil {
		c.run = nil
		s.done = true
		c.queueLocked(s)
	}
}

func (c *Client) queueLocked(s *Slot) {
	if c.tail == nil {
		c.head = s
	} else {
		c.tail.next = s
	}
	c.tail = s
	c.queued++
}

// Flush writes what is complete at the head of the queue and can be written without
// blocking; a goroutine takes the rest if the client does not keep up.
func (c *Client) Flush() {}

// Close ends the connection.
func (c *Client) Close(reason error) {}
