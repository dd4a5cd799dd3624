package raftrpc

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/rpc"
)

// onLoopback puts a cluster on the machine's network and its disk.
func onLoopback(b *testing.B) (c *cluster, leader *node) {
	c = newCluster(b, 3)
	c.onBolt()
	for _, n := range c.nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		n.network, n.address = rpc.TCP{}, l.Addr().String()
		l.Close()
	}
	c.start()
	return c, c.leader(10 * time.Second)
}

// BenchmarkApply is one command at a time through three nodes with bolt on
// loopback: two flushes and a round trip.
func BenchmarkApply(b *testing.B) {
	c, l := onLoopback(b)
	defer c.end()
	data := strings.Repeat("x", 200)
	for b.Loop() {
		l.must(data)
	}
}

// BenchmarkApplyParallel has 64 proposers.
func BenchmarkApplyParallel(b *testing.B) {
	c, l := onLoopback(b)
	defer c.end()
	data := strings.Repeat("x", 200)
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.apply(data); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
}

// BenchmarkIdle is a second of three nodes that do nothing; what it costs is in
// the process time of the test, not in ns/op.
func BenchmarkIdle(b *testing.B) {
	c, _ := onLoopback(b)
	defer c.end()
	for b.Loop() {
		time.Sleep(time.Second)
	}
}
