package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// Images of equal index must be equal: all nodes replay the same entries. Each
// heartbeat carries the broker's index and digest, and the controller compares
// them with its own image of that index. Who differs from the majority has a bug,
// or bad memory, and stops: it would act on a cluster that does not exist.

// agreement is what the last comparison of a broker's image showed.
type agreement int

const (
	unknown agreement = iota // not compared yet: this node has no image of that index
	same
	differs
)

// divergedError answers a heartbeat of a broker whose image is the odd one.
type divergedError struct{ index uint64 }

func (e *divergedError) Error() string {
	return fmt.Sprintf("the metadata image of index %d differs from the majority's", e.index)
}

// GRPCStatus carries the index to the broker.
func (e *divergedError) GRPCStatus() *status.Status {
	s := status.New(codes.DataLoss, e.Error())
	if d, err := s.WithDetails(&clusterv1.ShardDigestsRequest{Index: e.index}); err == nil {
		return d
	}
	return s
}

// asDiverged returns the index that a divergedError carried, over the network or not.
func asDiverged(err error) (index uint64, ok bool) {
	var own *divergedError
	if errors.As(err, &own) {
		return own.index, true
	}
	s, isStatus := status.FromError(err)
	if !isStatus || s.Code() != codes.DataLoss {
		return 0, false
	}
	for _, d := range s.Details() {
		if r, ok := d.(*clusterv1.ShardDigestsRequest); ok {
			return r.GetIndex(), true
		}
	}
	return 0, false
}

// compare holds a broker's digest against that of this node's image of the same
// index. Under mu. It returns a *divergedError if the broker is the odd one; if
// this node is, odd is told.
func (s *sessions) compare(x *session, b *clusterv1.Beat) error {
	if x.broker == s.o.NodeID {
		return nil
	}
	d, ok := s.images.digestAt(b.GetImageIndex())
	switch {
	case !ok:
		return nil
	case d.sum == b.GetDigest():
		x.agrees = same
		s.doubt = s.doubt && s.anyDiffers()
		return nil
	}
	if x.agrees != differs {
		s.m.mismatches.Inc()
		s.log.Error("The metadata images of two nodes differ at the same index", "node", s.o.NodeID, "other", x.broker,
			"index", d.index, "digest", fmt.Sprintf("%016x", d.sum), "other_digest", fmt.Sprintf("%016x", b.GetDigest()))
	}
	if !s.doubt {
		// What the others agreed to was before this: they are asked anew, by their next heartbeats.
		s.doubt = true
		for _, y := range s.byBroker {
			y.agrees = unknown
		}
	}
	x.agrees = differs
	// This node agrees with itself; a broker that is silent or was not compared has no say.
	live, agree, differ := 1, 1, 0
	for id, y := range s.byBroker {
		if id == s.o.NodeID || y.heard.IsZero() {
			continue
		}
		live++
		switch y.agrees {
		case same:
			agree++
		case differs:
			differ++
		case unknown:
		}
	}
	nobodyElse := agree+differ == len(s.lead.inst.fsm.image.Load().Brokers())
	switch {
	case 2*differ > live:
		s.odd(d.index, x.broker)
	case 2*agree > live, nobodyElse: // a tie of all there are: the controller's image is what was decided on
		return &divergedError{d.index}
	}
	return nil
}

func (s *sessions) anyDiffers() bool {
	for _, x := range s.byBroker {
		if x.agrees == differs {
			return true
		}
	}
	return false
}

// oddOne is the verdict of a controller over itself.
type oddOne struct {
	index uint64
	other int32 // one of the majority
}

// Divergence is the error of a node whose image differs from the majority's.
type Divergence struct {
	Index       uint64
	Node, Other int32
	Digest      uint64
	OtherDigest uint64   // 0 if the other node could not be asked
	Shards      []uint64 // parts of Digest, as metadata.Image.ShardDigests gives them
	OtherShards []uint64
	DumpFile    string // this node's image as a snapshot; empty if it could not be written
	NotCompared error  // why the other node's parts are not known
}

// Error names the parts in which the images differ.
func (d *Divergence) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "the metadata image of node %d differs from the majority's at index %d (digest %016x, node %d has %016x)",
		d.Node, d.Index, d.Digest, d.Other, d.OtherDigest)
	if d.NotCompared != nil {
		fmt.Fprintf(&s, "; the parts were not compared: %v", d.NotCompared)
	}
	for n := range min(len(d.Shards), len(d.OtherShards)) {
		if d.Shards[n] != d.OtherShards[n] {
			fmt.Fprintf(&s, "; %s: %016x, node %d has %016x", shardName(n), d.Shards[n], d.Other, d.OtherShards[n])
		}
	}
	if d.DumpFile != "" {
		fmt.Fprintf(&s, "; this node's image is kept in %s", d.DumpFile)
	}
	s.WriteString(". This node stops: it would act on a cluster that does not exist. Check its memory and disk, and report this with the file")
	return s.String()
}

func shardName(n int) string {
	switch n {
	case 0:
		return "cluster and controller"
	case 1:
		return "brokers"
	case 2:
		return "kept answers"
	default:
		return fmt.Sprintf("topic shard %d", n-3)
	}
}

// diverge makes the error with which this node stops, with both sides' digests.
func (c *Cluster) diverge(ctx context.Context, index uint64, other int32) error {
	d := &Divergence{Index: index, Node: c.o.NodeID, Other: other}
	if own, ok := c.images.digestAt(index); ok {
		d.Digest, d.Shards = own.sum, own.shards
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	theirs, err := clusterv1.NewObserveClient(c.conn(other)).
		ShardDigests(ctx, &clusterv1.ShardDigestsRequest{Index: index})
	if err != nil {
		d.NotCompared = err
	} else {
		d.OtherDigest, d.OtherShards = theirs.GetDigest(), theirs.GetShards()
	}
	name, err := c.dumpImage(index)
	if err != nil {
		c.log.Error("The differing metadata image could not be kept", "error", err)
	}
	d.DumpFile = name
	return &FatalError{Reason: ReasonDiverged, Err: d}
}

// dumpImage writes the newest image beside the metadata log, as a snapshot.
func (c *Cluster) dumpImage(index uint64) (name string, err error) {
	name = filepath.Join(c.o.Path, fmt.Sprintf("diverged-%d.snapshot", index))
	f, err := c.o.FS.Create(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := metadata.WriteSnapshot(io.NewOffsetWriter(f, 0), c.images.told.Load()); err != nil {
		return "", err
	}
	return name, f.Sync()
}
