package group

import (
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/invariant"
)

// Join handles a JoinGroup. answer is called once, when the join phase that the
// request belongs to has ended, or at once with an error.
func (m *Machine) Join(now coordinator.Now, req JoinRequest, answer func(JoinAnswer)) coordinator.Result {
	res := coordinator.Result{Key: req.Group}
	req.Protocols = distinct(req.Protocols)
	g, err := m.joined(req)
	if err != nil {
		replyJoin(answer, JoinAnswer{Err: err, MemberID: req.MemberID, Generation: -1}, &res)
		return res
	}
	switch {
	case !m.accepts(g, req.MemberID):
		g.remove(req.MemberID, &res)
		replyJoin(answer, JoinAnswer{Err: ErrGroupFull, Generation: -1}, &res)
		m.completeIfAllJoined(now, g, &res)
	case !m.o.Account.holds(g.growth(req)):
		replyJoin(answer, JoinAnswer{Err: ErrNoRoom, MemberID: req.MemberID, Generation: -1}, &res)
	case !g.supports(req.ProtocolType, req.Protocols):
		replyJoin(answer, JoinAnswer{Err: ErrInconsistentProtocol, MemberID: req.MemberID, Generation: -1}, &res)
	case req.MemberID == "":
		m.joinNew(now, g, req, answer, &res)
	default:
		m.joinKnown(now, g, req, answer, &res)
	}
	m.dropIfUnused(g)
	return res
}

// joined checks what can be checked before the group is looked at, and returns the group.
func (m *Machine) joined(req JoinRequest) (*group, error) {
	switch {
	case req.Group == "":
		return nil, ErrInvalidGroupID
	case req.SessionTimeout < m.o.MinSessionTimeout || req.SessionTimeout > m.o.MaxSessionTimeout:
		return nil, fmt.Errorf("%w: %v is not within %v and %v",
			ErrInvalidSessionTimeout, req.SessionTimeout, m.o.MinSessionTimeout, m.o.MaxSessionTimeout)
	case req.MemberID != "" && m.groups[req.Group] == nil:
		return nil, ErrUnknownMember
	}
	return m.ensure(req.Group), nil
}

// accepts tells whether the group has room for the member. While a rebalance is
// prepared those who wait are counted, not the members: some of them may not come back, and when
// the limit was lowered the last to come back are those that are sent away.
func (m *Machine) accepts(g *group, id string) bool {
	if m.o.MaxSize <= 0 {
		return true
	}
	mb := g.members[id]
	switch g.state {
	case PreparingRebalance:
		return mb != nil && mb.join != nil || g.awaiting < m.o.MaxSize
	case CompletingRebalance, Stable:
		return mb != nil || len(g.members) < m.o.MaxSize
	default:
		return true
	}
}

// growth is how much larger the members become by a JoinGroup.
func (g *group) growth(req JoinRequest) int {
	if mb := g.members[req.MemberID]; mb != nil {
		return size(req.Protocols) - size(mb.protocols)
	}
	return memberOverhead + len(req.Client.ID) + size(req.Protocols)
}

// joinNew handles a JoinGroup without a member id.
func (m *Machine) joinNew(now coordinator.Now, g *group, req JoinRequest, answer func(JoinAnswer), res *coordinator.Result) {
	if req.InstanceID != nil {
		id := *req.InstanceID + "-" + m.o.NewID()
		if old, ok := g.static[*req.InstanceID]; ok {
			m.replaceStatic(now, g, old, id, req, answer, res)
			return
		}
		m.addMember(now, g, id, req, answer, res)
		return
	}
	id := req.Client.ID + "-" + m.o.NewID()
	switch {
	case !req.RequireMemberID:
		m.addMember(now, g, id, req, answer, res)
		return
	case m.o.MaxSize > 0 && len(g.pendingJoin) >= m.o.MaxSize:
		replyJoin(answer, JoinAnswer{Err: ErrGroupFull, Generation: -1}, res)
		return
	case !m.o.Account.givesID():
		replyJoin(answer, JoinAnswer{Err: ErrNoRoom, Generation: -1}, res)
		return
	}
	// The client gives up a JoinGroup that takes long and sends another: if each
	// made a member, the group would wait for the ghosts. So a member joins in two steps.
	g.pend(id)
	res.Timers = append(res.Timers, coordinator.Timer{ID: timerID{sessionTimer, g.id, id}, After: req.SessionTimeout})
	replyJoin(answer, JoinAnswer{Err: ErrMemberIDRequired, MemberID: id, Generation: -1}, res)
}

