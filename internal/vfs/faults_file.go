package vfs

import (
	"io"
	"syscall"
)

// syncFailer is a file that can lose what a failed sync had to write.
type syncFailer interface {
	failSync()
}

// faultyFile is an open file of Faults. Its name is what it was opened with.
type faultyFile struct {
	File
	f *Faults
}

// ReadAt implements File.
func (file *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	v := file.f.call(OpRead, len(p), file.Name())
	if v.err != nil {
		n, err := file.File.ReadAt(p[:v.short], off)
		if err == nil || err == io.EOF {
			err = pathError("read", file.Name(), v.err)
		}
		return n, err
	}
	n, err := file.File.ReadAt(p, off)
	if v.flip >= 0 && v.flip < n*8 {
		p[v.flip/8] ^= 1 << (v.flip % 8)
	}
	return n, err
}

// WriteAt implements File.
func (file *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	v := file.f.call(OpWrite, len(p), file.Name())
	switch {
	case v.err != nil:
		return file.short(p[:v.short], off, v.err)
	case v.lost:
		return len(p), nil
	}
	return file.File.WriteAt(p, off)
}

// WritevAt implements File.
func (file *faultyFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	var size int
	for _, b := range bufs {
		size += len(b)
	}
	v := file.f.call(OpWrite, size, file.Name())
	switch {
	case v.err != nil:
		var all []byte
		for _, b := range bufs {
			all = append(all, b...)
		}
		return file.short(all[:v.short], off, v.err)
	case v.lost:
		return size, nil
	}
	return file.File.WritevAt(bufs, off)
}

// short writes p and fails with cause.
func (file *faultyFile) short(p []byte, off int64, cause error) (int, error) {
	if len(p) == 0 {
		return 0, pathError("write", file.Name(), cause)
	}
	n, err := file.File.WriteAt(p, off)
	if err == nil {
		err = pathError("write", file.Name(), cause)
	}
	return n, err
}

// Sync implements File.
func (file *faultyFile) Sync() error { return file.sync("sync", file.File.Sync) }

// Datasync implements File.
func (file *faultyFile) Datasync() error { return file.sync("fdatasync", file.File.Datasync) }

func (file *faultyFile) sync(verb string, call func() error) error {
	v := file.f.call(OpSync, 0, file.Name())
	switch {
	case v.err != nil:
		if s, ok := file.File.(syncFailer); ok {
			s.failSync()
		}
		return pathError(verb, file.Name(), v.err)
	case v.lost:
		return nil
	}
	return call()
}

// failSync implements syncFailer, for a Faults over another.
func (file *faultyFile) failSync() {
	if s, ok := file.File.(syncFailer); ok {
		s.failSync()
	}
}

// dropCache implements cacheDropper.
func (file *faultyFile) dropCache(off, size int64) error { return DropCache(file.File, off, size) }

// Size implements File.
func (file *faultyFile) Size() (int64, error) {
	if v := file.f.call(OpSize, 0, file.Name()); v.err != nil {
		return 0, pathError("stat", file.Name(), v.err)
	}
	return file.File.Size()
}

// Truncate implements File.
func (file *faultyFile) Truncate(size int64) error {
	return file.f.do(OpTruncate, "truncate", file.Name(), func(string) error { return file.File.Truncate(size) })
}

// Preallocate implements File.
func (file *faultyFile) Preallocate(off, size int64) error {
	return file.f.do(OpPreallocate, "fallocate", file.Name(), func(string) error { return file.File.Preallocate(off, size) })
}

// Close implements File. The file is closed whatever the rules say: a close that
// fails gives the descriptor back too.
func (file *faultyFile) Close() error {
	v := file.f.call(OpClose, 0, file.Name())
	if err := file.File.Close(); err != nil || v.err == nil {
		return err
	}
	return pathError("close", file.Name(), v.err)
}

// SyscallConn implements File.
func (file *faultyFile) SyscallConn() (syscall.RawConn, error) { return nil, ErrNotSupported }
