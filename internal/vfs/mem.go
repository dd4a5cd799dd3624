package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrCrashed is returned by every call on a Mem, and on its files, after Crash or Kill.
var ErrCrashed = errors.New("vfs: the machine of this file system has crashed")

// Mem is a file system in memory that can crash. It remembers what has been
// made durable apart from what is seen: CrashClone gives the file system that a
// machine could find after a loss of power at this moment (mem_crash.go has the
// rules), Crash does the same and ends this one.
//
// A read sees all that was written, as the page cache shows it. Locks belong to
// one Mem: none is held in a clone.
//
// All state is under one lock that is held for copies of memory only, so that it
// can serve as the file system of whole nodes in a testing/synctest bubble.
type Mem struct {
	mu       sync.RWMutex
	root     *memDir
	locks    map[*memFile]bool
	changes  uint64 // numbers the changes of directory entries
	capacity uint64 // bytes in whole pages; 0 is no limit
	maxFiles int    // 0 is no limit
	used     uint64
	files    int
	dead     error // set by Crash and Kill
}

var _ FS = (*Mem)(nil)

// NewMem returns an empty file system. It has a root directory, which "." means too.
func NewMem() *Mem {
	return &Mem{root: newMemDir(), locks: make(map[*memFile]bool)}
}

// SetCapacity limits the file system to bytes of file content, counted in whole pages,
// and to a number of files; 0 is no limit. Beyond it writes are short, and
// creations fail, with ENOSPC.
func (m *Mem) SetCapacity(bytes uint64, files int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity, m.maxFiles = bytes, files
}

// memNode is a *memFile or a *memDir.
type memNode interface{ modTime() time.Time }

// memDir is a directory: the entries that are seen, those that are durable, and
// the changes between the two.
type memDir struct {
	entries map[string]memNode
	durable map[string]memNode
	pending []*memChange // in order; a rename over two directories stands in both
	mod     time.Time
}

func newMemDir() *memDir {
	return &memDir{entries: make(map[string]memNode), durable: make(map[string]memNode), mod: time.Now()}
}

func (d *memDir) modTime() time.Time { return d.mod }

// memChange is one change of directory entries: all its effects survive a crash, or none.
type memChange struct {
	seq     uint64
	effects []memEffect // one, or two for a rename
}

// memEffect makes name mean node; nil removes it.
type memEffect struct {
	dir  *memDir
	name string
	node memNode
}

func (e memEffect) applyTo(entries map[string]memNode) {
	if e.node == nil {
		delete(entries, e.name)
	} else {
		entries[e.name] = e.node
	}
}

// change applies effects to what is seen and keeps them until they are durable.
func (m *Mem) change(effects ...memEffect) {
	m.changes++
	c := &memChange{seq: m.changes, effects: effects}
	for i, e := range effects {
		e.applyTo(e.dir.entries)
		e.dir.mod = time.Now()
		if i == 0 || effects[0].dir != e.dir {
			e.dir.pending = append(e.dir.pending, c)
		}
	}
}

// commit makes c durable, after the earlier changes of the same names.
func (c *memChange) commit() {
	for _, e := range c.effects {
		for _, earlier := range slices.Clone(e.dir.pending) {
			if earlier.seq < c.seq && earlier.touches(e.dir, e.name) {
				earlier.commit()
			}
		}
	}
	for _, e := range c.effects {
		e.applyTo(e.dir.durable)
		e.dir.pending = slices.DeleteFunc(e.dir.pending, func(p *memChange) bool { return p == c })
	}
}

func (c *memChange) touches(dir *memDir, name string) bool {
	return slices.ContainsFunc(c.effects, func(e memEffect) bool { return e.dir == dir && e.name == name })
}

// pathError is the error of op on name.
func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// split returns the elements of a path below the root.
func split(name string) []string {
	clean := strings.Trim(filepath.ToSlash(filepath.Clean("/"+name)), "/")
	if clean == "" {
		return nil
	}
	return strings.Split(clean, "/")
}

