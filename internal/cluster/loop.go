package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/controller"
	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

const (
	// retryActivation is how long a leader waits before it tries again to become
	// the controller, after its barrier or its first entry was not taken.
	retryActivation = 10 * time.Millisecond
	// nudgeWait bounds how long the nudge waits for raft to take it.
	nudgeWait = 50 * time.Millisecond
	// retireWait bounds how long a raft instance is kept for an entry in flight.
	retireWait = time.Second
)

// leadership is a term that this node leads.
type leadership struct {
	inst *instance
	term uint64
}

// loop is the controller, and the only caller of raft.Apply. While this node
// leads, it takes what is queued, decides each command on the image plus the
// records so far, proposes one entry with all of it, and answers when the FSM has
// applied that. One entry at a time, so that decisions are always made on the
// exact state; what gathers during an entry is the next one.
//
// Its goroutine owns elected and active. The rest of the changing state is under mu: watch
// (member.go) says who leads, readers wait for a barrier.
type loop struct {
	o        *Options
	log      *slog.Logger
	m        *metrics
	queue    *queue
	sessions *sessions
	identity func() Identity

	changed chan struct{} // one token: lead or readers have changed

	mu      sync.Mutex
	lead    *leadership
	flight  chan struct{} // not nil while raft has something of ours; closed when that is answered
	readers []chan error  // each wants to know that a barrier has passed
	stopped bool

	elected *leadership // the last one whose barrier has passed
	active  *leadership // the one that this loop is the controller of
}

func newLoop(o *Options, m *metrics, q *queue, s *sessions, identity func() Identity) *loop {
	return &loop{
		o: o, log: o.Logger, m: m, queue: q, sessions: s, identity: identity, changed: make(chan struct{}, 1),
	}
}

func (l *loop) signal() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// begin says that this node leads term.
func (l *loop) begin(inst *instance, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.lead = &leadership{inst, term}
	l.signal()
}

// cease says that the leadership of an instance is over, whatever its term.
// Commands that wait are given back at once: the next leader may be there already.
func (l *loop) cease(inst *instance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lead != nil && l.lead.inst == inst {
		l.closeTerm(errNotController)
		l.lead = nil
	}
}

// closeTerm refuses what waits, and what comes, with err. Under mu.
func (l *loop) closeTerm(err error) {
	l.queue.refuse(err)
	l.sessions.end()
	for _, r := range l.readers {
		r <- err
	}
	l.readers = nil
	l.m.active.Set(0)
}

// retire ends the leadership of an instance that is about to stop, and waits for
// the entry in flight: raft leaves a future unanswered whose entry was committed
// as it shut down.
func (l *loop) retire(inst *instance) {
	l.cease(inst)
	l.mu.Lock()
	flight := l.flight
	l.mu.Unlock()
	if flight == nil {
		return
	}
	t := time.NewTimer(retireWait)
	defer t.Stop()
	select {
	case <-flight:
	case <-t.C:
	}
}

func (l *loop) current() *leadership {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lead
}

// run is the controller's goroutine. It outlives the terms.
func (l *loop) run(ctx context.Context) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stopped, l.lead = true, nil
		l.closeTerm(ErrStopped)
	}()
	for ctx.Err() == nil {
		lead := l.current()
		if lead != l.active {
			l.active = nil
		}
		switch {
		case lead == nil:
			select {
			case <-ctx.Done():
			case <-l.changed:
			case <-l.queue.wake:
			}
		case l.active == nil:
			if l.activate(lead) {
				l.active = lead
				continue
			}
			select {
			case <-ctx.Done():
			case <-time.After(retryActivation):
			}
		default:
			if !l.step(lead) {
				select {
				case <-ctx.Done():
				case <-l.changed:
				case <-l.queue.wake:
				}
			}
		}
	}
}

