package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// Sizes of the entries of the two indexes; docs/formats/indexes.md has the diagrams.
const (
	offsetEntrySize = 8
	timeEntrySize   = 12
	// indexBatch is how many entries are gathered in memory before they are written, in one call.
	indexBatch = 512
)

// offsetEntry says: the batch that begins at pos ends with offset rel, counted from the segment's base.
type offsetEntry struct{ rel, pos int32 }

// timeEntry says: up to the batch that ends with offset rel, and in that batch first, the greatest timestamp is ts.
type timeEntry struct {
	ts  int64
	rel int32
}

// index is the offset index and the time index of a segment. Entries are made in memory and
// written to the files a batch at a time; the files are not kept open. They can always be made
// anew from the data, so a failed write costs nothing but memory until the next one.
//
// It is guarded by the segment's lock. Written entries are changed by truncation only, and
// pending slices only grow, so that a reader takes an indexView and does its I/O without the lock.
type index struct {
	offsets []offsetEntry // pending: not in the file yet
	times   []timeEntry
	nOffset int // entries in the files
	nTime   int

	// Of these, how many are durable: recovery relies on them. Entries that were synced count only
	// when the names of their files have been, too (settle).
	nOffsetDurable, nTimeDurable int
	nOffsetSynced, nTimeSynced   int

	since    int64 // bytes since the batch of the last offset entry
	lastTime int64 // timestamp of the last time entry
	maxTime  timeEntry
	// A clean start does not read the files: known tells that since and lastTime hold, maxKnown
	// that maxTime does.
	known    bool
	maxKnown bool
	broken   bool // the files do not fit the data: look-ups walk, until the background has made them anew

	block *indexBlock // the last one read
}

func newIndex() index {
	return index{maxTime: timeEntry{ts: -1}, lastTime: -1, known: true, maxKnown: true}
}

// indexBlock is a piece of the offset index file.
type indexBlock struct {
	n       int // its number
	entries []offsetEntry
}

// add accounts for a batch of size bytes at pos that ends with offset rel, and makes entries every interval bytes.
func (x *index) add(interval int64, rel, pos int32, size int, maxTimestamp int64) {
	if maxTimestamp > x.maxTime.ts {
		x.maxTime = timeEntry{ts: maxTimestamp, rel: rel}
	}
	if x.since > interval {
		x.offsets = append(x.offsets, offsetEntry{rel: rel, pos: pos})
		x.addTime()
		x.since = 0
	}
	x.since += int64(size)
}

// addTime makes a time entry, if the greatest timestamp has risen since the last one.
func (x *index) addTime() {
	if x.maxTime.ts > x.lastTime {
		x.times = append(x.times, x.maxTime)
		x.lastTime = x.maxTime.ts
	}
}

// full tells whether one of the indexes has no room for another entry.
func (x *index) full(limit int32) bool {
	return (x.nOffset+len(x.offsets)+1)*offsetEntrySize > int(limit) || (x.nTime+len(x.times)+2)*timeEntrySize > max(int(limit), 3*timeEntrySize)
}

// indexView is what a look-up needs of an index.
type indexView struct {
	pending []offsetEntry
	n       int // entries in the file
	block   *indexBlock
	broken  bool
}

func (x *index) view() indexView {
	return indexView{pending: x.offsets, n: x.nOffset, block: x.block, broken: x.broken}
}

// found is an entry, and how far behind its batch the next entry's begins; 0 if that is not known.
type found struct {
	offsetEntry
	gap int64
}

// lastEntry returns the last of the entries for which ok holds, and false if there is none.
func lastEntry(entries []offsetEntry, ok func(offsetEntry) bool) (found, bool) {
	i := sort.Search(len(entries), func(i int) bool { return !ok(entries[i]) })
	if i == 0 {
		return found{}, false
	}
	e := found{offsetEntry: entries[i-1]}
	if i < len(entries) {
		e.gap = int64(entries[i].pos - e.pos)
	}
	return e, true
}

// findEntry returns the last entry for which ok holds; ok must hold for a prefix of the entries. It
// reports false if there is none.
func (s *segment) findEntry(v indexView, ok func(offsetEntry) bool) (found, bool, error) {
	if v.broken {
		return found{}, false, nil
	}
	if e, ok := lastEntry(v.pending, ok); ok {
		return e, true, nil
	}
	if v.n == 0 {
		return found{}, false, nil
	}
	b := v.block
	if b == nil || !b.covers(v.n, ok) {
		var err error
		if b, err = s.readBlock(v.n, ok); b == nil || err != nil {
			return found{}, false, err
		}
	}
	e, there := lastEntry(b.entries, ok)
	return e, there, nil
}