// node returns what a path means. Every call on a name comes by here, so that none outlives a crash.
func (m *Mem) node(elements []string) (memNode, error) {
	if m.dead != nil {
		return nil, m.dead
	}
	var n memNode = m.root
	for _, e := range elements {
		d, ok := n.(*memDir)
		if !ok {
			return nil, syscall.ENOTDIR
		}
		if n, ok = d.entries[e]; !ok {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

func (m *Mem) dir(elements []string) (*memDir, error) {
	n, err := m.node(elements)
	if err != nil {
		return nil, err
	}
	d, ok := n.(*memDir)
	if !ok {
		return nil, syscall.ENOTDIR
	}
	return d, nil
}

// parent returns the directory of a path and the last element; the root has none.
func (m *Mem) parent(elements []string) (*memDir, string, error) {
	if len(elements) == 0 {
		return nil, "", fs.ErrInvalid
	}
	last := len(elements) - 1
	d, err := m.dir(elements[:last])
	return d, elements[last], err
}

// file returns the file of a path.
func (m *Mem) file(elements []string) (*memFile, error) {
	n, err := m.node(elements)
	if err != nil {
		return nil, err
	}
	f, ok := n.(*memFile)
	if !ok {
		return nil, syscall.EISDIR
	}
	return f, nil
}

// fileOrNew returns the file of a path, made if it is not there.
func (m *Mem) fileOrNew(name string) (*memFile, error) {
	elements := split(name)
	f, err := m.file(elements)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	d, base, err := m.parent(elements)
	if err != nil {
		return nil, err
	}
	if m.maxFiles > 0 && m.files >= m.maxFiles {
		return nil, syscall.ENOSPC
	}
	m.files++
	f = &memFile{linked: true, mod: time.Now()}
	m.change(memEffect{d, base, f})
	return f, nil
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.fileOrNew(name)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	m.truncate(f, 0)
	return &memHandle{m: m, f: f, name: name, write: true}, nil
}

// OpenReadWrite implements FS.
func (m *Mem) OpenReadWrite(name string) (File, error) { return m.open(name, true) }

// Open implements FS.
func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

func (m *Mem) open(name string, write bool) (File, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	f, err := m.file(split(name))
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &memHandle{m: m, f: f, name: name, write: write}, nil
}

// Mkdir implements FS.
func (m *Mem) Mkdir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mkdir(name, split(name))
}

func (m *Mem) mkdir(name string, elements []string) error {
	if len(elements) == 0 {
		return pathError("mkdir", name, fs.ErrExist)
	}
	d, base, err := m.parent(elements)
	if err == nil && d.entries[base] != nil {
		err = fs.ErrExist
	}
	if err != nil {
		return pathError("mkdir", name, err)
	}
	m.change(memEffect{d, base, newMemDir()})
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	elements := split(name)
	if _, err := m.node(nil); err != nil {
		return pathError("mkdir", name, err)
	}
	for i := range elements {
		err := m.mkdir(name, elements[:i+1])
		if errors.Is(err, fs.ErrExist) {
			_, err = m.dir(elements[:i+1])
			if err != nil {
				err = pathError("mkdir", name, err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parent(split(name))
	if err != nil {
		return pathError("remove", name, err)
	}
	switch n := d.entries[base].(type) {
	case nil:
		return pathError("remove", name, fs.ErrNotExist)
	case *memDir:
		if len(n.entries) > 0 {
			return pathError("remove", name, syscall.ENOTEMPTY)
		}
	}
	m.unlink(d, base)
	return nil
}

// unlink removes an entry that is there.
func (m *Mem) unlink(d *memDir, base string) {
	m.forget(d.entries[base])
	m.change(memEffect{d, base, nil})
}

// forget gives back the space of a file that has lost its name.
func (m *Mem) forget(n memNode) {
	if f, ok := n.(*memFile); ok {
		m.files--
		m.used -= f.space()
		f.linked = false
	}
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parent(split(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathError("removeall", name, err)
	}
	m.removeTree(d, base)
	return nil
}

func (m *Mem) removeTree(d *memDir, base string) {
	n, ok := d.entries[base]
	if !ok {
		return
	}
	if sub, ok := n.(*memDir); ok {
		for _, e := range slices.Sorted(maps.Keys(sub.entries)) {
			m.removeTree(sub, e)
		}
	}
	m.unlink(d, base)
}

// Rename implements FS. As package os has it, a directory cannot be renamed over another.
func (m *Mem) Rename(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.rename(split(oldname), split(newname)); err != nil {
		return pathError("rename", oldname+" to "+newname, err)
	}
	return nil
}

func (m *Mem) rename(from, to []string) error {
	fromDir, fromBase, err := m.parent(from)
	if err != nil {
		return err
	}
	n := fromDir.entries[fromBase]
	if n == nil {
		return fs.ErrNotExist
	}
	toDir, toBase, err := m.parent(to)
	if err != nil {
		return err
	}
	over := toDir.entries[toBase]
	if over == n {
		return nil
	}
	_, isDir := n.(*memDir)
	_, overDir := over.(*memDir)
	switch {
	case overDir:
		return fs.ErrExist
	case isDir && over != nil:
		return syscall.ENOTDIR
	case isDir && len(to) > len(from) && slices.Equal(to[:len(from)], from):
		return fs.ErrInvalid
	}
	m.forget(over)
	m.change(memEffect{fromDir, fromBase, nil}, memEffect{toDir, toBase, n})
	return nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(name string) ([]FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	d, err := m.dir(split(name))
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	infos := make([]FileInfo, 0, len(d.entries))
	for _, e := range slices.Sorted(maps.Keys(d.entries)) {
		infos = append(infos, nodeInfo(e, d.entries[e]))
	}
	return infos, nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.node(split(name))
	if err != nil {
		return FileInfo{}, pathError("stat", name, err)
	}
	return nodeInfo(filepath.Base(name), n), nil
}

func nodeInfo(name string, n memNode) FileInfo {
	info := FileInfo{Name: name, ModTime: n.modTime()}
	if f, ok := n.(*memFile); ok {
		info.Size = f.size
	} else {
		info.IsDir = true
	}
	return info
}

// SyncDir implements FS. A rename over two directories becomes durable with either.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.dir(split(name))
	if err != nil {
		return pathError("syncdir", name, err)
	}
	for len(d.pending) > 0 {
		d.pending[0].commit()
	}
	return nil
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.fileOrNew(name)
	if err == nil && m.locks[f] {
		err = ErrLocked
	}
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	m.locks[f] = true
	return &memLock{m: m, f: f, name: name}, nil
}

// memLock is a lock that is held.
type memLock struct {
	m      *Mem
	f      *memFile
	name   string
	closed bool
}

// Close gives the lock back.
func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.closed {
		return pathError("unlock", l.name, fs.ErrClosed)
	}
	l.closed = true
	delete(l.m.locks, l.f)
	return nil
}

// Usage implements FS: zeros unless SetCapacity gave a limit.
func (m *Mem) Usage(name string) (total, free uint64, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, err = m.node(split(name))
	if err != nil {
		return 0, 0, pathError("usage", name, err)
	}
	return m.capacity, m.capacity - min(m.used, m.capacity), nil
}
