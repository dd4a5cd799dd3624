package sim

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/chronik-stream/chronik/internal/testcluster"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/internal/vnet"
)

// client is the host of all clients.
const client = "client"

// event is one fault or repair.
type event struct {
	name string
	do   func()
}

// plan draws the events of a schedule. Each seed has weights of its own: some kinds of faults
// are frequent in it, some never happen.
type plan struct {
	rng     *rand.Rand
	c       *testcluster.Cluster
	stop    func(*testcluster.Node) // in order
	weights []int                   // of kinds
	total   int
	damaged map[*testcluster.Node]time.Time // since when its disk fails; what saw it is out of order until a restart
}

// kinds of events, each with how often it happens at most and whether it takes a node down.
var kinds = []struct {
	weight int
	down   bool
	draw   func(p *plan, a *testcluster.Node) event
}{
	{4, true, (*plan).killOne},
	{4, true, (*plan).powerLossOfOne},
	{2, true, (*plan).stopOne},
	{2, false, (*plan).restartOne},
	{1, false, (*plan).killAll},
	{1, false, (*plan).powerLossOfAll},
	{1, false, (*plan).restartAll},
	{2, false, (*plan).isolate},
	{3, false, (*plan).cut},
	{2, false, (*plan).reset},
	{2, false, (*plan).slow},
	{2, false, (*plan).stallRaft},
	{1, false, (*plan).failRaft},
	{2, false, (*plan).delayLog},
	{1, false, (*plan).failLog},
	{1, false, (*plan).failAnything},
}

func newPlan(rng *rand.Rand, c *testcluster.Cluster, stop func(*testcluster.Node)) *plan {
	p := &plan{rng: rng, c: c, stop: stop, damaged: map[*testcluster.Node]time.Time{}}
	for _, k := range kinds {
		w := rng.IntN(k.weight + 1)
		p.weights = append(p.weights, w)
		p.total += w
	}
	return p
}

// repairTime is how long a log that has failed stays out of order, before somebody restarts the node.
const repairTime = 3 * time.Second

// next draws an event that is possible now. One event in six heals the network; a
// node that is drawn while it is down starts.
func (p *plan) next() event {
	for _, n := range p.c.Nodes {
		if since := p.damaged[n]; !since.IsZero() && time.Since(since) > repairTime && n.Running() {
			return event{"repair: restart " + n.Name, func() { p.end(n); n.Start() }}
		}
	}
	a := p.c.Nodes[p.rng.IntN(len(p.c.Nodes))]
	if !a.Running() {
		return event{"start " + a.Name, func() { a.Start() }}
	}
	down := 0
	for _, n := range p.c.Nodes {
		if !n.Running() {
			down++
		}
	}
	if p.total > 0 && p.rng.IntN(6) > 0 {
		at := p.rng.IntN(p.total)
		for i, k := range kinds {
			if at -= p.weights[i]; at < 0 {
				if k.down && down == len(p.c.Nodes)-1 {
					break
				}
				return k.draw(p, a)
			}
		}
	}
	return event{"heal the network", p.c.Heal}
}

// repair heals everything, and restarts what a failed disk has put out of order.
func (p *plan) repair() {
	p.c.Heal()
	for _, n := range p.c.Nodes {
		n.HealRaft()
		if !p.damaged[n].IsZero() && n.Running() {
			p.end(n)
		}
	}
	p.c.Start()
}

// end ends a node in one of the three ways.
func (p *plan) end(n *testcluster.Node) {
	switch p.rng.IntN(3) {
	case 0:
		p.stop(n)
	case 1:
		n.Kill()
	default:
		n.PowerLoss()
	}
	delete(p.damaged, n)
}

func (p *plan) killOne(a *testcluster.Node) event {
	return event{"kill -9 " + a.Name, func() { a.Kill(); delete(p.damaged, a) }}
}

func (p *plan) powerLossOfOne(a *testcluster.Node) event {
	return event{"power loss of " + a.Name, func() { a.PowerLoss(); delete(p.damaged, a) }}
}

func (p *plan) stopOne(a *testcluster.Node) event {
	return event{"clean stop of " + a.Name, func() { p.stop(a); delete(p.damaged, a) }}
}

func (p *plan) restartOne(a *testcluster.Node) event {
	return event{"restart " + a.Name, func() { p.end(a); a.Start() }}
}

func (p *plan) killAll(*testcluster.Node) event {
	return event{"kill -9 all", func() { p.c.Kill(); clear(p.damaged); p.startAgain() }}
}

