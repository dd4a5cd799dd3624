package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// defaultBenchTopic is what benchmarks write and read where no topic is named.
const defaultBenchTopic = "chronik-bench"

// bench is one run of a benchmark: what its flags say, and what it counts.
type bench struct {
	c        *client
	topic    string
	records  int64
	duration time.Duration
	clients  int

	size       int
	rate       float64
	partitions int32
	replicas   int16
	codec      string
	acks       string
	linger     time.Duration
	inFlight   int

	meter *meter
}

func (g *globals) bench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a cluster takes and gives records",
		Long: "Measures a cluster with a client in this process. Throughput and latencies are shown every second at a terminal, and\n" +
			"summed up in the end. Without -n or --duration a benchmark ends after 10 s. The topic is made if it is not there, and\n" +
			"left: 'chronik-server topic delete " + defaultBenchTopic + "' removes it.",
	}
	c := g.clientFlags(cmd)
	return parent(cmd, c.benchProduce(), c.benchConsume(), c.benchE2E())
}

// benchCommand makes a benchmark's command with the flags that all of them have.
func (c *client) benchCommand(b *bench, use, short, long string) *cobra.Command {
	b.c = c
	cmd := &cobra.Command{Use: use + " [TOPIC]", Short: short, Long: long, Args: someArgs(0, 1, "one topic"), ValidArgsFunction: c.completeNames(listTopicNames)}
	flags := cmd.Flags()
	flags.Int64VarP(&b.records, "number", "n", 0, "end after that many records; 0: no limit")
	flags.DurationVar(&b.duration, "duration", 0, "end after this `time`")
	flags.IntVar(&b.clients, "clients", 1, "`number` of clients, each with connections of its own")
	return cmd
}

// producerFlags adds those of the benchmarks that write.
func (b *bench) producerFlags(cmd *cobra.Command, rate float64, linger time.Duration) {
	flags := cmd.Flags()
	flags.IntVar(&b.size, "size", 1024, "`bytes` of each value")
	flags.Float64Var(&b.rate, "rate", rate, "records a second, of all clients together; 0: as fast as it goes")
	flags.Int32VarP(&b.partitions, "partitions", "p", -1, "`number` of partitions, if the topic is made; -1: the cluster's num.partitions")
	flags.Int16VarP(&b.replicas, "replication-factor", "r", -1, "`number` of replicas, if the topic is made; -1: default.replication.factor")
	choiceVar(flags, &b.codec, "compression", "z", "compression of the records", "none", "gzip", "snappy", "lz4", "zstd")
	choiceVar(flags, &b.acks, "acks", "", "whose acknowledgement to wait for", "all", "1", "0")
	flags.DurationVar(&b.linger, "linger", linger, "how long a client waits for a batch to fill")
	flags.IntVar(&b.inFlight, "in-flight", 10_000, "records a client sends before it waits for acknowledgements; 1: one after the other")
}

// check takes the topic and refuses what cannot be measured.
func (b *bench) check(args []string) error {
	b.topic = defaultBenchTopic
	if len(args) == 1 {
		b.topic = args[0]
	}
	switch {
	case b.records < 0:
		return usagef("--number %d: must be 0 or more", b.records)
	case b.duration < 0:
		return usagef("--duration %v: must be more than 0", b.duration)
	case b.clients < 1 || b.clients > 1000:
		return usagef("--clients %d: must lie between 1 and 1000", b.clients)
	case b.size < 0 || b.size > 1<<30:
		return usagef("--size %d: must lie between 0 and 1073741824", b.size)
	case b.rate < 0:
		return usagef("--rate %v: must be 0 or more", b.rate)
	}
	return nil
}

