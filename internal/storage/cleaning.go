package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/record"
)

// errLogChanged: the log was truncated, or lost segments to retention, while it was being cleaned.
var errLogChanged = errors.New("storage: the log has changed while it was being cleaned")

// cleaning is one pass over a log.
type cleaning struct {
	*cleaner
	ctx       context.Context //nolint:containedctx // of the pass, which has one life
	log       *Log
	plan      *cleaningPlan
	compactor record.Compactor
	source    batchReader
	out       []byte // what is to be written next

	end     int64 // the pass knows all records below
	last    *offsetMap
	aborted map[int64][]offsetRange // transactions by producer id
	windows map[int64]*producer     // the producers' state at the end of the dirty part

	// transacted holds the producers of whose transaction, at this place of the log, data stays.
	transacted map[int64]bool

	batch record.Batch // the one that keep decides about
	gone  bool         // its records go, whatever their keys

	read, wrote, removed int64
}

// offsetRange is a range of offsets, both ends in it.
type offsetRange struct{ first, last int64 }

// prepare reads the dirty part: first its headers, which tell how large the map must be and which transactions were
// aborted, then its records.
func (r *cleaning) prepare() error {
	if err := r.findWindows(); err != nil {
		return r.failed(err)
	}
	records, err := r.scanHeaders()
	if err != nil {
		return err
	}
	r.last = newOffsetMap(records, r.o.DedupeBytes, r.o.LoadFactor)
	for i, s := range r.plan.segments {
		if r.plan.bases[i+1] <= r.plan.from {
			continue
		}
		full, err := r.mapSegment(s)
		if err != nil || full {
			return err
		}
	}
	return nil
}

// findWindows finds out which batches retries are told from, as of the end of the dirty part: what follows there may yet be
// truncated, and then these are the last ones again. Producers that the log has forgotten have none.
func (r *cleaning) findWindows() error {
	l := r.log
	l.mu.Lock()
	none := len(l.producers.byID) == 0
	l.mu.Unlock()
	if none {
		return nil
	}
	l.beginMaint()
	defer l.endMaint()
	if r.changed() {
		return errLogChanged
	}
	state, err := l.producersAt(r.plan.to)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(state.byID, func(id int64, _ *producer) bool { return l.producers.byID[id] == nil })
	r.windows = state.byID
	return nil
}

// scanHeaders counts the records of the dirty part and finds the transactions in it that were aborted. Their
// markers may lie behind it.
func (r *cleaning) scanHeaders() (records int64, err error) {
	r.aborted, r.transacted = map[int64][]offsetRange{}, map[int64]bool{}
	open := map[int64]int64{} // first offsets
	visit := func(b *batchAt, w *scanner) error {
		h := b.header
		if h.BaseOffset() < r.plan.to {
			records += int64(h.Count())
		}
		if !h.IsTransactional() {
			return nil
		}
		id := h.ProducerID()
		first, ongoing := open[id]
		if !h.IsControl() {
			if !ongoing && h.BaseOffset() < r.plan.to {
				open[id] = h.BaseOffset()
			}
			return nil
		}
		delete(open, id)
		whole, err := w.whole(b)
		if err != nil {
			return err
		}
		if m, err := parseMarker(whole); err != nil || m.commit || !ongoing {
			return err
		}
		r.aborted[id] = append(r.aborted[id], offsetRange{first: first, last: whole.BaseOffset()})
		return nil
	}
	for _, s := range *r.log.segments.Load() {
		if s.base >= r.plan.to && len(open) == 0 {
			break
		}
		if err := s.walk(r.plan.from, math.MaxInt64, visit); err != nil {
			return 0, r.failed(err)
		}
	}
	return records, nil
}

// failed is the cause of an error: if the log has changed meanwhile, that is.
func (r *cleaning) failed(err error) error {
	if r.changed() {
		return errLogChanged
	}
	return err
}

// changed tells whether what the pass knows of the log does not hold any more.
func (r *cleaning) changed() bool {
	return r.log.Err() != nil || r.log.truncations.Load() != r.plan.truncations
}

// mapSegment enters the records of a segment into the map. If that is full the pass ends before the record that has no room.
func (r *cleaning) mapSegment(s *segment) (full bool, err error) {
	err = r.eachBatch(s, func(b record.Batch, _ bool) error {
		if b.LastOffset() < r.plan.from || b.IsControl() || r.isAborted(b) {
			return nil
		}
		return b.Walk(decompressLimit, func(rec record.Record) error {
			offset := b.BaseOffset() + int64(rec.OffsetDelta)
			if rec.Key == nil || offset < r.plan.from || r.last.put(rec.Key, offset) {
				return nil
			}
			if !invariant.Mutant("cleaner-full-map") {
				r.end = offset
			}
			return errMapFull
		})
	})
	if errors.Is(err, errMapFull) {
		return true, nil
	}
	return false, err
}

