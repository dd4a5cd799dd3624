package cluster

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/rpc"
	"github.com/chronik-stream/chronik/internal/vfs"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// Peer is another founder: its node id and where its Raft port is reached.
type Peer struct {
	ID      int32
	Address string // host:port
}

// Identity is what the data directory knows of the cluster it belongs to. Both
// are empty until the node has founded or joined one.
type Identity struct {
	ClusterID string
	// Founders is the founding set, sorted by node id.
	Founders []metadata.Founder
	// Generation of the cluster; rises when a lost majority was given up for good.
	Generation uint64
}

// Health is what the broker's heartbeats are made from. They must be honest: a
// heartbeat that goes out while the disk or the listener is dead keeps a broker
// alive that serves nobody.
type Health struct {
	// Err, if not nil, keeps the heartbeat back: the session ends unless it heals.
	Err error
	// Storage is the state of the data directories.
	Storage clusterv1.Storage
	// FailedDirectories are those that can no longer be used.
	FailedDirectories [][16]byte
}

// Options is what a Cluster is made from. Fields without a default must be set.
type Options struct {
	// NodeID is --node-id, 1 or more.
	NodeID int32
	// DirectoryID is made once per data directory; a wiped disk has another one,
	// and with it no vote.
	DirectoryID [16]byte
	// Incarnation is drawn at each start of the process.
	Incarnation [16]byte
	// Identity is what the data directory says of the cluster.
	Identity Identity
	// SaveIdentity makes an Identity durable before it returns.
	SaveIdentity func(Identity) error

	// Peers are the other founders, from --peers. With none the node is a cluster of its own.
	Peers []Peer
	// RaftAddr is where others reach this node's Raft port (host:port); empty when it has none.
	RaftAddr string
	// RaftListen is where the Raft port is bound (host:port). Empty binds none:
	// only for a node without peers.
	RaftListen string
	// Network gives listeners and dials. Default rpc.TCP.
	Network rpc.Network
	// Version of the program, for handshakes.
	Version string

	// FS and Path hold the metadata log, Path is <data>/__raft_metadata-0.
	FS   vfs.FS
	Path string
	// OpenStores opens the log, the vote and the snapshots below Path. Default raftstore.OpenBolt.
	OpenStores raftstore.Opener

	// NewID draws the ids of topics, Intn places partitions. Default: at random.
	NewID func() [16]byte
	Intn  func(n int) int

	// UncleanElection is what topics that do not say otherwise have for
	// unclean.leader.election.enable.
	UncleanElection bool

	// Clock is the wall clock that entries carry. Default clock.Wall.
	Clock clock.Clock
	// Logger gets a line for every event that a person may want to know. Default: none.
	Logger *slog.Logger
	// Registerer takes the metrics. Default: none.
	Registerer prometheus.Registerer
	// Health is asked before each heartbeat. Default: always well.
	Health func() Health

	Timing Timing
	Limits Limits
}

// Timing holds every duration. Zero values take the defaults.
type Timing struct {
	// Heartbeat is how long a follower hears nothing before it stands for
	// election (up to twice that), 200 ms. For links above 30 ms: 1 s.
	Heartbeat time.Duration
	// Election is how long a candidate waits for votes, 200 ms.
	Election time.Duration
	// Lease is how long a leader without a majority stays one; at most Heartbeat, 160 ms.
	Lease time.Duration
	// Commit is how late followers learn of a commit in a lull, 50 ms.
	Commit time.Duration
	// SnapshotInterval is how often the snapshot threshold is looked at, 30 s.
	SnapshotInterval time.Duration

	// Beat is how often a broker's heartbeat goes out (broker.heartbeat.interval.ms), 100 ms.
	Beat time.Duration
	// Session is how long a broker is silent before it is fenced (broker.session.timeout.ms), 450 ms.
	Session time.Duration

	// StorageStall is how long a write of the metadata log may take before this
	// node gives up its leadership (raft.storage.stall.timeout.ms), 300 ms.
	StorageStall time.Duration
	// DiskStall is how long it may take before the process ends (disk.stall.timeout.ms), 10 s.
	DiskStall time.Duration

	// Registration is how long another live process may hold this node id before
	// Register gives up (initial.broker.registration.timeout.ms), 60 s.
	Registration time.Duration
	// CatchUp is how long Submit waits for the own image after the answer, 1 s.
	CatchUp time.Duration
}

