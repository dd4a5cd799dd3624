package vnet

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// State is what a directed link does.
type State int

// The states of a link.
const (
	// Up carries everything.
	Up State = iota
	// Cut swallows every packet without a word: connections stay open at both
	// ends, bytes pile up, a dial waits.
	Cut
	// Refuse answers a dial with ECONNREFUSED, as a firewall that rejects does;
	// connections that are open go on.
	Refuse
	// Reset answers a dial with ECONNRESET, and resets the connections that are open.
	Reset
)

// window is how many bytes may be on their way in one direction, unread ones included.
const window = 64 << 10

// Network is a set of hosts and the links between them. All links are up at first.
type Network struct {
	latency func(from, to string) time.Duration

	mu      sync.Mutex
	changed *sync.Cond // a link, a host or a listener has changed: dials look again
	hosts   map[string]*Host
	links   map[[2]string]State
	conns   map[*conn]struct{}
}

// New returns a network without hosts. latency is how long a packet takes from
// one host to another; nil stands for no time at all.
func New(latency func(from, to string) time.Duration) *Network {
	if latency == nil {
		latency = func(string, string) time.Duration { return 0 }
	}
	n := &Network{
		latency: latency,
		hosts:   map[string]*Host{},
		links:   map[[2]string]State{},
		conns:   map[*conn]struct{}{},
	}
	n.changed = sync.NewCond(&n.mu)
	return n
}

// Latency is a constant latency between different hosts.
func Latency(d time.Duration) func(from, to string) time.Duration {
	return func(from, to string) time.Duration {
		if from == to {
			return 0
		}
		return d
	}
}

// Host returns the host of that name, made if it is new. Its address is 10.0.0.1
// for the first host, and so on.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil {
		return h
	}
	k := len(n.hosts) + 1
	h := &Host{n: n, name: name, ip: net.IPv4(10, 0, byte(k>>8), byte(k)), listeners: map[int]*listener{}, port: 32768}
	n.hosts[name] = h
	return h
}

// SetLink changes what happens to packets from one host to another.
func (n *Network) SetLink(from, to string, s State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.setLink(from, to, s)
	n.settle()
}

func (n *Network) setLink(from, to string, s State) {
	n.links[[2]string{from, to}] = s
	if s != Reset {
		return
	}
	for c := range n.conns {
		if c.host.name == from && c.peer.host.name == to {
			c.fail(syscall.ECONNRESET)
			c.peer.fail(syscall.ECONNRESET)
		}
	}
}

// Between changes both directions between two hosts.
func (n *Network) Between(a, b string, s State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.setLink(a, b, s)
	n.setLink(b, a, s)
	n.settle()
}

// Isolate cuts a host off from all others, in both directions.
func (n *Network) Isolate(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.hosts {
		if other != name {
			n.setLink(name, other, Cut)
			n.setLink(other, name, Cut)
		}
	}
	n.settle()
}

// Heal brings all links up.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.links)
	n.settle()
}

// Close ends all listeners and connections at once, both ends of each. Call it at
// the end of a bubble: its time stands still once its first goroutine is gone,
// and what is on its way would never arrive.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.hosts {
		h.down = true
		for _, l := range h.listeners {
			l.close()
		}
	}
	for c := range n.conns {
		c.fail(net.ErrClosed)
	}
	n.changed.Broadcast()
}

// settle lets what was held back go on its way after a change.
func (n *Network) settle() {
	for c := range n.conns {
		c.out.deliver()
		c.in.acknowledge()
	}
	n.changed.Broadcast()
}

// carries reports whether packets of open connections get from one host to another.
func (n *Network) carries(from, to *Host) bool {
	s := n.links[[2]string{from.name, to.name}]
	return from == to || s == Up || s == Refuse
}

