package vfs

// cacheDropper is a file that can forget what it caches.
type cacheDropper interface {
	dropCache(off, size int64) error
}

// DropCache asks that size bytes of f from off, or all from off if size is 0, be
// read from the device next time, not from memory: after a failed sync, memory may
// hold what the device does not. Where the system has no such call it does nothing.
func DropCache(f File, off, size int64) error {
	if c, ok := f.(cacheDropper); ok {
		return c.dropCache(off, size)
	}
	return nil
}
