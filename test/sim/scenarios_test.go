package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/testcluster"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/internal/vnet"
)

// scenario runs f on a formed cluster in a bubble.
func scenario(t *testing.T, nodes int, f func(t *testing.T, c *testcluster.Cluster)) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{
			Nodes: nodes, Rand: rand.New(rand.NewPCG(1, 1)), Flush: time.Millisecond, RaftWrite: time.Millisecond,
			Properties: map[string]string{"offsets.topic.num.partitions": "4"},
		})
		defer c.Close()
		c.Start()
		awaitAll(t, c, "formation")
		f(t, c)
	})
}

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// produce sends one record to a partition, once, and returns how it was answered.
func produce(k *kgo.Client, topic string, p int32, value string) error {
	ctx, cancel := within(5 * time.Second)
	defer cancel()
	return k.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: p, Value: []byte(value)}).FirstErr()
}

// once makes a client that does not try again, so that the broker's first answer is seen.
func once(c *testcluster.Cluster) *kgo.Client {
	return c.Client(client, kgo.DisableIdempotentWrite(), kgo.RecordRetries(0), kgo.RecordPartitioner(kgo.ManualPartitioner()))
}

// A log whose flush has failed is out of order until the node is started again, whatever the
// disk says afterwards; the other logs of the directory go on, and nothing acknowledged is gone.
func TestFailedLogUntilRestart(t *testing.T) {
	scenario(t, 1, func(t *testing.T, c *testcluster.Cluster) {
		k := once(c)
		defer k.Close()
		ctx, cancel := within(30 * time.Second)
		defer cancel()
		if _, err := kadm.NewClient(k).CreateTopic(ctx, 2, 1, nil, "logs"); err != nil {
			t.Fatal(err)
		}
		for p := range int32(2) {
			if err := produce(k, "logs", p, "before"); err != nil {
				t.Fatal(err)
			}
		}
		n := c.Nodes[0]
		n.Disk().Inject(vfs.Rule{Ops: vfs.OpSync, Path: path.Join("logs-0", "*.log"), Err: syscall.EIO, Times: 1})
		for i := range 3 {
			if err := produce(k, "logs", 0, "refused"); !errors.Is(err, kerr.KafkaStorageError) {
				t.Errorf("produce %d to the failed log: %v, want KAFKA_STORAGE_ERROR", i, err)
			}
			if err := produce(k, "logs", 1, fmt.Sprint("meanwhile ", i)); err != nil {
				t.Errorf("produce %d to the other log: %v", i, err)
			}
		}
		n.PowerLoss()
		n.Start()
		awaitAll(t, c, "the restart")
		if err := produce(k, "logs", 0, "after"); err != nil {
			t.Errorf("after the restart: %v", err)
		}
		for p, want := range map[int32][]string{0: {"before", "after"}, 1: {"before", "meanwhile 0", "meanwhile 1", "meanwhile 2"}} {
			if got := readAll(ctx, t, c, "logs", p); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("logs-%d holds %q, want %q", p, got, want)
			}
		}
	})
}

