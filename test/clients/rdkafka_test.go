//go:build cgo

package clients

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
