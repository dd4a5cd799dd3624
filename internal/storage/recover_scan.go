package storage

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// errDropping: segments below the start of the log are missing or not whole. What was trimmed off is
// not flushed any more.
var errDropping = errors.New("retention was about to remove segments")

// scan opens a log whose last stop was not clean. Segments that lie below the start, because the
// stop came before they were removed, are gone through like the others if they are all there:
// the producer state may depend on them. If some have gone already, the producer state behind them
// was written before, and the rest goes first.
func (r *recovery) scan() error {
	l := r.log
	start := r.entry.start // 0 for a log that is newer than the recovery points
	if l.dir.distrust && len(r.files) > 0 {
		start = r.files[0].base
	}
	l.start.Store(start)
	for r.known && len(r.files) > 1 && r.files[1].base <= min(start, r.entry.point.base) { // passed over by the recovery point, too
		r.drop(r.files[0])
		r.files = r.files[1:]
	}
	err := r.scanAll(start)
	if errors.Is(err, errDropping) {
		r.dropBelow(start)
		for _, s := range *l.segments.Load() {
			s.retire()
		}
		l.sealed, l.snapshots, r.epochs, l.epochsCut, r.above = nil, nil, nil, false, nil
		err = r.scanAll(start)
	}
	if err != nil {
		return r.partly(err)
	}
	return nil
}

// dropBelow removes segments that retention was about to remove: those before the last one, at or
// below the start, for which it had written the producer state. If there is none it had not
// begun: the segments that are missing were not flushed, so neither were those that are there.
func (r *recovery) dropBelow(start int64) {
	r.dropped = true
	keep := len(r.files)
	for i, f := range r.files {
		if f.base <= start && slices.Contains(r.snapshots, f.base) {
			keep = i
		}
	}
	for _, f := range r.files[:keep] {
		r.drop(f)
	}
	r.files = r.files[keep:]
}

// mayDrop tells whether there is a segment that retention could have been about to remove.
func (r *recovery) mayDrop(start int64) bool {
	return !r.dropped && len(r.files) > 1 && r.files[1].base <= start
}

// scanAll does one pass over the log.
func (r *recovery) scanAll(start int64) error {
	first, from, err := r.begin(start)
	if err == nil && r.entry.snapshot && !slices.Contains(r.snapshots, r.entry.producers) && r.mayDrop(start) {
		err = errDropping
	}
	if err != nil {
		return err
	}
	if len(r.files) > 0 && r.files[0].base > start { // the first segment was not flushed, and is gone
		if err := r.cut(0, segmentFiles{base: start}, fmt.Errorf("%w: the first segment is missing", record.ErrCorrupt)); err != nil {
			return err
		}
	}
	if len(r.files) == 0 {
		r.above = r.snapshots
		r.log.beginAt(start)
		r.log.epochsCut = r.hasEpochs
		return r.finish(start)
	}
	if err := r.prepare(first, from); err != nil {
		return err
	}
	end, err := r.scanFrom(first, from, start)
	if err != nil {
		return err
	}
	return r.finish(end)
}

// begin finds the recovery point: the index of its segment, and the place in it.
func (r *recovery) begin(start int64) (int, point, error) {
	none := point{offset: start}
	if len(r.files) > 0 {
		none = point{offset: r.files[0].base, base: r.files[0].base}
	}
	p := r.entry.point
	if !r.known || p.offset <= start && p.pos == 0 && len(r.files) > 0 && p.base == r.files[0].base {
		return 0, none, nil
	}
	if p.offset > start && len(r.files) > 0 && r.files[0].base > start {
		return 0, p, r.lost(segmentFiles{base: start}, errors.New("the first segment is missing"))
	}
	for i, f := range r.files {
		if f.base != p.base {
			continue
		}
		if f.size < p.pos {
			return i, p, r.lost(f, fmt.Errorf("the file has %d bytes, %d were durable", f.size, p.pos))
		}
		return i, p, nil
	}
	if p.offset <= start {
		if !r.dropped && len(r.files) > 0 && r.files[0].base <= start {
			return 0, none, errDropping
		}
		return 0, none, nil
	}
	return 0, p, r.lost(segmentFiles{base: p.base}, errors.New("the file is missing"))
}

