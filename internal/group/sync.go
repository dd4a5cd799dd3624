package group

import (
	"bytes"
	"fmt"

	"github.com/chronik-stream/chronik/internal/coordinator"
)

// Sync handles a SyncGroup. answer is called once: when the leader's assignment
// is in the log, or at once if it is already, or with an error.
func (m *Machine) Sync(now coordinator.Now, req SyncRequest, answer func(SyncAnswer)) coordinator.Result {
	res := coordinator.Result{Key: req.Group}
	g, err := m.synced(req)
	if err != nil {
		replySync(answer, SyncAnswer{Err: err}, &res)
		return res
	}
	mb := g.members[req.MemberID]
	m.hasSynced(g, mb, &res)
	if g.state == Stable {
		g.touch(now, mb, mb.session, &res)
		replySync(answer, g.syncAnswer(mb), &res)
		return res
	}
	// An earlier SyncGroup that still waits came over a connection that its client has given up.
	g.answerSync(mb, SyncAnswer{Err: ErrRebalanceInProgress}, &res)
	mb.sync = answer
	if g.leader == mb.id {
		m.assign(now, g, req, &res)
	}
	return res
}

// synced checks a SyncGroup and returns its group, which is Stable or CompletingRebalance.
func (m *Machine) synced(req SyncRequest) (*group, error) {
	if req.Group == "" {
		return nil, ErrInvalidGroupID
	}
	g := m.groups[req.Group]
	if g == nil || g.state == Empty {
		return nil, ErrUnknownMember
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		return nil, err
	}
	switch {
	case req.Generation != g.generation:
		return nil, ErrIllegalGeneration
	case req.ProtocolType != nil && *req.ProtocolType != g.protocolType, req.Protocol != nil && *req.Protocol != g.protocol:
		return nil, ErrInconsistentProtocol
	case g.state == PreparingRebalance:
		return nil, ErrRebalanceInProgress
	}
	return g, nil
}

func (g *group) syncAnswer(mb *member) SyncAnswer {
	return SyncAnswer{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: mb.assignment}
}

// assign takes the leader's assignment: writes it, and tells it to those who wait.
func (m *Machine) assign(now coordinator.Now, g *group, req SyncRequest, res *coordinator.Result) {
	for _, mb := range g.order {
		mb.assignment = bytes.Clone(req.Assignments[mb.id]) // the rest of the request's body need not stay for it
	}
	since := g.stateMillis
	g.enter(now, Stable)
	rec, ok := m.record(g, false)
	if !ok {
		g.state, g.stateMillis = CompletingRebalance, since
		for _, mb := range g.order {
			mb.assignment = nil
			g.answerSync(mb, SyncAnswer{Err: ErrGroupTooLarge}, res)
		}
		m.prepare(now, g, "the assignments do not fit into one record", res)
		return
	}
	res.Records = append(res.Records, rec)
	m.o.Logger.Info("the group is stable", "group", g.id, "generation", g.generation, "members", len(g.members), "leader", g.leader)
	m.o.Metrics.rebalances.Inc()
	for _, mb := range g.order {
		if g.answerSync(mb, g.syncAnswer(mb), res) {
			// While it waited its session did not run out, and no timer was left.
			g.touch(now, mb, mb.session, res)
		}
	}
}

// awaitSync expects a SyncGroup of every member within the rebalance timeout.
func (m *Machine) awaitSync(g *group, res *coordinator.Result) {
	for _, mb := range g.order {
		g.pendingSync[mb.id] = struct{}{}
	}
	res.Timers = append(res.Timers, coordinator.Timer{ID: timerID{kind: syncTimer, group: g.id}, After: g.rebalanceTimeout()})
}

// hasSynced notes that the member has sent its SyncGroup.
func (m *Machine) hasSynced(g *group, mb *member, res *coordinator.Result) {
	if _, ok := g.pendingSync[mb.id]; !ok {
		return
	}
	if delete(g.pendingSync, mb.id); len(g.pendingSync) == 0 {
		m.endSync(g, res)
	}
}

// endSync expects no more SyncGroup.
func (m *Machine) endSync(g *group, res *coordinator.Result) {
	clear(g.pendingSync)
	res.Timers = append(res.Timers, coordinator.Timer{ID: timerID{kind: syncTimer, group: g.id}, After: -1})
}

// expireSync removes the members that have not sent SyncGroup in time, and rebalances.
func (m *Machine) expireSync(now coordinator.Now, g *group, res *coordinator.Result) {
	if g.state != CompletingRebalance && g.state != Stable || len(g.pendingSync) == 0 {
		return
	}
	var late []string
	for _, mb := range g.order {
		if _, ok := g.pendingSync[mb.id]; ok {
			late = append(late, mb.id)
		}
	}
	for _, id := range late {
		g.remove(id, res)
	}
	m.o.Metrics.evictions.Add(float64(len(late)))
	m.prepare(now, g, fmt.Sprintf("removed members that sent no SyncGroup in time: %v", late), res)
}
