package cli

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// verification is what dump-log --verify knows of a segment while it reads it, and carries from one to the next.
type verification struct {
	dir     string
	next    int64 // the offset behind the last batch; -1: none was read in this directory
	batches []batchPlace
	records int64
}

// batchPlace is what the entries of an index are held against.
type batchPlace struct {
	at           int64
	base, last   int64
	maxTimestamp int64
}

// Sizes of an index's entries; docs/formats/indexes.md has the diagrams.
const (
	offsetEntryBytes = 8
	timeEntryBytes   = 12
)

// verify reads a segment with its indexes and shows one line about it, behind those about what is wrong.
func (d *dump) verify(path string) error {
	if dir := filepath.Dir(path); d.checked == nil || d.checked.dir != dir {
		d.checked = &verification{dir: dir, next: -1}
	}
	v := d.checked
	v.batches, v.records = v.batches[:0], 0
	bad := d.bad
	f, err := d.fs.Open(path)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if err := d.verifyBatches(path, segmentReader{f: f, size: size}); err != nil {
		return err
	}
	offsets, err := d.verifyIndex(strings.TrimSuffix(path, ".log")+".index", offsetEntryBytes, v.offsetEntry(baseOffset(path)))
	if err != nil {
		return err
	}
	times, err := d.verifyIndex(strings.TrimSuffix(path, ".log")+".timeindex", timeEntryBytes, v.timeEntry(baseOffset(path)))
	if err != nil {
		return err
	}
	state := "ok"
	if d.bad > bad {
		state = "damaged"
	}
	return d.show(item{kind: "verified", name: path, fields: []field{
		{"file", path},
		{"state", state},
		{"bytes", size},
		{"batches", len(v.batches)},
		{"records", v.records},
		{"offsetEntries", offsets},
		{"timeEntries", times},
	}})
}

// verifyBatches checks every batch, and that offsets only rise, from those in the segment's name on.
func (d *dump) verifyBatches(path string, r segmentReader) error {
	v := d.checked
	if base := baseOffset(path); base > v.next {
		v.next = base
	} else if base >= 0 && base < v.next {
		if err := d.problem(path, fmt.Errorf("it is named after offset %d, but the segment before it ends with %d", base, v.next-1)); err != nil {
			return err
		}
	}
	for {
		b, at, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		where := fmt.Sprintf("%s:%d", path, at)
		if err != nil {
			return d.problem(where, err)
		}
		if err = b.Check(); err == nil {
			err = b.Walk(dumpLimit, nil) // a batch is only whole if its records are
		}
		if err == nil && b.BaseOffset() < v.next {
			err = fmt.Errorf("the batch begins with offset %d, but what stands before it ends with %d", b.BaseOffset(), v.next-1)
		}
		if err != nil {
			if err := d.problem(where, err); err != nil {
				return err
			}
		}
		v.next = max(v.next, b.LastOffset()+1)
		v.records += int64(b.Count())
		v.batches = append(v.batches, batchPlace{at, b.BaseOffset(), b.LastOffset(), b.MaxTimestamp()})
	}
}

// verifyIndex holds every entry of an index file against the batches. A file that is not there is none that is
// wrong: it is made anew at the next start.
func (d *dump) verifyIndex(path string, size int, check func(entry []byte) error) (entries int, err error) {
	f, err := d.fs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return 0, err
	}
	data := make([]byte, n)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("cannot read %s: %w", path, err)
	}
	if n%int64(size) != 0 {
		if err := d.problem(path, fmt.Errorf("%s are no whole number of entries of %d", plural(n, "byte"), size)); err != nil {
			return 0, err
		}
	}
	for at := 0; at+size <= len(data); at += size {
		if err := check(data[at : at+size]); err != nil {
			if err := d.problem(fmt.Sprintf("%s:%d", path, at), err); err != nil {
				return entries, err
			}
		}
		entries++
	}
	return entries, nil
}

// offsetEntry checks one entry of an offset index after the other: offset and position rise, a batch begins at the
// position, and the offset does not lie before it.
func (v *verification) offsetEntry(base int64) func([]byte) error {
	lastOffset, lastAt, i := int64(-1), int64(-1), 0
	return func(entry []byte) error {
		offset := base + int64(binary.BigEndian.Uint32(entry))
		at := int64(binary.BigEndian.Uint32(entry[4:]))
		if offset <= lastOffset || at <= lastAt {
			return fmt.Errorf("offset %d at %d follows offset %d at %d", offset, at, lastOffset, lastAt)
		}
		lastOffset, lastAt = offset, at
		for i < len(v.batches) && v.batches[i].at < at {
			i++
		}
		switch {
		case i == len(v.batches) || v.batches[i].at != at:
			return fmt.Errorf("no batch begins at %d, where offset %d should be", at, offset)
		case offset < v.batches[i].base:
			return fmt.Errorf("the batch at %d begins with offset %d, behind %d", at, v.batches[i].base, offset)
		}
		return nil
	}
}

// timeEntry checks one entry of a time index after the other: time and offset rise, and no record up to the offset
// is younger than the time.
func (v *verification) timeEntry(base int64) func([]byte) error {
	lastTime, lastOffset, youngest, i := int64(-1), int64(-1), int64(-1), 0
	return func(entry []byte) error {
		at := int64(binary.BigEndian.Uint64(entry))
		offset := base + int64(binary.BigEndian.Uint32(entry[8:]))
		if at < lastTime || offset < lastOffset {
			return fmt.Errorf("%s at offset %d follows %s at offset %d", timeText(at), offset, timeText(lastTime), lastOffset)
		}
		lastTime, lastOffset = at, offset
		for i < len(v.batches) && v.batches[i].last <= offset {
			youngest = max(youngest, v.batches[i].maxTimestamp)
			i++
		}
		if youngest > at {
			return fmt.Errorf("%s is said to be the youngest up to offset %d, but there is one of %s", timeText(at), offset, timeText(youngest))
		}
		return nil
	}
}
