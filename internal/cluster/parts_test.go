package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

func fence(id int32) *clusterv1.Command {
	return &clusterv1.Command{Kind: &clusterv1.Command_FenceBroker{FenceBroker: &clusterv1.FenceBroker{BrokerId: id}}}
}

func named(cmd *clusterv1.Command, sequence uint64) *clusterv1.Command {
	cmd.RequestId = &clusterv1.RequestId{Node: 1, Incarnation: make([]byte, 16), Sequence: sequence}
	return cmd
}

func TestQueue(t *testing.T) {
	q := newQueue()
	if _, err := q.put(fence(1)); !errors.Is(err, errNotController) {
		t.Fatalf("a closed queue took a command: %v", err)
	}
	q.allow()
	for n := range queueBounds[classClient] {
		if _, err := q.put(createTopic(fmt.Sprint(n))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.put(createTopic("one more")); !errors.Is(err, ErrOverloaded) {
		t.Errorf("beyond the bound: %v, want ErrOverloaded", err)
	}
	if _, err := q.put(fence(1)); err != nil {
		t.Errorf("clients' commands kept an urgent one out: %v", err)
	}
	first := q.pop(classClient)
	if name := first.cmd.GetCreateTopics().Topics[0].Name; name != "0" {
		t.Errorf("the first out is %q", name)
	}
	q.unpop(first)
	if again := q.pop(classClient); again != first {
		t.Error("what was put back is not the first out")
	}
	q.finish(first, nil, nil)
	for j := q.pop(classClient); j != nil; j = q.pop(classClient) {
		q.finish(j, nil, nil)
	}
	a, err := q.put(named(createTopic("named"), 1))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := q.put(named(createTopic("named"), 1)); err != nil || b != a {
		t.Errorf("a retry made a job of its own: %v", err)
	}
	if b, err := q.put(named(fence(3), 2)); err != nil || b == a {
		t.Errorf("another sequence did not: %v", err)
	}
	if q.pop(classClient) != a {
		t.Error("another job came out")
	}
	q.finish(a, &clusterv1.Answer{Index: 7}, nil)
	if <-a.done; a.ans.GetIndex() != 7 {
		t.Error("the answer is not there")
	}
	held := q.pop(classUrgent)
	q.refuse(errNotController)
	if !q.empty() {
		t.Error("a refused queue still holds something")
	}
	q.unpop(held)
	if <-held.done; !errors.Is(held.err, errNotController) {
		t.Errorf("what was put back into a closed queue ended with %v", held.err)
	}
}

func TestSequencesKeepAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSequences()
		ctx := context.Background()
		for n := uint64(1); n <= resultRing; n++ {
			if got, err := s.acquire(ctx); err != nil || got != n {
				t.Fatalf("sequence %d, %v, want %d", got, err, n)
			}
		}
		for n := uint64(2); n <= resultRing; n++ {
			s.release(n) // the oldest is still under way
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if got, err := s.acquire(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("sequence %d, %v: it would push out the answer of the oldest command", got, err)
		}
		go func() {
			time.Sleep(time.Second)
			s.release(1)
		}()
		if got, err := s.acquire(ctx); err != nil || got != resultRing+1 {
			t.Fatalf("sequence %d, %v", got, err)
		}
	})
}

func TestOutcomes(t *testing.T) {
	for _, err := range []error{raft.ErrNotLeader, raft.ErrEnqueueTimeout, raft.ErrLeadershipTransferInProgress} {
		if got := outcome(err); !errors.Is(got, errNotController) || errors.Is(got, errUnknownOutcome) {
			t.Errorf("%v: %v, want: not proposed", err, got)
		}
	}
	for _, err := range []error{raft.ErrLeadershipLost, raft.ErrRaftShutdown, raft.ErrAbortedByRestore, errors.New("failed to store")} {
		if got := outcome(err); !errors.Is(got, errUnknownOutcome) || errors.Is(got, errNotController) {
			t.Errorf("%v: %v, want: not known", err, got)
		}
	}
	if outcome(nil) != nil {
		t.Error("an error out of nothing")
	}
}

