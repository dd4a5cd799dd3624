package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// replace puts a cleaned segment in the place of those it was made from. Its file is whole and durable. What a crash
// leaves at any point is finished, or undone, by the next start (finishReplacements):
//
//  1. The file is renamed from .cleaned to .swap, durably: from here on it counts.
//  2. The segments it replaces are renamed out of the way, and its indexes written, durably. If the old ones were not gone
//     for sure before the next step they could be back after a crash, beside the new one, with all that compaction has removed.
//  3. The file gets its name, durably: a .swap file that a crash brought back later would replace what has been written since.
//
// Readers that hold the old segments go on reading their files; who opens one now finds the new one.
func (r *cleaning) replace(group []*segment, s *segment) error {
	l, fsys := r.log, r.dir.fs
	l.beginMaint()
	defer l.endMaint()
	name := s.path(logSuffix)
	if r.changed() || !l.hasInARow(group) {
		s.open.release()
		_ = fsys.Remove(name + cleanedSuffix)
		return errLogChanged
	}
	if err := fsys.Rename(name+cleanedSuffix, name+swapSuffix); err != nil {
		s.open.release()
		_ = fsys.Remove(name + cleanedSuffix)
		return fmt.Errorf("storage: clean %s: %w", l.id, err)
	}
	if !invariant.Mutant("cleaner-skip-sync-swap") {
		if err := fsys.SyncDir(l.dirPath()); err != nil {
			s.open.release()
			return l.fence("replace segments by a cleaned one", err)
		}
	}
	s.pinned.Store(true) // its file cannot be opened by its name yet
	l.dir.files.opened(s)
	l.publish(group, s)
	err := l.dropSegments(group, deletedByCompaction)
	if err == nil {
		s.writeCleanedIndex()
		if !invariant.Mutant("cleaner-skip-sync-replaced") {
			err = l.syncNames()
		}
	}
	if err == nil {
		err = fsys.Rename(name+swapSuffix, name)
	}
	if err == nil {
		s.pinned.Store(false)
		err = fsys.SyncDir(l.dirPath())
	}
	if err != nil {
		return l.fence("replace segments by a cleaned one", err)
	}
	l.dir.checkpoints.note(l) // the producer snapshots at the begins of segments that are gone may go, too
	return nil
}

// writeCleanedIndex writes the index of a cleaned segment. If that fails, perhaps for lack of space, the background makes it
// anew; until then there had better be none.
func (s *segment) writeCleanedIndex() {
	err := s.writeIndex(true)
	if err == nil {
		return
	}
	fsys := s.log.dir.fs
	_, _ = fsys.Remove(s.path(indexSuffix)), fsys.Remove(s.path(timeIndexSuffix))
	s.log.dir.logger.Warn("index of a cleaned segment could not be written; it is made anew", "segment", s.path(logSuffix), "error", err)
}

// hasInARow tells whether the segments are still there, one behind the other.
func (l *Log) hasInARow(group []*segment) bool {
	all := *l.segments.Load()
	i := slices.Index(all, group[0])
	return i >= 0 && i+len(group) < len(all) && slices.Equal(all[i:i+len(group)], group)
}

// publish makes s take the place of a group of segments.
func (l *Log) publish(group []*segment, s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := *l.segments.Load()
	i := slices.Index(all, group[0])
	l.setSegments(slices.Concat(all[:i], []*segment{s}, all[i+len(group):]))
	l.size.Add(s.size)
}

// finishReplacements finishes what a crash has interrupted, before the log is opened: cleaned files that do not count
// yet are removed, those that do take the place of what they were made from. It tells whether there were any.
func (r *recovery) finishReplacements(infos []vfs.FileInfo) (finished bool, err error) {
	l := r.log
	var swaps []int64
	bases := map[int64]bool{} // of the others; what a crash has left of a segment may be an index alone
	for _, info := range infos {
		if strings.HasSuffix(info.Name, cleanedSuffix) {
			r.remove(info.Name)
		}
		if base, ok := parseOffsetName(info.Name, logSuffix+swapSuffix); ok {
			swaps = append(swaps, base)
		}
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
			if base, ok := parseOffsetName(info.Name, suffix); ok {
				bases[base] = true
			}
		}
	}
	if len(swaps) == 0 {
		return false, nil
	}
	if err := l.dir.fs.SyncDir(l.dirPath()); err != nil { // it may be there in memory alone, if the process has died
		return false, err
	}
	for _, swap := range swaps {
		if err := r.finishReplacement(swap, bases); err != nil {
			return false, err
		}
	}
	return true, nil
}

// finishReplacement is the rest of replace, for one segment.
func (r *recovery) finishReplacement(swap int64, bases map[int64]bool) error {
	l, fsys := r.log, r.log.dir.fs
	s, err := r.readSwap(swap)
	if err != nil {
		return err
	}
	for _, base := range slices.Sorted(maps.Keys(bases)) {
		if base >= swap && base < s.end {
			r.drop(segmentFiles{base: base})
		}
	}
	if err := s.writeIndex(true); err != nil {
		return err
	}
	if err := fsys.SyncDir(l.dirPath()); err != nil {
		return err
	}
	name := s.path(logSuffix)
	if err := fsys.Rename(name+swapSuffix, name); err != nil {
		return err
	}
	l.dir.logger.Info("a cleaned segment has taken the place of those it was made from", "segment", name, "end", s.end)
	return fsys.SyncDir(l.dirPath())
}

