package storage

import (
	"errors"
	"fmt"
	"io"

	"github.com/chronik-stream/chronik/internal/record"
)

// TimestampOffset is a record found by its timestamp; Offset is -1 if there is none.
type TimestampOffset struct {
	Offset      int64
	Timestamp   int64
	LeaderEpoch int32
}

// decompressLimit bounds what a batch that is searched for a timestamp may unpack to.
const decompressLimit = 64 << 20

var noTimestamp = TimestampOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}

// OffsetForTime returns the first record whose timestamp is ts or later.
func (l *Log) OffsetForTime(ts int64) (TimestampOffset, error) {
	return l.retryMoved(func(segments []*segment, start int64) (TimestampOffset, error) {
		for _, s := range segments {
			greatest, err := s.greatestTimestamp()
			if err != nil {
				return noTimestamp, err
			}
			if greatest.ts < ts {
				continue
			}
			if found, err := s.offsetForTime(ts, start); err != nil || found.Offset >= 0 {
				return found, err
			}
		}
		return noTimestamp, nil
	})
}

// MaxTimestampOffset returns the first record with the greatest timestamp of the log.
func (l *Log) MaxTimestampOffset() (TimestampOffset, error) {
	return l.retryMoved(func(segments []*segment, start int64) (TimestampOffset, error) {
		var best *segment
		most := timeEntry{ts: -1}
		for _, s := range segments {
			greatest, err := s.greatestTimestamp()
			if err != nil {
				return noTimestamp, err
			}
			if greatest.ts >= 0 && s.base+int64(greatest.rel) < start { // it was trimmed off
				if greatest, err = s.walkGreatest(start); err != nil {
					return noTimestamp, err
				}
			}
			if greatest.ts > most.ts {
				most, best = greatest, s
			}
		}
		if best == nil {
			return noTimestamp, nil
		}
		return best.offsetForTime(most.ts, start)
	})
}

// retryMoved repeats a search whose segments were truncated or dropped meanwhile.
func (l *Log) retryMoved(search func(segments []*segment, start int64) (TimestampOffset, error)) (TimestampOffset, error) {
	for {
		truncations, segments := l.truncations.Load(), l.segments.Load()
		found, err := search(*segments, l.start.Load())
		switch {
		case err == nil:
			return found, nil
		case l.closed.Load():
			return noTimestamp, ErrClosed
		case l.truncations.Load() == truncations && l.segments.Load() == segments:
			return noTimestamp, err
		}
	}
}

// offsetForTime returns the segment's first record at or above start whose timestamp is ts or later.
func (s *segment) offsetForTime(ts, start int64) (TimestampOffset, error) {
	h, err := s.acquire()
	if err != nil {
		return noTimestamp, s.openFailed(err)
	}
	defer h.release()
	s.mu.Lock()
	size, end, view := s.size, s.end, s.index.view()
	s.mu.Unlock()
	from := max(start, s.base)
	if from >= end {
		return noTimestamp, nil
	}
	if e, ok := s.findTime(ts); ok {
		if at, err := s.checkTime(h, view, size, e); err != nil {
			s.distrust(err)
		} else {
			from = max(from, at)
		}
	}
	w, b, err := s.seek(h, view, size, from)
	if err != nil {
		return noTimestamp, err
	}
	defer w.close()
	for ; err == nil; b, err = w.next() {
		if greatestOf(b.header) < ts {
			continue
		}
		found, err := s.firstRecord(w, &b, ts, start)
		if err != nil || found.Offset >= 0 {
			return found, err
		}
	}
	if errors.Is(err, io.EOF) {
		return noTimestamp, nil
	}
	return noTimestamp, s.damaged(w.pos, from, err)
}

// findTime returns the last entry of the time index with a timestamp at or below ts: the records
// before its batch are all older than that. An index that cannot be read has none.
func (s *segment) findTime(ts int64) (timeEntry, bool) {
	s.mu.Lock()
	pending, n, broken := s.index.times, s.index.nTime, s.index.broken
	s.mu.Unlock()
	if broken {
		return timeEntry{}, false
	}
	for i := len(pending) - 1; i >= 0; i-- {
		if pending[i].ts <= ts {
			return pending[i], true
		}
	}
	if n == 0 {
		return timeEntry{}, false
	}
	f, err := s.log.dir.fs.Open(s.path(timeIndexSuffix))
	if err != nil {
		return timeEntry{}, false
	}
	defer f.Close()
	var found timeEntry
	low, high := 0, n // all below low are at or below ts, all from high on are above
	for low < high {
		mid := (low + high) / 2
		e, err := readTimeEntries(f, mid, 1)
		if err != nil {
			return timeEntry{}, false
		}
		if e[0].ts <= ts {
			found, low = e[0], mid+1
		} else {
			high = mid
		}
	}
	return found, low > 0
}

