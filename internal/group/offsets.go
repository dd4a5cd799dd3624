package group

import (
	"github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/invariant"
)

// Commit handles an OffsetCommit.
func (m *Machine) Commit(now coordinator.Now, req CommitRequest, answer func(CommitAnswer)) coordinator.Result {
	res := coordinator.Result{Key: req.Group}
	a := m.commit(now, req, &res)
	res.Replies = append(res.Replies, func(err error) {
		if err != nil {
			a = CommitAnswer{Err: err}
		}
		answer(a)
	})
	return res
}

func (m *Machine) commit(now coordinator.Now, req CommitRequest, res *coordinator.Result) CommitAnswer {
	g := m.groups[req.Group]
	if err := m.mayCommit(g, req); err != nil {
		return CommitAnswer{Err: err}
	}
	if g != nil {
		if mb := g.members[req.MemberID]; mb != nil {
			g.touch(now, mb, mb.session, res) // a commit keeps the session as a heartbeat does
		}
	}
	a := CommitAnswer{Errs: make([]error, len(req.Offsets))}
	for i, o := range req.Offsets {
		if javaLength(o.Metadata) > m.o.MaxMetadata {
			a.Errs[i] = ErrMetadataTooLarge
			continue
		}
		c := Committed{
			TopicPartition: TopicPartition{o.Topic, o.Partition}, TopicID: o.TopicID,
			Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata,
			CommitMillis: now.Millis, ExpireMillis: -1,
		}
		if req.RetentionMillis >= 0 {
			c.ExpireMillis = now.Millis + req.RetentionMillis
		}
		res.Records = append(res.Records, offsetRecord(req.Group, c))
	}
	m.o.Metrics.commits.Add(float64(len(res.Records)))
	return a
}

// mayCommit decides whether the sender may commit offsets of the group, which
// may be nil. A commit without a generation is for a group without members: the
// admin client's, or a consumer's that assigns partitions itself.
func (m *Machine) mayCommit(g *group, req CommitRequest) error {
	switch {
	case g == nil && req.Generation < 0:
		return nil
	case g == nil:
		return ErrGroupNotFound
	case req.Generation < 0 && g.state == Empty:
		return nil
	case req.Generation < 0 && req.MemberID == "" && req.InstanceID == nil:
		if g.state != Empty {
			return ErrUnknownMember
		}
		return nil
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		return err
	}
	switch {
	case req.Generation != g.generation && !invariant.Mutant("m-29"):
		return ErrIllegalGeneration
	case g.state == CompletingRebalance:
		// The member has its new generation but not its new assignment: what it
		// commits now belongs to partitions that may be another's.
		return ErrRebalanceInProgress
	}
	return nil
}

// Fetch handles an OffsetFetch of one group. A partition without a commit, or a group
// that does not exist, is answered with offset -1.
func (m *Machine) Fetch(_ coordinator.Now, req FetchRequest, answer func(FetchAnswer)) coordinator.Result {
	var a FetchAnswer
	var offsets map[TopicPartition]Committed
	if g := m.groups[req.Group]; g != nil {
		offsets = g.offsets
		if req.All {
			a.Offsets = g.sortedOffsets()
		}
	}
	if !req.All {
		a.Offsets = make([]Committed, len(req.Partitions))
		for i, tp := range req.Partitions {
			c, ok := offsets[tp]
			if !ok {
				c = Committed{TopicPartition: tp, Offset: -1, LeaderEpoch: -1, ExpireMillis: -1}
			}
			a.Offsets[i] = c
		}
	}
	return coordinator.Result{Key: req.Group, Replies: []coordinator.Reply{func(err error) {
		if err != nil {
			a = FetchAnswer{Err: err}
		}
		answer(a)
	}}}
}

// TopicDeleted removes the committed offsets of a topic that has been deleted.
// Offsets that name another topic id belong to a later topic of that name and stay.
func (m *Machine) TopicDeleted(_ coordinator.Now, topic string, id [16]byte) coordinator.Result {
	var res coordinator.Result
	m.forgetTopic(topic, id, &res)
	return res
}

