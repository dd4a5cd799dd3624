package storage

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"syscall"

	"github.com/chronik-stream/chronik/internal/record"
)

// Append is one batch on its way into a log, and the answer.
type Append struct {
	// Batch is checked (record.Batch.CheckProduced) and the caller's again when Append returns.
	// Base offset, leader epoch and, if the topic says so, the timestamp are written into it.
	Batch record.Batch

	BaseOffset    int64 // of the batch in the log; of a duplicate, where it already was
	LogStart      int64 // the log's start offset at the append
	LogAppendTime int64 // record.NoTimestamp unless the topic has LogAppendTime
	Duplicate     bool  // the batch was in the log already, nothing was appended
	Err           error // this batch was refused
}

// writeBuffers is the scratch of an append: what is decided, but not written yet.
type writeBuffers struct {
	bufs    [][]byte
	metas   []appended
	undo    []producerUndo
	bytes   int64
	records int64
}

func (w *writeBuffers) reset() {
	clear(w.bufs) // the batches belong to the callers
	w.bufs, w.metas, w.undo, w.bytes, w.records = w.bufs[:0], w.metas[:0], w.undo[:0], 0, 0
}

// Append appends batches as the leader of epoch, in one write. Each batch has its own verdict: Err
// if it was refused, Duplicate if it is in the log already; the others were appended. The error
// returned concerns the call: nothing was appended, and every batch that has no verdict of its own
// has it as Err too. Append does not wait for a flush: Flushed and OnFlush tell of that.
func (l *Log) Append(epoch int32, batches []Append) error {
	if epoch > l.LatestEpoch() {
		if err := l.BeginEpoch(epoch); err != nil {
			return refuse(batches, err)
		}
	}
	now := l.dir.clock.NowMillis()
	l.mu.Lock()
	err := l.leaderAppendLocked(epoch, batches, now)
	wish := l.flushWishLocked()
	l.mu.Unlock()
	l.askFlush(wish)
	l.announce() // also without an error: the failure may have come after a part of the call
	return err
}

// refuse gives err to every batch.
func refuse(batches []Append, err error) error {
	for i := range batches {
		batches[i].Duplicate, batches[i].Err = false, err
	}
	return err
}

// writableLocked tells why the log takes no append now.
func (l *Log) writableLocked() error {
	if err := l.Err(); err != nil {
		return err
	}
	switch {
	case l.stopped:
		return ErrClosed
	case l.truncating:
		return ErrTruncating
	}
	return nil
}

func (l *Log) leaderAppendLocked(epoch int32, batches []Append, now int64) error {
	if err := l.writableLocked(); err != nil {
		return refuse(batches, err)
	}
	if latest := l.LatestEpoch(); epoch < latest {
		return refuse(batches, fmt.Errorf("%w: %d, the log has seen %d", ErrFencedEpoch, epoch, latest))
	}
	o := l.options.Load()
	begin := l.end.Load()
	next := begin
	for i := range batches {
		a := &batches[i]
		a.LogStart, a.LogAppendTime = l.start.Load(), record.NoTimestamp
		if !l.decideLocked(a, o) {
			continue
		}
		a.BaseOffset = next
		a.Batch.SetBaseOffset(next)
		a.Batch.SetLeaderEpoch(epoch)
		if o.LogAppendTime {
			a.Batch.SetLogAppendTime(now)
			a.LogAppendTime = now
		}
		if err := l.takeLocked(a.Batch, o, now); err != nil {
			return l.failLocked(batches[:i+1], batches[i+1:], begin, err)
		}
		next = a.Batch.LastOffset() + 1
	}
	if err := l.writeLocked(o); err != nil {
		return l.failLocked(batches, nil, begin, err)
	}
	return nil
}

// failLocked gives the verdicts after a write that failed. What was written before a roll stands,
// if the call began there; of the rest, also what was a duplicate of a batch that has failed now.
func (l *Log) failLocked(seen, unseen []Append, begin int64, err error) error {
	l.abandonLocked()
	end := l.end.Load()
	for i := range seen {
		if a := &seen[i]; a.Err == nil && a.BaseOffset >= end {
			a.Duplicate, a.Err = false, err
		}
	}
	_ = refuse(unseen, err)
	if end > begin {
		return nil
	}
	return err
}

// abandonLocked takes back what was decided and not written.
func (l *Log) abandonLocked() {
	w := &l.write
	for i := len(w.undo) - 1; i >= 0; i-- {
		l.producers.undo(w.undo[i])
	}
	w.reset()
}

