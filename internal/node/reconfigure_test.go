package node

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// alter sets name=value pairs of a broker, "" for all, and waits until this node's image has them.
func alter(t *testing.T, n *Node, broker string, pairs ...string) {
	t.Helper()
	r := &clusterv1.AlterConfigs_Resource{Type: int32(config.KindBroker), Name: broker}
	for i := 0; i < len(pairs); i += 2 {
		r.Changes = append(r.Changes, &clusterv1.AlterConfigs_Change{Name: pairs[i], Op: clusterv1.ConfigOp_CONFIG_OP_SET, Value: pairs[i+1]})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	answer, err := n.cluster.Submit(ctx, &clusterv1.Command{Kind: &clusterv1.Command_AlterConfigs{
		AlterConfigs: &clusterv1.AlterConfigs{Resources: []*clusterv1.AlterConfigs_Resource{r}},
	}})
	if err == nil {
		err = metadata.AnswerError(answer)
	}
	if err != nil || answer.GetAlterConfigs().GetResources()[0].GetCode() != 0 {
		t.Fatalf("%v %v", answer, err)
	}
}

// await waits until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// refused tells whether a new connection is closed at once or not let in.
func refused(t *testing.T, n *Node) bool {
	t.Helper()
	c, err := net.Dial("tcp", n.KafkaAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// What is set of a broker's properties at run time is in force while it runs, and again after a restart.
func TestBrokerPropertiesChangeAtRunTime(t *testing.T) {
	cfg := settings(t)
	check := func(n *Node) {
		t.Helper()
		await(t, "the settings", func() bool {
			topic := n.live.Topic(nil)
			return topic.MaxMessageBytes == 2000 && topic.SegmentMillis == 7
		})
		await(t, "the limit of connections", func() bool { return refused(t, n) })
	}
	if err := runUntilReady(t, cfg, func(n *Node) {
		alter(t, n, "", "message.max.bytes", "1000", "log.roll.ms", "7")
		alter(t, n, "1", "message.max.bytes", "2000", "max.connections.per.ip.overrides", "127.0.0.1:0")
		check(n)
	}); err != nil {
		t.Fatal(err)
	}
	if err := runUntilReady(t, cfg, check); err != nil {
		t.Fatal(err)
	}
}

// A limit of connections that is set for all brokers holds on each, until one has its own.
func TestLimitsOfConnectionsForAllBrokers(t *testing.T) {
	const perIP = "max.connections.per.ip"
	if err := runUntilReady(t, settings(t), func(n *Node) {
		alter(t, n, "", perIP, "0")
		await(t, "the limit for all", func() bool { return refused(t, n) })
		alter(t, n, "1", perIP, "100")
		await(t, "its own limit", func() bool { return !refused(t, n) })
	}); err != nil {
		t.Fatal(err)
	}
}

// What does not fit what a node was started with leaves it as it was.
func TestWhatDoesNotFitIsLeftOut(t *testing.T) {
	if err := runUntilReady(t, settings(t, "log.roll.jitter.ms", "100"), func(n *Node) {
		alter(t, n, "", "log.roll.ms", "50")
		if got := n.live.Topic(nil).SegmentMillis; got == 50 {
			t.Errorf("segment.ms is %d", got)
		}
		alter(t, n, "1", "log.roll.jitter.ms", "9")
		await(t, "both", func() bool { return n.live.Topic(nil).SegmentMillis == 50 })
	}); err != nil {
		t.Fatal(err)
	}
}
