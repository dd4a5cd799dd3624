package storage

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// recovery opens one log. What lies below the recovery point is believed, data and side files; what
// lies above is read and checked, batch by batch, and believed as far as it is intact and in order.
//
// The first bad place above the recovery point is a write that a crash has torn, and the log ends
// there; unless intact batches follow it and nothing explains that (strict). Writes that were not
// flushed reach the disk in any order, so after a loss of power an intact batch behind a bad one
// proves nothing; after the death of the process alone the page cache has kept all of them.
type recovery struct {
	log    *Log
	entry  checkpointEntry
	known  bool // there is an entry
	strict bool
	warm   bool // the page cache has what the dead process has written

	files     []segmentFiles // oldest first
	snapshots []int64
	above     []int64 // of these, those above the recovery point
	hasEpochs bool
	dropped   bool // dropBelow was there
	how       string
	scanned   int64
	state     producers
	epochs    []Epoch
}

// segmentFiles are the sizes of a segment's files.
type segmentFiles struct {
	base, size, index, timeIndex int64
}

// run opens the log. It reports false if there was none, only what a creation before a crash has
// left; that is removed. An error leaves a log that can be read as far as it is intact.
func (r *recovery) run(clean bool) (bool, error) {
	l := r.log
	l.beginAt(0)
	if err := r.list(); err != nil {
		return true, err
	}
	if ok, err := r.identify(); !ok || err != nil {
		return ok, err
	}
	if clean && r.known && r.matches() {
		r.how = recoveredClean
		if err := r.openClean(); err != nil {
			return true, err
		}
	} else {
		r.how = recoveredScanned
		if err := r.scan(); err != nil {
			return true, err
		}
		if err := l.tidy(); err != nil {
			return true, err
		}
	}
	return true, l.dropBelowStart(deletedByStart)
}

// list reads the log's directory and removes what is not finished or was on its way out.
func (r *recovery) list() error {
	infos, err := r.log.dir.fs.ReadDir(r.log.dirPath())
	if err != nil {
		return err
	}
	if finished, err := r.finishReplacements(infos); err != nil {
		return err
	} else if finished {
		if infos, err = r.log.dir.fs.ReadDir(r.log.dirPath()); err != nil {
			return err
		}
	}
	sizes := map[string]int64{}
	for _, info := range infos {
		name := info.Name
		if strings.HasSuffix(name, tmpSuffix) || strings.HasSuffix(name, deletedSuffix) {
			r.remove(name)
			continue
		}
		sizes[name] = info.Size
		if base, ok := parseOffsetName(name, logSuffix); ok {
			r.files = append(r.files, segmentFiles{base: base, size: info.Size})
		}
		if at, ok := parseOffsetName(name, snapshotSuffix); ok {
			r.snapshots = append(r.snapshots, at)
		}
		r.hasEpochs = r.hasEpochs || name == epochsName
	}
	slices.SortFunc(r.files, func(a, b segmentFiles) int { return cmp.Compare(a.base, b.base) })
	for i := range r.files {
		f := &r.files[i]
		f.index = sizes[offsetName(f.base, indexSuffix)]
		f.timeIndex = sizes[offsetName(f.base, timeIndexSuffix)]
		delete(sizes, offsetName(f.base, indexSuffix))
		delete(sizes, offsetName(f.base, timeIndexSuffix))
	}
	for name := range sizes { // indexes without data
		if strings.HasSuffix(name, indexSuffix) || strings.HasSuffix(name, timeIndexSuffix) {
			r.remove(name)
		}
	}
	return nil
}

// remove unlinks one of the log's files.
func (r *recovery) remove(name string) {
	if err := r.log.dir.fs.Remove(r.log.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.dir.logger.Warn("cannot remove a file that recovery has no use for", "file", r.log.file(name), "error", err)
	}
}

