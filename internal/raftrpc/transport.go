package raftrpc

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	"github.com/chronik-stream/chronik/internal/rpc"
	"github.com/chronik-stream/chronik/internal/vfs"
	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// Options is what New needs. Zero durations and sizes stand for the defaults given with them.
type Options struct {
	Book    *rpc.Book
	Peers   Peers
	FS      vfs.FS
	Spool   string // directory for snapshots on their way in; emptied by New
	Logger  *slog.Logger
	Metrics *Metrics

	CallTimeout      time.Duration // of a vote or an append; 400 ms, twice the heartbeat timeout
	SlotWait         time.Duration // for a place in a full pipeline; 400 ms
	StallTimeout     time.Duration // how long the gate answers for one AppendEntries; 300 ms, raft.storage.stall.timeout.ms
	InstallTimeout   time.Duration // how long the gate answers for one InstallSnapshot; 10 s
	SnapshotProgress time.Duration // a snapshot on its way that makes no progress for this long is given up; 10 s
	SnapshotRate     int           // bytes a second; 32 MiB
}

// Peers is how the transport reaches other nodes; *rpc.Peers.
type Peers interface {
	Conn(id int32, directory [16]byte) grpc.ClientConnInterface
	Bulk(id int32, directory [16]byte) grpc.ClientConnInterface
}

// ErrAttached is returned by Attach while another instance is attached.
var ErrAttached = errors.New("raftrpc: another raft instance is attached")

// ErrDetached is returned for calls of an instance that is closed.
var ErrDetached = errors.New("raftrpc: this raft instance has stopped")

// Cause tells in logs and metrics why a node stood for election.
type Cause string

// The causes of an election.
const (
	CauseTimeout  Cause = "timeout"  // no heartbeat in time
	CauseDead     Cause = "dead"     // the leader's process is known to be gone
	CauseTransfer Cause = "transfer" // the leader asked for it
	CauseFounding Cause = "founding" // the first election, or a cluster of one
)

// Transport serves raft/v1 and hands its calls to the attached instance.
type Transport struct {
	raftv1.UnimplementedRaftServer
	o Options
}

// New returns a transport with no instance attached: calls are answered UNAVAILABLE.
func New(o Options) (*Transport, error) { return &Transport{o: o}, nil }

// Register makes s serve the transport.
func (t *Transport) Register(s grpc.ServiceRegistrar) { raftv1.RegisterRaftServer(s, t) }

// InstanceOptions is what Attach needs.
type InstanceOptions struct {
	// Logs is the log that raft uses, asked whether a snapshot's last entry
	// stands in it with another term.
	Logs raft.LogStore
	// OnConflict asks the owner to restart raft in place and to delete the log
	// from index on in between: a snapshot covers index with another term, so
	// what stands there was never committed, and raft 1.7.3 would install the
	// snapshot and refuse what follows it, for ever. Called from a goroutine of
	// the server; it must not block.
	OnConflict func(index uint64)
}

// Attach returns the raft.Transport for a new raft instance. Give it to
// raft.NewRaft, then call Bind.
func (t *Transport) Attach(o InstanceOptions) (*Instance, error) { return &Instance{}, nil }

// Instance is the raft.Transport of one raft instance.
type Instance struct{ raft.Transport }

// Bind tells the instance which raft it serves. Until then nobody can make it
// campaign. Call it right after raft.NewRaft.
func (i *Instance) Bind(r *raft.Raft) {}

// Close implements raft.WithClose: it ends the calls in flight and detaches.
//
// The order of a stop is f := r.Shutdown(); i.Close(); f.Error(): Shutdown
// waits for calls, which Close ends.
func (i *Instance) Close() error { return nil }

// Contact is the last AppendEntries that a leader sent.
type Contact struct {
	Leader int32
	Term   uint64
	At     time.Time
}

// LastContact returns the last AppendEntries received from a leader, heartbeats
// included, zero if there was none.
func (i *Instance) LastContact() Contact { return Contact{} }

// ErrCampaignRefused is returned by Campaign when this node may not stand now.
var ErrCampaignRefused = errors.New("raftrpc: no campaign: this node is not a follower with a vote, or the reason has gone")

// Campaign makes this node stand for election at once, without pre-vote, by a
// TimeoutNow to itself. Safety is Raft's own (terms, log comparison, persisted
// votes); a needless campaign costs availability, so still is asked before each
// of the tries, 5 ms apart, until raft takes one or ctx ends: a try that waited
// behind a stalled disk must not depose a leader that has come since.
func (i *Instance) Campaign(ctx context.Context, cause Cause, still func() bool) error { return nil }
