package raftrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/rpc"
	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// InstanceOptions is what Attach needs.
type InstanceOptions struct {
	// Logs is the log that raft uses, asked whether a snapshot's last entry
	// stands in it with another term.
	Logs raft.LogStore
	// OnConflict asks the owner to restart raft in place and to delete the log
	// from index on in between: a snapshot covers index with another term, so
	// what stands there was never committed, and raft 1.7.3 would install the
	// snapshot and refuse what follows it, for ever. Called once, from a goroutine
	// of the server; it must not block.
	OnConflict func(index uint64)
}

// campaignTry is how long a TimeoutNow to oneself waits for raft to take it: a
// campaign must not come out of a queue when its reason has long gone.
const campaignTry = 5 * time.Millisecond

// Instance is the raft.Transport of one raft instance.
type Instance struct {
	t        *Transport
	o        InstanceOptions
	self     rpc.Identity
	address  raft.ServerAddress
	consumer chan raft.RPC // unbuffered: what is sent is being processed
	ctx      context.Context
	close    context.CancelFunc

	raft      atomic.Pointer[raft.Raft]
	observer  *raft.Observer
	gate      gate
	elections elections
	conflict  atomic.Bool // OnConflict was called

	mu      sync.Mutex
	contact Contact
	leading context.Context // ends when raft stops leading
	resign  context.CancelFunc
}

var (
	_ raft.Transport   = (*Instance)(nil)
	_ raft.WithPreVote = (*Instance)(nil)
	_ raft.WithClose   = (*Instance)(nil)
)

func newInstance(t *Transport, o InstanceOptions) *Instance {
	self := t.o.Book.Self()
	i := &Instance{
		t: t, o: o, self: self,
		address:  Address(self.NodeID, self.DirectoryID),
		consumer: make(chan raft.RPC),
	}
	i.ctx, i.close = context.WithCancel(context.Background())
	i.gate.init()
	i.elections = elections{log: t.o.Logger, node: self.NodeID, metrics: t.o.Metrics}
	return i
}

// Bind tells the instance which raft it serves. Until then nobody can make it
// campaign, and the gate is shut. Call it right after raft.NewRaft.
func (i *Instance) Bind(r *raft.Raft) {
	i.raft.Store(r)
	i.observer = raft.NewObserver(nil, false, i.observe)
	r.RegisterObserver(i.observer)
}

// observe is a filter that lets nothing pass. raft calls it on its main
// goroutine, while it changes its state, which a channel would tell too late.
func (i *Instance) observe(o *raft.Observation) bool {
	state, ok := o.Data.(raft.RaftState)
	if !ok {
		return false
	}
	if state == raft.Candidate && i.onlyVoter() {
		i.elections.alone(o.Raft.CurrentTerm() + 1)
	}
	i.mu.Lock()
	resign := i.resign
	i.leading, i.resign = nil, nil
	if state == raft.Leader {
		i.leading, i.resign = context.WithCancel(i.ctx)
	}
	i.mu.Unlock()
	if resign != nil {
		resign()
	}
	return false
}

// onlyVoter reports whether this node is the only voter of its configuration.
func (i *Instance) onlyVoter() bool {
	voters, self := i.voters()
	return self && voters == 1
}

// voters counts the voters of the latest configuration.
func (i *Instance) voters() (n int, self bool) {
	r := i.raft.Load()
	if r == nil {
		return 0, false
	}
	f := r.GetConfiguration() // a copy, answered at once
	if f.Error() != nil {
		return 0, false
	}
	for _, s := range f.Configuration().Servers {
		if s.Suffrage == raft.Voter {
			n++
			self = self || s.ID == ServerID(i.self.NodeID) && s.Address == i.address
		}
	}
	return n, self
}

// while returns a context that ends when raft stops leading, or with the instance.
func (i *Instance) while() context.Context {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.leading != nil {
		return i.leading
	}
	return i.ctx
}

// Close implements raft.WithClose: it ends the calls in flight and detaches.
//
// The order of a stop is f := r.Shutdown(); i.Close(); f.Error(): Shutdown
// waits for calls, which Close ends.
func (i *Instance) Close() error {
	i.close()
	i.t.detach(i)
	if r := i.raft.Load(); r != nil {
		r.DeregisterObserver(i.observer)
	}
	return nil
}

// Consumer implements raft.Transport.
func (i *Instance) Consumer() <-chan raft.RPC { return i.consumer }

// LocalAddr implements raft.Transport.
func (i *Instance) LocalAddr() raft.ServerAddress { return i.address }

// EncodePeer implements raft.Transport.
func (i *Instance) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

// DecodePeer implements raft.Transport.
func (i *Instance) DecodePeer(p []byte) raft.ServerAddress { return raft.ServerAddress(p) }

// SetHeartbeatHandler implements raft.Transport. The handler is never called:
// it is raft's whole appendEntries, which would change term, state and leader
// beside the main goroutine.
func (i *Instance) SetHeartbeatHandler(func(raft.RPC)) {}

// Contact is the last AppendEntries that a leader sent.
type Contact struct {
	Leader int32
	Term   uint64
	At     time.Time
}

// LastContact returns the last AppendEntries received from a leader, heartbeats
// included, zero if there was none.
func (i *Instance) LastContact() Contact {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.contact
}

// deliver hands a request to raft and returns its answer.
func (i *Instance) deliver(ctx context.Context, command any) (any, error) {
	answer, err := i.offer(ctx, command, nil, nil, nil)
	return answer, err
}