// covers tells whether the last entry for which ok holds is in the block for sure, the file having n.
func (b *indexBlock) covers(n int, ok func(offsetEntry) bool) bool {
	last := b.n*indexBatch+len(b.entries) >= n
	return ok(b.entries[0]) && (last || !ok(b.entries[len(b.entries)-1]))
}

// readBlock reads the block of the index file, n entries long, that holds the last entry for
// which ok holds; nil if it holds for none. The block is kept for the next look-up.
func (s *segment) readBlock(n int, ok func(offsetEntry) bool) (*indexBlock, error) {
	f, err := s.log.dir.fs.Open(s.path(indexSuffix))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	blocks := (n + indexBatch - 1) / indexBatch
	var failed error
	i := sort.Search(blocks, func(i int) bool {
		e, err := readOffsetEntries(f, i*indexBatch, 1)
		if err != nil {
			failed = err
			return true
		}
		return !ok(e[0])
	})
	if failed != nil || i == 0 {
		return nil, failed
	}
	entries, err := readOffsetEntries(f, (i-1)*indexBatch, min(indexBatch, n-(i-1)*indexBatch))
	if err != nil {
		return nil, err
	}
	b := &indexBlock{n: i - 1, entries: entries}
	s.mu.Lock()
	if s.open != nil && s.index.nOffset >= n { // else closeFile would not drop it, or a truncation has been there
		s.index.block = b
	}
	s.mu.Unlock()
	return b, nil
}

// readOffsetEntries reads n entries of an offset index from the i-th on.
func readOffsetEntries(f io.ReaderAt, i, n int) ([]offsetEntry, error) {
	p := make([]byte, n*offsetEntrySize)
	if err := readFull(f, p, int64(i)*offsetEntrySize); err != nil {
		return nil, err
	}
	return decodeOffsetEntries(p), nil
}

// readTimeEntries reads n entries of a time index from the i-th on.
func readTimeEntries(f io.ReaderAt, i, n int) ([]timeEntry, error) {
	p := make([]byte, n*timeEntrySize)
	if err := readFull(f, p, int64(i)*timeEntrySize); err != nil {
		return nil, err
	}
	return decodeTimeEntries(p), nil
}

// readFull reads len(p) bytes at off; io.ErrUnexpectedEOF if there are fewer.
func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}

func decodeOffsetEntries(p []byte) []offsetEntry {
	entries := make([]offsetEntry, len(p)/offsetEntrySize)
	for i := range entries {
		e := p[i*offsetEntrySize:]
		entries[i] = offsetEntry{rel: int32(binary.BigEndian.Uint32(e)), pos: int32(binary.BigEndian.Uint32(e[4:]))}
	}
	return entries
}

func encodeOffsetEntries(entries []offsetEntry) []byte {
	p := make([]byte, 0, len(entries)*offsetEntrySize)
	for _, e := range entries {
		p = binary.BigEndian.AppendUint32(p, uint32(e.rel))
		p = binary.BigEndian.AppendUint32(p, uint32(e.pos))
	}
	return p
}

func decodeTimeEntries(p []byte) []timeEntry {
	entries := make([]timeEntry, len(p)/timeEntrySize)
	for i := range entries {
		e := p[i*timeEntrySize:]
		entries[i] = timeEntry{ts: int64(binary.BigEndian.Uint64(e)), rel: int32(binary.BigEndian.Uint32(e[8:]))}
	}
	return entries
}

func encodeTimeEntries(entries []timeEntry) []byte {
	p := make([]byte, 0, len(entries)*timeEntrySize)
	for _, e := range entries {
		p = binary.BigEndian.AppendUint64(p, uint64(e.ts))
		p = binary.BigEndian.AppendUint32(p, uint32(e.rel))
	}
	return p
}

// checkOffsetEntries tells why entries cannot be those of an index: they must rise in both
// columns and lie below pos and rel.
func checkOffsetEntries(entries []offsetEntry, rel, pos int64) error {
	last := offsetEntry{rel: -1, pos: -1}
	for i, e := range entries {
		if e.rel <= last.rel || e.pos <= last.pos || int64(e.rel) >= rel || int64(e.pos) >= pos {
			return fmt.Errorf("entry %d (offset +%d at %d) after (+%d at %d), limits +%d and %d", i, e.rel, e.pos, last.rel, last.pos, rel, pos)
		}
		last = e
	}
	return nil
}

