package storage

import (
	"container/list"
	"io"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/record"
)

// segment is one file of a log with its indexes. The last one of a log is active: appends go
// there, under the log's lock; the others are sealed and never change again, truncation aside.
//
// The file is opened when it is needed and kept by the directory's fileCache.
type segment struct {
	log  *Log
	base int64 // in the name: no offset in it is lower

	hot   atomic.Bool // used since the file cache has looked
	dirty atomic.Bool // holds bytes that no flush has covered
	// pinned: the file is kept open, because it has not got its name yet.
	pinned atomic.Bool
	elem   *list.Element // its place in the file cache, guarded by that

	// Guarded by the log's lock:
	synced   int64 // the length that is durable
	reserved int64 // up to where space was reserved
	cuts     int   // how often the file was cut back after a write that failed
	missing  bool  // the file of a log that has never had an append is not there yet

	mu   sync.Mutex // guards what follows; never held across I/O
	open *handle    // nil while closed
	gone bool       // deleted or closed for good: the file is not opened again

	// Of the active segment these change with the log's lock held too, so that an append, which
	// holds that, reads them without mu.
	size  int64 // bytes that may be read
	end   int64 // the offset after the last one
	tail  tail
	ends  ends
	index index
}

func newSegment(l *Log, base int64) *segment {
	return &segment{log: l, base: base, end: base, index: newIndex()}
}

// acquire returns the open file, to be released by the caller.
func (s *segment) acquire() (*handle, error) {
	s.hot.Store(true)
	s.mu.Lock()
	h, gone := s.open, s.gone
	if h != nil {
		h.refs.Add(1)
	}
	s.mu.Unlock()
	switch {
	case h != nil:
		return h, nil
	case gone:
		return nil, ErrClosed
	}
	f, err := s.log.dir.fs.OpenReadWrite(s.path(logSuffix))
	if err != nil {
		return nil, err
	}
	return s.install(newHandle(f, 2))
}

// install makes h, which has a reference for the segment and one for the caller, the segment's
// file. If another goroutine was faster its file is used; if the segment has gone meanwhile, the
// file may be that of another log which has taken the name, and is not used.
func (s *segment) install(h *handle) (*handle, error) {
	s.mu.Lock()
	other, gone := s.open, s.gone
	switch {
	case gone:
	case other != nil:
		other.refs.Add(1)
	default:
		s.open = h
	}
	s.mu.Unlock()
	switch {
	case gone:
		h.release()
		h.release()
		return nil, ErrClosed
	case other != nil:
		h.release()
		h.release()
		return other, nil
	}
	s.log.dir.files.opened(s)
	return h, nil
}

// closeFile drops the segment's reference to its file.
func (s *segment) closeFile() {
	s.mu.Lock()
	h := s.open
	s.open = nil
	s.index.block = nil
	s.mu.Unlock()
	if h != nil {
		h.release()
	}
}

// retire closes the file for good: the segment has left its log. Slices live on.
func (s *segment) retire() {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	s.log.dir.files.remove(s)
	s.closeFile()
}

// extent returns the bytes and the end offset that may be read now.
func (s *segment) extent() (size, end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, s.end
}

// appended is a batch that was written to the active segment.
type appended struct {
	base, last   int64
	epoch        int32
	size         int
	maxTimestamp int64
}

// grew makes written batches readable and enters them into the indexes.
func (s *segment) grew(batches []appended, interval int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range batches {
		s.index.add(interval, int32(b.last-s.base), int32(s.size), b.size, b.maxTimestamp)
		s.tail.add(mark{offset: b.base, pos: s.size})
		s.size += int64(b.size)
		s.end = b.last + 1
	}
}

// entered accounts for a batch that a scan has found at the end of what is known.
func (s *segment) entered(h record.Batch, size, interval int64) {
	s.index.add(interval, int32(h.LastOffset()-s.base), int32(s.size), int(size), greatestOf(h))
	s.size += size
	s.end = h.LastOffset() + 1
}