// errMapFull ends a walk.
var errMapFull = errors.New("storage: the offset map is full")

// isAborted tells whether a batch holds data of a transaction that was aborted.
func (r *cleaning) isAborted(b record.Batch) bool {
	if !b.IsTransactional() || b.IsControl() {
		return false
	}
	for _, t := range r.aborted[b.ProducerID()] {
		if t.first <= b.BaseOffset() && b.BaseOffset() <= t.last {
			return true
		}
	}
	return false
}

// eachBatch calls visit with the batches of a segment, checked, and tells which is the last.
func (r *cleaning) eachBatch(s *segment, visit func(b record.Batch, last bool) error) error {
	h, err := s.acquire()
	if err != nil {
		return r.failed(s.openFailed(err))
	}
	defer h.release()
	size, _ := s.extent()
	r.source.reset(h, size, r.o.BufferBytes/2)
	for {
		pos := r.source.pos
		b, err := r.source.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.failed(s.damaged(pos, s.base, err))
		}
		if r.changed() {
			return errLogChanged
		}
		if err := r.throttle.take(r.ctx, len(b)); err != nil {
			return err
		}
		if err := visit(b, r.source.pos == size); err != nil {
			return err
		}
	}
}

// batchReader reads a segment file batch by batch and checks each.
type batchReader struct {
	file   io.ReaderAt
	pos    int64 // of the next batch
	size   int64
	buf    []byte
	held   []byte // the part of it that holds bytes of the file, from heldAt
	heldAt int64
}

func (r *batchReader) reset(file io.ReaderAt, size int64, buffer int) {
	if len(r.buf) < buffer {
		r.buf = make([]byte, buffer)
	}
	r.file, r.size, r.pos, r.held = file, size, 0, nil
}

// next returns the next batch, which is good until the next call; io.EOF at the end.
func (r *batchReader) next() (record.Batch, error) {
	if r.pos == r.size {
		return nil, io.EOF
	}
	p, err := r.bytes(record.HeaderSize)
	if err != nil {
		return nil, err
	}
	n, err := record.Size(p)
	if err != nil {
		return nil, err
	}
	if p, err = r.bytes(n); err != nil {
		return nil, err
	}
	b := record.Batch(p)
	if err := b.Check(); err != nil {
		return nil, err
	}
	r.pos += int64(n)
	return b, nil
}

// bytes returns the n bytes at pos.
func (r *batchReader) bytes(n int) ([]byte, error) {
	if int64(n) > r.size-r.pos {
		return nil, errTorn
	}
	if i := r.pos - r.heldAt; r.held != nil && i >= 0 && i+int64(n) <= int64(len(r.held)) {
		return r.held[i : i+int64(n)], nil
	}
	if n > len(r.buf) {
		r.buf = make([]byte, n)
	}
	p := r.buf[:min(int64(len(r.buf)), r.size-r.pos)]
	r.held = nil
	if err := readFull(r.file, p, r.pos); err != nil {
		return nil, err
	}
	r.held, r.heldAt = p, r.pos
	return p[:n], nil
}

// rewrite writes the segments up to the end of the pass anew, the oldest first, and replaces them group by group. So a
// tombstone is never the first to go: when a group is replaced, no record that lies before it is older than the pass knows.
func (r *cleaning) rewrite() error {
	p := r.plan
	for i := 0; i < len(p.segments) && p.bases[i] < r.end; {
		s, n, err := r.writeGroup(i)
		if err == nil {
			err = r.replace(p.segments[i:i+n], s)
		}
		if err != nil {
			return err
		}
		i += n
	}
	return nil
}

// fits tells whether the i-th segment may become one with those before it from the first on, of which s holds what is left.
func (r *cleaning) fits(s *segment, first, i int) bool {
	p := r.plan
	if i == len(p.segments) || p.bases[i] >= r.end || p.bases[i+1]-p.bases[first] > math.MaxInt32 {
		return false
	}
	next := p.segments[i]
	next.mu.Lock()
	defer next.mu.Unlock()
	offsets := len(s.index.offsets) + next.index.nOffset + len(next.index.offsets)
	times := len(s.index.times) + next.index.nTime + len(next.index.times)
	limit := int(p.options.SegmentIndexBytes)
	return s.size+next.size <= int64(p.options.SegmentBytes) && offsets*offsetEntrySize <= limit && times*timeEntrySize <= limit
}

