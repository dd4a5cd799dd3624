package group

import (
	"github.com/chronik-stream/chronik/internal/coordinator"
)

// Delete handles DeleteGroups for one group: its offsets and the group itself go, by tombstones of
// one batch. A group that somebody has joined, or is joining, stays. What was committed before goes
// too, and a commit that comes later makes a new group; an id that was given to a first-time
// member and not used yet is void.
func (m *Machine) Delete(_ coordinator.Now, id string, answer func(error)) coordinator.Result {
	res := coordinator.Result{Key: id}
	replyError(answer, m.delete(id, &res), &res)
	return res
}

func (m *Machine) delete(id string, res *coordinator.Result) error {
	g := m.groups[id]
	switch {
	case g == nil:
		return ErrGroupNotFound
	case g.state != Empty:
		return ErrNonEmptyGroup
	}
	records := make([]coordinator.Record, 0, len(g.offsets)+1)
	for _, c := range g.sortedOffsets() {
		records = append(records, offsetTombstone(id, c.TopicPartition))
	}
	if g.saved != nil {
		records = append(records, groupTombstone(id))
	}
	if res.Records = m.fitting(records); len(res.Records) < len(records) {
		return ErrDeletionUnfinished
	}
	for member := range g.pendingJoin {
		g.unpend(member)
		res.Timers = append(res.Timers, coordinator.Timer{ID: timerID{sessionTimer, id, member}, After: -1})
	}
	m.o.Logger.Info("the group is deleted", "group", id, "offsets", len(g.offsets))
	m.dropIfUnused(g) // nothing of it was in the log
	return nil
}

// DeleteOffsets handles an OffsetDelete. The offsets of a topic that a member is subscribed to stay: it
// would commit them again, or start from elsewhere after the next rebalance. What a group of another protocol than the
// consumers' reads is not known, so its offsets stay while it has members.
func (m *Machine) DeleteOffsets(_ coordinator.Now, groupID string, partitions []TopicPartition, answer func(CommitAnswer)) coordinator.Result {
	res := coordinator.Result{Key: groupID}
	a := m.deleteOffsets(groupID, partitions, &res)
	res.Replies = append(res.Replies, func(err error) {
		if err != nil {
			a = CommitAnswer{Err: err}
		}
		answer(a)
	})
	return res
}

func (m *Machine) deleteOffsets(groupID string, partitions []TopicPartition, res *coordinator.Result) CommitAnswer {
	if groupID == "" {
		return CommitAnswer{Err: ErrInvalidGroupID}
	}
	g := m.groups[groupID]
	switch {
	case g == nil:
		return CommitAnswer{Err: ErrGroupNotFound}
	case g.state != Empty && g.protocolType != consumerProtocol:
		return CommitAnswer{Err: ErrNonEmptyGroup}
	}
	a := CommitAnswer{Errs: make([]error, len(partitions))}
	for i, tp := range partitions {
		if g.subscribes(tp.Topic) {
			a.Errs[i] = ErrSubscribed
			continue
		}
		if _, ok := g.offsets[tp]; ok {
			res.Records = append(res.Records, offsetTombstone(groupID, tp))
		}
	}
	return a
}

// subscribes tells whether a member of the group reads the topic, or may do so because a member's subscription cannot be read.
func (g *group) subscribes(topic string) bool {
	if g.protocolType != consumerProtocol || g.state == Empty {
		return false
	}
	_, ok := g.subscribed[topic]
	return ok || !g.knowsTopics
}