// decideLocked tells whether a batch is to be appended; if not it has given the verdict.
func (l *Log) decideLocked(a *Append, o *LogOptions) bool {
	if len(a.Batch) > int(o.SegmentBytes) {
		a.Err = fmt.Errorf("%w: %d bytes, segment.bytes=%d", ErrRecordTooLarge, len(a.Batch), o.SegmentBytes)
		return false
	}
	if !a.Batch.HasProducerID() {
		return true
	}
	v, err := l.producers.check(a.Batch)
	if err != nil {
		a.Err = err
		return false
	}
	if v.duplicate {
		a.Duplicate, a.BaseOffset = true, v.baseOffset
		if o.LogAppendTime {
			a.LogAppendTime = v.timestamp
		}
		l.dir.metrics.duplicates.Inc()
		return false
	}
	return true
}

// AppendReplicated appends batches as a follower, with the offsets and epochs that the leader has
// given them. They must continue the log. An epoch that the log has not seen begins with its first batch.
func (l *Log) AppendReplicated(batches []record.Batch) error {
	now := l.dir.clock.NowMillis()
	l.mu.Lock()
	err := l.followerAppendLocked(batches, now)
	wish := l.flushWishLocked()
	l.mu.Unlock()
	l.askFlush(wish)
	if err != nil {
		l.announce()
	}
	return err
}

func (l *Log) followerAppendLocked(batches []record.Batch, now int64) error {
	if err := l.writableLocked(); err != nil {
		return err
	}
	next, epoch := l.end.Load(), l.LatestEpoch()
	for _, b := range batches {
		if b.BaseOffset() != next {
			return fmt.Errorf("%w: base offset %d, the log ends at %d", ErrNotContiguous, b.BaseOffset(), next)
		}
		if b.LeaderEpoch() < epoch {
			return fmt.Errorf("%w: batch at %d has epoch %d after %d", ErrNotContiguous, next, b.LeaderEpoch(), epoch)
		}
		next, epoch = b.LastOffset()+1, b.LeaderEpoch()
	}
	o := l.options.Load()
	for _, b := range batches {
		if err := l.takeLocked(b, o, now); err != nil {
			l.abandonLocked()
			return err
		}
	}
	err := l.writeLocked(o)
	l.abandonLocked()
	return err
}

// takeLocked puts a batch, which has its offsets, among those to be written, and rolls first if
// the segment cannot take it. The producer state is changed at once, so that the next batch of the
// same call meets it; a failed write takes that back.
func (l *Log) takeLocked(b record.Batch, o *LogOptions, now int64) error {
	w := &l.write
	if l.mustRollLocked(b, o, now) {
		if err := l.writeLocked(o); err != nil {
			return err
		}
		if err := l.rollLocked(b.BaseOffset(), now); err != nil {
			return err
		}
	}
	if l.active().size+w.bytes == 0 {
		l.firstTime = b.MaxTimestamp()
	}
	if b.HasProducerID() {
		marker, err := parseMarker(b)
		if err != nil {
			return err
		}
		w.undo = append(w.undo, l.producers.apply(b, marker, now))
	}
	w.bufs = append(w.bufs, b)
	w.metas = append(w.metas, appended{base: b.BaseOffset(), last: b.LastOffset(), epoch: b.LeaderEpoch(), size: len(b), maxTimestamp: b.MaxTimestamp()})
	w.bytes += int64(len(b))
	w.records += int64(b.Count())
	return nil
}

// mustRollLocked tells whether b has to begin a new segment.
func (l *Log) mustRollLocked(b record.Batch, o *LogOptions, now int64) bool {
	s := l.active()
	size := s.size + l.write.bytes
	if size == 0 {
		return false
	}
	return size+int64(len(b)) > int64(o.SegmentBytes) || b.LastOffset()-s.base > math.MaxInt32 || s.index.full(o.SegmentIndexBytes) ||
		l.tooOldLocked(s, b, o, now)
}

// tooOldLocked tells whether segment.ms has passed since the active segment was begun: by the clock, so that
// retention can let it go, or by the records, so that old ones that are loaded now do not stay until the newest goes.
func (l *Log) tooOldLocked(s *segment, b record.Batch, o *LogOptions, now int64) bool {
	most := o.SegmentMillis - int64(l.jitter*float64(min(o.SegmentJitter, o.SegmentMillis)))
	return now-l.begunLocked(s, now) >= most || l.firstTime > 0 && b.MaxTimestamp()-l.firstTime > most
}

// begunLocked returns when the active segment was begun. After a start that is not known: its
// first batch's timestamp is taken, if it is one of the past.
func (l *Log) begunLocked(s *segment, now int64) int64 {
	if l.begun > 0 {
		return l.begun
	}
	l.begun, l.firstTime = now, 0
	if h, err := s.acquire(); err == nil {
		if b, err := firstBatch(h, s); err == nil && b.header.MaxTimestamp() > 0 {
			l.firstTime = b.header.MaxTimestamp()
			l.begun = min(now, l.firstTime)
		}
		h.release()
	}
	return l.begun
}

