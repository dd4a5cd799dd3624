package storage

import (
	"errors"
	"io"
	"slices"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// This file brings indexes in step with the data: after a start, a truncation, or damage.

// loadIndex makes the fields of the active segment's index known that a clean start has left out.
// If the files do not fit the data they are made anew; if that fails, because the data is damaged,
// appends go on without an index of what was before. The caller holds the log's lock.
func (s *segment) loadIndex() {
	if s.index.known {
		return
	}
	h, err := s.acquire()
	if err == nil {
		err = s.reindex(h)
		h.release()
	}
	if err == nil {
		return
	}
	s.distrust(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := newIndex()
	x.maxTime, x.broken = s.index.maxTime, true
	s.index = x
}

// reindex takes from the index files what fits the segment as it is now, up to its size, and
// walks from the last entry on to make the rest. Nobody else may touch the index meanwhile.
func (s *segment) reindex(f io.ReaderAt) error {
	s.mu.Lock()
	size, end := s.size, s.end
	offsets, times := slices.Clone(s.index.offsets), slices.Clone(s.index.times)
	nOffset, nTime := s.index.nOffset, s.index.nTime
	nOffsetDurable, nTimeDurable := s.index.nOffsetDurable, s.index.nTimeDurable
	s.mu.Unlock()

	written, err := s.readIndexFiles(nOffset, nTime)
	if err == nil {
		offsets, times = append(written.offsets, offsets...), append(written.times, times...)
		err = s.checkIndex(f, &offsets, &times, size, end-s.base)
	}
	x := newIndex()
	if err != nil {
		s.log.dir.metrics.indexRebuilds.Inc()
		s.log.dir.logger.Warn("index does not fit the data; it is made anew", "segment", s.path(indexSuffix), "reason", err)
		offsets, times = nil, nil
	}
	x.nOffset, x.nTime = min(nOffset, len(offsets)), min(nTime, len(times))
	x.offsets, x.times = offsets[x.nOffset:], times[x.nTime:]
	x.nOffsetDurable, x.nTimeDurable = min(nOffsetDurable, x.nOffset), min(nTimeDurable, x.nTime)
	x.nOffsetSynced, x.nTimeSynced = x.nOffsetDurable, x.nTimeDurable
	if n := len(times); n > 0 {
		x.maxTime, x.lastTime = times[n-1], times[n-1].ts
	}
	var from int64
	if n := len(offsets); n > 0 {
		from = int64(offsets[n-1].pos)
	}
	if err := s.walkIndex(f, &x, from, size); err != nil {
		return err
	}
	s.mu.Lock()
	s.index = x
	s.mu.Unlock()
	return nil
}

// walkIndex adds the batches from the one at from, which is that of the last entry or the first
// of the segment, up to the position to.
func (s *segment) walkIndex(f io.ReaderAt, x *index, from, to int64) error {
	interval := int64(s.log.options.Load().IndexIntervalBytes)
	w := newScanner(f, from, to, false)
	defer w.close()
	entered := len(x.offsets)+x.nOffset > 0
	for {
		b, err := w.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s.damaged(w.pos, s.base, err)
		}
		rel := int32(b.header.LastOffset() - s.base)
		if entered && b.pos == from { // it has its entry
			if ts := greatestOf(b.header); ts > x.maxTime.ts {
				x.maxTime = timeEntry{ts: ts, rel: rel}
			}
			x.since = b.size
			continue
		}
		x.add(interval, rel, int32(b.pos), int(b.size), greatestOf(b.header))
	}
}

// indexFiles is the content of a segment's two index files.
type indexFiles struct {
	offsets []offsetEntry
	times   []timeEntry
}

// readIndexFiles reads the given numbers of entries.
func (s *segment) readIndexFiles(nOffset, nTime int) (files indexFiles, err error) {
	read := func(suffix string, n int, f func(f vfs.File) error) {
		if n == 0 || err != nil {
			return
		}
		var file vfs.File
		if file, err = s.log.dir.fs.Open(s.path(suffix)); err != nil {
			return
		}
		defer file.Close()
		err = f(file)
	}
	read(indexSuffix, nOffset, func(f vfs.File) (err error) { files.offsets, err = readOffsetEntries(f, 0, nOffset); return err })
	read(timeIndexSuffix, nTime, func(f vfs.File) (err error) { files.times, err = readTimeEntries(f, 0, nTime); return err })
	return files, err
}

// checkIndex cuts the entries to those of a segment of size bytes that ends at offset rel, and
// tells why the rest cannot be its index.
func (s *segment) checkIndex(f io.ReaderAt, offsets *[]offsetEntry, times *[]timeEntry, size, rel int64) error {
	o, t := *offsets, *times
	for len(o) > 0 && (int64(o[len(o)-1].pos) >= size || int64(o[len(o)-1].rel) >= rel) {
		o = o[:len(o)-1]
	}
	last := int32(-1) // a time entry is made together with an offset entry, and not after it
	if len(o) > 0 {
		last = o[len(o)-1].rel
	}
	for len(t) > 0 && t[len(t)-1].rel > last {
		t = t[:len(t)-1]
	}
	*offsets, *times = o, t
	if err := checkOffsetEntries(o, rel, size); err != nil {
		return err
	}
	if err := checkTimeEntries(t, rel); err != nil {
		return err
	}
	if len(o) == 0 {
		return nil
	}
	e := o[len(o)-1]
	w := newScanner(f, int64(e.pos), size, false)
	defer w.close()
	if b, err := w.next(); err != nil || b.header.LastOffset() != s.base+int64(e.rel) {
		return s.misplaced(e)
	}
	return nil
}

// rebuildBroken makes the indexes anew that a look-up has found wrong. The caller holds maint.
func (l *Log) rebuildBroken() {
	for _, s := range *l.segments.Load() {
		s.mu.Lock()
		broken := s.index.broken
		s.mu.Unlock()
		if !broken {
			continue
		}
		if err := s.rebuildIndex(); err != nil {
			l.dir.logger.Warn("index could not be made anew; look-ups in the segment are slow", "segment", s.path(logSuffix), "error", err)
		}
	}
}

// rebuildIndex walks the segment and replaces its indexes. An active segment grows meanwhile: the
// rest is walked under the log's lock.
func (s *segment) rebuildIndex() error {
	h, err := s.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	x := newIndex()
	size, _ := s.extent()
	if err := s.walkIndex(h, &x, 0, size); err != nil {
		return err
	}
	s.log.mu.Lock()
	now, _ := s.extent()
	if now > size {
		err = s.walkMore(h, &x, size, now)
	}
	sealed := s != s.log.active()
	if sealed {
		x.addTime()
	}
	if err == nil {
		s.mu.Lock()
		s.index = x
		s.mu.Unlock()
	}
	s.log.mu.Unlock()
	if err != nil || !sealed {
		return err
	}
	return s.writeIndex(true)
}

// walkMore adds the batches from position from on, none of which is in the index.
func (s *segment) walkMore(f io.ReaderAt, x *index, from, to int64) error {
	interval := int64(s.log.options.Load().IndexIntervalBytes)
	w := newScanner(f, from, to, false)
	defer w.close()
	for {
		b, err := w.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s.damaged(w.pos, s.base, err)
		}
		x.add(interval, int32(b.header.LastOffset()-s.base), int32(b.pos), int(b.size), greatestOf(b.header))
	}
}
