package listener

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Errors that end a connection.
var (
	errIdle     = errors.New("listener: no request for longer than connections.max.idle.ms")
	errFirst    = errors.New("listener: no request within 10 s of the connection")
	errSlow     = errors.New("listener: a request did not arrive in time")
	errStarving = errors.New("listener: a request did not arrive while others waited for the memory that it held")
	errInNeed   = errors.New("listener: a request waited for the server with memory that others waited for")
	errHoarding = errors.New("listener: a client did not take its responses while others waited for the memory that they held")
	errDraining = errors.New("listener: the server is stopping")
	errGrace    = errors.New("listener: the server is stopping and a response took too long")
)

// sizeBytes is the length of the size in front of a frame, minFrame of the shortest frame there is.
const (
	sizeBytes = 4
	minFrame  = 8
)

// Client is one connection of a client.
type Client struct {
	l       *Listener
	conn    Conn
	id      uint64
	remote  string
	session Session

	// The reader's.
	readAt time.Time // when the last read had returned
	buf    []byte    // read buffer of the pool, or small; nil while there is nothing in it
	r, w   int       // what is read and not yet served
	pooled bool      // buf is the pool's
	class  int       // of the next buffer: as large as the largest of the last frames
	small  int       // reads in a row that needed less than class
	run    *Slot     // responses in a row that are complete but not yet queued
	whole  bool      // a frame has been served since due was set

	// Read by the sweep.
	lastRead atomic.Int64 // tick of the last read
	arrived  atomic.Int64 // bytes read in all
	due      atomic.Int64 // tick by which the frame under way must be whole; 0 if there is none
	holds    atomic.Int64 // bytes of the pool's that the frame under way holds
	owed     atomic.Int64 // bytes of the account's that responses hold which the client has not taken
	waits    atomic.Bool  // the reader waits for the server: for memory, a response, a place in flight
	served   atomic.Bool  // a request has been served

	// The sweep's.
	sweptDue, sweptBytes  int64 // due and arrived at the last tick
	sweptOwed, sweptTaken int64 // owed, and what the connection had taken

	queued atomic.Int32 // slots in the queue; changed under mu
	behind atomic.Bool  // a goroutine writes what the client did not take at once; changed under mu

	mu         sync.Mutex
	moved      sync.Cond // a slot has left the queue, or dead was set
	head, tail *Slot     // the queue, in request order
	writing    bool      // somebody has the writing role
	dead       error     // why nothing is written any more
	draining   bool
	giveUp     context.CancelCauseFunc // ends the reader's wait for memory; nil while it does not wait

	sending sending // belongs to the holder of the writing role

	gone chan struct{} // closed when the reader has ended
}

func newClient(l *Listener, conn Conn, id uint64) *Client {
	c := &Client{l: l, conn: conn, id: id, remote: conn.RemoteAddr().String(), gone: make(chan struct{})}
	c.moved.L = &c.mu
	c.lastRead.Store(l.tick.Load())
	return c
}

// ID returns a number that no other connection of this process has had.
func (c *Client) ID() uint64 { return c.id }

// RemoteAddr returns the client's address, host:port.
func (c *Client) RemoteAddr() string { return c.remote }

// Close ends the connection. It may be called from any goroutine.
func (c *Client) Close(reason error) {
	c.mu.Lock()
	c.killLocked(reason)
	c.mu.Unlock()
	c.conn.Abort()
}

func (c *Client) killLocked(reason error) {
	if c.dead == nil {
		c.dead = reason
		c.stopWaitingLocked(reason)
	}
}

// drain lets the requests under way finish and serves no more.
func (c *Client) drain() {
	c.mu.Lock()
	c.draining = true
	c.stopWaitingLocked(errDraining)
	c.mu.Unlock()
	c.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
}

// stopWaitingLocked wakes whoever waits for the queue or for memory.
func (c *Client) stopWaitingLocked(why error) {
	c.moved.Broadcast()
	if c.giveUp != nil {
		c.giveUp(why)
	}
}

func (c *Client) stopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining || c.dead != nil
}

// serve is the reader: it reads and serves until the connection ends, waits for the
// responses that are owed if it is the server that stops, and closes the connection.
func (c *Client) serve() {
	defer close(c.gone)
	c.session = c.l.o.Handler.Connect(c)
	err := c.read()
	c.session.Close()
	c.dropBuffer()
	if errors.Is(err, errDraining) {
		c.finish()
	}
	c.Close(err)
	err = c.abandon()
	c.conn.Close()
	c.l.ended(c, err)
}

