package listener

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is the byte stream to one client, with the operations that the path of a request
// needs. One reader and one writer use it at a time.
type Conn interface {
	// Serve hands what arrives to r, and returns the error that ended it: io.EOF at the client's end, what
	// took returned, or errNoRoom if room had nothing to give; then it may be called again.
	Serve(r taker) error
	// Write writes p; more says that more bytes follow at once. Unless wait is true it takes
	// what can be written without blocking, which may be nothing, and is no error.
	Write(p []byte, more, wait bool) (n int, err error)
	// SendFile sends the n bytes of f from off on; wait as in Write.
	SendFile(f FileRange, wait bool) (n int, err error)
	// Taken returns how many bytes have been written in all, also of a write under way. It may be called from any goroutine.
	Taken() int64

	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	RemoteAddr() net.Addr
	// Abort ends the connection for both sides and wakes who waits for it. It may be called from any goroutine, and
	// from within Serve, where Close may not.
	Abort()
	// Close gives the connection back to the system. It is called when Serve has returned.
	Close() error
}

// taker takes what a connection reads.
type taker interface {
	// room returns free space to read into, at least one byte, or nil if there is none to give now.
	room() []byte
	// idle takes back what room gave if nothing has been read into it, or little while memory is short, and reports
	// whether the connection has no room now. It is called before waiting for the client.
	idle() bool
	// took is told that n bytes were read into what room returned last. It works on them for as long as it likes.
	took(n int) error
}

var errNoRoom = errors.New("listener: no read buffer is free")

// firstRead is what a netConn reads before it knows that there is anything to read.
const firstRead = 512

// copyBuffer is how much of a file range is in memory at a time where it must be copied, and how much is written at a time
// where a write does not tell how far it has come.
const copyBuffer = 64 << 10

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}

// netConn is a Conn on any net.Conn: TLS, other systems than Linux, virtual networks.
// It cannot learn that bytes are there but by reading some, so it keeps a few bytes for that.
// It cannot write without blocking, so a try takes nothing.
type netConn struct {
	net.Conn
	taken atomic.Int64
	first []byte // what was read before there was a buffer
	small [firstRead]byte
}

func newNetConn(c net.Conn) Conn { return &netConn{Conn: c} }

// Serve implements Conn.
func (c *netConn) Serve(r taker) error {
	for {
		n, err := c.read(r)
		if n > 0 {
			err = r.took(n)
		} else if err == nil {
			err = io.ErrNoProgress
		}
		if err != nil {
			return err
		}
	}
}

// read reads into the buffer that the client has, or without one a few bytes first.
func (c *netConn) read(r taker) (int, error) {
	if len(c.first) == 0 && !r.idle() {
		p := r.room()
		if p == nil {
			return 0, errNoRoom
		}
		return c.Conn.Read(p)
	}
	if len(c.first) == 0 {
		n, err := c.Conn.Read(c.small[:])
		if n == 0 {
			return 0, err
		}
		c.first = c.small[:n]
	}
	p := r.room()
	if p == nil {
		return 0, errNoRoom
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}

// Abort implements Conn.
func (c *netConn) Abort() { c.Conn.Close() }

// Write implements Conn.
func (c *netConn) Write(p []byte, _, wait bool) (int, error) {
	if !wait {
		return 0, nil
	}
	return counted{c.Conn, &c.taken}.Write(p)
}

// SendFile implements Conn.
func (c *netConn) SendFile(f FileRange, wait bool) (int, error) {
	if !wait {
		return 0, nil
	}
	return copyFile(counted{c.Conn, &c.taken}, f)
}

// Taken implements Conn.
func (c *netConn) Taken() int64 { return c.taken.Load() }

// counted writes to w piece by piece, and counts in n what has been written.
type counted struct {
	w io.Writer
	n *atomic.Int64
}

func (c counted) Write(p []byte) (sent int, err error) {
	for sent < len(p) && err == nil {
		var n int
		n, err = c.w.Write(p[sent:min(len(p), sent+copyBuffer)])
		c.n.Add(int64(n))
		sent += n
	}
	return sent, err
}

// copyFile sends a file range through memory.
func copyFile(w io.Writer, f FileRange) (int, error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	sent := 0
	for sent < f.N {
		p := (*buf)[:min(copyBuffer, f.N-sent)]
		if n, err := f.File.ReadAt(p, f.Off+int64(sent)); n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return sent, err
		}
		n, err := w.Write(p)
		sent += n
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}
