package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/internal/vnet"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// world is a virtual network of nodes in one bubble.
type world struct {
	t     *testing.T
	net   *vnet.Network
	rng   *rand.Rand
	nodes map[int32]*node
	log   *journal
}

// node is what outlives a process: the disk and the host. c and what follows is
// the process of the moment.
type node struct {
	w         *world
	id        int32
	directory [16]byte
	peers     []int32
	fs        *vfs.Mem
	disk      *raftstore.Memory
	identity  Identity // as in meta.properties
	starts    int
	adjust    func(*Options)

	c       *Cluster
	running atomic.Pointer[Cluster] // c for other goroutines than the test's
	host    *vnet.Host
	cancel  context.CancelFunc
	done    chan struct{}
	err     error
	images  *recorder
	health  atomic.Pointer[Health] // nil: well
	broker  sync.WaitGroup
}

// bubble runs f on a world of nodes, all of which are stopped at its end.
func bubble(t *testing.T, ids []int32, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: vnet.New(vnet.Latency(200 * time.Microsecond)), rng: rand.New(rand.NewPCG(1, 2)), nodes: map[int32]*node{}, log: &journal{}}
		for _, id := range ids {
			w.nodes[id] = w.newNode(id, ids)
			w.net.Host(hostName(id))
		}
		defer func() {
			w.net.Heal()
			for _, n := range w.nodes {
				if n.c != nil {
					n.stop()
				}
			}
			if t.Failed() && os.Getenv("CHRONIK_TEST_LOG") != "" {
				t.Log(w.log.String())
			}
		}()
		f(t, w)
	})
}

func (w *world) newNode(id int32, founders []int32) *node {
	n := &node{w: w, id: id, fs: vfs.NewMem(), disk: raftstore.NewMemory()}
	n.directory = [16]byte{0: 0xd1, 14: byte(id), 15: 1}
	if err := errors.Join(n.fs.MkdirAll("data"), n.fs.SyncDir(".")); err != nil {
		w.t.Fatal(err)
	}
	for _, p := range founders {
		if p != id {
			n.peers = append(n.peers, p)
		}
	}
	return n
}

// long marks a test that -short leaves out.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out under -short")
	}
}

func hostName(id int32) string { return fmt.Sprintf("n%d", id) }

func (n *node) options() Options {
	o := Options{
		NodeID: n.id, DirectoryID: n.directory, Incarnation: [16]byte{0: 0xc0, 13: byte(n.starts), 14: byte(n.id), 15: 1},
		Identity: n.identity,
		SaveIdentity: func(id Identity) error {
			n.identity = id
			return nil
		},
		RaftAddr: hostName(n.id) + ":5001", RaftListen: "0.0.0.0:5001", Network: n.w.net.Host(hostName(n.id)),
		FS: n.fs, Path: "data/__raft_metadata-0", OpenStores: n.disk.Open,
		Logger:     slog.New(&handler{j: n.w.log, node: n.id}),
		Registerer: prometheus.NewRegistry(),
		Health: func() Health {
			if h := n.health.Load(); h != nil {
				return *h
			}
			return Health{Storage: clusterv1.Storage_STORAGE_OK}
		},
	}
	for _, p := range n.peers {
		o.Peers = append(o.Peers, Peer{ID: p, Address: hostName(p) + ":5001"})
	}
	if n.adjust != nil {
		n.adjust(&o)
	}
	return o
}

// start starts the process; as a broker too, as soon as the cluster takes it.
func (n *node) start() {
	n.w.t.Helper()
	n.startRaft()
	ctx, cancel := context.WithCancel(context.Background())
	stop := n.cancel
	n.cancel = func() { cancel(); stop() }
	c := n.c
	n.broker.Go(func() {
		_, err := c.Register(ctx, Broker{
			Directories:   [][16]byte{n.directory},
			Listeners:     []metadata.Listener{{Name: "PLAINTEXT", Host: hostName(n.id), Port: 9092}},
			PreviousEpoch: -1,
		})
		if err == nil {
			c.Serve()
		}
	})
}

