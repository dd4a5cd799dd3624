package raftrpc

//lint:file-ignore SA1019 the wire carries every field that raft has, the deprecated ones too

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/rpc"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/internal/vnet"
	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// side is one end of two transports without a raft: the test is the raft.
type side struct {
	t         *testing.T
	id        int32
	dir       [16]byte
	peers     *rpc.Peers
	transport *Transport
	i         *Instance
	stop      func()
}

// between makes two sides and calls f in a bubble.
func between(t *testing.T, f func(t *testing.T, n *vnet.Network, a, b *side)) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(vnet.Latency(time.Millisecond))
		a, b := newSide(t, n, 1), newSide(t, n, 2)
		f(t, n, a, b)
		a.stop()
		b.stop()
		n.Close()
	})
}

func newSide(t *testing.T, n *vnet.Network, id int32) *side {
	t.Helper()
	host := n.Host(fmt.Sprint("n", id))
	s := &side{t: t, id: id, dir: [16]byte{byte(id)}}
	book := rpc.NewBook(rpc.Identity{ClusterID: "c", NodeID: id, DirectoryID: s.dir, Incarnation: [16]byte{1}})
	book.SetPeers(map[int32]string{3 - id: fmt.Sprintf("n%d:5001", 3-id)})
	log := discard()
	s.peers = rpc.NewPeers(rpc.PeersOptions{Network: host, Book: book, Logger: log})
	server, err := rpc.Listen(t.Context(), rpc.ServerOptions{Address: ":5001", Network: host, Book: book, Peers: s.peers, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if s.transport, err = New(Options{Book: book, Peers: s.peers, FS: vfs.NewMem(), Spool: "/spool"}); err != nil {
		t.Fatal(err)
	}
	s.transport.Register(server)
	if s.i, err = s.transport.Attach(InstanceOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { server.Run(ctx) })
	s.stop = func() {
		s.i.Close()
		cancel()
		serving.Wait()
		s.peers.Close()
		s.transport.Close()
	}
	return s
}

func (s *side) address() raft.ServerAddress { return Address(s.id, s.dir) }
func (s *side) name() raft.ServerID         { return ServerID(s.id) }
func (s *side) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: 3, ID: []byte(s.name()), Addr: []byte(s.address())}
}

// answer makes the test the raft of a side, until the test ends.
func (s *side) answer(f func(command any) (any, error)) {
	go func() {
		for {
			select {
			case r := <-s.i.Consumer():
				a, err := f(r.Command)
				r.Respond(a, err)
			case <-s.i.ctx.Done():
				return
			}
		}
	}()
}

func TestCallsArriveAsTheyWereSent(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		var got any
		answers := map[string]any{
			"*raft.AppendEntriesRequest":  &raft.AppendEntriesResponse{RPCHeader: b.header(), Term: 7, LastLog: 9, Success: true, NoRetryBackoff: true},
			"*raft.RequestVoteRequest":    &raft.RequestVoteResponse{RPCHeader: b.header(), Term: 7, Granted: true},
			"*raft.RequestPreVoteRequest": &raft.RequestPreVoteResponse{RPCHeader: b.header(), Term: 7, Granted: true},
		}
		b.answer(func(c any) (any, error) {
			got = c
			return answers[fmt.Sprintf("%T", c)], nil
		})
		// raft uses response structs again: what an earlier call left must be gone.
		check := func(sent any, resp any, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%T: %v", sent, err)
			}
			if !reflect.DeepEqual(got, sent) {
				t.Errorf("sent %+v\ngot  %+v", sent, got)
			}
			if want := answers[fmt.Sprintf("%T", sent)]; !reflect.DeepEqual(resp, want) {
				t.Errorf("answered %+v\ngot      %+v", want, resp)
			}
		}
		ae := &raft.AppendEntriesRequest{RPCHeader: a.header(), Term: 7, Leader: []byte("x"), PrevLogEntry: 3, PrevLogTerm: 2, LeaderCommitIndex: 3, Entries: []*raft.Log{{Index: 4, Term: 7, Data: []byte("d")}}}
		aer := &raft.AppendEntriesResponse{LastLog: 99}
		check(ae, aer, a.i.AppendEntries(b.name(), b.address(), ae, aer))
		answers["*raft.AppendEntriesRequest"] = &raft.AppendEntriesResponse{RPCHeader: b.header()}
		check(ae, aer, a.i.AppendEntries(b.name(), b.address(), ae, aer))
		rv := &raft.RequestVoteRequest{RPCHeader: a.header(), Term: 7, Candidate: []byte("x"), LastLogIndex: 3, LastLogTerm: 2, LeadershipTransfer: true}
		rvr := &raft.RequestVoteResponse{Peers: []byte("old")}
		check(rv, rvr, a.i.RequestVote(b.name(), b.address(), rv, rvr))
		pv := &raft.RequestPreVoteRequest{RPCHeader: a.header(), Term: 7, LastLogIndex: 3, LastLogTerm: 2}
		pvr := &raft.RequestPreVoteResponse{}
		check(pv, pvr, a.i.RequestPreVote(b.name(), b.address(), pv, pvr))
		if string(a.i.EncodePeer(b.name(), b.address())) != string(b.address()) || a.i.DecodePeer([]byte(b.address())) != b.address() || a.i.LocalAddr() != a.address() {
			t.Error("an address is a name, and stays what it is")
		}
	})
}

