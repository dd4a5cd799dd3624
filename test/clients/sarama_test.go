package clients

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct{ bootstrap []string }

func newSarama(_ *testing.T, bootstrap []string) client { return &saramaClient{bootstrap} }

func saramaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Metadata.Retry.Max = 50
	c.Metadata.Retry.Backoff = 100 * time.Millisecond
	return c
}

func (s *saramaClient) createTopic(_ context.Context, topic string, partitions int) error {
	a, err := sarama.NewClusterAdmin(s.bootstrap, saramaConfig())
	if err != nil {
		return err
	}
	defer a.Close()
	return a.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1}, false)
}

func (s *saramaClient) produce(_ context.Context, topic string, recs []record, o produceOptions) error {
	c := saramaConfig()
	c.Producer.Compression = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}[o.codec]
	c.Producer.RequiredAcks = sarama.RequiredAcks(o.acks)
	c.Producer.Return.Successes = true
	c.Producer.Retry.Max = 50
	if o.idempotent {
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
	}
	p, err := sarama.NewSyncProducer(s.bootstrap, c)
	if err != nil {
		return err
	}
	var ms []*sarama.ProducerMessage
	for _, r := range recs {
		ms = append(ms, &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(r.key), Value: sarama.StringEncoder(r.value)})
	}
	return errors.Join(p.SendMessages(ms), p.Close())
}

type saramaMember struct {
	g      sarama.ConsumerGroup
	got    func(record)
	cancel context.CancelFunc
	done   chan struct{}
}

func (s *saramaClient) join(ctx context.Context, group, topic string, got func(record)) (member, error) {
	c := saramaConfig()
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	g, err := sarama.NewConsumerGroup(s.bootstrap, group, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	m := &saramaMember{g, got, cancel, make(chan struct{})}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, m); err != nil && ctx.Err() == nil {
				// The coordinator may be away: ask again, not in a spin.
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	return m, nil
}

func (m *saramaMember) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *saramaMember) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for {
		select {
		case msg, ok := <-c.Messages():
			if !ok {
				s.Commit()
				return nil
			}
			m.got(record{string(msg.Key), string(msg.Value)})
			s.MarkMessage(msg, "")
			if len(c.Messages()) == 0 {
				s.Commit()
			}
		case <-s.Context().Done():
			s.Commit()
			return nil
		}
	}
}

func (m *saramaMember) leave() error {
	m.cancel()
	<-m.done
	return m.g.Close()
}