// startRaft starts the process without a broker in it.
func (n *node) startRaft() {
	t := n.w.t
	t.Helper()
	n.starts++
	n.host = n.w.net.Host(hostName(n.id))
	n.host.Up()
	c, err := New(n.options())
	if err != nil {
		t.Fatal(err)
	}
	n.c, n.images, n.done = c, &recorder{}, make(chan struct{})
	n.running.Store(c)
	c.Subscribe(n.images)
	if err := c.Listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(context.Background())
	go func(done chan struct{}) {
		defer close(done)
		n.err = c.Run(ctx)
	}(n.done)
}

// stop ends the process in order.
func (n *node) stop() {
	n.cancel()
	n.wait()
}

func (n *node) wait() {
	n.running.Store(nil)
	<-n.done
	n.broker.Wait()
	n.images.check(n.w.t)
	n.c = nil
}

// crash ends the process as kill -9 does, and loses what the disk was not told to keep.
func (n *node) crash() {
	n.host.Down()
	n.disk.Crash(n.w.rng)
	n.fs = n.fs.Crash(n.w.rng)
	n.cancel()
	n.wait()
}

// within waits until ok, and fails the test if that takes longer than d of the
// bubble's time. It returns how long it took.
func (w *world) within(d time.Duration, what string, ok func() bool) time.Duration {
	w.t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > d {
			for _, n := range w.nodes {
				if n.c != nil && n.ended() {
					w.t.Logf("node %d has ended: %v", n.id, n.err)
				}
			}
			w.t.Fatalf("not within %v: %s\n%s", d, what, w.log.tail(60))
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(start)
}

// leader returns the node whose controller is active.
func (w *world) leader() *node {
	for _, n := range w.nodes {
		if n.c != nil && n.c.ctl.current() != nil && n.c.queue.isOpen() {
			return n
		}
	}
	return nil
}

func (q *queue) isOpen() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open
}

// awaitLeader waits for an active controller among nodes that reach each other.
func (w *world) awaitLeader(d time.Duration) *node {
	w.t.Helper()
	w.within(d, "an active controller", func() bool { return w.leader() != nil })
	return w.leader()
}

func (w *world) startAll() {
	for _, id := range w.ids() {
		w.nodes[id].start()
	}
}

func (w *world) ids() (ids []int32) {
	for id := range w.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (w *world) awaitReady(d time.Duration) {
	w.t.Helper()
	w.within(d, "all brokers are ready", func() bool {
		for _, n := range w.nodes {
			if n.c == nil || !n.c.Ready() {
				return false
			}
		}
		return true
	})
}

// followers are all running nodes but the leader.
func (w *world) followers(leader *node) (list []*node) {
	for _, id := range w.ids() {
		if n := w.nodes[id]; n != leader && n.c != nil {
			list = append(list, n)
		}
	}
	return list
}

func createTopic(name string) *clusterv1.Command {
	return &clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{CreateTopics: &clusterv1.CreateTopics{
		Topics: []*clusterv1.CreateTopics_Topic{{Name: name, NumPartitions: 2, ReplicationFactor: 1}},
	}}}
}

// create makes a topic through n, and returns its id.
func (n *node) create(name string) ([16]byte, error) { return createOn(n.c, name) }

func createOn(c *Cluster, name string) ([16]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return topicID(c.Submit(ctx, createTopic(name)))
}

func topicID(a *clusterv1.Answer, err error) (id [16]byte, _ error) {
	if err != nil {
		return id, err
	}
	if err := metadata.AnswerError(a); err != nil {
		return id, err
	}
	t := a.GetCreateTopics().GetTopics()[0]
	if t.GetCode() != 0 {
		return id, &metadata.Error{Code: int16(t.GetCode()), Message: t.GetMessage()}
	}
	copy(id[:], t.GetTopicId())
	return id, nil
}