// lost is the error of durable data that is not there.
func (r *recovery) lost(f segmentFiles, why error) error {
	r.log.dir.metrics.corruptions.Inc()
	return &CorruptionError{
		Path: r.log.file(offsetName(f.base, logSuffix)), Position: f.size, Offset: f.base,
		Err: fmt.Errorf("records up to offset %d were durable: %w", r.entry.point.offset, why),
	}
}

// prepare sets up the segments below the recovery point and what the scan adds to: the producer
// state and the epochs as they were there.
func (r *recovery) prepare(first int, from point) error {
	l := r.log
	all := make([]*segment, 0, len(r.files))
	for i, f := range r.files[:first+1] {
		s := r.believed(f, from.offset)
		if i < first {
			s.end = r.files[i+1].base
		}
		all = append(all, s)
	}
	l.setSegments(all)
	for _, at := range r.snapshots { // above the recovery point they may tell of batches that are lost
		if at > from.offset {
			r.above = append(r.above, at)
		} else {
			l.snapshots = append(l.snapshots, at)
		}
	}
	l.noProducers = r.files[0].base
	if r.known && !r.entry.snapshot && r.entry.producers <= from.offset {
		l.noProducers = max(l.noProducers, r.entry.producers)
	}
	s := all[first]
	s.size, s.end = from.pos, from.offset
	s.index.believe(r.entry.nOffset, r.entry.nTime)
	h, err := s.acquire()
	if err != nil {
		return s.openFailed(err)
	}
	defer h.release()
	if err := s.reindex(h); err != nil {
		return err
	}
	if err := r.loadEpochs(from.offset); err != nil {
		return err
	}
	r.state, err = l.producersAt(from.offset)
	return err
}

// scanFrom reads what lies above the recovery point and returns the end of the log.
func (r *recovery) scanFrom(first int, from point, start int64) (int64, error) {
	l := r.log
	end := from.offset
	for i := first; i < len(r.files); i++ {
		f := r.files[i]
		pos := int64(0)
		if i == first {
			pos = from.pos
		} else {
			if f.base != end && f.base <= start && r.mayDrop(start) {
				return end, errDropping
			}
			if f.base != end {
				return end, r.cut(i, f, fmt.Errorf("%w: the segment begins at offset %d, the log before it ends at %d", record.ErrCorrupt, f.base, end))
			}
			sealing := l.active()
			sealing.index.addTime()
			l.sealed = append(l.sealed, sealed{segment: sealing, at: f.base, snapshot: r.state.encode()})
			l.setSegments(append(l.segmentsCopy(), newSegment(l, f.base)))
		}
		var bad error
		var err error
		if end, bad, err = r.scanSegment(l.active(), f, pos, end); err != nil {
			return end, err
		}
		if bad != nil {
			return end, r.cut(i+1, f, bad)
		}
	}
	return end, nil
}

