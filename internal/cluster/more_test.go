package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

func TestQuorumFromEveryNode(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		for _, n := range w.nodes {
			if _, err := leader.create(fmt.Sprint("t", n.id)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(250 * time.Millisecond)
			q, err := n.c.Quorum(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			_, term := leader.c.Leader()
			if q.Leader != leader.id || q.Term != term || q.HighWatermark == 0 || len(q.Voters) != 3 || len(q.Observers) != 0 {
				t.Fatalf("node %d: %+v", n.id, q)
			}
			now := time.Now().UnixMilli()
			for _, v := range q.Voters {
				if v.Directory != w.nodes[v.Node].directory || v.LogEnd < int64(leader.c.Image().Index()) ||
					now-v.LastFetch > 110 || now-v.LastCaughtUp > 210 || v.Address != hostName(v.Node)+":5001" {
					t.Errorf("node %d: voter %+v at image %d, now %d", n.id, v, leader.c.Image().Index(), now)
				}
			}
		}
		behind := w.followers(leader)[0]
		w.net.Isolate(hostName(behind.id))
		if _, err := leader.create("while-behind"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		q, err := leader.c.Quorum(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range q.Voters {
			if late := time.Now().UnixMilli() - v.LastCaughtUp; (v.Node == behind.id) != (late > 1500) {
				t.Errorf("voter %d was caught up %d ms ago", v.Node, late)
			}
		}
		w.net.Heal()
	})
}

// A node that moved to another address is found: it introduces itself, and its
// registration keeps the address for those that were not there.
func TestAddressesChange(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		n := w.followers(leader)[0]
		absent := w.followers(leader)[1]
		n.stop()
		absent.stop()
		n.adjust = func(o *Options) { o.RaftListen, o.RaftAddr = "0.0.0.0:6001", hostName(n.id)+":6001" }
		n.start()
		w.within(3*time.Second, "the moved node is ready", func() bool { return n.c.Ready() })
		absent.start() // its --peers name the old address
		w.awaitReady(3 * time.Second)
		w.agree(time.Second)
		if _, err := absent.create("t"); err != nil {
			t.Fatal(err)
		}
		for _, m := range w.nodes {
			if m == n {
				continue
			}
			if got, err := m.c.book.Addresses(n.id); err != nil || got[0] != hostName(n.id)+":6001" {
				t.Errorf("node %d looks for node %d at %v, %v", m.id, n.id, got, err)
			}
		}
	})
}

// A snapshot that conflicts with the log has raft restarted in place without the
// conflicting entries; what was committed comes back from the leader.
func TestRestartInPlaceAfterAConflict(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		for k := range 10 {
			if _, err := leader.create(fmt.Sprint("t", k)); err != nil {
				t.Fatal(err)
			}
		}
		w.agree(time.Second)
		n := w.followers(leader)[0]
		before := n.c.member.current.Load()
		n.c.member.conflict(before.raft.LastIndex() - 4)
		w.within(time.Second, "another raft instance", func() bool {
			now := n.c.member.current.Load()
			return now != nil && now != before
		})
		if _, err := n.create("after"); err != nil {
			t.Fatal(err)
		}
		w.awaitReady(time.Second)
		w.agree(time.Second)
		if got := n.c.Image().TopicCount(); got != 11 {
			t.Errorf("%d topics, want 11", got)
		}
	})
}

// A controller's queue that is full refuses what clients ask, and nothing else.
func TestOverloadedController(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		c := leader.c
		full := make([]*job, queueBounds[classClient])
		c.queue.mu.Lock()
		for n := range full {
			full[n] = &job{cmd: createTopic(fmt.Sprint("queued-", n)), class: classClient, done: make(chan struct{})}
		}
		c.queue.waiting[classClient] = append(c.queue.waiting[classClient], full...)
		c.queue.mu.Unlock()
		a, err := w.followers(leader)[0].c.Submit(context.Background(), createTopic("refused"))
		if err != nil || int16(a.GetCode()) != metadata.CodeRequestTimedOut {
			t.Errorf("%v, %v, want a refusal with REQUEST_TIMED_OUT", a, err)
		}
		a, err = leader.c.Submit(context.Background(), &clusterv1.Command{Kind: &clusterv1.Command_AllocateProducerIds{
			AllocateProducerIds: &clusterv1.AllocateProducerIds{BrokerId: leader.id, BrokerEpoch: leader.c.agent.epoch.Load()},
		}})
		if err != nil || a.GetAllocateProducerIds().GetCount() == 0 {
			t.Errorf("producer ids: %v, %v", a, err)
		}
		for _, j := range full {
			<-j.done
		}
	})
}

