package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftrpc"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/rpc"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// Cluster is this node as a member of its cluster: its copy of the metadata log,
// the controller when this node leads, and this node's registration and session
// as a broker.
//
// The order of a start is New, Subscribe, Listen, Run (on a goroutine of its
// own); then Register when the logs are recovered, and Serve when the listeners
// are open. The order of a stop is Drain, then the end of Run's context.
type Cluster struct {
	o   Options
	log *slog.Logger
	m   *metrics
	say *sometimes

	book   *rpc.Book
	peers  *rpc.Peers
	server *rpc.Server // nil before Listen, and without a Raft port

	images   *images
	queue    *queue
	sessions *sessions
	ctl      *loop
	member   *member
	leader   *leaderView
	agent    *agent
	seq      *sequences

	strangers strangers

	id     atomic.Pointer[Identity] // nil while pristine
	formed chan struct{}            // closed when id is set

	odd chan oddOne // this controller's image is the odd one

	callMetrics      *rpc.Metrics
	transportMetrics *raftrpc.Metrics
	storeMetrics     *raftstore.Metrics

	life    context.Context // ends when Run stops: whoever waits goes
	endLife context.CancelFunc
	fatals  chan error // the first one ends Run
	ran     atomic.Bool
}

// New checks the options and makes a Cluster. It starts nothing and opens no file.
func New(o Options) (*Cluster, error) {
	o.setDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &Cluster{
		o: o, log: o.Logger, m: newMetrics(o.Registerer), say: newSometimes(o.Logger),
		images: newImages(), queue: newQueue(), leader: newLeaderView(), seq: newSequences(),
		formed: make(chan struct{}), fatals: make(chan error, 1), odd: make(chan oddOne, 1),
		transportMetrics: raftrpc.NewMetrics(o.Registerer), storeMetrics: raftstore.NewMetrics(o.Registerer),
	}
	c.life, c.endLife = context.WithCancel(context.Background())
	c.book = rpc.NewBook(rpc.Identity{NodeID: o.NodeID, DirectoryID: o.DirectoryID, Incarnation: o.Incarnation})
	addresses := make(map[int32]string)
	for _, p := range o.Peers {
		addresses[p.ID] = p.Address
	}
	c.book.SetPeers(addresses)
	c.callMetrics = rpc.NewMetrics(o.Registerer)
	c.peers = rpc.NewPeers(rpc.PeersOptions{Network: o.Network, Book: c.book, Logger: o.Logger, Metrics: c.callMetrics})
	c.sessions = newSessions(&c.o, c.m, c.queue, c.images)
	c.sessions.odd = func(index uint64, other int32) {
		select {
		case c.odd <- oddOne{index, other}:
		default:
		}
	}
	c.ctl = newLoop(&c.o, c.m, c.queue, c.sessions, c.identity)
	c.agent = newAgent(c)
	c.member = &member{
		o: &c.o, log: c.log, m: c.m, ctl: c.ctl, leader: c.leader, newFSM: c.newFSM, fatal: c.fail, joined: c.joined, stand: c.stand,
		again: make(chan restart, 1),
	}
	c.images.first = c.brokersChanged
	if o.Identity.ClusterID != "" {
		c.adopt(o.Identity)
	}
	c.watchRaft(o.Registerer)
	return c, nil
}

// Listen binds the Raft port, so that one in use is noticed first thing. Nothing
// is served before Run. A node without a Raft port need not call it.
func (c *Cluster) Listen(ctx context.Context) error {
	if c.o.RaftListen == "" {
		return nil
	}
	s, err := rpc.Listen(ctx, rpc.ServerOptions{
		Address: c.o.RaftListen, Network: c.o.Network, Book: c.book, Peers: c.peers, Logger: c.log,
		Metrics: c.callMetrics,
	})
	if err != nil {
		return err
	}
	c.server = s
	clusterv1.RegisterClusterServer(s, service{c: c})
	clusterv1.RegisterObserveServer(s, service{c: c})
	return nil
}

// Addr is where the Raft port is bound; nil before Listen, and without one.
func (c *Cluster) Addr() net.Addr {
	if c.server == nil {
		return nil
	}
	return c.server.Addr()
}

// Close gives back what Listen took, if Run is never called.
func (c *Cluster) Close() error {
	c.endLife()
	if c.server != nil {
		return c.server.Close()
	}
	return nil
}