func (p *plan) powerLossOfAll(*testcluster.Node) event {
	return event{"power loss of all", func() { p.c.PowerLoss(); clear(p.damaged); p.startAgain() }}
}

func (p *plan) restartAll(*testcluster.Node) event {
	return event{"clean stop of all", func() {
		// Those that stop last have no majority any more: their stop takes its time and is no less a clean one.
		_ = p.c.Stop()
		clear(p.damaged)
		p.startAgain()
	}}
}

// startAgain starts all nodes at once, or leaves them to be started one by one.
func (p *plan) startAgain() {
	if p.rng.IntN(2) == 0 {
		p.c.Start()
	}
}

func (p *plan) isolate(a *testcluster.Node) event {
	return event{"isolate " + a.Name, func() { p.c.Net.Isolate(a.Name) }}
}

// link draws a direction between a and another node, or the clients.
func (p *plan) link(a *testcluster.Node) (from, to string) {
	others := []string{client}
	for _, n := range p.c.Nodes {
		if n != a {
			others = append(others, n.Name, n.Name)
		}
	}
	from, to = a.Name, others[p.rng.IntN(len(others))]
	if p.rng.IntN(2) == 0 {
		from, to = to, from
	}
	return from, to
}

func (p *plan) cut(a *testcluster.Node) event {
	from, to := p.link(a)
	return event{fmt.Sprintf("cut %s -> %s", from, to), func() { p.c.Net.SetLink(from, to, vnet.Cut) }}
}

func (p *plan) reset(a *testcluster.Node) event {
	from, to := p.link(a)
	return event{fmt.Sprintf("reset %s <-> %s", from, to), func() {
		p.c.Net.Between(from, to, vnet.Reset)
		p.c.Net.Between(from, to, vnet.Up)
	}}
}

// slow stays below the time after which a client gives a request up: what it then sends on another
// connection would overtake the first one, which no broker can tell from the order it was meant in.
func (p *plan) slow(a *testcluster.Node) event {
	from, to := p.link(a)
	d := time.Duration(1+p.rng.IntN(400)) * time.Millisecond
	return event{fmt.Sprintf("slow %s -> %s: %v", from, to, d), func() { p.c.Slow(from, to, d) }}
}

func (p *plan) stallRaft(a *testcluster.Node) event {
	d := time.Duration(p.rng.IntN(1000)) * time.Millisecond
	return event{fmt.Sprintf("stall the Raft disk of %s for %v", a.Name, d), func() {
		a.OnRaftWrite(func() error {
			time.Sleep(d)
			return nil
		})
	}}
}

func (p *plan) failRaft(a *testcluster.Node) event {
	return event{"fail a write to the Raft disk of " + a.Name, func() {
		a.OnRaftWrite(func() error { return syscall.EIO })
	}}
}

func (p *plan) delayLog(a *testcluster.Node) event {
	d := time.Duration(p.rng.IntN(3000)) * time.Millisecond
	return event{fmt.Sprintf("delay a flush on %s by %v", a.Name, d), func() {
		a.Disk().Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Delay: d, Times: 1})
	}}
}

func (p *plan) failLog(a *testcluster.Node) event {
	rule := vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Err: syscall.EIO, Times: 1}
	what := "flush"
	if p.rng.IntN(2) == 0 {
		rule.Ops, rule.Short, what = vfs.OpWrite, -1, "write"
	}
	if p.rng.IntN(3) == 0 {
		rule.Err = syscall.ENOSPC
	}
	return event{fmt.Sprintf("fail a log's %s on %s: %v", what, a.Name, rule.Err), func() { p.damage(a, rule) }}
}

// failAnything makes one call of whatever changes the data directory fail.
func (p *plan) failAnything(a *testcluster.Node) event {
	rule := vfs.Rule{
		Ops: vfs.OpCreate | vfs.OpWrite | vfs.OpSync | vfs.OpSyncDir | vfs.OpRename | vfs.OpRemove | vfs.OpTruncate | vfs.OpMkdir,
		Nth: 1 + p.rng.IntN(50), Err: syscall.EIO, Short: -1, Seed: p.rng.Uint64(),
	}
	return event{fmt.Sprintf("fail change %d of the disk of %s", rule.Nth, a.Name), func() { p.damage(a, rule) }}
}

func (p *plan) damage(a *testcluster.Node, rule vfs.Rule) {
	a.Disk().Inject(rule)
	if p.damaged[a].IsZero() {
		p.damaged[a] = time.Now()
	}
}
