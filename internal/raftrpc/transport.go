package raftrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/rpc"
	"github.com/chronik-stream/chronik/internal/vfs"
	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// The replicated log that every message names.
const (
	Topic     = "__raft_metadata"
	Partition = 0
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

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.CallTimeout, 400*time.Millisecond)
	set(&o.SlotWait, 400*time.Millisecond)
	set(&o.StallTimeout, 300*time.Millisecond)
	set(&o.InstallTimeout, 10*time.Second)
	set(&o.SnapshotProgress, 10*time.Second)
	if o.SnapshotRate == 0 {
		o.SnapshotRate = 32 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return o
}

// Peers is how the transport reaches other nodes; *rpc.Peers.
type Peers interface {
	Conn(id int32, directory [16]byte) grpc.ClientConnInterface
	Bulk(id int32, directory [16]byte) grpc.ClientConnInterface
}

var (
	// ErrAttached is returned by Attach while another instance is attached.
	ErrAttached = errors.New("raftrpc: another raft instance is attached")
	// ErrDetached is returned for calls of an instance that is closed.
	ErrDetached = errors.New("raftrpc: this raft instance has stopped")
	// ErrCampaignRefused is returned by Campaign when this node may not stand now.
	ErrCampaignRefused = errors.New("raftrpc: no campaign: this node is not a follower with a vote, or the reason has gone")
)

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
	o       Options
	spools  *spools
	sending chan struct{} // holds a token while a snapshot is sent: one at a time

	mu       sync.Mutex
	instance *Instance
}

// New returns a transport with no instance attached: calls are answered
// UNAVAILABLE. It removes what an earlier process has left in the spool.
func New(o Options) (*Transport, error) {
	o = o.withDefaults()
	s, err := newSpools(o)
	if err != nil {
		return nil, fmt.Errorf("cannot empty the directory for incoming snapshots: %w", err)
	}
	return &Transport{o: o, spools: s, sending: make(chan struct{}, 1)}, nil
}

// Register makes s serve the transport.
func (t *Transport) Register(s grpc.ServiceRegistrar) { raftv1.RegisterRaftServer(s, t) }

// Attach returns the raft.Transport for a new raft instance. Give it to
// raft.NewRaft, then call Bind.
func (t *Transport) Attach(o InstanceOptions) (*Instance, error) {
	i := newInstance(t, o)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.instance != nil {
		return nil, ErrAttached
	}
	t.instance = i
	return i, nil
}

// Close lets go of a snapshot that was on its way. Call it when the server has stopped.
func (t *Transport) Close() error {
	t.spools.close()
	return nil
}

func (t *Transport) detach(i *Instance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.instance == i {
		t.instance = nil
	}
}

// named is what every message has.
type named interface {
	GetTopic() string
	GetPartition() int32
}

// attached returns the instance that serves the log a message names.
func (t *Transport) attached(m named) (*Instance, error) {
	if m.GetTopic() != Topic || m.GetPartition() != Partition {
		return nil, status.Errorf(codes.InvalidArgument, "this node serves Raft for %s partition %d, not for %q partition %d",
			Topic, Partition, m.GetTopic(), m.GetPartition())
	}
	return t.current()
}

func (t *Transport) current() (*Instance, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.instance == nil {
		return nil, status.Errorf(codes.Unavailable, "node %d: Raft is starting or stopping", t.o.Book.Self().NodeID)
	}
	return t.instance, nil
}

// invalid is the answer to a message that no right sender sends.
func invalid(err error) error { return status.Error(codes.InvalidArgument, err.Error()) }

