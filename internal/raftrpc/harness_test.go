package raftrpc

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/rpc"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/internal/vnet"
)

// history is what all state machines of a cluster agree on: at each index one
// command and one hash over all commands up to it (State Machine Safety).
type history struct {
	mu      sync.Mutex
	hashes  map[uint64]uint64
	data    map[uint64]string
	wrong   []string
	leaders map[uint64]string // term -> leader (Election Safety)
}

func (h *history) applied(node string, index, hash uint64, data string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.hashes[index]; ok {
		if known != hash {
			h.wrong = append(h.wrong, fmt.Sprintf("%s: another history up to entry %d: %q, not %q", node, index, data, h.data[index]))
		}
		return
	}
	h.hashes[index], h.data[index] = hash, data
}

func (h *history) led(node string, term uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if other := h.leaders[term]; other != "" && other != node {
		h.wrong = append(h.wrong, fmt.Sprintf("two leaders in term %d: %s and %s", term, other, node))
	}
	h.leaders[term] = node
}

// machine is a state machine whose state is a hash over all commands.
type machine struct {
	node    string
	history *history

	mu     sync.Mutex
	index  uint64
	hash   uint64
	pad    int // bytes that make a snapshot large
	points int
}

func (m *machine) Apply(l *raft.Log) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := fnv.New64a()
	binary.Write(h, binary.BigEndian, []uint64{m.hash, l.Index, uint64(crc32.Checksum(l.Data, castagnoli))})
	m.index, m.hash = l.Index, h.Sum64()
	data := string(l.Data)
	if len(data) > 64 {
		data = data[:64]
	}
	m.history.applied(m.node, m.index, m.hash, data)
	return l.Index
}

func (m *machine) state() (index, hash uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.index, m.hash
}

type point struct {
	Index, Hash uint64
	Pad         int
}

func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return point{m.index, m.hash, m.pad}, nil
}

func (p point) Persist(k raft.SnapshotSink) error {
	b, err := json.Marshal(p)
	if err == nil {
		_, err = k.Write(append(b, '\n'))
	}
	r := rand.New(rand.NewPCG(p.Index, p.Hash))
	chunk := make([]byte, 64<<10)
	for left := p.Pad; left > 0 && err == nil; left -= len(chunk) {
		for i := 0; i < len(chunk); i += 8 {
			binary.BigEndian.PutUint64(chunk[i:], r.Uint64())
		}
		_, err = k.Write(chunk[:min(left, len(chunk))])
	}
	if err != nil {
		return errors.Join(err, k.Cancel())
	}
	return k.Close()
}

func (point) Release() {}

func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var p point
	line, rest, _ := strings.Cut(string(b), "\n")
	if err := json.Unmarshal([]byte(line), &p); err != nil {
		return err
	}
	if len(rest) != p.Pad {
		return fmt.Errorf("%d bytes follow, want %d", len(rest), p.Pad)
	}
	m.mu.Lock()
	m.index, m.hash, m.pad = p.Index, p.Hash, p.Pad
	m.points++
	m.mu.Unlock()
	m.history.applied(m.node, p.Index, p.Hash, "snapshot")
	return nil
}

// cluster is a set of nodes on a virtual network.
type cluster struct {
	t       testing.TB
	net     *vnet.Network
	history *history
	nodes   []*node
	tune    func(*raft.Config)
}

// node is a raft with its transport and stores.
type node struct {
	c         *cluster
	id        int32
	name      string
	dir       [16]byte
	host      *vnet.Host
	fs        vfs.FS
	memory    *raftstore.Memory
	open      raftstore.Opener
	logs      *lines
	fixedPath string
	network   rpc.Network
	address   string

	// Of one life.
	book      *rpc.Book
	peers     *rpc.Peers
	transport *Transport
	stores    *raftstore.Stores
	serving   sync.WaitGroup
	cancel    context.CancelFunc
	orders    chan order
	dead      bool
	incarn    byte

	mu       sync.Mutex
	r        *raft.Raft
	i        *Instance
	fsm      *machine
	restarts int
	failed   error
}

