// Package history holds the workload that the simulation and the campaigns on the
// built binary share, and its checker: what was acknowledged must be there afterwards, byte for
// byte and at the offset that was told.
package history

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Clients makes a client of the cluster under test; with addrs, of those nodes alone.
type Clients func(addrs []string, opts ...kgo.Opt) *kgo.Client

// place is where a record was acknowledged.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// Workload produces unique values, commits offsets and creates topics, and
// remembers what was acknowledged. What was not may or may not be there.
type Workload struct {
	Run     string // distinguishes values, topics and groups of this run
	Clients Clients
	// Pace is a pause after each operation; 0 for none. In fake time it must not be 0.
	Pace       time.Duration
	Topics     int   // data topics; 0 stands for 2
	Partitions int32 // of each; 0 stands for 6
	// Tails is how many consumers follow all partitions, Members how many read them as a group and commit by hand.
	Tails, Members int

	serial atomic.Int64

	mu      sync.Mutex
	topics  []string
	acked   map[place]string
	commits map[string]map[int32]int64 // topic -> partition -> highest acknowledged commit
	created map[string]kadm.TopicID
	twice   []string // places acknowledged for two records
	cut     bool     // see Cut

	observed *observed
}

func (w *Workload) group() string { return "group-" + w.Run }

// Load runs until ctx ends: producers with acks=all and acks=1, consumers, a committer, and a creator of topics.
func (w *Workload) Load(ctx context.Context) {
	w.acked, w.commits, w.created = map[place]string{}, map[string]map[int32]int64{}, map[string]kadm.TopicID{}
	w.observed = newObserved()
	k := w.Clients(nil)
	defer k.Close()
	adm := kadm.NewClient(k)
	if w.Topics == 0 {
		w.Topics = 2
	}
	if w.Partitions == 0 {
		w.Partitions = 6
	}
	for len(w.topics) < w.Topics && ctx.Err() == nil {
		topic := fmt.Sprintf("data-%s-%d", w.Run, w.serial.Add(1))
		if r, err := adm.CreateTopic(ctx, w.Partitions, 1, nil, topic); err == nil {
			w.told(func() {
				w.created[topic] = r.ID
				w.topics = append(w.topics, topic)
			})
		}
	}
	if ctx.Err() != nil {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 4 {
		wg.Go(func() { w.produce(ctx, i) })
	}
	for i := range w.Tails {
		wg.Go(func() { w.tail(ctx, i) })
	}
	for i := range w.Members {
		wg.Go(func() { w.member(ctx, i) })
	}
	wg.Go(func() { w.commit(ctx, adm) })
	wg.Go(func() { w.create(ctx, adm) })
}

func (w *Workload) produce(ctx context.Context, i int) {
	var opts []kgo.Opt
	if i == 3 {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	k := w.Clients(nil, opts...)
	defer k.Close()
	// The client asks for its producer id while it holds a mutex, and every broker it produces to waits on that
	// mutex: in a synctest bubble the clock would stand still. So nothing is produced before the id is there.
	for ctx.Err() == nil {
		if _, _, err := k.ProducerID(ctx); err == nil {
			break
		}
		w.pause(ctx, 20*time.Millisecond)
	}
	for ctx.Err() == nil {
		value := fmt.Sprintf("%s|%d|%d|", w.Run, i, w.serial.Add(1))
		filler := make([]byte, rand.IntN(2000))
		for j := range filler {
			filler[j] = 'a' + value[j%len(value)]%26
		}
		value += string(filler)
		k.Produce(ctx, &kgo.Record{Topic: w.topics[rand.IntN(len(w.topics))], Value: []byte(value)}, func(r *kgo.Record, err error) {
			if err == nil {
				w.told(func() { w.acknowledged(place{r.Topic, r.Partition, r.Offset}, value) })
			}
		})
		w.pause(ctx, w.Pace)
	}
}

// Cut is the moment at which the power goes: acknowledgements that come later
// are nobody's promise. A machine without power sends none, but the nodes of a
// test run on for a moment, on a disk that is being taken from under them.
func (w *Workload) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
}

// told notes an acknowledgement.
func (w *Workload) told(note func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.cut {
		note()
	}
}

// acknowledged is called by told.
func (w *Workload) acknowledged(at place, value string) {
	if other, ok := w.acked[at]; ok {
		w.twice = append(w.twice, fmt.Sprintf("%v was acknowledged for %.40q and for %.40q", at, other, value))
	}
	w.acked[at] = value
}

func (w *Workload) commit(ctx context.Context, adm *kadm.Client) {
	for at := int64(1); ctx.Err() == nil; at++ {
		topic, partition := w.topics[int(at)%len(w.topics)], int32(at)%w.Partitions
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: at, LeaderEpoch: -1})
		resp, err := adm.CommitOffsets(ctx, w.group(), offsets)
		if err == nil && resp.Error() == nil {
			w.told(func() {
				if w.commits[topic] == nil {
					w.commits[topic] = map[int32]int64{}
				}
				w.commits[topic][partition] = at
			})
		}
		w.pause(ctx, w.Pace)
	}
}

func (w *Workload) create(ctx context.Context, adm *kadm.Client) {
	for ctx.Err() == nil {
		name := fmt.Sprintf("meta-%s-%d", w.Run, w.serial.Add(1))
		r, err := adm.CreateTopic(ctx, 1, 1, nil, name)
		if err == nil {
			w.told(func() { w.created[name] = r.ID })
		}
		w.pause(ctx, max(5*w.Pace, 20*time.Millisecond))
	}
}

