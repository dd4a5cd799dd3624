package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

const (
	// registerEvery is how often a registration that was refused for now is tried again.
	registerEvery = 50 * time.Millisecond
	// registerCall bounds one try.
	registerCall = 2 * time.Second
	// sayEvery is how often a wait that lasts is told of.
	sayEvery = 5 * time.Second
	// drainWait bounds a clean stop's wait for the others to know.
	drainWait = 5 * time.Second
	// goodbyeWait bounds the last heartbeat.
	goodbyeWait = 200 * time.Millisecond
	// leaderlessDrain is how long a clean stop waits for a leader to tell.
	leaderlessDrain = time.Second
)

// Broker is what a node registers of itself as a broker.
type Broker struct {
	// Directories are the data directories that are online.
	Directories [][16]byte
	// Listeners are the endpoints of the Kafka protocol; the first is the one that Metadata shows.
	Listeners []metadata.Listener
	Rack      string
	Features  []metadata.FeatureRange
	// PreviousEpoch is the broker epoch in the clean-shutdown file; -1 without one.
	PreviousEpoch int64
	// BootID is what the host's page cache lives and dies with; compared for equality only.
	BootID string
}

// agent is this node as a broker, in the eyes of the controller: its registration
// and its heartbeats. One goroutine (run) sends heartbeats to whoever leads, from
// the registration on; Register, Serve and Drain only set what they say.
type agent struct {
	c   *Cluster
	log *slog.Logger

	registered chan struct{} // closed by the first registration
	epoch      atomic.Int64
	want       atomic.Int32  // clusterv1.Want
	wake       chan struct{} // one token: send a heartbeat now
	mayStop    chan struct{} // closed when the controller lets a draining broker go

	mu      sync.Mutex
	request *clusterv1.RegisterRequest // the last registration; nil before
	leave   sync.Once
}

func newAgent(c *Cluster) *agent {
	return &agent{
		c: c, log: c.log, registered: make(chan struct{}), wake: make(chan struct{}, 1), mayStop: make(chan struct{}),
	}
}

// Register makes this node known as a broker and returns its epoch, once the own
// image holds the registration and the subscribers have seen it. The broker is
// fenced until Serve. It tries until ctx ends, or until another live process has
// held the node id for Timing.Registration.
func (c *Cluster) Register(ctx context.Context, b Broker) (epoch int64, err error) {
	ctx, cancel := c.whileRunning(ctx)
	defer cancel()
	if err := c.awaitFormed(ctx); err != nil {
		return 0, c.stopped(err)
	}
	req := c.registration(b)
	r, err := c.agent.register(ctx, req)
	if err != nil {
		return 0, c.stopped(err)
	}
	if err := c.images.awaitIndex(ctx, max(r.GetIndex(), uint64(r.GetBrokerEpoch()))); err != nil {
		return 0, c.stopped(err)
	}
	// From here on the image is one that holds this broker, so nothing in it is
	// older than this start: subscribers may act on it.
	c.images.release()
	if err := c.images.await(ctx, func() bool { return c.images.shown.Load() >= uint64(r.GetBrokerEpoch()) }); err != nil {
		return 0, c.stopped(err)
	}
	c.agent.begin(req, r.GetBrokerEpoch())
	return r.GetBrokerEpoch(), nil
}

// registration is the request that b makes.
func (c *Cluster) registration(b Broker) *clusterv1.RegisterRequest {
	id := c.identity()
	req := &clusterv1.RegisterRequest{
		NodeId: c.o.NodeID, Incarnation: c.o.Incarnation[:], ClusterId: id.ClusterID, Generation: id.Generation,
		Rack: b.Rack, PreviousBrokerEpoch: b.PreviousEpoch, RaftAddress: c.o.RaftAddr, BootId: b.BootID,
	}
	for _, d := range b.Directories {
		req.Directories = append(req.Directories, d[:])
	}
	for _, l := range b.Listeners {
		req.Listeners = append(req.Listeners, &clusterv1.Listener{
			Name: l.Name, Host: l.Host, Port: l.Port, SecurityProtocol: int32(l.SecurityProtocol),
		})
	}
	for _, f := range b.Features {
		req.Features = append(req.Features, &clusterv1.FeatureRange{Name: f.Name, Min: f.Min, Max: f.Max})
	}
	return req
}

