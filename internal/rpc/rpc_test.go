package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/vnet"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dir(k byte) [16]byte { return [16]byte{k} }

func identity(k int32) Identity {
	return Identity{ClusterID: "c1", NodeID: k, DirectoryID: dir(byte(k)), Incarnation: [16]byte{1, byte(k)}}
}

// buffer is a log.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.b.String(), s)
}

// end is a node: server and connections.
type end struct {
	t      *testing.T
	host   *vnet.Host
	book   *Book
	peers  *Peers
	server *Server
	log    *buffer
	served chan error
	cancel context.CancelFunc
}

func newEnd(t *testing.T, n *vnet.Network, name string, id Identity) *end {
	t.Helper()
	e := &end{t: t, host: n.Host(name), book: NewBook(id), log: &buffer{}}
	e.peers = NewPeers(PeersOptions{Network: e.host, Book: e.book, Logger: e.logger()})
	e.listen()
	return e
}

func (e *end) logger() *slog.Logger { return slog.New(slog.NewTextHandler(e.log, nil)) }

func (e *end) listen() {
	e.t.Helper()
	s, err := Listen(e.t.Context(), ServerOptions{Address: "0.0.0.0:5001", Network: e.host, Book: e.book, Peers: e.peers, Logger: e.logger()})
	if err != nil {
		e.t.Fatal(err)
	}
	e.server = s
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	e.cancel, e.served = cancel, served
	go func() { served <- s.Run(ctx) }()
}

func (e *end) stopServer() {
	e.cancel()
	if err := <-e.served; err != nil {
		e.t.Error(err)
	}
}

func (e *end) stop() {
	e.stopServer()
	e.peers.Close()
}

// two runs f in a bubble with two nodes that know each other.
func two(t *testing.T, f func(t *testing.T, n *vnet.Network, a, b *end)) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(vnet.Latency(time.Millisecond))
		a, b := newEnd(t, n, "a", identity(1)), newEnd(t, n, "b", identity(2))
		a.book.SetPeers(map[int32]string{2: "b:5001"})
		b.book.SetPeers(map[int32]string{1: "a:5001"})
		f(t, n, a, b)
		a.stop()
		b.stop()
		n.Close()
	})
}

// voter answers votes; it counts them, and keeps who asked.
type voter struct {
	raftv1.UnimplementedRaftServer
	mu     sync.Mutex
	asked  int
	caller Caller
	wait   time.Duration
}

func (v *voter) RequestVote(ctx context.Context, r *raftv1.RequestVoteRequest) (*raftv1.RequestVoteResponse, error) {
	v.mu.Lock()
	v.asked++
	v.caller, _ = CallerFrom(ctx)
	d := v.wait
	v.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &raftv1.RequestVoteResponse{Term: r.GetTerm(), Granted: true}, nil
}

func (v *voter) Pipeline(s grpc.BidiStreamingServer[raftv1.AppendEntriesRequest, raftv1.AppendEntriesResponse]) error {
	if err := s.Send(&raftv1.AppendEntriesResponse{}); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

func (v *voter) takes(d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wait = d
}

func (v *voter) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

// greeter answers handshakes.
type greeter struct {
	clusterv1.UnimplementedClusterServer
}

func (greeter) Handshake(context.Context, *clusterv1.Hello) (*clusterv1.Hello, error) {
	return &clusterv1.Hello{NodeId: 2}, nil
}

// ask makes a call from e to a node, as raft does.
func (e *end) ask(to int32, directory [16]byte) error {
	ctx, cancel := context.WithTimeout(e.t.Context(), 400*time.Millisecond)
	defer cancel()
	_, err := raftv1.NewRaftClient(e.peers.Conn(to, directory)).RequestVote(ctx, &raftv1.RequestVoteRequest{Term: 3}, grpc.WaitForReady(true))
	return err
}

func (e *end) greet(to int32) error {
	ctx, cancel := context.WithTimeout(e.t.Context(), 400*time.Millisecond)
	defer cancel()
	_, err := clusterv1.NewClusterClient(e.peers.Conn(to, [16]byte{})).Handshake(ctx, &clusterv1.Hello{}, grpc.WaitForReady(true))
	return err
}

func count(m prometheus.Metric) int {
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		return -1
	}
	return int(d.GetCounter().GetValue())
}