func (c *client) benchProduce() *cobra.Command {
	var b bench
	cmd := c.benchCommand(&b, "produce", "Measure writing",
		"Writes records as fast as it goes, or at --rate. A latency is the time from the call to the acknowledgement; with --rate it is\n"+
			"counted from when the record was due, so that a cluster that stalls cannot hide it by being sent less.")
	cmd.Example = "  chronik-server bench produce -p 6 --duration 30s\n" +
		"  chronik-server bench produce --rate 5000 --size 200 -n 100000 --format json\n" +
		"  chronik-server bench produce --in-flight 1 --linger 0"
	b.producerFlags(cmd, 0, 5*time.Millisecond)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := b.check(args); err != nil {
			return err
		}
		if b.inFlight < 1 {
			return usagef("--in-flight %d: must be 1 or more", b.inFlight)
		}
		opts, err := b.producerOptions()
		if err != nil {
			return err
		}
		return c.run(cmd, true, func(ctx context.Context) error {
			if err := b.ensureTopic(ctx); err != nil {
				return err
			}
			return b.measure(ctx, "wrote", func(ctx context.Context) error {
				return b.produce(ctx, opts, nil, func(r *kgo.Record, took time.Duration) { b.meter.add(1, int64(len(r.Value)), took) })
			})
		})
	}
	return cmd
}

func (b *bench) producerOptions() ([]kgo.Opt, error) {
	opts, err := (&producing{codec: b.codec, acks: b.acks, partition: -1}).options()
	return append(append(opts, untilGivenUp(b.c.timeout)...), kgo.ProducerLinger(b.linger), kgo.MaxBufferedRecords(b.inFlight)), err
}

// ensureTopic makes the topic if it is not there.
func (b *bench) ensureTopic(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.c.timeout)
	defer cancel()
	answer, err := b.c.adm.CreateTopic(ctx, b.partitions, b.replicas, nil, b.topic)
	if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return fmt.Errorf("cannot create %s: %s", b.topic, kafkaError(err, answer.ErrMessage))
}

// measure runs the work, with the live line beside it, and prints what it came to.
func (b *bench) measure(ctx context.Context, what string, work func(context.Context) error) error {
	b.meter = newMeter()
	live := newLiveLine(b.c.g.program.Err)
	ended := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				live.show(b.meter.line())
			case <-ended:
				return
			}
		}
	})
	err := work(ctx)
	close(ended)
	shown.Wait()
	live.clear()
	if s := b.meter.summary(b.topic); s.Records > 0 || err == nil {
		err = errors.Join(b.c.print(s.result(what)), err)
	}
	if b.c.cmd.Context().Err() != nil {
		return errors.New("interrupted before the end")
	}
	return err
}

// limit is the time that the benchmark may take: 10 s if nothing else ends it.
func (b *bench) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	d := b.duration
	if d == 0 && b.records == 0 {
		d = 10 * time.Second
	}
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// produce writes until the number or the time is reached, and waits for the acknowledgements. mark, if there is one,
// writes into a value when it was due.
func (b *bench) produce(ctx context.Context, opts []kgo.Opt, mark func(value []byte, due time.Time), acked func(*kgo.Record, time.Duration)) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	limited, cancel := b.limit(ctx)
	defer cancel()
	var handed atomic.Int64
	pool := benchPool(b.size)
	var clients []*kgo.Client
	defer func() {
		for _, cl := range clients {
			cl.Close()
		}
	}()
	for range b.clients {
		cl, err := b.c.newClient(opts)
		if err != nil {
			return err
		}
		clients = append(clients, cl)
	}
	began := time.Now()
	var all sync.WaitGroup
	for _, cl := range clients {
		all.Go(func() {
			for limited.Err() == nil {
				n := handed.Add(1)
				if b.records > 0 && n > b.records {
					break
				}
				due, ok := b.due(limited, began, n)
				if !ok {
					break
				}
				value := pool(n)
				if mark != nil {
					mark(value, due)
				}
				cl.Produce(ctx, &kgo.Record{Topic: b.topic, Value: value}, func(r *kgo.Record, err error) {
					if err != nil {
						fail(err)
						return
					}
					acked(r, time.Since(due))
				})
			}
			_ = cl.Flush(context.WithoutCancel(ctx)) // a record that is given up has called fail
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil && b.c.cmd.Context().Err() == nil {
		return writeError(b.topic, err)
	}
	return nil
}

// due waits until record n is to be sent and returns that time; false if the end comes before.
func (b *bench) due(ctx context.Context, began time.Time, n int64) (time.Time, bool) {
	now := time.Now()
	if b.rate == 0 {
		return now, true
	}
	due := began.Add(time.Duration(float64(n-1) / b.rate * float64(time.Second)))
	if wait := due.Sub(now); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return due, false
		}
	}
	return due, true
}