// activate makes this loop the controller of a term: a barrier, so that the image
// holds all that was ever committed, and an entry that says so.
func (l *loop) activate(lead *leadership) bool {
	start := time.Now()
	if err := l.barrier(lead); err != nil {
		l.log.Debug("The new leader's barrier did not pass", "term", lead.term, "error", err)
		return false
	}
	if l.elected != lead {
		l.elected = lead
		l.log.Info("Elected as Raft leader", "node", l.o.NodeID, "term", lead.term, "barrier", time.Since(start))
	}

	img := lead.inst.fsm.image.Load()
	env := l.env()
	var records []*metadatav1.Record
	if id := l.identity(); img.ClusterID() == "" {
		form := &clusterv1.FormCluster{ClusterId: id.ClusterID, Generation: id.Generation, Founders: founderMessages(id.Founders)}
		recs, ans := controller.Decide(img, &clusterv1.Command{Kind: &clusterv1.Command_FormCluster{FormCluster: form}}, env)
		if ans.GetCode() != 0 {
			l.log.Error("The cluster cannot be formed", "error", ans.GetMessage())
			return false
		}
		records = append(records, recs...)
	}
	act := &clusterv1.ActivateController{Node: l.o.NodeID, Term: lead.term}
	recs, ans := controller.Decide(img, &clusterv1.Command{Kind: &clusterv1.Command_ActivateController{ActivateController: act}}, env)
	if ans.GetCode() != 0 {
		l.log.Error("The controller cannot become active", "term", lead.term, "error", ans.GetMessage())
		return false
	}
	img, err := l.propose(lead, append(records, recs...))
	if err != nil {
		l.log.Debug("The new controller's first entry was not applied", "term", lead.term, "error", err)
		return false
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lead != lead {
		return false
	}
	l.sessions.begin(lead, img)
	l.queue.allow()
	// Whatever a controller before this one left half done is finished first.
	_, _ = l.queue.put(&clusterv1.Command{Kind: &clusterv1.Command_RepairPartitions{RepairPartitions: &clusterv1.RepairPartitions{}}})
	l.m.active.Set(1)
	l.log.Info("The controller is active", "node", l.o.NodeID, "term", lead.term, "index", img.Index(), "took", time.Since(start))
	return true
}

// step does one entry, or one barrier for those who only read. It returns false
// when there was nothing to do.
func (l *loop) step(lead *leadership) bool {
	readers := l.takeReaders()
	b := l.gather(lead)
	if len(b.jobs) == 0 && len(readers) == 0 {
		return false
	}
	// An answer without records rests on the image as it is: that has to be the
	// newest, so leadership is proved by a barrier.
	img, err := lead.inst.fsm.image.Load(), error(nil)
	if len(b.records) > 0 {
		img, err = l.propose(lead, b.records)
	} else {
		err = l.barrier(lead)
	}
	l.answer(b, img, err)
	for _, r := range readers {
		r <- err
	}
	switch {
	case err != nil:
		l.failed(lead, err)
	case len(b.records) > 0 && l.queue.empty() && !onlyVoter(lead.inst.raft.GetConfiguration().Configuration(), l.o.NodeID):
		// Followers learn that the entry is committed only with what is sent
		// next. The barrier is that; nobody waits for it.
		_ = lead.inst.raft.Barrier(nudgeWait)
	}
	return true
}

// failed closes the term after an entry that did not go through. If this node
// still leads, it becomes the controller anew.
func (l *loop) failed(lead *leadership, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = nil
	if l.lead == lead {
		l.log.Debug("An entry of the controller did not go through", "term", lead.term, "error", err)
		l.closeTerm(errNotController)
	}
}

// propose has raft apply records as one entry, and returns the image after it.
func (l *loop) propose(lead *leadership, records []*metadatav1.Record) (*metadata.Image, error) {
	e := &metadatav1.Envelope{
		Term:    lead.term,
		NowMs:   max(l.o.Clock.NowMillis(), lead.inst.fsm.image.Load().NowMillis()),
		Records: records,
	}
	data, err := metadata.Encode(e)
	if err != nil {
		// A decision with records that no node could read is a bug: it is refused,
		// not tried again for ever.
		return nil, metadata.Errorf(metadata.CodeUnknownServerError, "the entry cannot be written: %v", err)
	}
	start := time.Now()
	var f raft.ApplyFuture
	err = l.await(lead, func() raft.Future {
		f = lead.inst.raft.Apply(data, l.o.Timing.StorageStall+l.o.Timing.Heartbeat)
		return f
	})
	if err != nil {
		return nil, outcome(err)
	}
	l.m.applySeconds.Observe(time.Since(start).Seconds())
	l.m.entryBytes.Observe(float64(len(data)))
	a := f.Response().(applied)
	return a.image, a.err
}

// barrier returns when everything committed before is in the image.
func (l *loop) barrier(lead *leadership) error {
	return outcome(l.await(lead, func() raft.Future {
		return lead.inst.raft.Barrier(l.o.Timing.StorageStall + l.o.Timing.Heartbeat)
	}))
}

// await waits for what raft was asked. It also ends when the instance has ended:
// a future can be left behind by a raft that shuts down.
func (l *loop) await(lead *leadership, ask func() raft.Future) error {
	l.mu.Lock()
	if l.lead != lead {
		l.mu.Unlock()
		return errNotController
	}
	flight := make(chan struct{})
	l.flight = flight
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.flight = nil
		l.mu.Unlock()
		close(flight)
	}()
	done := make(chan error, 1)
	f := ask()
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-lead.inst.gone:
		return errUnknownOutcome
	}
}

// outcome sorts raft's errors: into those that say that nothing was proposed, and
// the rest, after which the entry may yet be committed by the next leader.
func outcome(err error) error {
	switch {
	case err == nil, errors.Is(err, errNotController), errors.Is(err, errUnknownOutcome):
		return err
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return errors.Join(errNotController, err)
	default: // ErrLeadershipLost, ErrRaftShutdown, ErrAbortedByRestore, a failed StoreLogs
		return errors.Join(errUnknownOutcome, err)
	}
}

// read waits until a barrier has passed after the call.
func (l *loop) read(ctx context.Context) error {
	r := make(chan error, 1)
	l.mu.Lock()
	if l.lead == nil {
		l.mu.Unlock()
		return errNotController
	}
	l.readers = append(l.readers, r)
	l.mu.Unlock()
	l.signal()
	select {
	case err := <-r:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *loop) takeReaders() []chan error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.readers
	l.readers = nil
	return r
}

func (l *loop) env() controller.Env {
	return controller.Env{
		NewID: l.o.NewID, Intn: l.o.Intn, Partitions: l.o.Limits.DefaultPartitions, UncleanElection: l.o.UncleanElection,
		Limits: controller.Limits{EntryBytes: l.o.Limits.EntryBytes},
	}
}
