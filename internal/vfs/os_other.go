//go:build !linux

package vfs

// WritevAt implements File by a WriteAt a buffer.
func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	var done int
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Datasync implements File.
func (f *osFile) Datasync() error { return f.Sync() }

// Preallocate implements File: a hint that this system does not take.
func (f *osFile) Preallocate(off, size int64) error { return nil }
