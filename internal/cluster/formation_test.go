package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftstore"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

func permutations(ids []int32) (all [][]int32) {
	if len(ids) <= 1 {
		return [][]int32{slices.Clone(ids)}
	}
	for i := range ids {
		rest := append(slices.Clone(ids[:i]), ids[i+1:]...)
		for _, p := range permutations(rest) {
			all = append(all, append([]int32{ids[i]}, p...))
		}
	}
	return all
}

// checkFounded holds what every founding must end in.
func (w *world) checkFounded() {
	w.t.Helper()
	w.awaitReady(3 * time.Second)
	w.agree(time.Second)
	leader := w.leader()
	if _, term := leader.c.Leader(); term != 1 {
		w.t.Errorf("the first leader has term %d, want 1", term)
	}
	for _, n := range w.nodes {
		if id := n.c.ClusterID(); id == "" || id != leader.c.ClusterID() || n.c.Image().ClusterID() != id {
			w.t.Errorf("node %d: cluster id %q, the leader has %q, the image %q", n.id, id, leader.c.ClusterID(), n.c.Image().ClusterID())
		}
		if n.c.Image().Index() < 2 || len(n.c.Image().Founders()) != len(w.nodes) {
			w.t.Errorf("node %d: image of index %d with founders %v", n.id, n.c.Image().Index(), n.c.Image().Founders())
		}
	}
}

// wantInOrder fails unless the texts stand in list in this order, others between them.
func wantInOrder(t *testing.T, list []string, texts ...string) {
	t.Helper()
	at := 0
	for _, want := range texts {
		i := slices.IndexFunc(list[at:], func(s string) bool { return strings.HasPrefix(s, want) })
		if i < 0 {
			t.Fatalf("no %q after the first %d lines of:\n%s", want, at, strings.Join(list, "\n"))
		}
		at += i + 1
	}
}

func TestFoundersStartInAnyOrder(t *testing.T) {
	gaps := []time.Duration{0, 7 * time.Millisecond, 3100 * time.Millisecond}
	orders := permutations([]int32{1, 2, 3})
	if testing.Short() {
		gaps, orders = gaps[1:2], orders[3:4]
	}
	for _, order := range orders {
		for _, gap := range gaps {
			t.Run(fmt.Sprint(order, gap), func(t *testing.T) {
				bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
					for _, id := range order {
						time.Sleep(gap)
						w.nodes[id].start()
					}
					took := w.within(3*time.Second, "a controller", func() bool { return w.leader() != nil })
					if took > 200*time.Millisecond {
						t.Errorf("a controller %v after the last founder: the founding campaign takes tens of milliseconds", took)
					}
					w.checkFounded()
					leader := w.leader()
					wantInOrder(t, w.log.of(leader.id), "Raft gRPC server started on ", "became candidate at term 1", "sent RequestVote",
						"received RequestVoteResponse", "became leader at term 1", "Elected as Raft leader")
					for _, n := range w.followers(leader) {
						wantInOrder(t, w.log.of(n.id), "Raft gRPC server started on ", "received RequestVote", "sent RequestVoteResponse")
					}
				})
			})
		}
	}
}

func TestWaitingFounderSaysForWhomAndWhy(t *testing.T) {
	long(t)
	bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
		w.nodes[1].startRaft()
		w.nodes[3].startRaft()
		time.Sleep(11 * time.Second)
		if got := w.log.count("Waiting for the other founders"); got != 4 {
			t.Errorf("%d lines in 11 s on two nodes, want 4", got)
		}
		log := w.log.String()
		if !strings.Contains(log, "waiting_for=node 2 (") || !strings.Contains(log, "refused") || strings.Contains(log, "waiting_for=node 1") {
			t.Errorf("the lines do not say that node 2 is missing because its port is closed:\n%s", log)
		}
		if w.nodes[1].c.ClusterID() != "" {
			t.Error("two of three founders have founded")
		}
		w.nodes[2].start()
		w.awaitLeader(time.Second)
	})
}

