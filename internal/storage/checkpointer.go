package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// checkpointer keeps the recovery points. While logs grow it looks after them once a second:
// what recovery will need beside the data (indexes and producer state of sealed segments,
// leader epochs) is written and synced, then the recovery point follows the flushed offset. None
// of that is in the way of an acknowledgement.
//
// The file and its name are synced each time, so that the recovery point is never more than a moment
// behind the flushed offset: below it a batch that does not read back was damaged, above it it may have been torn.
type checkpointer struct {
	dir      *Directory
	interval time.Duration
	wake     chan struct{} // capacity 1: changed is not empty

	// writing is held, by sending, by the one who writes the file.
	writing chan struct{}

	mu      sync.Mutex
	changed []*Log
	asked   uint64 // saves that somebody waits for
	saved   uint64 // of these, how many are in the file
}

// note says that a log has something to be looked after.
func (c *checkpointer) note(l *Log) {
	if l.changed.Swap(true) {
		return
	}
	c.mu.Lock()
	c.changed = append(c.changed, l)
	c.mu.Unlock()
	c.signal()
}

func (c *checkpointer) noteAll(logs []*Log) {
	for _, l := range logs {
		c.note(l)
	}
}

func (c *checkpointer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run looks after logs until ctx ends. The pause between two passes grows with the size of the file.
func (c *checkpointer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		pause := max(c.interval, time.Duration(c.dir.count())*100*time.Microsecond)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		c.pass(ctx)
	}
}

// pass looks after the logs that have changed, then writes the file.
func (c *checkpointer) pass(ctx context.Context) {
	c.mu.Lock()
	logs := c.changed
	c.changed = nil
	c.mu.Unlock()
	forEach(ctx, c.dir.flushThreads, logs, func(l *Log) {
		l.changed.Store(false)
		if err := l.tidy(); err != nil {
			c.dir.logger.Warn("side files of a log could not be written; its recovery point stays behind", "log", l.id.String(), "error", err)
			c.note(l)
		}
	})
	if err := c.save(true); err != nil {
		c.dir.logger.Warn("writing the recovery points failed; a recovery would take longer", "error", err)
		c.noteAll(logs)
	}
}

// save writes the file with the recovery points and start offsets of all logs, and returns when it
// holds what they were at the call: durably, if that is asked for. Those who call it together share a write.
func (c *checkpointer) save(durable bool) error {
	c.mu.Lock()
	c.asked++
	mine := c.asked
	c.mu.Unlock()
	gone := c.dir.deletedLogs()

	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	c.mu.Lock()
	done, upTo := c.saved >= mine, c.asked
	c.mu.Unlock()
	if done && !durable {
		return nil
	}
	if !done {
		if err := c.write(); err != nil {
			return err
		}
		c.mu.Lock()
		c.saved = upTo
		c.mu.Unlock()
	}
	if !durable {
		return nil
	}
	if err := c.dir.fs.SyncDir(c.dir.path); err != nil {
		return err
	}
	c.dir.forgetDeleted(gone)
	return nil
}

// write replaces the file.
func (c *checkpointer) write() error {
	began := time.Now()
	d := c.dir
	logs := d.Logs()
	all := checkpoint{boot: d.bootID, entries: make(map[string]checkpointEntry, len(logs))}
	order := make([]string, 0, len(logs))
	for _, l := range logs {
		name := l.id.String()
		all.entries[name] = l.checkpointEntry()
		order = append(order, name)
	}
	for name, e := range d.lost() {
		if _, ok := all.entries[name]; !ok {
			all.entries[name] = e
			order = append(order, name)
		}
	}
	slices.Sort(order)
	err := replaceFile(d.fs, filepath.Join(d.path, checkpointName), all.encode(order))
	d.metrics.checkpoint.Observe(time.Since(began).Seconds())
	return err
}

// checkpointEntry returns the log's line.
func (l *Log) checkpointEntry() checkpointEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := checkpointEntry{id: l.id, start: l.start.Load(), point: l.recovery, max: -1, maxAt: -1}
	if f := l.failure.Load(); f != nil {
		e.corrupt = errors.Is(f, ErrCorrupt)
		e.failed = !e.corrupt
	}
	for _, s := range slices.Backward(*l.segments.Load()) {
		if s.base > e.point.base {
			continue
		}
		if s.base < e.point.base {
			break
		}
		s.mu.Lock()
		e.nOffset, e.nTime = s.index.nOffsetDurable, s.index.nTimeDurable
		if s.index.maxKnown && s.index.maxTime.ts >= 0 {
			e.max, e.maxAt = s.index.maxTime.ts, s.base+int64(s.index.maxTime.rel)
		}
		s.mu.Unlock()
	}
	e.producers, e.snapshot = l.producersAtLocked(e.point.offset)
	return e
}

// producersAtLocked returns the newest place at or below offset at which the producer state is
// known: a snapshot's, or one where there was none.
func (l *Log) producersAtLocked(offset int64) (at int64, snapshot bool) {
	if len(l.producers.byID) == 0 {
		return offset, false
	}
	at = l.noProducers
	for _, s := range l.snapshots {
		if s <= offset && s >= at {
			at, snapshot = s, true
		}
	}
	return at, snapshot
}

// snapshotEvery is how many bytes are appended between two snapshots of the producer state inside
// a segment; recovery reads the headers of that much to bring the state up to date.
const snapshotEvery = 32 << 20