func TestErrorsOfRaftComeBack(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		b.answer(func(any) (any, error) { return nil, errors.New("what raft says") })
		err := a.i.RequestVote(b.name(), b.address(), &raft.RequestVoteRequest{RPCHeader: a.header()}, &raft.RequestVoteResponse{})
		if err == nil || !strings.Contains(err.Error(), "what raft says") {
			t.Errorf("got %v", err)
		}
	})
}

func TestCallsHaveADeadline(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		start := time.Now()
		err := a.i.RequestVote(b.name(), b.address(), &raft.RequestVoteRequest{RPCHeader: a.header()}, &raft.RequestVoteResponse{})
		if err == nil || time.Since(start) != 400*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestWhoMayCall(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		b.answer(func(any) (any, error) { return &raft.RequestVoteResponse{}, nil })
		c := raftv1.NewRaftClient(a.peers.Conn(2, b.dir))
		ask := func(m *raftv1.RequestVoteRequest) codes.Code {
			_, err := c.RequestVote(t.Context(), m, wait)
			return status.Code(err)
		}
		good := func() *raftv1.RequestVoteRequest {
			return encodeVoteRequest(&raft.RequestVoteRequest{RPCHeader: a.header(), Term: 1})
		}
		if got := ask(good()); got != codes.OK {
			t.Errorf("a right call: %v", got)
		}
		other := good()
		other.Topic = "orders"
		if got := ask(other); got != codes.InvalidArgument {
			t.Errorf("another topic: %v", got)
		}
		other = good()
		other.Partition = 1
		if got := ask(other); got != codes.InvalidArgument {
			t.Errorf("another partition: %v", got)
		}
		for name, h := range map[string]raft.RPCHeader{
			"nobody":             {},
			"another node":       {ProtocolVersion: 3, ID: []byte("3"), Addr: []byte(Address(3, a.dir))},
			"another directory":  {ProtocolVersion: 3, ID: []byte("1"), Addr: []byte(Address(1, [16]byte{9}))},
			"an id of another's": {ProtocolVersion: 3, ID: []byte("3"), Addr: []byte(a.address())},
		} {
			other = good()
			other.Header = encodeHeader(h)
			if got := ask(other); got != codes.InvalidArgument {
				t.Errorf("a header of %s: %v", name, got)
			}
		}
		b.i.Close()
		if got := ask(good()); got != codes.Unavailable {
			t.Errorf("detached: %v", got)
		}
	})
}

func TestOneInstanceAtATime(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		if _, err := b.transport.Attach(InstanceOptions{}); err != ErrAttached {
			t.Errorf("second: %v", err)
		}
		old := b.i
		old.Close()
		next, err := b.transport.Attach(InstanceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b.i = next
		old.Close() // again, as raft does when its shutdown ends
		b.answer(func(any) (any, error) { return &raft.RequestVoteResponse{Granted: true}, nil })
		resp := &raft.RequestVoteResponse{}
		if err := a.i.RequestVote(b.name(), b.address(), &raft.RequestVoteRequest{RPCHeader: a.header()}, resp); err != nil || !resp.Granted {
			t.Errorf("%+v, %v", resp, err)
		}
		if err := old.RequestVote(a.name(), a.address(), &raft.RequestVoteRequest{}, resp); err != ErrDetached {
			t.Errorf("a call of the old one: %v", err)
		}
	})
}

// A request that raft has taken is waited for, whatever has become of its caller:
// the gate and the order of a pipeline rest on it.
func TestDeliveryOutlivesItsCaller(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		release := make(chan struct{})
		b.answer(func(any) (any, error) { <-release; return &raft.AppendEntriesResponse{}, nil })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := b.i.deliver(ctx, &raft.AppendEntriesRequest{})
			done <- err
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case err := <-done:
			t.Errorf("abandoned: %v", err)
		default:
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// open returns a pipeline from a to b.
func open(t *testing.T, a, b *side) raft.AppendPipeline {
	t.Helper()
	p, err := a.i.AppendEntriesPipeline(b.name(), b.address())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *side) appendRequest(k uint64) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: s.header(), Term: 1, PrevLogEntry: k, Entries: []*raft.Log{{Index: k + 1}}}
}