func TestClustersOfOtherSizes(t *testing.T) {
	for _, tc := range []struct {
		nodes, voters int
	}{{1, 1}, {2, 2}, {4, 3}, {7, 5}} {
		t.Run(fmt.Sprint(tc.nodes), func(t *testing.T) {
			if tc.nodes > 2 {
				long(t)
			}
			var ids []int32
			for id := range int32(tc.nodes) {
				ids = append(ids, id+1)
			}
			bubble(t, ids, func(t *testing.T, w *world) {
				w.startAll()
				w.awaitLeader(time.Second)
				w.checkFounded()
				q, err := w.nodes[ids[len(ids)-1]].c.Quorum(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if len(q.Voters) != tc.voters || len(q.Observers) != tc.nodes-tc.voters {
					t.Errorf("%d voters and %d observers, want %d voters", len(q.Voters), len(q.Observers), tc.voters)
				}
			})
		})
	}
}

func TestSingleVoterLeadsAtOnceAtEveryStart(t *testing.T) {
	bubble(t, []int32{1}, func(t *testing.T, w *world) {
		n := w.nodes[1]
		for start := range 3 {
			n.start()
			took := w.within(time.Second, "ready", func() bool { return n.c.Ready() })
			if took > 100*time.Millisecond {
				t.Errorf("start %d: ready after %v", start, took)
			}
			if _, err := n.create(fmt.Sprint("t", start)); err != nil {
				t.Error(err)
			}
			if start == 0 {
				n.stop()
			} else {
				n.crash()
			}
		}
	})
}

// Scenario 1: a founder dies at each step of its founding, and comes back.
func TestFounderDiesAtEachStepOfFounding(t *testing.T) {
	died := errors.New("the process has died")
	for _, step := range []string{"entry", "after entry", "identity", "after identity", "first vote"} {
		for _, who := range []int32{1, 3} {
			if testing.Short() && (step != "after entry" || who != 1) {
				continue
			}
			t.Run(fmt.Sprint(step, " node ", who), func(t *testing.T) {
				bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
					n := w.nodes[who]
					reached := make(chan struct{})
					fire := func() { close(reached) }
					n.adjust = func(o *Options) {
						if n.starts > 1 {
							return
						}
						save := o.SaveIdentity
						o.SaveIdentity = func(id Identity) error {
							switch step {
							case "after entry", "identity":
								fire()
								return died
							case "after identity":
								err := save(id)
								fire()
								return errors.Join(err, died)
							}
							return save(id)
						}
					}
					n.disk.SetHook(func(x raftstore.Write) error {
						if n.starts > 1 {
							return nil
						}
						if step == "entry" && x.Operation == "store" || step == "first vote" && x.Operation == "set" {
							fire()
							return died
						}
						return nil
					})
					w.startAll()
					w.within(time.Second, "the step", func() bool {
						select {
						case <-reached:
							return true
						default:
							return false
						}
					})
					n.crash()
					n.disk.SetHook(nil)
					time.Sleep(2 * time.Second)
					n.start()
					w.awaitReady(3 * time.Second)
					w.agree(time.Second)
					for _, m := range w.nodes {
						if m.c.ClusterID() != w.nodes[2].c.ClusterID() {
							t.Errorf("node %d is in the cluster %s, node 2 in %s", m.id, m.c.ClusterID(), w.nodes[2].c.ClusterID())
						}
					}
				})
			})
		}
	}
}

// Scenario 2: nobody founds, and the message names the difference.
func TestFoundersThatDisagree(t *testing.T) {
	bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
		w.nodes[3].peers = []int32{1, 2, 4}
		for _, id := range []int32{1, 2, 3} {
			w.nodes[id].startRaft()
		}
		for _, id := range []int32{1, 3} {
			n := w.nodes[id]
			w.within(time.Second, "the process ends", n.ended)
			f := n.fatal()
			if f.Reason != ReasonFounders || !strings.Contains(f.Error(), "only node 3 counts 4") {
				t.Errorf("node %d: %v (%v)", id, f, f.Reason)
			}
		}
		if w.nodes[2].identity.ClusterID != "" || w.nodes[1].identity.ClusterID != "" {
			t.Error("somebody has founded")
		}
	})
}