// read serves what comes until an error ends it.
func (c *Client) read() error {
	for {
		err := c.conn.Serve(c)
		switch {
		case errors.Is(err, errNoRoom):
			if err := c.waitForMemory(); err != nil {
				return err
			}
		case c.stopping():
			return errDraining
		default:
			return c.endOfStream(err)
		}
	}
}

// took implements taker.
func (c *Client) took(n int) error {
	c.w += n
	c.readAt = time.Now()
	c.lastRead.Store(c.l.tick.Load())
	c.arrived.Add(int64(n))
	if err := c.serveBuffered(); err != nil {
		return err
	}
	// While bytes keep coming the reader never waits, so it does not see the deadline
	// by which drain wakes those that do.
	if c.stopping() {
		return errDraining
	}
	return nil
}

// endOfStream tells a client that went away in the middle of a frame from one that was done.
func (c *Client) endOfStream(err error) error {
	if errors.Is(err, io.EOF) && c.w > c.r {
		return io.ErrUnexpectedEOF
	}
	return err
}

// serveBuffered hands all whole frames in the buffer to the session, settles and writes.
func (c *Client) serveBuffered() error {
	var serveErr error
	for {
		frame, err := c.next()
		if err != nil || frame == nil {
			serveErr = err
			break
		}
		alone, err := c.session.Serve(frame)
		if err != nil {
			c.l.complain("closing a connection for a request that cannot be served", "client", c.remote, "reason", err.Error())
			serveErr = err
			break
		}
		c.served.Store(true)
		if alone == nil && !c.full() && (c.run == nil || len(c.run.Buf) < maxRun) {
			continue
		}
		c.settle()
		if alone != nil {
			c.giveBack()
			c.waits.Store(true)
			alone()
			c.waits.Store(false)
			c.settle()
		}
		if err := c.waitInFlight(); err != nil {
			return err
		}
	}
	c.settle()
	if serveErr == nil {
		c.expectRest()
	}
	if serveErr == nil && c.full() {
		return c.waitInFlight()
	}
	return serveErr
}

// settle ends a run of requests: what the session has put off is done and answered, then
// written, then what others wait for.
func (c *Client) settle() {
	c.session.Settle()
	c.flushRun()
	c.session.Written()
}

// next returns the next whole frame, nil if there is none in the buffer.
func (c *Client) next() ([]byte, error) {
	have := c.buf[c.r:c.w]
	if len(have) < sizeBytes {
		return nil, nil
	}
	size := int(int32(binary.BigEndian.Uint32(have)))
	if size < minFrame {
		return nil, c.garbage(have, fmt.Errorf("a request of %d bytes", size))
	}
	if len(have) < sizeBytes+4 {
		return nil, nil
	}
	key, version := int16(binary.BigEndian.Uint16(have[4:])), int16(binary.BigEndian.Uint16(have[6:]))
	if limit := c.session.FrameLimit(key, version); size > limit {
		return nil, c.garbage(have, fmt.Errorf("a request of %d bytes with API key %d, more than the %d that it may have", size, key, limit))
	}
	if len(have) < sizeBytes+size {
		return nil, nil
	}
	c.r += sizeBytes + size
	c.whole = true
	if k := class(sizeBytes + size); k > c.class {
		c.class, c.small = k, 0
	}
	return have[sizeBytes : sizeBytes+size : sizeBytes+size], nil
}

// full reports whether no more requests are served for now: too many are in flight, or the client does not take the
// responses that it has.
func (c *Client) full() bool { return c.queued.Load() >= maxInFlight || c.behind.Load() }

// waitInFlight waits until there is room for one more request.
func (c *Client) waitInFlight() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.full() && c.dead == nil && !c.draining {
		c.waits.Store(true)
		c.moved.Wait()
	}
	c.waits.Store(false)
	if c.dead != nil {
		return c.dead
	}
	if c.draining {
		return errDraining
	}
	return nil
}

// finish waits until every response that is owed has been written, or the connection is
// closed because the grace is over.
func (c *Client) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for (c.head != nil || c.writing) && c.dead == nil {
		c.moved.Wait()
	}
}

// abandon waits until nobody writes, which a closed connection makes short, and frees what is
// complete. From then on nothing is written, so that no writer is started any more. It returns
// why the connection was closed.
func (c *Client) abandon() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writing {
		c.moved.Wait()
	}
	c.dropLocked()
	return c.dead
}
