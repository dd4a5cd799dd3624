package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/vnet"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// trio is a bubble with three brokers that are ready.
func trio(t *testing.T, f func(t *testing.T, w *world, leader *node)) {
	t.Helper()
	bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
		w.startAll()
		w.awaitReady(3 * time.Second)
		f(t, w, w.leader())
	})
}

func TestAnyNodeTakesCommandsAndReadsItsWrites(t *testing.T) {
	trio(t, func(t *testing.T, w *world, leader *node) {
		for _, n := range w.nodes {
			name := fmt.Sprint("by-", n.id)
			start := time.Now()
			id, err := n.create(name)
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			topic := n.c.Image().TopicByName(name)
			if topic == nil || topic.ID != id {
				t.Errorf("node %d answered before its own image had the topic", n.id)
			}
			if took > 10*time.Millisecond {
				t.Errorf("node %d: a topic took %v; the nudge tells followers of a commit at once", n.id, took)
			}
			var refusal *metadata.Error
			if _, err := n.create(name); !errors.As(err, &refusal) || refusal.Code != metadata.CodeTopicAlreadyExists {
				t.Errorf("node %d: the same topic again: %v, want TOPIC_ALREADY_EXISTS", n.id, err)
			}
		}
		w.agree(time.Second)
	})
}

func TestCommandsThatQueueTogetherShareEntries(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		before := leader.c.Image().Index()
		var wg sync.WaitGroup
		for _, n := range w.nodes {
			for k := range 60 {
				wg.Go(func() {
					if _, err := n.create(fmt.Sprintf("t-%d-%d", n.id, k)); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		w.agree(time.Second)
		if n := leader.c.Image().TopicCount(); n != 180 {
			t.Errorf("%d topics, want 180", n)
		}
		if entries := leader.c.Image().Index() - before; entries > 60 {
			t.Errorf("180 commands took %d entries of the log", entries)
		}
	})
}

// The leader dies; commands go on within a second, by the election timers alone,
// and nothing that was acknowledged is gone.
func TestLeaderDies(t *testing.T) {
	trio(t, func(t *testing.T, w *world, leader *node) {
		rounds := 6
		if testing.Short() {
			rounds = 1
		}
		made := map[string][16]byte{}
		for round := range rounds {
			other := w.followers(leader)[0]
			name := fmt.Sprint("before-", round)
			id, err := leader.create(name)
			if err != nil {
				t.Fatal(err)
			}
			made[name] = id
			leader.crash()
			start := time.Now()
			name = fmt.Sprint("after-", round)
			if id, err = other.create(name); err != nil {
				t.Fatal(err)
			}
			made[name] = id
			if took := time.Since(start); took > time.Second {
				t.Errorf("round %d: a topic took %v after the death of the leader", round, took)
			}
			leader.start()
			w.awaitReady(3 * time.Second)
			w.agree(time.Second)
			for name, id := range made {
				for _, n := range w.nodes {
					if topic := n.c.Image().TopicByName(name); topic == nil || topic.ID != id {
						t.Fatalf("round %d: node %d has lost %s", round, n.id, name)
					}
				}
			}
			leader = w.awaitLeader(time.Second)
		}
	})
}

func TestMinorityAnswersNothing(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		w.net.Isolate(hostName(leader.id))
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		start := time.Now()
		a, err := leader.c.Submit(ctx, createTopic("nowhere"))
		if err == nil {
			t.Fatalf("a leader without a majority answered %v", a)
		}
		if !errors.Is(err, ErrTimedOut) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v, want ErrTimedOut at the deadline", err, time.Since(start))
		}
		if _, err := leader.c.Quorum(ctx); err == nil {
			t.Error("a leader without a majority told of the quorum")
		}
		if _, err := w.followers(leader)[0].create("majority"); err != nil {
			t.Error(err)
		}
		if leader.c.Image().TopicByName("majority") != nil {
			t.Error("the isolated node knows what it cannot know")
		}
		w.net.Heal()
		w.agree(3 * time.Second)
	})
}