// readSwap makes the index of a cleaned segment, and finds out where it ends: after its last batch. So do the segments it replaces.
func (r *recovery) readSwap(base int64) (*segment, error) {
	s := newSegment(r.log, base)
	path := s.path(logSuffix) + swapSuffix
	f, err := r.log.dir.fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	w := newScanner(f, 0, size, false)
	defer w.close()
	for {
		b, err := w.next()
		switch {
		case errors.Is(err, io.EOF):
			s.index.addTime()
			return s, nil
		case err != nil && notBatch(err):
			return nil, &CorruptionError{Path: path, Position: w.pos, Offset: s.end, Err: err}
		case err != nil:
			return nil, err
		}
		s.entered(b.header, b.size, int64(r.log.options.Load().IndexIntervalBytes))
	}
}

// cleanPointsName is Kafka's file of clean points: a version, the number of lines, and a line for each log.
const cleanPointsName = "cleaner-offset-checkpoint"

func encodeCleanPoints(points map[string]int64) []byte {
	p := fmt.Appendf(nil, "0\n%d\n", len(points))
	for _, name := range slices.Sorted(maps.Keys(points)) {
		topic, partition, _ := parseLogDir(name)
		p = fmt.Appendf(p, "%s %d %d\n", topic, partition, points[name])
	}
	return p
}

// DecodeCleanPoints reads a cleaner-offset-checkpoint: the clean point of each log, by topic-partition.
func DecodeCleanPoints(p []byte) (map[string]int64, error) {
	lines := strings.Split(strings.TrimSuffix(string(p), "\n"), "\n")
	bad := func(i int) error { return fmt.Errorf("%w: %s: line %d", ErrCorrupt, cleanPointsName, i+1) }
	if len(lines) < 2 || lines[0] != "0" {
		return nil, bad(0)
	}
	if n, err := strconv.Atoi(lines[1]); err != nil || n != len(lines)-2 {
		return nil, bad(1)
	}
	points := make(map[string]int64, len(lines)-2)
	for i, line := range lines[2:] {
		f := strings.Split(line, " ")
		if len(f) != 3 {
			return nil, bad(i + 2)
		}
		name := f[0] + "-" + f[1]
		_, _, ok := parseLogDir(name)
		offset, err := strconv.ParseInt(f[2], 10, 64)
		if !ok || err != nil || offset < 0 {
			return nil, bad(i + 2)
		}
		points[name] = offset
	}
	return points, nil
}

// load reads the clean points. Without them all logs are taken for dirty.
func (c *cleaner) load() error {
	p, err := vfs.ReadFile(c.dir.fs, filepath.Join(c.dir.path, cleanPointsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", cleanPointsName, err)
	}
	points, err := DecodeCleanPoints(p)
	if err != nil {
		c.dir.logger.Warn("clean points are damaged; compacted logs are cleaned from their begin", "error", err)
		return nil
	}
	c.written = points
	return nil
}

// mark makes offset the clean point of a log, durably, unless the log has been truncated since the plan was made.
func (c *cleaner) mark(p *cleaningPlan, offset int64) error {
	l := p.log
	l.beginMaint()
	defer l.endMaint()
	if l.Err() != nil || l.truncations.Load() != p.truncations {
		return errLogChanged
	}
	if l.cleanPoint.Swap(offset) == offset {
		return nil
	}
	return c.save()
}

// save writes the file, durably.
func (c *cleaner) save() error {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	points := map[string]int64{}
	for _, l := range c.dir.Logs() {
		if at := l.cleanPoint.Load(); at >= 0 {
			points[l.id.String()] = at
		}
	}
	c.mu.Lock()
	same := maps.Equal(points, c.written)
	c.mu.Unlock()
	if same {
		return nil
	}
	if err := replaceFileDurably(c.dir.fs, filepath.Join(c.dir.path, cleanPointsName), encodeCleanPoints(points)); err != nil {
		return fmt.Errorf("%w: write %s: %w", ErrStorage, cleanPointsName, err)
	}
	c.mu.Lock()
	c.written = points
	c.mu.Unlock()
	return nil
}

// forget takes the clean point of an older log of a name out of the file, before a new one gets the name: else,
// after a crash, it could pass for clean as far as that one was.
func (c *cleaner) forget(name string) error {
	c.mu.Lock()
	_, known := c.written[name]
	c.mu.Unlock()
	if !known {
		return nil
	}
	return c.save()
}

// point returns what the file says of a log: -1 if it was never cleaned.
func (c *cleaner) point(name string) int64 {
	if at, ok := c.written[name]; ok {
		return at
	}
	return -1
}

// lowerCleanPoint is the part of a truncation: above offset nothing is clean. It is durable before appends
// go on, which would otherwise pass for clean after a crash. The caller holds maint.
func (l *Log) lowerCleanPoint(offset int64) error {
	if l.cleanPoint.Load() <= offset {
		return nil
	}
	l.cleanPoint.Store(offset)
	return l.dir.cleaner.save()
}
