package raftrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/vnet"
	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// bothStores runs a test on stores in memory and in bolt.
func bothStores(t *testing.T, n int, f func(c *cluster)) {
	for _, kind := range []string{"memory", "bolt"} {
		t.Run(kind, func(t *testing.T) {
			if testing.Short() && kind == "bolt" {
				t.Skip("its flushes take real time")
			}
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, n)
				if kind == "bolt" {
					c.onBolt()
				}
				defer c.end()
				f(c)
			})
		})
	}
}

// Scenario 5: a snapshot that is installed below the end of the log, late or
// twice, takes nothing that was acknowledged above it.
func TestSnapshotBelowTheEndOfTheLogLosesNothing(t *testing.T) {
	bothStores(t, 3, func(c *cluster) {
		t, n := c.t, c.nodes[0]
		n.start()
		twin := &machine{node: "twin", history: c.history}
		conf := raft.EncodeConfiguration(c.configuration())
		from := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("2"), Addr: []byte(Address(2, c.nodes[1].dir))}
		append_ := func(prev, prevTerm uint64, entries []*raft.Log, commit uint64) *raft.AppendEntriesResponse {
			t.Helper()
			a, err := n.instance().deliver(t.Context(), &raft.AppendEntriesRequest{
				RPCHeader: from, Term: 5, PrevLogEntry: prev, PrevLogTerm: prevTerm, Entries: entries, LeaderCommitIndex: commit,
			})
			if err != nil || !a.(*raft.AppendEntriesResponse).Success {
				t.Fatalf("append after %d: %+v, %v", prev, a, err)
			}
			return a.(*raft.AppendEntriesResponse)
		}
		var entries []*raft.Log
		var snapshot []byte
		for k := uint64(2); k <= 200; k++ {
			l := &raft.Log{Index: k, Term: 5, Data: fmt.Appendf(nil, "entry %d", k)}
			entries = append(entries, l)
			twin.Apply(l)
			if k == 150 {
				snapshot, _ = json.Marshal(point{Index: twin.index, Hash: twin.hash})
			}
		}
		append_(1, 0, entries, 100)
		install := &raft.InstallSnapshotRequest{
			RPCHeader: from, SnapshotVersion: 1, Term: 5, LastLogIndex: 150, LastLogTerm: 5,
			Configuration: conf, ConfigurationIndex: 1, Size: int64(len(snapshot)),
		}
		a, err := n.instance().offer(t.Context(), install, bytes.NewReader(snapshot), nil, nil)
		if err != nil || !a.(*raft.InstallSnapshotResponse).Success {
			t.Fatalf("install: %+v, %v", a, err)
		}
		check := func() {
			t.Helper()
			for k := uint64(151); k <= 200; k++ {
				var l raft.Log
				if err := n.stores.Log.GetLog(k, &l); err != nil || string(l.Data) != fmt.Sprintf("entry %d", k) {
					t.Fatalf("entry %d: %q, %v", k, l.Data, err)
				}
			}
			append_(200, 5, nil, 200)
			c.within(100*time.Millisecond, "all is applied", func() bool { i, h := n.fsmState(); return i == 200 && h == twin.hash })
		}
		check()
		// Once more, by the transport, which knows that all of it is applied.
		outcome, resp, err := n.instance().judge(2, install)
		if outcome != "held" || err != nil || !resp.Success {
			t.Errorf("a snapshot of what is applied: %s, %+v, %v", outcome, resp, err)
		}
		n.halt()
		n.boot()
		check()
	})
}

