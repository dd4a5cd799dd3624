package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/chronik-stream/chronik/internal/vfs"
)

const boltFile = "raft.db"

// lockWait is how long an open waits for another one to end.
const lockWait = time.Second

// bucketLogs is raft-boltdb's bucket of entries, keyed by index, big endian.
var bucketLogs = []byte("logs")

// boltOptions: without the freelist on disk a write costs half of its tail; the
// price is that it is rebuilt at open.
func boltOptions(readOnly bool) *bbolt.Options {
	return &bbolt.Options{
		Timeout:        lockWait,
		ReadOnly:       readOnly,
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
	}
}

// OpenBolt opens the stores of a node in a bolt file, made if it is not there.
// An existing file is walked first, so that damage is an error here and not a
// forgotten vote later. o.FS must be the machine's file system.
func OpenBolt(o Options) (*Stores, error) {
	o = o.withDefaults()
	if err := makeDir(o); err != nil {
		return nil, err
	}
	path := filepath.Join(o.Dir, boltFile)
	there, err := vfs.Exists(o.FS, path)
	if err != nil {
		return nil, err
	}
	run := uint64(0)
	if there {
		run, err = check(o.FS, path)
	} else {
		err = create(o.FS, path)
	}
	if err != nil {
		return nil, err
	}
	var b *raftboltdb.BoltStore
	err = guarded(path, func() error {
		b, err = raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: boltOptions(false)})
		return err
	})
	if err != nil {
		return nil, err
	}
	return open(o, b, run)
}

// create makes an empty file under its name at once, so that a crash never
// leaves half of one.
func create(f vfs.FS, path string) error {
	tmp := path + ".tmp"
	if err := f.RemoveAll(tmp); err != nil {
		return err
	}
	b, err := raftboltdb.New(raftboltdb.Options{Path: tmp, BoltOptions: boltOptions(false)})
	if err != nil {
		return fmt.Errorf("cannot make the store of the metadata log: %w", err)
	}
	if err := b.Close(); err != nil {
		return fmt.Errorf("cannot make the store of the metadata log: %w", err)
	}
	if err := f.Rename(tmp, path); err != nil {
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}

// check reads every entry and value of a file, and returns the index from which
// on the entries stand without a gap up to the last one; 0 if there is none.
func check(f vfs.FS, path string) (run uint64, err error) {
	err = guarded(path, func() error {
		if err := checkMetas(f, path); err != nil {
			return err
		}
		return readBolt(path, func(b *raftboltdb.BoltStore, keys func(func(uint64) error) error) error {
			if _, _, err := loadTerm(b); err != nil {
				return err
			}
			if _, err := loadVote(b); err != nil {
				return err
			}
			last := uint64(0)
			return keys(func(index uint64) error {
				var l raft.Log
				if err := b.GetLog(index, &l); err != nil {
					return fmt.Errorf("%w: entry %d cannot be read: %w", ErrDamaged, index, err)
				}
				if run == 0 || index != last+1 {
					run = index
				}
				last = index
				return unseal(index, &l)
			})
		})
	})
	return run, err
}

// Layout of the first two pages of a bolt file: a header, then the meta.
const (
	pageHeader  = 16
	metaSum     = 56 // offset of the checksum in a meta, FNV-1a of what stands before it
	metaBytes   = metaSum + 8
	metaMagic   = 0xED0CDAED
	metaVersion = 2
)

// checkMetas demands that both meta pages are whole. bolt takes the older one if
// the newer is damaged, and the last transaction, perhaps a vote, is forgotten
// without a word. A crash does not tear a meta: it lies within one sector.
func checkMetas(f vfs.FS, path string) error {
	file, err := f.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	offset := int64(0)
	for page := range 2 {
		p := make([]byte, pageHeader+metaBytes)
		if _, err := file.ReadAt(p, offset); err != nil {
			return fmt.Errorf("%w: meta page %d cannot be read: %w", ErrDamaged, page, err)
		}
		m := p[pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:metaSum])
		if binary.NativeEndian.Uint32(m) != metaMagic || binary.NativeEndian.Uint32(m[4:]) != metaVersion ||
			binary.NativeEndian.Uint64(m[metaSum:]) != sum.Sum64() {
			return fmt.Errorf("%w: the checksum of meta page %d does not match", ErrDamaged, page)
		}
		offset = int64(binary.NativeEndian.Uint32(m[8:])) // the page size
	}
	if size, err := file.Size(); err != nil || size < 2*offset {
		return errors.Join(err, fmt.Errorf("%w: %d bytes are no bolt file", ErrDamaged, size))
	}
	return nil
}

// readBolt opens a file for reading and calls f with it, and with a function
// that goes over the indexes of all entries.
func readBolt(path string, f func(*raftboltdb.BoltStore, func(func(uint64) error) error) error) (err error) {
	b, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: boltOptions(true)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	db, err := bbolt.Open(path, 0, boltOptions(true))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return f(b, func(each func(uint64) error) error { return eachIndex(db, each) })
}

// eachIndex calls f with the index of every entry, in order, checking that they ascend.
func eachIndex(db *bbolt.DB, f func(uint64) error) error {
	return db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketLogs)
		if bucket == nil {
			return fmt.Errorf("%w: it has no bucket %q", ErrDamaged, bucketLogs)
		}
		last := uint64(0)
		c := bucket.Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if len(k) != 8 {
				return fmt.Errorf("%w: a key of %d bytes among the entries", ErrDamaged, len(k))
			}
			index := binary.BigEndian.Uint64(k)
			if index <= last {
				return fmt.Errorf("%w: entry %d follows entry %d", ErrDamaged, index, last)
			}
			last = index
			if err := f(index); err != nil {
				return err
			}
		}
		return nil
	})
}

// guarded runs f, which opens or reads a bolt file, and turns what damage to the
// file does to it into an error: only the two meta pages of a bolt file carry a
// checksum, a page of the wrong kind is a panic, and a page beyond the end of the
// file a fault.
func guarded(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged(path, fmt.Errorf("%v", p))
		}
	}()
	err = f()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w: %s; stop the chronik-server that runs on this data directory, or give this one another --data-dir", ErrLocked, path)
	case errors.Is(err, ErrDamaged), errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return damaged(path, err)
	default:
		return fmt.Errorf("cannot open the store of the metadata log %s: %w", path, err)
	}
}

// damaged says what to do with a file that cannot be trusted. It must not be
// repaired, nor silently made anew: a voter that forgets its vote or its entries
// can elect a leader that lacks what was committed.
func damaged(path string, cause error) error {
	if !errors.Is(cause, ErrDamaged) {
		cause = fmt.Errorf("%w: %w", ErrDamaged, cause)
	}
	return fmt.Errorf("the store of the metadata log %s cannot be trusted (%w): this node does not start, because a voter that has forgotten its vote could lose what the cluster has committed; "+
		"keep a copy of the directory, remove the node from the cluster, start it with an empty data directory, and let it join as a new node", path, cause)
}
