package storage

import (
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// TruncateTo removes all records at and above offset, which must be where a batch begins, and
// returns when that is durable: else after a crash the old records could come back under offsets
// that others have got meanwhile. At the end of the log it removes leader epochs that begin there.
// No append may run beside it: it would meet ErrTruncating.
//
// The order of writes: first the recovery point goes down, so that recovery does not take the
// shorter log for a damaged one; then whole segments go, the newest first, so that what is left is
// always a prefix; then the one that holds the offset is cut.
func (l *Log) TruncateTo(offset int64) error {
	l.beginMaint()
	defer l.endMaint()
	return l.truncate(offset, false)
}

// TruncateFullyAndStartAt empties the log and lets it begin and go on at offset.
func (l *Log) TruncateFullyAndStartAt(offset int64) error {
	l.beginMaint()
	defer l.endMaint()
	return l.truncate(offset, true)
}

func (l *Log) truncate(offset int64, fully bool) error {
	cut, err := l.planTruncation(offset, fully)
	if err != nil || cut == nil {
		return err
	}
	if cut.lowered {
		if err := l.dir.checkpoints.save(true); err != nil {
			l.mu.Lock()
			l.truncating, l.recovery = false, cut.before
			l.mu.Unlock()
			return fmt.Errorf("%w: %s: lower the recovery point before a truncation: %w", ErrStorage, l.id, err)
		}
	}
	startMoved := l.beginTruncation(cut)
	if err = l.truncateFiles(cut); err == nil {
		err = l.restoreProducers(cut)
	}
	if err == nil && startMoved {
		err = l.dir.checkpoints.save(true)
		l.durableStart = cut.start
	}
	if err == nil {
		err = l.lowerCleanPoint(cut.offset)
	}
	if err != nil {
		return l.fence("truncate", err)
	}
	l.mu.Lock()
	l.truncating = false
	l.mu.Unlock()
	l.dir.checkpoints.note(l)
	return nil
}

// truncation is what a TruncateTo is going to do.
type truncation struct {
	offset int64
	start  int64 // of the log, afterwards
	keep   *segment
	pos    int64      // where keep is cut
	drop   []*segment // go as a whole, oldest first
	fresh  bool       // keep is a new, empty segment

	lowered bool       // the recovery point had to go down
	before  point      // it was here
	sync    []*segment // kept, and holding bytes no flush has covered
}

// planTruncation finds out what has to go, stops appends, and lowers the recovery point in memory.
// Nil if nothing has to.
func (l *Log) planTruncation(offset int64, fully bool) (*truncation, error) {
	segments := *l.segments.Load()
	cut := &truncation{offset: offset, start: min(l.start.Load(), offset), drop: slices.Clone(segments), fresh: true}
	if fully {
		cut.start = offset
	} else if offset >= l.end.Load() {
		return nil, l.cutEpochsAt(l.end.Load())
	}
	if i := findSegment(segments, offset); !fully && segments[i].base <= offset {
		cut.keep, cut.drop, cut.fresh = segments[i], slices.Clone(segments[i+1:]), false
		pos, err := cut.keep.positionOf(offset)
		if err != nil {
			return nil, err
		}
		cut.pos = pos
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return nil, err
	}
	l.truncating, cut.before = true, l.recovery
	switch {
	case cut.fresh: // nothing is promised until the new segment is there
		l.recovery, cut.lowered = point{offset: min(l.start.Load(), offset), base: segments[0].base}, true
	case l.recovery.offset > offset:
		l.recovery, cut.lowered = point{offset: offset, base: cut.keep.base, pos: cut.pos}, true
	}
	return cut, nil
}

// cutEpochsAt removes the epochs that begin at the end of the log.
func (l *Log) cutEpochsAt(end int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	l.setCutEpochsLocked(end)
	return nil
}

func (l *Log) setCutEpochsLocked(end int64) {
	all := cutEpochs(*l.epochs.Load(), end)
	if len(all) != len(*l.epochs.Load()) {
		l.epochs.Store(&all)
		l.epochsCut = true
	}
}

// positionOf returns where the batch begins whose base offset is offset.
func (s *segment) positionOf(offset int64) (int64, error) {
	s.mu.Lock()
	size, end, view := s.size, s.end, s.index.view()
	s.mu.Unlock()
	if offset >= end {
		return size, nil
	}
	h, err := s.acquire()
	if err != nil {
		return 0, s.openFailed(err)
	}
	defer h.release()
	w, b, err := s.seek(h, view, size, offset)
	if err != nil {
		return 0, err
	}
	defer w.close()
	if base := b.header.BaseOffset(); base < offset {
		return 0, fmt.Errorf("%w: truncation to %d, inside the batch from %d to %d", ErrNotContiguous, offset, base, b.next()-1)
	}
	return b.pos, nil
}

// beginTruncation takes what goes out of sight. It tells whether the start of the log has moved.
func (l *Log) beginTruncation(cut *truncation) (startMoved bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.truncations.Add(1)
	if cut.fresh {
		cut.keep = newSegment(l, cut.offset)
		cut.keep.missing = true
		l.filesMade++
		l.setSegments([]*segment{cut.keep})
	} else {
		l.setSegments(slices.Clone((*l.segments.Load())[:len(*l.segments.Load())-len(cut.drop)]))
		s := cut.keep
		s.mu.Lock()
		l.size.Add(cut.pos - s.size)
		s.size, s.end, s.tail = cut.pos, cut.offset, tail{}
		s.ends.clear()
		s.mu.Unlock()
	}
	l.end.Store(cut.offset)
	l.flushed.Store(min(l.flushed.Load(), cut.offset))
	startMoved = l.start.Swap(cut.start) != cut.start
	l.bound.Store(min(l.bound.Load(), cut.offset))
	l.setCutEpochsLocked(cut.offset)
	l.sealed = slices.DeleteFunc(l.sealed, func(s sealed) bool {
		return s.segment == cut.keep || slices.Contains(cut.drop, s.segment)
	})
	cut.sync = slices.DeleteFunc(l.unsynced, func(s *segment) bool { return slices.Contains(cut.drop, s) })
	l.unsynced, l.unflushed, l.records = nil, 0, 0
	l.begun = 0
	return startMoved
}

// truncateFiles does the work on the disk.
func (l *Log) truncateFiles(cut *truncation) error {
	slices.Reverse(cut.drop)
	if err := l.dropSegments(cut.drop, deletedByTruncation); err != nil {
		return err
	}
	s := cut.keep
	if cut.fresh {
		if err := l.makeFile(s); err != nil {
			return err
		}
	}
	if err := s.truncateFile(cut.pos); err != nil {
		return err
	}
	if err := l.syncKept(cut); err != nil {
		return err
	}
	l.mu.Lock()
	all, made := cutEpochs(*l.epochs.Load(), cut.offset), l.filesMade
	l.mu.Unlock()
	if err := replaceFile(l.dir.fs, l.file(epochsName), encodeEpochs(all)); err != nil {
		return err
	}
	if err := l.syncNames(); err != nil {
		return err
	}
	if l.dropSnapshots(func(at int64) bool { return cut.fresh || at > cut.offset }) {
		if err := l.syncNames(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.savedEpoch, l.epochsCut, l.newLog = l.LatestEpoch(), false, false
	l.filesSynced = made
	s.synced, s.reserved = cut.pos, 0
	l.durable = point{offset: cut.offset, base: s.base, pos: cut.pos}
	if cut.fresh {
		l.recovery, l.noProducers = l.durable, cut.offset
	}
	l.flushed.Store(cut.offset)
	return nil
}

// truncateFile cuts the segment's file and its indexes, durably.
func (s *segment) truncateFile(pos int64) error {
	h, err := s.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	if err := h.Truncate(pos); err != nil {
		return err
	}
	if !invariant.Mutant("storage-truncate-unsynced") {
		if err := h.Datasync(); err != nil {
			return err
		}
	}
	if err := s.reindex(h); err != nil {
		return err
	}
	return s.writeIndex(true)
}

// syncKept makes durable what is left and had not been flushed yet.
func (l *Log) syncKept(cut *truncation) error {
	for _, s := range cut.sync {
		h, err := s.acquire()
		if err != nil {
			return err
		}
		err = h.Datasync()
		h.release()
		if err != nil {
			return err
		}
		s.dirty.Store(false)
	}
	l.mu.Lock()
	newLog := l.newLog
	l.mu.Unlock()
	if !newLog {
		return nil
	}
	if err := l.syncFile(partitionName); err != nil {
		return err
	}
	return l.dir.fs.SyncDir(l.dir.path)
}

// makeFile makes the file of an empty segment.
func (l *Log) makeFile(s *segment) error {
	f, err := l.dir.fs.Create(s.path(logSuffix))
	if err != nil {
		return err
	}
	h, err := s.install(newHandle(f, 2))
	if err != nil {
		return err
	}
	h.release()
	s.missing = false
	return nil
}

// restoreProducers brings the producer state back to what it was at the cut.
func (l *Log) restoreProducers(cut *truncation) error {
	l.mu.Lock()
	unchanged := l.producers.lastOffset < cut.offset && !cut.fresh
	if l.noProducers > cut.offset {
		l.noProducers = (*l.segments.Load())[0].base
	}
	l.mu.Unlock()
	if unchanged {
		return nil
	}
	state := newProducers()
	if !cut.fresh {
		var err error
		if state, err = l.producersAt(cut.offset); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers = state
	return nil
}

// raiseStart raises the start offset; it never falls.
func (l *Log) raiseStart(offset int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset <= l.start.Load() {
		return false
	}
	l.start.Store(offset)
	return true
}

// dropBelowStart drops the sealed segments, and the leader epochs, that lie below the start, which is durable.
func (l *Log) dropBelowStart(reason string) error {
	l.mu.Lock()
	epochs := trimEpochs(*l.epochs.Load(), l.start.Load())
	l.epochs.Store(&epochs)
	segments := *l.segments.Load()
	start := l.start.Load()
	n := 0
	for n < len(segments)-1 && segments[n+1].base <= start {
		n++
	}
	if n == 0 || l.truncating {
		l.mu.Unlock()
		return nil
	}
	drop, first := segments[:n], segments[n].base
	var state []byte // of the producers at the new first segment, if nobody has written it yet
	for _, s := range l.sealed {
		if s.at == first {
			state = s.snapshot
		}
	}
	l.mu.Unlock()
	if state != nil {
		if err := l.writeSnapshot(first, state); err != nil {
			return fmt.Errorf("%w: %s: producer state at %d: %w", ErrStorage, l.id, first, err)
		}
	}
	if l.renamed {
		if err := l.syncNames(); err != nil {
			return fmt.Errorf("%w: %s: producer state at %d: %w", ErrStorage, l.id, first, err)
		}
	}
	l.forgetBelow(first)
	err := l.dropSegments(drop, reason)
	l.dropSnapshots(func(at int64) bool { return at < first })
	if err != nil {
		return fmt.Errorf("%w: %s: drop segments below %d: %w", ErrStorage, l.id, start, err)
	}
	return nil
}

// forgetBelow takes the segments below the one that begins at first out of the log.
func (l *Log) forgetBelow(first int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	below := func(s *segment) bool { return s.base < first }
	l.setSegments(slices.DeleteFunc(l.segmentsCopy(), below))
	l.sealed = slices.DeleteFunc(l.sealed, func(s sealed) bool { return below(s.segment) })
	l.unsynced = slices.DeleteFunc(l.unsynced, below)
	if l.recovery.base < first {
		l.recovery = point{offset: first, base: first}
	}
}
