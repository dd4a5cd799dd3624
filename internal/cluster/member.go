package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/raftrpc"
	"github.com/chronik-stream/chronik/internal/raftstore"
)

// logCache is how many of the newest entries replication reads from memory.
const logCache = 512

// member is this node as a member of the Raft group: it owns the stores and the
// raft instance over them, and restarts raft in place when the store has been
// poisoned by a late write or when a snapshot conflicts with the log.
type member struct {
	o         *Options
	log       *slog.Logger
	m         *metrics
	transport *raftrpc.Transport
	stores    *raftstore.Stores
	ctl       *loop
	newFSM    func() *fsm
	fatal     func(error)
	// joined is told the configuration of each new instance; an error is final.
	joined func(raft.Configuration) error
	// stand may make a new instance a candidate without waiting for a timeout.
	stand func(*instance)

	stalls atomic.Bool // a write is late
	lost   atomic.Bool // the store has failed for good

	current atomic.Pointer[instance] // nil while none runs
	again   chan restart
	leader  *leaderView
}

// restart asks for a new raft instance on the same stores.
type restart struct {
	from uint64 // delete the log from here on in between; 0: leave it
}

// instance is one raft and what belongs to it.
type instance struct {
	raft *raft.Raft
	rpc  *raftrpc.Instance
	fsm  *fsm

	notify   chan bool             // raft blocks on it: buffered, and drained by watch
	observed chan raft.Observation // something about the leader has changed: a hint to look
	grown    chan struct{}         // one token: the entries since the last snapshot are many bytes

	ctx  context.Context // ends when the instance is being stopped
	stop context.CancelFunc
	gone chan struct{} // closed when raft has ended: no future is answered any more
	work sync.WaitGroup
}

// What the stores and the transport call; none may block.
func (m *member) stalled()              { m.stalls.Store(true) }
func (m *member) settled()              { m.ask(restart{}) }
func (m *member) conflict(index uint64) { m.ask(restart{from: index}) }

func (m *member) ask(r restart) {
	select {
	case m.again <- r:
	default: // a restart is due anyway; a conflict that stays is reported again
	}
}

// run keeps a raft instance until ctx ends, then hands leadership over and stops it.
func (m *member) run(ctx context.Context) error {
	for {
		inst, err := m.start()
		if err != nil {
			return err
		}
		var r restart
		select {
		case <-ctx.Done():
			m.transfer(inst)
			m.end(inst)
			return nil
		case r = <-m.again:
		}
		m.log.Warn("Restarting Raft in place", "node", m.o.NodeID, "delete_from", r.from)
		m.m.restarts.Inc()
		m.end(inst)
		if ok, err := m.reset(ctx); !ok {
			return err
		}
		if r.from > 0 {
			if err := m.stores.DeleteFrom(r.from); err != nil {
				return fatalf(ReasonStorage, "delete the entries from %d on, which conflict with a snapshot: %w", r.from, err)
			}
		}
	}
}

// reset makes the stores usable again; false when ctx ended, or with an error.
func (m *member) reset(ctx context.Context) (bool, error) {
	for {
		err := m.stores.Reset()
		switch {
		case err == nil:
			m.stalls.Store(false)
			return true, nil
		case !errors.Is(err, raftstore.ErrStalled):
			return false, fatalf(ReasonStorage, "restart Raft in place: %w", err)
		}
		select { // another write is late by now; when it returns, settled asks again
		case <-m.again:
		case <-ctx.Done():
			return false, nil
		}
	}
}