// Scenario 12: what an isolated leader had queued and proposed is never applied
// as if the next leader had decided it.
func TestIsolatedLeaderWithQueuedCommands(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		w.net.Isolate(hostName(leader.id))
		type result struct {
			id  [16]byte
			err error
		}
		results := make(chan result, 200)
		for k := range 100 {
			go func() {
				id, err := leader.create(fmt.Sprint("queued-", k))
				results <- result{id, err}
			}()
		}
		other := w.followers(leader)[0]
		w.within(2*time.Second, "another leader", func() bool { l := w.leader(); return l != nil && l != leader })
		for k := range 100 {
			go func() {
				id, err := other.create(fmt.Sprint("queued-", k))
				results <- result{id, err}
			}()
		}
		time.Sleep(300 * time.Millisecond)
		w.net.Heal()
		made := map[[16]byte]bool{}
		for range 200 {
			r := <-results
			var refusal *metadata.Error
			switch {
			case r.err == nil:
				made[r.id] = true
			case !errors.As(r.err, &refusal) || refusal.Code != metadata.CodeTopicAlreadyExists:
				t.Errorf("a command ended with %v", r.err)
			}
		}
		w.agree(3 * time.Second)
		img := other.c.Image()
		if len(made) != 100 || img.TopicCount() != 100 {
			t.Errorf("%d commands were told that they made a topic, %d topics are there, want 100 of each", len(made), img.TopicCount())
		}
		for id := range made {
			if img.TopicByID(id) == nil {
				t.Error("a topic whose creation was acknowledged is not there")
			}
		}
	})
}

// Scenario 13: leadership is lost after the commit and before the answer. The
// retry of the same command gets the topic id that the first try made.
func TestRetryGetsTheSameTopicID(t *testing.T) {
	trio(t, func(t *testing.T, w *world, leader *node) {
		asker := w.followers(leader)[0]
		// The answer cannot get back: the asker hears nothing from the leader.
		sent := make(chan struct{})
		var once sync.Once
		leader.disk.SetHook(func(x raftstore.Write) error {
			if x.Operation == "store" {
				once.Do(func() {
					w.net.SetLink(hostName(leader.id), hostName(asker.id), vnet.Cut)
					close(sent)
				})
			}
			return nil
		})
		var id [16]byte
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			id, err = asker.create("once")
		}()
		<-sent
		w.within(time.Second, "the topic on the leader", func() bool { return leader.c.Image().TopicByName("once") != nil })
		first := leader.c.Image().TopicByName("once").ID
		w.net.Between(hostName(leader.id), hostName(asker.id), vnet.Reset) // what was on its way is lost
		leader.crash()
		w.net.Heal()
		<-done
		if err != nil || id != first {
			t.Errorf("the retry got topic id %x and error %v, the first try made %x", id, err, first)
		}
		leader.disk.SetHook(nil)
		leader.start()
		w.awaitReady(3 * time.Second)
		w.agree(time.Second)
		if n := leader.c.Image().TopicCount(); n != 1 {
			t.Errorf("%d topics after one command", n)
		}
	})
}

// A retry that comes while the first try is still queued or proposed waits for
// the same outcome.
func TestRetryAttachesToTheFirstTry(t *testing.T) {
	trio(t, func(t *testing.T, w *world, leader *node) {
		hold := make(chan struct{})
		var stored atomic.Int32
		leader.disk.SetHook(func(x raftstore.Write) error {
			if x.Operation == "store" && stored.Add(1) == 1 {
				<-hold
			}
			return nil
		})
		incarnation := leader.options().Incarnation
		cmd := createTopic("held")
		cmd.RequestId = &clusterv1.RequestId{Node: leader.id, Incarnation: incarnation[:], Sequence: 77}
		answers := make(chan [16]byte, 2)
		for range 2 {
			go func() {
				id, err := topicID(leader.c.Submit(context.Background(), cmd))
				if err != nil {
					t.Error(err)
				}
				answers <- id
			}()
			time.Sleep(50 * time.Millisecond)
		}
		close(hold)
		if a, b := <-answers, <-answers; a != b {
			t.Errorf("two tries of one command made two topics, %x and %x", a, b)
		}
		again, err := topicID(leader.c.Submit(context.Background(), cmd))
		if err != nil || again != leader.c.Image().TopicByName("held").ID {
			t.Errorf("a third try: %x, %v", again, err)
		}
	})
}

