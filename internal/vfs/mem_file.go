package vfs

import (
	"io"
	"io/fs"
	"syscall"
	"time"
)

const (
	pageSize   = 4096
	sectorSize = 512
)

type page [pageSize]byte

// pagesFor returns how many pages size bytes take.
func pagesFor(size int64) int { return int((size + pageSize - 1) / pageSize) }

// memFile is a file: the pages that are read, those that are durable, and the
// operations between the two. A page that is durable is never written again: a
// write takes a copy. So clones share what was durable when they were made.
type memFile struct {
	pages       []*page // nil is a page of zeros, as is one beyond the end
	size        int64
	durable     []*page
	durableSize int64
	ops         []memOp
	opsKept     int // length of ops after the last collapse
	linked      bool
	mod         time.Time
}

func (f *memFile) modTime() time.Time { return f.mod }

// space is what the file takes of the file system's capacity.
func (f *memFile) space() uint64 { return uint64(pagesFor(f.size)) * pageSize }

// memOp is one operation that is not yet durable.
type memOp struct {
	kind memOpKind
	off  int64  // of data; the new size for memTruncate
	data []byte // what was written
	size int64  // of the file afterwards
}

type memOpKind uint8

const (
	memWrite    memOpKind = iota
	memGrow               // a longer file; no page changes
	memTruncate           // a shorter file
	memLost               // a write that a failed sync has thrown away
)

// opsMax is the number of operations of a file that are remembered one by one.
const opsMax = 4096

// readAt copies what is there at off.
func (f *memFile) readAt(p []byte, off int64) int {
	if off >= f.size {
		return 0
	}
	p = p[:min(int64(len(p)), f.size-off)]
	for done := 0; done < len(p); {
		i, at := int((off+int64(done))/pageSize), int((off+int64(done))%pageSize)
		n := min(len(p)-done, pageSize-at)
		if i < len(f.pages) && f.pages[i] != nil {
			copy(p[done:done+n], f.pages[i][at:])
		} else {
			clear(p[done : done+n])
		}
		done += n
	}
	return len(p)
}

// writable returns page i, a copy of it if it is durable.
func (f *memFile) writable(i int) *page {
	for len(f.pages) <= i {
		f.pages = append(f.pages, nil)
	}
	p := f.pages[i]
	switch {
	case p == nil:
		p = new(page)
	case i < len(f.durable) && f.durable[i] == p:
		c := *p
		p = &c
	}
	f.pages[i] = p
	return p
}

// writeAt writes p at off and remembers it.
func (f *memFile) writeAt(p []byte, off int64) {
	for done := 0; done < len(p); {
		at := off + int64(done)
		done += copy(f.writable(int(at / pageSize))[at%pageSize:], p[done:])
	}
	f.size = max(f.size, off+int64(len(p)))
	f.remember(memOp{kind: memWrite, off: off, data: append([]byte(nil), p...), size: f.size})
}

func (f *memFile) remember(op memOp) {
	f.mod = time.Now()
	f.ops = append(f.ops, op)
	if len(f.ops) > opsMax+2*f.opsKept {
		f.collapse()
	}
}

// truncate makes the file size bytes long.
func (f *memFile) truncate(size int64) {
	kind := memTruncate
	switch {
	case size == f.size:
		return
	case size > f.size:
		kind = memGrow
	default:
		if n := pagesFor(size); n < len(f.pages) {
			f.pages = f.pages[:n:n]
		}
		if i, at := int(size/pageSize), size%pageSize; at > 0 && i < len(f.pages) && f.pages[i] != nil {
			clear(f.writable(i)[at:])
		}
	}
	f.size = size
	f.remember(memOp{kind: kind, off: size, size: size})
}

// sync makes all that is seen durable, but for what a failed sync threw away.
func (f *memFile) sync() {
	n := pagesFor(f.size)
	for len(f.durable) < n {
		f.durable = append(f.durable, nil)
	}
	f.durable = f.durable[:n]
	for _, op := range f.ops {
		first, last := op.pages(n)
		for i := first; i < last; i++ {
			if i < len(f.pages) {
				f.durable[i] = f.pages[i]
			} else {
				f.durable[i] = nil
			}
		}
	}
	f.durableSize = f.size
	f.ops, f.opsKept = nil, 0
}

// pages returns the range of pages whose content op changes in a file of n pages.
func (op memOp) pages(n int) (first, last int) {
	switch op.kind {
	case memWrite:
		return int(op.off / pageSize), min(n, pagesFor(op.off+int64(len(op.data))))
	case memTruncate:
		return int(op.off / pageSize), n
	default:
		return 0, 0
	}
}

// failSync does what Linux does when a write-back fails: the pages count as
// clean and are still read, but nothing will write them again, so a later
// sync is successful and a crash loses them. A page that is written again is whole again.
func (f *memFile) failSync() {
	for i := range f.ops {
		if f.ops[i].kind == memWrite {
			f.ops[i].kind, f.ops[i].data = memLost, nil
		}
	}
}