// joinKnown handles a JoinGroup with a member id.
func (m *Machine) joinKnown(now coordinator.Now, g *group, req JoinRequest, answer func(JoinAnswer), res *coordinator.Result) {
	if _, pending := g.pendingJoin[req.MemberID]; pending && req.InstanceID == nil {
		m.addMember(now, g, req.MemberID, req, answer, res)
		return
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		replyJoin(answer, JoinAnswer{Err: err, MemberID: req.MemberID, Generation: -1}, res)
		return
	}
	mb := g.members[req.MemberID]
	leads := g.leader == mb.id
	switch {
	case g.state == CompletingRebalance && mb.matches(req.Protocols),
		g.state == Stable && !leads && mb.matches(req.Protocols):
		// The answer to an earlier JoinGroup was lost: it is given again.
		a := g.joinAnswer(mb)
		if leads {
			a.Members = g.joinMembers()
		}
		g.touch(now, mb, mb.session, res)
		replyJoin(answer, a, res)
	default:
		// A leader of a stable group joins again to have the partitions assigned anew.
		m.update(g, mb, req, answer, res)
		m.rebalance(now, g, fmt.Sprintf("member %s joined again: %s", mb.id, reason(req.Reason)), res)
	}
}

// joinAnswer is the successful answer for a member, as a follower.
func (g *group) joinAnswer(mb *member) JoinAnswer {
	return JoinAnswer{
		MemberID: mb.id, Generation: g.generation,
		ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader,
	}
}

// addMember makes the sender a member, and rebalances.
func (m *Machine) addMember(now coordinator.Now, g *group, id string, req JoinRequest, answer func(JoinAnswer), res *coordinator.Result) {
	mb := &member{
		id: id, instance: req.InstanceID, client: req.Client, isNew: true,
		session: req.SessionTimeout, rebalance: req.RebalanceTimeout, protocols: owned(req.Protocols),
	}
	if len(g.members) == 0 {
		g.protocolType = req.ProtocolType
	}
	if g.state == PreparingRebalance && g.initial {
		g.newMember = true
	}
	g.add(mb)
	g.parkJoin(mb, answer, res)
	// A new member sends no heartbeats before it has its answer, and a connection
	// that waits for an answer does not show that its client has gone. The timer
	// takes the place of the one that the id had while it was pending.
	g.touch(now, mb, m.o.NewMemberTimeout, res)
	m.rebalance(now, g, fmt.Sprintf("new member %s: %s", id, reason(req.Reason)), res)
}

// update takes over what the member asks for now.
func (m *Machine) update(g *group, mb *member, req JoinRequest, answer func(JoinAnswer), res *coordinator.Result) {
	g.count(mb, -1)
	mb.protocols, mb.session, mb.rebalance = owned(req.Protocols), req.SessionTimeout, req.RebalanceTimeout
	g.count(mb, 1)
	g.parkJoin(mb, answer, res)
}