// Scenario 6: a follower whose entry at the end of a snapshot has another term
// is rid of it and catches up, and is not sent the snapshot for ever.
func TestConflictAtTheEndOfASnapshot(t *testing.T) {
	bothStores(t, 3, func(c *cluster) {
		t := c.t
		conf := c.configuration()
		for k, n := range c.nodes {
			dir := n.path()
			n.host.Up()
			s, err := n.open(raftstore.Options{FS: n.fs, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Stable.SetUint64([]byte("CurrentTerm"), 3); err != nil {
				t.Fatal(err)
			}
			if k < 2 { // was itself installed: a snapshot, and no log before it
				sink, err := s.Snapshots.Create(1, 10, 3, conf, 1, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := (point{Index: 10, Hash: 4711}).Persist(sink); err != nil {
					t.Fatal(err)
				}
			} else {
				logs := []*raft.Log{{Index: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(conf)}}
				for i := uint64(2); i <= 12; i++ {
					logs = append(logs, &raft.Log{Index: i, Term: 1 + i/8, Data: []byte("never committed")})
				}
				if err := s.Log.StoreLogs(logs); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatalf("%s: %v", n.name, err)
			}
		}
		c.start()
		l := c.leader(2*time.Second, c.nodes[0], c.nodes[1])
		l.must("after")
		start := time.Now()
		c.converged(2 * time.Second)
		t.Logf("caught up after %v", time.Since(start))
		f := c.nodes[2]
		if f.restartsInPlace() != 1 {
			t.Errorf("raft was restarted %d times, want once", f.restartsInPlace())
		}
		if k := count(f.transport.o.Metrics.snapshotsIn.WithLabelValues("installed")); k != 1 {
			t.Errorf("%d snapshots were installed, want 1", k)
		}
	})
}

// Scenario 7: a leader whose disk hangs is replaced; its late write lands in a
// log that has gone on without it, and is taken back.
func TestLeaderWithAHangingDiskIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.start()
		defer c.end()
		old := c.leader(2 * time.Second)
		old.must("before")
		hang := make(chan struct{})
		old.memory.SetHook(func(w raftstore.Write) error {
			if w.Operation == "store" {
				<-hang
			}
			return nil
		})
		start := time.Now()
		if _, err := old.apply("the late write"); err == nil {
			t.Error("a command was acknowledged by a disk that hangs")
		}
		next := c.leader(time.Second, old.others()...)
		t.Logf("a new leader after %v", time.Since(start))
		if took := time.Since(start); took > time.Second {
			t.Errorf("a new leader after %v", took)
		}
		for range 5 {
			next.must("meanwhile")
		}
		time.Sleep(2 * time.Second)
		old.memory.SetHook(nil)
		close(hang)
		c.converged(2 * time.Second)
		if old.restartsInPlace() != 1 {
			t.Errorf("raft was restarted %d times", old.restartsInPlace())
		}
		sameLogs(c)
	})
}

// sameLogs checks that the stores of all nodes hold the same entries.
func sameLogs(c *cluster) {
	c.t.Helper()
	want := c.nodes[0].stores.Log
	last, _ := want.LastIndex()
	first, _ := want.FirstIndex()
	for _, n := range c.nodes[1:] {
		if k, _ := n.stores.Log.FirstIndex(); k > first {
			first = k
		}
	}
	for i := first; i <= last; i++ {
		var w, g raft.Log
		if want.GetLog(i, &w) != nil {
			continue // a gap that an installed snapshot has left
		}
		for _, n := range c.nodes[1:] {
			if err := n.stores.Log.GetLog(i, &g); err == nil && (g.Term != w.Term || string(g.Data) != string(w.Data)) {
				c.t.Errorf("entry %d: %s has term %d %q, %s has term %d %q", i, c.nodes[0].name, w.Term, w.Data, n.name, g.Term, g.Data)
			}
		}
	}
}