// order is what the owner of a raft is asked to do.
type order struct {
	halt       bool   // and no more: its disk stalls
	deleteFrom uint64 // restart, without the entries from here on; 0 for all
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// newCluster makes n nodes with stores in memory; call start.
func newCluster(t testing.TB, n int) *cluster {
	c := &cluster{t: t, net: vnet.New(vnet.Latency(200 * time.Microsecond)), history: &history{
		hashes: map[uint64]uint64{}, data: map[uint64]string{}, leaders: map[uint64]string{},
	}}
	for k := 1; k <= n; k++ {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		m := raftstore.NewMemory()
		nd := &node{c: c, id: int32(k), name: fmt.Sprintf("n%d", k), dir: [16]byte{byte(k)}, fs: fs, memory: m, open: m.Open, logs: &lines{}}
		nd.host = c.net.Host(nd.name)
		nd.network, nd.address = nd.host, nd.name+":5001"
		c.nodes = append(c.nodes, nd)
	}
	return c
}

// onBolt puts the stores of all nodes into files.
func (c *cluster) onBolt() {
	for _, n := range c.nodes {
		n.memory, n.open, n.fs = nil, raftstore.OpenBolt, vfs.OS{}
	}
}

func (n *node) path() string {
	if n.fixedPath == "" {
		n.fixedPath = "/data/raft"
		if n.memory == nil {
			n.fixedPath = filepath.Join(n.c.t.TempDir(), n.name)
		}
	}
	return n.fixedPath
}

func (c *cluster) configuration() raft.Configuration {
	var conf raft.Configuration
	for _, n := range c.nodes {
		conf.Servers = append(conf.Servers, raft.Server{Suffrage: raft.Voter, ID: ServerID(n.id), Address: Address(n.id, n.dir)})
	}
	return conf
}

func (c *cluster) start() {
	for _, n := range c.nodes {
		n.start()
	}
}

// start begins a life of a node.
func (n *node) start() {
	t := n.c.t
	t.Helper()
	n.host.Up()
	n.incarn++
	n.dead = false
	log := slog.New(slog.NewTextHandler(n.logs, &slog.HandlerOptions{ReplaceAttr: noTime}))
	n.book = rpc.NewBook(rpc.Identity{ClusterID: "test", NodeID: n.id, DirectoryID: n.dir, Incarnation: [16]byte{n.incarn}})
	addresses, members := map[int32]string{}, map[int32][16]byte{}
	for _, o := range n.c.nodes {
		members[o.id] = o.dir
		if o != n {
			addresses[o.id] = o.address
		}
	}
	n.book.SetPeers(addresses)
	n.book.SetMembers(members)
	n.peers = rpc.NewPeers(rpc.PeersOptions{Network: n.network, Book: n.book, Logger: log})
	server, err := rpc.Listen(t.Context(), rpc.ServerOptions{Address: n.address, Network: n.network, Book: n.book, Peers: n.peers, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.serving.Go(func() {
		if err := server.Run(ctx); err != nil && !n.isDead() {
			t.Error(err)
		}
	})
	dir := n.path()
	n.transport, err = New(Options{Book: n.book, Peers: n.peers, FS: n.fs, Spool: dir + "-spool", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	n.transport.Register(server)
	n.orders = make(chan order, 16)
	n.stores, err = n.open(raftstore.Options{
		FS: n.fs, Dir: dir, Logger: log,
		OnStall:   func() { n.orders <- order{halt: true} },
		OnSettled: func() { n.orders <- order{} },
		OnFail:    n.fail,
	})
	if err != nil {
		t.Fatalf("%s: %v", n.name, err)
	}
	if has, err := raft.HasExistingState(n.stores.Log, n.stores.Stable, n.stores.Snapshots); err != nil || !has {
		if err != nil {
			t.Fatal(err)
		}
		first := &raft.Log{Index: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(n.c.configuration())}
		if err := n.stores.Log.StoreLog(first); err != nil {
			t.Fatal(err)
		}
	}
	n.boot()
	n.serving.Go(func() { n.supervise(ctx) })
}

func noTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		return slog.String("t", fmt.Sprintf("%.4f", float64(a.Value.Time().UnixMicro()%1e9)/1e6))
	}
	return a
}

// others are the nodes but this one.
func (n *node) others() []*node {
	var all []*node
	for _, o := range n.c.nodes {
		if o != n {
			all = append(all, o)
		}
	}
	return all
}

// count returns the value of a counter.
func count(m prometheus.Metric) int {
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		return -1
	}
	return int(d.GetCounter().GetValue())
}

func (n *node) isDead() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead
}

func (n *node) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.dead {
		n.failed = err
	}
}

// boot makes a raft on the stores as they are.
func (n *node) boot() {
	t := n.c.t
	i, err := n.transport.Attach(InstanceOptions{Logs: n.stores.Log, OnConflict: func(index uint64) { n.orders <- order{deleteFrom: index} }})
	if err != nil {
		t.Error(err)
		return
	}
	conf := raft.DefaultConfig()
	conf.LocalID = ServerID(n.id)
	conf.Logger = raftstore.NewLogger(slog.New(slog.NewTextHandler(n.logs, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: noTime})))
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 200*time.Millisecond, 200*time.Millisecond, 160*time.Millisecond
	conf.CommitTimeout = 50 * time.Millisecond
	conf.NoLegacyTelemetry = true
	if n.c.tune != nil {
		n.c.tune(conf)
	}
	cache, err := raft.NewLogCache(512, n.stores.Log)
	if err != nil {
		t.Error(err)
		return
	}
	fsm := &machine{node: n.name, history: n.c.history}
	r, err := raft.NewRaft(conf, fsm, cache, n.stores.Stable, n.stores.Snapshots, i)
	if err != nil {
		t.Errorf("%s: %v", n.name, err)
		i.Close()
		return
	}
	i.Bind(r)
	r.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		if o.Data == raft.Leader {
			n.c.history.led(n.name, o.Raft.CurrentTerm())
		}
		return false
	}))
	n.mu.Lock()
	n.r, n.i, n.fsm = r, i, fsm
	n.mu.Unlock()
}