// sender checks that a message comes from the node that its header names.
func sender(ctx context.Context, h *raftv1.Header) (node int32, err error) {
	node, directory, err := ParseAddress(raft.ServerAddress(h.GetAddr()))
	if err != nil {
		return 0, invalid(err)
	}
	if string(h.GetId()) != string(ServerID(node)) {
		return 0, invalid(fmt.Errorf("the header names node %q at %s", h.GetId(), h.GetAddr()))
	}
	if c, ok := rpc.CallerFrom(ctx); ok && (c.NodeID != node || c.DirectoryID != directory) {
		return 0, invalid(fmt.Errorf("the header names %s, the call comes from %s", h.GetAddr(), Address(c.NodeID, c.DirectoryID)))
	}
	return node, nil
}

// AppendEntries implements raftv1.RaftServer.
func (t *Transport) AppendEntries(ctx context.Context, m *raftv1.AppendEntriesRequest) (*raftv1.AppendEntriesResponse, error) {
	i, err := t.attached(m)
	if err != nil {
		return nil, err
	}
	return i.receiveAppend(ctx, m)
}

// Pipeline implements raftv1.RaftServer: one call after the other, in order.
func (t *Transport) Pipeline(s grpc.BidiStreamingServer[raftv1.AppendEntriesRequest, raftv1.AppendEntriesResponse]) error {
	for {
		m, err := s.Recv()
		if err != nil {
			return ended(err)
		}
		i, err := t.attached(m)
		if err != nil {
			return err
		}
		resp, err := i.receiveAppend(s.Context(), m)
		if err != nil {
			return err
		}
		if err := s.Send(resp); err != nil {
			return err
		}
	}
}

// RequestVote implements raftv1.RaftServer.
func (t *Transport) RequestVote(ctx context.Context, m *raftv1.RequestVoteRequest) (*raftv1.RequestVoteResponse, error) {
	i, err := t.attached(m)
	if err != nil {
		return nil, err
	}
	node, err := sender(ctx, m.GetHeader())
	if err != nil {
		return nil, err
	}
	req := decodeVoteRequest(m)
	i.elections.receivedRequest(node, req)
	start := time.Now()
	answer, err := i.deliver(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*raft.RequestVoteResponse)
	if !ok {
		return nil, unexpected(answer)
	}
	i.elections.sentResponse(node, req.Term, resp, time.Since(start))
	return encodeVoteResponse(resp), nil
}

// RequestPreVote implements raftv1.RaftServer.
func (t *Transport) RequestPreVote(ctx context.Context, m *raftv1.RequestPreVoteRequest) (*raftv1.RequestPreVoteResponse, error) {
	i, err := t.attached(m)
	if err != nil {
		return nil, err
	}
	if _, err := sender(ctx, m.GetHeader()); err != nil {
		return nil, err
	}
	answer, err := i.deliver(ctx, decodePreVoteRequest(m))
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*raft.RequestPreVoteResponse)
	if !ok {
		return nil, unexpected(answer)
	}
	return encodePreVoteResponse(resp), nil
}

// TimeoutNow implements raftv1.RaftServer. raft obeys it from anybody, and even
// as a non-voter, which raises its term and deposes a healthy leader; so it is
// taken from the leader of the current term alone, and by a voter.
func (t *Transport) TimeoutNow(ctx context.Context, m *raftv1.TimeoutNowRequest) (*raftv1.TimeoutNowResponse, error) {
	i, err := t.attached(m)
	if err != nil {
		return nil, err
	}
	node, err := sender(ctx, m.GetHeader())
	if err != nil {
		return nil, err
	}
	if err := i.mayTakeOver(node, m.GetTerm()); err != nil {
		t.o.Logger.Warn("Refused to stand for election", "node", i.self.NodeID, "peer", node, "reason", err)
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}
	i.elections.expect(CauseTransfer)
	answer, err := i.deliver(ctx, decodeTimeoutNowRequest(m))
	if err != nil {
		i.elections.expect("")
		return nil, err
	}
	resp, ok := answer.(*raft.TimeoutNowResponse)
	if !ok {
		return nil, unexpected(answer)
	}
	return encodeTimeoutNowResponse(resp), nil
}

func unexpected(answer any) error {
	return status.Errorf(codes.Internal, "raft answered with %T", answer)
}
