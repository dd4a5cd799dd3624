package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/config"
	decisions "github.com/chronik-stream/chronik/internal/controller"
	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/listener"
	"github.com/chronik-stream/chronik/internal/logging"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/storage"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/internal/vnet"
	"github.com/chronik-stream/chronik/internal/wire"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// box is a broker alone in a bubble: the real listener, replicas and storage over
// memory files and a virtual network, and a controller that decides at once. It can be stopped and started again.
type box struct {
	t       testing.TB
	net     *vnet.Network
	fs      *vfs.Mem
	disk    *vfs.Faults   // fs, as the broker sees it
	flush   time.Duration // how long a flush of it takes; see mount
	clock   *clock.Manual
	ctl     *boxController
	set     Settings
	group   GroupSettings
	loggers *logging.Loggers

	// Outside of a bubble: a real port, and files of the operating system in this directory.
	tcp  net.Listener
	path string

	broker *Broker
	reg    *prometheus.Registry // of the life that runs
	end    func()
	lives  byte
}

const boxPort = 9092

// inBox runs a test in a bubble, with the bubble's own t, and a box that has been started.
func inBox(t *testing.T, test func(t *testing.T, b *box), change ...func(b *box)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		for _, c := range change {
			c(b)
		}
		b.start()
		defer func() { // also after a Fatal
			b.stop()
			b.net.Close()
		}()
		test(t, b)
	})
}

// overTCP is a box on a real port and real files, outside of a bubble. It is stopped when the test ends.
func overTCP(t testing.TB, change ...func(b *box)) *box {
	t.Helper()
	b := newBox(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	b.tcp, b.path, b.disk = ln, t.TempDir(), vfs.NewFaults(vfs.OS{})
	for _, c := range change {
		c(b)
	}
	b.start()
	t.Cleanup(b.stop)
	return b
}

// settle waits until everything has come to rest.
func (b *box) settle() {
	if b.tcp == nil {
		synctest.Wait()
		return
	}
	b.must(b.broker.o.Replicas.Wait(context.Background()))
}

// connect dials the broker.
func (b *box) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if b.tcp != nil {
		return (&net.Dialer{}).DialContext(ctx, network, b.tcp.Addr().String())
	}
	return b.net.Host("client").DialContext(ctx, network, address)
}

func newBox(t testing.TB) *box {
	b := &box{
		t: t, net: vnet.New(nil), path: "/data", fs: vfs.NewMem(), clock: clock.NewManual(1_700_000_000_000),
		set: Settings{
			AutoCreateTopics: true, DeleteTopics: true, NumPartitions: 2, DefaultReplicationFactor: 1,
			RequestMaxBytes: 100 << 20, FetchMaxBytes: 55 << 20, FetchSessions: 1000, DescribedPartitions: 2000, KafkaSeries: 1000,
		},
		group: GroupSettings{
			MinSessionTimeout: 6 * time.Second, MaxSessionTimeout: 30 * time.Minute, InitialRebalanceDelay: time.Second,
			MaxSize: 1000, MaxOffsetMetadata: 4096, OffsetsRetention: 7 * 24 * time.Hour, OffsetsRetentionCheck: 10 * time.Minute,
			CommitTimeout: 5 * time.Second, TopicPartitions: 5, TopicReplicationFactor: 1, TopicSegmentBytes: 100 << 20,
		},
	}
	b.loggers = logging.New(slog.DiscardHandler, slog.LevelInfo)
	b.disk = vfs.NewFaults(b.fs)
	b.must(b.fs.MkdirAll("/data"))
	b.must(b.fs.SyncDir("/"))
	b.ctl = newBoxController(t)
	return b
}

