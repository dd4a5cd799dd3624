package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

const (
	// A restarted peer must be found again at once: gRPC's own limit is 120 s.
	backoffBase = 20 * time.Millisecond
	backoffMax  = 300 * time.Millisecond
	dialTimeout = 300 * time.Millisecond

	// deadlinesInARow of calls on an established connection make it a suspect: a
	// firewall or NAT may have lost its state, and only a new SYN gets through.
	deadlinesInARow = 3

	// refusalHold is how long a refused peer is not called again.
	refusalHold = time.Second
)

// PeersOptions is what NewPeers needs.
type PeersOptions struct {
	Network Network
	Book    *Book
	Logger  *slog.Logger
	Metrics *Metrics
}

// Peers holds the connections to the other nodes: one to each for calls and one
// for bulk. They are dialled when first used, and again after each failure.
type Peers struct {
	o          PeersOptions
	complaints complaints

	mu     sync.Mutex
	links  map[linkKey]*link
	closed bool
}

type linkKey struct {
	id   int32
	bulk bool
}

// ErrClosed is returned for calls after Close.
var ErrClosed = errors.New("rpc: the connections to the other nodes are closed: this node is stopping")

// NewPeers returns the connections of a node. It dials nothing.
func NewPeers(o PeersOptions) *Peers {
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return &Peers{o: o, links: map[linkKey]*link{}}
}

// Conn returns the connection to a node for calls. If directory is not zero,
// only that directory of the node is spoken to. It does not dial.
func (p *Peers) Conn(id int32, directory [16]byte) grpc.ClientConnInterface {
	return &conn{p.link(linkKey{id, false}), directory}
}

// Bulk is Conn on a second connection, for what would delay others.
func (p *Peers) Bulk(id int32, directory [16]byte) grpc.ClientConnInterface {
	return &conn{p.link(linkKey{id, true}), directory}
}

// Alive tells that a node was heard of: a connection that waits for its next try dials at once.
func (p *Peers) Alive(id int32) {
	for _, bulk := range []bool{false, true} {
		p.mu.Lock()
		l := p.links[linkKey{id, bulk}]
		p.mu.Unlock()
		if l != nil {
			l.alive()
		}
	}
}

// Forget lets go of what was held against a node, after its identity has changed.
func (p *Peers) Forget(id int32) {
	for _, bulk := range []bool{false, true} {
		p.mu.Lock()
		l := p.links[linkKey{id, bulk}]
		p.mu.Unlock()
		if l != nil {
			l.release()
		}
	}
}

// Close ends all connections and the calls on them.
func (p *Peers) Close() error {
	p.mu.Lock()
	p.closed = true
	links := p.links
	p.links = map[linkKey]*link{}
	p.mu.Unlock()
	for _, l := range links {
		l.close()
	}
	return nil
}

func (p *Peers) link(k linkKey) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.links[k]
	if l == nil {
		l = &link{peers: p, key: k, closed: p.closed}
		if !p.closed {
			p.links[k] = l
		}
	}
	return l
}

// link is one connection to one peer, dialled anew under the same name when it
// is given up.
type link struct {
	peers *Peers
	key   linkKey

	mu        sync.Mutex
	cc        *grpc.ClientConn
	try       int // which of the book's addresses is dialled
	deadlines int // calls in a row without an answer, on an established connection
	held      *RefusedError
	until     time.Time // of held
	closed    bool
}

// get returns the connection, made if needed, unless the peer is held.
func (l *link) get(introduction bool) (*grpc.ClientConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if l.held != nil {
		if !introduction && time.Now().Before(l.until) {
			return nil, l.held
		}
		l.held = nil
	}
	if l.cc != nil {
		return l.cc, nil
	}
	cc, err := grpc.NewClient("passthrough:///node-"+strconv.Itoa(int(l.key.id)),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(l.dial),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: backoffBase, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffMax},
			MinConnectTimeout: dialTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: time.Second, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
	)
	if err != nil {
		return nil, err
	}
	l.cc = cc
	return cc, nil
}

// dial resolves the node anew and connects. A failure turns to the next address.
func (l *link) dial(ctx context.Context, _ string) (net.Conn, error) {
	addresses, err := l.peers.o.Book.Addresses(l.key.id)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	address := addresses[l.try%len(addresses)]
	l.mu.Unlock()
	c, err := l.peers.o.Network.DialContext(ctx, "tcp", address)
	if err != nil {
		l.mu.Lock()
		l.try++
		l.mu.Unlock()
		return nil, err
	}
	return c, nil
}

// drop gives a connection up, so that the next call dials.
func (l *link) drop(cc *grpc.ClientConn) {
	l.mu.Lock()
	if l.cc != cc {
		l.mu.Unlock()
		return
	}
	l.cc, l.deadlines = nil, 0
	l.mu.Unlock()
	_ = cc.Close()
}

func (l *link) close() {
	l.mu.Lock()
	cc := l.cc
	l.cc, l.closed = nil, true
	l.mu.Unlock()
	if cc != nil {
		_ = cc.Close()
	}
}

