// Package testcluster runs whole nodes of Chronik in one process: real hashicorp/raft, real
// gRPC, the real broker, over a virtual network, disks in memory that can crash, and
// the fake time of a testing/synctest bubble. It is for tests only.
//
// A node is killed as kill -9 does (what it wrote is there, its connections are
// reset) or loses power (what it had not synced may be gone or torn). The process cannot
// really be killed, so its disk, its Raft store and its network are taken away from it in one step;
// what its goroutines still try then fails, and reaches nobody.
package testcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/node"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/internal/vnet"
)

// The ports of every node; each has a host of its own.
const (
	kafkaPort = 9092
	raftPort  = 5001
	adminPort = 9644
)

// Options of a cluster.
type Options struct {
	Nodes int
	// Latency of a packet between two hosts; 0 stands for 100 us.
	Latency time.Duration
	// Flush is how long it takes to make a file or a directory durable. Where it takes no time, as with
	// 0, a crash never finds anything that is written and not flushed.
	Flush time.Duration
	// RaftWrite is how long a transaction of a Raft store takes.
	RaftWrite time.Duration
	// Properties are further ones of every node, by name.
	Properties map[string]string
	// Rand decides what a crash leaves behind.
	Rand *rand.Rand
	// Logger gets the nodes' lines; nil keeps the last ones for a failed test.
	Logger *slog.Logger
}

// Cluster is a set of nodes in one bubble.
type Cluster struct {
	t     testing.TB
	o     Options
	Net   *vnet.Network
	Nodes []*Node
	trips *trips
	logs  *ring
}

// Node is one node, running or not. Its methods are called by the test's goroutine.
type Node struct {
	ID   int32
	Name string // of its host

	c     *Cluster
	disk  *vfs.Mem
	raft  *raftstore.Memory
	run   *running
	bound sync.WaitGroup // of all that ran so far
}

// running is one life of a node.
type running struct {
	net    *lifeline
	disk   *vfs.Mem
	faults *vfs.Faults // of disk
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid after done
	node   atomic.Pointer[node.Node]
	series *prometheus.Registry
}