// readAll returns the values of a partition up to its end.
func readAll(ctx context.Context, t *testing.T, c *testcluster.Cluster, topic string, p int32) (values []string) {
	t.Helper()
	k := c.Client(client, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().AtStart()}}))
	defer k.Close()
	ends, err := kadm.NewClient(k).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, p)
	for int64(len(values)) < end.Offset {
		fs := k.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

// A node without a majority answers no CreateTopics with success, whether its peers are dead or out of reach.
func TestNoTopicWithoutMajority(t *testing.T) {
	scenario(t, 3, func(t *testing.T, c *testcluster.Cluster) {
		cuts := map[string]func(){
			"dead": func() { c.Nodes[1].Kill(); c.Nodes[2].PowerLoss() },
			"cut": func() {
				c.Net.Between("node1", "node2", vnet.Cut)
				c.Net.Between("node1", "node3", vnet.Cut)
			},
		}
		for name, cut := range cuts {
			cut()
			k := c.Client(client, kgo.SeedBrokers(c.Nodes[0].Addr()))
			ctx, cancel := within(8 * time.Second)
			// By way of node 1 alone: the client may know of others, this request does not go to them.
			err := createAt(ctx, k, c.Nodes[0].ID, name)
			if !errors.Is(err, kerr.RequestTimedOut) && !errors.Is(err, kerr.NotController) {
				t.Errorf("%s: a node without majority was asked for a topic: %v, want REQUEST_TIMED_OUT or NOT_CONTROLLER", name, err)
			}
			cancel()
			k.Close()
			c.Heal()
			c.Start()
			awaitAll(t, c, name)
			newInvariants(c).settled(t)
		}
	})
}

// createAt asks one node, and only that one, for a topic.
func createAt(ctx context.Context, k *kgo.Client, node int32, name string) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 2000
	req.Topics = append(req.Topics, topic)
	resp, err := k.Broker(int(node)).Request(ctx, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
}

// A dead node's partitions have no leader within a second, and have it again, in a later epoch, when it is back.
func TestPartitionsOfADeadNode(t *testing.T) {
	scenario(t, 3, func(t *testing.T, c *testcluster.Cluster) {
		k := once(c)
		defer k.Close()
		ctx, cancel := within(30 * time.Second)
		defer cancel()
		if _, err := kadm.NewClient(k).CreateTopic(ctx, 6, 1, nil, "spread"); err != nil {
			t.Fatal(err)
		}
		newInvariants(c).settled(t)
		dead, alive := c.Nodes[2], c.Nodes[0]
		epochs := map[int32]int32{}
		each := func(f func(p, leader, epoch int32)) {
			for _, p := range alive.Node().Image().TopicByName("spread").Partitions {
				if p.Replicas[0] == dead.ID {
					f(p.Index, p.Leader, p.LeaderEpoch)
				}
			}
		}
		each(func(p, _, epoch int32) { epochs[p] = epoch })
		if len(epochs) != 2 {
			t.Fatalf("%s leads %d of 6 partitions, want 2", dead.Name, len(epochs))
		}
		dead.Kill()
		time.Sleep(time.Second)
		each(func(p, leader, epoch int32) {
			if leader != -1 || epoch <= epochs[p] {
				t.Errorf("a second after the death of its node spread-%d has leader %d in epoch %d, want none in an epoch after %d", p, leader, epoch, epochs[p])
			}
			epochs[p] = epoch
		})
		dead.Start()
		awaitAll(t, c, "the return")
		newInvariants(c).settled(t)
		each(func(p, leader, epoch int32) {
			if leader != dead.ID || epoch <= epochs[p] {
				t.Errorf("after the return of its node spread-%d has leader %d in epoch %d, want %d in an epoch after %d", p, leader, epoch, dead.ID, epochs[p])
			}
			if err := produce(k, "spread", p, "again"); err != nil {
				t.Errorf("produce to spread-%d: %v", p, err)
			}
		})
	})
}

// TestTrap20_NoAnswerBeforeTheMetadataIsKnown: whatever a node's first answers after a start are, its topics are in them,
// also those of the time when it was away; a producer that is told of a topic that is not there begins anew
// and loses what it had.
func TestTrap20_NoAnswerBeforeTheMetadataIsKnown(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			scenario(t, nodes, func(t *testing.T, c *testcluster.Cluster) {
				away := c.Nodes[nodes-1]
				k := c.Client(client)
				defer k.Close()
				ctx, cancel := within(time.Minute)
				defer cancel()
				create := func(name string) {
					if _, err := kadm.NewClient(k).CreateTopic(ctx, int32(nodes), 1, nil, name); err != nil {
						t.Fatal(err)
					}
				}
				create("before")
				newInvariants(c).settled(t)
				away.Kill()
				topics := []string{"before"}
				if nodes > 1 {
					create("meanwhile")
					topics = append(topics, "meanwhile")
					c.Slow(c.Nodes[0].Name, away.Name, 100*time.Millisecond)
					c.Slow(c.Nodes[1].Name, away.Name, 100*time.Millisecond)
				}
				away.Start()
				answers := 0
				for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
					first := c.Client(client, kgo.SeedBrokers(away.Addr()), kgo.RequestRetries(0))
					resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, first)
					first.Close()
					if err != nil {
						continue
					}
					var names []string
					for _, rt := range resp.Topics {
						if rt.ErrorCode != 0 {
							t.Errorf("answer %d after the start: %s has error %d", answers, *rt.Topic, rt.ErrorCode)
						}
						names = append(names, *rt.Topic)
					}
					slices.Sort(names)
					if fmt.Sprint(names) != fmt.Sprint(topics) {
						t.Fatalf("answer %d after the start has the topics %q, want %q", answers, names, topics)
					}
					if answers++; answers == 20 {
						return
					}
				}
				t.Fatalf("%d answers in 10 s", answers)
			})
		})
	}
}