// Scenario 8: followers whose disks stall for 250 ms twice a second cost no
// election: the gate answers the heartbeats. One that stalls for 3 s looks dead.
func TestGateKeepsTheLeaderWhileFollowersDisksStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.start()
		defer c.end()
		l := c.leader(2 * time.Second)
		term := l.raft().CurrentTerm()
		start := time.Now()
		stall := func(raftstore.Write) error {
			if at := time.Since(start) % (500 * time.Millisecond); at < 250*time.Millisecond {
				time.Sleep(250*time.Millisecond - at)
			}
			return nil
		}
		var silent atomic.Int32
		l.raft().RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
			if _, ok := o.Data.(raft.FailedHeartbeatObservation); ok {
				silent.Add(1)
			}
			return false
		}))
		for _, f := range l.others() {
			f.memory.SetHook(stall)
		}
		applied, missed, length := 0, 0, 10*time.Second
		if testing.Short() {
			length = 3 * time.Second
		}
		for time.Since(start) < length {
			time.Sleep(5 * time.Millisecond)
			if _, err := l.apply("x"); err != nil {
				missed++
			} else {
				applied++
			}
		}
		gated := 0
		for _, f := range l.others() {
			gated += count(f.transport.o.Metrics.gated)
			f.memory.SetHook(nil)
		}
		t.Logf("%d commands applied, %d heartbeats answered by the gate", applied, gated)
		if got := l.raft().CurrentTerm(); got != term || l.raft().State() != raft.Leader || missed > 0 {
			t.Errorf("term %d became %d, %d commands failed", term, got, missed)
		}
		if gated == 0 || silent.Load() > 0 {
			t.Errorf("%d heartbeats answered by the gate, %d unanswered", gated, silent.Load())
		}
		f := l.others()[0]
		f.memory.SetHook(func(raftstore.Write) error { time.Sleep(3 * time.Second); return nil })
		l.must("x")
		c.within(time.Second, "a heartbeat to the hanging follower fails", func() bool { return silent.Load() > 0 })
		f.memory.SetHook(nil)
		c.converged(5 * time.Second)
		if f.restartsInPlace() != 1 {
			t.Errorf("raft of the hanging follower was restarted %d times", f.restartsInPlace())
		}
	})
}

// Scenario 16: a follower that lies many entries at the size limit behind
// catches up in calls of at most 4 MiB.
func TestLargeEntries(t *testing.T) {
	n := 70
	if testing.Short() {
		n = 6
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.start()
		defer c.end()
		l := c.leader(2 * time.Second)
		f := l.others()[0]
		c.net.Isolate(f.name)
		data := strings.Repeat("x", 1<<20)
		for range n {
			l.must(data)
		}
		c.net.Heal()
		start := time.Now()
		c.converged(20 * time.Second)
		t.Logf("caught up after %v", time.Since(start))
		if k := count(l.transport.o.Metrics.trimmed); k == 0 {
			t.Error("no call was cut to the limit")
		}
	})
}

// lagging makes a follower that needs a snapshot of pad bytes, and returns the
// leader and it. The follower is stopped.
func lagging(c *cluster, pad int) (l, f *node) {
	c.tune = func(conf *raft.Config) { conf.TrailingLogs = 1 }
	c.start()
	l = c.leader(2 * time.Second)
	f = l.others()[0]
	f.stop()
	for range 20 {
		l.must("x")
	}
	for _, n := range c.nodes {
		m := n.machine()
		m.mu.Lock()
		m.pad = pad
		m.mu.Unlock()
	}
	if err := l.raft().Snapshot().Error(); err != nil {
		c.t.Fatal(err)
	}
	l.must("y")
	return l, f
}

// A snapshot whose stream is reset after every piece arrives, each try going on
// where the last one ended.
func TestSnapshotStreamCutAtEveryChunk(t *testing.T) {
	pad := 2 << 20
	if testing.Short() {
		pad = 1 << 20
	}
	bothStores(t, 3, func(c *cluster) {
		l, f := lagging(c, pad)
		f.start()
		in := func() int { return count(f.transport.o.Metrics.snapshotBytes.WithLabelValues("in")) }
		for k := 1; k <= pad/chunkBytes; k++ {
			c.within(10*time.Second, "the next piece", func() bool { return in() >= k*chunkBytes })
			c.net.Between(l.name, f.name, vnet.Reset)
			time.Sleep(30 * time.Millisecond)
			c.net.Between(l.name, f.name, vnet.Up)
		}
		c.converged(10 * time.Second)
		if got := in(); got > pad+3*chunkBytes {
			c.t.Errorf("%d bytes came for a snapshot of %d", got, pad)
		}
		if k := strings.Count(f.logs.String(), "outcome=failed"); k < pad/chunkBytes-1 {
			c.t.Errorf("the stream broke %d times", k)
		}
		if f.restored() == 0 {
			c.t.Error("no snapshot was restored")
		}
	})
}