func TestCall(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		v := &voter{}
		raftv1.RegisterRaftServer(b.server, v)
		if err := a.ask(2, dir(2)); err != nil {
			t.Fatal(err)
		}
		if v.caller.Identity != identity(1) || !strings.HasPrefix(v.caller.RemoteAddr, "10.0.0.1:") {
			t.Errorf("caller %+v", v.caller)
		}
		ctx := t.Context()
		_, err := raftv1.NewRaftClient(a.peers.Bulk(2, dir(2))).RequestVote(ctx, &raftv1.RequestVoteRequest{}, grpc.WaitForReady(true))
		if err != nil {
			t.Errorf("on the second connection: %v", err)
		}
		if _, err := raftv1.NewRaftClient(a.peers.Conn(2, dir(2))).TimeoutNow(ctx, &raftv1.TimeoutNowRequest{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("a method that is not there: %v", err)
		}
	})
}

// The port is bound and answers before its services are there.
func TestServicesComeAndGo(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		starting := func() {
			t.Helper()
			if err := a.ask(2, dir(2)); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "node 2 is starting") {
				t.Errorf("got %v", err)
			}
		}
		starting()
		raftv1.RegisterRaftServer(b.server, &voter{})
		if err := a.ask(2, dir(2)); err != nil {
			t.Error(err)
		}
		b.server.Unregister(&raftv1.Raft_ServiceDesc)
		starting()
	})
}

func TestWrongIdentitiesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(a, b *end) [16]byte // returns the directory that is looked for
		want    raftv1.Refusal_Reason
		says    string
		greets  bool // a handshake passes all the same
	}{
		{
			"another cluster", func(a, b *end) [16]byte { a.book.SetCluster("c2", 0); return dir(2) },
			raftv1.Refusal_REASON_WRONG_CLUSTER, "it belongs to cluster c1, the caller to c2", true,
		},
		{
			"an address that leads to another node", func(a, b *end) [16]byte { a.book.SetPeers(map[int32]string{3: "b:5001", 2: "b:5001"}); return dir(3) },
			raftv1.Refusal_REASON_WRONG_NODE, "behind this address is node 2, not node 3", false,
		},
		{
			"another directory behind the address", func(a, b *end) [16]byte { return dir(9) },
			raftv1.Refusal_REASON_WRONG_NODE, "behind this address is directory 02000000", true,
		},
		{
			"a replaced disk", func(a, b *end) [16]byte { b.book.SetMembers(map[int32][16]byte{1: dir(7)}); return dir(2) },
			raftv1.Refusal_REASON_UNKNOWN_DIRECTORY, "the caller's node id stands in the cluster with directory 07000000", true,
		},
		{"a replaced disk, by the registration", func(a, b *end) [16]byte {
			b.book.SetRegistered(map[int32]Entry{1: {Directory: dir(7)}})
			return dir(2)
		}, raftv1.Refusal_REASON_UNKNOWN_DIRECTORY, "rejoin", true},
		{
			"the time before a recovery", func(a, b *end) [16]byte { b.book.SetCluster("c1", 2); return dir(2) },
			raftv1.Refusal_REASON_OLD_GENERATION, "generation 2", true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
				v := &voter{}
				raftv1.RegisterRaftServer(b.server, v)
				clusterv1.RegisterClusterServer(b.server, greeter{})
				want := c.prepare(a, b)
				to := int32(2)
				if want == dir(3) {
					to = 3
				}
				for range 3 {
					err := a.ask(to, want)
					var refused *RefusedError
					if !errors.As(err, &refused) || refused.Reason != c.want || refused.Peer != to || refused.By != 2 {
						t.Fatalf("got %v", err)
					}
					if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), c.says) {
						t.Errorf("%v: %v", status.Code(err), err)
					}
				}
				if k := v.count(); k != 0 {
					t.Errorf("%d calls got through", k)
				}
				if err := a.greet(to); (err == nil) != c.greets {
					t.Errorf("handshake: %v", err)
				}
				for who, l := range map[string]*buffer{"caller": a.log, "server": b.log} {
					if k := l.count("Wrong identity between nodes"); k != 1 && (k != 0 || who == "caller") {
						t.Errorf("the %s logged it %d times", who, k)
					}
				}
				time.Sleep(time.Minute)
				if err := a.ask(to, want); err == nil {
					t.Error("accepted")
				}
				if k := a.log.count("Wrong identity between nodes"); k < 2 {
					t.Errorf("a minute later it was logged %d times", k)
				}
			})
		})
	}
}

