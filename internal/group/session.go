package group

import (
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/coordinator"
)

// Heartbeat handles a Heartbeat: it keeps the session, and tells of a rebalance.
func (m *Machine) Heartbeat(now coordinator.Now, req HeartbeatRequest, answer func(error)) coordinator.Result {
	res := coordinator.Result{Key: req.Group}
	replyError(answer, m.heartbeat(now, req, &res), &res)
	return res
}

func (m *Machine) heartbeat(now coordinator.Now, req HeartbeatRequest, res *coordinator.Result) error {
	if req.Group == "" {
		return ErrInvalidGroupID
	}
	g := m.groups[req.Group]
	if g == nil {
		return ErrUnknownMember
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		return err
	}
	if req.Generation != g.generation {
		return ErrIllegalGeneration
	}
	mb := g.members[req.MemberID]
	g.touch(now, mb, mb.session, res)
	if g.state == PreparingRebalance {
		return ErrRebalanceInProgress
	}
	return nil
}

// Leave handles a LeaveGroup of one or more members.
func (m *Machine) Leave(now coordinator.Now, groupID string, leavers []Leaver, answer func(LeaveAnswer)) coordinator.Result {
	res := coordinator.Result{Key: groupID}
	a := m.leave(now, groupID, leavers, &res)
	res.Replies = append(res.Replies, func(err error) {
		if err != nil {
			a = LeaveAnswer{Err: err}
		}
		answer(a)
	})
	return res
}

func (m *Machine) leave(now coordinator.Now, groupID string, leavers []Leaver, res *coordinator.Result) LeaveAnswer {
	if groupID == "" {
		return LeaveAnswer{Err: ErrInvalidGroupID}
	}
	a := LeaveAnswer{Errs: make([]error, len(leavers))}
	g := m.groups[groupID]
	left, members := 0, 0
	for i, l := range leavers {
		if g == nil {
			a.Errs[i] = ErrUnknownMember
			continue
		}
		id, err := g.leaver(l)
		if a.Errs[i] = err; err != nil {
			continue
		}
		if g.members[id] != nil {
			members++
		}
		g.remove(id, res)
		left++
		m.o.Logger.Info("a member has left the group", "group", g.id, "member", id, "reason", reason(l.Reason))
	}
	if left == 0 {
		return a
	}
	switch {
	case g.state == PreparingRebalance:
		m.completeIfAllJoined(now, g, res)
	case members > 0:
		m.prepare(now, g, fmt.Sprintf("%d members have left", members), res)
	}
	m.dropIfUnused(g)
	return a
}

// leaver returns the member id that a leaver means.
func (g *group) leaver(l Leaver) (string, error) {
	if l.MemberID == "" {
		if l.InstanceID != nil {
			if id, ok := g.static[*l.InstanceID]; ok {
				return id, nil
			}
		}
		return "", ErrUnknownMember
	}
	if _, pending := g.pendingJoin[l.MemberID]; pending && l.InstanceID == nil {
		return l.MemberID, nil
	}
	return l.MemberID, g.check(l.MemberID, l.InstanceID)
}

// expireSession removes a member of which nothing was heard within its session
// timeout, or an id that was given out and not used.
func (m *Machine) expireSession(now coordinator.Now, g *group, id string, res *coordinator.Result) {
	if g.unpend(id) {
		m.o.Logger.Info("a new member did not come back with the id that it was given", "group", g.id, "member", id)
		m.completeIfAllJoined(now, g, res)
		return
	}
	mb := g.members[id]
	if mb == nil {
		return
	}
	mb.armed = time.Time{}
	if left := mb.deadline.Sub(now.Time); left > 0 {
		g.touch(now, mb, left, res)
		return
	}
	if !mb.isNew && (mb.join != nil || mb.sync != nil) {
		return // it waits for us, and is timed anew when it has its answer
	}
	m.o.Logger.Info("removed a member whose session has ended", "group", g.id, "member", id, "session", mb.session)
	m.o.Metrics.evictions.Inc()
	wasStable := g.state == Stable || g.state == CompletingRebalance
	g.remove(id, res)
	if wasStable {
		m.prepare(now, g, fmt.Sprintf("the session of member %s has ended", id), res)
		return
	}
	m.completeIfAllJoined(now, g, res)
}

func replyError(answer func(error), verdict error, res *coordinator.Result) {
	res.Replies = append(res.Replies, func(err error) {
		if err != nil {
			verdict = err
		}
		answer(verdict)
	})
}
