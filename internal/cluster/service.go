package cluster

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/rpc"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// service is cluster/v1 on this node. It holds no state: it hands over to the
// parts of Cluster. Who calls was checked by rpc, but for Handshake.
type service struct {
	clusterv1.UnimplementedClusterServer
	clusterv1.UnimplementedObserveServer
	c *Cluster
}

// Handshake answers with who this node is, and learns who calls.
func (s service) Handshake(_ context.Context, h *clusterv1.Hello) (*clusterv1.Hello, error) {
	s.c.meet(h)
	return s.c.hello(), nil
}

// CurrentIndex tells how far this node knows the log to be committed.
func (s service) CurrentIndex(context.Context, *clusterv1.CurrentIndexRequest) (*clusterv1.CurrentIndexResponse, error) {
	inst := s.c.member.current.Load()
	if inst == nil {
		return nil, unavailable(errNoRaft)
	}
	leader, term, _ := s.c.leader.get()
	return &clusterv1.CurrentIndexResponse{Term: term, CommitIndex: inst.raft.CommitIndex(), Leader: leader}, nil
}

// Register is answered by the controller.
func (s service) Register(ctx context.Context, req *clusterv1.RegisterRequest) (*clusterv1.RegisterResponse, error) {
	if caller, ok := rpc.CallerFrom(ctx); !ok || caller.NodeID != req.GetNodeId() || string(caller.Incarnation[:]) != string(req.GetIncarnation()) {
		return nil, status.Error(codes.PermissionDenied, "a node registers itself and nobody else")
	}
	r, err := s.c.registerHere(ctx, req)
	return r, unavailable(err)
}

// registerHere has this node's controller register a broker.
func (c *Cluster) registerHere(ctx context.Context, req *clusterv1.RegisterRequest) (*clusterv1.RegisterResponse, error) {
	a, err := c.decideHere(ctx, &clusterv1.Command{Kind: &clusterv1.Command_RegisterBroker{
		RegisterBroker: &clusterv1.RegisterBroker{Request: req},
	}})
	if err != nil {
		return nil, err
	}
	return &clusterv1.RegisterResponse{
		BrokerEpoch: a.GetRegisterBroker().GetBrokerEpoch(), Index: a.GetIndex(), Code: a.GetCode(), Message: a.GetMessage(),
	}, nil
}

// Session takes a broker's heartbeats for as long as this node is the controller.
func (s service) Session(stream grpc.BidiStreamingServer[clusterv1.Beat, clusterv1.BeatReply]) error {
	caller, _ := rpc.CallerFrom(stream.Context())
	for {
		b, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if caller.NodeID != b.GetBrokerId() {
			return status.Error(codes.PermissionDenied, "a broker's heartbeats come from its own node")
		}
		r, err := s.c.sessions.beat(b)
		if err != nil {
			return unavailable(err)
		}
		if err := stream.Send(r); err != nil {
			return err
		}
	}
}

// Submit is answered by the controller. What only the controller itself may ask
// for does not come over the network.
func (s service) Submit(ctx context.Context, cmd *clusterv1.Command) (*clusterv1.Answer, error) {
	switch cmd.GetKind().(type) {
	case *clusterv1.Command_CreateTopics, *clusterv1.Command_DeleteTopics, *clusterv1.Command_CreatePartitions,
		*clusterv1.Command_AllocateProducerIds, *clusterv1.Command_AssignDirectories, *clusterv1.Command_AlterConfigs:
	default:
		return nil, status.Errorf(codes.InvalidArgument, "node %d takes no command of this kind from another node", s.c.o.NodeID)
	}
	a, err := s.c.decideHere(ctx, cmd)
	return a, unavailable(err)
}

// Quorum is answered by the leader.
func (s service) Quorum(ctx context.Context, _ *clusterv1.QuorumRequest) (*clusterv1.QuorumResponse, error) {
	q, err := s.c.quorumHere(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	return q.message(), nil
}

// ShardDigests gives the digests of an image that this node had.
func (s service) ShardDigests(_ context.Context, req *clusterv1.ShardDigestsRequest) (*clusterv1.ShardDigestsResponse, error) {
	d, ok := s.c.images.digestAt(req.GetIndex())
	if !ok {
		return nil, status.Errorf(codes.NotFound, "node %d has no image of index %d at hand", s.c.o.NodeID, req.GetIndex())
	}
	return &clusterv1.ShardDigestsResponse{Index: d.index, Digest: d.sum, Shards: d.shards}, nil
}

// unavailable gives an error of this package a gRPC code: the caller asks the
// leader of the moment again. Errors with a code of their own keep it.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if errors.Is(err, errUnknownOutcome) {
		return status.Error(codes.Aborted, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}
