package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/testcluster"
	"github.com/chronik-stream/chronik/test/history"
)

// faultTime is how long faults go on in a schedule, of fake time; with -short a third of it.
const faultTime = 30 * time.Second

func TestSchedules(t *testing.T) {
	first, last := 1, 20
	if testing.Short() {
		last = 3
	}
	if s := os.Getenv("TEST_SEEDS"); s != "" {
		last = number(t, s)
	}
	if s := os.Getenv("TEST_SEED"); s != "" {
		first = number(t, s)
		last = first
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) { schedule(t, uint64(seed)) })
		})
	}
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// schedule runs one seed: a cluster, a load, faults; then everything is healed and what was acknowledged is read back.
func schedule(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	c := testcluster.New(t, testcluster.Options{
		Nodes: 3, Latency: time.Duration(50+rng.IntN(2000)) * time.Microsecond, Rand: rand.New(rand.NewPCG(seed, 2)),
		Flush: time.Duration(rng.IntN(5000)) * time.Microsecond, RaftWrite: time.Duration(rng.IntN(5000)) * time.Microsecond,
		Properties: map[string]string{
			"log.segment.bytes":            strconv.Itoa(1<<20 + rng.IntN(1<<20)),
			"raft.snapshot.threshold":      strconv.Itoa(20 + rng.IntN(200)),
			"raft.trailing.logs":           strconv.Itoa(10 + rng.IntN(50)),
			"raft.snapshot.interval.ms":    "1000",
			"offsets.topic.num.partitions": "4",
		},
	})
	defer c.Close()
	story := &story{t: t, began: time.Now()}
	defer story.tell()

	c.Start()
	awaitAll(t, c, "formation")
	inv := newInvariants(c)
	w := &history.Workload{Run: fmt.Sprintf("s%d", seed), Pace: 20 * time.Millisecond, Tails: 1, Members: members, Clients: func(addrs []string, opts ...kgo.Opt) *kgo.Client {
		if addrs != nil {
			opts = append([]kgo.Opt{kgo.SeedBrokers(addrs...)}, opts...)
		}
		return c.Client(client, opts...)
	}}
	loading, stopLoad := context.WithCancel(context.Background())
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		w.Load(loading)
	}()

	faults := newPlan(rng, c, func(n *testcluster.Node) {
		if err := n.Stop(); err != nil {
			story.add(fmt.Sprintf("the stop of %s: %v", n.Name, err))
		}
	})
	duration := faultTime
	if testing.Short() {
		duration /= 3
	}
	for end := time.Now().Add(duration); time.Now().Before(end); {
		e := faults.next()
		story.add(e.name)
		e.do()
		// Not in step with the load.
		time.Sleep(time.Duration(rng.IntN(50_000)) * time.Microsecond)
		for pause := time.Duration(50+rng.IntN(2500)) * time.Millisecond; pause > 0; pause -= 50 * time.Millisecond {
			time.Sleep(50 * time.Millisecond)
			inv.check(t)
			restartEnded(t, c, story)
			if t.Failed() {
				stopLoad()
				<-loaded
				return
			}
		}
	}
	stopLoad()
	<-loaded

	story.add("heal everything, start all")
	faults.repair()
	awaitAll(t, c, "the end of all faults")
	inv.settled(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := w.Check(ctx, c.Bootstrap())
	story.add(s.String())
	if err != nil {
		t.Errorf("reading back: %v", err)
	}
	for _, wrong := range s.Wrong {
		t.Error(wrong)
	}
	inv.settled(t)
}

// restartEnded starts nodes again that ended by themselves for a reason that a restart
// heals, as a supervisor would: a disk that stalled or failed while it was crashed.
func restartEnded(t *testing.T, c *testcluster.Cluster, s *story) {
	for _, n := range c.Nodes {
		select {
		case <-n.Ended():
			s.add(fmt.Sprintf("%s ended: %v; started again", n.Name, n.Err()))
			if n.Err() == nil {
				t.Errorf("%s ended without an error and without having been stopped", n.Name)
			}
			n.Kill()
			n.Start()
		default:
		}
	}
}

func awaitAll(t *testing.T, c *testcluster.Cluster, after string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.AwaitReady(ctx); err != nil {
		t.Fatalf("after %s: %v", after, err)
	}
}

// story remembers what happened, for a failed seed.
type story struct {
	t     *testing.T
	began time.Time
	lines []string
}

func (s *story) add(what string) {
	s.lines = append(s.lines, fmt.Sprintf("%8.3f s  %s", time.Since(s.began).Seconds(), what))
}

func (s *story) tell() {
	if s.t.Failed() || testing.Verbose() {
		s.t.Logf("what happened:\n%s", strings.Join(s.lines, "\n"))
	}
}
