package cluster

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/vnet"
)

// Scenario 18: a follower that lies behind the log gets a snapshot, over a link
// that breaks again and again, while writes go on. Its image never goes back
// (recorder checks that), and in the end it is everyone's.
func TestSnapshotInstallOverABrokenLink(t *testing.T) {
	long(t)
	bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
		for _, n := range w.nodes {
			n.adjust = func(o *Options) {
				o.Limits.SnapshotEntries, o.Limits.TrailingEntries = 20, 5
				o.Timing.SnapshotInterval = 100 * time.Millisecond
			}
		}
		w.startAll()
		w.awaitReady(3 * time.Second)
		leader := w.leader()
		behind := w.followers(leader)[1]
		topics := 0
		make := func(n int) {
			var wg sync.WaitGroup
			for range n {
				topics++
				name := fmt.Sprint("topic-", topics)
				wg.Go(func() {
					if _, err := leader.create(name); err != nil {
						t.Error(err)
					}
				})
				if topics%4 == 0 {
					wg.Wait()
				}
			}
			wg.Wait()
		}
		make(40)
		for round := range 6 {
			w.net.Isolate(hostName(behind.id))
			make(100)
			w.within(2*time.Second, "the leader's log to be cut", func() bool {
				first, err := leader.c.member.stores.Log.FirstIndex()
				return err == nil && first > behind.c.Image().Index()+1
			})
			w.net.Heal()
			for cut := range 8 {
				time.Sleep(time.Duration(1+cut*round) * time.Millisecond)
				w.net.Between(hostName(leader.id), hostName(behind.id), vnet.Reset)
				time.Sleep(time.Millisecond)
				w.net.Heal()
				make(1)
			}
			w.within(3*time.Second, "the follower catches up", func() bool { return behind.c.Image().TopicCount() == topics })
			leader = w.awaitLeader(time.Second)
			if leader == behind {
				behind = w.followers(leader)[0]
			}
		}
		if w.log.count("Installed remote snapshot") == 0 {
			t.Error("no snapshot was installed: the test shows nothing")
		}
		w.awaitReady(3 * time.Second)
		w.agree(3 * time.Second)
		// From snapshots and the rest of the log, the same image again.
		for _, id := range w.ids() {
			w.nodes[id].crash()
			w.nodes[id].start()
			w.awaitReady(3 * time.Second)
		}
		w.agree(3 * time.Second)
		if n := w.leader().c.Image().TopicCount(); n != topics {
			t.Errorf("%d topics after restarts, want %d", n, topics)
		}
	})
}

// A snapshot is taken when the entries since the last one are many bytes, however few they are.
func TestSnapshotByBytes(t *testing.T) {
	long(t)
	bubble(t, []int32{1}, func(t *testing.T, w *world) {
		n := w.nodes[1]
		n.adjust = func(o *Options) { o.Limits.SnapshotBytes = 64 << 10 }
		n.start()
		w.awaitReady(time.Second)
		for k := range 60 {
			cmd := createTopic(fmt.Sprint("t", k))
			cmd.GetCreateTopics().Topics[0].NumPartitions = 100
			if _, err := topicID(n.c.Submit(t.Context(), cmd)); err != nil {
				t.Fatal(err)
			}
		}
		w.within(time.Second, "a snapshot", func() bool {
			list, err := n.c.member.stores.Snapshots.List()
			return err == nil && len(list) > 0
		})
		w.within(time.Second, "a log that is cut", func() bool {
			first, err := n.c.member.stores.Log.FirstIndex()
			return err == nil && first > 1
		})
		n.crash()
		n.start()
		w.awaitReady(time.Second)
		if got := n.c.Image().TopicCount(); got != 60 {
			t.Errorf("%d topics after a restart from a snapshot, want 60", got)
		}
	})
}
