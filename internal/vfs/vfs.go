// Package vfs is the only door to files: the operating system's, a memory file
// system that can crash, and one that injects faults.
//
// A name is made durable in two steps, as POSIX demands: the file by Sync or
// Datasync, its directory entry by SyncDir. An implementation may lose either
// without the other at a crash, and the memory file system does.
//
// All methods are safe for concurrent use. Errors wrap fs.ErrNotExist,
// fs.ErrExist and the like, as those of package os do.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"
)

// ErrLocked is returned by Lock when another process, or another caller of this
// one, holds the lock.
var ErrLocked = errors.New("vfs: locked by another process")

// ErrNotSupported is returned where a file has no descriptor of the operating system.
var ErrNotSupported = errors.New("vfs: not supported by this file system")

// FileInfo is what Stat and ReadDir tell of a name.
type FileInfo struct {
	Name    string // base name
	Size    int64  // bytes
	IsDir   bool
	ModTime time.Time
}

// File is an open file. It has no position: all reads and writes are at explicit offsets.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Name returns the path the file was opened with.
	Name() string
	// WritevAt writes bufs one after another at off in one call where the system
	// has pwritev. It returns the bytes written; short only with an error.
	WritevAt(bufs [][]byte, off int64) (int, error)
	// Size returns the length in bytes.
	Size() (int64, error)
	// Truncate sets the length in bytes; it is not durable before Sync.
	Truncate(size int64) error
	// Preallocate reserves size bytes from off without changing the length, where the system can; else it does nothing.
	Preallocate(off, size int64) error
	// Sync makes data and metadata durable (fsync).
	Sync() error
	// Datasync makes data and what is needed to read it back durable (fdatasync on Linux, Sync elsewhere).
	Datasync() error
	// SyscallConn gives the descriptor for sendfile; ErrNotSupported on memory files.
	SyscallConn() (syscall.RawConn, error)
}

// FS is a file system. Names use the separator of path/filepath.
type FS interface {
	// Create opens name for reading and writing, truncated, making it if needed.
	Create(name string) (File, error)
	// OpenReadWrite opens an existing file for reading and writing.
	OpenReadWrite(name string) (File, error)
	// Open opens an existing file for reading.
	Open(name string) (File, error)

	// Mkdir makes one directory, MkdirAll every missing one on the way.
	Mkdir(name string) error
	MkdirAll(name string) error
	// Remove unlinks a file or an empty directory; RemoveAll a tree, nil if absent.
	Remove(name string) error
	RemoveAll(name string) error
	// Rename moves old over new, atomically for readers; durable after SyncDir of the directories.
	Rename(oldname, newname string) error

	// ReadDir lists a directory in name order.
	ReadDir(name string) ([]FileInfo, error)
	Stat(name string) (FileInfo, error)

	// SyncDir makes the entries of a directory durable: creations, renames, removals.
	SyncDir(name string) error

	// Lock takes an exclusive lock held until Close or the end of the process;
	// ErrLocked if it is taken.
	Lock(name string) (io.Closer, error)

	// Usage returns total and free bytes of the file system that holds name; zeros where unknown.
	Usage(name string) (total, free uint64, err error)
}

// ReadFile returns the whole content of name.
func ReadFile(f FS, name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	p := make([]byte, size)
	n, err := file.ReadAt(p, 0)
	if err == io.EOF && int64(n) == size {
		err = nil
	}
	return p[:n], err
}

// MkdirAllDurable makes name and every missing directory on the way, and makes the
// whole path durable: a file that is synced inside a directory whose own entry is lost is
// lost too. A directory that is there already may have been made by a process that
// was killed before it could sync it, so its parents are synced as well, as far as
// this user may open them.
func MkdirAllDurable(f FS, name string) error {
	parent := filepath.Dir(name)
	if parent == name {
		return nil
	}
	there, err := Exists(f, name)
	if err != nil {
		return err
	}
	if err := MkdirAllDurable(f, parent); err != nil {
		return err
	}
	if !there {
		if err := f.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return f.SyncDir(parent)
	}
	if err := f.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// Exists reports whether name is there.
func Exists(f FS, name string) (bool, error) {
	_, err := f.Stat(name)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, err
	}
}
