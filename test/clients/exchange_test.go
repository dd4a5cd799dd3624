package clients

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// These are the small lives of clients that internal/broker/testdata/exchanges has recorded: see its test.

func TestExchangeOfSarama(t *testing.T) {
	bootstrap := os.Getenv("BOOTSTRAP")
	if bootstrap == "" {
		t.Skip("for recording an exchange")
	}
	c := saramaConfig()
	c.Producer.Compression, c.Producer.RequiredAcks, c.Producer.Return.Successes = sarama.CompressionZSTD, sarama.WaitForAll, true
	p, err := sarama.NewSyncProducer([]string{bootstrap}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, v := range []string{"one", "two", "three"} {
		if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: "exchange", Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder(v)}); err != nil {
			t.Fatal(err)
		}
	}
	co, err := sarama.NewConsumer([]string{bootstrap}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer co.Close()
	part, err := co.ConsumePartition("exchange", 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	for _, want := range []string{"one", "two", "three"} {
		if got := string((<-part.Messages()).Value); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

func TestExchangeOfFranz(t *testing.T) {
	bootstrap := os.Getenv("BOOTSTRAP")
	if bootstrap == "" {
		t.Skip("for recording an exchange")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic("exchange"), kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"exchange": {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, v := range []string{"one", "two", "three"} {
		if err := cl.ProduceSync(ctx, kgo.StringRecord(v)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < 3; {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		n += f.NumRecords()
	}
}