// register sends req to the controller until it takes it.
func (a *agent) register(ctx context.Context, req *clusterv1.RegisterRequest) (*clusterv1.RegisterResponse, error) {
	start := time.Now()
	said := start
	var taken time.Time // since when another process has held the node id
	for {
		r, err := a.ask(ctx, req)
		again := registerEvery
		if err != nil {
			if err := a.c.strangers.among(req.GetClusterId(), a.c.o.Peers); err != nil {
				return nil, err
			}
			again = retryLeader // nobody has judged it yet
		}
		switch code := int16(r.GetCode()); {
		case err == nil && code == metadata.CodeNone:
			a.log.Info("Registered as broker", "node", a.c.o.NodeID, "broker_epoch", r.GetBrokerEpoch(), "took", time.Since(start).Round(time.Millisecond))
			return r, nil
		case err == nil && code == metadata.CodeDuplicateBrokerRegistration:
			if taken.IsZero() {
				taken = time.Now()
			}
			if time.Since(taken) > a.c.o.Timing.Registration {
				return nil, fatalf(ReasonDuplicate, "after %s: %s", a.c.o.Timing.Registration, r.GetMessage())
			}
			err = errors.New(r.GetMessage())
		case err == nil && code != metadata.CodeNotController && code != metadata.CodeRequestTimedOut:
			return nil, fatalf(ReasonStranger, "the controller refuses this broker's registration: %s", r.GetMessage())
		case err == nil:
			err = errors.New(r.GetMessage())
		}
		if time.Since(said) >= sayEvery {
			said = time.Now()
			leader, term, _ := a.c.leader.get()
			a.log.Warn("Waiting to be registered as a broker", "node", a.c.o.NodeID, "waited", time.Since(start).Round(time.Second),
				"leader", leader, "term", term, "error", plain(err))
		}
		if err := a.c.pauseForLeader(ctx, again); err != nil {
			return nil, err
		}
	}
}

// ask makes one try at the leader of the moment.
func (a *agent) ask(ctx context.Context, req *clusterv1.RegisterRequest) (*clusterv1.RegisterResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, registerCall)
	defer cancel()
	leader, _, while := a.c.leader.get()
	if leader == 0 {
		return nil, errors.New("no leader of the metadata log is known; a majority of the voters has to be up")
	}
	if leader == a.c.o.NodeID {
		return a.c.registerHere(ctx, req)
	}
	ctx, cancel = until(ctx, while)
	defer cancel()
	return clusterv1.NewClusterClient(a.c.conn(leader)).Register(ctx, req)
}

// begin says that this node is registered with epoch.
func (a *agent) begin(req *clusterv1.RegisterRequest, epoch int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch.Store(epoch)
	if a.request == nil {
		close(a.registered)
	}
	a.request = req
}

// Serve says that the broker's listeners are open: its heartbeats ask to be unfenced.
func (c *Cluster) Serve() { c.agent.wish(clusterv1.Want_WANT_UNFENCE) }