// Only what users and brokers may ask for comes over the network.
func TestInternalCommandsDoNotComeOverTheNetwork(t *testing.T) {
	long(t)
	trio(t, func(t *testing.T, w *world, leader *node) {
		n := w.followers(leader)[0]
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if a, err := n.c.Submit(ctx, fence(leader.id)); err == nil {
			t.Errorf("a node fenced another: %v", a)
		}
		if _, fenced := n.shows(leader.id); fenced {
			t.Error("the broker is fenced")
		}
	})
}

// A follower whose command the leader does not take asks again until its caller gives up.
func TestFollowersForwardWhatUsersAskFor(t *testing.T) {
	trio(t, func(t *testing.T, w *world, leader *node) {
		n := w.followers(leader)[0]
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		for _, cmd := range []*clusterv1.Command{
			createTopic("forwarded"),
			{Kind: &clusterv1.Command_CreatePartitions{CreatePartitions: &clusterv1.CreatePartitions{}}},
			{Kind: &clusterv1.Command_AlterConfigs{AlterConfigs: &clusterv1.AlterConfigs{}}},
			{Kind: &clusterv1.Command_DeleteTopics{DeleteTopics: &clusterv1.DeleteTopics{}}},
		} {
			if a, err := n.c.Submit(ctx, cmd); err != nil {
				t.Errorf("%T: %v, %v", cmd.GetKind(), a, err)
			}
		}
	})
}

func TestChecks(t *testing.T) {
	long(t)
	bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
		bad := func(n *node) (names []string) {
			for _, k := range n.c.Checks() {
				if k.Err != nil {
					names = append(names, k.Name)
				}
			}
			return names
		}
		w.nodes[1].start()
		time.Sleep(100 * time.Millisecond)
		if got := fmt.Sprint(bad(w.nodes[1])); got != "[cluster-formed raft-leader metadata-image broker-unfenced]" {
			t.Errorf("a founder that waits: %s", got)
		}
		w.nodes[2].start()
		w.nodes[3].start()
		w.awaitReady(3 * time.Second)
		for _, n := range w.nodes {
			if err := n.c.AwaitReady(context.Background()); err != nil {
				t.Error(err)
			}
			if got := bad(n); len(got) > 0 {
				t.Errorf("node %d is ready, and not well: %v", n.id, got)
			}
		}
		n := w.followers(w.leader())[0]
		w.net.Isolate(hostName(n.id))
		time.Sleep(2 * time.Second)
		if got := fmt.Sprint(bad(n)); got != "[raft-leader]" {
			t.Errorf("an isolated node: %s", got)
		}
		w.net.Heal()
		w.within(2*time.Second, "all is well again", func() bool { return len(bad(n)) == 0 })
	})
}

// standalone: one voter, no port for other nodes.
func TestSingleNodeWithoutARaftPort(t *testing.T) {
	bubble(t, []int32{1}, func(t *testing.T, w *world) {
		n := w.nodes[1]
		n.adjust = func(o *Options) { o.RaftListen, o.RaftAddr = "", "" }
		for range 2 {
			n.start()
			if took := w.within(time.Second, "ready", func() bool { return n.c.Ready() }); took > 50*time.Millisecond {
				t.Errorf("ready after %v", took)
			}
			if n.c.Addr() != nil {
				t.Errorf("a port is bound: %v", n.c.Addr())
			}
			n.stop()
		}
	})
}

func TestControllerTellsWhatBecomesOfBrokers(t *testing.T) {
	bubble(t, []int32{1, 2}, func(t *testing.T, w *world) {
		w.startAll()
		w.awaitReady(3 * time.Second)
		for _, text := range []string{"Broker registered", "Broker unfenced"} {
			if n := w.log.count(text); n != 2 {
				t.Errorf("%d lines %q, want one for each broker, by the controller", n, text)
			}
		}
	})
}
