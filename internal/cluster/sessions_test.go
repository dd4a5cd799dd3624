package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/internal/vnet"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// fencedAt reports whether n's image shows broker id fenced.
func (n *node) shows(id int32) (registered, fenced bool) {
	b := n.c.Image().Broker(id)
	return b != nil, b != nil && b.Fenced
}

func TestSilentBrokerIsFencedAndComesBack(t *testing.T) {
	trio(t, func(t *testing.T, w *world, leader *node) {
		quiet := w.followers(leader)[0]
		if _, err := leader.create("t"); err != nil {
			t.Fatal(err)
		}
		epochs := map[int32]int32{}
		for topic, p := range leader.c.Image().BrokerPartitions(quiet.id, metadata.RoleLeader) {
			_ = topic
			epochs[p.Index] = p.LeaderEpoch
		}
		quiet.health.Store(&Health{Err: errors.New("the listener does not answer")})
		took := w.within(time.Second, "the silent broker is fenced", func() bool { _, fenced := leader.shows(quiet.id); return fenced })
		if took < 350*time.Millisecond || took > 600*time.Millisecond {
			t.Errorf("fenced after %v, want 450 ms after the last heartbeat, and a tick", took)
		}
		for _, p := range leader.c.Image().TopicByName("t").Partitions {
			if _, led := epochs[p.Index]; led && p.Leader != metadata.NoLeader {
				t.Errorf("partition %d still has leader %d", p.Index, p.Leader)
			}
		}
		if quiet.c.Ready() {
			w.within(time.Second, "the fenced broker sees it", func() bool { return !quiet.c.Ready() })
		}
		quiet.health.Store(nil)
		w.awaitReady(time.Second)
		w.agree(time.Second)
		for _, p := range leader.c.Image().TopicByName("t").Partitions {
			if epoch, led := epochs[p.Index]; led && (p.Leader != quiet.id || p.LeaderEpoch <= epoch) {
				t.Errorf("partition %d came back with leader %d, epoch %d after %d", p.Index, p.Leader, p.LeaderEpoch, epoch)
			}
		}
		if w.log.count("No heartbeat goes out") == 0 {
			t.Error("nothing says why the heartbeats stopped")
		}
	})
}

func TestFailedStorageFencesAtOnce(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		for _, n := range []*node{w.followers(leader)[0], leader} {
			n.health.Store(&Health{Storage: clusterv1.Storage_STORAGE_FAILED})
			other := w.followers(n)[0]
			took := w.within(time.Second, "the broker is fenced", func() bool { _, fenced := other.shows(n.id); return fenced })
			if took > 130*time.Millisecond {
				t.Errorf("node %d fenced after %v, want one heartbeat", n.id, took)
			}
			n.health.Store(nil)
			w.awaitReady(time.Second)
		}
	})
}

func TestDeadBrokerIsFencedAndRestarts(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		dead := w.followers(leader)[0]
		old := leader.c.Image().Broker(dead.id)
		dead.crash()
		took := w.within(time.Second, "the dead broker is fenced", func() bool { _, fenced := leader.shows(dead.id); return fenced })
		t.Logf("fenced after %v", took)
		dead.start()
		w.awaitReady(time.Second)
		if b := leader.c.Image().Broker(dead.id); b.Epoch <= old.Epoch || b.Incarnation == old.Incarnation {
			t.Errorf("after its restart the broker has epoch %d, before it %d", b.Epoch, old.Epoch)
		}
	})
}

// A process that comes back on the same directory does not sit out the session of
// the one before: it holds the directory's lock.
func TestRestartWithinTheSession(t *testing.T) {
	trio(t, func(t *testing.T, w *world, leader *node) {
		n := w.followers(leader)[0]
		n.crash()
		n.start()
		took := w.within(time.Second, "the restarted broker is ready", func() bool { return n.c.Ready() })
		if took > 400*time.Millisecond {
			t.Errorf("ready after %v", took)
		}
	})
}

