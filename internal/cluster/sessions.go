package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

const (
	// sessionTick is how often the watch looks for sessions that have ended.
	sessionTick = 25 * time.Millisecond
	// lateTick is how late a tick may be before the watch takes it for a pause of
	// this whole process, in which no broker could be heard.
	lateTick = 100 * time.Millisecond
	// sayLate is how late a tick must be for a warning: any machine that is busy is late by less now and then.
	sayLate = 500 * time.Millisecond
)

// sessions is what the controller knows of the brokers' heartbeats. It is memory
// of one term: a new controller gives every unfenced broker a fresh session.
// Time is the monotonic clock of this process, at the arrival of a heartbeat.
//
// It is a struct under its own mutex: stream handlers note heartbeats, the
// session watch (one goroutine) ends sessions, the loop begins and ends terms.
// What follows from either goes through the controller's queue.
type sessions struct {
	o      *Options
	log    *slog.Logger
	m      *metrics
	queue  *queue
	images *images
	odd    func(index uint64, other int32) // this node's image differs from the majority's; must not block

	mu       sync.Mutex
	lead     *leadership // nil while this node is not the controller
	byBroker map[int32]*session
	lastTick time.Time
	doubt    bool // images were found to differ in this term
}

// session is one broker's.
type session struct {
	broker      int32
	epoch       int64
	incarnation metadata.ID

	heard  time.Time // the last heartbeat; zero if this controller heard none
	ends   time.Time
	graced bool // given one more heartbeat because too many ended at once
	job    *job // the last command about the broker; not done: it is on its way

	index    uint64 // of the broker's image
	agrees   agreement
	caughtUp time.Time // when it last had all that this node had
	ahead    uint64    // this node's index at the last heartbeat
	left     uint64    // index of the entry that fenced it on its own wish; 0: it did not ask

	heardMillis, caughtUpMillis int64 // the same on the wall clock, for people
}

func newSessions(o *Options, m *metrics, q *queue, i *images) *sessions {
	return &sessions{o: o, log: o.Logger, m: m, queue: q, images: i, byBroker: make(map[int32]*session)}
}

// begin opens the sessions of a term: everyone who is not fenced has a fresh one.
func (s *sessions) begin(lead *leadership, img *metadata.Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.lead, s.lastTick, s.doubt = lead, now, false
	s.byBroker = make(map[int32]*session)
	for _, b := range img.Brokers() {
		if !b.Fenced {
			s.byBroker[b.ID] = &session{broker: b.ID, epoch: b.Epoch, incarnation: b.Incarnation, ends: now.Add(s.o.Timing.Session)}
		}
	}
}

// end forgets all sessions.
func (s *sessions) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lead = nil
	s.byBroker = nil
}

// beat notes a heartbeat and answers it. An error says that this node is not the
// controller, or (a *divergedError) that the broker's image is not the majority's.
func (s *sessions) beat(b *clusterv1.Beat) (*clusterv1.BeatReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lead == nil {
		return nil, errNotController
	}
	reply := &clusterv1.BeatReply{Term: s.lead.term}
	img := s.lead.inst.fsm.image.Load()
	reg := img.Broker(b.GetBrokerId())
	switch {
	case reg == nil:
		reply.Code, reply.Message = int32(metadata.CodeBrokerIDNotRegistered), "this node id is not registered"
		return reply, nil
	case reg.Epoch != b.GetBrokerEpoch() || string(reg.Incarnation[:]) != string(b.GetIncarnation()):
		reply.Code, reply.Message = int32(metadata.CodeStaleBrokerEpoch), "another process is registered under this node id, at "+reg.RaftAddr
		return reply, nil
	}
	x := s.of(reg)
	s.note(x, b, img)
	if err := s.compare(x, b); err != nil {
		return nil, err
	}
	if s.act(x, reg, b) {
		delete(s.byBroker, reg.ID)
	}
	reply.Fenced = reg.Fenced
	reply.MayShutdown = b.GetWant() == clusterv1.Want_WANT_SHUTDOWN && reg.Fenced && s.everyoneKnows(x)
	return reply, nil
}