// replaceStatic lets a static member that has been restarted take the place of
// its former self, under a new member id that fences the old one.
func (m *Machine) replaceStatic(now coordinator.Now, g *group, oldID, newID string, req JoinRequest, answer func(JoinAnswer), res *coordinator.Result) {
	mb := g.members[oldID]
	g.answerJoin(mb, JoinAnswer{Err: ErrFencedInstance, MemberID: oldID, Generation: -1}, res)
	g.answerSync(mb, SyncAnswer{Err: ErrFencedInstance}, res)
	g.disarm(mb, res)
	delete(g.members, oldID)
	if _, ok := g.pendingSync[oldID]; ok {
		delete(g.pendingSync, oldID)
		g.pendingSync[newID] = struct{}{}
	}
	formerLeader := g.leader
	mb.id, mb.isNew = newID, false
	g.members[newID] = mb
	g.static[*req.InstanceID] = newID
	if g.leader == oldID {
		g.leader = newID
	}
	g.touch(now, mb, req.SessionTimeout, res)
	m.update(g, mb, req, answer, res)
	why := fmt.Sprintf("static member %s came back as %s: %s", oldID, newID, reason(req.Reason))
	switch {
	case g.state == Stable && g.selectProtocol() == g.protocol && m.keepsStable(g, mb, formerLeader, req, res):
		m.o.Logger.Info("a static member came back and keeps its assignment", "group", g.id, "generation", g.generation, "was", oldID, "is", newID)
	case g.state == Stable, g.state == CompletingRebalance:
		// In the sync phase the leader may assign to the old id: it must know the new one.
		m.prepare(now, g, why, res)
	default:
		m.completeIfAllJoined(now, g, res)
	}
}

// keepsStable writes the group with the static member's new id and answers it
// without a rebalance. False: the group does not fit into a record.
func (m *Machine) keepsStable(g *group, mb *member, formerLeader string, req JoinRequest, res *coordinator.Result) bool {
	rec, ok := m.record(g, false)
	if !ok {
		return false
	}
	res.Records = append(res.Records, rec)
	a := g.joinAnswer(mb)
	switch leads := g.leader == mb.id; {
	case req.CanSkipAssignment && leads:
		a.SkipAssignment, a.Members = true, g.joinMembers()
	case !req.CanSkipAssignment:
		// An older client that finds itself the leader would assign anew, and its
		// SyncGroup would change nothing: it is told that its former self leads.
		a.Leader = formerLeader
	}
	g.answerJoin(mb, a, res)
	return true
}

// rebalance starts a rebalance, or completes the one under way if all have joined.
func (m *Machine) rebalance(now coordinator.Now, g *group, why string, res *coordinator.Result) {
	if g.state == PreparingRebalance {
		m.completeIfAllJoined(now, g, res)
		return
	}
	m.prepare(now, g, why, res)
}

// prepare enters the join phase.
func (m *Machine) prepare(now coordinator.Now, g *group, why string, res *coordinator.Result) {
	m.o.Logger.Info("preparing to rebalance a group", "group", g.id, "state", g.state, "generation", g.generation, "reason", why)
	if g.state == CompletingRebalance {
		for _, mb := range g.order {
			mb.assignment = nil
			if g.answerSync(mb, SyncAnswer{Err: ErrRebalanceInProgress}, res) {
				g.touch(now, mb, mb.session, res)
			}
		}
	}
	m.endSync(g, res)
	first := g.state == Empty
	g.enter(now, PreparingRebalance)
	if first {
		g.newMember = false
		g.delayed = m.o.InitialRebalanceDelay
		g.delayLeft = max(g.rebalanceTimeout()-g.delayed, 0)
		m.setJoinTimer(g, g.delayed, res)
		return
	}
	if g.allJoined() {
		m.complete(now, g, res)
		return
	}
	m.setJoinTimer(g, g.rebalanceTimeout(), res)
}

func (m *Machine) setJoinTimer(g *group, d time.Duration, res *coordinator.Result) {
	res.Timers = append(res.Timers, coordinator.Timer{ID: timerID{kind: joinTimer, group: g.id}, After: d})
}

// completeIfAllJoined ends the join phase if it need not wait. The first
// rebalance of an empty group always waits for its delay.
func (m *Machine) completeIfAllJoined(now coordinator.Now, g *group, res *coordinator.Result) {
	if g.state == PreparingRebalance && !g.initial && g.allJoined() {
		m.complete(now, g, res)
	}
}

