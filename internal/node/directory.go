package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/cluster"
	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/storage"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// dataDirectory is this node's hold on its data directory: the lock, and who it belongs to.
type dataDirectory struct {
	fs   vfs.FS
	path string
	lock io.Closer
	id   [16]byte     // the directory's own
	meta storage.Meta // what is on disk; once the node runs, saveIdentity's alone

	clean         bool  // the last stop was clean
	previousEpoch int64 // the broker epoch of that stop, -1 without one
	bootID        string
}

// claimDirectory locks the data directory, checks that it is this node's, and
// gives a fresh one its directory id.
func claimDirectory(fs vfs.FS, path string, nodeID int32) (d *dataDirectory, err error) {
	if err := fs.MkdirAll(path); err != nil {
		return nil, fmt.Errorf("the data directory %s cannot be made: %w; give a writable --data-dir", path, err)
	}
	lock, err := storage.LockDirectory(fs, path)
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("the data directory %s cannot be used: %w; give a writable --data-dir", path, err)
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	d = &dataDirectory{fs: fs, path: path, lock: lock, previousEpoch: -1, bootID: storage.BootID(fs)}
	meta, err := storage.LoadMeta(fs, path)
	switch {
	case errors.Is(err, storage.ErrNoMeta):
		d.meta = storage.Meta{NodeID: nodeID}
		rand.Read(d.meta.DirectoryID[:])
		err := vfs.MkdirAllDurable(fs, path)
		if err == nil {
			err = storage.SaveMeta(fs, path, &d.meta)
		}
		d.id = d.meta.DirectoryID
		if err != nil {
			return nil, fmt.Errorf("the data directory %s cannot be written: %w; give a writable --data-dir", path, err)
		}
		return d, nil
	case err != nil:
		return nil, err
	}
	d.meta, d.id = *meta, meta.DirectoryID
	if d.meta.NodeID != nodeID {
		return nil, fmt.Errorf("the data directory %s belongs to node %d, and this is node %d: give the --data-dir of this node, or --node-id %d",
			path, d.meta.NodeID, nodeID, d.meta.NodeID)
	}
	d.previousEpoch, d.clean, err = storage.LoadCleanShutdown(fs, path)
	return d, err
}

// begin removes the marker of a clean stop, before anything else is written, so that a
// crash from here on is seen as one.
func (d *dataDirectory) begin() error { return storage.RemoveCleanShutdown(d.fs, d.path) }

// checkCluster refuses a start that would go on in silence in another cluster than the one that is asked for: of a single
// node in the directory of a member, or the other way round. Members may change, so peers that differ
// in part are no error.
func (d *dataDirectory) checkCluster(node int32, peers []config.Peer) error {
	var others []string
	known := false
	for _, f := range d.meta.Founders {
		if f.NodeID != node {
			others = append(others, strconv.Itoa(int(f.NodeID)))
			known = known || slices.ContainsFunc(peers, func(p config.Peer) bool { return p.ID == f.NodeID })
		}
	}
	switch {
	case d.meta.ClusterID == "" || known || len(peers) == 0 && len(others) == 0:
		return nil
	case len(peers) == 0:
		return fmt.Errorf("the data directory %s is that of a member of the cluster %s, which node %d founded with %s: "+
			"start it with 'chronik-server raft-cluster' and --peers, or give another --data-dir to run a single node", d.path, d.meta.ClusterID, node, strings.Join(others, ", "))
	case len(others) == 0:
		return fmt.Errorf("the data directory %s is that of a single node, the cluster %s, and the nodes of --peers are not in it: "+
			"give another --data-dir to found a cluster with them, or start the single node without raft-cluster", d.path, d.meta.ClusterID)
	default:
		return fmt.Errorf("the data directory %s belongs to the cluster %s, which node %d founded with %s, and none of them is in --peers: "+
			"give the --data-dir of the cluster that is meant, or correct --peers", d.path, d.meta.ClusterID, node, strings.Join(others, ", "))
	}
}

// identity is what the directory knows of its cluster.
func (d *dataDirectory) identity() cluster.Identity {
	id := cluster.Identity{ClusterID: d.meta.ClusterID}
	for _, f := range d.meta.Founders {
		id.Founders = append(id.Founders, metadata.Founder{Node: f.NodeID, Directory: f.DirectoryID})
	}
	return id
}

// saveIdentity makes the membership of a cluster durable. It is called while the
// cluster is formed, by one goroutine.
func (d *dataDirectory) saveIdentity(id cluster.Identity) error {
	meta := d.meta
	meta.ClusterID = id.ClusterID
	meta.Founders = slices.Collect(func(yield func(storage.Founder) bool) {
		for _, f := range id.Founders {
			if !yield(storage.Founder{NodeID: f.Node, DirectoryID: f.Directory}) {
				return
			}
		}
	})
	if err := storage.SaveMeta(d.fs, d.path, &meta); err != nil {
		return err
	}
	d.meta = meta
	return nil
}

func newID() (id [16]byte) {
	rand.Read(id[:])
	return id
}