func (a *agent) wish(w clusterv1.Want) {
	if clusterv1.Want(a.want.Load()) == clusterv1.Want_WANT_SHUTDOWN {
		return // a stop is not taken back
	}
	a.want.Store(int32(w))
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Drain begins a clean stop: the broker is fenced, so that clients find out, and
// Drain returns when all active brokers know of it, when ctx ends, or after 5 s.
// The listeners should go on answering until it returns.
func (c *Cluster) Drain(ctx context.Context) error {
	select {
	case <-c.agent.registered:
	default:
		return nil // nobody knows of this broker
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, drainWait)
	defer cancel()
	c.agent.wish(clusterv1.Want_WANT_SHUTDOWN)
	for {
		leader, _, while := c.leader.get()
		var leaderless <-chan time.Time
		if leader == 0 {
			leaderless = time.After(leaderlessDrain)
		}
		select {
		case <-c.agent.mayStop:
			c.log.Info("The controller and all active brokers know that this one stops", "node", c.o.NodeID, "took", time.Since(start).Round(time.Millisecond))
			return nil
		case <-while.Done():
		case <-leaderless:
			return errors.New("cluster: no leader of the metadata log to tell of the stop: clients will find out when the connections close")
		case <-c.life.Done():
			return ErrStopped
		case <-ctx.Done():
			return fmt.Errorf("cluster: the stop is not known to all brokers after %s: %w", time.Since(start).Round(time.Millisecond), ctx.Err())
		}
	}
}

// Ready reports whether this node's own image shows it registered and unfenced.
func (c *Cluster) Ready() bool {
	epoch := c.agent.epoch.Load()
	b := c.Image().Broker(c.o.NodeID)
	return epoch > 0 && b != nil && b.Epoch == epoch && !b.Fenced
}

// AwaitReady waits until Ready.
func (c *Cluster) AwaitReady(ctx context.Context) error {
	ctx, cancel := c.whileRunning(ctx)
	defer cancel()
	return c.stopped(c.images.await(ctx, c.Ready))
}

// run keeps a session with whoever leads.
func (a *agent) run(ctx context.Context) error {
	select {
	case <-a.registered:
	case <-ctx.Done():
		return nil
	}
	for ctx.Err() == nil {
		leader, _, while := a.c.leader.get()
		if leader == 0 {
			select {
			case <-while.Done():
			case <-ctx.Done():
			}
			continue
		}
		err := a.session(ctx, leader, while)
		if index, odd := asDiverged(err); odd {
			return a.c.diverge(ctx, index, leader)
		}
		var fatal *FatalError
		if errors.As(err, &fatal) {
			return err
		}
		if err != nil {
			a.log.Debug("The session with the controller ended", "leader", leader, "error", err)
		}
		_ = a.c.pauseForLeader(ctx, retryLeader)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeWait)
	defer cancel()
	a.goodbye(last)
	return nil
}

// session sends heartbeats to one leader until it is another, or fails.
func (a *agent) session(ctx context.Context, leader int32, while context.Context) error {
	ctx, cancel := until(ctx, while)
	defer cancel()
	exchange := func(b *clusterv1.Beat) (*clusterv1.BeatReply, error) { return a.c.sessions.beat(b) }
	if leader != a.c.o.NodeID {
		stream, err := clusterv1.NewClusterClient(a.c.conn(leader)).Session(ctx)
		if err != nil {
			return err
		}
		exchange = func(b *clusterv1.Beat) (*clusterv1.BeatReply, error) {
			if err := stream.Send(b); err != nil {
				_, err = stream.Recv() // Send says only that the stream has ended; Recv says why
				return nil, err
			}
			return stream.Recv()
		}
	}
	t := time.NewTicker(a.c.o.Timing.Beat)
	defer t.Stop()
	for {
		if err := a.beat(ctx, exchange); err != nil {
			return err
		}
		var hurry <-chan time.Time
		if a.leaving() {
			hurry = time.After(a.c.o.Timing.Beat / 10) // each step of a drain takes a heartbeat
		}
		select {
		case <-t.C:
		case <-hurry:
		case <-a.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// leaving reports whether a drain is under way.
func (a *agent) leaving() bool {
	select {
	case <-a.mayStop:
		return false
	default:
		return clusterv1.Want(a.want.Load()) == clusterv1.Want_WANT_SHUTDOWN
	}
}

// beat makes one heartbeat and takes its answer. A node that is not well says
// nothing: a heartbeat is a statement about disk and listener, not about a thread.
func (a *agent) beat(ctx context.Context, exchange func(*clusterv1.Beat) (*clusterv1.BeatReply, error)) error {
	h := a.c.health()
	want := clusterv1.Want(a.want.Load())
	if h.Err != nil && want != clusterv1.Want_WANT_SHUTDOWN {
		a.c.say.warn("heartbeat", "No heartbeat goes out: this node is not well", "node", a.c.o.NodeID, "error", h.Err)
		return nil
	}
	img := a.c.images.told.Load()
	b := &clusterv1.Beat{
		BrokerId: a.c.o.NodeID, BrokerEpoch: a.epoch.Load(), Incarnation: a.c.o.Incarnation[:],
		ImageIndex: img.Index(), Digest: img.Digest(), Want: want, Storage: h.Storage,
	}
	for _, d := range h.FailedDirectories {
		b.FailedDirectories = append(b.FailedDirectories, d[:])
	}
	r, err := exchange(b)
	if err != nil {
		return err
	}
	switch int16(r.GetCode()) {
	case metadata.CodeNone:
	case metadata.CodeStaleBrokerEpoch:
		return fatalf(ReasonDuplicate, "node %d lost its registration (broker epoch %d): %s; "+
			"two processes use one --node-id: stop one", a.c.o.NodeID, a.epoch.Load(), r.GetMessage())
	case metadata.CodeBrokerIDNotRegistered:
		return a.again(ctx)
	default:
		return status.Errorf(codes.Internal, "heartbeat refused with code %d: %s", r.GetCode(), r.GetMessage())
	}
	if r.GetMayShutdown() {
		a.leave.Do(func() { close(a.mayStop) })
	}
	return nil
}

// again registers a broker that was taken out of the image.
func (a *agent) again(ctx context.Context) error {
	a.mu.Lock()
	req := a.request
	a.mu.Unlock()
	r, err := a.register(ctx, req)
	if err != nil {
		return err
	}
	a.begin(req, r.GetBrokerEpoch())
	return nil
}

// goodbye tells the leader that no heartbeat follows, if there is time for it.
func (a *agent) goodbye(ctx context.Context) {
	leader, _, _ := a.c.leader.get()
	if leader == 0 || a.epoch.Load() == 0 {
		return
	}
	b := &clusterv1.Beat{
		BrokerId: a.c.o.NodeID, BrokerEpoch: a.epoch.Load(), Incarnation: a.c.o.Incarnation[:],
		Want: clusterv1.Want_WANT_SHUTDOWN, Goodbye: true, ImageIndex: a.c.images.told.Load().Index(),
		Digest: a.c.images.told.Load().Digest(),
	}
	if leader == a.c.o.NodeID {
		_, _ = a.c.sessions.beat(b)
		return
	}
	stream, err := clusterv1.NewClusterClient(a.c.conn(leader)).Session(ctx)
	if err == nil {
		if err = stream.Send(b); err == nil {
			_, _ = stream.Recv()
		}
	}
}
