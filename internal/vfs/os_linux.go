package vfs

import (
	"errors"
	"io"
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

// WritevAt implements File.
func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	return writeVector(bufs, off, f.pwritev)
}

// writeVector calls write, which may stop early, with what is left until nothing
// is, at most maxVector buffers at a time.
func writeVector(bufs [][]byte, off int64, write func([][]byte, int64) (int, error)) (int, error) {
	done := 0
	for len(bufs) > 0 {
		if len(bufs[0]) == 0 {
			bufs = bufs[1:]
			continue
		}
		n, err := write(bufs[:min(len(bufs), maxVector)], off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
		if n == 0 {
			return done, io.ErrUnexpectedEOF // as package os has it
		}
		for len(bufs) > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		if n > 0 {
			bufs = append([][]byte{bufs[0][n:]}, bufs[1:]...) // a copy: the caller's is not ours to change
		}
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
