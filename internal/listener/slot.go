package listener

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// FileRange is N bytes of a file from Off on, sent without passing through the heap
// where the system can. Release, if not nil, is called once when they have been sent or
// will never be.
type FileRange struct {
	File    vfs.File
	Off     int64
	N       int
	Release func()
}

// cut is a file range and its place in the slot's bytes.
type cut struct {
	at int
	FileRange
}

// Slot is the place of one response, or of a run of them, in its connection's order.
//
// Whoever completes it owns Buf and the file ranges until Done; then the connection's
// writer does. A slot that is never done holds up all later responses of its
// connection, and the in-flight bound then stops its reader.
type Slot struct {
	Buf  []byte // the encoded response, its size first
	cuts []cut

	timings []Timing // of the requests that it answers

	c    *Client
	next *Slot
	done bool // guarded by c.mu
}

const (
	// maxKeptBuf is the largest buffer that a free slot keeps, and what of its responses a client that does not take them
	// may make the server hold without being charged for it.
	maxKeptBuf = 64 << 10
	// hurriedGrace is frameGrace for who does not take large responses while memory is short.
	hurriedGrace = time.Second
)

var slots = sync.Pool{New: func() any { return new(Slot) }}

func newSlot(c *Client) *Slot {
	s := slots.Get().(*Slot)
	s.c = c
	return s
}

// free tells of the slot's requests, releases the file ranges that have not been and gives the slot back.
func (s *Slot) free() {
	s.tell()
	for i := range s.cuts {
		if f := s.cuts[i].Release; f != nil {
			f()
		}
	}
	if cap(s.Buf) > maxKeptBuf {
		s.Buf = nil
	}
	clear(s.cuts)
	*s = Slot{Buf: s.Buf[:0], cuts: s.cuts[:0], timings: s.timings[:0]}
	slots.Put(s)
}

// AddFile puts a file range behind what is in Buf now.
func (s *Slot) AddFile(f FileRange) { s.cuts = append(s.cuts, cut{len(s.Buf), f}) }

// Client returns the connection the slot belongs to.
func (s *Slot) Client() *Client { return s.c }

// Done marks the slot as complete. It writes nothing: the caller calls Flush of the
// connection, once for all slots of it that it completes in one go. It may be called from
// any goroutine, holding locks or not, and never blocks. The slot is not the caller's any more.
func (s *Slot) Done() {
	c := s.c
	c.mu.Lock()
	s.done = true
	c.mu.Unlock()
}

// Out returns the buffer to append the response of the request that is being served to.
// Only Session.Serve, Session.Settle and the function for alone may call it, and give it back with SetOut.
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
	s := c.run
	if s == nil {
		return
	}
	c.run = nil
	if len(s.Buf) == 0 {
		s.free()
		return
	}
	s.done = true
	c.queueLocked(s)
}

func (c *Client) queueLocked(s *Slot) {
	if c.tail == nil {
		c.head = s
	} else {
		c.tail.next = s
	}
	c.tail = s
	c.queued.Add(1)
}

// Flush writes what is complete at the head of the queue and can be written without
// blocking; a goroutine takes the rest if the client does not keep up. It may be called from
// any goroutine and never blocks.
func (c *Client) Flush() {
	c.mu.Lock()
	c.pumpLocked(false)
	c.mu.Unlock()
}

// flushRun queues what the session has answered at once and writes what is ready. The reader
// itself waits for a client that does not keep up: it has nothing better to do.
func (c *Client) flushRun() {
	c.mu.Lock()
	c.queueRunLocked()
	c.pumpLocked(true)
	c.mu.Unlock()
}

// sending is a chain of slots on its way, and how much of it has left.
type sending struct {
	head  *Slot
	n     int32 // slots of the queue that the chain stands for
	at    int   // bytes of head.Buf that are written
	cut   int   // file ranges of head that are sent
	part  int   // bytes of the next file range that are sent
	slow  bool  // a write deadline is set
	held  int   // bytes of the chain that are taken from the account, because they wait for the client
	hurry bool  // the account did not have them
}

// pumpLocked takes the writing role, unless somebody has it, and writes until nothing at the head of
// the queue is complete. Whoever completes a slot meanwhile finds the role taken, and the holder
// finds the slot: it looks again, under mu, before it gives the role up. The slots
// count as in flight until they are written. mu is released while writing.
func (c *Client) pumpLocked(reader bool) {
	if c.writing {
		return
	}
	c.writing = true
	for c.takeLocked() {
		c.mu.Unlock()
		whole, err := c.push(false)
		if !whole && err == nil {
			if !reader {
				c.behind.Store(true)
				c.l.wg.Go(c.writer)
				c.mu.Lock()
				return // the role is the goroutine's
			}
			c.idle()
			err = c.pushAll()
		}
		c.sent(err)
		c.mu.Lock()
	}
	c.writing = false
	c.moved.Broadcast()
}

// writer is a goroutine that has the writing role while the client does not keep up.
func (c *Client) writer() {
	c.sent(c.pushAll())
	c.mu.Lock()
	for c.takeLocked() {
		c.mu.Unlock()
		c.sent(c.pushAll())
		c.mu.Lock()
	}
	c.behind.Store(false)
	c.writing = false
	c.moved.Broadcast()
	c.mu.Unlock()
}

