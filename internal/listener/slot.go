package listener

import (
	"sync"

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

	c    *Client
	next *Slot
	done bool // guarded by c.mu
}

// maxKeptBuf is the largest buffer that a free slot keeps.
const maxKeptBuf = 64 << 10

var slots = sync.Pool{New: func() any { return new(Slot) }}

func newSlot(c *Client) *Slot {
	s := slots.Get().(*Slot)
	s.c = c
	return s
}

// free gives the slot back. Its file ranges have been released.
func (s *Slot) free() {
	if cap(s.Buf) > maxKeptBuf {
		s.Buf = nil
	}
	clear(s.cuts)
	*s = Slot{Buf: s.Buf[:0], cuts: s.cuts[:0]}
	slots.Put(s)
}

func (s *Slot) release() {
	for i := range s.cuts {
		if f := s.cuts[i].Release; f != nil {
			s.cuts[i].Release = nil
			f()
		}
	}
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
