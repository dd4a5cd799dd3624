package metadata

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

// ID is the id of a topic, a directory or an incarnation.
type ID = [16]byte

// Record is one step of the cluster's state.
type Record = metadatav1.Record

// NoLeader is the leader of a partition that has none.
const NoLeader int32 = -1

// FormatID writes id as Kafka's tools do: 22 characters of base64url.
func FormatID(id ID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ReservedID reports whether id is one of the 100 lowest, which name no
// directory and no topic (Kafka keeps them for meanings such as "unassigned").
func ReservedID(id ID) bool {
	for _, b := range id[:15] {
		if b != 0 {
			return false
		}
	}
	return id[15] < 100
}

// Founder is a node that the cluster began with.
type Founder struct {
	Node      int32
	Directory ID
}

// Listener is an endpoint of the Kafka protocol.
type Listener struct {
	Name             string
	Host             string
	Port             int32
	SecurityProtocol int16
}

// FeatureRange is the levels of a feature that a broker can work at.
type FeatureRange struct {
	Name     string
	Min, Max int32
}

// Broker is a registered broker.
type Broker struct {
	ID          int32
	Incarnation ID
	// Epoch is the index of the entry that registered this incarnation. It is 0
	// in a Draft that has the registration and does not know its index yet.
	Epoch int64
	// Directories are the data directories that were online at registration, sorted.
	Directories []ID
	// BootID is what the host's page cache lives and dies with; compared only.
	BootID string
	// Listeners has at least one; the first is the one Metadata shows.
	Listeners []Listener
	// RaftAddr is the host:port of the broker's Raft port, as others reach it.
	RaftAddr string
	Rack     string
	Features []FeatureRange
	// Fenced: it may not lead, and clients are not sent to it.
	Fenced bool
	// InControlledShutdown: it is leaving, and gets nothing new.
	InControlledShutdown bool

	hash uint64
}

// Host is where clients reach the broker.
func (b *Broker) Host() string { return b.Listeners[0].Host }

// Port is where clients reach the broker.
func (b *Broker) Port() int32 { return b.Listeners[0].Port }

// Active reports whether the broker may be given leaderships and replicas.
func (b *Broker) Active() bool { return !b.Fenced && !b.InControlledShutdown }

// Online reports whether a replica in dir can be served: dir is registered, or
// not assigned yet, in which case the broker is still to create it.
func (b *Broker) Online(dir ID) bool {
	if dir == (ID{}) {
		return true
	}
	_, ok := slices.BinarySearchFunc(b.Directories, dir, compareID)
	return ok
}

// Topic is a topic with its partitions and its own settings.
type Topic struct {
	ID   ID
	Name string
	// Partitions are in order: a partition's index is its position.
	Partitions []*Partition
	// Configs are the settings made for this topic, without defaults. Nil if none.
	Configs map[string]string

	hash uint64
}

// Partition is the state of a partition that the cluster agrees on.
type Partition struct {
	Index int32
	// Leader is a member of ISR, or NoLeader.
	Leader int32
	// LeaderEpoch rises with every election, PartitionEpoch with every change.
	LeaderEpoch    int32
	PartitionEpoch int32
	// Replicas holds the preferred leader first.
	Replicas []int32
	// Directories are those of Replicas, in their order; a zero id is one that
	// the replica has not reported yet: its log may be created. A replica whose
	// assigned directory is missing is lost and is never created in silence.
	Directories []ID
	// ISR are the replicas that hold all that was committed, in order of Replicas.
	ISR []int32
	// LastKnownELR is the last leader, when the last in-sync replica was lost.
	LastKnownELR []int32
	// Recovering: the leader was elected without being known to hold everything.
	Recovering bool

	hash uint64
}

// Directory is where broker has its replica: the zero id if it is not reported
// yet, false if broker has none.
func (p *Partition) Directory(broker int32) (ID, bool) {
	i := slices.Index(p.Replicas, broker)
	if i < 0 {
		return ID{}, false
	}
	return p.Directories[i], true
}

// Result is a kept answer.
type Result struct {
	Node        int32
	Incarnation ID
	Sequence    uint64
	// Index is that of the entry that holds the effect; 0 in a Draft.
	Index uint64
	// Answer is shared and must not be changed.
	Answer *clusterv1.Answer

	hash uint64
}

// ResourceType is Kafka's number of a kind of resource that has settings.
type ResourceType int8

// The kinds of resources whose settings are kept here.
const (
	ResourceTopic         ResourceType = 2  // its name is the topic's
	ResourceBroker        ResourceType = 4  // a node id in decimal, or "": the default of all brokers
	ResourceClientMetrics ResourceType = 16 // a subscription of client metrics
	ResourceGroup         ResourceType = 32 // a group id
)

// Resource is something other than a topic that has settings; a topic keeps its own.
type Resource struct {
	Type ResourceType
	Name string
	// Configs are the settings made for it, at least one.
	Configs map[string]string

	hash uint64
}

// ResourceKey names a resource.
type ResourceKey struct {
	Type ResourceType
	Name string
}

func (k ResourceKey) compare(o ResourceKey) int {
	return cmp.Or(cmp.Compare(k.Type, o.Type), cmp.Compare(k.Name, o.Name))
}

// Subscriber is told of each new image.
type Subscriber interface {
	// OnImage is called in the order of indexes, from one goroutine, and must
	// not block for long. d has the keys that differ from the image of the call
	// before; the first call has all of img in d.
	OnImage(img *Image, d *Delta)
}

// compareID orders ids by their bytes.
func compareID(a, b ID) int {
	if c := cmp.Compare(binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(b[:8])); c != 0 {
		return c
	}
	return cmp.Compare(binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(b[8:]))
}