// of returns the session of a registration, a new one if there is none or only an older process's.
func (s *sessions) of(reg *metadata.Broker) *session {
	x := s.byBroker[reg.ID]
	if x == nil || x.epoch != reg.Epoch {
		x = &session{broker: reg.ID, epoch: reg.Epoch, incarnation: reg.Incarnation}
		s.byBroker[reg.ID] = x
	}
	return x
}

// note takes over what a heartbeat says.
func (s *sessions) note(x *session, b *clusterv1.Beat, img *metadata.Image) {
	now := time.Now()
	wall := s.o.Clock.NowMillis()
	// It had everything when this one was sent, if it now has what we had when
	// the last one came.
	if x.heard.IsZero() || b.GetImageIndex() >= img.Index() {
		x.caughtUp, x.caughtUpMillis = now, wall
	} else if b.GetImageIndex() >= x.ahead {
		x.caughtUp, x.caughtUpMillis = x.heard, x.heardMillis
	}
	x.heard, x.heardMillis = now, wall
	x.ahead = img.Index()
	x.index = max(x.index, b.GetImageIndex())
	x.ends = now.Add(s.o.Timing.Session)
	x.graced = false
}

// act queues what a heartbeat asks for. It returns true when the session is over.
func (s *sessions) act(x *session, reg *metadata.Broker, b *clusterv1.Beat) bool {
	switch {
	case b.GetGoodbye():
		if !reg.Fenced {
			s.fence(x, clusterv1.FenceCause_FENCE_CAUSE_GOODBYE)
		}
		return true
	case b.GetStorage() == clusterv1.Storage_STORAGE_FAILED:
		if !reg.Fenced {
			s.fence(x, clusterv1.FenceCause_FENCE_CAUSE_STORAGE_FAILED)
		}
	case b.GetWant() == clusterv1.Want_WANT_SHUTDOWN:
		s.shutdown(x, reg)
	case b.GetWant() == clusterv1.Want_WANT_UNFENCE && reg.Fenced && !reg.InControlledShutdown &&
		b.GetImageIndex() >= uint64(reg.Epoch):
		s.put(x, &clusterv1.Command{Kind: &clusterv1.Command_UnfenceBroker{
			UnfenceBroker: &clusterv1.UnfenceBroker{BrokerId: x.broker, BrokerEpoch: x.epoch},
		}})
	}
	return false
}

// shutdown moves a broker that leaves one step on: its leaderships go where others
// can take them, then it is fenced, so that the rest show no leader and clients
// find out before the sockets close.
func (s *sessions) shutdown(x *session, reg *metadata.Broker) {
	switch {
	case !reg.InControlledShutdown:
		s.put(x, &clusterv1.Command{Kind: &clusterv1.Command_ShutdownBroker{
			ShutdownBroker: &clusterv1.ShutdownBroker{BrokerId: x.broker, BrokerEpoch: x.epoch},
		}})
	case !reg.Fenced:
		s.fence(x, clusterv1.FenceCause_FENCE_CAUSE_GOODBYE)
	case x.left == 0:
		x.left = s.lead.inst.fsm.image.Load().Index()
	}
}

// everyoneKnows reports whether every broker with a session has an image in which
// x is fenced; what does not answer any more is not waited for.
func (s *sessions) everyoneKnows(x *session) bool {
	for _, other := range s.byBroker {
		if other != x && !other.heard.IsZero() && other.index < x.left {
			return false
		}
	}
	return x.left != 0
}

func (s *sessions) fence(x *session, cause clusterv1.FenceCause) {
	if s.put(x, &clusterv1.Command{Kind: &clusterv1.Command_FenceBroker{
		FenceBroker: &clusterv1.FenceBroker{BrokerId: x.broker, BrokerEpoch: x.epoch, Cause: cause},
	}}) {
		s.m.fenced.WithLabelValues(causeLabel(cause)).Inc()
	}
}

// put queues a command about a broker, unless the last one is still on its way.
// What cannot be queued now is asked for again by the next heartbeat or tick.
func (s *sessions) put(x *session, cmd *clusterv1.Command) bool {
	if x.busy() {
		return false
	}
	j, err := s.queue.put(cmd)
	if err == nil {
		x.job = j
	}
	return err == nil
}

func (x *session) busy() bool {
	if x.job == nil {
		return false
	}
	select {
	case <-x.job.done:
		return false
	default:
		return true
	}
}

