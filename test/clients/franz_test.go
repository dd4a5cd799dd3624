package clients

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct{ bootstrap []string }

func newFranz(_ *testing.T, bootstrap []string) client { return &franz{bootstrap} }

func (f *franz) createTopic(ctx context.Context, topic string, partitions int) error {
	k, err := kgo.NewClient(kgo.SeedBrokers(f.bootstrap...))
	if err != nil {
		return err
	}
	defer k.Close()
	_, err = kadm.NewClient(k).CreateTopic(ctx, int32(partitions), 1, nil, topic)
	return err
}

func (f *franz) produce(ctx context.Context, topic string, recs []record, o produceOptions) error {
	codec := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[o.codec]
	acks := map[int]kgo.Acks{0: kgo.NoAck(), 1: kgo.LeaderAck(), -1: kgo.AllISRAcks()}[o.acks]
	opts := []kgo.Opt{kgo.SeedBrokers(f.bootstrap...), kgo.ProducerBatchCompression(codec), kgo.RequiredAcks(acks)}
	if !o.idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	k, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer k.Close()
	var rs []*kgo.Record
	for _, r := range recs {
		rs = append(rs, &kgo.Record{Topic: topic, Key: []byte(r.key), Value: []byte(r.value)})
	}
	return k.ProduceSync(ctx, rs...).FirstErr()
}

type franzMember struct {
	k      *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}
}

func (f *franz) join(ctx context.Context, group, topic string, got func(record)) (member, error) {
	k, err := kgo.NewClient(kgo.SeedBrokers(f.bootstrap...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	m := &franzMember{k, cancel, make(chan struct{})}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			fs := k.PollFetches(ctx)
			fs.EachRecord(func(r *kgo.Record) { got(record{string(r.Key), string(r.Value)}) })
			if fs.NumRecords() > 0 {
				// Errors are retried with the next commit, or when leaving.
				_ = k.CommitUncommittedOffsets(ctx)
			}
			k.AllowRebalance()
		}
	}()
	return m, nil
}

func (m *franzMember) leave() error {
	m.cancel()
	<-m.done
	err := m.k.CommitUncommittedOffsets(context.Background())
	m.k.CloseAllowingRebalance()
	return err
}
