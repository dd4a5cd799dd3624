//go:build cgo

package clients

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rdkafka "github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// rdkafkaClient is librdkafka inside a Go program: the library of Python, .NET, Node, PHP and
// Ruby users, linked statically by confluent-kafka-go.
type rdkafkaClient struct{ bootstrap string }

func newRdkafka(_ *testing.T, bootstrap []string) client {
	return &rdkafkaClient{strings.Join(bootstrap, ",")}
}

func (r *rdkafkaClient) createTopic(ctx context.Context, topic string, partitions int) error {
	a, err := rdkafka.NewAdminClient(&rdkafka.ConfigMap{"bootstrap.servers": r.bootstrap})
	if err != nil {
		return err
	}
	defer a.Close()
	results, err := a.CreateTopics(ctx, []rdkafka.TopicSpecification{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}})
	if err != nil {
		return err
	}
	if e := results[0].Error; e.Code() != rdkafka.ErrNoError {
		return e
	}
	return nil
}

func (r *rdkafkaClient) produce(ctx context.Context, topic string, recs []record, o produceOptions) error {
	p, err := rdkafka.NewProducer(&rdkafka.ConfigMap{
		"bootstrap.servers": r.bootstrap, "compression.type": o.codec, "acks": o.acks, "enable.idempotence": o.idempotent,
		"linger.ms": 5, "log_level": 2,
	})
	if err != nil {
		return err
	}
	defer p.Close()
	delivered := make(chan rdkafka.Event, len(recs))
	for _, rec := range recs {
		m := &rdkafka.Message{
			TopicPartition: rdkafka.TopicPartition{Topic: &topic, Partition: rdkafka.PartitionAny}, Key: []byte(rec.key), Value: []byte(rec.value),
		}
		if err := p.Produce(m, delivered); err != nil {
			return err
		}
	}
	for range recs {
		select {
		case e := <-delivered:
			if m, ok := e.(*rdkafka.Message); ok && m.TopicPartition.Error != nil {
				return m.TopicPartition.Error
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// readKept reads a topic from start to end, with check.crcs=true.
func (r *rdkafkaClient) readKept(ctx context.Context, topic string, got func(kept)) error {
	c, err := rdkafka.NewConsumer(&rdkafka.ConfigMap{
		"bootstrap.servers": r.bootstrap, "group.id": "nobody", "enable.auto.commit": false, "check.crcs": true, "enable.partition.eof": true,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	m, err := c.GetMetadata(&topic, false, 30_000)
	if err != nil {
		return err
	}
	var from []rdkafka.TopicPartition
	for _, p := range m.Topics[topic].Partitions {
		from = append(from, rdkafka.TopicPartition{Topic: &topic, Partition: p.ID, Offset: rdkafka.OffsetBeginning})
	}
	if err := c.Assign(from); err != nil {
		return err
	}
	for ended := map[int32]bool{}; len(ended) < len(from); {
		switch e := c.Poll(100).(type) {
		case *rdkafka.Message:
			if e.TopicPartition.Error != nil {
				return e.TopicPartition.Error
			}
			got(kept{e.TopicPartition.Partition, int64(e.TopicPartition.Offset), string(e.Key), string(e.Value), e.Value == nil})
		case rdkafka.PartitionEOF:
			ended[e.Partition] = true
		case rdkafka.Error:
			return e
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// stream produces record after record until it is told to stop.
func (r *rdkafkaClient) stream(_ context.Context, topic string, acked *atomic.Int64) (stop func() error, err error) {
	p, err := rdkafka.NewProducer(&rdkafka.ConfigMap{"bootstrap.servers": r.bootstrap, "enable.idempotence": true, "linger.ms": 5, "log_level": 2})
	if err != nil {
		return nil, err
	}
	var stopped atomic.Bool
	done := make(chan error, 1)
	go func() {
		defer p.Close()
		delivered := make(chan rdkafka.Event, streamAhead)
		var failed error
		settle := func() {
			if m, ok := (<-delivered).(*rdkafka.Message); ok && m.TopicPartition.Error != nil {
				failed = m.TopicPartition.Error
			}
			acked.Add(1)
		}
		sent := int64(0)
		for ; !stopped.Load() && failed == nil; sent++ {
			if sent-acked.Load() == streamAhead {
				settle()
			}
			rec := streamed(sent)
			failed = errors.Join(failed, p.Produce(&rdkafka.Message{
				TopicPartition: rdkafka.TopicPartition{Topic: &topic, Partition: rdkafka.PartitionAny}, Key: []byte(rec.key), Value: []byte(rec.value),
			}, delivered))
		}
		for failed == nil && acked.Load() < sent {
			settle()
		}
		done <- failed
	}()
	return func() error { stopped.Store(true); return <-done }, nil
}

type rdkafkaMember struct {
	c      *rdkafka.Consumer
	cancel context.CancelFunc
	done   chan struct{}
}

func (r *rdkafkaClient) join(ctx context.Context, group, topic string, got func(record)) (member, error) {
	c, err := rdkafka.NewConsumer(&rdkafka.ConfigMap{
		"bootstrap.servers": r.bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": false,
		"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 10000, "topic.metadata.refresh.interval.ms": 500,
		"log_level": 2, // nodes that are killed are no news
	})
	if err != nil {
		return nil, err
	}
	if err := c.Subscribe(topic, nil); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	m := &rdkafkaMember{c, cancel, make(chan struct{})}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if msg, ok := c.Poll(100).(*rdkafka.Message); ok && msg.TopicPartition.Error == nil {
				got(record{string(msg.Key), string(msg.Value)})
				// After a rebalance the commit of a lost partition fails; its new owner reads it again.
				_, _ = c.CommitMessage(msg)
			}
		}
	}()
	return m, nil
}

// leave commits until nothing is left to commit: the coordinator may be away.
func (m *rdkafkaMember) leave() error {
	m.cancel()
	<-m.done
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := m.c.Commit()
		var e rdkafka.Error
		if err == nil || errors.As(err, &e) && e.Code() == rdkafka.ErrNoOffset {
			return m.c.Close()
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("commit: %w", err), m.c.Close())
		}
	}
}
