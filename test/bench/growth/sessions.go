package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/test/bench/rig"
	"github.com/chronik-stream/chronik/test/proctest"
)

const (
	fewIdle, manyIdle = 10, 1000
	wakeUps           = 5000 // a round, enough for /proc's 10 ms
	sessionRounds     = 5
	mostSession       = 2.0 // times the cost of the small one
)

// sessions compares what the broker does for a fetch session over 1,000 idle partitions with one over 10: when a record
// comes to one more partition of it while the fetch waits, and when a fetch finds nothing.
func (b *bench) sessions(ctx context.Context) error {
	n, k, err := b.node(ctx, "write.caching=true")
	if err != nil {
		return err
	}
	defer n.Kill9()
	defer k.Close()
	var few, many *session
	for _, s := range []struct {
		session **session
		idle    int
	}{{&few, fewIdle}, {&many, manyIdle}} {
		name := fmt.Sprintf("idle-%d", s.idle)
		if err := createTopic(ctx, k, name, s.idle+1); err != nil {
			return err
		}
		if *s.session, err = newSession(ctx, n, k, name, s.idle+1); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		what string
		run  func(*session, context.Context) error
	}{
		{"record produced and fetched", (*session).wakeUp},
		{"fetch that finds nothing", (*session).poll},
	} {
		var ratios, costs, least []float64
		for round := range sessionRounds + 1 {
			var now [2]float64
			for _, i := range rand.Perm(2) {
				s := []*session{few, many}[i]
				if now[i], err = s.cost(ctx, m.run); err != nil {
					return err
				}
			}
			if round > 0 { // the first warms the heap
				ratios, costs, least = append(ratios, now[1]/now[0]), append(costs, now[1]), append(least, now[0])
			}
		}
		r := rig.Median(ratios)
		b.row(fmt.Sprintf("fetch session over 1,000 idle partitions: CPU of a %s, to one over 10", m.what), "<= 2", fmt.Sprintf("%.2f", r), r <= mostSession,
			fmt.Sprintf("%.0f us and %.0f us, median of %d rounds", rig.Median(costs), rig.Median(least), sessionRounds))
	}
	return nil
}

// session is a fetch session over all partitions of a topic. Records come to partition 0 alone.
type session struct {
	node   *proctest.Node
	client *kgo.Client // of the records; the fetches have one of their own, and so a connection
	fetch  *kgo.Client
	topic  string
	req    *kmsg.FetchRequest
	begin  kmsg.FetchRequestTopic // all partitions
	next   int64                  // offset of partition 0
}

func newSession(ctx context.Context, n *proctest.Node, k *kgo.Client, topic string, partitions int) (*session, error) {
	fetch, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()))
	if err != nil {
		return nil, err
	}
	s := &session{node: n, client: k, fetch: fetch, topic: topic, req: kmsg.NewPtrFetchRequest(), begin: kmsg.NewFetchRequestTopic()}
	s.begin.Topic = topic
	if s.begin.TopicID, err = topicID(ctx, k, topic); err != nil {
		return nil, err
	}
	for i := range partitions {
		s.begin.Partitions = append(s.begin.Partitions, fetchFrom(int32(i), 0))
	}
	s.req.MinBytes, s.req.MaxBytes, s.req.ReplicaID, s.req.SessionEpoch = 1, 50<<20, -1, 0
	s.req.Topics = []kmsg.FetchRequestTopic{s.begin}
	resp, err := s.ask(ctx)
	if err != nil {
		return nil, err
	}
	s.req.SessionID, s.req.SessionEpoch, s.req.Topics = resp.SessionID, 1, nil
	if resp.SessionID == 0 {
		return nil, fmt.Errorf("the broker made no fetch session over %d partitions", partitions)
	}
	return s, nil
}

func fetchFrom(partition int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LogStartOffset = partition, offset, 1<<20, -1, -1
	return p
}

func topicID(ctx context.Context, k *kgo.Client, topic string) ([16]byte, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, k)
	if err != nil {
		return [16]byte{}, err
	}
	return resp.Topics[0].TopicID, kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}

// ask sends the fetch and checks the answer.
func (s *session) ask(ctx context.Context) (*kmsg.FetchResponse, error) {
	r, err := s.fetch.Broker(1).Request(ctx, s.req)
	if err != nil {
		return nil, err
	}
	resp := r.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("partition %d: %w", p.Partition, err)
			}
		}
	}
	return resp, nil
}

// cost is the broker's CPU, in microseconds, of what step does once.
func (s *session) cost(ctx context.Context, step func(*session, context.Context) error) (float64, error) {
	before, err := processor(s.node.Pid())
	if err != nil {
		return 0, err
	}
	for range wakeUps {
		if err := step(s, ctx); err != nil {
			return 0, err
		}
	}
	after, err := processor(s.node.Pid())
	return float64((after - before).Microseconds()) / wakeUps, err
}

// wakeUp has a fetch wait, produces a record, and takes the answer.
func (s *session) wakeUp(ctx context.Context) error {
	s.req.MaxWaitMillis = 10_000
	type answer struct {
		resp *kmsg.FetchResponse
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		resp, err := s.ask(ctx)
		got <- answer{resp, err}
	}()
	if err := s.client.ProduceSync(ctx, &kgo.Record{Topic: s.topic, Partition: 0, Value: make([]byte, 100)}).FirstErr(); err != nil {
		return err
	}
	a := <-got
	if a.err != nil {
		return a.err
	}
	if len(a.resp.Topics) != 1 || len(a.resp.Topics[0].Partitions) != 1 || a.resp.Topics[0].Partitions[0].Partition != 0 {
		return fmt.Errorf("the answer is about %d topics, not about the one partition that has a record", len(a.resp.Topics))
	}
	s.req.SessionEpoch++
	s.next++
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = s.begin.Topic, s.begin.TopicID
	t.Partitions = []kmsg.FetchRequestTopicPartition{fetchFrom(0, s.next)}
	s.req.Topics = []kmsg.FetchRequestTopic{t}
	return nil
}

// poll fetches without waiting, when there is nothing.
func (s *session) poll(ctx context.Context) error {
	s.req.MaxWaitMillis = 0
	resp, err := s.ask(ctx)
	if err != nil {
		return err
	}
	if len(resp.Topics) != 0 {
		return fmt.Errorf("an answer about %d topics, where nothing has happened", len(resp.Topics))
	}
	s.req.SessionEpoch++
	s.req.Topics = nil
	return nil
}
