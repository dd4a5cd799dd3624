package history

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// observed is what consumers have seen while faults went on: whatever a broker has once
// shown to anybody stays, at its offset, with its content.
type observed struct {
	mu        sync.Mutex
	hashes    map[place]uint64
	marks     map[partition]int64 // the highest high watermark that was told
	seed      maphash.Seed
	polls     int
	committed map[partition]int64 // by members of the group: the highest that was acknowledged
	tried     map[partition]int64 // and the highest that was sent
	starts    int                 // partitions that a member began to read
	wrong     []string
}

type partition struct {
	topic string
	index int32
}

func newObserved() *observed {
	return &observed{
		hashes: map[place]uint64{}, marks: map[partition]int64{}, seed: maphash.MakeSeed(),
		committed: map[partition]int64{}, tried: map[partition]int64{},
	}
}

// add notes a finding; o.mu is held.
func (o *observed) add(format string, args ...any) {
	if len(o.wrong) < wrongLimit {
		o.wrong = append(o.wrong, fmt.Sprintf(format, args...))
	}
}

// record compares a record with what any consumer has seen at its place before.
func (o *observed) record(who string, r *kgo.Record) {
	at := place{r.Topic, r.Partition, r.Offset}
	h := maphash.Bytes(o.seed, r.Value)
	o.mu.Lock()
	defer o.mu.Unlock()
	if seen, ok := o.hashes[at]; ok && seen != h {
		o.add("%s: %v holds %.60q, and held something else before", who, at, r.Value)
	}
	o.hashes[at] = h
}

// mark checks that the high watermark that one consumer is told of a partition never falls.
func (o *observed) mark(who string, told map[partition]int64, p partition, hw int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.polls++
	if hw < told[p] {
		o.add("%s: the high watermark of %s-%d fell from %d to %d", who, p.topic, p.index, told[p], hw)
	}
	told[p] = max(told[p], hw)
	o.marks[p] = max(o.marks[p], hw)
}

// tail reads all partitions of the data topics from their start on, at the tail while faults
// go on: without a gap, in order, and nothing that changes afterwards. An offset that is out of range
// or an epoch that was truncated would be loss: then it begins anew, and that is seen as a break of its order.
func (w *Workload) tail(ctx context.Context, i int) {
	who := fmt.Sprintf("consumer %d", i)
	k := w.Clients(nil, kgo.ConsumeTopics(w.topics...), kgo.FetchMaxWait(500*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer k.Close()
	next, told := map[partition]int64{}, map[partition]int64{}
	for ctx.Err() == nil {
		w.follow(who, k.PollFetches(ctx), next, told)
	}
}

// follow checks one poll of a consumer that reads every partition from its start. next
// is where it goes on, told the high watermarks it was told.
func (w *Workload) follow(who string, fs kgo.Fetches, next, told map[partition]int64) {
	o := w.observed
	fs.EachPartition(func(f kgo.FetchTopicPartition) {
		p := partition{f.Topic, f.Partition}
		var loss *kgo.ErrDataLoss
		switch {
		case errors.As(f.Err, &loss), errors.Is(f.Err, kerr.OffsetOutOfRange):
			o.mu.Lock()
			o.add("%s: %s-%d after offset %d: %v", who, p.topic, p.index, next[p]-1, f.Err)
			o.mu.Unlock()
		case f.Err != nil:
			return
		}
		o.mark(who, told, p, f.HighWatermark)
		for _, r := range f.Records {
			o.record(who, r)
			if r.Offset != next[p] {
				o.mu.Lock()
				o.add("%s: %s-%d came with offset %d, expected was %d", who, p.topic, p.index, r.Offset, next[p])
				o.mu.Unlock()
			}
			if r.Offset >= f.HighWatermark {
				o.mu.Lock()
				o.add("%s: %s-%d gave offset %d with a high watermark of %d", who, p.topic, p.index, r.Offset, f.HighWatermark)
				o.mu.Unlock()
			}
			next[p] = r.Offset + 1
		}
	})
}

// members is the group of the members.
func (w *Workload) members() string { return "members-" + w.Run }

// member is one consumer of a group that commits by hand, leaves now and then, and comes back as another.
func (w *Workload) member(ctx context.Context, i int) {
	for life := 0; ctx.Err() == nil; life++ {
		stay, cancel := context.WithTimeout(ctx, time.Duration(2+rand.IntN(10))*time.Second)
		w.memberLife(stay, fmt.Sprintf("member %d.%d", i, life))
		cancel()
	}
}

// memberLife reads what is assigned. A partition is read from its commit on: not before
// what was acknowledged when it was assigned, which would be a commit lost, and not
// behind what anybody has tried to commit, which would be records skipped.
func (w *Workload) memberLife(ctx context.Context, who string) {
	o := w.observed
	var mu sync.Mutex
	floor := map[partition]int64{} // of partitions that were assigned and not read yet
	next, told := map[partition]int64{}, map[partition]int64{}
	k := w.Clients(nil, kgo.ConsumeTopics(w.topics...), kgo.ConsumerGroup(w.members()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.FetchMaxWait(500*time.Millisecond), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(300*time.Millisecond),
		kgo.RebalanceTimeout(5*time.Second), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
			mu.Lock()
			defer mu.Unlock()
			o.mu.Lock()
			defer o.mu.Unlock()
			for topic, indexes := range assigned {
				for _, index := range indexes {
					floor[partition{topic, index}] = o.committed[partition{topic, index}]
				}
			}
		}))
	defer k.CloseAllowingRebalance()
	for ctx.Err() == nil {
		// From here to AllowRebalance the assignment stands still, or the group has thrown the member out and refuses its commits.
		fs := k.PollFetches(ctx)
		heads := map[partition]*kgo.Record{}
		mu.Lock()
		fs.EachPartition(func(f kgo.FetchTopicPartition) {
			if f.Err == nil {
				o.mark(who, told, partition{f.Topic, f.Partition}, f.HighWatermark)
			}
			for _, r := range f.Records {
				o.record(who, r)
				p := partition{r.Topic, r.Partition}
				o.mu.Lock()
				if from, ok := floor[p]; ok {
					o.starts++
					if r.Offset < from || r.Offset > o.tried[p] {
						o.add("%s: %s-%d began at offset %d; acknowledged was commit %d, the highest one sent %d", who, p.topic, p.index, r.Offset, from, o.tried[p])
					}
					delete(floor, p)
				} else if r.Offset != next[p] {
					o.add("%s: %s-%d came with offset %d, expected was %d", who, p.topic, p.index, r.Offset, next[p])
				}
				o.mu.Unlock()
				next[p] = r.Offset + 1
				heads[p] = r
			}
		})
		mu.Unlock()
		w.commitRead(ctx, k, heads)
		k.AllowRebalance()
		w.pause(ctx, w.Pace)
	}
}

// commitRead commits up to the given records, each the last one read of its partition.
func (w *Workload) commitRead(ctx context.Context, k *kgo.Client, heads map[partition]*kgo.Record) {
	if len(heads) == 0 {
		return
	}
	o := w.observed
	var last []*kgo.Record
	o.mu.Lock()
	for p, r := range heads {
		o.tried[p] = max(o.tried[p], r.Offset+1)
		last = append(last, r)
	}
	o.mu.Unlock()
	if err := k.CommitRecords(ctx, last...); err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, r := range heads {
		o.committed[p] = max(o.committed[p], r.Offset+1)
	}
}

// groupPatience is how long the group may take to read everything once all faults have ended:
// the sessions of members that are gone must run out, and a rebalance wait for them.
const groupPatience = 30 * time.Second

// finish has one more member read and commit all there is.
func (w *Workload) finish(ctx context.Context, s *Summary, ends map[partition]int64) {
	ctx, cancel := context.WithTimeout(ctx, groupPatience)
	defer cancel()
	k := w.Clients(nil)
	defer k.Close()
	adm := kadm.NewClient(k)
	reading, stop := context.WithCancel(ctx)
	var member sync.WaitGroup
	member.Go(func() { w.memberLife(reading, "the last member") })
	var left []string
	for ctx.Err() == nil {
		// What the group has, not what was acknowledged: the answer to the last commit of a partition may have been lost.
		at, err := adm.FetchOffsets(ctx, w.members())
		if err == nil {
			if left = behind(at, ends); len(left) == 0 {
				break
			}
		}
		w.pause(ctx, 50*time.Millisecond)
	}
	stop()
	member.Wait()
	if ctx.Err() != nil {
		s.wrong("the group has not read everything %v after the last fault: %v", groupPatience, left)
	}
}

func behind(at kadm.OffsetResponses, ends map[partition]int64) (left []string) {
	for p, end := range ends {
		if got, ok := at.Lookup(p.topic, p.index); end > 0 && (!ok || got.At < end) {
			left = append(left, fmt.Sprintf("%s-%d: %d of %d", p.topic, p.index, got.At, end))
		}
	}
	return left
}

// check compares what consumers saw with what was read back from the healed cluster: what
// was readable once is there, and the end is not below any high watermark that was told.
func (o *observed) check(s *Summary, found map[place]string, ends map[partition]int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Seen, s.Starts = len(o.hashes), o.starts
	for _, wrong := range o.wrong {
		s.wrong("%s", wrong)
	}
	for at, h := range o.hashes {
		if value, ok := found[at]; !ok || maphash.String(o.seed, value) != h {
			s.wrong("a consumer saw a record at %v; there now: %.60q", at, value)
		}
	}
	for p, hw := range o.marks {
		if ends[p] < hw {
			s.wrong("a consumer was told high watermark %d of %s-%d; its end is now %d", hw, p.topic, p.index, ends[p])
		}
	}
}
