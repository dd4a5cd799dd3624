package cluster

import (
	"context"
	"net"

	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// Cluster is this node as a member of its cluster: its copy of the metadata log,
// the controller when this node leads, and this node's registration and session
// as a broker.
//
// The order of a start is New, Subscribe, Listen, Run (on a goroutine of its
// own); then Register when the logs are recovered, and Serve when the listeners
// are open. The order of a stop is Drain, then the end of Run's context.
type Cluster struct {
	o Options
}

// New checks the options and makes a Cluster. It starts nothing and opens no file.
func New(o Options) (*Cluster, error) {
	o.setDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	return &Cluster{o: o}, nil
}

// Listen binds the Raft port, so that one in use is noticed first thing. Nothing
// is served before Run. A node without a Raft port need not call it.
func (c *Cluster) Listen(ctx context.Context) error { return nil }

// Addr is where the Raft port is bound; nil before Listen, and without one.
func (c *Cluster) Addr() net.Addr { return nil }

// Run forms or rejoins the cluster and takes part in it until ctx ends. It
// returns when everything it started has ended: nil after ctx, else the error
// for which the process must end, a *FatalError.
func (c *Cluster) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Image is the newest metadata that this node's subscribers have been told of.
// It is never nil, and its index never falls.
func (c *Cluster) Image() *metadata.Image { return metadata.Empty() }

// Subscribe has s told of every new image, from one goroutine, in the order of
// calls to Subscribe. It must be called before Run. The first image that s gets
// is the one that holds this node's registration, with all of it in the delta:
// nobody acts on the word of a half-replayed log.
func (c *Cluster) Subscribe(s metadata.Subscriber) {}

// Submit has a command decided by the controller, wherever that is, and returns
// its answer once this node's own image holds the effect. It asks again, with
// the same RequestId, until ctx ends: the command is applied once at most. A
// refusal is a field of the answer. The error is ErrTimedOut, ErrStopped or the
// context's, and says that the outcome is not known.
func (c *Cluster) Submit(ctx context.Context, cmd *clusterv1.Command) (*clusterv1.Answer, error) {
	return nil, ErrStopped
}

// Quorum tells of the voters of __raft_metadata as their leader sees them, after
// a barrier. On another node it asks the leader.
func (c *Cluster) Quorum(ctx context.Context) (QuorumInfo, error) { return QuorumInfo{}, ErrStopped }

// Leader is the Raft leader as this node knows it, and the term; 0 if none is known.
func (c *Cluster) Leader() (node int32, term uint64) { return 0, 0 }

// Register makes this node known as a broker and returns its epoch, once the own
// image holds the registration and the subscribers have seen it. The broker is
// fenced until Serve. It tries until ctx ends, or until another live process has
// held the node id for Timing.Registration.
func (c *Cluster) Register(ctx context.Context, b Broker) (epoch int64, err error) {
	return 0, ErrStopped
}

// Serve says that the broker's listeners are open: its heartbeats ask to be unfenced.
func (c *Cluster) Serve() {}

// Ready reports whether this node's own image shows it registered and unfenced.
func (c *Cluster) Ready() bool { return false }

// AwaitReady waits until Ready.
func (c *Cluster) AwaitReady(ctx context.Context) error { return ctx.Err() }

// Drain begins a clean stop: the broker is fenced, so that clients find out, and
// Drain returns when all active brokers know of it, when ctx ends, or after 5 s.
// The listeners should go on answering until it returns.
func (c *Cluster) Drain(ctx context.Context) error { return nil }

// Check is one line of a readiness report.
type Check struct {
	Name string
	Err  error // nil: well
}

// Checks tells what of the cluster membership is well and what is not, for readiness.
func (c *Cluster) Checks() []Check { return nil }
