package vnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// conn is one end of a connection. All fields but the addresses are under n.mu.
type conn struct {
	n             *Network
	host          *Host
	local, remote *net.TCPAddr
	peer          *conn
	in, out       *pipe
	wake          *sync.Cond // this end may go on: bytes, room, an error, a deadline

	closed bool  // by this end
	err    error // the connection is broken for this end
	dead   bool  // this end's process is gone: what arrives is answered by a reset
	read   deadline
	write  deadline
}

// deadline is a point in time after which waits end.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) set(t time.Time, wake func()) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, wake)
	}
}

// pipe is one direction of a connection.
type pipe struct {
	from, to *conn
	sent     []segment   // on their way, in order
	ready    []byte      // arrived, not read
	eof      bool        // the end has arrived
	pending  int         // bytes sent and not acknowledged, unread ones included
	read     int         // bytes read whose acknowledgement has not left
	reset    bool        // the reader has closed over bytes that it has not read
	timer    *time.Timer // delivers the first of sent
}

// segment is what one Write put on its way.
type segment struct {
	due  time.Time
	data []byte
	fin  bool
	over bool // with fin: closed over unread bytes, which is a reset for who writes more
}

// send puts a segment on its way, after those before it.
func (p *pipe) send(s segment) {
	s.due = time.Now().Add(p.from.n.latency(p.from.host.name, p.to.host.name))
	if k := len(p.sent); k > 0 && p.sent[k-1].due.After(s.due) {
		s.due = p.sent[k-1].due
	}
	p.sent = append(p.sent, s)
	p.pending += len(s.data)
	p.deliver()
}

// deliver moves what is due to the reader if the link carries it, and plans the rest.
func (p *pipe) deliver() {
	n := p.from.n
	if !n.carries(p.from.host, p.to.host) {
		return // settle comes back when the link is healed
	}
	for len(p.sent) > 0 {
		s := p.sent[0]
		if wait := time.Until(s.due); wait > 0 {
			p.plan(wait)
			break
		}
		p.sent = p.sent[1:]
		if p.to.dead || p.to.closed && len(s.data) > 0 {
			p.sent = nil
			if n.carries(p.to.host, p.from.host) {
				p.from.fail(syscall.ECONNRESET)
			}
			return
		}
		p.ready = append(p.ready, s.data...)
		p.eof = p.eof || s.fin
		p.to.out.reset = p.to.out.reset || s.over
		p.to.wake.Broadcast()
	}
}

func (p *pipe) plan(wait time.Duration) {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(wait, func() {
		p.from.n.mu.Lock()
		defer p.from.n.mu.Unlock()
		p.deliver()
	})
}

// acknowledge gives the room of bytes that were read back to the writer, if the
// link carries the news.
func (p *pipe) acknowledge() {
	if p.read > 0 && p.from.n.carries(p.to.host, p.from.host) {
		p.pending -= p.read
		p.read = 0
		p.from.wake.Broadcast()
	}
}

// fail breaks the connection for this end.
func (c *conn) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.forget()
	c.wake.Broadcast()
}

// kill ends this end without a word from its process; the system resets the
// other one, if the link carries it.
func (c *conn) kill() {
	c.dead = true
	c.fail(net.ErrClosed)
	if c.n.carries(c.host, c.peer.host) {
		c.peer.fail(syscall.ECONNRESET)
	}
}

// forget takes the connection off the network when neither end needs it.
func (c *conn) forget() {
	if (c.closed || c.err != nil) && (c.peer.closed || c.peer.err != nil) {
		delete(c.n.conns, c)
		delete(c.n.conns, c.peer)
	}
}

func (c *conn) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.failed("read", net.ErrClosed)
		case c.read.passed():
			return 0, c.failed("read", os.ErrDeadlineExceeded)
		case c.err != nil:
			return 0, c.failed("read", c.err)
		case len(c.in.ready) > 0:
			k := copy(b, c.in.ready)
			c.in.ready = c.in.ready[k:]
			c.in.read += k
			c.in.acknowledge()
			return k, nil
		case c.in.eof:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		}
		c.wake.Wait()
	}
}

// Write implements net.Conn. It returns when all bytes are on their way, not
// when they have arrived.
func (c *conn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	done := 0
	for {
		room := window - c.out.pending
		switch {
		case c.closed:
			return done, c.failed("write", net.ErrClosed)
		case c.write.passed():
			return done, c.failed("write", os.ErrDeadlineExceeded)
		case c.err != nil:
			return done, c.failed("write", c.err)
		case c.out.reset:
			return done, c.failed("write", syscall.ECONNRESET)
		case len(b) == done:
			return done, nil
		case room > 0:
			k := min(room, len(b)-done)
			c.out.send(segment{data: append([]byte(nil), b[done:done+k]...)})
			done += k
			continue
		}
		c.wake.Wait()
	}
}

// Close implements net.Conn: what was written still arrives, then the other end
// reads EOF. If this end has not read everything, the other one can write no more.
func (c *conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.failed("close", net.ErrClosed)
	}
	c.closed = true
	c.read.set(time.Time{}, nil)
	c.write.set(time.Time{}, nil)
	if c.err == nil {
		c.out.send(segment{fin: true, over: len(c.in.ready) > 0})
	}
	c.forget()
	c.wake.Broadcast()
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.read, &c.write)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.read) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.write) }

func (c *conn) setDeadlines(t time.Time, which ...*deadline) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return c.failed("set", net.ErrClosed)
	}
	for _, d := range which {
		d.set(t, func() {
			c.n.mu.Lock()
			defer c.n.mu.Unlock()
			c.wake.Broadcast()
		})
	}
	c.wake.Broadcast()
	return nil
}