// start runs a life of the broker process.
func (b *box) start() {
	b.t.Helper()
	b.lives++
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	b.reg = reg
	cfg, err := config.Load(config.Sources{})
	b.must(err)
	live := config.NewLive(cfg)
	directory := metadata.ID{15: 200}
	replicas, err := replica.New(replica.Options{
		NodeID: 1, DirectoryID: directory, Resolve: live.Topic, Created: b.ctl.created, Logger: log, Registerer: reg,
	})
	b.must(err)
	dir, err := storage.OpenDirectory(storage.DirectoryOptions{
		FS: b.disk, Path: b.path, Clock: b.clock, Logger: log, Registerer: reg, OnFlush: replicas.OnFlush, OnFail: replicas.OnFail,
	})
	b.must(err)
	b.must(dir.Recover(b.t.Context()))
	replicas.Open(dir)
	groups := NewGroups(GroupsOptions{
		NodeID: 1, Replicas: replicas, Clock: b.clock, Logger: log, Registerer: reg, MemberBytes: listener.DefaultMemory, Settings: b.group,
	})
	account := memory.New(listener.DefaultMemory)
	b.broker, err = New(Options{
		Dial:   b.connect,
		NodeID: 1, Controller: b.ctl, Groups: groups, Replicas: replicas, Clock: b.clock, Logger: log, Registerer: reg, Memory: account,
		Configs: live, Loggers: b.loggers, Settings: b.set,
	})
	b.must(err)
	ln := b.tcp
	if ln == nil {
		ln, err = b.net.Host("b1").Listen(b.t.Context(), "tcp", fmt.Sprint(":", boxPort))
		b.must(err)
	}
	l, err := listener.New(ln, listener.Options{Handler: b.broker, Logger: log, Registerer: reg, Memory: account})
	b.must(err)

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for name, run := range map[string]func(context.Context) error{"storage": dir.Run, "replicas": replicas.Run, "groups": groups.Run, "listener": l.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				b.t.Errorf("%s ended: %v", name, err)
			}
		})
	}
	b.ctl.register(1, b.lives, directory)
	b.ctl.subscribe(boxReconfigurer{live, replicas}, replicas, groups)
	b.ctl.unfence(1)
	b.end = func() {
		b.ctl.subscribe()
		b.broker.Close()
		cancel()
		running.Wait()
		b.must(dir.Close(context.Background()))
	}
	b.settle()
}

// boxReconfigurer does what node's does with topics' defaults.
type boxReconfigurer struct {
	live     *config.Live
	replicas *replica.Manager
}

func (r boxReconfigurer) OnImage(img *metadata.Image, _ *metadata.Delta) {
	_ = r.live.Set(config.Dynamic{ClusterDefault: img.Config(metadata.ResourceBroker, ""), Broker: img.Config(metadata.ResourceBroker, "1")})
	r.replicas.Reconfigure()
}

// mount gives the next life of the broker a disk.
func (b *box) mount(fs *vfs.Mem) {
	b.fs, b.disk = fs, vfs.NewFaults(fs)
	if b.flush > 0 {
		b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Delay: b.flush})
	}
}

// stop ends the process in order; the broker's session ends with it.
func (b *box) stop() {
	b.end()
	b.ctl.fence(1)
}

func (b *box) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// client is a kgo client; it is closed when the test's function ends.
func (b *box) client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("b1:9092"), kgo.Dialer(b.connect), kgo.RequestRetries(100),
		kgo.MetadataMinAge(50 * time.Millisecond),
	}, opts...)...)
	b.must(err)
	return cl
}

// wire is a connection that sends requests in exact versions, and reads what comes as it comes.
type rawConn struct {
	t    testing.TB
	conn net.Conn
	next int32
}

func (b *box) dial() *rawConn {
	b.t.Helper()
	conn, err := b.connect(b.t.Context(), "tcp", "b1:9092")
	b.must(err)
	b.t.Cleanup(func() { conn.Close() })
	return &rawConn{t: b.t, conn: conn}
}