// tidy writes what recovery will need beside the data, and moves the recovery point.
func (l *Log) tidy() error {
	l.beginMaint()
	defer l.endMaint()
	if l.Err() != nil {
		return nil
	}
	if l.broken.Swap(false) {
		l.rebuildBroken()
	}
	for _, write := range []func() error{l.tidySealed, l.saveIndex, l.saveEpochs, l.saveSnapshot} {
		if err := write(); err != nil {
			return l.tidyFailed(err)
		}
	}
	if l.renamed {
		if err := l.syncNames(); err != nil {
			return l.tidyFailed(err)
		}
	}
	l.mu.Lock()
	l.moveRecoveryLocked()
	stale := l.staleSnapshotsLocked()
	l.mu.Unlock()
	for _, offset := range stale {
		_ = l.dir.fs.Remove(l.file(offsetName(offset, snapshotSuffix)))
	}
	return nil
}

// tidyFailed drops the error of a log that was deleted meanwhile.
func (l *Log) tidyFailed(err error) error {
	if l.closed.Load() && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// tidySealed writes indexes and producer state of the sealed segments whose data is durable.
func (l *Log) tidySealed() error {
	l.mu.Lock()
	n := 0
	for n < len(l.sealed) && l.sealed[n].at <= l.durable.offset {
		n++
	}
	ready := slices.Clone(l.sealed[:n])
	l.mu.Unlock()
	for _, s := range ready {
		if err := s.segment.release(); err != nil {
			return fmt.Errorf("give back space of %s: %w", s.segment.path(logSuffix), err)
		}
		if err := s.segment.writeIndex(true); err != nil {
			return fmt.Errorf("index of %s: %w", s.segment.path(logSuffix), err)
		}
		if err := l.writeSnapshot(s.at, s.snapshot); err != nil {
			return err
		}
		l.mu.Lock()
		l.sealed = l.sealed[1:]
		l.mu.Unlock()
	}
	return nil
}

// saveIndex makes what is written of the active segment's indexes durable.
func (l *Log) saveIndex() error {
	synced, err := l.active().syncIndex()
	l.renamed = l.renamed || synced
	return err
}

// saveEpochs writes the leader epochs that have durable records, if the file lacks one.
func (l *Log) saveEpochs() error {
	l.mu.Lock()
	all := cutEpochs(*l.epochs.Load(), l.durable.offset)
	newest := int32(-1)
	if len(all) > 0 {
		newest = all[len(all)-1].Epoch
	}
	needed := l.epochsCut || newest > l.savedEpoch
	l.mu.Unlock()
	if !needed {
		return nil
	}
	if err := replaceFile(l.dir.fs, l.file(epochsName), encodeEpochs(all)); err != nil {
		return err
	}
	l.renamed = true
	l.mu.Lock()
	l.savedEpoch, l.epochsCut = newest, false
	l.mu.Unlock()
	return nil
}

// saveSnapshot writes the producer state, if much was appended since the last time.
func (l *Log) saveSnapshot() error {
	l.mu.Lock()
	var state []byte
	at := l.end.Load()
	if len(l.producers.byID) > 0 && l.grown-l.snapshotMark >= snapshotEvery {
		state = l.producers.encode()
		l.snapshotMark = l.grown
	}
	l.mu.Unlock()
	if state == nil {
		return nil
	}
	return l.writeSnapshot(at, state)
}

// writeSnapshot writes the producer state at an offset, durably but for its name.
func (l *Log) writeSnapshot(at int64, state []byte) error {
	if err := replaceFile(l.dir.fs, l.file(offsetName(at, snapshotSuffix)), state); err != nil {
		return err
	}
	l.renamed = true
	l.mu.Lock()
	if !slices.Contains(l.snapshots, at) {
		l.snapshots = append(l.snapshots, at)
	}
	l.mu.Unlock()
	return nil
}

// moveRecoveryLocked moves the recovery point to the flushed offset, but not past the end of a
// segment whose side files are not written.
func (l *Log) moveRecoveryLocked() {
	if l.Err() != nil || l.truncating {
		return
	}
	to := l.durable
	if len(l.sealed) > 0 && l.sealed[0].segment.base < to.base {
		s := l.sealed[0]
		size, _ := s.segment.extent()
		to = point{offset: s.at, base: s.segment.base, pos: size}
	}
	if to.offset < l.recovery.offset {
		return
	}
	l.recovery = to
	if len(l.producers.byID) == 0 {
		l.noProducers = to.offset
	}
}

// staleSnapshotsLocked takes the snapshots off the list that nobody needs any more: kept are
// those at the begin of a segment, for truncations, and inside the active one the newest at or
// below the recovery point.
func (l *Log) staleSnapshotsLocked() []int64 {
	newest := int64(-1)
	for _, at := range l.snapshots {
		if at <= l.recovery.offset {
			newest = max(newest, at)
		}
	}
	segments := *l.segments.Load()
	var kept, stale []int64
	for _, at := range l.snapshots {
		_, atBase := slices.BinarySearchFunc(segments, at, func(s *segment, at int64) int { return int(max(-1, min(1, s.base-at))) })
		if atBase || at >= newest {
			kept = append(kept, at)
		} else {
			stale = append(stale, at)
		}
	}
	l.snapshots = kept
	return stale
}