func (w *Workload) pause(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Summary is what a check found.
type Summary struct {
	Acked, Found, Lost int      // records acknowledged, read back, acknowledged and not read back
	Seen, Starts       int      // records that consumers saw while it ran; partitions that members of the group began to read
	Commits, Topics    int      // partitions with acknowledged commits; acknowledged topics
	Wrong              []string // what must not be, in words; the first ones of each kind
}

// String is one line.
func (s *Summary) String() string {
	return fmt.Sprintf("%d acknowledged records of %d found, %d lost; %d seen by consumers, %d starts of members; %d commits and %d topics checked", s.Acked, s.Found, s.Lost, s.Seen, s.Starts, s.Commits, s.Topics)
}

const wrongLimit = 20

func (s *Summary) wrong(format string, args ...any) {
	if len(s.Wrong) < wrongLimit {
		s.Wrong = append(s.Wrong, fmt.Sprintf(format, args...))
	}
}

// Check reads everything back from a healed cluster, whose nodes are at addrs.
// An error says that it could not be read: no finding, unless it lasts.
func (w *Workload) Check(ctx context.Context, addrs []string) (*Summary, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &Summary{Acked: len(w.acked), Topics: len(w.created)}
	found, ends, err := w.readBack(ctx, s)
	if err != nil {
		return s, err
	}
	for _, wrong := range w.twice {
		s.wrong("%s", wrong)
	}
	if w.Members > 0 {
		w.finish(ctx, s, ends)
	}
	w.observed.check(s, found, ends)
	for p, value := range w.acked {
		if got, ok := found[p]; !ok || got != value {
			s.Lost++
			s.wrong("acknowledged at %v: %.60q; there now: %.60q", p, value, got)
		}
	}
	if err := w.checkCommits(ctx, s); err != nil {
		return s, err
	}
	return s, w.checkTopics(ctx, s, addrs)
}

func (w *Workload) readBack(ctx context.Context, s *Summary) (map[place]string, map[partition]int64, error) {
	if len(w.topics) == 0 {
		return nil, nil, nil
	}
	k := w.Clients(nil, kgo.ConsumeTopics(w.topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer k.Close()
	adm := kadm.NewClient(k)
	ends, err := adm.ListEndOffsets(ctx, w.topics...)
	// A broker may be fenced for a moment yet, when everything has just started at once.
	for ; err != nil || ends.Error() != nil; ends, err = adm.ListEndOffsets(ctx, w.topics...) {
		if ctx.Err() == nil {
			w.pause(ctx, 50*time.Millisecond)
			continue
		}
		if err == nil {
			err = ends.Error()
		}
		return nil, nil, fmt.Errorf("end offsets: %w", err)
	}
	want := 0
	at := map[partition]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		at[partition{o.Topic, o.Partition}] = o.Offset
		want += int(o.Offset)
	})
	found := map[place]string{}
	values := map[string]place{}
	for len(found) < want {
		fs := k.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return nil, nil, fmt.Errorf("read back %d of %d records: %w", len(found), want, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			p := place{r.Topic, r.Partition, r.Offset}
			if _, ok := found[p]; ok {
				s.wrong("%v was read twice", p)
			}
			found[p] = string(r.Value)
			if other, ok := values[string(r.Value)]; ok && r.ProducerID >= 0 {
				s.wrong("%.60q of an idempotent producer is there twice: %v, %v", r.Value, other, p)
			}
			values[string(r.Value)] = p
		})
	}
	s.Found = len(found)
	return found, at, nil
}

func (w *Workload) checkCommits(ctx context.Context, s *Summary) error {
	if len(w.commits) == 0 {
		return nil
	}
	k := w.Clients(nil)
	defer k.Close()
	offsets, err := kadm.NewClient(k).FetchOffsets(ctx, w.group())
	if err != nil {
		return fmt.Errorf("offsets of group %s: %w", w.group(), err)
	}
	for topic, parts := range w.commits {
		for p, at := range parts {
			s.Commits++
			if got, ok := offsets.Lookup(topic, p); !ok || got.At < at {
				s.wrong("commit %d of %s-%d was acknowledged; there now: %d", at, topic, p, got.At)
			}
		}
	}
	return nil
}

// patience is how long a node of a healed cluster may take to learn of a topic.
const patience = 10 * time.Second

func (w *Workload) checkTopics(ctx context.Context, s *Summary, addrs []string) error {
	for _, addr := range addrs {
		k := w.Clients([]string{addr})
		wrong, err := w.topicsOf(ctx, kadm.NewClient(k))
		for deadline := time.Now().Add(patience); (err != nil || len(wrong) > 0) && time.Now().Before(deadline) && ctx.Err() == nil; {
			w.pause(ctx, 100*time.Millisecond)
			wrong, err = w.topicsOf(ctx, kadm.NewClient(k))
		}
		k.Close()
		if err != nil {
			return fmt.Errorf("topics of %s: %w", addr, err)
		}
		for _, line := range wrong {
			s.wrong("%s: %s", addr, line)
		}
	}
	return nil
}

// topicsOf compares the topics that one node lists with the acknowledged ones.
func (w *Workload) topicsOf(ctx context.Context, adm *kadm.Client) (wrong []string, err error) {
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(w.created)) {
		if got := topics[name]; got.ID != w.created[name] {
			wrong = append(wrong, fmt.Sprintf("topic %s was acknowledged with id %v; there now: %v", name, w.created[name], got.ID))
		}
	}
	return wrong, nil
}