// A snapshot that is wrong anywhere does not reach raft, and what came of it is
// not built upon.
func TestSnapshotThatIsNotWhole(t *testing.T) {
	type stream = grpc.BidiStreamingClient[raftv1.SnapshotChunk, raftv1.SnapshotReply]
	data := func(s stream, offset int64, p string, crc uint32) error {
		return s.Send(&raftv1.SnapshotChunk{Topic: Topic, Part: &raftv1.SnapshotChunk_Data{Data: &raftv1.SnapshotData{Offset: offset, Bytes: []byte(p), Crc: crc}}})
	}
	end := func(s stream, size int64, crc uint32) error {
		return s.Send(&raftv1.SnapshotChunk{Topic: Topic, Part: &raftv1.SnapshotChunk_End{End: &raftv1.SnapshotEnd{Size: size, Crc: crc}}})
	}
	sum := func(p string) uint32 { return crc32.Checksum([]byte(p), castagnoli) }
	for name, c := range map[string]struct {
		send func(s stream) error
		want codes.Code
	}{
		"ends early":     {func(s stream) error { data(s, 0, "01234", sum("01234")); return s.CloseSend() }, codes.Aborted},
		"says it is all": {func(s stream) error { data(s, 0, "01234", sum("01234")); return end(s, 5, sum("01234")) }, codes.DataLoss},
		"bad piece":      {func(s stream) error { return data(s, 0, "01234", sum("01235")) }, codes.DataLoss},
		"gap":            {func(s stream) error { return data(s, 1, "12345", sum("12345")) }, codes.DataLoss},
		"too long":       {func(s stream) error { return data(s, 0, "01234567890", sum("01234567890")) }, codes.DataLoss},
		"other content":  {func(s stream) error { data(s, 0, "0123456789", sum("0123456789")); return end(s, 10, sum("x")) }, codes.DataLoss},
		"twice begun": {func(s stream) error {
			return s.Send(&raftv1.SnapshotChunk{Topic: Topic, Part: &raftv1.SnapshotChunk_Start{Start: &raftv1.InstallSnapshotRequest{}}})
		}, codes.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster(t, 3)
				cl.start()
				defer cl.end()
				l := cl.leader(2 * time.Second)
				f := l.others()[0]
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				s, err := raftv1.NewRaftClient(l.peers.Bulk(f.id, f.dir)).InstallSnapshot(ctx, wait)
				if err != nil {
					t.Fatal(err)
				}
				m := encodeInstallRequest(&raft.InstallSnapshotRequest{
					RPCHeader: l.instance().header(), SnapshotVersion: 1, Term: l.raft().CurrentTerm(),
					LastLogIndex: 1000, LastLogTerm: 1, Size: 10, Configuration: raft.EncodeConfiguration(cl.configuration()),
				})
				if err := s.Send(&raftv1.SnapshotChunk{Topic: Topic, Part: &raftv1.SnapshotChunk_Start{Start: m}}); err != nil {
					t.Fatal(err)
				}
				if m, err := s.Recv(); err != nil || m.GetResumeFrom() != 0 {
					t.Fatalf("%v, %v", m, err)
				}
				if err := c.send(s); err != nil {
					t.Fatal(err)
				}
				if m, err := s.Recv(); status.Code(err) != c.want {
					t.Errorf("%v, %v; want %v", m, err, c.want)
				}
				cl.converged(time.Second)
				if f.restored() != 0 {
					t.Error("restored")
				}
			})
		})
	}
}

// A snapshot on its way is given up when its sender stops leading, and does not
// hold up a stop.
func TestSnapshotEndsWithItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.end()
		l, f := lagging(c, 2<<20)
		f.start()
		c.within(5*time.Second, "the snapshot is on its way", func() bool {
			return count(f.transport.o.Metrics.snapshotBytes.WithLabelValues("in")) > 0
		})
		start := time.Now()
		l.halt()
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("the stop took %v", took)
		}
		next := c.leader(2*time.Second, l.others()...)
		next.must("z")
		l.boot()
		c.converged(10 * time.Second)
	})
}

