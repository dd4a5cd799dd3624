package listener

import (
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// newConn wraps an accepted connection: TCP is driven through its descriptor.
func newConn(c net.Conn) Conn {
	if tcp, ok := c.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			return newRawConn(tcp, raw)
		}
	}
	return newNetConn(c)
}

// rawConn is a Conn on a TCP socket, by its descriptor under the runtime's poller. The
// functions that RawConn is given are made once, and what they work on stands in the struct:
// a closure a call would move all it captures to the heap.
type rawConn struct {
	*net.TCPConn
	raw   syscall.RawConn
	taken atomic.Int64

	taker   taker // the reader's
	readErr error
	readFn  func(fd uintptr) bool

	out      []byte // the writer's
	flags    int
	sent     int
	wait     bool
	writeErr error
	writeFn  func(fd uintptr) bool

	file   int // descriptor
	off    int64
	left   int
	fileFn func(fd uintptr) bool // socket to write, around which:
	withFn func(fd uintptr)      // the file's descriptor is held
}

func newRawConn(c *net.TCPConn, raw syscall.RawConn) *rawConn {
	r := &rawConn{TCPConn: c, raw: raw}
	r.readFn, r.writeFn, r.fileFn, r.withFn = r.tryRead, r.tryWrite, r.trySend, r.withFile
	return r
}

// Serve implements Conn. All of it happens within one call of the poller: what is read is worked on there and
// then, and only when nothing is left to read the poller waits. (To wait without that last try, after a
// read that has not filled its buffer, saves a call to the system and costs a parked goroutine whenever the client
// has sent on meanwhile; measured, it came out even.)
func (c *rawConn) Serve(r taker) error {
	c.taker, c.readErr = r, nil
	if err := c.raw.Read(c.readFn); err != nil {
		return err
	}
	return c.readErr
}

// tryRead serves until there is nothing to read; then the poller waits and calls it again.
func (c *rawConn) tryRead(fd uintptr) bool {
	for {
		p := c.taker.room()
		if p == nil {
			c.readErr = errNoRoom
			return true
		}
		n, err := unix.Read(int(fd), p)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			c.taker.idle()
			return false
		case err != nil:
			c.readErr = os.NewSyscallError("read", err)
			return true
		case n == 0:
			c.readErr = io.EOF
			return true
		}
		if c.readErr = c.taker.took(n); c.readErr != nil {
			return true
		}
	}
}

// Abort implements Conn. To close the descriptor would wait for Serve.
func (c *rawConn) Abort() {
	_ = c.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	_ = c.SetDeadline(time.Unix(1, 0))
}

// Write implements Conn.
func (c *rawConn) Write(p []byte, more, wait bool) (int, error) {
	c.out, c.sent, c.wait, c.writeErr, c.flags = p, 0, wait, nil, 0
	if more {
		c.flags = unix.MSG_MORE
	}
	err := c.raw.Write(c.writeFn)
	c.out = nil
	if err == nil {
		err = c.writeErr
	}
	return c.sent, err
}

func (c *rawConn) tryWrite(fd uintptr) bool {
	for len(c.out) > 0 {
		n, err := writeOnce(int(fd), c.out, c.flags)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return !c.wait
		case err != nil:
			c.writeErr = os.NewSyscallError("sendmsg", err)
			return true
		}
		c.taken.Add(int64(n))
		c.sent += n
		c.out = c.out[n:]
	}
	return true
}

// writeOnce writes once. write(2) is the cheaper call where no flag is needed; SIGPIPE is the runtime's to swallow.
func writeOnce(fd int, p []byte, flags int) (int, error) {
	if flags == 0 {
		return unix.Write(fd, p)
	}
	return unix.SendmsgN(fd, p, nil, nil, flags|unix.MSG_NOSIGNAL)
}

// SendFile implements Conn. A file without a descriptor, in memory, is copied.
func (c *rawConn) SendFile(f FileRange, wait bool) (int, error) {
	file, err := f.File.SyscallConn()
	if err != nil {
		if !wait {
			return 0, nil
		}
		return copyFile(counted{c.TCPConn, &c.taken}, f)
	}
	c.off, c.left, c.sent, c.wait, c.writeErr = f.Off, f.N, 0, wait, nil
	if err := file.Control(c.withFn); err != nil {
		return 0, err
	}
	return c.sent, c.writeErr
}

// Taken implements Conn.
func (c *rawConn) Taken() int64 { return c.taken.Load() }

// withFile sends while the file's descriptor is held open.
func (c *rawConn) withFile(fd uintptr) {
	c.file = int(fd)
	if err := c.raw.Write(c.fileFn); err != nil {
		c.writeErr = err
	}
}

func (c *rawConn) trySend(fd uintptr) bool {
	for c.left > 0 {
		n, err := unix.Sendfile(int(fd), c.file, &c.off, c.left)
		if n > 0 {
			c.taken.Add(int64(n))
			c.left -= n
			c.sent += n
		}
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return !c.wait
		case err != nil:
			c.writeErr = os.NewSyscallError("sendfile", err)
			return true
		case n == 0:
			c.writeErr = io.ErrUnexpectedEOF
			return true
		}
	}
	return true
}