func (m *Machine) forgetTopic(topic string, id [16]byte, res *coordinator.Result) {
	size := 0
	for _, groupID := range m.sorted() {
		for _, c := range m.groups[groupID].sortedOffsets() {
			if c.Topic != topic || c.TopicID != [16]byte{} && c.TopicID != id {
				continue
			}
			rec := offsetTombstone(groupID, c.TopicPartition)
			if size += coordinator.Size([]coordinator.Record{rec}); m.full(size) {
				// The rest goes with the next batch.
				next := timerID{deletionTimer, topic, string(id[:])}
				res.Timers = append(res.Timers, coordinator.Timer{ID: next})
				return
			}
			res.Records = append(res.Records, rec)
		}
	}
}

// expireOffsets removes the offsets whose time is over, and groups of which nothing is left.
func (m *Machine) expireOffsets(now coordinator.Now, res *coordinator.Result) {
	again := m.o.RetentionCheck
	size := 0
	for _, id := range m.sorted() {
		g := m.groups[id]
		records := m.expiredOf(now, g)
		if size += coordinator.Size(records); m.full(size) {
			if len(res.Records) == 0 {
				records = m.fitting(records)
			} else {
				records = nil
			}
			res.Records = append(res.Records, records...)
			again = 0 // the rest goes with the next batch
			break
		}
		res.Records = append(res.Records, records...)
	}
	m.o.Metrics.expired.Add(float64(len(res.Records)))
	res.Timers = append(res.Timers, coordinator.Timer{ID: timerID{kind: retentionTimer}, After: again})
}

// expiredOf returns the tombstones that are due in a group.
func (m *Machine) expiredOf(now coordinator.Now, g *group) []coordinator.Record {
	var records []coordinator.Record
	since := g.expiry()
	for _, c := range g.sortedOffsets() {
		if m.gone(c) || since != nil && m.due(now, g, c, since(c)) {
			records = append(records, offsetTombstone(g.id, c.TopicPartition))
		}
	}
	unused := g.state == Empty && len(g.members) == 0 && len(g.pendingJoin) == 0
	if unused && g.saved != nil && len(records) == len(g.offsets) {
		records = append(records, groupTombstone(g.id))
	}
	return records
}

// gone tells whether the topic of an offset was deleted, and TopicDeleted has not found the offset: the shard was
// loading then, or elsewhere.
func (m *Machine) gone(c Committed) bool {
	return m.o.Deleted != nil && c.TopicID != [16]byte{} && m.o.Deleted(c.TopicID)
}

// due tells whether an offset that is counted as old from a time on expires now.
func (m *Machine) due(now coordinator.Now, g *group, c Committed, since int64) bool {
	if _, subscribed := g.subscribed[c.Topic]; subscribed && len(g.members) > 0 {
		return false
	}
	if c.ExpireMillis >= 0 {
		return now.Millis >= c.ExpireMillis
	}
	return now.Millis-since >= m.o.Retention.Milliseconds()
}

// expiry tells from when on the group's offsets are counted as old; nil if they do not expire now.
func (g *group) expiry() func(Committed) int64 {
	byCommit := func(c Committed) int64 { return c.CommitMillis }
	switch {
	case g.protocolType == "":
		return byCommit // a simple group
	case g.state == Empty && g.stateMillis >= 0:
		// A commit to the empty group after that counts from the commit.
		return func(c Committed) int64 { return max(g.stateMillis, c.CommitMillis) }
	case g.state == Empty:
		return byCommit
	case g.state == Stable && g.knowsTopics:
		return byCommit // of topics that nobody is subscribed to any more
	case invariant.Mutant("m-46"):
		return byCommit
	default:
		return nil
	}
}

func (m *Machine) full(size int) bool {
	return m.o.MaxRecordBytes > 0 && size > m.o.MaxRecordBytes
}

// fitting returns as many of the records as one batch may hold. A group's own
// tombstone is the last, so it goes with the last of its offsets.
func (m *Machine) fitting(records []coordinator.Record) []coordinator.Record {
	size := 0
	for i := range records {
		if size += coordinator.Size(records[i : i+1]); m.full(size) {
			return records[:i]
		}
	}
	return records
}