// start makes a raft instance over the stores.
func (m *member) start() (*instance, error) {
	inst := &instance{
		fsm: m.newFSM(), notify: make(chan bool, 8), observed: make(chan raft.Observation, 64),
		grown: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	inst.ctx, inst.stop = context.WithCancel(context.Background())
	inst.fsm.grown = func() {
		if inst.fsm.bytes.Load() >= m.o.Limits.SnapshotBytes {
			select {
			case inst.grown <- struct{}{}:
			default:
			}
		}
	}
	var err error
	if inst.rpc, err = m.transport.Attach(raftrpc.InstanceOptions{Logs: m.stores.Log, OnConflict: m.conflict}); err != nil {
		return nil, fmt.Errorf("cluster: start Raft: %w", err)
	}
	running := new(atomic.Bool)
	cache, err := raft.NewLogCache(logCache, readGuard{m.stores.Log, running, m.fatal})
	if err != nil {
		return nil, fmt.Errorf("cluster: start Raft: %w", err)
	}
	view := logView{cache, m.stores.Snapshots}
	inst.raft, err = newRaft(m.config(inst), inst.fsm, view, m.stores.Stable, m.stores.Snapshots, inst.rpc)
	if err != nil {
		_ = inst.rpc.Close()
		return nil, fatalf(ReasonStorage, "start Raft on %s: %w; "+
			"if the files are damaged, restore the directory or let the node rejoin with an empty one", m.o.Path, err)
	}
	running.Store(true)
	inst.rpc.Bind(inst.raft)
	inst.raft.RegisterObserver(raft.NewObserver(inst.observed, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	}))
	m.current.Store(inst)
	inst.work.Go(func() { m.watch(inst) })
	inst.work.Go(func() { m.snapshots(inst) })
	if err := m.joined(inst.raft.GetConfiguration().Configuration()); err != nil {
		m.end(inst)
		return nil, err
	}
	inst.work.Go(func() { m.stand(inst) })
	return inst, nil
}

func (m *member) config(inst *instance) *raft.Config {
	t := m.o.Timing
	c := raft.DefaultConfig()
	c.LocalID = raftrpc.ServerID(m.o.NodeID)
	c.HeartbeatTimeout = t.Heartbeat
	c.ElectionTimeout = t.Election
	c.LeaderLeaseTimeout = t.Lease
	c.CommitTimeout = t.Commit
	c.MaxAppendEntries = 64
	c.BatchApplyCh = false // it breaks Apply's timeout; the controller batches
	c.ShutdownOnRemove = false
	c.SnapshotThreshold = m.o.Limits.SnapshotEntries
	c.SnapshotInterval = t.SnapshotInterval
	c.TrailingLogs = m.o.Limits.TrailingEntries
	c.NotifyCh = inst.notify
	c.NoLegacyTelemetry = true
	c.Logger = raftstore.NewLogger(m.log.With("part", "raft"))
	return c
}

// end stops an instance. The order matters: the controller first, so that no
// future is left unanswered by a raft that has stopped; then raft, whose calls
// in flight the closed transport ends.
func (m *member) end(inst *instance) {
	m.ctl.retire(inst)
	inst.stop()
	m.current.Store(nil)
	f := inst.raft.Shutdown()
	_ = inst.rpc.Close()
	if err := f.Error(); err != nil {
		m.log.Warn("Raft did not stop in order", "error", err)
	}
	close(inst.gone)
	inst.work.Wait()
	m.leader.set(0, inst.raft.CurrentTerm())
}

// transfer hands leadership to the follower that lags least, as far as one answers.
func (m *member) transfer(inst *instance) {
	// Where the store is lost or stalls, raft's main goroutine may have ended.
	if m.stalls.Load() || m.lost.Load() || inst.raft.State() != raft.Leader ||
		onlyVoter(inst.raft.GetConfiguration().Configuration(), m.o.NodeID) {
		return
	}
	m.ctl.retire(inst)
	done := make(chan error, 1)
	go func() { done <- inst.raft.LeadershipTransfer().Error() }()
	select {
	case err := <-done:
		if err != nil {
			m.log.Warn("Leadership was not handed over; the others will elect a leader when they miss this one", "error", err)
		}
	case <-time.After(2*m.o.Timing.Election + time.Second):
	}
}

