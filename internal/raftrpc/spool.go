package raftrpc

import (
	"fmt"
	"hash/crc32"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// spools are the files in which snapshots arrive. One whose stream broke is kept
// for the same snapshot of the same leader, and removed when another one comes;
// none outlives the process.
type spools struct {
	fs  vfs.FS
	dir string

	mu     sync.Mutex
	parked *spool // nobody writes to it
	count  int    // of files, for their names
}

// spoolKey is what a broken transfer goes on with. The checksum of the whole
// comes at the end, and would show if it were another content after all.
type spoolKey struct {
	leader            int32
	index, term, size int64
}

// spool is a file that belongs to one receiver at a time.
type spool struct {
	key  spoolKey
	path string
	file vfs.File
	size int64
	crc  uint32
}

func newSpools(o Options) (*spools, error) {
	if err := o.FS.RemoveAll(o.Spool); err != nil {
		return nil, err
	}
	return &spools{fs: o.FS, dir: o.Spool}, nil
}

// take returns the spool for a snapshot: the parked one if it fits, else a new one.
func (s *spools) take(leader int32, r *raft.InstallSnapshotRequest) (*spool, error) {
	k := spoolKey{leader, int64(r.LastLogIndex), int64(r.LastLogTerm), r.Size}
	s.mu.Lock()
	old := s.parked
	s.parked = nil
	s.count++
	path := filepath.Join(s.dir, fmt.Sprintf("%d-%d-%d.%d", leader, r.LastLogTerm, r.LastLogIndex, s.count))
	s.mu.Unlock()
	if old != nil {
		if old.key == k {
			return old, nil
		}
		s.drop(old)
	}
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return nil, err
	}
	f, err := s.fs.Create(path)
	if err != nil {
		return nil, err
	}
	return &spool{key: k, path: path, file: f}, nil
}

// park keeps a spool for the next try.
func (s *spools) park(sp *spool) {
	s.mu.Lock()
	old := s.parked
	s.parked = sp
	s.mu.Unlock()
	if old != nil {
		s.drop(old)
	}
}

// close removes the parked spool.
func (s *spools) close() {
	s.mu.Lock()
	old := s.parked
	s.parked = nil
	s.mu.Unlock()
	if old != nil {
		s.drop(old)
	}
}

// drop removes a spool. What cannot be removed is gone at the next start.
func (s *spools) drop(sp *spool) {
	_ = sp.file.Close()
	_ = s.fs.Remove(sp.path)
}

// write appends to the spool.
func (sp *spool) write(p []byte) error {
	n, err := sp.file.WriteAt(p, sp.size)
	sp.crc = crc32.Update(sp.crc, castagnoli, p[:n])
	sp.size += int64(n)
	return err
}