// Two live processes with one node id: the second never gets in, and ends.
func TestSecondProcessWithOneNodeID(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		n := w.followers(leader)[0]
		other := [16]byte{0: 0xcc, 15: 1}
		req := n.c.registration(Broker{
			Directories: [][16]byte{{0: 0xee, 15: 200}},
			Listeners:   []metadata.Listener{{Name: "PLAINTEXT", Host: "elsewhere", Port: 9092}},
		})
		req.Incarnation = other[:]
		for range 20 {
			r, err := leader.c.registerHere(context.Background(), req)
			if err != nil || int16(r.GetCode()) != metadata.CodeDuplicateBrokerRegistration {
				t.Fatalf("code %d (%s), error %v, want DUPLICATE_BROKER_REGISTRATION", r.GetCode(), r.GetMessage(), err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if !n.c.Ready() {
			t.Error("the first process has lost its place")
		}
		// The first one dies without a restart: after its session the other gets in.
		n.crash()
		w.within(time.Second, "the other process gets in", func() bool {
			r, err := leader.c.registerHere(context.Background(), req)
			return err == nil && r.GetCode() == 0
		})
	})
}

func TestRegisterGivesUpOnATakenNodeID(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		n := w.followers(leader)[0]
		leader.c.agent.c.o.Timing.Registration = 5 * time.Second
		// The second process has a directory of its own, so it cannot be a member
		// of the Raft group; its registration alone is tried here.
		req := n.c.registration(Broker{
			Directories: [][16]byte{{0: 0xee, 15: 200}},
			Listeners:   []metadata.Listener{{Name: "PLAINTEXT", Host: "elsewhere", Port: 9092}},
		})
		req.Incarnation = append(make([]byte, 15), 9)
		start := time.Now()
		_, err := leader.c.agent.register(context.Background(), req)
		var f *FatalError
		if !errors.As(err, &f) || f.Reason != ReasonDuplicate || !strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("%v, want ReasonDuplicate", err)
		}
		if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("gave up after %v, want 5 s", took)
		}
	})
}

func TestStaleProcessEnds(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		n := w.followers(leader)[0]
		w.net.Isolate(hostName(n.id))
		w.within(time.Second, "the isolated broker is fenced", func() bool { _, fenced := leader.shows(n.id); return fenced })
		time.Sleep(500 * time.Millisecond)
		req := n.c.registration(Broker{
			Directories: [][16]byte{{0: 0xee, 15: 200}}, Listeners: []metadata.Listener{{Name: "P", Host: "elsewhere", Port: 9}}, PreviousEpoch: -1,
		})
		req.Incarnation = append(make([]byte, 15), 9)
		if r, err := leader.c.registerHere(context.Background(), req); err != nil || r.GetCode() != 0 {
			t.Fatalf("code %d (%s), error %v", r.GetCode(), r.GetMessage(), err)
		}
		w.net.Heal()
		w.within(3*time.Second, "the process that was replaced ends", n.ended)
		if f := n.fatal(); f.Reason != ReasonDuplicate {
			t.Errorf("ended with %v (%v)", f, f.Reason)
		}
		n.broker.Wait()
		n.c = nil
	})
}

// A new controller gives everyone a fresh session: nobody is fenced by its coming.
func TestControllerChangeFencesNobody(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		for range 5 {
			leader := w.awaitLeader(time.Second)
			w.log.mu.Lock()
			w.log.lines = nil
			w.log.mu.Unlock()
			leader.c.member.transfer(leader.c.member.current.Load())
			w.within(3*time.Second, "another controller", func() bool { l := w.leader(); return l != nil && l != leader })
			time.Sleep(2 * time.Second)
			if n := w.log.count("The session of a broker has ended"); n > 0 {
				t.Fatalf("%d sessions ended after a change of the controller:\n%s", n, w.log)
			}
		}
		w.awaitReady(0)
	})
}

// The dead leader led partitions too: the new controller fences it after a fresh session.
func TestDeadLeaderIsFencedByTheNextController(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		other := w.followers(leader)[0]
		leader.crash()
		took := w.within(2*time.Second, "the dead leader is fenced", func() bool { _, fenced := other.shows(leader.id); return fenced })
		t.Logf("fenced after %v", took)
		if took > 1100*time.Millisecond {
			t.Errorf("fenced after %v", took)
		}
	})
}

