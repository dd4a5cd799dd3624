package storage

import (
	"io"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// Founder is a node that founded the cluster, with the data directory it had.
type Founder struct {
	NodeID      int32
	DirectoryID [16]byte
}

// Meta is the identity of a data directory: the content of meta.properties.
type Meta struct {
	NodeID      int32
	ClusterID   string // empty until the cluster is founded
	DirectoryID [16]byte
	Founders    []Founder // empty until the cluster is founded
}

// LoadMeta reads meta.properties: ErrNoMeta if the directory is fresh, ErrIdentity if it holds data
// without an identity, ErrCorrupt if the file is damaged.
func LoadMeta(fs vfs.FS, dir string) (*Meta, error) { return nil, ErrNoMeta }

// SaveMeta writes meta.properties, durably.
func SaveMeta(fs vfs.FS, dir string, m *Meta) error { return nil }

// LockDirectory takes the directory for this process until Close.
func LockDirectory(fs vfs.FS, dir string) (io.Closer, error) { return nil, nil }

// LoadCleanShutdown returns the broker epoch of the last stop if that was clean.
func LoadCleanShutdown(fs vfs.FS, dir string) (brokerEpoch int64, clean bool, err error) {
	return -1, false, nil
}

// RemoveCleanShutdown removes the marker, durably. It comes before the first write of a start.
func RemoveCleanShutdown(fs vfs.FS, dir string) error { return nil }

// WriteCleanShutdown writes the marker, durably: the last thing of a clean stop.
func WriteCleanShutdown(fs vfs.FS, dir string, brokerEpoch int64) error { return nil }

// BootID returns what tells this boot of the machine from others, empty where the system does not say.
func BootID(fs vfs.FS) string { return "" }
