package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/test/proctest"
)

// What a node of so many partitions may take.
const (
	allPartitions   = 5000
	mostToCreate    = 10 * time.Second
	mostToRecover   = 10 * time.Second
	mostFiles       = 3.0 // a partition
	mostIdle        = 2.0 // percent of a core
	idleFor         = 30 * time.Second
	recordsASecond  = 200 // while the node is killed
	producingBefore = 3 * time.Second
)

// partitions measures a node with 5,000 partitions, in one topic and in 500.
func (b *bench) partitions(ctx context.Context) error {
	for _, s := range []shape{
		{"1 topic of 5,000 partitions", 1, allPartitions},
		{"500 topics of 10, a request each", 500, allPartitions / 500},
	} {
		if err := b.partitionsIn(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// shape is how the partitions are divided.
type shape struct {
	name               string
	topics, partitions int
}

func topicName(i int) string { return fmt.Sprintf("growth-%03d", i) }

func (b *bench) partitionsIn(ctx context.Context, s shape) error {
	n, k, err := b.node(ctx)
	if err != nil {
		return err
	}
	defer n.Kill9()
	defer k.Close()
	before, err := openFiles(n.Pid())
	if err != nil {
		return err
	}
	began := time.Now()
	for i := range s.topics {
		if err := createTopic(ctx, k, topicName(i), s.partitions); err != nil {
			return err
		}
	}
	answered := time.Since(began)
	if err := s.served(ctx, k); err != nil {
		return err
	}
	took := time.Since(began)
	b.row(s.name+": created, every partition served", "<= 10 s", seconds(took), took <= mostToCreate, "answered after "+seconds(answered))

	if err := s.fill(ctx, k); err != nil {
		return err
	}
	after, err := openFiles(n.Pid())
	if err != nil {
		return err
	}
	files := float64(after-before) / allPartitions
	b.row(s.name+": open files a partition, each with a record", "<= 3", fmt.Sprintf("%.2f", files), files <= mostFiles, "")

	if err := b.idle(ctx, n, s); err != nil {
		return err
	}
	took, served, err := s.killed(ctx, n, k)
	if err != nil {
		return err
	}
	b.row(s.name+": ready after kill -9 under light load", "<= 10 s", seconds(took), took <= mostToRecover, "every partition served after "+seconds(served))
	return nil
}

// idle takes the CPU that a node uses while nobody asks it anything.
func (b *bench) idle(ctx context.Context, n *proctest.Node, s shape) error {
	if err := sleep(ctx, idleFor/3); err != nil { // what the writes before have left to do
		return err
	}
	before, err := processor(n.Pid())
	if err != nil {
		return err
	}
	began := time.Now()
	if err := sleep(ctx, idleFor); err != nil {
		return err
	}
	after, err := processor(n.Pid())
	if err != nil {
		return err
	}
	share := float64(after-before) / float64(time.Since(began)) * 100
	b.row(s.name+": CPU of the idle node", "<= 2 %", fmt.Sprintf("%.2f %%", share), share <= mostIdle, "of a core, over "+idleFor.String())
	return nil
}

// killed ends the node while it takes records, and returns how long it takes until it is ready and until every
// partition is served.
func (s shape) killed(ctx context.Context, n *proctest.Node, k *kgo.Client) (ready, served time.Duration, err error) {
	load, stop := context.WithCancel(ctx)
	defer stop()
	var taken atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for load.Err() == nil {
			r := &kgo.Record{Topic: topicName(rand.IntN(s.topics)), Partition: rand.Int32N(int32(s.partitions)), Value: make([]byte, 100)}
			k.Produce(load, r, func(_ *kgo.Record, err error) {
				if err == nil {
					taken.Add(1)
				}
			})
			_ = sleep(load, time.Second/recordsASecond)
		}
	})
	if err := sleep(ctx, producingBefore); err != nil {
		return 0, 0, err
	}
	n.Kill9()
	stop()
	wg.Wait()
	if taken.Load() == 0 {
		return 0, 0, errors.New("no record was taken before the node was killed")
	}
	began := time.Now()
	if err := restart(ctx, n); err != nil {
		return 0, 0, err
	}
	ready = time.Since(began)
	err = s.served(ctx, k)
	return ready, time.Since(began), err
}

func createTopic(ctx context.Context, k *kgo.Client, name string, partitions int) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 60_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, int32(partitions), 1
	req.Topics = append(req.Topics, t)
	resp, err := k.Broker(1).Request(ctx, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
}

// served waits until the broker answers for every partition.
func (s shape) served(ctx context.Context, k *kgo.Client) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for i := range s.topics {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topicName(i)
		for j := range s.partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp, p.CurrentLeaderEpoch = int32(j), -1, -1
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	for {
		resp, err := k.Broker(1).Request(ctx, req)
		if err == nil {
			for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
				for _, p := range t.Partitions {
					if err == nil {
						err = kerr.ErrorForCode(p.ErrorCode)
					}
				}
			}
			if err == nil {
				return nil
			}
		}
		if serr := sleep(ctx, 5*time.Millisecond); serr != nil {
			return errors.Join(err, serr)
		}
	}
}

// fill gives every partition a record.
func (s shape) fill(ctx context.Context, k *kgo.Client) error {
	var failed atomic.Pointer[error]
	for i := range s.topics {
		for j := range s.partitions {
			k.Produce(ctx, &kgo.Record{Topic: topicName(i), Partition: int32(j), Value: make([]byte, 100)}, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
				}
			})
		}
	}
	err := k.Flush(ctx)
	if e := failed.Load(); e != nil {
		err = errors.Join(err, *e)
	}
	return err
}