// supervise does what is asked. A raft whose disk stalls is halted at once: it
// would go on answering heartbeats.
func (n *node) supervise(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-n.orders:
			n.halt()
			if o.halt {
				continue
			}
			if err := n.stores.Reset(); err != nil {
				continue // stalls again, or is lost
			}
			if o.deleteFrom > 0 {
				if err := n.stores.DeleteFrom(o.deleteFrom); err != nil {
					continue
				}
			}
			n.mu.Lock()
			n.restarts++
			n.mu.Unlock()
			n.boot()
		}
	}
}

// halt ends the raft of a node.
func (n *node) halt() {
	n.mu.Lock()
	r, i := n.r, n.i
	n.mu.Unlock()
	f := r.Shutdown()
	i.Close()
	if err := f.Error(); err != nil {
		n.c.t.Error(err)
	}
}

// stop ends a life in order.
func (n *node) stop() {
	n.cancel()
	n.serving.Wait()
	n.halt()
	n.peers.Close()
	n.transport.Close()
	if err := n.stores.Close(); err != nil && n.failure() == nil && !n.isDead() {
		n.c.t.Errorf("%s: %v", n.name, err)
	}
	n.host.Down()
}

// crash ends a life as kill -9 does; what was not stored is gone.
func (n *node) crash(rng *rand.Rand) {
	n.mu.Lock()
	n.dead = true
	n.mu.Unlock()
	n.host.Down()
	n.memory.Crash(rng)
	n.stop()
}

// raft returns the raft of a node, and its instance.
func (n *node) raft() *raft.Raft {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.r
}

func (n *node) instance() *Instance {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.i
}

// within waits until ok, in the bubble's time.
func (c *cluster) within(d time.Duration, what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(d); !ok(); {
		if time.Now().After(end) {
			c.t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// leader waits for a leader among the nodes that may lead, and that can commit.
func (c *cluster) leader(d time.Duration, among ...*node) *node {
	c.t.Helper()
	if len(among) == 0 {
		among = c.nodes
	}
	var l *node
	c.within(d, "a leader", func() bool {
		for _, n := range among {
			if r := n.raft(); r != nil && r.State() == raft.Leader && r.Barrier(time.Second).Error() == nil {
				l = n
				return true
			}
		}
		return false
	})
	return l
}

// apply proposes a command and returns its index.
func (n *node) apply(data string) (uint64, error) {
	f := n.raft().Apply([]byte(data), time.Second)
	if err := f.Error(); err != nil {
		return 0, err
	}
	return f.Response().(uint64), nil
}

func (n *node) must(data string) uint64 {
	n.c.t.Helper()
	index, err := n.apply(data)
	if err != nil {
		n.c.t.Fatalf("%s: apply: %v", n.name, err)
	}
	return index
}

// converged waits until all nodes have applied what the leader has.
func (c *cluster) converged(d time.Duration, nodes ...*node) {
	c.t.Helper()
	if len(nodes) == 0 {
		nodes = c.nodes
	}
	l := c.leader(d, nodes...)
	index := l.must("converge")
	c.within(d, fmt.Sprintf("all nodes at entry %d", index), func() bool {
		for _, n := range nodes {
			if i, _ := n.fsmState(); i < index {
				return false
			}
		}
		return true
	})
}

func (n *node) machine() *machine {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fsm
}

func (n *node) fsmState() (uint64, uint64) { return n.machine().state() }

// restored returns how many snapshots the state machine has restored.
func (n *node) restored() int {
	m := n.machine()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.points
}

// restartsInPlace returns how often raft was restarted.
func (n *node) restartsInPlace() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.restarts
}

func (n *node) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed
}

// end stops all nodes and reports what was violated.
func (c *cluster) end() {
	c.t.Helper()
	for _, n := range c.nodes {
		if n.cancel != nil && !n.isDead() {
			n.stop()
		}
		if err := n.failure(); err != nil {
			c.t.Errorf("%s: its store failed: %v", n.name, err)
		}
	}
	c.net.Close()
	for _, w := range c.history.wrong {
		c.t.Error(w)
	}
	if c.t.Failed() && os.Getenv("CHRONIK_TEST_LOGS") != "" {
		for _, n := range c.nodes {
			c.t.Logf("---- %s\n%s", n.name, n.logs)
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
