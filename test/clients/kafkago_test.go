package clients

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

type kafkaGo struct{ bootstrap []string }

func newKafkaGo(_ *testing.T, bootstrap []string) client { return &kafkaGo{bootstrap} }

func (k *kafkaGo) createTopic(ctx context.Context, topic string, partitions int) error {
	c := &kafka.Client{Addr: kafka.TCP(k.bootstrap...)}
	resp, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}},
	})
	if err != nil {
		return err
	}
	return resp.Errors[topic]
}

func (k *kafkaGo) produce(ctx context.Context, topic string, recs []record, o produceOptions) error {
	w := &kafka.Writer{
		Addr: kafka.TCP(k.bootstrap...), Topic: topic, Balancer: &kafka.Hash{}, BatchTimeout: 5 * time.Millisecond,
		RequiredAcks: kafka.RequiredAcks(o.acks), MaxAttempts: 50, WriteBackoffMax: 100 * time.Millisecond,
		Compression: map[string]kafka.Compression{
			"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
		}[o.codec],
	}
	var ms []kafka.Message
	for _, r := range recs {
		ms = append(ms, kafka.Message{Key: []byte(r.key), Value: []byte(r.value)})
	}
	return errors.Join(w.WriteMessages(ctx, ms...), w.Close())
}

type kafkaGoMember struct {
	r      *kafka.Reader
	cancel context.CancelFunc
	done   chan struct{}
}

func (k *kafkaGo) join(ctx context.Context, group, topic string, got func(record)) (member, error) {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: k.bootstrap, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
		JoinGroupBackoff: 100 * time.Millisecond, HeartbeatInterval: 200 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(ctx)
	m := &kafkaGoMember{r, cancel, make(chan struct{})}
	go func() {
		defer close(m.done)
		for {
			msg, err := r.FetchMessage(ctx)
			if err != nil {
				return
			}
			got(record{string(msg.Key), string(msg.Value)})
			// After a rebalance the commit of a lost partition fails; its new owner reads it again.
			_ = r.CommitMessages(ctx, msg)
		}
	}()
	return m, nil
}

func (m *kafkaGoMember) leave() error {
	m.cancel()
	<-m.done
	return m.r.Close()
}