// A refused peer is left alone for a second, unless its identity has changed.
func TestRefusedPeerIsLeftAlone(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		raftv1.RegisterRaftServer(b.server, &voter{})
		a.book.SetCluster("c2", 0)
		refused := func() int { return count(b.server.o.Metrics.refused.WithLabelValues("REASON_WRONG_CLUSTER")) }
		for range 50 {
			if err := a.ask(2, dir(2)); err == nil {
				t.Fatal("accepted")
			}
			time.Sleep(10 * time.Millisecond)
		}
		if k := refused(); k != 1 {
			t.Errorf("%d calls left in half a second", k)
		}
		a.book.SetCluster("c1", 0)
		if err := a.ask(2, dir(2)); err == nil {
			t.Error("called before the second was over")
		}
		a.peers.Forget(2)
		if err := a.ask(2, dir(2)); err != nil {
			t.Errorf("after Forget: %v", err)
		}
	})
}

// A node that has introduced itself on another directory is not called on the old one.
func TestCallToALostDirectoryDoesNotLeave(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		v := &voter{}
		raftv1.RegisterRaftServer(b.server, v)
		a.book.Meet(2, Entry{Directory: dir(9), Address: "b:5001"})
		var refused *RefusedError
		if err := a.ask(2, dir(2)); !errors.As(err, &refused) || refused.Reason != raftv1.Refusal_REASON_WRONG_NODE || refused.By != 1 {
			t.Errorf("got %v", err)
		}
		if v.count() != 0 {
			t.Error("the call left")
		}
	})
}

func TestStrangersAreRefused(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		raftv1.RegisterRaftServer(b.server, &voter{})
		cc, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return a.host.DialContext(ctx, "tcp", "b:5001")
			}))
		if err != nil {
			t.Fatal(err)
		}
		defer cc.Close()
		good := identity(1).metadata(2, dir(2))
		for name, change := range map[string]func(metadata.MD){
			"nothing":                    func(m metadata.MD) { clear(m) },
			"no node id":                 func(m metadata.MD) { delete(m, keyNode) },
			"a bad directory":            func(m metadata.MD) { m.Set(keyDirectory, "x") },
			"a bad incarnation":          func(m metadata.MD) { m.Set(keyIncarnation, "x") },
			"a bad generation":           func(m metadata.MD) { m.Set(keyGeneration, "-1") },
			"an unknown protocol":        func(m metadata.MD) { m.Set(keyProtocol, "7-9") },
			"no protocol":                func(m metadata.MD) { delete(m, keyProtocol) },
			"the server's own node id":   func(m metadata.MD) { m.Set(keyNode, "2") },
			"no node that is looked for": func(m metadata.MD) { delete(m, keyToNode) },
		} {
			md := good.Copy()
			change(md)
			_, err := raftv1.NewRaftClient(cc).RequestVote(metadata.NewOutgoingContext(t.Context(), md), &raftv1.RequestVoteRequest{})
			if _, ok := asRefused(2, err); !ok {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := raftv1.NewRaftClient(cc).RequestVote(metadata.NewOutgoingContext(t.Context(), good), &raftv1.RequestVoteRequest{}); err != nil {
			t.Errorf("the right metadata: %v", err)
		}
	})
}

// An address that a handshake brought need not be reachable from here, and may
// lead elsewhere: the next one known is tried.
func TestEveryKnownAddressIsTried(t *testing.T) {
	for _, address := range []string{"nowhere:5001", "a:5001", "b:9"} {
		two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
			raftv1.RegisterRaftServer(a.server, &voter{})
			raftv1.RegisterRaftServer(b.server, &voter{})
			a.book.Meet(2, Entry{Directory: dir(2), Address: address})
			var err error
			for start := time.Now(); time.Since(start) < 3*time.Second; {
				if err = a.ask(2, dir(2)); err == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Errorf("with %s in the book: %v", address, err)
		})
	}
}

// Each dial looks into the book: a node that has moved is found.
func TestDialResolvesAnew(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		raftv1.RegisterRaftServer(b.server, &voter{})
		if err := a.ask(2, dir(2)); err != nil {
			t.Fatal(err)
		}
		n.Host("b").Down()
		moved := newEnd(t, n, "c", identity(2))
		raftv1.RegisterRaftServer(moved.server, &voter{})
		a.book.SetRegistered(map[int32]Entry{2: {Directory: dir(2), Address: "c:5001"}})
		time.Sleep(500 * time.Millisecond)
		if err := a.ask(2, dir(2)); err != nil {
			t.Error(err)
		}
		moved.stop()
		b.served = make(chan error, 1)
		b.served <- nil
		b.peers.Close()
	})
}