// sent ends a chain: what is left of it after an error is freed, and the connection is closed.
func (c *Client) sent(err error) {
	n := c.sending.n
	for s := c.sending.head; s != nil; {
		next := s.next
		s.free()
		s = next
	}
	c.owed.Store(0)
	c.l.account.Give(int64(c.sending.held))
	if c.sending.slow && err == nil {
		err = c.conn.SetWriteDeadline(time.Time{})
	}
	c.sending = sending{}
	if err != nil {
		c.Close(err)
	}
	c.mu.Lock()
	c.queued.Add(-n)
	c.moved.Broadcast()
	c.mu.Unlock()
}

// takeLocked moves the complete slots at the head of the queue into sending and reports whether there
// were any. Of a dead connection it takes and frees every complete slot.
func (c *Client) takeLocked() bool {
	if c.dead != nil {
		c.dropLocked()
		return false
	}
	if c.head == nil || !c.head.done {
		return false
	}
	first, last := c.head, c.head
	n := int32(1)
	for last.next != nil && (last.next.done || invariant.Mutant("listener-no-order")) {
		last = last.next
		n++
	}
	c.head = last.next
	if c.head == nil {
		c.tail = nil
	}
	last.next = nil
	c.sending = sending{head: first, n: n}
	return true
}

func (c *Client) dropLocked() {
	var head, tail *Slot
	for s := c.head; s != nil; {
		next := s.next
		s.next = nil
		switch {
		case s.done:
			s.free()
			c.queued.Add(-1)
		case tail == nil:
			head, tail = s, s
		default:
			tail.next = s
			tail = s
		}
		s = next
	}
	c.head, c.tail = head, tail
}

// pushAll writes the rest of the chain, however long the client takes within its deadlines.
func (c *Client) pushAll() error {
	c.charge()
	for {
		whole, err := c.push(true)
		if whole || err != nil {
			return err
		}
	}
}

// charge takes the memory of a chain that waits for the client from the account. A client whose responses do not fit
// there any more has little time to take them.
func (c *Client) charge() {
	s := &c.sending
	n := -maxKeptBuf
	for h := s.head; h != nil; h = h.next {
		n += cap(h.Buf)
	}
	if n <= 0 {
		return
	}
	s.hurry = !c.l.account.TryTake(int64(n), 0, memory.Large)
	if s.hurry {
		c.l.account.Force(int64(n))
	}
	s.held = n
	c.owed.Store(int64(n))
}

// push writes what it can of the chain, and with wait all of it. whole tells that nothing is left.
func (c *Client) push(wait bool) (whole bool, err error) {
	s := &c.sending
	for s.head != nil {
		s.merge()
		whole, err := c.pushSlot(s.head, wait)
		if !whole || err != nil {
			return false, err
		}
		next := s.head.next
		s.head.free()
		s.head, s.at, s.cut, s.part = next, 0, 0, 0
	}
	return true, nil
}

// merge appends the following small responses to the first, so that one write takes them.
func (s *sending) merge() {
	h := s.head
	for s.at == 0 && len(h.cuts) == 0 && h.next != nil && len(h.next.cuts) == 0 && len(h.Buf)+len(h.next.Buf) <= maxKeptBuf {
		next := h.next
		h.Buf = append(h.Buf, next.Buf...)
		for i := range next.timings {
			h.Time(next.timings[i])
		}
		next.timings = next.timings[:0]
		h.next = next.next
		next.free()
	}
}

// pushSlot writes the bytes and the file ranges of one slot in their order.
func (c *Client) pushSlot(h *Slot, wait bool) (whole bool, err error) {
	s := &c.sending
	for {
		end, more := len(h.Buf), h.next != nil
		if s.cut < len(h.cuts) {
			end, more = h.cuts[s.cut].at, true
		}
		if s.at < end {
			n, err := c.writePart(h.Buf[s.at:end], more, wait)
			s.at += n
			if err != nil || s.at < end {
				return false, err
			}
		}
		if s.cut == len(h.cuts) {
			return true, nil
		}
		f := &h.cuts[s.cut]
		rest := f.FileRange
		rest.Off, rest.N = f.Off+int64(s.part), f.N-s.part
		n, err := c.sendPart(rest, wait)
		s.part += n
		if err != nil || s.part < f.N {
			return false, err
		}
		if f.Release != nil {
			f.Release()
			f.Release = nil
		}
		s.cut, s.part = s.cut+1, 0
	}
}

func (c *Client) writePart(p []byte, more, wait bool) (int, error) {
	if wait {
		grace := frameGrace
		if c.sending.hurry {
			grace = hurriedGrace
		}
		if err := c.deadline(grace + time.Duration(len(p))*time.Second/frameRate); err != nil {
			return 0, err
		}
	}
	n, err := c.conn.Write(p, more, wait)
	return n, slowClient(err)
}

func (c *Client) sendPart(f FileRange, wait bool) (int, error) {
	if wait {
		if err := c.deadline(max(c.l.o.IdleTimeout, frameGrace+time.Duration(f.N)*time.Second/frameRate)); err != nil {
			return 0, err
		}
	}
	n, err := c.conn.SendFile(f, wait)
	if err == io.ErrUnexpectedEOF {
		err = errShortFile
	}
	return n, slowClient(err)
}

func (c *Client) deadline(d time.Duration) error {
	c.sending.slow = true
	return c.conn.SetWriteDeadline(time.Now().Add(d))
}

var (
	errShortFile = errors.New("listener: a file was truncated while it was sent")
	errNotTaken  = errors.New("listener: the client does not take its responses")
)

func slowClient(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errNotTaken
	}
	return err
}
