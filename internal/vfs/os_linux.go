package vfs

import (
	"errors"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"
)

// maxVector is IOV_MAX: the most buffers that one pwritev takes.
const maxVector = 1024

// vector is one WritevAt in progress. It is pooled with its closure, so that a
// write allocates nothing.
type vector struct {
	bufs [][]byte
	off  int64
	n    int
	err  error
	call func(fd uintptr)
}

var vectors = sync.Pool{New: func() any {
	v := &vector{}
	v.call = func(fd uintptr) {
		for {
			v.n, v.err = unix.Pwritev(int(fd), v.bufs, v.off)
			if v.err != unix.EINTR {
				return
			}
		}
	}
	return v
}}

// pwritev writes as much of bufs as one call takes. The only error of Control
// itself is that the file is closed.
func (f *osFile) pwritev(bufs [][]byte, off int64) (int, error) {
	v := vectors.Get().(*vector)
	v.bufs, v.off = bufs, off
	err := f.raw.Control(v.call)
	n, callErr := v.n, v.err
	v.bufs, v.n, v.err = nil, 0, nil
	vectors.Put(v)
	if err != nil {
		return 0, f.failed("pwritev", fs.ErrClosed)
	}
	return max(n, 0), f.failed("pwritev", callErr)
}

// WritevAt implements File. A short write goes on where it stopped: inside a
// buffer by WriteAt, which writes all or fails.
func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	var done int
	for len(bufs) > 0 {
		n, err := f.pwritev(bufs[:min(len(bufs), maxVector)], off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
		whole := 0
		for whole < len(bufs) && whole < maxVector && n >= len(bufs[whole]) {
			n -= len(bufs[whole])
			whole++
		}
		bufs = bufs[whole:]
		if whole == maxVector || len(bufs) == 0 {
			continue
		}
		m, err := f.WriteAt(bufs[0][n:], off+int64(done))
		done += m
		if err != nil {
			return done, err
		}
		bufs = bufs[1:]
	}
	return done, nil
}

// control runs call on the descriptor, again while a signal interrupts it.
func (f *osFile) control(op string, call func(fd int) error) error {
	var callErr error
	err := f.raw.Control(func(fd uintptr) {
		for {
			callErr = call(int(fd))
			if callErr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return f.failed(op, fs.ErrClosed)
	}
	return f.failed(op, callErr)
}

// Datasync implements File.
func (f *osFile) Datasync() error { return f.control("fdatasync", unix.Fdatasync) }

// Preallocate implements File.
func (f *osFile) Preallocate(off, size int64) error {
	if size <= 0 {
		return nil
	}
	err := f.control("fallocate", func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, size)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// dropCache implements cacheDropper.
func (f *osFile) dropCache(off, size int64) error {
	return f.control("fadvise", func(fd int) error {
		return unix.Fadvise(fd, off, size, unix.FADV_DONTNEED)
	})
}
