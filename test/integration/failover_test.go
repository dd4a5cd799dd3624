package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/test/proctest"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func admin(t *testing.T, seeds ...string) *kadm.Client {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return kadm.NewClient(k)
}

// TestLeaderKilledUnderMetadataLoad kills the Raft leader with SIGKILL, over and
// over, while clients create topics through every node. Each time a new leader
// serves; at the end every acknowledged topic is known on every node.
// TEST_KILLS sets the number of rounds.
func TestLeaderKilledUnderMetadataLoad(t *testing.T) {
	rounds := 3
	if s := os.Getenv("TEST_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	if testing.Short() {
		t.Skip("runs processes")
	}
	cl := proctest.Run(t, proctest.Config{Nodes: 3})
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rounds+3)*proctest.Patience/3)
	defer cancel()

	var (
		created sync.Map // name -> topic id, of acknowledged creations
		stop    = make(chan struct{})
		load    sync.WaitGroup
		serial  atomic.Int64
	)
	for range 4 {
		adm := admin(t, cl.Bootstrap()...)
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("load-%d", serial.Add(1))
				r, err := adm.CreateTopic(ctx, 1, 1, nil, name)
				if err == nil {
					created.Store(name, r.ID)
				}
				// Any failure leaves the outcome open; the topic is not claimed.
			}
		})
	}
	for round := range rounds {
		leader, err := cl.Leader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var alive []string
		for _, n := range cl.Nodes {
			if n != leader {
				alive = append(alive, n.Addr())
			}
		}
		probe := admin(t, alive...)
		name := fmt.Sprintf("probe-%d", round)
		start := time.Now()
		leader.Kill9()
		for {
			r, err := probe.CreateTopic(ctx, 1, 1, nil, name)
			if err == nil {
				created.Store(name, r.ID)
				break
			}
			if errors.Is(err, kerr.TopicAlreadyExists) {
				t.Fatalf("round %d: a creation that was retried by the broker was answered %v", round, err)
			}
			if ctx.Err() != nil {
				t.Fatalf("round %d: no CreateTopics succeeded after the leader's death: %v", round, err)
			}
		}
		t.Logf("round %d: node %d killed, CreateTopics served %v later", round, leader.ID, time.Since(start).Round(time.Millisecond))
		if err := leader.Start(); err != nil {
			t.Fatal(err)
		}
		if err := leader.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	load.Wait()

	for _, n := range cl.Nodes {
		adm := admin(t, n.Addr())
		// A success is visible at once where it was answered, and within a moment everywhere.
		for {
			count, missing := 0, ""
			topics, err := adm.ListTopics(ctx)
			created.Range(func(name, id any) bool {
				count++
				if got := topics[name.(string)]; got.ID != id.(kadm.TopicID) {
					missing = fmt.Sprintf("topic %v, acknowledged with id %v, is there as %v", name, id, got.ID)
				}
				return true
			})
			if err == nil && missing == "" {
				t.Logf("node %d: %d acknowledged topics are there", n.ID, count)
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("node %d: %s (%v)", n.ID, missing, err)
			}
		}
	}
	sameDigest(ctx, t, cl)
}

// sameDigest waits until all nodes show the same image of the metadata: index and digest.
func sameDigest(ctx context.Context, t *testing.T, cl *proctest.Cluster) {
	t.Helper()
	for {
		var states []string
		for _, n := range cl.Nodes {
			s, err := n.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			states = append(states, fmt.Sprintf("index %d digest %s", s.ImageIndex, s.ImageDigest))
		}
		if states[0] == states[1] && states[1] == states[2] {
			t.Logf("all nodes: %s", states[0])
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the nodes differ: %q", states)
		}
	}
}

// TestNoMajorityNoSuccess kills two of three nodes and asks the third for a topic.
func TestNoMajorityNoSuccess(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes")
	}
	cl := proctest.Run(t, proctest.Config{Nodes: 3})
	cl.Nodes[0].Kill9()
	cl.Nodes[1].Kill9()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	adm := admin(t, cl.Nodes[2].Addr())
	adm.SetTimeoutMillis(2000)
	if _, err := adm.CreateTopic(ctx, 1, 1, nil, "minority"); err == nil {
		t.Fatal("one node of three acknowledged a topic")
	} else {
		t.Logf("refused: %v", err)
	}
	for _, n := range cl.Nodes[:2] {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	all, cancel := context.WithTimeout(context.Background(), proctest.Patience)
	defer cancel()
	if err := cl.WaitReady(all); err != nil {
		t.Fatal(err)
	}
	if _, err := admin(t, cl.Bootstrap()...).CreateTopic(all, 1, 1, nil, "majority"); err != nil {
		t.Fatal(err)
	}
}