// expireJoin ends the join phase when its time is over; the first one of a group
// is put off as long as members keep coming, up to the rebalance timeout.
func (m *Machine) expireJoin(now coordinator.Now, g *group, res *coordinator.Result) {
	if g.state != PreparingRebalance {
		return
	}
	if g.initial && g.newMember && g.delayLeft > 0 {
		g.newMember = false
		d := min(m.o.InitialRebalanceDelay, g.delayLeft)
		g.delayLeft = max(g.delayLeft-g.delayed, 0)
		g.delayed = d
		m.setJoinTimer(g, d, res)
		return
	}
	m.complete(now, g, res)
}

// complete ends the join phase: members that did not join are removed, static
// ones aside, and the next generation begins.
func (m *Machine) complete(now coordinator.Now, g *group, res *coordinator.Result) {
	m.setJoinTimer(g, -1, res)
	var gone []string
	for _, mb := range g.order {
		if mb.join == nil && mb.instance == nil {
			gone = append(gone, mb.id)
		}
	}
	for _, id := range gone {
		g.remove(id, res)
	}
	if len(gone) > 0 {
		m.o.Logger.Info("removed members that did not join again in time", "group", g.id, "members", gone)
	}
	if len(g.members) > 0 && !g.electLeader() {
		// Only static members are left and none has come: wait until they do, or their sessions end.
		m.setJoinTimer(g, g.rebalanceTimeout(), res)
		return
	}
	g.generation++
	clear(g.pendingSync)
	if len(g.members) == 0 {
		m.becomeEmpty(now, g, res)
		return
	}
	g.protocol = g.selectProtocol()
	g.subscribed, g.knowsTopics = g.subscribedTopics()
	for _, mb := range g.order {
		mb.assignment = nil
	}
	g.enter(now, CompletingRebalance)
	m.announce(now, g, res)
}

// becomeEmpty ends a generation in which nobody is left.
func (m *Machine) becomeEmpty(now coordinator.Now, g *group, res *coordinator.Result) {
	g.protocol, g.leader = "", ""
	g.subscribed, g.knowsTopics = g.subscribedTopics()
	g.enter(now, Empty)
	if rec, ok := m.record(g, false); ok {
		res.Records = append(res.Records, rec)
	}
	m.o.Logger.Info("the group is empty", "group", g.id, "generation", g.generation)
}

// announce writes the new generation and tells it to those who joined.
func (m *Machine) announce(now coordinator.Now, g *group, res *coordinator.Result) {
	rec, ok := m.record(g, true)
	if !ok {
		for _, mb := range g.order {
			mb.isNew = false
			g.answerJoin(mb, JoinAnswer{Err: ErrGroupTooLarge, MemberID: mb.id, Generation: -1}, res)
			g.touch(now, mb, mb.session, res)
		}
		g.enter(now, PreparingRebalance)
		m.setJoinTimer(g, g.rebalanceTimeout(), res)
		return
	}
	if !invariant.Mutant("group-generation-not-written") {
		res.Records = append(res.Records, rec)
	}
	for _, mb := range g.order {
		a := g.joinAnswer(mb)
		if g.leader == mb.id {
			a.Members = g.joinMembers()
		}
		g.answerJoin(mb, a, res)
		mb.isNew = false
		g.touch(now, mb, mb.session, res)
	}
	m.awaitSync(g, res)
	m.o.Logger.Info("the group has a new generation", "group", g.id, "generation", g.generation,
		"members", len(g.members), "protocol", g.protocol, "leader", g.leader)
}

// record makes the record of the group; false if it is too large to be written.
func (m *Machine) record(g *group, awaitsSync bool) (coordinator.Record, bool) {
	rec := groupRecord(g.id, g.metadata(awaitsSync))
	size := coordinator.Size([]coordinator.Record{rec})
	if m.o.MaxRecordBytes > 0 && size > m.o.MaxRecordBytes {
		m.o.Logger.Error("the group does not fit into one record: use fewer members, or shorter subscriptions and assignments",
			"group", g.id, "members", len(g.members), "bytes", size, "limit", m.o.MaxRecordBytes)
		return rec, false
	}
	return rec, true
}

func reason(s string) string {
	if s == "" {
		return "no reason given"
	}
	return s
}