// identify finds the topic id. A log that was made before a crash and never flushed may have lost
// its partition.metadata: the id is in the recovery points if its creation was acknowledged,
// else there is no such log.
func (r *recovery) identify() (bool, error) {
	l := r.log
	p, err := vfs.ReadFile(l.dir.fs, l.file(partitionName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, err
	}
	if err == nil {
		l.id.TopicID, err = DecodePartitionMetadata(p)
	}
	if err == nil {
		if r.known && r.entry.id.TopicID != l.id.TopicID { // it is an older log's of this name
			r.known, r.entry = false, checkpointEntry{}
		}
		return true, nil
	}
	switch {
	case !r.known && len(r.files) == 0:
		return false, l.dir.fs.RemoveAll(l.dirPath())
	case !r.known: // nothing in it was ever flushed; but if people have been at the files, let them look
		l.dir.logger.Warn("a log without partition.metadata is set aside", "log", l.id.String(), "error", err)
		path := filepath.Join(l.dir.path, asideName(l.id, strayDirSuffix))
		l.dir.janitor.add(l.dir.strayDelay, true, path)
		return false, l.dir.fs.Rename(l.dirPath(), path)
	}
	l.id.TopicID = r.entry.id.TopicID
	l.dir.logger.Info("partition.metadata had not been flushed, or is damaged; it is written anew from the recovery points", "log", l.id.String(), "error", err)
	return true, replaceFile(l.dir.fs, l.file(partitionName), encodePartitionMetadata(l.id.TopicID))
}

// matches tells whether the log is as the clean stop has left it.
func (r *recovery) matches() bool {
	if r.entry.failed || r.entry.corrupt {
		return false
	}
	if len(r.files) == 0 {
		return r.entry.point.pos == 0
	}
	last := r.files[len(r.files)-1]
	return last.base == r.entry.point.base && last.size == r.entry.point.pos
}

// openClean opens the log without reading its data.
func (r *recovery) openClean() error {
	l, e := r.log, r.entry
	if len(r.files) == 0 {
		l.beginAt(e.point.offset)
	} else {
		all := make([]*segment, len(r.files))
		for i, f := range r.files {
			all[i] = r.believed(f, e.point.offset)
			if i+1 < len(r.files) {
				all[i].end = r.files[i+1].base
			}
		}
		active := all[len(all)-1]
		active.index.believe(e.nOffset, e.nTime)
		active.index.maxKnown = true
		if e.max >= 0 && e.maxAt >= active.base {
			active.index.maxTime = timeEntry{ts: e.max, rel: int32(e.maxAt - active.base)}
		}
		l.setSegments(all)
	}
	l.start.Store(e.start)
	l.snapshots = r.snapshots
	l.noProducers = e.producers
	if e.snapshot {
		l.noProducers = (*l.segments.Load())[0].base
	}
	if err := r.loadEpochs(e.point.offset); err != nil {
		return err
	}
	r.opened(e.point)
	if e.snapshot || e.producers < e.point.offset {
		var err error
		if l.producers, err = l.producersAt(e.point.offset); err != nil {
			return err
		}
	}
	return nil
}

// believed is a segment below the recovery point; its end is known if it is the last.
func (r *recovery) believed(f segmentFiles, end int64) *segment {
	s := newSegment(r.log, f.base)
	s.size, s.end, s.synced = f.size, end, f.size
	nOffset, nTime := int(f.index/offsetEntrySize), int(f.timeIndex/timeEntrySize)
	s.index = index{
		maxTime: timeEntry{ts: record.NoTimestamp}, lastTime: record.NoTimestamp,
		nOffset: nOffset, nTime: nTime, nOffsetSynced: nOffset, nTimeSynced: nTime, nOffsetDurable: nOffset, nTimeDurable: nTime,
	}
	return s
}

// opened sets what follows from the segments; to is the end of the log, which is durable.
func (r *recovery) opened(to point) {
	l := r.log
	var size int64
	for _, s := range *l.segments.Load() {
		size += s.size
	}
	l.size.Store(size)
	l.end.Store(to.offset)
	l.flushed.Store(to.offset)
	l.bound.Store(l.start.Load())
	l.durable = to
	l.recovery = to
	l.durableStart = l.start.Load()
	l.newLog, l.filesMade = true, 1 // nothing tells whether the names were synced; the first flush makes sure
	epochs := trimEpochs(r.epochs, l.start.Load())
	l.epochs.Store(&epochs)
}

// loadEpochs reads the leader epochs of the records below offset; a checkpoint that is missing or
// damaged is made anew from the data.
func (r *recovery) loadEpochs(offset int64) error {
	l := r.log
	if r.hasEpochs {
		p, err := vfs.ReadFile(l.dir.fs, l.file(epochsName))
		if err == nil {
			if all, err := DecodeEpochs(p); err == nil {
				r.epochs = cutEpochs(all, offset)
				if len(all) > 0 {
					l.savedEpoch = all[len(all)-1].Epoch
				}
				l.epochsCut = len(all) != len(r.epochs)
				return nil
			}
		}
		l.dir.logger.Warn("leader-epoch-checkpoint is damaged; it is made anew", "log", l.id.String(), "error", err)
	}
	l.epochsCut = true
	for _, s := range *l.segments.Load() {
		if err := s.walk(s.base, offset, func(b *batchAt, _ *scanner) error {
			r.noteEpoch(b.header)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) noteEpoch(b record.Batch) {
	if e := b.LeaderEpoch(); e >= 0 && (len(r.epochs) == 0 || e > r.epochs[len(r.epochs)-1].Epoch) {
		r.epochs = addEpoch(r.epochs, e, b.BaseOffset())
	}
}

// walk visits the batches of the segment from the one that holds the offset from up to the offset to.
func (s *segment) walk(from, to int64, visit func(*batchAt, *scanner) error) error {
	s.mu.Lock()
	size, end, view := s.size, s.end, s.index.view()
	s.mu.Unlock()
	if from >= end || to <= s.base || size == 0 {
		return nil
	}
	h, err := s.acquire()
	if err != nil {
		return s.openFailed(err)
	}
	defer h.release()
	w, b, err := s.seek(h, view, size, max(from, s.base))
	if err != nil {
		return err
	}
	defer w.close()
	for ; err == nil && b.header.BaseOffset() < to; b, err = w.next() {
		if err := visit(&b, w); err != nil {
			return err
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return s.damaged(w.pos, s.base, err)
	}
	return nil
}

// producersAt makes the producer state at an offset: that of the nearest snapshot below, or none
// where there was none, and what the headers of the batches from there on add.
func (l *Log) producersAt(offset int64) (producers, error) {
	segments := *l.segments.Load()
	state, from := newProducers(), segments[0].base
	if l.noProducers <= offset {
		from = max(from, l.noProducers)
	}
	candidates := slices.Clone(l.snapshots)
	slices.Sort(candidates)
	for _, at := range slices.Backward(candidates) {
		if at > offset || at < from {
			continue
		}
		p, err := vfs.ReadFile(l.dir.fs, l.file(offsetName(at, snapshotSuffix)))
		if err == nil {
			var found producers
			if found, err = decodeProducers(p); err == nil {
				state, from = found, at
				break
			}
		}
		l.dir.logger.Warn("producer snapshot is not usable; more data is read instead", "log", l.id.String(), "offset", at, "error", err)
	}
	now := l.dir.clock.NowMillis()
	for _, p := range state.byID {
		p.seen = now
	}
	if invariant.Mutant("storage-forget-producers") {
		return newProducers(), nil
	}
	for _, s := range segments {
		if err := s.walk(from, offset, func(b *batchAt, w *scanner) error { return state.replay(b, w, from, now) }); err != nil {
			return state, err
		}
	}
	return state, nil
}

// replay accounts for a batch that was found in the log.
func (ps *producers) replay(b *batchAt, w *scanner, from, now int64) error {
	h := b.header
	if !h.HasProducerID() || h.BaseOffset() < from {
		return nil
	}
	marker := txnMarker{coordinatorEpoch: -1}
	if h.IsControl() {
		whole, err := w.whole(b)
		if err == nil {
			marker, err = parseMarker(whole)
		}
		if err != nil {
			return fmt.Errorf("control batch at offset %d: %w", h.BaseOffset(), err)
		}
		h = whole
	}
	ps.apply(h, marker, now)
	return nil
}