// lookup resolves a host name or an address. The empty and the unspecified
// address, and localhost, are the asking host itself.
func (n *Network) lookup(from *Host, name string) (*Host, error) {
	if name == "" || name == "localhost" {
		return from, nil
	}
	if h := n.hosts[name]; h != nil {
		return h, nil
	}
	if ip := net.ParseIP(name); ip != nil {
		if ip.IsUnspecified() || ip.IsLoopback() {
			return from, nil
		}
		for _, h := range n.hosts {
			if h.ip.Equal(ip) {
				return h, nil
			}
		}
		return nil, syscall.EHOSTUNREACH
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// Host is one machine on the network.
type Host struct {
	n    *Network
	name string
	ip   net.IP

	// Under n.mu.
	down      bool
	listeners map[int]*listener
	port      int // the last ephemeral one
}

// Name returns the host's name, which others dial.
func (h *Host) Name() string { return h.name }

// Down stops the host as the death of its processes does: its listeners are
// gone, its connections are reset. Another host learns of it as far as the links
// carry the news; if they do not, its end stays half-open.
func (h *Host) Down() {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.down = true
	for _, l := range h.listeners {
		l.close()
	}
	for c := range h.n.conns {
		if c.host == h {
			c.kill()
		}
	}
	h.n.settle()
}

// Up starts the host again, with no listeners.
func (h *Host) Up() {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.down = false
	h.n.settle()
}

// Listen binds a port, as net.ListenConfig does. Only the port counts; 0 picks a free one.
func (h *Host) Listen(_ context.Context, network, address string) (net.Listener, error) {
	fail := func(err error) error { return &net.OpError{Op: "listen", Net: network, Err: err} }
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fail(err)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return nil, fail(&net.AddrError{Err: "invalid port", Addr: address})
	}
	n := h.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.down {
		return nil, fail(syscall.ENETDOWN)
	}
	k := int(port)
	if k == 0 {
		k = h.ephemeral()
	}
	if h.listeners[k] != nil {
		return nil, fail(os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	l := &listener{h: h, addr: &net.TCPAddr{IP: h.ip, Port: k}}
	l.arrived = sync.NewCond(&n.mu)
	h.listeners[k] = l
	n.changed.Broadcast()
	return l, nil
}

func (h *Host) ephemeral() int {
	for {
		h.port++
		if h.port > 60999 {
			h.port = 32768
		}
		if h.listeners[h.port] == nil {
			return h.port
		}
	}
}

// DialContext connects to a port of another host, as net.Dialer does.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) error { return &net.OpError{Op: "dial", Net: network, Addr: target(address), Err: err} }
	name, p, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fail(err)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return nil, fail(&net.AddrError{Err: "invalid port", Addr: address})
	}
	n := h.n
	n.mu.Lock()
	to, err := n.lookup(h, name)
	n.mu.Unlock()
	if err != nil {
		return nil, fail(err)
	}
	trip := n.latency(h.name, to.name) + n.latency(to.name, h.name)
	if trip > 0 {
		t := time.NewTimer(trip)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, fail(dialError(ctx))
		}
	}
	c, err := n.connect(ctx, h, to, int(port))
	if err != nil {
		return nil, fail(err)
	}
	return c, nil
}

// connect waits until the links between two hosts carry a handshake.
func (n *Network) connect(ctx context.Context, from, to *Host, port int) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.changed.Broadcast()
	})
	defer stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		there, back := n.links[[2]string{from.name, to.name}], n.links[[2]string{to.name, from.name}]
		l := to.listeners[port]
		switch {
		case ctx.Err() != nil:
			return nil, dialError(ctx)
		case from.down:
			return nil, syscall.ENETDOWN
		case from != to && there == Refuse:
			return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
		case from != to && there == Reset:
			return nil, os.NewSyscallError("connect", syscall.ECONNRESET)
		case from != to && (there == Cut || back == Cut):
		case to.down || l == nil:
			return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
		case len(l.backlog) < maxBacklog:
			return n.establish(from, to, l), nil
		}
		n.changed.Wait()
	}
}

func (n *Network) establish(from, to *Host, l *listener) *conn {
	a := &conn{n: n, host: from, local: &net.TCPAddr{IP: from.ip, Port: from.ephemeral()}, remote: l.addr}
	b := &conn{n: n, host: to, local: l.addr, remote: a.local}
	a.peer, b.peer = b, a
	a.wake, b.wake = sync.NewCond(&n.mu), sync.NewCond(&n.mu)
	ab, ba := &pipe{from: a, to: b}, &pipe{from: b, to: a}
	a.out, b.in, b.out, a.in = ab, ab, ba, ba
	n.conns[a], n.conns[b] = struct{}{}, struct{}{}
	l.backlog = append(l.backlog, b)
	l.arrived.Signal()
	return a
}

func dialError(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return os.ErrDeadlineExceeded
	}
	return fmt.Errorf("operation was canceled: %w", ctx.Err())
}

// target is an address that was given as text.
type target string

func (t target) Network() string { return "tcp" }
func (t target) String() string  { return string(t) }

// maxBacklog is how many connections may wait for Accept; a further dial waits.
const maxBacklog = 128

type listener struct {
	h    *Host
	addr *net.TCPAddr

	// Under h.n.mu.
	arrived *sync.Cond
	backlog []*conn
	closed  bool
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.h.n.mu.Lock()
	defer l.h.n.mu.Unlock()
	for len(l.backlog) == 0 {
		if l.closed {
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
		}
		l.arrived.Wait()
	}
	c := l.backlog[0]
	l.backlog = l.backlog[1:]
	l.h.n.changed.Broadcast()
	return c, nil
}

// Close implements net.Listener. Connections that nobody has accepted are reset.
func (l *listener) Close() error {
	l.h.n.mu.Lock()
	defer l.h.n.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.close()
	return nil
}

func (l *listener) close() {
	l.closed = true
	delete(l.h.listeners, l.addr.Port)
	for _, c := range l.backlog {
		c.kill()
	}
	l.backlog = nil
	l.arrived.Broadcast()
	l.h.n.changed.Broadcast()
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }
