package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	demoWindow = 100                   // records of a partition that wait for an acknowledgement
	demoBurst  = 10                    // records of a partition written at once
	demoPause  = 10 * time.Millisecond // between bursts
)

// demoLoad is what the demo's cluster works for: one writer, a goroutine a partition, so that a
// partition that waits for its node holds up no other; and two members of a consumer group, a
// goroutine each. The promises of the client library mark what was acknowledged.
type demoLoad struct {
	writer  *kgo.Client
	readers []*kgo.Client
	parts   [demoPartitions]demoPart

	stopWriting context.CancelFunc // no new records; what is on its way is waited for
	stopReading context.CancelFunc
	writing     sync.WaitGroup
	reading     sync.WaitGroup

	mu     sync.Mutex
	failed error
}

// demoPart is one partition: its records are numbered from 0.
type demoPart struct {
	mu     sync.Mutex
	acked  []bool // by number
	count  int    // of those that are true
	read   []bool // by the group
	window chan struct{}
}

// demoValue is the content of a record, which its place in the order gives.
func demoValue(partition int32, number int) string {
	return fmt.Sprintf("partition %d record %d %s", partition, number, strings.Repeat(strconv.Itoa((int(partition)+number)%10), 64))
}

// startLoad starts writer and readers.
func startLoad(ctx context.Context, addrs []string) (*demoLoad, error) {
	l := &demoLoad{}
	var err error
	if l.writer, err = kgo.NewClient(demoOptions(addrs,
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()))...); err != nil {
		return nil, err
	}
	for range 2 {
		r, err := kgo.NewClient(demoOptions(addrs,
			kgo.ConsumerGroup(demoGroup), kgo.ConsumeTopics(demoTopic), kgo.DisableAutoCommit(), kgo.FetchMaxWait(250*time.Millisecond))...)
		if err != nil {
			l.close()
			return nil, err
		}
		l.readers = append(l.readers, r)
	}
	writing, stopWriting := context.WithCancel(ctx)
	reading, stopReading := context.WithCancel(ctx)
	l.stopWriting, l.stopReading = stopWriting, stopReading
	for i := range l.parts {
		l.parts[i].window = make(chan struct{}, demoWindow)
		l.writing.Go(func() { l.write(writing, int32(i)) })
	}
	for _, r := range l.readers {
		l.reading.Go(func() { l.readGroup(reading, r) })
	}
	return l, nil
}

func demoOptions(addrs []string, more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(addrs...), kgo.ClientID("chronik-demo"), kgo.MetadataMinAge(100 * time.Millisecond), kgo.DialTimeout(time.Second),
	}, more...)
}

// close ends everything at once.
func (l *demoLoad) close() {
	if l.stopWriting != nil {
		l.stopWriting()
		l.stopReading()
	}
	l.writer.Close() // fails what is still on its way
	l.writing.Wait()
	l.reading.Wait()
	for _, r := range l.readers {
		r.Close()
	}
}

func (l *demoLoad) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

func (l *demoLoad) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// write fills one partition until ctx ends.
func (l *demoLoad) write(ctx context.Context, p int32) {
	part := &l.parts[p]
	tick := time.NewTicker(demoPause)
	defer tick.Stop()
	for number := 0; ; {
		for range demoBurst {
			select {
			case part.window <- struct{}{}:
			case <-ctx.Done():
				return
			}
			part.begin()
			n := number
			number++
			record := &kgo.Record{Topic: demoTopic, Partition: p, Value: []byte(demoValue(p, n))}
			// Not ctx: what was begun is finished, so that the end knows what was acknowledged.
			l.writer.Produce(context.WithoutCancel(ctx), record, func(_ *kgo.Record, err error) {
				switch {
				case err == nil:
					part.ack(n)
				case !errors.Is(err, kgo.ErrClientClosed):
					l.fail(fmt.Errorf("record %d of partition %d was refused: %s", n, p, kafkaError(err, "")))
				}
				<-part.window
			})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *demoPart) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked, p.read = append(p.acked, false), append(p.read, false)
}

func (p *demoPart) ack(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked[n] = true
	p.count++
}

// readGroup reads as a member of the group and commits, until ctx ends.
func (l *demoLoad) readGroup(ctx context.Context, r *kgo.Client) {
	for ctx.Err() == nil {
		fetches := r.PollFetches(ctx)
		fetches.EachRecord(func(rec *kgo.Record) {
			n, err := demoNumber(rec)
			if err != nil {
				l.fail(fmt.Errorf("the group has read what nobody wrote: %w", err))
				return
			}
			part := &l.parts[rec.Partition]
			part.mu.Lock()
			part.read[n] = true
			part.mu.Unlock()
		})
		if ctx.Err() == nil && fetches.NumRecords() > 0 {
			// An error is no failure: a rebalance or a coordinator that is away; the next commit covers this one.
			commit, cancel := context.WithTimeout(ctx, time.Second)
			_ = r.CommitUncommittedOffsets(commit)
			cancel()
		}
	}
}

// demoNumber returns a record's number after comparing all of its content.
func demoNumber(r *kgo.Record) (int, error) {
	words := strings.Split(string(r.Value), " ")
	n := -1
	if len(words) == 5 {
		n, _ = strconv.Atoi(words[3])
	}
	if n < 0 || string(r.Value) != demoValue(r.Partition, n) {
		return 0, fmt.Errorf("offset %d of partition %d holds %q", r.Offset, r.Partition, r.Value)
	}
	return n, nil
}

// counts returns how many records are acknowledged, and how many of these the group has read.
func (l *demoLoad) counts() (acked, read int) {
	for i := range l.parts {
		p := &l.parts[i]
		p.mu.Lock()
		acked += p.count
		for n := range p.read {
			if p.read[n] && p.acked[n] {
				read++
			}
		}
		p.mu.Unlock()
	}
	return acked, read
}

// unreadByGroup returns how many acknowledged records the group has not read.
func (l *demoLoad) unreadByGroup() int {
	acked, read := l.counts()
	return acked - read
}

// acked returns the number of acknowledged records by partition.
func (l *demoLoad) acked() (counts [demoPartitions]int) {
	for i := range l.parts {
		l.parts[i].mu.Lock()
		counts[i] = l.parts[i].count
		l.parts[i].mu.Unlock()
	}
	return counts
}

// progressed reports whether every partition but the excepted ones has taken records since before.
func (l *demoLoad) progressed(before [demoPartitions]int, except []int32) bool {
	now := l.acked()
	for _, p := range except {
		now[p] = before[p] + demoWindow + 1
	}
	for i := range now {
		if now[i] <= before[i]+demoWindow { // more than what was on its way already
			return false
		}
	}
	return true
}

// finish stops the writer, waits for what is on its way, and returns how many records were acknowledged.
func (l *demoLoad) finish(ctx context.Context) (int, error) {
	l.stopWriting()
	l.writing.Wait()
	if err := l.writer.Flush(ctx); err != nil {
		return 0, fmt.Errorf("records on their way are not acknowledged: %w", err)
	}
	acked, _ := l.counts()
	return acked, l.failure()
}

// commit lets the readers end, commits what they have read, and checks that it is all there is.
func (l *demoLoad) commit(ctx context.Context) error {
	l.stopReading()
	l.reading.Wait()
	for _, r := range l.readers {
		if err := r.CommitUncommittedOffsets(ctx); err != nil {
			return fmt.Errorf("the group cannot commit: %s", kafkaError(err, ""))
		}
	}
	committed, err := kadm.NewClient(l.writer).FetchOffsets(ctx, demoGroup)
	if err == nil {
		err = committed.Error()
	}
	if err != nil {
		return fmt.Errorf("the group's offsets cannot be read: %s", kafkaError(err, ""))
	}
	for i := range l.parts {
		o, ok := committed.Lookup(demoTopic, int32(i))
		if want := int64(l.parts[i].count); !ok || o.At != want {
			return fmt.Errorf("the group has committed offset %d of partition %d, not %d", o.At, i, want)
		}
	}
	return nil
}

// readBack reads the topic from start to end with a client of its own and compares it with what was acknowledged.
func readBack(ctx context.Context, cl *kgo.Client, addrs []string, l *demoLoad) (int, error) {
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, demoTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("the ends of the partitions cannot be read: %s", kafkaError(err, ""))
	}
	t := newTail(ends)
	from := map[int32]kgo.Offset{}
	for i := range int32(demoPartitions) {
		t.begin(demoTopic, i, 0)
		from[i] = kgo.NewOffset().At(0)
	}
	t.assign(nil)
	reader, err := kgo.NewClient(demoOptions(addrs, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{demoTopic: from}))...)
	if err != nil {
		return 0, err
	}
	defer reader.Close()
	var next [demoPartitions]int // the number that comes next
	found := 0
	for !t.reached() {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return 0, fmt.Errorf("cannot read the topic back: %w", err)
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			t.read(r.Topic, r.Partition, r.Offset)
			n, err := demoNumber(r)
			if err != nil {
				return 0, fmt.Errorf("the log holds what nobody wrote: %w", err)
			}
			if n != next[r.Partition] {
				return 0, fmt.Errorf("partition %d holds record %d at offset %d, where record %d belongs: one is lost, doubled or out of order", r.Partition, n, r.Offset, next[r.Partition])
			}
			next[r.Partition]++
			found++
		}
	}
	for i, count := range l.acked() {
		if next[i] < count {
			return 0, fmt.Errorf("partition %d holds %d records, but %d were acknowledged: %d are lost", i, next[i], count, count-next[i])
		}
	}
	return found, nil
}