// checkTimeEntries is the same for a time index.
func checkTimeEntries(entries []timeEntry, rel int64) error {
	last := timeEntry{ts: -1, rel: -1}
	for i, e := range entries {
		if e.ts <= last.ts || e.rel <= last.rel || int64(e.rel) >= rel {
			return fmt.Errorf("entry %d (timestamp %d at offset +%d) after (%d at +%d), limit +%d", i, e.ts, e.rel, last.ts, last.rel, rel)
		}
		last = e
	}
	return nil
}

// openOrCreate opens a file for writing and makes it if it is not there.
func openOrCreate(fsys vfs.FS, name string) (vfs.File, error) {
	f, err := fsys.OpenReadWrite(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fsys.Create(name)
	}
	return f, err
}

// writeEntries writes encoded entries of an index file at entry n, cuts off what stands behind
// them, and syncs the file if asked.
func writeEntries(fsys vfs.FS, name string, p []byte, n int, size int, sync bool) error {
	if len(p) == 0 && n == 0 {
		if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	f, err := openOrCreate(fsys, name)
	if err != nil {
		return err
	}
	defer f.Close()
	at := int64(n) * int64(size)
	if len(p) > 0 {
		if _, err := f.WriteAt(p, at); err != nil {
			return err
		}
	}
	if have, err := f.Size(); err != nil {
		return err
	} else if want := at + int64(len(p)); have > want {
		if err := f.Truncate(want); err != nil {
			return err
		}
	}
	if sync {
		return f.Datasync()
	}
	return nil
}

// writeIndex writes the pending entries of both indexes to their files. Nobody else may write
// them meanwhile: the caller holds the log's lock and the segment is active, or the log's
// maintenance and it is sealed.
func (s *segment) writeIndex(sync bool) error {
	s.mu.Lock()
	x := &s.index
	offsets, nOffset, times, nTime := x.offsets, x.nOffset, x.times, x.nTime
	s.mu.Unlock()
	fsys := s.log.dir.fs
	err := writeEntries(fsys, s.path(indexSuffix), encodeOffsetEntries(offsets), nOffset, offsetEntrySize, sync)
	if err == nil {
		err = writeEntries(fsys, s.path(timeIndexSuffix), encodeTimeEntries(times), nTime, timeEntrySize, sync)
	}
	if err != nil {
		if sync { // what the files hold is not known any more
			s.distrust(err)
		}
		return err
	}
	nOffset, nTime = nOffset+len(offsets), nTime+len(times)
	s.mu.Lock()
	x.offsets, x.nOffset = append([]offsetEntry(nil), x.offsets[len(offsets):]...), nOffset
	x.times, x.nTime = append([]timeEntry(nil), x.times[len(times):]...), nTime
	if sync {
		s.index.nOffsetSynced, s.index.nTimeSynced = nOffset, nTime
	}
	s.mu.Unlock()
	return nil
}

// believe limits the entries to those that are durable by the recovery point. If the files have
// fewer they are not believed at all.
func (x *index) believe(nOffset, nTime int) {
	if x.nOffset < nOffset || x.nTime < nTime {
		nOffset, nTime = 0, 0
	}
	x.nOffset, x.nTime = nOffset, nTime
	x.nOffsetSynced, x.nTimeSynced, x.nOffsetDurable, x.nTimeDurable = nOffset, nTime, nOffset, nTime
}

// settle counts the entries as durable that were synced; the directory has been since.
func (s *segment) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.index
	x.nOffsetDurable, x.nTimeDurable = x.nOffsetSynced, x.nTimeSynced
}

// syncNames makes the names of the log's side files durable, and with them what they hold.
func (l *Log) syncNames() error {
	if err := l.dir.fs.SyncDir(l.dirPath()); err != nil {
		return err
	}
	l.renamed = false
	for _, s := range *l.segments.Load() {
		s.settle()
	}
	return nil
}

// syncIndex makes durable what has been written of the indexes of the active segment, so that
// recovery can begin there.
func (s *segment) syncIndex() (synced bool, err error) {
	s.mu.Lock()
	nOffset, nTime := s.index.nOffset, s.index.nTime
	done := nOffset == s.index.nOffsetSynced && nTime == s.index.nTimeSynced
	s.mu.Unlock()
	if done {
		return false, nil
	}
	for suffix, n := range map[string]int{indexSuffix: nOffset, timeIndexSuffix: nTime} {
		if n == 0 {
			continue
		}
		if err := s.log.syncFile(offsetName(s.base, suffix)); err != nil {
			s.distrust(err)
			return false, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.nOffsetSynced, s.index.nTimeSynced = nOffset, nTime
	return true, nil
}
