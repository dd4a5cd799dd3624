package raftstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// The layout is that of hashicorp's FileSnapshotStore, which reads it too.
const (
	snapshotsDir = "snapshots"
	metaFile     = "meta.json"
	stateFile    = "state.bin"
	tmpSuffix    = ".tmp"
)

// copyBuffer is the size in which a snapshot is written and read.
const copyBuffer = 256 << 10

var ecma = crc64.MakeTable(crc64.ECMA)

// snapshotMeta is meta.json.
type snapshotMeta struct {
	raft.SnapshotMeta
	CRC []byte
}

// snapshots is the raft.SnapshotStore. It has no state of its own: what counts
// is what lies in the directory.
type snapshots struct {
	o    Options
	dir  string
	fail func(error)
}

var _ raft.SnapshotStore = (*snapshots)(nil)

// openSnapshots makes the directory if needed and removes what a crash left half done.
func openSnapshots(o Options, fail func(error)) (*snapshots, error) {
	s := &snapshots{o: o, dir: filepath.Join(o.Dir, snapshotsDir), fail: fail}
	there, err := vfs.Exists(o.FS, s.dir)
	if err != nil {
		return nil, err
	}
	if !there {
		if err := o.FS.MkdirAll(s.dir); err != nil {
			return nil, err
		}
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		return nil, err
	}
	names, err := o.FS.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range names {
		if f.IsDir && strings.HasSuffix(f.Name, tmpSuffix) {
			if err := o.FS.RemoveAll(filepath.Join(s.dir, f.Name)); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// reaches reports an error if the snapshot that raft will restore, the newest
// that can be read, does not reach up to the entry run where the log begins
// without a gap: raft would panic at the first missing entry.
func (s *snapshots) reaches(run uint64) error {
	all, err := list(s.o.FS, s.dir, s.bad)
	if err != nil {
		return err
	}
	var bad error
	for _, m := range all {
		_, r, err := openSnapshot(s.o.FS, s.dir, m.ID)
		if err != nil {
			bad = errors.Join(bad, err)
			continue
		}
		_ = r.Close()
		if run <= m.Index+1 {
			return nil
		}
		return damaged(s.o.Dir, fmt.Errorf("the newest readable snapshot ends at entry %d, the log begins at %d", m.Index, run))
	}
	if bad != nil || run > 1 {
		return damaged(s.o.Dir, errors.Join(fmt.Errorf("no snapshot can be read, and the log begins at entry %d", run), bad))
	}
	return nil
}

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	if version != 1 {
		return nil, fmt.Errorf("raftstore: snapshot version %d is not known", version)
	}
	name := fmt.Sprintf("%d-%d-%d", term, index, s.o.Clock.NowMillis())
	k := &sink{s: s, dir: filepath.Join(s.dir, name+tmpSuffix), crc: crc64.New(ecma), meta: snapshotMeta{SnapshotMeta: raft.SnapshotMeta{
		Version: version, ID: name, Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}}
	if err := s.o.FS.MkdirAll(k.dir); err != nil {
		return nil, fmt.Errorf("cannot begin a snapshot: %w", err)
	}
	f, err := s.o.FS.Create(filepath.Join(k.dir, stateFile))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot begin a snapshot: %w", err), s.o.FS.RemoveAll(k.dir))
	}
	k.file = f
	return k, nil
}

// list returns all snapshots that can be read, the newest first.
func list(f vfs.FS, dir string, bad func(name string, err error)) ([]*snapshotMeta, error) {
	names, err := f.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*snapshotMeta
	for _, n := range names {
		if !n.IsDir || strings.HasSuffix(n.Name, tmpSuffix) {
			continue
		}
		m, err := readMeta(f, dir, n.Name)
		if err != nil {
			bad(n.Name, err)
			continue
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *snapshotMeta) int {
		switch {
		case a.Term != b.Term:
			return compare(b.Term, a.Term)
		case a.Index != b.Index:
			return compare(b.Index, a.Index)
		}
		return strings.Compare(b.ID, a.ID)
	})
	return all, nil
}

func compare(a, b uint64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

func readMeta(f vfs.FS, dir, name string) (*snapshotMeta, error) {
	p, err := vfs.ReadFile(f, filepath.Join(dir, name, metaFile))
	if err != nil {
		return nil, err
	}
	m := &snapshotMeta{}
	if err := json.Unmarshal(p, m); err != nil {
		return nil, fmt.Errorf("%w: %s of snapshot %s: %w", ErrDamaged, metaFile, name, err)
	}
	if m.Version < raft.SnapshotVersionMin || m.Version > raft.SnapshotVersionMax {
		return nil, fmt.Errorf("raftstore: snapshot %s has version %d, which is not known", name, m.Version)
	}
	return m, nil
}

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	all, err := list(s.o.FS, s.dir, s.bad)
	if err != nil {
		return nil, err
	}
	var metas []*raft.SnapshotMeta
	for _, m := range all[:min(len(all), s.o.Retain)] {
		metas = append(metas, &m.SnapshotMeta)
	}
	return metas, nil
}

func (s *snapshots) bad(name string, err error) {
	s.o.Logger.Warn("A snapshot of the metadata log cannot be used", "snapshot", filepath.Join(s.dir, name), "error", err)
}

// Open implements raft.SnapshotStore. It reads the whole once to check it.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m, r, err := openSnapshot(s.o.FS, s.dir, id)
	if err != nil {
		return nil, nil, err
	}
	return &m.SnapshotMeta, r, nil
}

func openSnapshot(f vfs.FS, dir, id string) (*snapshotMeta, io.ReadCloser, error) {
	m, err := readMeta(f, dir, id)
	if err != nil {
		return nil, nil, err
	}
	file, err := f.Open(filepath.Join(dir, id, stateFile))
	if err != nil {
		return nil, nil, err
	}
	crc := crc64.New(ecma)
	n, err := io.CopyBuffer(crc, io.NewSectionReader(file, 0, m.Size+1), make([]byte, copyBuffer))
	if err == nil && (n != m.Size || string(crc.Sum(nil)) != string(m.CRC)) {
		err = fmt.Errorf("%w: snapshot %s: length or checksum of %s do not match", ErrDamaged, id, stateFile)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return m, &snapshotReader{io.NewSectionReader(file, 0, m.Size), file}, nil
}

type snapshotReader struct {
	*io.SectionReader
	file vfs.File
}

func (r *snapshotReader) Close() error { return r.file.Close() }

// sink is a snapshot that is being written.
type sink struct {
	s    *snapshots
	dir  string
	file vfs.File
	crc  hash.Hash64
	meta snapshotMeta
	buf  []byte
	done bool
}

var _ raft.SnapshotSink = (*sink)(nil)

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return k.meta.ID }

// Write implements io.Writer.
func (k *sink) Write(p []byte) (int, error) {
	k.buf = append(k.buf, p...)
	if len(k.buf) < copyBuffer {
		return len(p), nil
	}
	return len(p), k.flush()
}

func (k *sink) flush() error {
	n, err := k.file.WriteAt(k.buf, k.meta.Size)
	_, _ = k.crc.Write(k.buf[:n])
	k.meta.Size += int64(n)
	k.buf = k.buf[:0]
	return err
}

// Close implements raft.SnapshotSink: the snapshot is durable and has its name
// when it returns nil. A failed flush is the end of the store: it lies on the
// disk of the log.
func (k *sink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	if err := k.finish(); err != nil {
		return errors.Join(fmt.Errorf("cannot finish a snapshot: %w", err), k.s.o.FS.RemoveAll(k.dir))
	}
	return k.s.reap()
}

func (k *sink) finish() error {
	err := k.flush()
	k.meta.CRC = k.crc.Sum(nil)
	if err == nil {
		err = k.s.sync(k.file.Sync())
	}
	if err = errors.Join(err, k.file.Close()); err != nil {
		return err
	}
	if err := k.writeMeta(); err != nil {
		return err
	}
	if err := k.s.sync(k.s.o.FS.SyncDir(k.dir)); err != nil {
		return err
	}
	if err := k.s.o.FS.Rename(k.dir, strings.TrimSuffix(k.dir, tmpSuffix)); err != nil {
		return err
	}
	return k.s.sync(k.s.o.FS.SyncDir(k.s.dir))
}

func (k *sink) writeMeta() error {
	p, err := json.Marshal(&k.meta)
	if err != nil {
		return err
	}
	f, err := k.s.o.FS.Create(filepath.Join(k.dir, metaFile))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(append(p, '\n'), 0)
	if err == nil {
		err = k.s.sync(f.Sync())
	}
	return errors.Join(err, f.Close())
}

// sync ends the store when a flush has failed.
func (s *snapshots) sync(err error) error {
	if err != nil {
		s.fail(fmt.Errorf("a snapshot cannot be flushed: %w", err))
	}
	return err
}

// Cancel implements raft.SnapshotSink.
func (k *sink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	return errors.Join(k.file.Close(), k.s.o.FS.RemoveAll(k.dir))
}

// reap removes all snapshots but the newest.
func (s *snapshots) reap() error {
	all, err := list(s.o.FS, s.dir, s.bad)
	if err != nil {
		return err
	}
	for _, m := range all[min(len(all), s.o.Retain):] {
		if err := s.o.FS.RemoveAll(filepath.Join(s.dir, m.ID)); err != nil {
			return fmt.Errorf("cannot remove an old snapshot: %w", err)
		}
	}
	return nil
}

// syncParent makes the entry of a directory durable.
func syncParent(f vfs.FS, dir string) error { return f.SyncDir(filepath.Dir(dir)) }
