package storage

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// This file reads a log's files without a Directory, for tools: nothing is opened for writing,
// nothing is repaired, and bytes that are damaged are reported and passed over.

// StoredBatch is a batch as it stands in a segment file.
type StoredBatch struct {
	Position int64
	Size     int64
	Batch    record.Batch // whole; good until the next one is read
	Err      error        // the checksum or the counts do not fit; the header is what is stored
}

// ReadSegment calls visit for each batch of a segment file, with the verdict on its checksum. It
// ends with an error that says where, if the bytes there cannot be a batch or the file ends inside
// one; with the error of visit; or with nil at the end of the file.
func ReadSegment(fsys vfs.FS, path string, visit func(StoredBatch) error) error {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	next := int64(-1)
	for pos := int64(0); pos < size; {
		b, err := readBatch(f, pos, size)
		if err != nil {
			e := &CorruptionError{Path: path, Position: pos, Offset: next, Err: err}
			if at, base, ok := resync(f, pos+1, size, max(next-1, 0)); ok {
				e.Err = fmt.Errorf("%w; the next intact batch is at position %d (offset %d)", err, at, base)
			}
			return e
		}
		if err := visit(b); err != nil {
			return err
		}
		pos, next = pos+b.Size, b.Batch.LastOffset()+1
	}
	return nil
}

// readBatch reads the batch at pos. An error means that the length cannot be right.
func readBatch(f io.ReaderAt, pos, size int64) (StoredBatch, error) {
	var header [record.HeaderSize]byte
	if size-pos < record.HeaderSize {
		return StoredBatch{}, errTorn
	}
	if err := readFull(f, header[:], pos); err != nil {
		return StoredBatch{}, err
	}
	n, err := record.Size(header[:])
	if err != nil {
		return StoredBatch{}, err
	}
	if pos+int64(n) > size {
		return StoredBatch{}, errTorn
	}
	p := make([]byte, n)
	if err := readFull(f, p, pos); err != nil {
		return StoredBatch{}, err
	}
	b := StoredBatch{Position: pos, Size: int64(n), Batch: record.Batch(p)}
	b.Err = b.Batch.Check()
	return b, nil
}

// OffsetIndexEntry is an entry of an offset index: the batch at Position ends with Offset.
type OffsetIndexEntry struct {
	Offset   int64
	Position int64
}

// ReadOffsetIndex reads an .index file; the base offset is in its name.
func ReadOffsetIndex(fsys vfs.FS, path string) ([]OffsetIndexEntry, error) {
	base, p, err := readNamed(fsys, path, indexSuffix)
	if err != nil {
		return nil, err
	}
	entries := make([]OffsetIndexEntry, 0, len(p)/offsetEntrySize)
	for _, e := range decodeOffsetEntries(p) {
		entries = append(entries, OffsetIndexEntry{Offset: base + int64(e.rel), Position: int64(e.pos)})
	}
	if len(p)%offsetEntrySize != 0 {
		return entries, fmt.Errorf("%w: %s: %d bytes behind the last entry", ErrCorrupt, path, len(p)%offsetEntrySize)
	}
	return entries, nil
}

// TimeIndexEntry is an entry of a time index: the greatest timestamp up to the batch that ends
// with Offset, and in it, is Timestamp.
type TimeIndexEntry struct {
	Timestamp int64
	Offset    int64
}

// ReadTimeIndex reads a .timeindex file; the base offset is in its name.
func ReadTimeIndex(fsys vfs.FS, path string) ([]TimeIndexEntry, error) {
	base, p, err := readNamed(fsys, path, timeIndexSuffix)
	if err != nil {
		return nil, err
	}
	entries := make([]TimeIndexEntry, 0, len(p)/timeEntrySize)
	for _, e := range decodeTimeEntries(p) {
		entries = append(entries, TimeIndexEntry{Timestamp: e.ts, Offset: base + int64(e.rel)})
	}
	if len(p)%timeEntrySize != 0 {
		return entries, fmt.Errorf("%w: %s: %d bytes behind the last entry", ErrCorrupt, path, len(p)%timeEntrySize)
	}
	return entries, nil
}

// SnapshotEntry is a producer in a snapshot.
type SnapshotEntry struct {
	ProducerState
	LastOffset int64 // of its last batch, -1 if none is known
	Batches    int   // how many of its batches are remembered
}

// ReadProducerSnapshot reads a .snapshot file.
func ReadProducerSnapshot(fsys vfs.FS, path string) ([]SnapshotEntry, error) {
	p, err := vfs.ReadFile(fsys, path)
	if err != nil {
		return nil, err
	}
	state, err := decodeProducers(p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	entries := make([]SnapshotEntry, 0, len(state.byID))
	for _, id := range state.ids() {
		pr := state.byID[id]
		e := SnapshotEntry{ProducerState: pr.state(id), LastOffset: -1, Batches: int(pr.n)}
		if pr.n > 0 {
			e.LastOffset = pr.last().lastOffset
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// CheckpointEntry is a log's line in the recovery-point file of a data directory.
type CheckpointEntry struct {
	ID            LogID
	Start         int64 // log start offset
	RecoveryPoint int64
	Segment       int64 // base offset of the segment that holds the recovery point
	Position      int64 // of the recovery point in it
	State         string
}

// ReadRecoveryPoints reads the recovery-point file of a data directory, in order of the names.
func ReadRecoveryPoints(fsys vfs.FS, dir string) ([]CheckpointEntry, error) {
	c, err := loadCheckpoint(fsys, dir)
	if err != nil || c == nil {
		return nil, err
	}
	entries := make([]CheckpointEntry, 0, len(c.entries))
	for _, name := range slices.Sorted(maps.Keys(c.entries)) {
		e := c.entries[name]
		entries = append(entries, CheckpointEntry{
			ID: e.id, Start: e.start, RecoveryPoint: e.point.offset, Segment: e.point.base, Position: e.point.pos, State: e.state(),
		})
	}
	return entries, nil
}

// readNamed reads a file whose name is an offset.
func readNamed(fsys vfs.FS, path, suffix string) (int64, []byte, error) {
	base, ok := parseOffsetName(filepath.Base(path), suffix)
	if !ok {
		return 0, nil, fmt.Errorf("%s: not the name of a %s file: 20 digits are expected", path, suffix)
	}
	p, err := vfs.ReadFile(fsys, path)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return base, p, err
}
