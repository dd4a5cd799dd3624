package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sort"

	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// Slice is a range of a segment file that holds whole batches. It keeps the file open until
// Release, whatever becomes of the log meanwhile: a roll, retention and deletion do not touch what
// it covers. The zero Slice is empty.
//
// A truncation below its end does. A replica never truncates below its high watermark, so
// consumers do not meet that; a follower that was sent other bytes drops them by the leader epoch.
type Slice struct {
	File vfs.File // nil if the slice is empty
	Off  int64
	Len  int

	handle      *handle
	log         *Log
	truncations uint64
}

// Release gives the file back. A Slice is released once.
func (s Slice) Release() {
	if s.handle != nil {
		s.handle.release()
	}
}

// Stale reports whether the log has been truncated since the slice was made: the file may hold
// other batches now where it points to, or none.
func (s Slice) Stale() bool { return s.log != nil && s.log.truncations.Load() != s.truncations }

// ReadBytes appends the bytes of the slice to dst. It does not release the slice. If the log was
// truncated meanwhile the answer is ErrTruncating.
func (s Slice) ReadBytes(dst []byte) ([]byte, error) {
	if s.Len == 0 {
		return dst, nil
	}
	n := len(dst)
	dst = slices.Grow(dst, s.Len)[:n+s.Len]
	err := readFull(s.File, dst[n:], s.Off)
	switch {
	case s.Stale():
		return dst[:n], ErrTruncating
	case err != nil:
		return dst[:n], s.log.readFailed(s.File.Name(), err)
	}
	return dst, nil
}

// readFailed is the error of bytes that could not be read. It does not fence the log: other
// ranges may be fine, and appends do not read.
func (l *Log) readFailed(name string, err error) error {
	l.dir.metrics.readErrors.Inc()
	return fmt.Errorf("%w: %s: reading %s: %w", ErrStorage, l.id, name, err)
}

// Read returns the whole batches from the one that holds from, or the first above it, as far as
// they lie below the offset below, within one segment file and maxBytes; with minOne the first
// batch comes whole even if it is larger. Empty if from is at or above below or the end; an
// OutOfRangeError outside of the log; a CorruptionError where it is damaged.
func (l *Log) Read(from, below int64, maxBytes int, minOne bool) (Slice, error) {
	for {
		truncations := l.truncations.Load()
		segments := l.segments.Load()
		s, err := l.read(*segments, from, below, maxBytes, minOne)
		if err == nil {
			s.log, s.truncations = l, truncations
			return s, nil
		}
		// The file may have been truncated, or gone with its segment, since we looked.
		if l.closed.Load() {
			return Slice{}, ErrClosed
		}
		if l.truncations.Load() == truncations && l.segments.Load() == segments {
			if errors.Is(err, ErrCorrupt) {
				l.dir.metrics.corruptions.Inc()
			}
			return Slice{}, err
		}
	}
}

func (l *Log) read(segments []*segment, from, below int64, maxBytes int, minOne bool) (Slice, error) {
	start, end := l.start.Load(), l.end.Load()
	if from < start || from > end {
		return Slice{}, &OutOfRangeError{Offset: from, Start: start, End: end}
	}
	below = min(below, end)
	if from >= below {
		return Slice{}, nil
	}
	for i := findSegment(segments, from); i < len(segments) && segments[i].base < below; i++ {
		s := segments[i]
		slice, found, err := s.read(from, below, maxBytes, minOne)
		if err != nil || found {
			return slice, err
		}
	}
	return Slice{}, nil
}

// findSegment returns the index of the segment that offset belongs to: the last whose base is not above it.
func findSegment(segments []*segment, offset int64) int {
	return max(0, sort.Search(len(segments), func(i int) bool { return segments[i].base > offset })-1)
}