// Restarting raft in place keeps the port, and the others go on.
func TestRestartInPlace(t *testing.T) {
	bothStores(t, 3, func(c *cluster) {
		c.start()
		c.leader(2 * time.Second)
		for round := range 6 {
			n := c.nodes[round%3]
			c.leader(2 * time.Second).must("x")
			n.halt()
			n.boot()
		}
		c.converged(2 * time.Second)
		sameLogs(c)
	})
}

// A stop does not wait for calls to nodes that are gone.
func TestStopDoesNotWaitForDeadPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.start()
		defer c.end()
		l := c.leader(2 * time.Second)
		c.net.Isolate(l.name)
		time.Sleep(20 * time.Millisecond)
		start := time.Now()
		l.halt()
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		l.boot()
	})
}

// Random stalls, cuts, resets, crashes and restarts lose nothing that was
// acknowledged; histories agree, and a term has one leader.
func TestChaos(t *testing.T) {
	seeds, length := 8, 20*time.Second
	if testing.Short() {
		seeds, length = 1, 4*time.Second
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 42)), length) })
		})
	}
}

func chaos(t *testing.T, rng *rand.Rand, length time.Duration) {
	c := newCluster(t, 3)
	c.tune = func(conf *raft.Config) {
		conf.SnapshotThreshold, conf.SnapshotInterval, conf.TrailingLogs = 200, 500*time.Millisecond, 50
	}
	c.start()
	defer c.end()
	for _, n := range c.nodes {
		var mu sync.Mutex
		r := rand.New(rand.NewPCG(rng.Uint64(), 1))
		n.memory.SetHook(func(raftstore.Write) error {
			mu.Lock()
			p, d := r.IntN(1000), time.Duration(r.IntN(400))*time.Millisecond
			mu.Unlock()
			if p < 5 {
				time.Sleep(d)
			} else {
				time.Sleep(d / 1000)
			}
			return nil
		})
	}
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	var mu sync.Mutex
	acknowledged := map[uint64]string{}
	for k := range 4 {
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				n := c.nodes[(k+i)%3]
				data := fmt.Sprintf("client %d command %d", k, i)
				index, err := n.apply(data)
				if err != nil {
					time.Sleep(5 * time.Millisecond)
					continue
				}
				mu.Lock()
				acknowledged[index] = data
				mu.Unlock()
			}
		})
	}
	for start := time.Now(); time.Since(start) < length; {
		time.Sleep(time.Duration(100+rng.IntN(600)) * time.Millisecond)
		c.misfortune(rng)
	}
	c.net.Heal()
	for _, n := range c.nodes {
		n.memory.SetHook(nil)
		if n.isDead() {
			n.start()
		}
	}
	stop()
	clients.Wait()
	time.Sleep(time.Second)
	c.converged(10 * time.Second)
	sameLogs(c)
	for index, data := range acknowledged {
		if got := c.history.data[index]; got != data {
			t.Errorf("entry %d was acknowledged as %q and is %q", index, data, got)
		}
	}
	restarts := 0
	for _, n := range c.nodes {
		restarts += n.restartsInPlace()
	}
	t.Logf("%d commands acknowledged, %d terms with a leader, %d restarts in place", len(acknowledged), len(c.history.leaders), restarts)
	if len(acknowledged) < 50 {
		t.Errorf("only %d commands were acknowledged", len(acknowledged))
	}
}

// misfortune does one thing to the cluster, or ends all that was done.
func (c *cluster) misfortune(rng *rand.Rand) {
	n := c.nodes[rng.IntN(3)]
	o := n.others()[rng.IntN(2)]
	switch rng.IntN(8) {
	case 0:
		c.net.SetLink(n.name, o.name, vnet.Cut)
	case 1:
		c.net.Between(n.name, o.name, vnet.Cut)
	case 2:
		c.net.Isolate(n.name)
	case 3:
		c.net.Between(n.name, o.name, vnet.Reset)
	case 4:
		for _, x := range c.nodes {
			if x.isDead() {
				return // one at a time
			}
		}
		n.crash(rng)
	default:
		c.net.Heal()
		for _, x := range c.nodes {
			if x.isDead() {
				x.start()
			}
		}
	}
}