// collapse bounds what is remembered of a file that is never synced: one write a
// page that changed takes the place of all, so that a crash still chooses for each page.
func (f *memFile) collapse() {
	n := pagesFor(f.size)
	changed := make(map[int]bool)
	truncated := f.durableSize
	for _, op := range f.ops {
		if op.kind == memTruncate {
			truncated = min(truncated, op.off)
		}
		for i, last := op.pages(n); i < last; i++ {
			changed[i] = true
		}
	}
	f.ops = f.ops[:0:0]
	if truncated < f.durableSize {
		f.ops = append(f.ops, memOp{kind: memTruncate, off: truncated, size: truncated})
	}
	size := truncated
	for i := range n {
		if changed[i] && i < len(f.pages) && f.pages[i] != nil {
			off := int64(i) * pageSize
			data := append([]byte(nil), f.pages[i][:min(pageSize, f.size-off)]...)
			size = max(size, off+int64(len(data)))
			f.ops = append(f.ops, memOp{kind: memWrite, off: off, data: data, size: size})
		}
	}
	if size < f.size {
		f.ops = append(f.ops, memOp{kind: memGrow, off: f.size, size: f.size})
	}
	f.opsKept = len(f.ops)
}

// dropCache makes reads see the device again where a failed sync left them apart.
func (f *memFile) dropCache() {
	dirty := make(map[int]bool)
	n := pagesFor(f.size)
	for _, op := range f.ops {
		for i, last := op.pages(n); i < last; i++ {
			dirty[i] = true
		}
	}
	for i := range f.pages {
		if dirty[i] {
			continue
		}
		if i < len(f.durable) {
			f.pages[i] = f.durable[i]
		} else {
			f.pages[i] = nil
		}
	}
}

// memHandle is an open file.
type memHandle struct {
	m      *Mem
	f      *memFile
	name   string
	write  bool
	closed bool // under m.mu
}

var _ File = (*memHandle)(nil)

// usable tells whether op may go on.
func (h *memHandle) usable(op string, write bool) error {
	switch {
	case h.closed:
		return pathError(op, h.name, fs.ErrClosed)
	case h.m.dead != nil:
		return pathError(op, h.name, h.m.dead)
	case write && !h.write:
		return pathError(op, h.name, syscall.EBADF)
	}
	return nil
}

// Name implements File.
func (h *memHandle) Name() string { return h.name }

// ReadAt implements File.
func (h *memHandle) ReadAt(p []byte, off int64) (int, error) {
	h.m.mu.RLock()
	defer h.m.mu.RUnlock()
	if err := h.usable("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", h.name, fs.ErrInvalid)
	}
	n := h.f.readAt(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements File.
func (h *memHandle) WriteAt(p []byte, off int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.writeAt(p, off)
}

// WritevAt implements File.
func (h *memHandle) WritevAt(bufs [][]byte, off int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	var done int
	for _, b := range bufs {
		n, err := h.writeAt(b, off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (h *memHandle) writeAt(p []byte, off int64) (int, error) {
	if err := h.usable("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("write", h.name, fs.ErrInvalid)
	}
	fits := h.m.fits(h.f, off, len(p))
	if fits > 0 {
		before := h.f.space()
		h.f.writeAt(p[:fits], off)
		h.m.grew(h.f, before)
	}
	if fits < len(p) {
		return fits, pathError("write", h.name, syscall.ENOSPC)
	}
	return fits, nil
}

// fits returns how many of n bytes at off the capacity admits.
func (m *Mem) fits(f *memFile, off int64, n int) int {
	if m.capacity == 0 || !f.linked {
		return n
	}
	end := int64(f.space()) + int64((m.capacity-min(m.used, m.capacity))/pageSize*pageSize)
	return int(max(0, min(int64(n), end-off)))
}

// grew keeps the account of the space that f takes, which was before.
func (m *Mem) grew(f *memFile, before uint64) {
	if f.linked {
		m.used += f.space() - before
	}
}

func (m *Mem) truncate(f *memFile, size int64) {
	before := f.space()
	f.truncate(size)
	m.grew(f, before)
}

// Size implements File.
func (h *memHandle) Size() (int64, error) {
	h.m.mu.RLock()
	defer h.m.mu.RUnlock()
	if err := h.usable("stat", false); err != nil {
		return 0, err
	}
	return h.f.size, nil
}

// Truncate implements File.
func (h *memHandle) Truncate(size int64) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.usable("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", h.name, fs.ErrInvalid)
	}
	h.m.truncate(h.f, size)
	return nil
}

// Preallocate implements File: it does nothing.
func (h *memHandle) Preallocate(off, size int64) error {
	h.m.mu.RLock()
	defer h.m.mu.RUnlock()
	return h.usable("preallocate", true)
}

// Sync implements File.
func (h *memHandle) Sync() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.usable("sync", false); err != nil {
		return err
	}
	h.f.sync()
	return nil
}

// Datasync implements File. The size is needed to read data back, so it is the same as Sync.
func (h *memHandle) Datasync() error { return h.Sync() }

// SyscallConn implements File: there is no descriptor.
func (h *memHandle) SyscallConn() (syscall.RawConn, error) { return nil, ErrNotSupported }

// Close implements File.
func (h *memHandle) Close() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.closed {
		return pathError("close", h.name, fs.ErrClosed)
	}
	h.closed = true
	return nil
}

// failSync implements syncFailer.
func (h *memHandle) failSync() {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.usable("sync", false) == nil {
		h.f.failSync()
	}
}

// dropCache implements cacheDropper. It forgets whole files whatever the range.
func (h *memHandle) dropCache(_, _ int64) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.usable("dropcache", false); err != nil {
		return err
	}
	h.f.dropCache()
	return nil
}