// scanSegment makes the bytes of a segment from pos on durable and enters the batches that are
// intact and continue the log at the offset end. If there is a bad place it cuts the file there
// and says what was wrong.
func (r *recovery) scanSegment(s *segment, f segmentFiles, pos, end int64) (int64, error, error) {
	h, err := s.acquire()
	if err != nil {
		return end, nil, s.openFailed(err)
	}
	defer h.release()
	intact, err := r.settle(h, f, pos)
	if err != nil {
		return end, nil, err
	}
	w := newScanner(h, pos, f.size, !invariant.Mutant("storage-skip-crc"))
	defer w.close()
	interval := int64(r.log.options.Load().IndexIntervalBytes)
	for {
		b, err := w.next()
		if err == nil && b.header.BaseOffset() != end && !r.compactedAway(end, b.header.BaseOffset()) {
			w.pos, err = b.pos, fmt.Errorf("%w: base offset %d, expected %d", record.ErrCorrupt, b.header.BaseOffset(), end)
		}
		if errors.Is(err, io.EOF) {
			s.synced = s.size
			r.scanned += f.size - pos
			return end, nil, nil
		}
		if err != nil {
			r.scanned += f.size - pos
			if !notBatch(err) {
				return end, nil, s.log.readFailed(s.path(logSuffix), err)
			}
			if end < s.log.start.Load() && r.mayDrop(s.log.start.Load()) { // it was trimmed off, and need not have been flushed
				return end, nil, errDropping
			}
			if w.pos < intact { // it was good before it was read from the device: a flush has failed
				r.strict = false
			}
			return end, err, r.cutSegment(s, h, f, w.pos, end, err)
		}
		s.entered(b.header, b.size, interval)
		r.noteEpoch(b.header)
		next := b.next()
		if !invariant.Mutant("storage-forget-producers") {
			if err := r.state.replay(&b, w, end, r.log.dir.clock.NowMillis()); err != nil {
				return end, nil, err
			}
		}
		end = next
	}
}

// compactedAway tells whether compaction may have left the hole between two batches. That is only met where there are no
// recovery points to begin at. Otherwise compaction has never been above the recovery point; unless that went down
// for a truncation, which a crash has interrupted: then the rest was about to go, and the hole proves no damage.
func (r *recovery) compactedAway(end, base int64) bool {
	if base < end || r.log.cleanPoint.Load() < 0 {
		return false
	}
	if !r.log.dir.distrust {
		r.strict = false
		return false
	}
	return true
}

// settle makes durable what the dead process has written to a segment from pos on, or cut off, and
// may be in memory alone. If a flush of its failed, memory holds what the disk does not, and another
// flush would not tell: so what is intact is written once more, and all is read back from the
// device. It returns up to where it was intact.
func (r *recovery) settle(h *handle, f segmentFiles, pos int64) (intact int64, err error) {
	if r.warm {
		intact = scanIntact(h, pos, f.size)
		if err := rewrite(h, pos, intact); err != nil {
			return intact, fmt.Errorf("rewrite %s: %w", f.name(), err)
		}
	}
	if err := h.Datasync(); err != nil {
		return intact, fmt.Errorf("flush %s: %w", f.name(), err)
	}
	if f.size > pos {
		if err := vfs.DropCache(h.File, pos, f.size-pos); err != nil {
			return intact, fmt.Errorf("read back %s: %w", f.name(), err)
		}
	}
	return intact, nil
}

// rewrite writes the bytes of a file from pos to end as they are.
func rewrite(f vfs.File, pos, end int64) error {
	w := newScanner(f, pos, end, true) // for its buffer
	defer w.close()
	for pos < end {
		p := w.buffer[:min(int64(len(w.buffer)), end-pos)]
		if err := readFull(f, p, pos); err != nil {
			return err
		}
		if _, err := f.WriteAt(p, pos); err != nil {
			return err
		}
		pos += int64(len(p))
	}
	return nil
}

// scanIntact returns up to where the batches of a file from pos on are intact.
func scanIntact(f io.ReaderAt, pos, size int64) int64 {
	w := newScanner(f, pos, size, true)
	defer w.close()
	for {
		if _, err := w.next(); err != nil {
			return w.pos
		}
	}
}

func (f segmentFiles) name() string { return offsetName(f.base, logSuffix) }

