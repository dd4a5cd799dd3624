package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// retryLeader is how long a command waits before it is sent again.
const retryLeader = 10 * time.Millisecond

// errNoLeader: nobody leads, as far as this node knows.
var errNoLeader = errors.New("no leader of the metadata log is known")

// Submit has a command decided by the controller, wherever that is, and returns
// its answer once this node's own image holds the effect. It asks again, with
// the same RequestId, until ctx ends: the command is applied once at most. A
// refusal is a field of the answer. The error is ErrTimedOut, ErrStopped or
// context.Canceled, and says that the outcome is not known.
func (c *Cluster) Submit(ctx context.Context, cmd *clusterv1.Command) (*clusterv1.Answer, error) {
	ctx, cancel := c.whileRunning(ctx)
	defer cancel()
	if cmd.GetRequestId() == nil {
		n, err := c.seq.acquire(ctx)
		if err != nil {
			return nil, c.unanswered(ctx, errors.New("256 commands of this node wait for their answers"))
		}
		defer c.seq.release(n)
		cmd = &clusterv1.Command{
			RequestId: &clusterv1.RequestId{Node: c.o.NodeID, Incarnation: c.o.Incarnation[:], Sequence: n},
			Kind:      cmd.GetKind(),
		}
	}
	start := time.Now()
	var last error
	for {
		ans, err := c.submitOnce(ctx, cmd)
		if err == nil {
			c.m.submitSeconds.Observe(time.Since(start).Seconds())
			return ans, c.catchUp(ctx, ans.GetIndex())
		}
		if ctx.Err() == nil {
			last = err
		}
		if c.pauseForLeader(ctx, retryLeader) != nil {
			return nil, c.unanswered(ctx, last)
		}
		c.m.submitRetries.Inc()
		if invariant.Mutant("cluster-new-request-id") {
			cmd.RequestId.Sequence += 1 << 20
		}
	}
}

// submitOnce asks the leader of the moment. Any error means: ask again.
func (c *Cluster) submitOnce(ctx context.Context, cmd *clusterv1.Command) (*clusterv1.Answer, error) {
	leader, _, while := c.leader.get()
	switch leader {
	case 0:
		return nil, errNoLeader
	case c.o.NodeID:
		return c.decideHere(ctx, cmd)
	}
	ctx, cancel := until(ctx, while)
	defer cancel()
	return clusterv1.NewClusterClient(c.conn(leader)).Submit(ctx, cmd)
}

// conn is the connection to a node, on the directory that it is known by.
func (c *Cluster) conn(node int32) grpc.ClientConnInterface {
	directory, _ := c.book.Directory(node)
	return c.peers.Conn(node, directory)
}

// decideHere puts a command into this node's own queue and waits for it.
func (c *Cluster) decideHere(ctx context.Context, cmd *clusterv1.Command) (*clusterv1.Answer, error) {
	j, err := c.queue.put(cmd)
	if errors.Is(err, ErrOverloaded) {
		return &clusterv1.Answer{Code: int32(metadata.CodeRequestTimedOut), Message: err.Error() + ": try again later"}, nil
	}
	if err != nil {
		return nil, err
	}
	select {
	case <-j.done:
		return j.ans, j.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// catchUp waits until this node's own image holds an answer's effect, so that
// who has the answer can read it here. It never fails for want of it: the
// command is done, wherever this node's image is.
func (c *Cluster) catchUp(ctx context.Context, index uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.o.Timing.CatchUp)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	if c.images.awaitIndex(ctx, index) != nil {
		c.m.catchUpMissed.Inc()
	}
	return nil
}

// unanswered is the error of a command without an answer.
func (c *Cluster) unanswered(ctx context.Context, last error) error {
	switch {
	case c.life.Err() != nil:
		return ErrStopped
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	}
	leader, term, _ := c.leader.get()
	return fmt.Errorf("%w (leader: node %d, term %d): %w", ErrTimedOut, leader, term, last)
}