// send writes a request and returns what reads its response.
func (c *rawConn) send(req kmsg.Request, version int16) (read func() kmsg.Response) {
	c.t.Helper()
	c.next++
	id := c.next
	req.SetVersion(version)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, id)
	if _, err := c.conn.Write(frame); err != nil {
		c.t.Fatal(err)
	}
	return func() kmsg.Response {
		c.t.Helper()
		size := make([]byte, 4)
		if _, err := io.ReadFull(c.conn, size); err != nil {
			c.t.Fatalf("%s version %d: %v", kmsg.NameForKey(req.Key()), version, err)
		}
		body := make([]byte, int(size[0])<<24|int(size[1])<<16|int(size[2])<<8|int(size[3]))
		if _, err := io.ReadFull(c.conn, body); err != nil {
			c.t.Fatal(err)
		}
		if got := int32(body[0])<<24 | int32(body[1])<<16 | int32(body[2])<<8 | int32(body[3]); got != id {
			c.t.Fatalf("correlation id %d, want %d", got, id)
		}
		body = body[4:]
		if req.Key() != 18 && wire.Flexible(req.Key(), version) {
			if body[0] != 0 {
				c.t.Fatalf("tags in the response header: %x", body[:8])
			}
			body = body[1:]
		}
		resp := req.ResponseKind()
		if err := resp.ReadFrom(body); err != nil {
			c.t.Fatalf("%s version %d: %v", kmsg.NameForKey(req.Key()), version, err)
		}
		// What was decoded must be all there was: encoded again it is the same.
		if again := resp.AppendTo(nil); !slices.Equal(again, body) {
			c.t.Fatalf("%s version %d: the response is %x, decoded and encoded again %x", kmsg.NameForKey(req.Key()), version, body, again)
		}
		return resp
	}
}

// do sends a request and waits for its response.
func do[R kmsg.Response](c *rawConn, req kmsg.Request, version int16) R {
	c.t.Helper()
	return c.send(req, version)().(R)
}

// boxController is the controller of a cluster of one process: it decides and publishes at once.
type boxController struct {
	t testing.TB

	mu    sync.Mutex
	img   *metadata.Image
	index uint64
	subs  []metadata.Subscriber
	lost  error // Submit and Quorum fail
	rnd   *rand.Rand
	asked []*clusterv1.Command
	at    *clusterv1.Listener // what brokers advertise; nil: their name and boxPort
}

func newBoxController(t testing.TB) *boxController {
	c := &boxController{t: t, img: metadata.Empty(), rnd: rand.New(rand.NewPCG(1, 1))}
	c.do(&clusterv1.Command{Kind: &clusterv1.Command_FormCluster{FormCluster: &clusterv1.FormCluster{ClusterId: "box-cluster-000000000"}}})
	c.do(&clusterv1.Command{Kind: &clusterv1.Command_ActivateController{ActivateController: &clusterv1.ActivateController{Node: 1, Term: 1}}})
	return c
}

func (c *boxController) env() decisions.Env {
	return decisions.Env{
		NewID: func() (id metadata.ID) {
			for i := range id {
				id[i] = byte(c.rnd.Uint32())
			}
			return id
		},
		Intn: c.rnd.IntN, Partitions: 2,
	}
}

func (c *boxController) do(cmd *clusterv1.Command) *clusterv1.Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		recs, answer := decisions.Decide(c.img, cmd, c.env())
		if len(recs) > 0 {
			c.index++
			img, delta := c.img.Apply(c.index, recs)
			c.img = img
			for _, s := range c.subs {
				s.OnImage(img, delta)
			}
		}
		if !answer.GetMore() {
			return answer
		}
	}
}

func (c *boxController) mustDo(cmd *clusterv1.Command) *clusterv1.Answer {
	c.t.Helper()
	a := c.do(cmd)
	if err := metadata.AnswerError(a); err != nil {
		c.t.Fatal(err)
	}
	return a
}

// Image implements Controller.
func (c *boxController) Image() *metadata.Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.img
}

// Submit implements Controller.
func (c *boxController) Submit(ctx context.Context, cmd *clusterv1.Command) (*clusterv1.Answer, error) {
	c.mu.Lock()
	lost := c.lost
	c.asked = append(c.asked, cmd)
	c.mu.Unlock()
	if lost != nil {
		<-ctx.Done()
		return nil, lost
	}
	return c.do(cmd), nil
}

// Quorum implements Controller.
func (c *boxController) Quorum(context.Context) (Quorum, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return Quorum{}, c.lost
	}
	return Quorum{
		LeaderID: 1, LeaderEpoch: 7, HighWatermark: 42,
		Voters: []QuorumReplica{
			{ID: 1, DirectoryID: [16]byte{1}, LogEndOffset: 42, LastFetchMillis: -1, LastCaughtUpMilli: -1, Host: "b1", Port: 5001},
			{ID: 2, DirectoryID: [16]byte{2}, LogEndOffset: 40, LastFetchMillis: 1000, LastCaughtUpMilli: 900, Host: "b2", Port: 5002},
		},
	}, nil
}