// checkTime tells whether an entry of the time index fits the data, and the last offset of its batch.
func (s *segment) checkTime(f io.ReaderAt, v indexView, size int64, e timeEntry) (int64, error) {
	at := s.base + int64(e.rel)
	w, b, err := s.seek(f, v, size, at)
	if err != nil {
		return 0, fmt.Errorf("time index: offset %d: %w", at, err)
	}
	defer w.close()
	if b.header.LastOffset() != at || greatestOf(b.header) != e.ts {
		return 0, fmt.Errorf("time index: no batch that ends with offset %d has timestamp %d", at, e.ts)
	}
	return at, nil
}

// greatestOf returns the greatest timestamp of a batch's records. A batch that compaction has emptied has its producer's last
// timestamp in the header, which is no record's.
func greatestOf(h record.Batch) int64 {
	if h.Count() == 0 {
		return record.NoTimestamp
	}
	return h.MaxTimestamp()
}

// firstRecord returns the first record of a batch at or above start whose timestamp is ts or later.
func (s *segment) firstRecord(w *scanner, at *batchAt, ts, start int64) (TimestampOffset, error) {
	b, err := w.whole(at)
	if err != nil {
		return noTimestamp, s.log.readFailed(s.path(logSuffix), err)
	}
	for r, err := range b.Records(decompressLimit) {
		if err != nil {
			return noTimestamp, fmt.Errorf("storage: search for a timestamp in the batch at offset %d of %s: %w", b.BaseOffset(), s.log.id, err)
		}
		offset, t := b.BaseOffset()+int64(r.OffsetDelta), b.Timestamp(r)
		if t >= ts && offset >= start {
			return TimestampOffset{Offset: offset, Timestamp: t, LeaderEpoch: b.LeaderEpoch()}, nil
		}
	}
	return noTimestamp, nil
}

// greatestTimestamp returns the greatest timestamp of the segment and the last offset of the first
// batch that has it. Of a sealed segment the last entry of the time index tells it; the first time
// that is checked, and the headers of the batches behind it are read: none may be greater.
func (s *segment) greatestTimestamp() (timeEntry, error) {
	s.mu.Lock()
	known, greatest, nTime, size, view := s.index.maxKnown, s.index.maxTime, s.index.nTime, s.size, s.index.view()
	s.mu.Unlock()
	if known || size == 0 {
		return greatest, nil
	}
	greatest, err := s.lastTimeEntry(nTime, view, size)
	if err != nil {
		greatest = timeEntry{ts: record.NoTimestamp, rel: -1}
	}
	more, err := s.walkGreatest(s.base + int64(greatest.rel) + 1)
	if err != nil {
		return greatest, err
	}
	if more.ts > greatest.ts {
		s.distrust(fmt.Errorf("time index: timestamp %d at offset %d is missing", more.ts, s.base+int64(more.rel)))
		greatest = more
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.index.maxKnown {
		s.index.maxKnown, s.index.maxTime = true, greatest
	}
	return s.index.maxTime, nil
}

// lastTimeEntry reads the last entry of a sealed segment's time index and checks it against the data.
func (s *segment) lastTimeEntry(n int, v indexView, size int64) (timeEntry, error) {
	if n == 0 {
		return timeEntry{}, io.EOF
	}
	f, err := s.log.dir.fs.Open(s.path(timeIndexSuffix))
	if err != nil {
		return timeEntry{}, err
	}
	defer f.Close()
	last, err := readTimeEntries(f, n-1, 1)
	if err != nil {
		return timeEntry{}, err
	}
	h, err := s.acquire()
	if err != nil {
		return timeEntry{}, err
	}
	defer h.release()
	if _, err = s.checkTime(h, v, size, last[0]); err != nil {
		s.distrust(err)
	}
	return last[0], err
}

// walkGreatest finds the greatest timestamp of the batches that end at or above start in their headers.
func (s *segment) walkGreatest(start int64) (timeEntry, error) {
	greatest := timeEntry{ts: record.NoTimestamp}
	h, err := s.acquire()
	if err != nil {
		return greatest, s.openFailed(err)
	}
	defer h.release()
	s.mu.Lock()
	size, end, view := s.size, s.end, s.index.view()
	s.mu.Unlock()
	if start >= end {
		return greatest, nil
	}
	w, b, err := s.seek(h, view, size, start)
	if err != nil {
		return greatest, err
	}
	defer w.close()
	for ; err == nil; b, err = w.next() {
		if ts := greatestOf(b.header); ts > greatest.ts {
			greatest = timeEntry{ts: ts, rel: int32(b.header.LastOffset() - s.base)}
		}
	}
	if !errors.Is(err, io.EOF) {
		return greatest, s.damaged(w.pos, s.base, err)
	}
	return greatest, nil
}