// read is Log.Read within the segment. It reports false if no batch here ends at or above from.
func (s *segment) read(from, below int64, maxBytes int, minOne bool) (Slice, bool, error) {
	s.mu.Lock()
	if from >= s.end {
		s.mu.Unlock()
		return Slice{}, false, nil
	}
	end := mark{offset: s.end, pos: s.size}
	view := s.index.view()
	if i := s.tail.holding(from); i >= 0 {
		first := s.tail.at(i)
		last := s.tail.cut(i, end, below, first.pos+int64(maxBytes))
		if last.pos == first.pos && minOne {
			last = s.tail.after(i, end)
		}
		s.mu.Unlock()
		return s.slice(first.pos, last, below)
	}
	at, cleared := s.ends.at(from), s.ends.cleared
	s.mu.Unlock()

	h, err := s.acquire()
	if err != nil {
		return Slice{}, false, s.openFailed(err)
	}
	first, last, err := s.locateRange(h, view, end, from, below, at, maxBytes, minOne)
	h.release()
	if err != nil {
		return Slice{}, false, err
	}
	s.mu.Lock()
	if last.pos > first && s.ends.cleared == cleared {
		s.ends.add(last)
	}
	s.mu.Unlock()
	return s.slice(first, last, below)
}

// slice makes the range from first to last, unless that has nothing below the offset below.
func (s *segment) slice(first int64, last mark, below int64) (Slice, bool, error) {
	if last.pos <= first || last.offset > below {
		return Slice{}, true, nil
	}
	h, err := s.acquire()
	if err != nil {
		return Slice{}, false, s.openFailed(err)
	}
	return Slice{File: h.File, Off: first, Len: int(last.pos - first), handle: h}, true, nil
}

// openFailed is the error of a file that could not be opened.
func (s *segment) openFailed(err error) error {
	if errors.Is(err, ErrClosed) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &CorruptionError{Path: s.path(logSuffix), Offset: s.base, Err: err}
	}
	return s.log.readFailed(s.path(logSuffix), err)
}

// locateRange finds in the file what the tail does not remember: the position of the batch that
// holds from, unless at is it, and the place where the range ends.
func (s *segment) locateRange(f io.ReaderAt, v indexView, end mark, from, below, at int64, maxBytes int, minOne bool) (int64, mark, error) {
	if at > 0 {
		limit := at + int64(maxBytes)
		if end.offset <= below && end.pos <= limit {
			return at, end, nil
		}
		w := newScanner(f, at, end.pos, false)
		defer w.close()
		if s.jump(w, v, at, limit, below) {
			last, err := s.ending(w, mark{}, limit, below)
			return at, last, err
		}
	}
	w, b, err := s.seek(f, v, end.pos, from)
	if err != nil {
		return 0, mark{}, err
	}
	defer w.close()
	first, second := b.pos, mark{offset: b.next(), pos: b.end()}
	limit := first + int64(maxBytes)
	if end.offset <= below && end.pos <= limit {
		return first, end, nil
	}
	if second.offset > below {
		return first, mark{pos: first}, nil
	}
	if second.pos > limit {
		if !minOne {
			return first, mark{pos: first}, nil
		}
		return first, second, nil
	}
	if !s.jump(w, v, second.pos, limit, below) {
		w.pos = second.pos
	}
	last, err := s.ending(w, second, limit, below)
	return first, last, err
}

// jump puts w before a batch that begins behind after and not behind limit, and ends below: where the range
// may end, from the last index entry that says so. It reports false if there is none, or none to rely upon.
func (s *segment) jump(w *scanner, v indexView, after, limit, below int64) bool {
	e, ok, err := s.findEntry(v, func(e offsetEntry) bool { return int64(e.pos) <= limit && s.base+int64(e.rel) < below })
	if err != nil || !ok || int64(e.pos) <= after {
		return false
	}
	w.pos = int64(e.pos)
	w.narrow(e.gap)
	b, err := w.next()
	if err != nil || b.header.LastOffset() != s.base+int64(e.rel) {
		s.distrust(s.misplaced(e.offsetEntry))
		return false
	}
	w.pos = b.pos
	return true
}

