package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The topics: the well-behaved client's, the one that bombs are produced to, and one whose records the broker compresses
// anew, for which it must look into the bombs.
const (
	goodTopic    = "good"
	bombTopic    = "bombs"
	recompressed = "recompressed"
	manyTopic    = "many" // of many partitions, for long answers
)

// good is the well-behaved client: a producer, a consumer of the same records, and somebody who connects anew.
type good struct {
	addr string
	cl   *kgo.Client
}

func newGood(ctx context.Context, addr string) (*good, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(goodTopic), kgo.ConsumeTopics(goodTopic),
		kgo.ProducerLinger(0), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return nil, err
	}
	adm := kadm.NewClient(cl)
	gzip := "gzip"
	for topic, configs := range map[string]map[string]*string{goodTopic: nil, bombTopic: nil, manyTopic: nil, recompressed: {"compression.type": &gzip}} {
		partitions := int32(1)
		if topic == manyTopic {
			partitions = 1000
		}
		if _, err := adm.CreateTopic(ctx, partitions, 1, configs, topic); err != nil {
			cl.Close()
			return nil, fmt.Errorf("topic %s: %w", topic, err)
		}
	}
	return &good{addr, cl}, nil
}

func (g *good) close() { g.cl.Close() }

// pause is between two requests of each of the client's parts.
const pause = 20 * time.Millisecond

// run produces, consumes and connects until ctx ends, and notes how long each record took to be acknowledged, and each
// connection to have its first request answered.
func (g *good) run(ctx context.Context, u *usage) {
	var mu sync.Mutex
	note := func(d time.Duration, err error) {
		if ctx.Err() != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			u.errors++
			fmt.Println("the well-behaved client:", err)
			return
		}
		u.times = append(u.times, d)
	}
	var wg sync.WaitGroup
	timed := func(do func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				err := do()
				note(time.Since(began), err)
				time.Sleep(pause)
			}
		})
	}
	timed(func() error {
		return g.cl.ProduceSync(ctx, &kgo.Record{Value: []byte("a record of the well-behaved client")}).FirstErr()
	})
	timed(func() error {
		c, err := dial(ctx, g.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		return c.roundTrip(apiVersions())
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := g.cl.PollFetches(ctx).Err(); err != nil {
				note(0, err)
			}
		}
	})
	wg.Wait()
}

func (u *usage) quantile(q float64) time.Duration {
	if len(u.times) == 0 {
		return time.Hour // it was never served
	}
	slices.Sort(u.times)
	return u.times[min(int(q*float64(len(u.times))), len(u.times)-1)]
}

func (u *usage) p99() time.Duration { return u.quantile(0.99) }

func (u *usage) latency() string {
	ms := func(q float64) float64 { return float64(u.quantile(q).Microseconds()) / 1000 }
	return fmt.Sprintf("p50 %.1f, p99 %.1f, max %.1f ms of %d requests, %d errors", ms(0.5), ms(0.99), ms(1), len(u.times), u.errors)
}