func TestPipelineKeepsTheOrder(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		b.answer(func(c any) (any, error) {
			return &raft.AppendEntriesResponse{Success: true, LastLog: c.(*raft.AppendEntriesRequest).PrevLogEntry}, nil
		})
		p := open(t, a, b)
		go func() {
			for k := range uint64(200) {
				if _, err := p.AppendEntries(a.appendRequest(k), &raft.AppendEntriesResponse{Term: 99}); err != nil {
					t.Error(err)
				}
			}
		}()
		for k := range uint64(200) {
			f := <-p.Consumer()
			if err := f.Error(); err != nil || f.Request().PrevLogEntry != k || f.Response().LastLog != k || f.Response().Term != 0 {
				t.Fatalf("answer %d: %+v to %+v, %v", k, f.Response(), f.Request(), err)
			}
		}
		p.Close()
		if _, err := p.AppendEntries(a.appendRequest(1), &raft.AppendEntriesResponse{}); err == nil {
			t.Error("a closed pipeline takes requests")
		}
	})
}

// raft takes every future for an answer and renews its lease: one that failed is
// never delivered.
func TestPipelineNeverDeliversAFailure(t *testing.T) {
	for _, how := range []string{"error of raft", "reset", "stop"} {
		t.Run(how, func(t *testing.T) {
			between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
				b.answer(func(c any) (any, error) {
					if c.(*raft.AppendEntriesRequest).PrevLogEntry < 3 {
						return &raft.AppendEntriesResponse{Success: true}, nil
					}
					time.Sleep(10 * time.Millisecond) // the first answers arrive
					switch how {
					case "error of raft":
						return nil, errors.New("no")
					case "reset":
						n.Between("n1", "n2", vnet.Reset)
						n.Heal()
					case "stop":
						b.i.Close()
					}
					time.Sleep(time.Second)
					return &raft.AppendEntriesResponse{Success: true}, nil
				})
				p := open(t, a, b)
				var last raft.AppendFuture
				for k := range uint64(6) {
					if f, err := p.AppendEntries(a.appendRequest(k), &raft.AppendEntriesResponse{}); err == nil {
						last = f
					}
				}
				for k := range uint64(3) {
					if f := <-p.Consumer(); f.Request().PrevLogEntry != k {
						t.Errorf("answer to %d", f.Request().PrevLogEntry)
					}
				}
				if how == "stop" {
					a.i.Close()
				}
				if err := last.Error(); err == nil {
					t.Error("the future of a request that was not answered has no error")
				}
				select {
				case f := <-p.Consumer():
					t.Errorf("delivered the answer to %d", f.Request().PrevLogEntry)
				default:
				}
				if _, err := p.AppendEntries(a.appendRequest(9), &raft.AppendEntriesResponse{}); err == nil {
					t.Error("a broken pipeline takes requests")
				}
				p.Close()
				time.Sleep(time.Second)
			})
		})
	}
}

// A follower that stalls fills the places; the sender does not wait for ever.
func TestPipelineGivesUpAStalledFollower(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		release := make(chan struct{})
		b.answer(func(any) (any, error) { <-release; return &raft.AppendEntriesResponse{}, nil })
		p := open(t, a, b)
		start := time.Now()
		sent := 0
		var err error
		for ; err == nil && sent < 100; sent++ {
			_, err = p.AppendEntries(a.appendRequest(uint64(sent)), &raft.AppendEntriesResponse{})
		}
		if sent != maxInFlight+1 || time.Since(start) != 400*time.Millisecond {
			t.Errorf("request %d failed after %v: %v", sent, time.Since(start), err)
		}
		p.Close()
		close(release)
	})
}

// The window of the connection fills before the places do, when entries are large.
func TestPipelineGivesUpAStalledConnection(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		p := open(t, a, b)
		n.Between("n1", "n2", vnet.Cut)
		start := time.Now()
		var err error
		for k := uint64(0); err == nil; k++ {
			r := a.appendRequest(k)
			r.Entries[0].Data = make([]byte, 1<<20)
			_, err = p.AppendEntries(r, &raft.AppendEntriesResponse{})
		}
		if time.Since(start) != 400*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		p.Close()
	})
}