// Scenario 3: what node 1 and node 2 have acknowledged survives a wiped node 2
// that comes back beside a node 3 that lacks it.
func TestWipedFounderHasNoVote(t *testing.T) {
	long(t)
	bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
		w.startAll()
		leader := w.awaitLeader(time.Second)
		w.awaitReady(3 * time.Second)
		w.agree(time.Second)
		wiped, behind := w.followers(leader)[0], w.followers(leader)[1]
		w.net.Isolate(hostName(behind.id))
		if _, err := leader.create("acknowledged"); err != nil {
			t.Fatal(err)
		}
		leader.crash()
		wiped.crash()
		w.net.Heal()
		again := w.newNode(wiped.id, w.ids())
		again.directory[12], again.starts = 0xff, 10
		w.nodes[wiped.id] = again
		again.startRaft()
		w.within(2*time.Second, "the wiped founder ends", again.ended)
		if f := again.fatal(); f.Reason != ReasonStranger || !strings.Contains(f.Error(), "mount") {
			t.Errorf("the wiped founder ended with %v (%v)", f, f.Reason)
		}
		time.Sleep(5 * time.Second)
		if w.leader() != nil {
			t.Error("a node without the acknowledged entry leads, by the vote of a wiped disk")
		}
		again.c = nil
		leader.start()
		w.awaitLeader(2 * time.Second)
		w.within(2*time.Second, "the acknowledged topic on the node that lacked it", func() bool {
			return behind.c.Image().TopicByName("acknowledged") != nil
		})
	})
}

func TestStrangersAndMixedDirectories(t *testing.T) {
	long(t)
	bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
		w.startAll()
		w.awaitReady(3 * time.Second)

		stranger := w.newNode(4, []int32{1, 2, 3, 4})
		w.nodes[4] = stranger
		stranger.startRaft()
		w.within(time.Second, "the stranger ends", stranger.ended)
		if f := stranger.fatal(); f.Reason != ReasonStranger || !strings.Contains(f.Error(), "node 4 is no founder") {
			t.Errorf("the stranger ended with %v (%v)", f, f.Reason)
		}
		stranger.c = nil
		delete(w.nodes, 4)

		n := w.nodes[2]
		n.stop()
		disk := n.disk
		n.disk = raftstore.NewMemory()
		n.startRaft()
		w.within(time.Second, "a node without its log ends", n.ended)
		if f := n.fatal(); f.Reason != ReasonStorage || !strings.Contains(f.Error(), "is gone") {
			t.Errorf("the node without its log ended with %v (%v)", f, f.Reason)
		}
		n.disk = disk

		directory := n.directory
		n.directory[11] = 9
		n.startRaft()
		w.within(time.Second, "a node on another directory ends", n.ended)
		if f := n.fatal(); f.Reason != ReasonStranger || !strings.Contains(f.Error(), "copied here") {
			t.Errorf("the node on another directory ended with %v (%v)", f, f.Reason)
		}
		n.directory = directory

		identity := n.identity
		n.identity = Identity{}
		n.disk = raftstore.NewMemory()
		log, err := n.disk.Open(raftstore.Options{FS: n.fs, Dir: "other"})
		if err == nil {
			err = log.Log.StoreLog(&raft.Log{Index: 1, Term: 3, Type: raft.LogNoop})
		}
		if err != nil || log.Close() != nil {
			t.Fatal(err)
		}
		n.startRaft()
		w.within(time.Second, "a node with a foreign log ends", n.ended)
		if f := n.fatal(); f.Reason != ReasonStranger || !strings.Contains(f.Error(), "founding entry") {
			t.Errorf("the node with a foreign log ended with %v (%v)", f, f.Reason)
		}
		n.identity, n.disk = identity, disk
		n.start()
		w.awaitReady(3 * time.Second)
	})
}