// cutSegment ends a segment at a bad place, unless that is damage for sure.
func (r *recovery) cutSegment(s *segment, h *handle, f segmentFiles, pos, end int64, bad error) error {
	l := r.log
	at, base, followed := resync(h, pos+1, f.size, end)
	if followed && r.strict {
		l.dir.metrics.corruptions.Inc()
		return &CorruptionError{
			Path: s.path(logSuffix), Position: pos, Offset: end,
			Err: fmt.Errorf("%w; an intact batch follows at position %d (offset %d), so it was not the end of the log", bad, at, base),
		}
	}
	attrs := []any{"segment", s.path(logSuffix), "position", pos, "bytes", f.size - pos, "end", end, "reason", bad}
	if followed {
		attrs = append(attrs, "intact_batch_behind_at", at, "with_offset", base)
	}
	l.dir.logger.Warn("recovered: what follows the last intact batch was not flushed and is cut off", attrs...)
	l.dir.metrics.recoveryCut.Add(float64(f.size - pos))
	if err := h.Truncate(pos); err != nil {
		return fmt.Errorf("cut %s to %d: %w", f.name(), pos, err)
	}
	if err := h.Datasync(); err != nil {
		return fmt.Errorf("cut %s to %d: %w", f.name(), pos, err)
	}
	s.synced = pos
	return nil
}

// cut drops the segments from the i-th on, which do not continue the log. That they are there may
// be damage too: the end of the one before is missing.
func (r *recovery) cut(i int, before segmentFiles, bad error) error {
	l := r.log
	var bytes int64
	for _, f := range r.files[i:] {
		bytes += f.size
	}
	if r.strict && bytes > 0 {
		l.dir.metrics.corruptions.Inc()
		return &CorruptionError{
			Path: l.file(before.name()), Position: before.size, Offset: l.active().end,
			Err: fmt.Errorf("%w; the log goes on in later segments, so it was not its end", bad),
		}
	}
	for j := len(r.files) - 1; j >= i; j-- { // the newest first: what is left is a prefix
		l.dir.logger.Warn("recovered: a segment that does not continue the log was not flushed and is removed",
			"segment", l.file(r.files[j].name()), "bytes", r.files[j].size, "end", l.active().end, "reason", bad)
		l.dir.metrics.recoveryCut.Add(float64(r.files[j].size))
		r.drop(r.files[j])
	}
	r.files = r.files[:i]
	return nil
}

// drop removes a segment's files.
func (r *recovery) drop(f segmentFiles) {
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
		r.remove(offsetName(f.base, suffix))
	}
}

// finish makes the recovered log ready; it ends at end.
func (r *recovery) finish(end int64) error {
	l := r.log
	for _, at := range r.above {
		r.remove(offsetName(at, snapshotSuffix))
	}
	start := l.start.Load()
	if end < start { // the start was raised into records that were not flushed
		for _, f := range r.files {
			r.drop(f)
		}
		r.files, r.epochs, l.sealed, end = nil, nil, nil, start
		for _, s := range *l.segments.Load() {
			s.retire()
		}
		l.beginAt(start)
		l.noProducers = start
	}
	active := l.active()
	size, _ := active.extent()
	from := l.recovery
	if r.known {
		from = r.entry.point
	}
	if len(r.files) > 0 {
		l.producers = r.state
	}
	r.opened(point{offset: end, base: active.base, pos: size})
	if len(l.sealed) > 0 || l.epochsCut || len(r.epochs) > 0 && r.epochs[len(r.epochs)-1].Epoch > l.savedEpoch {
		l.recovery = from // until tidy has written what is missing
	}
	// Names and partition.metadata may be in memory alone. Where they are not these calls are cheap.
	if err := l.syncFile(partitionName); err != nil {
		return fmt.Errorf("flush %s: %w", partitionName, err)
	}
	return l.dir.fs.SyncDir(l.dirPath())
}

// partly leaves a log that is damaged open for what can be read of it: the segments below the
// damage, and the intact part of the one that has it.
func (r *recovery) partly(err error) error {
	l := r.log
	active := l.active()
	size, end := active.extent()
	r.opened(point{offset: max(end, l.start.Load()), base: active.base, pos: size})
	if r.known {
		l.recovery = r.entry.point // as it was: what is promised does not change by being broken
	}
	return err
}