// agree waits until all running nodes show the same image.
func (w *world) agree(d time.Duration) {
	w.t.Helper()
	w.within(d, "equal images on all nodes", func() bool {
		var first *metadata.Image
		for _, n := range w.nodes {
			if n.c == nil {
				continue
			}
			img := n.c.Image()
			if first == nil {
				first = img
			}
			if img.Index() != first.Index() {
				return false
			}
			if img.Digest() != first.Digest() {
				w.t.Fatalf("node %d: another image at index %d", n.id, img.Index())
			}
		}
		return true
	})
}

// recorder is a subscriber that sees whether images come in order and deltas are whole.
type recorder struct {
	mu    sync.Mutex
	last  *metadata.Image
	names map[string]bool
	bad   []string
	calls int
}

func (r *recorder) OnImage(img *metadata.Image, d *metadata.Delta) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.last != nil && img.Index() <= r.last.Index() {
		r.bad = append(r.bad, fmt.Sprintf("index %d after %d", img.Index(), r.last.Index()))
	}
	if r.names == nil {
		r.names = map[string]bool{}
	}
	for _, t := range d.Topics() {
		if img.TopicByID(t.ID) != nil {
			r.names[t.Name] = true
		} else {
			delete(r.names, t.Name)
		}
	}
	if len(r.names) != img.TopicCount() {
		r.bad = append(r.bad, fmt.Sprintf("at index %d the deltas make %d topics, the image has %d", img.Index(), len(r.names), img.TopicCount()))
	}
	r.last = img
}

func (r *recorder) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.bad {
		t.Errorf("subscriber: %s", b)
	}
}

// journal keeps the log lines of all nodes in order.
type journal struct {
	mu    sync.Mutex
	lines []line
}

type line struct {
	at    time.Time
	node  int32
	level slog.Level
	text  string
	attrs string
}

func (j *journal) add(l line) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, l)
}

// of returns the messages of a node from level INFO on, without raft's own.
func (j *journal) of(node int32) (texts []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range j.lines {
		if l.node == node && l.level >= slog.LevelInfo && !strings.Contains(l.attrs, "part=raft") {
			texts = append(texts, l.text)
		}
	}
	return texts
}

// count tells how many lines contain text.
func (j *journal) count(text string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range j.lines {
		if strings.Contains(l.text, text) {
			n++
		}
	}
	return n
}

func (j *journal) String() string { return j.tail(1 << 30) }

func (j *journal) tail(n int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var s strings.Builder
	for _, l := range j.lines[max(0, len(j.lines)-n):] {
		fmt.Fprintf(&s, "%s n%d %s %s%s\n", l.at.Format("15:04:05.000"), l.node, l.level, l.text, l.attrs)
	}
	return s.String()
}

type handler struct {
	j     *journal
	node  int32
	attrs string
}

func (h *handler) Enabled(context.Context, slog.Level) bool { return true }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	attrs := h.attrs
	r.Attrs(func(a slog.Attr) bool {
		attrs += " " + a.String()
		return true
	})
	h.j.add(line{time.Now(), h.node, r.Level, r.Message, attrs})
	return nil
}

func (h *handler) WithAttrs(as []slog.Attr) slog.Handler {
	c := *h
	for _, a := range as {
		c.attrs += " " + a.String()
	}
	return &c
}

func (h *handler) WithGroup(string) slog.Handler { return h }

// fatal returns the error that ended a node's Run.
func (n *node) fatal() *FatalError {
	n.w.t.Helper()
	var f *FatalError
	if !errors.As(n.err, &f) {
		n.w.t.Fatalf("node %d ended with %v, not with a FatalError", n.id, n.err)
	}
	return f
}

func (n *node) ended() bool {
	select {
	case <-n.done:
		return true
	default:
		return false
	}
}