// ending goes on from batch to batch, up to the place where the range ends; last is it if w stands at the end.
func (s *segment) ending(w *scanner, last mark, limit, below int64) (mark, error) {
	for {
		b, err := w.next()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return mark{}, s.damaged(w.pos, last.offset, err)
		}
		if b.next() > below || b.end() > limit {
			return mark{offset: min(b.header.BaseOffset(), below), pos: b.pos}, nil
		}
		last = mark{offset: b.next(), pos: b.end()}
	}
}

// seek returns the first batch that ends at or above offset, and a scanner that stands behind it,
// to be closed by the caller. Nothing in the file is trusted to be where an index says: if the
// batch there is another one the index is put aside, to be made anew.
func (s *segment) seek(f io.ReaderAt, v indexView, size, offset int64) (*scanner, batchAt, error) {
	e, indexed, err := s.findEntry(v, func(e offsetEntry) bool { return s.base+int64(e.rel) <= offset })
	if err != nil {
		s.distrust(fmt.Errorf("reading it: %w", err))
		indexed = false
	}
	var pos int64
	if indexed {
		pos = int64(e.pos)
	}
	w := newScanner(f, pos, size, false)
	w.narrow(e.gap)
	b, err := w.next()
	if indexed && (err != nil || b.header.LastOffset() != s.base+int64(e.rel)) {
		s.distrust(s.misplaced(e.offsetEntry))
		pos, w.pos = 0, 0
		b, err = w.next()
	}
	expected, before := s.base, int64(0) // before is the size of the batch before b
	for ; err == nil && b.header.LastOffset() < offset; b, err = w.next() {
		expected, before = b.next(), b.size
	}
	// A batch has an entry if more than the interval lies between it and the batch of the entry before. So the
	// batch that was found and the one before it may be of any size, and what the walk went over besides may not.
	if gap := w.pos - pos - b.size - before; gap > indexGap && gap > 8*int64(s.log.options.Load().IndexIntervalBytes) {
		s.distrust(fmt.Errorf("no entry within %d bytes before offset %d", gap, offset))
	}
	if err != nil {
		defer w.close()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %d", errMissing, offset)
		}
		return nil, batchAt{}, s.damaged(w.pos, expected, err)
	}
	return w, b, nil
}

// indexGap is how much may lie between the entries of an index, large batches aside, before it is taken for incomplete: the
// interval may have been larger when they were made.
const indexGap = 256 << 10

// misplaced is the error of an index entry that does not fit the data.
func (s *segment) misplaced(e offsetEntry) error {
	return fmt.Errorf("no batch that ends with offset %d at position %d", s.base+int64(e.rel), e.pos)
}

// distrust puts the segment's index aside and asks the background to make it anew.
func (s *segment) distrust(why error) {
	s.mu.Lock()
	before := s.index.broken || s.gone // whose files another segment may have by now
	s.index.broken = true
	s.mu.Unlock()
	if before || s.log.closed.Load() {
		return
	}
	s.log.dir.metrics.indexRebuilds.Inc()
	s.log.dir.logger.Warn("index cannot be relied upon; it is made anew", "segment", s.path(indexSuffix), "reason", why)
	s.log.broken.Store(true)
	s.log.dir.checkpoints.note(s.log)
}

// damaged is the error of data that is not what was written, or could not be read.
func (s *segment) damaged(pos, offset int64, err error) error {
	if !notBatch(err) {
		return s.log.readFailed(s.path(logSuffix), err)
	}
	return &CorruptionError{Path: s.path(logSuffix), Position: pos, Offset: offset, Err: err}
}

// notBatch tells an error that says what stands in a file from one of reading it.
func notBatch(err error) bool {
	return errors.Is(err, errTorn) || errors.Is(err, errMissing) || errors.Is(err, record.ErrCorrupt) || errors.Is(err, record.ErrUnsupportedMagic)
}