// complete fills in what only the controller knows of a registration: whether the
// process that is registered now lives.
func (s *sessions) complete(cmd *clusterv1.Command) {
	r, ok := cmd.Kind.(*clusterv1.Command_RegisterBroker)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.RegisterBroker.SessionAlive = s.alive(r.RegisterBroker.GetRequest())
}

// alive reports whether another process of the node has a valid session.
//
// A process that shows a directory of the registered one holds the lock of that
// directory, so the registered one is gone (unless the disk was cloned): it need
// not sit out the session, only be silent for two heartbeats.
func (s *sessions) alive(req *clusterv1.RegisterRequest) bool {
	x := s.byBroker[req.GetNodeId()]
	if x == nil || string(x.incarnation[:]) == string(req.GetIncarnation()) {
		return false
	}
	now := time.Now()
	if s.lead != nil && s.sharesDirectory(req) {
		return now.Sub(x.heard) < 2*s.o.Timing.Beat+s.o.Timing.Beat/2
	}
	return now.Before(x.ends)
}

func (s *sessions) sharesDirectory(req *clusterv1.RegisterRequest) bool {
	reg := s.lead.inst.fsm.image.Load().Broker(req.GetNodeId())
	if reg == nil {
		return false
	}
	for _, d := range req.GetDirectories() {
		var id metadata.ID
		if copy(id[:], d); id != (metadata.ID{}) && reg.Online(id) {
			return true
		}
	}
	return false
}

// watch ends sessions. It is a goroutine of its own so that an entry in flight
// never looks like a pause.
func (s *sessions) watch(ctx context.Context) {
	t := time.NewTicker(sessionTick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.tick(time.Now())
		}
	}
}

// tick fences the brokers whose sessions have ended, unless it is more likely
// this process that was away or cut off.
func (s *sessions) tick(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	late := now.Sub(s.lastTick) - sessionTick
	s.lastTick = now
	if s.lead == nil {
		return
	}
	if late > lateTick && !invariant.Mutant("cluster-pause-fences") {
		level := slog.LevelDebug
		if late > sayLate {
			level = slog.LevelWarn
		}
		s.log.Log(context.Background(), level, "This process stood still; all broker sessions are prolonged by that", "late", late)
		s.m.lateness.Observe(late.Seconds())
		for _, x := range s.byBroker {
			x.ends = x.ends.Add(late)
		}
	}
	img := s.lead.inst.fsm.image.Load()
	unfenced := 0
	var ended []*session
	for id, x := range s.byBroker {
		reg := img.Broker(id)
		if reg == nil || reg.Epoch != x.epoch {
			delete(s.byBroker, id) // registered anew by another process
			continue
		}
		over := !now.Before(x.ends)
		switch {
		case reg.Fenced && over:
			delete(s.byBroker, id)
		case !reg.Fenced:
			unfenced++
			if over && !x.busy() {
				ended = append(ended, x)
			}
		}
	}
	s.expire(ended, unfenced, now)
}

// expire fences what has ended. More than half of all brokers at once are given
// one more heartbeat: it may be this node that hears nobody.
func (s *sessions) expire(ended []*session, unfenced int, now time.Time) {
	for _, x := range ended {
		if 2*len(ended) > unfenced && !x.graced && !invariant.Mutant("cluster-no-grace") {
			x.graced = true
			x.ends = now.Add(s.o.Timing.Beat)
			continue
		}
		s.log.Warn("The session of a broker has ended: it is fenced", "broker", x.broker, "epoch", x.epoch,
			"silent", now.Sub(x.ends.Add(-s.o.Timing.Session)).Round(time.Millisecond), "timeout", s.o.Timing.Session)
		s.fence(x, clusterv1.FenceCause_FENCE_CAUSE_SESSION_EXPIRED)
	}
}

func causeLabel(c clusterv1.FenceCause) string {
	switch c {
	case clusterv1.FenceCause_FENCE_CAUSE_SESSION_EXPIRED:
		return "expired"
	case clusterv1.FenceCause_FENCE_CAUSE_STORAGE_FAILED:
		return "storage"
	case clusterv1.FenceCause_FENCE_CAUSE_GOODBYE:
		return "goodbye"
	default:
		return "other"
	}
}