// writeLocked writes what takeLocked has gathered and makes it part of the log. If the write fails
// the file is cut back to where it was. Lack of space leaves the log as good as before; any other
// error, or a cut that fails, fences it.
func (l *Log) writeLocked(o *LogOptions) error {
	if len(l.write.bufs) == 0 {
		return nil
	}
	s := l.active()
	h, err := l.openActiveLocked(s)
	if err != nil {
		return err
	}
	defer h.release()
	if err := l.writeFileLocked(s, h, o); err != nil {
		return err
	}
	l.acceptLocked(s, o)
	return nil
}

// openActiveLocked returns the file that appends go to. A new log has none before its first one.
func (l *Log) openActiveLocked(s *segment) (*handle, error) {
	if s.missing {
		f, err := l.dir.fs.Create(s.path(logSuffix))
		if err != nil {
			return nil, l.beginFailedLocked(err)
		}
		s.missing = false
		l.filesMade++
		l.begun = l.dir.clock.NowMillis()
		return s.install(newHandle(f, 2))
	}
	if !s.index.known {
		s.loadIndex()
	}
	h, err := s.acquire()
	if err != nil {
		return nil, l.fenceLocked("open a segment", err)
	}
	return h, nil
}

// beginFailedLocked is the error of a segment file that could not be made.
func (l *Log) beginFailedLocked(err error) error {
	if outOfSpace(err) {
		return fmt.Errorf("%w: %s: no space for a new segment: %w", ErrStorage, l.id, err)
	}
	return l.fenceLocked("begin a segment", err)
}

// writeFileLocked does the one write.
func (l *Log) writeFileLocked(s *segment, h *handle, o *LogOptions) error {
	w := &l.write
	pos := s.size
	s.reserve(h, pos+w.bytes, o)
	var err error
	if len(w.bufs) == 1 {
		_, err = h.WriteAt(w.bufs[0], pos)
	} else {
		_, err = h.WritevAt(w.bufs, pos)
	}
	if err == nil {
		return nil
	}
	if cut := h.Truncate(pos); cut != nil {
		return l.fenceLocked("write", errors.Join(err, fmt.Errorf("cut back: %w", cut)))
	}
	s.cuts++
	l.needsSyncLocked(s) // or the bytes that were cut could come back, in a segment that is sealed by then
	if outOfSpace(err) {
		return fmt.Errorf("%w: %s: no space: %w", ErrStorage, l.id, err)
	}
	return l.fenceLocked("write", err)
}

// acceptLocked makes written batches part of the log: readable first, then counted by the end offset.
func (l *Log) acceptLocked(s *segment, o *LogOptions) {
	w := &l.write
	l.needsSyncLocked(s)
	s.grew(w.metas, int64(o.IndexIntervalBytes))
	for i := range w.metas {
		if m := &w.metas[i]; m.epoch > l.LatestEpoch() {
			l.beginEpochLocked(m.epoch, m.base)
		}
	}
	l.size.Add(w.bytes)
	l.end.Store(w.metas[len(w.metas)-1].last + 1)
	l.unflushed += w.bytes
	l.grown += w.bytes
	l.records += w.records
	l.dir.metrics.appended(len(w.metas), w.bytes)
	w.reset()
	if len(s.index.offsets) >= indexBatch {
		if err := s.writeIndex(false); err != nil {
			l.dir.logger.Warn("writing index entries failed; they stay in memory", "segment", s.path(indexSuffix), "error", err)
		}
	}
}

// needsSyncLocked puts the active segment among those that the next flush has to sync.
func (l *Log) needsSyncLocked(s *segment) {
	s.dirty.Store(true)
	if n := len(l.unsynced); n == 0 || l.unsynced[n-1] != s {
		l.unsynced = append(l.unsynced, s)
	}
}

// rollLocked seals the active segment and begins a new one at base. The new file's name becomes
// durable before the flushed offset passes into it; the indexes and the producer state of the old
// one are written by the background, before the recovery point passes its end.
func (l *Log) rollLocked(base, now int64) error {
	old := l.active()
	if !old.index.known {
		old.loadIndex()
	}
	s := newSegment(l, base)
	f, err := l.dir.fs.Create(s.path(logSuffix))
	if err != nil {
		return l.beginFailedLocked(err)
	}
	h, err := s.install(newHandle(f, 2))
	if err != nil {
		return err
	}
	h.release()
	old.mu.Lock()
	old.index.addTime()
	old.tail = tail{}
	old.mu.Unlock()
	l.sealed = append(l.sealed, sealed{segment: old, at: base, snapshot: l.producers.encode()})
	l.filesMade++
	l.begun, l.jitter = now, rand.Float64()
	l.setSegments(append(l.segmentsCopy(), s))
	l.dir.metrics.rolls.Inc()
	return nil
}

// outOfSpace tells whether a write failed for lack of space alone.
func outOfSpace(err error) bool {
	if runtime.GOOS == "windows" {
		const diskFull, handleDiskFull = syscall.Errno(112), syscall.Errno(39)
		return errors.Is(err, diskFull) || errors.Is(err, handleDiskFull)
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