func entry(t *testing.T, index, term, decided uint64, recs ...*metadata.Record) *raft.Log {
	t.Helper()
	data, err := metadata.Encode(&metadatav1.Envelope{Term: decided, NowMs: 1, Records: recs})
	if err != nil {
		t.Fatal(err)
	}
	return &raft.Log{Index: index, Term: term, Data: data}
}

func producerIDs(next int64) *metadata.Record {
	return &metadata.Record{Kind: &metadatav1.Record_ProducerIds{ProducerIds: &metadatav1.ProducerIds{Next: next}}}
}

func TestFSMDropsWhatWasDecidedInAnotherTerm(t *testing.T) {
	f := newFSM(newImages(), newMetrics(prometheus.NewRegistry()), func(err error) { t.Error(err) })
	if a := f.Apply(entry(t, 5, 3, 3, producerIDs(10))).(applied); a.err != nil || a.image.Index() != 5 {
		t.Fatalf("%+v", a)
	}
	// Decided in term 3 by a leader that was deposed and elected again.
	a := f.Apply(entry(t, 6, 5, 3, producerIDs(99))).(applied)
	if !errors.Is(a.err, errFenced) || f.image.Load().NextProducerID() != 10 || f.image.Load().Index() != 5 {
		t.Errorf("the entry was applied: %v, next producer id %d", a.err, f.image.Load().NextProducerID())
	}
}

func TestFSMStopsAtWhatItCannotRead(t *testing.T) {
	var fatal error
	f := newFSM(newImages(), newMetrics(prometheus.NewRegistry()), func(err error) { fatal = err })
	f.Apply(entry(t, 5, 3, 3, producerIDs(10)))
	for _, tc := range []struct {
		data   []byte
		reason Reason
	}{{[]byte{0xff, 1}, ReasonStorage}, {[]byte{8, 9}, ReasonRecord}} {
		f.failed, fatal = nil, nil
		f.Apply(&raft.Log{Index: 6, Term: 3, Data: tc.data})
		var e *FatalError
		if !errors.As(fatal, &e) || e.Reason != tc.reason {
			t.Errorf("%x: %v, want %v", tc.data, fatal, tc.reason)
		}
		if f.Apply(entry(t, 7, 3, 3, producerIDs(20))).(applied).err == nil || f.image.Load().NextProducerID() != 10 {
			t.Error("entries after the one that cannot be read were applied")
		}
		if _, err := f.Snapshot(); err == nil {
			t.Error("a snapshot was taken of an image that lacks an entry")
		}
	}
	if err := f.Restore(io.NopCloser(strings.NewReader("no snapshot"))); err == nil || f.image.Load().Index() != 5 {
		t.Errorf("a bad snapshot: %v, and the image has index %d", err, f.image.Load().Index())
	}
}