// Limits holds every size. Zero values take the defaults.
type Limits struct {
	// SnapshotEntries is after how many entries a snapshot is taken, 8192.
	SnapshotEntries uint64
	// SnapshotBytes is after how many bytes of entries one is taken, 64 MiB.
	SnapshotBytes int64
	// TrailingEntries is how many entries stay in the log behind a snapshot, 10240,
	// unless they are more than SnapshotBytes.
	TrailingEntries uint64
	// EntryBytes bounds an entry, 1 MiB.
	EntryBytes int
	// DefaultPartitions is how many partitions a topic has that names no number, 1.
	DefaultPartitions int32
}

func (o *Options) setDefaults() {
	if o.Network == nil {
		o.Network = rpc.TCP{}
	}
	if o.OpenStores == nil {
		o.OpenStores = raftstore.OpenBolt
	}
	if o.Clock == nil {
		o.Clock = clock.Wall{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.NewID == nil {
		o.NewID = randomID
	}
	if o.Intn == nil {
		o.Intn = mrand.IntN
	}
	if o.Health == nil {
		o.Health = func() Health { return Health{Storage: clusterv1.Storage_STORAGE_OK} }
	}
	t := &o.Timing
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Heartbeat, 200 * time.Millisecond},
		{&t.Election, max(200*time.Millisecond, t.Heartbeat)},
		{&t.Lease, 160 * time.Millisecond},
		{&t.Commit, 50 * time.Millisecond},
		{&t.SnapshotInterval, 30 * time.Second},
		{&t.Beat, 100 * time.Millisecond},
		{&t.Session, 450 * time.Millisecond},
		{&t.StorageStall, 300 * time.Millisecond},
		{&t.DiskStall, 10 * time.Second},
		{&t.Registration, 60 * time.Second},
		{&t.CatchUp, time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	l := &o.Limits
	setDefault(&l.SnapshotEntries, 8192)
	setDefault(&l.SnapshotBytes, 64<<20)
	setDefault(&l.TrailingEntries, 10240)
	setDefault(&l.EntryBytes, 1<<20)
	setDefault(&l.DefaultPartitions, 1)
}

func randomID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails: package crypto/rand ends the process instead
	return id
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) check() error {
	switch {
	case o.NodeID < 1:
		return fmt.Errorf("cluster: node id %d: it must be 1 or more", o.NodeID)
	case o.DirectoryID == [16]byte{}, o.Incarnation == [16]byte{}:
		return fmt.Errorf("cluster: the directory id and the incarnation id must be set")
	case o.FS == nil, o.Path == "":
		return fmt.Errorf("cluster: a file system and a path for the metadata log must be set")
	case o.SaveIdentity == nil:
		return fmt.Errorf("cluster: SaveIdentity must be set")
	case len(o.Peers) > 0 && (o.RaftListen == "" || o.RaftAddr == ""):
		return fmt.Errorf("cluster: a node with peers needs a Raft port (--raft-addr)")
	case o.Timing.Lease > o.Timing.Heartbeat:
		return fmt.Errorf("cluster: the leader's lease (%s) must not be longer than the heartbeat timeout (%s)", o.Timing.Lease, o.Timing.Heartbeat)
	case o.Timing.Election < o.Timing.Heartbeat:
		return fmt.Errorf("cluster: the election timeout (%s) must not be shorter than the heartbeat timeout (%s)", o.Timing.Election, o.Timing.Heartbeat)
	case o.Timing.Session <= o.Timing.Beat:
		return fmt.Errorf("cluster: the session timeout (%s) must be longer than the heartbeat interval (%s)", o.Timing.Session, o.Timing.Beat)
	}
	seen := map[int32]bool{o.NodeID: true}
	for _, p := range o.Peers {
		if p.ID < 1 || seen[p.ID] {
			return fmt.Errorf("cluster: peer %d@%s: every node needs an id of its own, 1 or more", p.ID, p.Address)
		}
		seen[p.ID] = true
	}
	return nil
}

// founders are the ids of this node and its peers, sorted.
func (o *Options) founders() []int32 {
	ids := []int32{o.NodeID}
	for _, p := range o.Peers {
		ids = append(ids, p.ID)
	}
	slices.Sort(ids)
	return ids
}
