package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	fileMode = 0o644
	dirMode  = 0o755
)

// OS is the file system of the operating system. It has no state.
type OS struct{}

var _ FS = OS{}

// Create implements FS.
func (OS) Create(name string) (File, error) {
	return openFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

// OpenReadWrite implements FS.
func (OS) OpenReadWrite(name string) (File, error) { return openFile(name, os.O_RDWR) }

// Open implements FS.
func (OS) Open(name string) (File, error) { return openFile(name, os.O_RDONLY) }

// Mkdir implements FS.
func (OS) Mkdir(name string) error { return os.Mkdir(name, dirMode) }

// MkdirAll implements FS.
func (OS) MkdirAll(name string) error { return os.MkdirAll(name, dirMode) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// RemoveAll implements FS.
func (OS) RemoveAll(name string) error { return os.RemoveAll(name) }

// Rename implements FS.
func (OS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

// ReadDir implements FS. A name that goes while the directory is read is left out.
func (OS) ReadDir(name string) ([]FileInfo, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	infos := make([]FileInfo, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			info, err = os.Stat(filepath.Join(name, e.Name()))
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, fileInfo(e.Name(), info))
	}
	return infos, nil
}

// Stat implements FS.
func (OS) Stat(name string) (FileInfo, error) {
	info, err := os.Stat(name)
	if err != nil {
		return FileInfo{}, err
	}
	return fileInfo(filepath.Base(name), info), nil
}

func fileInfo(name string, info fs.FileInfo) FileInfo {
	return FileInfo{Name: name, Size: info.Size(), IsDir: info.IsDir(), ModTime: info.ModTime()}
}

// SyncDir implements FS. Where the system cannot sync a directory (Windows), it does nothing.
func (OS) SyncDir(name string) error { return syncDir(name) }

// Lock implements FS. The file stays when the lock is gone: to remove it would
// let two processes hold locks on two files of one name.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

// Usage implements FS.
func (OS) Usage(name string) (total, free uint64, err error) {
	total, free, err = usage(name)
	if err != nil {
		return 0, 0, &fs.PathError{Op: "usage", Path: name, Err: err}
	}
	return total, free, nil
}

// osFile is an *os.File with the calls that package os lacks.
type osFile struct {
	*os.File
	raw syscall.RawConn // holds the descriptor open during a call of ours
}

func openFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &osFile{File: f, raw: raw}, nil
}

// Size implements File.
func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// SyscallConn implements File.
func (f *osFile) SyscallConn() (syscall.RawConn, error) { return f.raw, nil }

// failed wraps an error of a call on the file.
func (f *osFile) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.Name(), Err: err}
}