// A broker that is heard but hears nothing, and one that hears but is not heard.
func TestOneWayCuts(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		n := w.followers(leader)[0]
		other := w.followers(leader)[1]
		w.net.SetLink(hostName(n.id), hostName(leader.id), vnet.Cut)
		w.within(2*time.Second, "a broker that is not heard is fenced", func() bool { _, fenced := other.shows(n.id); return fenced })
		w.net.Heal()
		w.awaitReady(3 * time.Second)
		w.agree(time.Second)
	})
}

func TestDrain(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		for _, n := range []*node{w.followers(leader)[0], leader} {
			others := w.followers(n)
			start := time.Now()
			if err := n.c.Drain(context.Background()); err != nil {
				t.Fatalf("node %d: %v", n.id, err)
			}
			took := time.Since(start)
			if took > 300*time.Millisecond {
				t.Errorf("node %d: drained after %v", n.id, took)
			}
			for _, o := range others {
				if _, fenced := o.shows(n.id); !fenced {
					t.Errorf("node %d does not know that node %d stops", o.id, n.id)
				}
			}
			time.Sleep(500 * time.Millisecond)
			if n.c.Ready() {
				t.Errorf("node %d was unfenced while it stops", n.id)
			}
			start = time.Now()
			n.stop()
			if took := time.Since(start); took > 300*time.Millisecond {
				t.Errorf("node %d: Run ended after %v", n.id, took)
			}
			start = time.Now()
			if _, err := others[0].create(fmt.Sprint("after-", n.id)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 100*time.Millisecond {
				t.Errorf("after a clean stop of node %d a topic took %v: leadership is to be handed over", n.id, took)
			}
			n.start()
			w.awaitReady(2 * time.Second)
		}
	})
}

func TestAllStopTogether(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, _ *node) {
		start := time.Now()
		ended := make(chan error, 3)
		for _, n := range w.nodes {
			go func() {
				err := n.c.Drain(context.Background())
				n.cancel()
				ended <- err
			}()
		}
		for range w.nodes {
			<-ended
		}
		for _, n := range w.nodes {
			n.wait()
			if n.err != nil {
				t.Errorf("node %d: %v", n.id, n.err)
			}
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("three nodes took %v to stop together", took)
		}
		w.startAll()
		w.awaitReady(3 * time.Second)
	})
}

func TestDrainOfASingleNode(t *testing.T) {
	bubble(t, []int32{1}, func(t *testing.T, w *world) {
		n := w.nodes[1]
		n.start()
		w.awaitReady(time.Second)
		start := time.Now()
		if err := n.c.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		n.stop()
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Errorf("stopped after %v", took)
		}
	})
}

func TestStoppedNodeAnswersWithErrStopped(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		n := w.followers(leader)[0]
		w.net.Isolate(hostName(n.id))
		time.Sleep(time.Second)
		results := make(chan error, 3)
		go func() { _, err := n.c.Submit(context.Background(), createTopic("never")); results <- err }()
		go func() { _, err := n.c.Quorum(context.Background()); results <- err }()
		go func() { _, err := n.c.Register(context.Background(), Broker{}); results <- err }()
		time.Sleep(time.Second)
		n.stop()
		for range 3 {
			if err := <-results; !errors.Is(err, ErrStopped) {
				t.Errorf("%v, want ErrStopped", err)
			}
		}
	})
}