// benchPool returns what makes values of the given size. They are letters and digits at random, from a pool that
// is the same in every run: what is measured is the cluster, not a generator.
func benchPool(size int) func(n int64) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	random := rand.New(rand.NewPCG(1, 2))
	pool := make([]byte, size+1<<16)
	for i := range pool {
		pool[i] = letters[random.Uint32()%64]
	}
	return func(n int64) []byte {
		at := int(n*7919) & (1<<16 - 1)
		return append([]byte(nil), pool[at:at+size]...)
	}
}

func (c *client) benchConsume() *cobra.Command {
	var b bench
	cmd := c.benchCommand(&b, "consume", "Measure reading",
		"Reads a topic from its begin to where it ends now, or until -n or --duration. More clients share the partitions.")
	cmd.Example = "  chronik-server bench consume\n  chronik-server bench consume orders --clients 3"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := b.check(args); err != nil {
			return err
		}
		return c.run(cmd, true, func(ctx context.Context) error {
			starts, ends, err := b.offsets(ctx)
			if err != nil {
				return err
			}
			return b.measure(ctx, "read", func(ctx context.Context) error { return b.consume(ctx, starts, ends) })
		})
	}
	return cmd
}

// offsets returns where the topic's partitions begin and end.
func (b *bench) offsets(ctx context.Context) (starts, ends kadm.ListedOffsets, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.c.timeout)
	defer cancel()
	if _, err := b.c.findTopics(ctx, []string{b.topic}); err != nil {
		return nil, nil, err
	}
	if starts, err = b.c.adm.ListStartOffsets(ctx, b.topic); err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, nil, err
	}
	if ends, err = b.c.adm.ListEndOffsets(ctx, b.topic); err == nil {
		err = ends.Error()
	}
	return starts, ends, err
}

// consume reads what lies between starts and ends; each client has a share of the partitions.
func (b *bench) consume(ctx context.Context, starts, ends kadm.ListedOffsets) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	limited, cancel := context.WithCancel(ctx)
	if b.duration > 0 {
		limited, cancel = context.WithTimeout(ctx, b.duration)
	}
	defer cancel()
	var all sync.WaitGroup
	for i := range b.clients {
		tail := newTail(ends)
		tail.assign(nil)
		share := map[string]map[int32]kgo.Offset{b.topic: {}}
		for p, start := range starts[b.topic] {
			if int(p)%b.clients == i && start.Offset < ends[b.topic][p].Offset {
				tail.begin(b.topic, p, start.Offset)
				share[b.topic][p] = kgo.NewOffset().At(start.Offset)
			}
		}
		if len(share[b.topic]) == 0 {
			continue
		}
		cl, err := b.c.newClient([]kgo.Opt{kgo.ConsumePartitions(share), kgo.KeepControlRecords()})
		if err != nil {
			fail(err)
			break
		}
		all.Go(func() {
			defer cl.Close()
			for limited.Err() == nil && !tail.reached() {
				if err := b.readSome(limited, cl, tail); err != nil {
					fail(err)
				}
				if b.records > 0 && b.meter.count() >= b.records {
					cancel()
				}
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil && b.c.cmd.Context().Err() == nil {
		return err
	}
	return nil
}

// readSome polls once and counts what came.
func (b *bench) readSome(ctx context.Context, cl *kgo.Client, tail *tail) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	fetches := cl.PollFetches(ctx)
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			return fmt.Errorf("cannot read %s: %s", b.topic, kafkaError(e.Err, ""))
		}
	}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		var bytes int64
		for _, r := range p.Records {
			bytes += int64(len(r.Value))
		}
		if n := len(p.Records); n > 0 {
			tail.read(p.Topic, p.Partition, p.Records[n-1].Offset)
			b.meter.add(int64(n), bytes, -1)
		}
	})
	return nil
}

