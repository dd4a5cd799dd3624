package raftstore

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// Reader shows the store of a node that is stopped; it changes nothing.
type Reader struct {
	fs    vfs.FS
	dir   string
	store *raftboltdb.BoltStore
	db    *bbolt.DB

	// Term is the stored current term, Vote the term of the last vote and
	// Candidate whom it was for; zero and empty if there is none.
	Term      uint64
	Vote      uint64
	Candidate string
	// First and Last are the indexes of the first and the last entry; zero if there is none.
	First uint64
	Last  uint64
}

// Entry is an entry of the log.
type Entry struct {
	Index      uint64
	Term       uint64
	Type       string    // command, noop, barrier, configuration
	Data       []byte    // of a command: what the controller proposed
	Servers    []Server  // of a configuration
	AppendedAt time.Time // by the leader's clock; zero if unknown
}

// Server is a member in a Raft configuration.
type Server struct {
	ID       string
	Address  string
	Suffrage string // Voter, Nonvoter
}

// Snapshot describes a snapshot.
type Snapshot struct {
	ID                 string
	Index              uint64
	Term               uint64
	Size               int64
	ConfigurationIndex uint64
	Servers            []Server
}

// OpenReader opens the store in dir (<data>/__raft_metadata-0) for reading. It
// fails with ErrLocked while the node runs, and with ErrDamaged if term or vote
// cannot be read.
func OpenReader(f vfs.FS, dir string) (*Reader, error) {
	r := &Reader{fs: f, dir: dir}
	path := filepath.Join(dir, boltFile)
	if there, err := vfs.Exists(f, path); err != nil || !there {
		return nil, errors.Join(err, fmt.Errorf("there is no %s in %s: name the directory __raft_metadata-0 of a data directory", boltFile, dir))
	}
	err := guarded(path, func() error { return r.open(path) })
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Reader) open(path string) (err error) {
	if err = checkMetas(r.fs, path); err != nil {
		return err
	}
	if r.store, err = raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: boltOptions(true)}); err != nil {
		return err
	}
	if r.db, err = bbolt.Open(path, 0, boltOptions(true)); err != nil {
		return err
	}
	if r.Term, _, err = loadTerm(r.store); err != nil {
		return err
	}
	v, err := loadVote(r.store)
	if err != nil {
		return err
	}
	r.Vote, r.Candidate = v.term, string(v.candidate)
	if r.First, err = r.store.FirstIndex(); err != nil {
		return err
	}
	r.Last, err = r.store.LastIndex()
	return err
}

// errStop ends an iteration that its user has had enough of.
var errStop = errors.New("stop")

// Entries goes over the entries from index from on. An entry that cannot be read
// comes with an error and its index alone, and the next one follows; damage to
// the file itself ends the iteration with an error and index 0.
func (r *Reader) Entries(from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		path := filepath.Join(r.dir, boltFile)
		err := guarded(path, func() error {
			return eachIndex(r.db, func(index uint64) error {
				if index < from {
					return nil
				}
				e, err := r.entry(index)
				if !yield(e, err) {
					return errStop
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Entry{}, err)
		}
	}
}

// entry reads one entry. A panic in the decoder is this entry's alone.
func (r *Reader) entry(index uint64) (e Entry, err error) {
	var l raft.Log
	err = guarded(filepath.Join(r.dir, boltFile), func() error {
		if err := r.store.GetLog(index, &l); err != nil {
			return err
		}
		if err := unseal(index, &l); err != nil {
			return err
		}
		e = Entry{Index: l.Index, Term: l.Term, Data: l.Data, AppendedAt: l.AppendedAt}
		switch l.Type {
		case raft.LogCommand:
			e.Type = "command"
		case raft.LogNoop:
			e.Type = "noop"
		case raft.LogBarrier:
			e.Type = "barrier"
		case raft.LogConfiguration:
			e.Type = "configuration"
			e.Servers = servers(raft.DecodeConfiguration(l.Data))
		default:
			e.Type = l.Type.String()
		}
		return nil
	})
	if err != nil {
		return Entry{Index: index}, err
	}
	return e, nil
}

func servers(c raft.Configuration) []Server {
	var all []Server
	for _, s := range c.Servers {
		all = append(all, Server{ID: string(s.ID), Address: string(s.Address), Suffrage: s.Suffrage.String()})
	}
	return all
}

// Snapshots lists the snapshots, the newest first.
func (r *Reader) Snapshots() ([]Snapshot, error) {
	dir := filepath.Join(r.dir, snapshotsDir)
	if there, err := vfs.Exists(r.fs, dir); err != nil || !there {
		return nil, err
	}
	var bad error
	all, err := list(r.fs, dir, func(name string, err error) {
		bad = errors.Join(bad, fmt.Errorf("snapshot %s: %w", name, err))
	})
	var out []Snapshot
	for _, m := range all {
		out = append(out, describe(m))
	}
	return out, errors.Join(err, bad)
}

func describe(m *snapshotMeta) Snapshot {
	return Snapshot{
		ID: m.ID, Index: m.Index, Term: m.Term, Size: m.Size,
		ConfigurationIndex: m.ConfigurationIndex, Servers: servers(m.Configuration),
	}
}

// OpenSnapshot returns the content of a snapshot after checking its length and checksum.
func (r *Reader) OpenSnapshot(id string) (Snapshot, io.ReadCloser, error) {
	m, c, err := openSnapshot(r.fs, filepath.Join(r.dir, snapshotsDir), id)
	if err != nil {
		return Snapshot{}, nil, err
	}
	return describe(m), c, nil
}

// Close closes the file.
func (r *Reader) Close() error {
	var err error
	if r.db != nil {
		err = r.db.Close()
	}
	if r.store != nil {
		err = errors.Join(err, r.store.Close())
	}
	return err
}