func (c *boxController) setLost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = err
}

// subscribe replaces the subscribers; each gets the image as a whole first.
func (c *boxController) subscribe(subs ...metadata.Subscriber) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs = subs
	for _, s := range subs {
		s.OnImage(c.img, metadata.Diff(metadata.Empty(), c.img))
	}
}

// register makes a process of a broker known; it stays fenced.
func (c *boxController) register(id int32, life byte, directory metadata.ID) {
	c.t.Helper()
	at := c.at
	if at == nil {
		at = &clusterv1.Listener{Name: "PLAINTEXT", Host: fmt.Sprint("b", id), Port: boxPort}
	}
	c.mustDo(&clusterv1.Command{Kind: &clusterv1.Command_RegisterBroker{RegisterBroker: &clusterv1.RegisterBroker{
		Request: &clusterv1.RegisterRequest{
			NodeId: id, Incarnation: []byte{byte(id), life, 15: 1}, Directories: [][]byte{directory[:]}, ClusterId: "box-cluster-000000000",
			Listeners:   []*clusterv1.Listener{at},
			RaftAddress: fmt.Sprint("b", id, ":5001"), BootId: "boot", PreviousBrokerEpoch: -1,
		},
	}}})
}

func (c *boxController) unfence(id int32) {
	c.t.Helper()
	c.mustDo(&clusterv1.Command{Kind: &clusterv1.Command_UnfenceBroker{UnfenceBroker: &clusterv1.UnfenceBroker{BrokerId: id, BrokerEpoch: c.Image().Broker(id).Epoch}}})
}

func (c *boxController) fence(id int32) {
	c.t.Helper()
	c.mustDo(&clusterv1.Command{Kind: &clusterv1.Command_FenceBroker{FenceBroker: &clusterv1.FenceBroker{BrokerId: id, BrokerEpoch: c.Image().Broker(id).Epoch}}})
}

// addBroker registers a broker that nobody runs.
func (c *boxController) addBroker(id int32) {
	c.t.Helper()
	c.register(id, 1, metadata.ID{0: byte(id), 15: 200})
	c.unfence(id)
}

// created implements replica.Options.Created for broker 1.
func (c *boxController) created(_ context.Context, created []replica.Created) error {
	cmd := &clusterv1.AssignDirectories{BrokerId: 1, BrokerEpoch: c.Image().Broker(1).Epoch}
	for _, p := range created {
		cmd.Assignments = append(cmd.Assignments, &clusterv1.AssignDirectories_Assignment{
			TopicId: p.TopicID[:], Partition: p.Partition, DirectoryId: append(make([]byte, 15), 200),
		})
	}
	return metadata.AnswerError(c.do(&clusterv1.Command{Kind: &clusterv1.Command_AssignDirectories{AssignDirectories: cmd}}))
}

// topic creates a topic as a client would, and returns its id; configs are "name=value".
func (b *box) topic(name string, partitions int32, configs ...string) metadata.ID {
	b.t.Helper()
	var entries []*clusterv1.ConfigEntry
	for _, c := range configs {
		n, v, _ := strings.Cut(c, "=")
		entries = append(entries, &clusterv1.ConfigEntry{Name: n, Value: v})
	}
	a := b.ctl.mustDo(&clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{CreateTopics: &clusterv1.CreateTopics{
		Topics: []*clusterv1.CreateTopics_Topic{{Name: name, NumPartitions: partitions, ReplicationFactor: 1, Configs: entries}},
	}}})
	for _, t := range a.GetCreateTopics().GetTopics() {
		if t.GetCode() != 0 {
			b.t.Fatal(t.GetMessage())
		}
	}
	b.settle()
	return b.ctl.Image().TopicByName(name).ID
}

// groupTopic creates __consumer_offsets, so that the shards are there when the test goes on.
func (b *box) groupTopic() {
	b.t.Helper()
	if _, err := b.broker.offsetsTopic(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
	if n := len(b.ctl.Image().TopicByName(group.Topic).Partitions); n != 5 {
		b.t.Fatalf("%s has %d partitions", group.Topic, n)
	}
}