// mark is a place between two batches: the base offset of the one that begins there.
type mark struct{ offset, pos int64 }

// ends remembers where the last reads of the file ended. A consumer goes on where its last read ended, and
// is spared the search for the place: two reads of the file.
type ends struct {
	marks   [4]mark // position 0: none
	next    uint8
	cleared uint32 // how often a truncation has, which a read that began before it must not undo
}

// at returns the position of the batch that holds offset, or the first above it; 0 if no read has ended there.
func (e *ends) at(offset int64) int64 {
	for _, m := range e.marks {
		if m.offset == offset {
			return m.pos
		}
	}
	return 0
}

func (e *ends) clear() { *e = ends{cleared: e.cleared + 1} }

func (e *ends) add(m mark) {
	if e.at(m.offset) == 0 {
		e.marks[e.next%uint8(len(e.marks))] = m
		e.next++
	}
}

// tailLen is how many batches a tail remembers; a power of two.
const tailLen = 64

// tail remembers where the last batches of the active segment begin, so that consumers that keep
// up, and the high watermark behind the end, are found without reading the file.
type tail struct {
	marks *[tailLen]mark // ring; allocated by the first append
	n     uint64         // marks ever added
}

func (t *tail) add(m mark) {
	if t.marks == nil {
		t.marks = new([tailLen]mark)
	}
	t.marks[t.n%tailLen] = m
	t.n++
}

func (t *tail) len() int { return int(min(t.n, tailLen)) }

// at returns the i-th of the marks held, the oldest being 0.
func (t *tail) at(i int) mark { return t.marks[(t.n-uint64(t.len())+uint64(i))%tailLen] }

// holding returns the index of the mark whose batch holds offset, -1 if that is not remembered.
func (t *tail) holding(offset int64) int {
	return sort.Search(t.len(), func(i int) bool { return t.at(i).offset > offset }) - 1
}

// cut returns the last place at which a range that begins at mark i may end: not above the
// offset below, not behind limit. The end of the segment is one such place.
func (t *tail) cut(i int, end mark, below, limit int64) mark {
	if end.offset <= below && end.pos <= limit {
		return end
	}
	j := i + 1 + sort.Search(t.len()-i-1, func(k int) bool {
		m := t.at(i + 1 + k)
		return m.offset > below || m.pos > limit
	})
	return t.at(j - 1)
}

// after returns the place behind the batch of mark i.
func (t *tail) after(i int, end mark) mark {
	if i+1 < t.len() {
		return t.at(i + 1)
	}
	return end
}

// pendingEntries returns the number of index entries that are not in the files.
func (s *segment) pendingEntries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.index.offsets)
}

// Space is reserved ahead of the appends: extents that are there already spare a tenth to a fifth
// of what an append and its flush cost. With preallocate it is done in full steps, else as much
// again as the segment has, once that is worth while, so that small logs take no more than they need.
const (
	reserveStep = 32 << 20
	reserveFrom = 1 << 20
)

// reserve takes space for the file up to size and beyond; where that fails the write goes without.
func (s *segment) reserve(h *handle, size int64, o *LogOptions) {
	if size <= s.reserved || size < reserveFrom && !o.Preallocate {
		return
	}
	step := int64(reserveStep)
	if !o.Preallocate {
		step = min(step, size)
	}
	want := min(size+step, max(int64(o.SegmentBytes), size))
	if h.Preallocate(size, want-size) != nil {
		want = size + reserveFrom // ask again later
	}
	s.reserved = want
}

// release gives back what was reserved and not used.
func (s *segment) release() error {
	size, _ := s.extent()
	if s.reserved <= size {
		return nil
	}
	h, err := s.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	return h.Truncate(size)
}

// firstBatch reads the header of the segment's first batch.
func firstBatch(f io.ReaderAt, s *segment) (batchAt, error) {
	size, _ := s.extent()
	w := newScanner(f, 0, size, false)
	defer w.close()
	b, err := w.next()
	b.header = slices.Clone(b.header)
	return b, err
}
