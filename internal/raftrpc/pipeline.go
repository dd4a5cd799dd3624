package raftrpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	"github.com/chronik-stream/chronik/internal/invariant"
	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// maxInFlight is how many requests of a pipeline may wait for their answers.
const maxInFlight = 32

var (
	errSlot           = errors.New("the follower has not answered for too long: the pipeline is given up")
	errPipelineClosed = errors.New("the pipeline is closed")
)

// pipeline is a stream of AppendEntries to one follower.
//
// raft takes every future that it is given for an answer: it renews the lease
// before it looks at it. So a request that failed is never delivered; the
// pipeline breaks, and raft learns of it from its next AppendEntries, at the
// latest when it tells of the commit index. A follower that stalls fills the 32
// places; raft would then wait for one for ever while heartbeats keep it
// leader, so that wait has an end too.
//
// One goroutine receives; raft's replication goroutine sends.
type pipeline struct {
	i      *Instance
	node   int32
	stream grpc.BidiStreamingClient[raftv1.AppendEntriesRequest, raftv1.AppendEntriesResponse]
	cancel context.CancelCauseFunc
	done   <-chan struct{} // the pipeline has broken or is closed
	cause  func() error

	inFlight chan *appendFuture     // sent, in order; its room is the places
	answered chan raft.AppendFuture // what raft consumes
	stopped  chan struct{}          // the receiver has ended
	once     sync.Once
}

// AppendEntriesPipeline implements raft.Transport.
func (i *Instance) AppendEntriesPipeline(_ raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	node, c, err := i.client(target, i.t.o.Peers.Conn)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(i.ctx)
	// Making the stream waits for the connection; an open stream has no deadline.
	late := time.AfterFunc(i.t.o.CallTimeout, func() { cancel(context.DeadlineExceeded) })
	stream, err := c.Pipeline(ctx, wait)
	if err == nil && !late.Stop() {
		err = context.DeadlineExceeded
	}
	if err != nil {
		late.Stop()
		cancel(err)
		return nil, i.failed("Pipeline", node, err)
	}
	// Asking for its context binds the stream to this connection. Until then gRPC
	// repeats a stream that nobody has answered on a new connection: the receiver
	// sees the old one die, waits for the new one inside the stream's lock, and the
	// sender waits for that lock instead of learning that the pipeline is broken.
	_ = stream.Context()
	p := &pipeline{
		i: i, node: node, stream: stream, cancel: cancel, done: ctx.Done(),
		cause:    func() error { return context.Cause(ctx) },
		inFlight: make(chan *appendFuture, maxInFlight),
		answered: make(chan raft.AppendFuture, maxInFlight),
		stopped:  make(chan struct{}),
	}
	go p.receive()
	return p, nil
}

// AppendEntries implements raft.AppendPipeline. raft calls it from one goroutine.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	p.i.trim(args)
	f := &appendFuture{start: time.Now(), args: args, resp: resp, p: p, done: make(chan struct{})}
	// The limit is on both: a place, and room in the connection's window.
	late := time.AfterFunc(p.i.t.o.SlotWait, func() {
		if !invariant.Mutant("raftrpc-no-slot-limit") {
			p.fail(errSlot)
		}
	})
	defer late.Stop()
	select {
	case p.inFlight <- f:
	case <-p.done:
		return nil, p.broken()
	}
	if err := p.stream.Send(encodeAppendRequest(args)); err != nil {
		p.fail(fmt.Errorf("send: %w", err))
		return nil, p.broken()
	}
	return f, nil
}

// receive delivers the answers, in order, until the pipeline breaks.
func (p *pipeline) receive() {
	defer close(p.stopped)
	for {
		m, err := p.stream.Recv()
		if err != nil {
			if p.fail(fmt.Errorf("receive: %w", err)); invariant.Mutant("raftrpc-deliver-failed-future") {
				p.answered <- <-p.inFlight
			}
			return
		}
		var f *appendFuture
		select {
		case f = <-p.inFlight:
		default:
			p.fail(errors.New("an answer that nothing was asked for"))
			return
		}
		*f.resp = *decodeAppendResponse(m)
		close(f.done)
		select {
		case p.answered <- f:
		case <-p.done:
			return
		}
	}
}

// fail breaks the pipeline. The receiver may come with the end of the stream
// before the sender or the timer says why; the first one counts.
func (p *pipeline) fail(err error) {
	p.once.Do(func() {
		if p.i.ctx.Err() == nil && !errors.Is(err, errPipelineClosed) {
			p.i.t.o.Metrics.pipelineBreaks.Inc()
		}
		p.cancel(err)
	})
}

func (p *pipeline) broken() error { return p.i.failed("Pipeline", p.node, p.cause()) }

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answered }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.fail(errPipelineClosed)
	<-p.stopped
	return nil
}

// appendFuture is a request of a pipeline.
type appendFuture struct {
	start time.Time
	args  *raft.AppendEntriesRequest
	resp  *raft.AppendEntriesResponse
	p     *pipeline
	done  chan struct{}
}

var _ raft.AppendFuture = (*appendFuture)(nil)

// Error implements raft.Future.
func (f *appendFuture) Error() error {
	select {
	case <-f.done:
		return nil
	case <-f.p.stopped:
	}
	select {
	case <-f.done: // before the end
		return nil
	default:
		return f.p.broken()
	}
}

// Start implements raft.AppendFuture.
func (f *appendFuture) Start() time.Time { return f.start }

// Request implements raft.AppendFuture.
func (f *appendFuture) Request() *raft.AppendEntriesRequest { return f.args }

// Response implements raft.AppendFuture.
func (f *appendFuture) Response() *raft.AppendEntriesResponse { return f.resp }