// The watch itself: what it does with pauses and with many ends at once.
func TestSessionWatch(t *testing.T) {
	type env struct {
		s    *sessions
		q    *queue
		now  time.Time
		lead *leadership
	}
	begin := func(t *testing.T, brokers ...int32) *env {
		o := Options{NodeID: 1, DirectoryID: [16]byte{1}, Incarnation: [16]byte{1}, FS: vfs.NewMem(), Path: "x", SaveIdentity: func(Identity) error { return nil }, OpenStores: raftstore.NewMemory().Open}
		o.setDefaults()
		e := &env{q: newQueue(), now: time.Now()}
		e.q.allow()
		e.s = newSessions(&o, newMetrics(o.Registerer), e.q, newImages())
		e.lead = &leadership{inst: &instance{fsm: newFSM(newImages(), e.s.m, func(error) {})}, term: 3}
		e.lead.inst.fsm.image.Store(imageWithBrokers(brokers...))
		e.s.begin(e.lead, e.lead.inst.fsm.image.Load())
		e.now = e.s.lastTick
		return e
	}
	tick := func(e *env, d time.Duration) {
		e.now = e.now.Add(d)
		e.s.tick(e.now)
	}
	run := func(e *env, d time.Duration, heard ...int32) {
		for end := e.now.Add(d); e.now.Before(end); {
			tick(e, sessionTick)
			for _, id := range heard {
				e.s.byBroker[id].ends = e.now.Add(450 * time.Millisecond)
			}
		}
	}
	t.Run("one of five is fenced once", func(t *testing.T) {
		e := begin(t, 1, 2, 3, 4, 5)
		run(e, 425*time.Millisecond, 1, 2, 3, 4)
		if e.q.depth(classUrgent) != 0 {
			t.Error("fenced before 450 ms")
		}
		run(e, 500*time.Millisecond, 1, 2, 3, 4)
		if n := e.q.depth(classUrgent); n != 1 {
			t.Errorf("%d commands to fence one broker", n)
		}
		if j := e.q.pop(classUrgent); j.cmd.GetFenceBroker().GetBrokerId() != 5 || j.cmd.GetFenceBroker().GetBrokerEpoch() != 5 {
			t.Errorf("fenced %v", j.cmd)
		}
	})
	t.Run("most at once have one more heartbeat", func(t *testing.T) {
		e := begin(t, 1, 2, 3)
		run(e, 475*time.Millisecond, 1)
		if e.q.depth(classUrgent) != 0 {
			t.Error("two of three were fenced at once")
		}
		run(e, 125*time.Millisecond, 1, 2)
		if n := e.q.depth(classUrgent); n != 1 {
			t.Errorf("%d fenced after one more heartbeat, want the one that stays silent", n)
		}
	})
	t.Run("a pause of this process prolongs all", func(t *testing.T) {
		e := begin(t, 1, 2, 3, 4, 5)
		run(e, 200*time.Millisecond)
		tick(e, 10*time.Second)
		run(e, 200*time.Millisecond)
		if e.q.depth(classUrgent) != 0 {
			t.Error("brokers were fenced for a pause of the controller")
		}
		run(e, 400*time.Millisecond, 1, 2, 3)
		if n := e.q.depth(classUrgent); n != 2 {
			t.Errorf("%d fenced, want the two that are silent after the pause", n)
		}
	})
	t.Run("an older process has no session", func(t *testing.T) {
		e := begin(t, 1, 2, 3)
		reply, err := e.s.beat(&clusterv1.Beat{BrokerId: 2, BrokerEpoch: 1, Incarnation: make([]byte, 16)})
		if err != nil || int16(reply.GetCode()) != metadata.CodeStaleBrokerEpoch {
			t.Errorf("%v %v", reply, err)
		}
		reply, err = e.s.beat(&clusterv1.Beat{BrokerId: 9})
		if err != nil || int16(reply.GetCode()) != metadata.CodeBrokerIDNotRegistered {
			t.Errorf("%v %v", reply, err)
		}
		e.s.end()
		if _, err := e.s.beat(&clusterv1.Beat{BrokerId: 2}); !errors.Is(err, errNotController) {
			t.Errorf("%v, want errNotController", err)
		}
	})
}

// imageWithBrokers has brokers whose epochs are their ids, none fenced.
func imageWithBrokers(ids ...int32) *metadata.Image {
	var recs []*metadata.Record
	for _, id := range ids {
		recs = append(recs, metadata.BrokerRecord(&metadata.Broker{
			ID: id, Incarnation: [16]byte{byte(id)}, Epoch: int64(id), Directories: []metadata.ID{{0: 1, 15: byte(id)}},
			Listeners: []metadata.Listener{{Name: "P", Host: "h", Port: 1}},
		}))
	}
	img, _ := metadata.Empty().Apply(100, recs)
	return img
}
