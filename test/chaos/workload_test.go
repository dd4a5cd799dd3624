// Package chaos breaks clusters of the built binary in ways that need a real
// machine: power loss on a file system of its own, kill -9 of everything.
//
//	make power     (root)
package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/test/proctest"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// place is where a record was acknowledged.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// workload produces unique values and commits offsets, and remembers what was
// acknowledged. What was not acknowledged may or may not be there.
type workload struct {
	run    string
	topics []string

	mu      sync.Mutex
	acked   map[place]string
	commits map[string]map[int32]int64 // topic -> partition -> highest acknowledged commit
	created map[string]kadm.TopicID

	serial atomic.Int64
}

func newWorkload(run string) *workload {
	return &workload{run: run, acked: map[place]string{}, commits: map[string]map[int32]int64{}, created: map[string]kadm.TopicID{}}
}

func (w *workload) group() string { return "group-" + w.run }

// load runs until ctx ends: producers with acks=all and acks=1, a committer, a creator of topics.
func (w *workload) load(ctx context.Context, t *testing.T, bootstrap []string) {
	k := client(t, bootstrap)
	defer k.Close()
	adm := kadm.NewClient(k)
	for i := range 2 {
		topic := fmt.Sprintf("data-%s-%d-%d", w.run, i, w.serial.Add(1))
		for {
			r, err := adm.CreateTopic(ctx, 6, 1, nil, topic)
			if err == nil {
				w.mu.Lock()
				w.created[topic] = r.ID
				w.mu.Unlock()
				break
			}
			if ctx.Err() != nil {
				return
			}
		}
		w.topics = append(w.topics, topic)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 4 {
		wg.Go(func() { w.produce(ctx, t, bootstrap, i) })
	}
	wg.Go(func() { w.commit(ctx, adm) })
	wg.Go(func() { w.create(ctx, adm) })
}

func (w *workload) produce(ctx context.Context, t *testing.T, bootstrap []string, i int) {
	opts := []kgo.Opt{}
	if i == 3 {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	k := client(t, bootstrap, opts...)
	defer k.Close()
	for ctx.Err() == nil {
		value := fmt.Sprintf("%s|%d|%d|", w.run, i, w.serial.Add(1))
		filler := make([]byte, rand.IntN(2000))
		for j := range filler {
			filler[j] = 'a' + value[j%len(value)]%26
		}
		value += string(filler)
		topic := w.topics[rand.IntN(len(w.topics))]
		k.Produce(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}, func(r *kgo.Record, err error) {
			if err == nil {
				w.mu.Lock()
				w.acked[place{r.Topic, r.Partition, r.Offset}] = value
				w.mu.Unlock()
			}
		})
	}
}

func (w *workload) commit(ctx context.Context, adm *kadm.Client) {
	for at := int64(1); ctx.Err() == nil; at++ {
		topic, partition := w.topics[int(at)%len(w.topics)], int32(at%6)
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: at, LeaderEpoch: -1})
		resp, err := adm.CommitOffsets(ctx, w.group(), offsets)
		if err == nil && resp.Error() == nil {
			w.mu.Lock()
			if w.commits[topic] == nil {
				w.commits[topic] = map[int32]int64{}
			}
			w.commits[topic][partition] = at
			w.mu.Unlock()
		}
	}
}

func (w *workload) create(ctx context.Context, adm *kadm.Client) {
	for ctx.Err() == nil {
		name := fmt.Sprintf("meta-%s-%d", w.run, w.serial.Add(1))
		r, err := adm.CreateTopic(ctx, 1, 1, nil, name)
		if err == nil {
			w.mu.Lock()
			w.created[name] = r.ID
			w.mu.Unlock()
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// check reads everything back from the restarted cluster and compares by content.
func (w *workload) check(ctx context.Context, t *testing.T, cl *proctest.Cluster) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	k := client(t, cl.Bootstrap(), kgo.ConsumeTopics(w.topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer k.Close()
	adm := kadm.NewClient(k)

	ends, err := adm.ListEndOffsets(ctx, w.topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatalf("end offsets: %v", err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	found := map[place]string{}
	for int64(len(found)) < left {
		fs := k.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("read back %d of %d records: %v", len(found), left, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			p := place{r.Topic, r.Partition, r.Offset}
			if old, ok := found[p]; ok {
				t.Errorf("%v was read twice: %.60q, %.60q", p, old, r.Value)
			}
			found[p] = string(r.Value)
		})
	}
	lost := 0
	for p, value := range w.acked {
		if got, ok := found[p]; !ok || got != value {
			lost++
			if lost < 10 {
				t.Errorf("acknowledged at %v: %.60q; there now: %.60q (end %v)", p, value, got, ends[p.topic][p.partition].Offset)
			}
		}
	}
	offsets, err := adm.FetchOffsets(ctx, w.group())
	if err != nil && len(w.commits) > 0 {
		t.Fatalf("offsets of the group: %v", err)
	}
	for topic, parts := range w.commits {
		for p, at := range parts {
			if got, ok := offsets.Lookup(topic, p); !ok || got.At < at {
				t.Errorf("commit %d of %s-%d was acknowledged; there now: %d", at, topic, p, got.At)
			}
		}
	}
	for _, n := range cl.Nodes {
		one := client(t, []string{n.Addr()})
		topics, err := kadm.NewClient(one).ListTopics(ctx)
		one.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Sorted(maps.Keys(w.created)) {
			if got := topics[name]; got.ID != w.created[name] {
				t.Errorf("node %d: topic %s was acknowledged with id %v; there now: %v", n.ID, name, w.created[name], got.ID)
			}
		}
	}
	t.Logf("%d acknowledged records of %d found, %d lost; %d topics; %d topics with commits", len(w.acked), len(found), lost, len(w.created), len(w.commits))
	if len(w.acked) == 0 || len(w.commits) == 0 {
		t.Error("nothing was acknowledged: this round shows nothing")
	}
}

func client(t *testing.T, bootstrap []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	k, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap...), kgo.ProducerLinger(0)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