// watch drains raft's notifications and keeps the view of who leads.
func (m *member) watch(inst *instance) {
	won := uint64(0) // the term that this node leads, 0 if it does not
	look := func() {
		_, id := inst.raft.LeaderWithID()
		node, _ := raftrpc.ParseServerID(id)
		m.leader.set(node, inst.raft.CurrentTerm())
	}
	for {
		select {
		case leads := <-inst.notify:
			if leads {
				won = m.won(inst)
			} else if won != 0 {
				m.ceased(inst, won)
				won = 0
			}
			look()
		case <-inst.observed:
			look()
		case <-inst.gone:
			if won != 0 {
				m.ceased(inst, won)
			}
			return
		}
	}
}

// won returns the term that this node has begun to lead, 0 if that is over already.
func (m *member) won(inst *instance) uint64 {
	term := inst.raft.CurrentTerm()
	if inst.raft.State() != raft.Leader || inst.raft.CurrentTerm() != term {
		return 0 // deposed at once: the notification of it is next in the channel
	}
	m.log.Info(fmt.Sprintf("became leader at term %d", term), "node", m.o.NodeID, "term", term)
	m.m.elected.Inc()
	m.ctl.begin(inst, term)
	return term
}

func (m *member) ceased(inst *instance, term uint64) {
	now := inst.raft.CurrentTerm()
	level, cause := slog.LevelWarn, "no majority answered within the lease"
	switch {
	case inst.ctx.Err() != nil:
		level, cause = slog.LevelInfo, "this node stops Raft"
	case now > term:
		cause = fmt.Sprintf("term %d has begun", now)
	case m.stalls.Load():
		cause = "the disk of the metadata log stalls"
	}
	m.ctl.cease(inst)
	m.log.Log(context.Background(), level, "leadership lost", "node", m.o.NodeID, "term", term, "term_now", now, "cause", cause)
}

// snapshots takes a snapshot whenever the entries since the last one have grown
// to SnapshotBytes; raft itself counts entries, and 8192 of 1 MiB are 8 GiB.
func (m *member) snapshots(inst *instance) {
	for {
		select {
		case <-inst.ctx.Done():
			return
		case <-inst.grown:
		}
		entries := max(1, inst.fsm.entries.Load())
		mean := max(1, inst.fsm.bytes.Load()/entries)
		rc := inst.raft.ReloadableConfig()
		rc.TrailingLogs = min(m.o.Limits.TrailingEntries, uint64(m.o.Limits.SnapshotBytes/mean))
		if err := inst.raft.ReloadConfig(rc); err != nil {
			m.log.Error("Cannot set how much of the metadata log stays behind a snapshot", "error", err)
		}
		if err := inst.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrRaftShutdown) {
			m.log.Error("No snapshot of the metadata log was taken", "error", err)
		}
	}
}

func onlyVoter(c raft.Configuration, node int32) bool {
	voters := 0
	self := false
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			voters++
			self = self || s.ID == raftrpc.ServerID(node)
		}
	}
	return voters == 1 && self
}

// leaderView is who leads, as raft on this node knows it. It is a struct under
// its own mutex; watch sets it, whoever sends something to the leader reads it.
type leaderView struct {
	mu   sync.Mutex
	node int32
	term uint64
	// while ends when node changes, so that calls to it end too.
	while context.Context
	over  context.CancelFunc
}

func newLeaderView() *leaderView {
	l := &leaderView{}
	l.while, l.over = context.WithCancel(context.Background())
	return l
}

func (l *leaderView) set(node int32, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term = term
	if l.node == node {
		return
	}
	l.over()
	l.node = node
	l.while, l.over = context.WithCancel(context.Background())
}

// get returns the leader (0: nobody is known), the term, and a context that ends
// when the leader is another.
func (l *leaderView) get() (node int32, term uint64, while context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.node, l.term, l.while
}