// Subscribe has s told of every new image, from one goroutine, in the order of
// calls to Subscribe. It must be called before Run. The first image that s gets
// is the one that holds this node's registration, with all of it in the delta:
// nobody acts on the word of a half-replayed log.
func (c *Cluster) Subscribe(s metadata.Subscriber) {
	c.images.subscribers = append(c.images.subscribers, s)
}

// Image is the newest metadata that this node's subscribers have been told of.
// It is never nil, and its index never falls.
func (c *Cluster) Image() *metadata.Image { return c.images.told.Load() }

// Leader is the Raft leader as this node knows it, and the term; 0 if none is known.
func (c *Cluster) Leader() (node int32, term uint64) {
	node, term, _ = c.leader.get()
	return node, term
}

// ClusterID is empty until the cluster is formed.
func (c *Cluster) ClusterID() string { return c.identity().ClusterID }

// Run forms or rejoins the cluster and takes part in it until ctx ends. It
// returns when everything it started has ended: nil after ctx, else the error
// for which the process must end, a *FatalError in most cases.
func (c *Cluster) Run(ctx context.Context) error {
	if c.ran.Swap(true) {
		return errors.New("cluster: Run was called twice")
	}
	if c.server == nil && c.o.RaftListen != "" {
		if err := c.Listen(ctx); err != nil {
			return err
		}
	}
	defer c.endLife()
	// The port outlives everything that answers on it, the publisher everything
	// that publishes.
	last, stop := context.WithCancel(context.WithoutCancel(ctx))
	var outer sync.WaitGroup
	outer.Go(func() { c.images.run(last) })
	if c.server != nil {
		outer.Go(func() {
			if err := c.server.Run(last); err != nil {
				c.fail(err)
			}
		})
	}
	err := c.live(ctx)
	c.endLife()
	err = errors.Join(err, c.peers.Close())
	stop()
	outer.Wait()
	return err
}

// live opens the stores, forms the cluster, and takes part in it until ctx ends
// or something fails for good.
func (c *Cluster) live(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	var guard sync.WaitGroup
	guard.Go(func() {
		select {
		case err := <-c.fatals:
			cancel(err)
		case <-ended:
		}
	})
	err := c.open()
	if err == nil {
		err = c.takePart(ctx)
		closed := c.member.stores.Close()
		if err == nil && closed != nil && ctx.Err() == nil {
			err = fmt.Errorf("cluster: close the metadata log: %w", closed)
		}
	}
	close(ended)
	guard.Wait()
	// What was reported as fatal is why everything else ended.
	cause := context.Cause(ctx)
	select {
	case late := <-c.fatals:
		cause = late
	default:
	}
	switch {
	case cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded):
		return cause
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil
	}
	return err
}

// fail ends Run with err. It does not block.
func (c *Cluster) fail(err error) {
	select {
	case c.fatals <- err:
	default: // another reason came first
	}
}

// open opens the stores and makes the transport.
func (c *Cluster) open() error {
	t := c.o.Timing
	stores, err := c.o.OpenStores(raftstore.Options{
		FS: c.o.FS, Dir: c.o.Path, Clock: c.o.Clock, Logger: c.log, Metrics: c.storeMetrics,
		WriteDeadline: t.StorageStall, HardDeadline: t.DiskStall,
		OnStall: c.member.stalled, OnSettled: c.member.settled,
		OnFail: func(err error) {
			c.member.lost.Store(true)
			c.fail(&FatalError{ReasonStorage, err})
		},
	})
	if err != nil {
		return &FatalError{ReasonStorage, fmt.Errorf("open the metadata log: %w", err)}
	}
	c.member.stores = stores
	transport, err := raftrpc.New(raftrpc.Options{
		Book: c.book, Peers: c.peers, FS: c.o.FS, Spool: filepath.Join(c.o.Path, "spool"), Logger: c.log,
		Metrics: c.transportMetrics, CallTimeout: 2 * t.Heartbeat, SlotWait: 2 * t.Heartbeat, StallTimeout: t.StorageStall,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("cluster: %w", err), stores.Close())
	}
	c.member.transport = transport
	if c.server != nil {
		transport.Register(c.server)
	}
	return nil
}