func TestLaterStartsNeedAMajority(t *testing.T) {
	long(t)
	bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
		w.startAll()
		w.awaitReady(3 * time.Second)
		if _, err := w.nodes[2].create("kept"); err != nil {
			t.Fatal(err)
		}
		for _, id := range w.ids() {
			w.nodes[id].crash()
		}
		w.nodes[3].start()
		time.Sleep(2 * time.Second)
		if w.leader() != nil {
			t.Fatal("one of three leads")
		}
		w.nodes[1].start()
		w.within(3*time.Second, "two of three serve", func() bool { return w.nodes[1].c.Ready() && w.nodes[3].c.Ready() })
		if w.nodes[3].c.Image().TopicByName("kept") == nil {
			t.Error("the topic is gone after a restart")
		}
		w.nodes[2].start()
		w.awaitReady(3 * time.Second)
		w.agree(time.Second)
	})
}

func TestVerdictOfCouncil(t *testing.T) {
	dir := func(n byte) []byte { return append(make([]byte, 15), n) }
	hello := func(id int32, d byte, founders ...int32) *clusterv1.Hello {
		return &clusterv1.Hello{NodeId: id, DirectoryId: dir(d), Founders: founders, State: clusterv1.NodeState_NODE_STATE_PRISTINE}
	}
	member := func(id int32, founders ...metadata.Founder) *clusterv1.Hello {
		return &clusterv1.Hello{
			NodeId: id, State: clusterv1.NodeState_NODE_STATE_MEMBER,
			ClusterId: clusterID(founders), FoundingSet: founderMessages(founders),
		}
	}
	self := metadata.Founder{Node: 2, Directory: [16]byte{15: 2}}
	one, three := metadata.Founder{Node: 1, Directory: [16]byte{15: 1}}, metadata.Founder{Node: 3, Directory: [16]byte{15: 3}}
	lying := member(1, one, self, three)
	lying.ClusterId = "another"
	for _, tc := range []struct {
		name   string
		heard  []*clusterv1.Hello
		found  int
		reason Reason
		text   string
	}{
		{name: "alone"},
		{name: "one missing", heard: []*clusterv1.Hello{hello(1, 1, 1, 2, 3)}},
		{name: "all", heard: []*clusterv1.Hello{hello(1, 1, 1, 2, 3), hello(3, 3, 1, 2, 3)}, found: 3},
		{name: "another set", heard: []*clusterv1.Hello{hello(1, 1, 1, 2)}, reason: ReasonFounders, text: "only node 2 counts 3"},
		{name: "copied directory", heard: []*clusterv1.Hello{hello(1, 2, 1, 2, 3)}, reason: ReasonFounders, text: "same directory id"},
		{name: "two peers with a copy", heard: []*clusterv1.Hello{hello(1, 1, 1, 2, 3), hello(3, 1, 1, 2, 3)}, reason: ReasonFounders, text: "nodes 1 and 3"},
		{name: "one was quicker", heard: []*clusterv1.Hello{member(1, one, self, three)}, found: 3},
		{name: "members without us", heard: []*clusterv1.Hello{member(1, one, three)}, reason: ReasonStranger, text: "no founder"},
		{name: "members with another directory", heard: []*clusterv1.Hello{member(1, one, metadata.Founder{Node: 2, Directory: [16]byte{15: 9}}, three)}, reason: ReasonStranger, text: "mount"},
		{name: "an id that does not follow", heard: []*clusterv1.Hello{lying}, reason: ReasonFounders, text: "its founders make"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := &council{node: 2, directory: self.Directory, founders: []int32{1, 2, 3}, heard: map[int32]*clusterv1.Hello{}}
			for _, h := range tc.heard {
				k.heard[h.NodeId] = h
			}
			founders, err := k.verdict()
			var f *FatalError
			switch {
			case tc.reason == 0 && err != nil:
				t.Fatal(err)
			case tc.reason != 0 && (!errors.As(err, &f) || f.Reason != tc.reason || !strings.Contains(err.Error(), tc.text)):
				t.Fatalf("error %v, want %v with %q", err, tc.reason, tc.text)
			case len(founders) != tc.found:
				t.Fatalf("%d founders, want %d", len(founders), tc.found)
			}
		})
	}
}