// Scenario 7: a hanging disk costs the leader its leadership, not the cluster its
// controller; when the late write lands, logs match and the node goes on.
func TestLeadersDiskHangs(t *testing.T) {
	trio(t, func(t *testing.T, w *world, leader *node) {
		hold := make(chan struct{})
		var hang atomic.Bool
		hang.Store(true)
		release := sync.OnceFunc(func() {
			hang.Store(false)
			close(hold)
		})
		defer release() // also after a Fatal: the node cannot stop while its disk hangs
		leader.disk.SetHook(func(x raftstore.Write) error {
			if hang.Load() {
				<-hold
			}
			return nil
		})
		go func() { _, _ = leader.create("hung") }()
		start := time.Now()
		w.within(3*time.Second, "another controller", func() bool { l := w.leader(); return l != nil && l != leader }) // an election may take two rounds
		other := w.leader()
		if _, err := other.create("elsewhere"); err != nil {
			t.Fatal(err)
		}
		t.Logf("served elsewhere after %v", time.Since(start))
		time.Sleep(2 * time.Second)
		if leader.ended() {
			t.Fatalf("a slow disk ended the process: %v", leader.err)
		}
		release()
		w.within(3*time.Second, "the node with the slow disk has what the others have", func() bool {
			return leader.c.Image().TopicByName("elsewhere") != nil
		})
		w.within(3*time.Second, "its command is done, once", func() bool { return leader.c.Image().TopicByName("hung") != nil })
		w.awaitReady(3 * time.Second)
		w.agree(time.Second)
		if leader.c.member.m.restarts == nil || w.log.count("Restarting Raft in place") == 0 {
			t.Error("raft was not restarted in place")
		}
	})
}

// A disk that hangs for good ends the process, with the reason.
func TestLeadersDiskHangsForGood(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		hold := make(chan struct{})
		release := sync.OnceFunc(func() { close(hold) })
		defer release() // also after a Fatal
		leader.disk.SetHook(func(raftstore.Write) error { <-hold; return nil })
		go func() { _, _ = leader.create("hung") }()
		w.within(12*time.Second, "the process ends", leader.ended)
		if f := leader.fatal(); f.Reason != ReasonStorage || !strings.Contains(f.Error(), "has not returned") {
			t.Errorf("ended with %v (%v)", f, f.Reason)
		}
		release()
		leader.disk.SetHook(nil)
		leader.broker.Wait()
		leader.c = nil
	})
}

// A failed write of the metadata log is never retried: the process ends.
func TestDiskFails(t *testing.T) {
	long(t)
	for _, who := range []string{"leader", "follower"} {
		t.Run(who, func(t *testing.T) {
			trio(t, func(t *testing.T, w *world, leader *node) {
				n := leader
				if who == "follower" {
					n = w.followers(leader)[0]
				}
				n.disk.SetHook(func(raftstore.Write) error { return errors.New("input/output error") })
				id, err := w.followers(n)[0].create("survives")
				if err != nil {
					t.Fatal(err)
				}
				w.within(2*time.Second, "the process ends", n.ended)
				if f := n.fatal(); f.Reason != ReasonStorage || !strings.Contains(f.Error(), "input/output error") {
					t.Errorf("ended with %v (%v)", f, f.Reason)
				}
				n.broker.Wait()
				n.disk.SetHook(nil)
				n.start()
				w.awaitReady(3 * time.Second)
				w.agree(time.Second)
				if topic := n.c.Image().TopicByName("survives"); topic == nil || topic.ID != id {
					t.Error("the topic is gone")
				}
			})
		})
	}
}

// Damage in the log is found when it is read, and ends the process.
func TestDamagedEntry(t *testing.T) {
	bubble(t, []int32{1}, func(t *testing.T, w *world) {
		n := w.nodes[1]
		n.start()
		w.awaitReady(time.Second)
		if _, err := n.create("t"); err != nil {
			t.Fatal(err)
		}
		index := n.c.Image().Index()
		n.stop()
		n.disk.Damage(index)
		n.start()
		w.within(time.Second, "the process ends", n.ended)
		if f := n.fatal(); f.Reason != ReasonStorage || !strings.Contains(f.Error(), "checksum of entry") {
			t.Errorf("ended with %v (%v)", f, f.Reason)
		}
		n.broker.Wait()
		n.c = nil
	})
}