// takePart forms the cluster if it is not formed, then runs this node's parts.
//
// They end in the reverse order: who asks the controller for something, then raft
// (which hands leadership over first), then the controller.
func (c *Cluster) takePart(ctx context.Context) error {
	if err := c.form(ctx); err != nil {
		return err
	}
	raftCtx, stopRaft := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRaft()
	coreCtx, stopCore := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCore()

	var core, parts sync.WaitGroup
	core.Go(func() { c.ctl.run(coreCtx) })
	core.Go(func() { c.sessions.watch(coreCtx) })
	raftEnded := make(chan error, 1)
	core.Go(func() {
		err := c.member.run(raftCtx)
		if err != nil {
			c.fail(err)
		}
		raftEnded <- err
	})
	parts.Go(func() {
		if err := c.agent.run(ctx); err != nil {
			c.fail(err)
		}
	})
	parts.Go(func() { c.introduce(ctx) })
	parts.Go(func() { c.judge(ctx) })

	<-ctx.Done()
	c.endLife()
	parts.Wait()
	stopRaft()
	err := <-raftEnded
	stopCore()
	core.Wait()
	return err
}

// judge makes the error of a controller that finds itself the odd one.
func (c *Cluster) judge(ctx context.Context) {
	select {
	case <-ctx.Done():
	case o := <-c.odd:
		c.fail(c.diverge(ctx, o.index, o.other))
	}
}

// newFSM makes the FSM of a raft instance.
func (c *Cluster) newFSM() *fsm {
	f := newFSM(c.images, c.m, c.fail)
	f.check = func(img *metadata.Image) error {
		if own, theirs := c.ClusterID(), img.ClusterID(); theirs != "" && theirs != own {
			return fatalf(ReasonStranger, "the metadata log is that of the cluster %s, and meta.properties of this directory says %s: "+
				"files of two nodes were mixed; restore the directory as a whole", theirs, own)
		}
		return nil
	}
	return f
}

// joined takes over the Raft configuration of a new instance: which directories
// the members stand on.
func (c *Cluster) joined(conf raft.Configuration) error {
	members := make(map[int32][16]byte)
	for _, s := range conf.Servers {
		node, dir, err := raftrpc.ParseAddress(s.Address)
		if err != nil {
			return fatalf(ReasonStorage, "the Raft configuration of this directory: %w", err)
		}
		members[node] = dir
	}
	if dir, ok := members[c.o.NodeID]; !ok || dir != c.o.DirectoryID {
		return fatalf(ReasonStranger, "the metadata log in this directory knows node %d as %s, and the directory's own id is %s: "+
			"the log was copied here from another directory; restore the directory as a whole", c.o.NodeID, c.placeOf(members), rpc.FormatUUID(c.o.DirectoryID))
	}
	ids := slices.Sorted(maps.Keys(members))
	if len(c.o.Peers) > 0 && !slices.Equal(ids, c.o.founders()) {
		c.log.Warn("--peers differs from the members of the cluster; it is used for addresses only", "node", c.o.NodeID,
			"members", idList(ids), "node_and_peers", idList(c.o.founders()))
	}
	c.book.SetMembers(members)
	return nil
}

func (c *Cluster) placeOf(members map[int32][16]byte) string {
	if dir, ok := members[c.o.NodeID]; ok {
		return "standing on directory " + rpc.FormatUUID(dir)
	}
	return "no member"
}

// brokersChanged takes the addresses of registered brokers over into the book,
// and tells of what has become of them, on the controller.
func (c *Cluster) brokersChanged(from, img *metadata.Image) {
	if slices.Equal(from.Brokers(), img.Brokers()) {
		return
	}
	if c.ctl.current() != nil {
		c.tellBrokers(from, img)
	}
	entries := make(map[int32]rpc.Entry)
	for _, b := range img.Brokers() {
		e := rpc.Entry{Address: b.RaftAddr}
		if len(b.Directories) == 1 {
			e.Directory = b.Directories[0]
		}
		entries[b.ID] = e
	}
	c.book.SetRegistered(entries)
}

// tellBrokers logs a line for each broker that was registered, fenced or unfenced.
func (c *Cluster) tellBrokers(from, img *metadata.Image) {
	for _, b := range img.Brokers() {
		old := from.Broker(b.ID)
		var what string
		switch {
		case old == nil || old.Epoch != b.Epoch:
			what = "Broker registered"
		case old.Fenced && !b.Fenced:
			what = "Broker unfenced"
		case !old.Fenced && b.Fenced:
			what = "Broker fenced"
		case !old.InControlledShutdown && b.InControlledShutdown:
			what = "Broker shuts down"
		default:
			continue
		}
		was := int64(-1)
		if old != nil {
			was = old.Epoch
		}
		c.log.Info(what, "broker", b.ID, "broker_epoch", b.Epoch, "broker_epoch_before", was, "index", img.Index(),
			"leads", img.BrokerPartitionCount(b.ID, metadata.RoleLeader))
	}
}