func TestPipelineCloseEndsAWait(t *testing.T) {
	for _, what := range []string{"pipeline", "instance"} {
		between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
			p := open(t, a, b)
			done := make(chan error, 1)
			go func() {
				var err error
				for k := uint64(0); err == nil; k++ {
					_, err = p.AppendEntries(a.appendRequest(k), &raft.AppendEntriesResponse{})
				}
				done <- err
			}()
			synctest.Wait()
			start := time.Now()
			if what == "pipeline" {
				p.Close()
			} else {
				a.i.Close()
			}
			if err := <-done; err == nil || time.Since(start) > 0 {
				t.Errorf("%s: %v after %v", what, err, time.Since(start))
			}
			p.Close()
		})
	}
}

// A pipeline to a node that is not there is an error in time.
func TestPipelineToNobody(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		n.Host("n2").Down()
		start := time.Now()
		if _, err := a.i.AppendEntriesPipeline(b.name(), b.address()); err == nil || time.Since(start) > 400*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A follower that refuses the stream, as a server that is stopping does, breaks
// the pipeline at once: the stream is not repeated on a connection to come.
func TestPipelineBreaksWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(vnet.Latency(time.Millisecond))
		a := newSide(t, n, 1)
		l, err := n.Host("n2").Listen(t.Context(), "tcp", ":5001")
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		refuse := make(chan struct{})
		serving.Go(func() { refuseStreams(t, l, refuse) })
		p, err := a.i.AppendEntriesPipeline("2", Address(2, [16]byte{2}))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			p.Close()
			a.stop()
			serving.Wait()
			n.Close()
		}()
		time.Sleep(10 * time.Millisecond) // the stream is on its way
		close(refuse)
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		select {
		case <-p.(*pipeline).done:
		default:
			t.Fatal("the pipeline waits for another connection")
		}
		if _, err := p.AppendEntries(a.appendRequest(1), &raft.AppendEntriesResponse{}); err == nil {
			t.Error("no error")
		}
	})
}

// refuseStreams is an HTTP/2 server of one connection: once told it answers that it
// has processed no stream, and goes away.
func refuseStreams(t *testing.T, l net.Listener, told <-chan struct{}) {
	frame := func(kind byte, payload ...byte) []byte {
		return append([]byte{0, 0, byte(len(payload)), kind, 0, 0, 0, 0, 0}, payload...)
	}
	const settings, goAway = 4, 7
	c, err := l.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	l.Close()
	if _, err := c.Write(frame(settings)); err != nil {
		t.Error(err)
	}
	go io.Copy(io.Discard, c)
	<-told
	if _, err := c.Write(frame(goAway, make([]byte, 8)...)); err != nil {
		t.Error(err)
	}
	c.Close()
}

func TestEntriesAreCutToTheLimit(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		for _, c := range []struct{ entries, bytes, want int }{
			{10, 1 << 20, 3}, {2, 5 << 20, 1}, {1, 5 << 20, 1}, {64, 1000, 64},
		} {
			r := &raft.AppendEntriesRequest{}
			for range c.entries {
				r.Entries = append(r.Entries, &raft.Log{Data: make([]byte, c.bytes)})
			}
			a.i.trim(r)
			if len(r.Entries) != c.want {
				t.Errorf("%d entries of %d bytes: %d are sent", c.entries, c.bytes, len(r.Entries))
			}
		}
	})
}

// The heartbeat handler of raft is never called: it would run beside raft's main goroutine.
func TestHeartbeatsGoThroughTheConsumer(t *testing.T) {
	between(t, func(t *testing.T, n *vnet.Network, a, b *side) {
		b.i.SetHeartbeatHandler(func(raft.RPC) { t.Error("called") })
		taken := 0
		b.answer(func(any) (any, error) { taken++; return &raft.AppendEntriesResponse{Success: true}, nil })
		for range 3 {
			if err := a.i.AppendEntries(b.name(), b.address(), &raft.AppendEntriesRequest{RPCHeader: a.header(), Term: 1}, &raft.AppendEntriesResponse{}); err != nil {
				t.Fatal(err)
			}
		}
		if taken != 3 {
			t.Errorf("raft saw %d of 3", taken)
		}
		if c := b.i.LastContact(); c.Leader != 1 || c.Term != 1 || c.At.IsZero() {
			t.Errorf("contact %+v", c)
		}
	})
}

// What an earlier process has left half received is of no use to this one.
func TestSpoolIsEmptyAtTheStart(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data/spool"); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Create("/data/spool/1-2-3.4"); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Book: rpc.NewBook(rpc.Identity{NodeID: 1}), FS: fs, Spool: "/data/spool"}); err != nil {
		t.Fatal(err)
	}
	if names, err := fs.ReadDir("/data/spool"); err == nil && len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}