// Damage that replication meets, while the node leads, ends the process in order;
// another leads, and has what was committed.
func TestDamagedEntryOnTheLeader(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		behind := w.followers(leader)[0]
		behind.crash()
		for k := range 20 {
			if _, err := leader.create(fmt.Sprint("t", k)); err != nil {
				t.Fatal(err)
			}
		}
		w.agree(time.Second)
		damaged := leader.c.Image().Index() - 10
		for _, n := range w.followers(nil) { // their caches of the log are gone
			n.crash()
			n.start()
		}
		leader = w.awaitLeader(2 * time.Second)
		w.within(time.Second, "the log is applied", func() bool { return leader.c.Image().TopicCount() == 20 })
		leader.disk.Damage(damaged)
		behind.start()
		w.within(2*time.Second, "the process ends", leader.ended)
		if f := leader.fatal(); f.Reason != ReasonStorage || !strings.Contains(f.Error(), "checksum of entry") {
			t.Errorf("ended with %v (%v)", f, f.Reason)
		}
		leader.broker.Wait()
		leader.c = nil
		w.awaitLeader(2 * time.Second)
		w.within(3*time.Second, "the follower has all topics", func() bool { return behind.c.Image().TopicCount() == 20 })
	})
}

// Scenario 16: entries at the cap, more of them than one call carries.
func TestEntriesAtTheCap(t *testing.T) {
	long(t) // moves 24 MiB of entries
	trio(t, func(t *testing.T, w *world, leader *node) {
		behind := w.followers(leader)[1]
		w.net.Isolate(hostName(behind.id))
		// 20 entries: more than one message between nodes may carry.
		for k := range 20 {
			create, remove := &clusterv1.CreateTopics{}, &clusterv1.DeleteTopics{}
			for p := range 1450 {
				name := fmt.Sprintf("t-%d-%d-%s", k, p, strings.Repeat("x", 220))
				create.Topics = append(create.Topics, &clusterv1.CreateTopics_Topic{Name: name, NumPartitions: 1, ReplicationFactor: 1})
				remove.Topics = append(remove.Topics, &clusterv1.DeleteTopics_Topic{Name: name})
			}
			for _, cmd := range []*clusterv1.Command{
				{Kind: &clusterv1.Command_CreateTopics{CreateTopics: create}},
				{Kind: &clusterv1.Command_DeleteTopics{DeleteTopics: remove}},
			} {
				a, err := leader.c.Submit(context.Background(), cmd)
				if err != nil || a.GetCode() != 0 {
					t.Fatalf("entry %d: %v, code %d: %s", k, err, a.GetCode(), a.GetMessage())
				}
			}
		}
		if _, err := leader.create("last"); err != nil {
			t.Fatal(err)
		}
		var bytes int64
		for i := uint64(1); i <= leader.c.member.current.Load().raft.LastIndex(); i++ {
			var l raft.Log
			if err := leader.c.member.stores.Log.GetLog(i, &l); err == nil {
				bytes += int64(len(l.Data))
			}
		}
		t.Logf("%d bytes of entries", bytes)
		if bytes < 16<<20 {
			t.Errorf("the entries are %d bytes, too few for what this test is to show", bytes)
		}
		w.net.Heal()
		w.within(5*time.Second, "the follower catches up", func() bool { return behind.c.Image().TopicByName("last") != nil })
		w.agree(time.Second)
	})
}

// What does not fit one entry is refused, and the controller goes on.
func TestCommandBeyondTheCap(t *testing.T) {
	long(t)
	bubble(t, []int32{1}, func(t *testing.T, w *world) {
		n := w.nodes[1]
		n.adjust = func(o *Options) { o.Limits.EntryBytes = 4096 }
		n.start()
		w.awaitReady(time.Second)
		cmd := createTopic("large")
		cmd.GetCreateTopics().Topics[0].NumPartitions = 1000
		_, err := topicID(n.c.Submit(context.Background(), cmd))
		var refusal *metadata.Error
		if !errors.As(err, &refusal) || refusal.Code != metadata.CodePolicyViolation {
			t.Errorf("%v, want POLICY_VIOLATION", err)
		}
		if _, err := n.create("small"); err != nil {
			t.Error(err)
		}
	})
}