func (l *link) alive() {
	l.mu.Lock()
	cc := l.cc
	l.mu.Unlock()
	if cc != nil && cc.GetState() == connectivity.TransientFailure {
		cc.ResetConnectBackoff()
	}
}

func (l *link) release() {
	l.mu.Lock()
	l.held = nil
	l.mu.Unlock()
	l.alive()
}

// note learns from the outcome of a call, and returns the error to give to the caller.
func (l *link) note(cc *grpc.ClientConn, err error) error {
	if refused, ok := asRefused(l.key.id, err); ok {
		l.refuse(cc, refused)
		return refused
	}
	switch status.Code(err) {
	case codes.DeadlineExceeded:
	case codes.Canceled: // by this side: it says nothing
		return err
	default:
		l.mu.Lock()
		l.deadlines = 0
		l.mu.Unlock()
		return err
	}
	// A connection that is being made has its own limit and backoff.
	if cc.GetState() != connectivity.Ready {
		return err
	}
	l.mu.Lock()
	l.deadlines++
	dead := l.deadlines >= deadlinesInARow && l.cc == cc
	l.mu.Unlock()
	if dead {
		l.peers.o.Metrics.redials.WithLabelValues(strconv.Itoa(int(l.key.id))).Inc()
		l.peers.o.Logger.Warn("Dialling a node anew: its connection is open, but calls have no answer",
			"peer", l.key.id, "calls", deadlinesInARow)
		l.drop(cc)
	}
	return err
}

// refuse holds the peer for a moment, and leaves an address where another node answers.
func (l *link) refuse(cc *grpc.ClientConn, e *RefusedError) {
	elsewhere := e.Reason == raftv1.Refusal_REASON_WRONG_NODE || e.Reason == raftv1.Refusal_REASON_OWN_NODE_ID
	l.mu.Lock()
	l.held, l.until = e, time.Now().Add(refusalHold)
	if elsewhere && l.cc == cc {
		l.try++
	}
	l.mu.Unlock()
	l.peers.o.Metrics.refused.WithLabelValues(e.Reason.String()).Inc()
	l.peers.complaints.log(l.peers.o.Logger, e)
	if elsewhere {
		l.drop(cc)
	}
}

// conn is a link as a caller sees it: bound to one directory of the node.
type conn struct {
	l         *link
	directory [16]byte
}

var _ grpc.ClientConnInterface = (*conn)(nil)

// prepare returns the connection and the context of a call with this node's identity on it.
func (c *conn) prepare(ctx context.Context, method string) (context.Context, *grpc.ClientConn, Identity, error) {
	book := c.l.peers.o.Book
	self := book.Self()
	if met, ok := book.Met(c.l.key.id); ok && c.directory != ([16]byte{}) && met != c.directory {
		e := answered(self, c.l.key.id, c.directory, Identity{NodeID: c.l.key.id, DirectoryID: met}.metadata(0, met)).(*RefusedError)
		c.l.peers.complaints.log(c.l.peers.o.Logger, e)
		return ctx, nil, self, e
	}
	cc, err := c.l.get(introduces(method))
	if err != nil {
		return ctx, nil, self, err
	}
	md := self.metadata(c.l.key.id, c.directory)
	if more, ok := metadata.FromOutgoingContext(ctx); ok {
		md = metadata.Join(more, md)
	}
	return metadata.NewOutgoingContext(ctx, md), cc, self, nil
}

// Invoke implements grpc.ClientConnInterface.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, cc, self, err := c.prepare(ctx, method)
	if err != nil {
		return err
	}
	var header metadata.MD
	err = cc.Invoke(ctx, method, args, reply, append(opts, grpc.Header(&header))...)
	if err == nil {
		err = answered(self, c.l.key.id, c.directory, header)
	}
	return c.l.note(cc, err)
}

// NewStream implements grpc.ClientConnInterface. The identity of the other end
// is checked with the first message that is received.
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, cc, self, err := c.prepare(ctx, method)
	if err != nil {
		return nil, err
	}
	s, err := cc.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, c.l.note(cc, err)
	}
	return &checkedStream{ClientStream: s, c: c, cc: cc, self: self}, nil
}

// checkedStream checks who is at the other end. RecvMsg is called by one goroutine at a time.
type checkedStream struct {
	grpc.ClientStream
	c       *conn
	cc      *grpc.ClientConn
	self    Identity
	checked bool
}

// RecvMsg implements grpc.ClientStream.
func (s *checkedStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		if refused, ok := asRefused(s.c.l.key.id, err); ok {
			return s.c.l.note(s.cc, refused)
		}
		return err
	}
	if s.checked {
		return nil
	}
	s.checked = true
	header, err := s.Header()
	if err != nil {
		return err
	}
	if err := answered(s.self, s.c.l.key.id, s.c.directory, header); err != nil {
		return s.c.l.note(s.cc, err)
	}
	return nil
}