// What the FSM does when raft goes back to a snapshot and replays: readers see
// nothing of it, and the delta of what they see next is whole.
func TestImagesNeverGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newImages()
		r := &recorder{}
		i.subscribers = append(i.subscribers, r)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { i.run(ctx) })
		defer func() { cancel(); wg.Wait() }()

		topic := func(n byte, name string) *metadata.Record {
			return &metadata.Record{Kind: &metadatav1.Record_Topic{Topic: &metadatav1.Topic{Id: append(make([]byte, 15), 100+n), Name: name}}}
		}
		imgs := []*metadata.Image{metadata.Empty()}
		apply := func(n int) {
			from := imgs[n-1]
			img, d := from.Apply(uint64(n), []*metadata.Record{topic(byte(n), fmt.Sprint("t", n))})
			imgs = append(imgs[:n], img)
			i.publish(from, img, d)
		}
		for n := 1; n <= 5; n++ {
			apply(n)
		}
		synctest.Wait()
		if r.calls != 0 || i.told.Load().Index() != 5 {
			t.Fatalf("%d calls before the release, image %d", r.calls, i.told.Load().Index())
		}
		i.release()
		synctest.Wait()
		if r.calls != 1 || i.shown.Load() != 5 {
			t.Fatalf("%d calls after the release, shown %d", r.calls, i.shown.Load())
		}
		// A snapshot of index 2 is restored, and 3 to 8 are replayed.
		i.publish(imgs[5], imgs[2], nil)
		synctest.Wait()
		for n := 3; n <= 8; n++ {
			apply(n)
			if n == 6 {
				synctest.Wait()
			}
		}
		// A snapshot from ahead, then on from there.
		ahead, _ := imgs[8].Apply(20, []*metadata.Record{topic(20, "t20"), {Kind: &metadatav1.Record_TopicRemoved{TopicRemoved: &metadatav1.TopicRemoved{Id: append(make([]byte, 15), 101)}}}})
		i.publish(imgs[8], ahead, nil)
		next, d := ahead.Apply(21, []*metadata.Record{topic(21, "t21")})
		i.publish(ahead, next, d)
		synctest.Wait()
		r.check(t)
		if r.last.Index() != 21 || r.last.TopicCount() != 9 {
			t.Errorf("the last image has index %d and %d topics", r.last.Index(), r.last.TopicCount())
		}
		if d, ok := i.digestAt(21); !ok || d.sum != next.Digest() {
			t.Error("the digest of the last image is not at hand")
		}
		if _, ok := i.digestAt(15); ok {
			t.Error("a digest of an image that never was")
		}
	})
}

func TestOptions(t *testing.T) {
	good := func() Options {
		return Options{
			NodeID: 1, DirectoryID: [16]byte{1}, Incarnation: [16]byte{1}, Path: "x", FS: nil,
			SaveIdentity: func(Identity) error { return nil },
		}
	}
	for _, tc := range []struct {
		change func(*Options)
		text   string
	}{
		{func(o *Options) { o.NodeID = 0 }, "node id 0"},
		{func(o *Options) { o.DirectoryID = [16]byte{} }, "directory id"},
		{func(*Options) {}, "file system"},
	} {
		o := good()
		tc.change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%v, want %q", err, tc.text)
		}
	}
	bubble(t, []int32{1, 2}, func(t *testing.T, w *world) {
		for _, tc := range []struct {
			change func(*Options)
			text   string
		}{
			{func(o *Options) { o.Peers = append(o.Peers, Peer{ID: 1}) }, "an id of its own"},
			{func(o *Options) { o.RaftListen = "" }, "needs a Raft port"},
			{func(o *Options) { o.Timing.Lease = time.Second }, "lease"},
			{func(o *Options) { o.Timing.Election = time.Millisecond }, "election timeout"},
			{func(o *Options) { o.Timing.Session = time.Millisecond }, "session timeout"},
			{func(o *Options) { o.SaveIdentity = nil }, "SaveIdentity"},
		} {
			o := w.nodes[1].options()
			tc.change(&o)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%v, want %q", err, tc.text)
			}
		}
	})
}

// A broker's epoch is the index of the entry that registers it, which is not
// known while the entry is made: registrations of different brokers share one,
// and what follows waits for the next.
func TestRegistrationsShareAnEntryWithNobodyElse(t *testing.T) {
	register := func(id int32) *clusterv1.Command {
		return &clusterv1.Command{Kind: &clusterv1.Command_RegisterBroker{RegisterBroker: &clusterv1.RegisterBroker{
			Request: &clusterv1.RegisterRequest{NodeId: id},
		}}}
	}
	b := &batch{}
	add := func(cmd *clusterv1.Command) bool {
		if !b.admits(cmd) {
			return false
		}
		b.add(&job{cmd: cmd}, []*metadatav1.Record{producerIDs(1)}, 1, &clusterv1.Answer{})
		return true
	}
	for _, tc := range []struct {
		cmd  *clusterv1.Command
		want bool
	}{
		{fence(1), true}, {register(2), true}, {register(3), true}, {register(2), false}, {fence(2), false}, {createTopic("t"), false},
	} {
		if got := add(tc.cmd); got != tc.want {
			t.Errorf("%v: admitted %v, want %v", tc.cmd, got, tc.want)
		}
	}
}