// New lays out a cluster; nothing runs before Start. It must be called inside a
// bubble, and Close before the bubble's function returns.
func New(t testing.TB, o Options) *Cluster {
	if o.Latency == 0 {
		o.Latency = 100 * time.Microsecond
	}
	trips := &trips{usual: o.Latency, slow: map[[2]string]time.Duration{}}
	c := &Cluster{t: t, o: o, Net: vnet.New(trips.latency), trips: trips, logs: &ring{}}
	for i := range o.Nodes {
		n := &Node{ID: int32(i + 1), Name: fmt.Sprintf("node%d", i+1), c: c, disk: vfs.NewMem(), raft: raftstore.NewMemory()}
		c.Net.Host(n.Name).Down()
		n.HealRaft()
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

// Close kills what runs and waits for its end. A failed test gets the last log lines.
func (c *Cluster) Close() {
	for _, n := range c.Nodes {
		n.Kill()
	}
	for _, n := range c.Nodes {
		n.bound.Wait()
	}
	c.Net.Close()
	if c.t.Failed() && c.o.Logger == nil {
		c.t.Logf("the last lines of the nodes:\n%s", c.logs)
	}
}

// Start starts every node that does not run.
func (c *Cluster) Start() {
	for _, n := range c.Nodes {
		n.Start()
	}
}

// AwaitReady waits until every running node is ready.
func (c *Cluster) AwaitReady(ctx context.Context) error {
	for _, n := range c.Nodes {
		for n.run != nil && !n.Ready() {
			select {
			case <-n.run.done:
				return fmt.Errorf("%s ended: %w", n.Name, n.run.err)
			case <-ctx.Done():
				return fmt.Errorf("%s is not ready: %w", n.Name, ctx.Err())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

// Bootstrap returns the Kafka addresses of all nodes.
func (c *Cluster) Bootstrap() []string {
	var a []string
	for _, n := range c.Nodes {
		a = append(a, n.Addr())
	}
	return a
}

// PowerLoss takes the power from all nodes in one moment, and returns when what ran has ended.
func (c *Cluster) PowerLoss() { c.endAll((*Node).losePower) }

// Kill ends all nodes in one moment as kill -9 does, and returns when what ran has ended.
func (c *Cluster) Kill() { c.endAll((*Node).kill) }

func (c *Cluster) endAll(end func(*Node) *running) {
	var ended []*running
	for _, n := range c.Nodes {
		if r := end(n); r != nil {
			ended = append(ended, r)
		}
	}
	for _, r := range ended {
		<-r.done
	}
}

// Stop stops all running nodes in order, at the same time.
func (c *Cluster) Stop() error {
	var stopping []*running
	for _, n := range c.Nodes {
		if n.run != nil {
			n.run.cancel()
			stopping = append(stopping, n.run)
		}
	}
	var errs []error
	for _, r := range stopping {
		<-r.done
		errs = append(errs, r.err)
	}
	for _, n := range c.Nodes {
		n.run = nil
		c.Net.Host(n.Name).Down()
	}
	return errors.Join(errs...)
}

// Slow makes packets from one host to another take d, until Heal.
func (c *Cluster) Slow(from, to string, d time.Duration) { c.trips.set(from, to, d) }

// Heal brings all links up and makes them as quick as they were.
func (c *Cluster) Heal() {
	c.trips.heal()
	c.Net.Heal()
}

// Client returns a client on a host of its own.
func (c *Cluster) Client(host string, opts ...kgo.Opt) *kgo.Client {
	h := c.Net.Host(host)
	k, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.Bootstrap()...),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			// A cut link swallows a dial for ever; a real client gives up.
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			return h.DialContext(ctx, network, address)
		}),
		kgo.RequestTimeoutOverhead(2 * time.Second),
		kgo.RetryTimeout(10 * time.Second),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
	}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	return k
}

// Addr is the node's Kafka address.
func (n *Node) Addr() string { return net.JoinHostPort(n.Name, strconv.Itoa(kafkaPort)) }

// Running tells whether the node was started and neither stopped nor killed.
func (n *Node) Running() bool { return n.run != nil }

// Ready tells whether the running node has been ready.
func (n *Node) Ready() bool { return n.run != nil && n.run.node.Load() != nil }

// Node returns the running node, nil before it was ready.
func (n *Node) Node() *node.Node {
	if n.run == nil {
		return nil
	}
	return n.run.node.Load()
}

// Series gathers what the running node's /metrics serves.
func (n *Node) Series() prometheus.Gatherer { return n.run.series }

// Ended returns a channel that is closed when the running node has ended, and nil if none runs.
func (n *Node) Ended() <-chan struct{} {
	if n.run == nil {
		return nil
	}
	return n.run.done
}

// Err is how the running node ended, once Ended is closed.
func (n *Node) Err() error { return n.run.err }

// OnRaftWrite has the next write of the node's Raft store do something else: wait, or fail.
func (n *Node) OnRaftWrite(do func() error) {
	n.raft.SetHook(func(raftstore.Write) error {
		n.HealRaft()
		return do()
	})
}

// HealRaft takes back what OnRaftWrite has asked for.
func (n *Node) HealRaft() {
	n.raft.SetHook(func(raftstore.Write) error {
		time.Sleep(n.c.o.RaftWrite)
		return nil
	})
}

// Disk injects faults into the file system of the running node, nil if none runs. A
// restart ends all of them. What stalls or delays a call must be healed before an orderly stop.
func (n *Node) Disk() *vfs.Faults {
	if n.run == nil {
		return nil
	}
	return n.run.faults
}

// Start starts the node on what its disks hold.
func (n *Node) Start() {
	if n.run != nil {
		return
	}
	cfg, err := config.Load(n.sources())
	if err != nil {
		n.c.t.Fatal(err)
	}
	host := n.c.Net.Host(n.Name)
	host.Up()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{net: &lifeline{host: host}, disk: n.disk, faults: vfs.NewFaults(n.disk), cancel: cancel, done: make(chan struct{}), series: prometheus.NewRegistry()}
	r.faults.Inject(vfs.Rule{Ops: vfs.OpSync | vfs.OpSyncDir, Delay: n.c.o.Flush})
	n.run = r
	logger := n.c.o.Logger
	if logger == nil {
		logger = slog.New(slog.NewTextHandler(n.c.logs, nil))
	}
	env := node.Env{
		FS:      r.faults,
		Network: r.net,
		Machine: &config.Machine{
			Hostname:   func() (string, error) { return n.Name, nil },
			Resolves:   func(context.Context, string) bool { return true },
			Interfaces: func() ([]net.Addr, error) { return nil, nil },
		},
		Stores:   n.raft.Open,
		Registry: r.series,
		Logger:   logger.With("at", n.Name),
		Ready:    func(ready *node.Node) { r.node.Store(ready) },
	}
	n.bound.Go(func() {
		defer close(r.done)
		defer cancel()
		r.err = node.Run(ctx, cfg, env)
	})
}

func (n *Node) sources() config.Sources {
	set := map[string]string{
		"node.id": strconv.Itoa(int(n.ID)), "kafka.port": strconv.Itoa(kafkaPort), "bind.addr": n.Name, "advertised.addr": n.Name,
		"admin.addr": net.JoinHostPort(n.Name, strconv.Itoa(adminPort)), "data.dir": "/data",
	}
	mode := config.Standalone
	if len(n.c.Nodes) > 1 {
		mode = config.RaftCluster
		set["raft.addr"] = net.JoinHostPort(n.Name, strconv.Itoa(raftPort))
		var peers []string
		for _, p := range n.c.Nodes {
			if p != n {
				peers = append(peers, fmt.Sprintf("%d@%s:%d", p.ID, p.Name, raftPort))
			}
		}
		set["peers"] = strings.Join(peers, ",")
	}
	for name, value := range n.c.o.Properties {
		set[name] = value
	}
	src := config.Sources{Mode: mode}
	for name, value := range set {
		src.Flags = append(src.Flags, config.Setting{Name: name, Value: value, Flag: "-o"})
	}
	return src
}

// Stop stops the node in order and returns how it ended.
func (n *Node) Stop() error {
	r := n.run
	if r == nil {
		return nil
	}
	r.cancel()
	<-r.done
	n.run = nil
	n.c.Net.Host(n.Name).Down()
	return r.err
}

// Kill ends the node as kill -9 does.
func (n *Node) Kill() { n.await(n.kill()) }

// PowerLoss ends the node as the loss of power does.
func (n *Node) PowerLoss() { n.await(n.losePower()) }

// await waits for the end of a life. Its goroutines end by themselves, but only
// when they have may the next life open the Raft store.
func (n *Node) await(r *running) {
	if r != nil {
		<-r.done
	}
}

func (n *Node) kill() *running { return n.end(func(d *vfs.Mem) *vfs.Mem { return d.Kill() }) }

func (n *Node) losePower() *running {
	return n.end(func(d *vfs.Mem) *vfs.Mem { return d.Crash(n.c.o.Rand) })
}

func (n *Node) end(crash func(*vfs.Mem) *vfs.Mem) *running {
	r := n.run
	if r == nil {
		return nil
	}
	n.disk = crash(r.disk)
	n.raft.Crash(n.c.o.Rand)
	r.net.cut.Store(true)
	n.c.Net.Host(n.Name).Down()
	r.faults.Heal()
	r.cancel()
	n.run = nil
	return r
}

// trips is how long packets take.
type trips struct {
	usual time.Duration

	mu   sync.Mutex
	slow map[[2]string]time.Duration
}

func (t *trips) latency(from, to string) time.Duration {
	if from == to {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if d, ok := t.slow[[2]string{from, to}]; ok {
		return d
	}
	return t.usual
}

func (t *trips) set(from, to string, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slow[[2]string{from, to}] = d
}

func (t *trips) heal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.slow)
}

// lifeline is a host's network as one life of a node sees it: once cut, it is gone for good, even when the host is up again.
type lifeline struct {
	host *vnet.Host
	cut  atomic.Bool
}

var errDead = errors.New("testcluster: this node was killed")

func (l *lifeline) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if l.cut.Load() {
		return nil, errDead
	}
	return l.host.Listen(ctx, network, address)
}

func (l *lifeline) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if l.cut.Load() {
		return nil, errDead
	}
	return l.host.DialContext(ctx, network, address)
}

// ring keeps the last lines of all nodes.
type ring struct {
	mu    sync.Mutex
	lines []string
}

const ringSize = 400

func (r *ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, string(p))
	if len(r.lines) > 2*ringSize {
		r.lines = append(r.lines[:0], r.lines[len(r.lines)-ringSize:]...)
	}
	return len(p), nil
}

// String returns the lines.
func (r *ring) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines[max(0, len(r.lines)-ringSize):], "")
}