// writeGroup writes what is to be left of n segments, from the i-th on, into one new file, durably: of as many as fit.
func (r *cleaning) writeGroup(i int) (s *segment, n int, err error) {
	l, p := r.log, r.plan
	s = newSegment(l, p.bases[i])
	name := s.path(logSuffix) + cleanedSuffix
	f, err := l.dir.fs.Create(name)
	if err != nil {
		return nil, 0, r.failed(fmt.Errorf("storage: clean %s: %w", l.id, err))
	}
	h := newHandle(f, 1)
	r.out = r.out[:0]
	at := int64(0)
	for more := true; more && err == nil; n++ {
		more = false
		err = r.eachBatch(p.segments[i+n], func(b record.Batch, last bool) error {
			r.read += int64(len(b))
			more = last && r.fits(s, i, i+n+1)
			if err := r.take(s, b, last && !more); err != nil {
				return err
			}
			if len(r.out) >= r.o.BufferBytes/2 {
				return r.flush(f, &at)
			}
			return nil
		})
	}
	if err == nil {
		err = r.flush(f, &at)
	}
	if err == nil && !invariant.Mutant("cleaner-skip-sync-cleaned") {
		err = f.Datasync()
	}
	if err != nil {
		h.release()
		_ = l.dir.fs.Remove(name)
		return nil, 0, r.failed(fmt.Errorf("storage: clean %s: %w", l.id, err))
	}
	s.index.addTime()
	s.end, s.synced, s.open = p.bases[i+n], s.size, h
	return s, n, nil
}

// flush writes what was gathered.
func (r *cleaning) flush(f io.WriterAt, at *int64) error {
	if len(r.out) == 0 {
		return nil
	}
	if err := r.throttle.take(r.ctx, len(r.out)); err != nil {
		return err
	}
	if _, err := f.WriteAt(r.out, *at); err != nil {
		return err
	}
	*at += int64(len(r.out))
	r.wrote += int64(len(r.out))
	r.dir.metrics.cleanerWrote.Add(float64(len(r.out)))
	r.out = r.out[:0]
	return nil
}

// take adds what is left of a batch to the new segment. The last batch of a group stays, if need be without
// records: so the file tells up to where it reaches, and recovery, which segments it replaces.
func (r *cleaning) take(s *segment, b record.Batch, last bool) error {
	before := len(r.out)
	fate := r.fate(b)
	fate.Empty = last || r.holdsWindow(b)
	var left record.Left
	var err error
	if r.out, left, err = r.compactor.Append(r.out, b, fate); err != nil {
		return err
	}
	if b.IsTransactional() && !b.IsControl() && left.Records > 0 {
		r.transacted[b.ProducerID()] = true
	}
	r.removed += int64(b.Count() - left.Records)
	r.dir.metrics.cleanerRead.Add(float64(len(b)))
	r.dir.metrics.cleanerRemoved.Add(float64(b.Count() - left.Records))
	if len(r.out) == before {
		return nil
	}
	n := record.Batch(r.out[before:])
	if s.size+int64(len(n)) > math.MaxInt32 && s.size > 0 {
		return fmt.Errorf("storage: clean %s: the segment at %d would outgrow the positions of its index", r.log.id, s.base)
	}
	s.entered(n, int64(len(n)), int64(r.plan.options.IndexIntervalBytes))
	return nil
}

// fate decides about a batch.
func (r *cleaning) fate(b record.Batch) record.Fate {
	r.batch, r.gone = b, false
	f := record.Fate{Keep: r.keep, Horizon: record.NoTimestamp}
	if b.LastOffset() >= r.end {
		return f // the pass does not know all that is in it: it gets its horizon in the next one
	}
	f.Horizon = r.plan.now + min(r.plan.options.DeleteRetentionMillis, math.MaxInt64-r.plan.now)
	if b.IsControl() {
		id := b.ProducerID()
		f.Marker = !r.transacted[id]
		delete(r.transacted, id)
		r.gone = f.Marker && b.HasDeleteHorizon() && b.BaseTimestamp() <= r.plan.now
		return f
	}
	r.gone = r.isAborted(b)
	return f
}

// keep decides about a record of r.batch.
func (r *cleaning) keep(rec record.Record) bool {
	b := r.batch
	offset := b.BaseOffset() + int64(rec.OffsetDelta)
	switch {
	case offset >= r.end:
		return true
	case r.gone:
		return false
	case b.IsControl():
		return true
	case rec.Key == nil: // of a time when the topic was not compacted
		return false
	case rec.Value == nil && (b.HasDeleteHorizon() && b.BaseTimestamp() <= r.plan.now || invariant.Mutant("cleaner-tombstones-early")):
		return false
	}
	return !r.last.superseded(rec.Key, offset)
}

// holdsWindow tells whether a producer's state, which is a fold of the log, needs the header of the batch: it is one of
// the last that retries are told from, or the marker that has its epoch.
func (r *cleaning) holdsWindow(b record.Batch) bool {
	if !b.HasProducerID() || invariant.Mutant("cleaner-forget-producers") {
		return false
	}
	p := r.windows[b.ProducerID()]
	if p == nil || p.epoch != b.ProducerEpoch() {
		return false
	}
	if b.IsControl() {
		return true
	}
	for i := range p.batches[:p.n] {
		if p.batches[i].lastOffset == b.LastOffset() {
			return true
		}
	}
	return false
}
