package raftrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	"github.com/chronik-stream/chronik/internal/invariant"
	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }

// ended turns the regular end of a stream into no error.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// client returns a stub for the node that a raft address names.
func (i *Instance) client(target raft.ServerAddress, conn func(int32, [16]byte) grpc.ClientConnInterface) (int32, raftv1.RaftClient, error) {
	if i.ctx.Err() != nil {
		return 0, nil, ErrDetached
	}
	node, directory, err := ParseAddress(target)
	if err != nil {
		return 0, nil, err
	}
	return node, raftv1.NewRaftClient(conn(node, directory)), nil
}

// wait is an option of all calls: one made while the connection waits for its
// next try would fail at once, and raft would add its own, longer wait.
var wait = grpc.WaitForReady(true)

// failed says which call to which node had an error.
func (i *Instance) failed(call string, node int32, err error) error {
	if i.ctx.Err() != nil {
		return ErrDetached
	}
	return fmt.Errorf("%s to node %d: %w", call, node, err)
}

// AppendEntries implements raft.Transport.
func (i *Instance) AppendEntries(_ raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	node, c, err := i.client(target, i.t.o.Peers.Conn)
	if err != nil {
		return err
	}
	i.trim(args)
	ctx, cancel := context.WithTimeout(i.ctx, i.t.o.CallTimeout)
	defer cancel()
	m, err := c.AppendEntries(ctx, encodeAppendRequest(args), wait)
	if err != nil {
		return i.failed("AppendEntries", node, err)
	}
	*resp = *decodeAppendResponse(m)
	return nil
}

// RequestVote implements raft.Transport.
func (i *Instance) RequestVote(_ raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	node, c, err := i.client(target, i.t.o.Peers.Conn)
	if err != nil {
		return err
	}
	i.elections.sentRequest(node, args)
	start := time.Now()
	ctx, cancel := context.WithTimeout(i.ctx, i.t.o.CallTimeout)
	defer cancel()
	m, err := c.RequestVote(ctx, encodeVoteRequest(args), wait)
	if err != nil {
		return i.failed("RequestVote", node, err)
	}
	*resp = *decodeVoteResponse(m)
	i.elections.receivedResponse(node, args.Term, resp, time.Since(start))
	return nil
}

// RequestPreVote implements raft.WithPreVote.
func (i *Instance) RequestPreVote(_ raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	node, c, err := i.client(target, i.t.o.Peers.Conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(i.ctx, i.t.o.CallTimeout)
	defer cancel()
	m, err := c.RequestPreVote(ctx, encodePreVoteRequest(args), wait)
	if err != nil {
		return i.failed("RequestPreVote", node, err)
	}
	*resp = *decodePreVoteResponse(m)
	return nil
}

// TimeoutNow implements raft.Transport.
func (i *Instance) TimeoutNow(_ raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	node, c, err := i.client(target, i.t.o.Peers.Conn)
	if err != nil {
		return err
	}
	m := encodeTimeoutNowRequest(args)
	m.Term = i.term()
	ctx, cancel := context.WithTimeout(i.ctx, i.t.o.CallTimeout)
	defer cancel()
	a, err := c.TimeoutNow(ctx, m, wait)
	if err != nil {
		return i.failed("TimeoutNow", node, err)
	}
	*resp = *decodeTimeoutNowResponse(a)
	return nil
}

const (
	// maxAppend is how many bytes of entries go into one call; one entry always does.
	maxAppend = 4 << 20
	// entryOverhead is more than what stands around the data of an entry.
	entryOverhead = 64
)

// trim cuts the entries of a call in place. raft looks at what is left of them
// after the call, so that a shorter slice is a shorter call and nothing more.
func (i *Instance) trim(args *raft.AppendEntriesRequest) {
	size := 0
	for k, e := range args.Entries {
		size += len(e.Data) + len(e.Extensions) + entryOverhead
		if size > maxAppend && k > 0 && !invariant.Mutant("raftrpc-no-trim") {
			args.Entries = args.Entries[:k]
			i.t.o.Metrics.trimmed.Inc()
			return
		}
	}
}