// A restarted node is called again at once when it has called itself, and within
// gRPC's backoff, which is short, when it has not.
func TestRestartedPeerIsFoundAgain(t *testing.T) {
	for _, calls := range []bool{true, false} {
		two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
			raftv1.RegisterRaftServer(a.server, &voter{})
			raftv1.RegisterRaftServer(b.server, &voter{})
			if err := a.ask(2, dir(2)); err != nil {
				t.Fatal(err)
			}
			b.stopServer()
			b.host.Down()
			for range 20 { // the backoff reaches its limit
				if err := a.ask(2, dir(2)); err == nil {
					t.Fatal("answered")
				}
			}
			b.host.Up()
			b.listen()
			raftv1.RegisterRaftServer(b.server, &voter{})
			limit := 400 * time.Millisecond
			if calls {
				limit = 10 * time.Millisecond
				if err := b.ask(1, dir(1)); err != nil {
					t.Fatal(err)
				}
			}
			start := time.Now()
			if err := a.ask(2, dir(2)); err != nil || time.Since(start) > limit {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	}
}

// A connection on which calls in a row are not answered is given up, streams included.
func TestSuspectConnectionIsReplaced(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		v := &voter{}
		raftv1.RegisterRaftServer(b.server, v)
		if err := a.ask(2, dir(2)); err != nil {
			t.Fatal(err)
		}
		s, err := raftv1.NewRaftClient(a.peers.Conn(2, dir(2))).Pipeline(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		redials := func() int { return count(a.peers.o.Metrics.redials.WithLabelValues("2")) }
		v.takes(time.Hour)
		for range 2 {
			if err := a.ask(2, dir(2)); status.Code(err) != codes.DeadlineExceeded {
				t.Fatal(err)
			}
		}
		v.takes(0)
		if err := a.ask(2, dir(2)); err != nil { // one answer, and the count starts again
			t.Fatal(err)
		}
		v.takes(time.Hour)
		for k := range 3 {
			if redials() != 0 {
				t.Errorf("dialled anew after %d", k)
			}
			if err := a.ask(2, dir(2)); status.Code(err) != codes.DeadlineExceeded {
				t.Fatal(err)
			}
		}
		if redials() != 1 {
			t.Error("not dialled anew")
		}
		if _, err := s.Recv(); err == nil {
			t.Error("the stream goes on")
		}
		v.takes(0)
		if err := a.ask(2, dir(2)); err != nil {
			t.Error(err)
		}
	})
}

// A path that was dead for long carries calls as soon as it is healed.
func TestHealedPathIsUsedAtOnce(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		raftv1.RegisterRaftServer(b.server, &voter{})
		if err := a.ask(2, dir(2)); err != nil {
			t.Fatal(err)
		}
		n.Between("a", "b", vnet.Cut)
		for start := time.Now(); time.Since(start) < 2*time.Minute; {
			if err := a.ask(2, dir(2)); err == nil {
				t.Fatal("answered")
			}
		}
		n.Heal()
		start := time.Now()
		for a.ask(2, dir(2)) != nil {
		}
		if took := time.Since(start); took > 400*time.Millisecond {
			t.Errorf("after %v", took)
		}
	})
}

// A stop ends streams at once, lets calls finish, and leaves nobody behind.
func TestStop(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		v := &voter{wait: 100 * time.Millisecond}
		raftv1.RegisterRaftServer(b.server, v)
		s, err := raftv1.NewRaftClient(a.peers.Conn(2, dir(2))).Pipeline(t.Context(), grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- a.ask(2, dir(2)) }()
		time.Sleep(10 * time.Millisecond)
		start := time.Now()
		b.stopServer()
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if err := <-done; err != nil {
			t.Errorf("a call that was running: %v", err)
		}
		if _, err := s.Recv(); err == nil || err == io.EOF {
			t.Errorf("a stream that was open: %v", err)
		}
		b.listen()
		raftv1.RegisterRaftServer(b.server, &voter{wait: time.Hour})
		go func() { done <- a.ask(2, dir(2)) }()
		time.Sleep(50 * time.Millisecond)
		start = time.Now()
		b.stopServer()
		if took := time.Since(start); took > stopWait+time.Millisecond {
			t.Errorf("a call that does not end held the stop up for %v", took)
		}
		<-done
		b.listen()
	})
}

func TestClosedPeers(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		a.peers.Close()
		if err := a.ask(2, dir(2)); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		if err := a.ask(9, dir(9)); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUnknownNodeHasNoAddress(t *testing.T) {
	two(t, func(t *testing.T, n *vnet.Network, a, b *end) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := raftv1.NewRaftClient(a.peers.Conn(9, dir(9))).RequestVote(ctx, &raftv1.RequestVoteRequest{})
		if err == nil || !strings.Contains(err.Error(), "no address of node 9 is known") {
			t.Errorf("got %v", err)
		}
	})
}
