package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/testcluster"
	"github.com/chronik-stream/chronik/internal/vnet"
)

// event is one fault or repair.
type event struct {
	name string
	do   func(c *testcluster.Cluster)
}

// next draws an event that is possible now. At most two nodes are down at a time.
func next(rng *rand.Rand, c *testcluster.Cluster) event {
	a := c.Nodes[rng.IntN(len(c.Nodes))]
	b := c.Nodes[(int(a.ID)+rng.IntN(len(c.Nodes)-1))%len(c.Nodes)]
	down := 0
	for _, n := range c.Nodes {
		if !n.Running() {
			down++
		}
	}
	if !a.Running() {
		return event{"start " + a.Name, func(*testcluster.Cluster) { a.Start() }}
	}
	switch k := rng.IntN(10); {
	case k < 2 && down < 2:
		return event{"kill -9 " + a.Name, func(*testcluster.Cluster) { a.Kill() }}
	case k < 4 && down < 2:
		return event{"power loss of " + a.Name, func(*testcluster.Cluster) { a.PowerLoss() }}
	case k == 4 && down < 2:
		return event{"clean stop of " + a.Name, func(*testcluster.Cluster) { _ = a.Stop() }}
	case k == 5:
		return event{"isolate " + a.Name, func(c *testcluster.Cluster) { c.Net.Isolate(a.Name) }}
	case k == 6:
		return event{fmt.Sprintf("cut %s -> %s", a.Name, b.Name), func(c *testcluster.Cluster) { c.Net.SetLink(a.Name, b.Name, vnet.Cut) }}
	case k == 7:
		return event{fmt.Sprintf("reset %s <-> %s", a.Name, b.Name), func(c *testcluster.Cluster) {
			c.Net.Between(a.Name, b.Name, vnet.Reset)
			c.Net.Between(a.Name, b.Name, vnet.Up)
		}}
	case k == 8:
		stall := time.Duration(rng.IntN(1000)) * time.Millisecond
		return event{fmt.Sprintf("stall the Raft disk of %s for %v", a.Name, stall), func(*testcluster.Cluster) { stallOnce(a.Raft(), stall) }}
	default:
		return event{"heal the network", func(c *testcluster.Cluster) { c.Net.Heal() }}
	}
}

// stallOnce makes the next write of a Raft store take d.
func stallOnce(m *raftstore.Memory, d time.Duration) {
	m.SetHook(func(raftstore.Write) error {
		m.SetHook(nil)
		time.Sleep(d)
		return nil
	})
}