func (c *client) benchE2E() *cobra.Command {
	var b bench
	cmd := c.benchCommand(&b, "e2e", "Measure the way of a record from a producer to a consumer",
		"Writes records at a rate and reads them at the same time. A latency is the time from when a record was due to be sent\n"+
			"until a consumer had it.")
	cmd.Example = "  chronik-server bench e2e --rate 1000 --duration 30s"
	b.producerFlags(cmd, 100, 0)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := b.check(args); err != nil {
			return err
		}
		if b.size < markBytes {
			return usagef("--size %d: must be %d or more, for a value tells when it was sent", b.size, markBytes)
		}
		if b.inFlight < 1 {
			return usagef("--in-flight %d: must be 1 or more", b.inFlight)
		}
		opts, err := b.producerOptions()
		if err != nil {
			return err
		}
		return c.run(cmd, true, func(ctx context.Context) error {
			if err := b.ensureTopic(ctx); err != nil {
				return err
			}
			_, ends, err := b.offsets(ctx)
			if err != nil {
				return err
			}
			return b.measure(ctx, "wrote and read", func(ctx context.Context) error { return b.endToEnd(ctx, opts, ends) })
		})
	}
	return cmd
}

// markBytes at the begin of a value say which run it is of and when it was due.
const markBytes = 16

// endToEnd produces, and reads from where the partitions ended before. It ends when all that was acknowledged is read.
func (b *bench) endToEnd(ctx context.Context, opts []kgo.Opt, ends kadm.ListedOffsets) error {
	began, run := time.Now(), rand.Uint64()
	from := map[string]map[int32]kgo.Offset{b.topic: {}}
	for p, end := range ends[b.topic] {
		from[b.topic][p] = kgo.NewOffset().At(end.Offset)
	}
	reader, err := b.c.newClient([]kgo.Opt{kgo.ConsumePartitions(from), kgo.FetchMaxWait(500 * time.Millisecond)})
	if err != nil {
		return err
	}
	defer reader.Close()
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var written, read atomic.Int64
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		failed = b.readMarked(reading, reader, run, began, &read)
	}()
	err = b.produce(ctx, opts,
		func(value []byte, due time.Time) {
			binary.BigEndian.PutUint64(value, run)
			binary.BigEndian.PutUint64(value[8:], uint64(due.Sub(began)))
		},
		func(*kgo.Record, time.Duration) { written.Add(1) })
	deadline := time.Now().Add(b.c.timeout)
	for err == nil && ctx.Err() == nil && read.Load() < written.Load() {
		select {
		case <-done: // it cannot read
			return failed
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			err = fmt.Errorf("%s acknowledged, but only %d of them read within %v after that", plural(written.Load(), "record"), read.Load(), b.c.timeout)
		}
	}
	stop()
	<-done
	return errors.Join(err, failed)
}

// readMarked counts the records of this run until ctx ends.
func (b *bench) readMarked(ctx context.Context, cl *kgo.Client, run uint64, began time.Time, read *atomic.Int64) error {
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.Canceled) {
				return fmt.Errorf("cannot read %s: %s", b.topic, kafkaError(e.Err, ""))
			}
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if len(r.Value) < markBytes || binary.BigEndian.Uint64(r.Value) != run {
				return // somebody else writes to the topic too
			}
			due := began.Add(time.Duration(binary.BigEndian.Uint64(r.Value[8:])))
			b.meter.add(1, int64(len(r.Value)), time.Since(due))
			read.Add(1)
		})
	}
	return nil
}