// errBusy is returned by offer when the gate may answer instead.
var errBusy = errors.New("raft is busy")

// offer waits until raft takes a request, then for its answer, whatever has
// become of ctx: the order of a pipeline and the gate rest on knowing when raft
// is done, and raft answers everything it takes. taken is called between the
// two. If busy is closed before raft takes the request, offer returns errBusy.
func (i *Instance) offer(ctx context.Context, command any, data io.Reader, busy <-chan struct{}, taken func()) (any, error) {
	answer := make(chan raft.RPCResponse, 1)
	select {
	case i.consumer <- raft.RPC{Command: command, Reader: data, RespChan: answer}:
	case <-busy:
		return nil, errBusy
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-i.ctx.Done():
		return nil, status.Errorf(codes.Unavailable, "node %d: Raft is stopping", i.self.NodeID)
	}
	if taken != nil {
		taken()
	}
	a := <-answer
	if a.Error != nil {
		return nil, status.Errorf(codes.Aborted, "raft of node %d: %v", i.self.NodeID, a.Error)
	}
	return a.Response, nil
}

// receiveAppend serves an AppendEntries.
func (i *Instance) receiveAppend(ctx context.Context, m *raftv1.AppendEntriesRequest) (*raftv1.AppendEntriesResponse, error) {
	node, err := sender(ctx, m.GetHeader())
	if err != nil {
		return nil, err
	}
	req, err := decodeAppendRequest(m)
	if err != nil {
		return nil, invalid(err)
	}
	i.heard(node, req.Term)
	resp, err := i.append(ctx, node, req)
	if err != nil {
		return nil, err
	}
	return encodeAppendResponse(resp), nil
}

// append lets the gate answer a heartbeat, or raft the request.
func (i *Instance) append(ctx context.Context, node int32, req *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error) {
	who := reign{node, req.Term}
	beat := heartbeat(req)
	for {
		var busy <-chan struct{}
		if beat {
			open, changed := i.gate.open(who, time.Now(), i.term())
			if open {
				i.t.o.Metrics.gated.Inc()
				return &raft.AppendEntriesResponse{RPCHeader: i.header(), Term: req.Term, Success: true}, nil
			}
			busy = changed
		}
		var call uint64
		accepted := false
		answer, err := i.offer(ctx, req, nil, busy, func() {
			if accepted = true; !beat {
				call = i.gate.begin(who, false, i.t.o.StallTimeout)
			}
		})
		if errors.Is(err, errBusy) {
			continue
		}
		resp, ok := answer.(*raft.AppendEntriesResponse)
		if err == nil && !ok {
			err = unexpected(answer)
		}
		if err != nil {
			resp = nil
		}
		if accepted {
			i.passed(who, call, resp)
		}
		return resp, err
	}
}

// passed tells the gate of an answer, and logs it when the gate was open for long.
func (i *Instance) passed(who reign, call uint64, resp *raft.AppendEntriesResponse) {
	beats, took := i.gate.end(who, call, resp)
	if beats > 0 && took > gateSlow {
		i.t.o.Logger.Warn("Raft was busy storing; its heartbeats were answered meanwhile",
			"node", i.self.NodeID, "leader", who.leader, "term", who.term, "took", took, "heartbeats", beats)
	}
}

// term returns raft's current term, 0 before Bind.
func (i *Instance) term() uint64 {
	if r := i.raft.Load(); r != nil {
		return r.CurrentTerm()
	}
	return 0
}

func (i *Instance) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(ServerID(i.self.NodeID)), Addr: []byte(i.address)}
}

// mayTakeOver reports why a TimeoutNow from a node that leads in a term is not obeyed.
func (i *Instance) mayTakeOver(node int32, term uint64) error {
	r := i.raft.Load()
	if r == nil {
		return errors.New("raft is starting")
	}
	address, leader := r.LeaderWithID()
	_, self := i.voters()
	switch {
	case invariant.Mutant("raftrpc-timeoutnow-from-anybody"):
		return nil
	case leader != ServerID(node):
		return fmt.Errorf("node %d is not the leader this node follows (%q at %q)", node, leader, address)
	case term != r.CurrentTerm():
		return fmt.Errorf("it leads in term %d, this node is in term %d", term, r.CurrentTerm())
	case r.State() != raft.Follower:
		return fmt.Errorf("this node is %v", r.State())
	case !self:
		return errors.New("this node has no vote")
	}
	return nil
}

// Campaign makes this node stand for election at once, without pre-vote, by a
// TimeoutNow to itself. Safety is Raft's own (terms, log comparison, persisted
// votes); a needless campaign costs availability, so still is asked before each
// of the tries, 5 ms apart, until raft takes one or ctx ends: a try that waited
// behind a stalled disk must not depose a leader that has come since.
func (i *Instance) Campaign(ctx context.Context, cause Cause, still func() bool) error {
	for {
		r := i.raft.Load()
		if r == nil || r.State() != raft.Follower || still != nil && !still() {
			return ErrCampaignRefused
		}
		if _, self := i.voters(); !self {
			return ErrCampaignRefused
		}
		i.elections.expect(cause)
		try, cancel := context.WithTimeout(ctx, campaignTry)
		_, err := i.deliver(try, &raft.TimeoutNowRequest{RPCHeader: i.header()})
		cancel()
		if err == nil {
			return nil
		}
		i.elections.expect("")
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case i.ctx.Err() != nil:
			return ErrDetached
		case status.Code(err) != codes.DeadlineExceeded:
			return err
		}
	}
}
