package group

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/coordinator"
)

// Options are the limits of the state machine and what it needs from outside.
type Options struct {
	// MinSessionTimeout and MaxSessionTimeout bound what members may ask for
	// (group.min.session.timeout.ms, group.max.session.timeout.ms).
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// InitialRebalanceDelay is how long an empty group waits for more members
	// after the first (group.initial.rebalance.delay.ms).
	InitialRebalanceDelay time.Duration
	// NewMemberTimeout removes a new member whose JoinGroup has waited this
	// long: nobody may be there any more. 0: 5 minutes.
	NewMemberTimeout time.Duration
	// MaxSize is how many members a group may have (group.max.size). 0: no limit.
	MaxSize int
	// MaxMetadata is the longest metadata of a committed offset (offset.metadata.max.bytes).
	MaxMetadata int
	// Retention is how long the offsets of an empty group are kept (offsets.retention.minutes).
	Retention time.Duration
	// RetentionCheck is how often expired offsets are looked for
	// (offsets.retention.check.interval.ms). 0: never.
	RetentionCheck time.Duration
	// MaxRecordBytes bounds the record of a group and the records of one commit: the runtime's MaxBatchBytes.
	MaxRecordBytes int
	// Account bounds what is held for members; nil: 10,000 ids given out and 256 MiB, for this machine alone.
	Account *Account
	// Deleted tells whether the topic that an offset was committed for does not exist any more. nil: it is not known.
	Deleted func(topicID [16]byte) bool
	// NewID returns a fresh unique string, the random part of a member id.
	NewID func() string
	// Logger; nil: discard.
	Logger *slog.Logger
	// Metrics; nil: none are kept.
	Metrics *Metrics
}

// Machine is the state of the groups of one partition of __consumer_offsets. It
// implements coordinator.Machine; nothing in it is safe for concurrent use.
type Machine struct {
	o       Options
	groups  map[string]*group
	loading bool // until Loaded
}

var _ coordinator.Machine = (*Machine)(nil)

// New returns the state of an empty partition.
func New(o Options) *Machine {
	o.setDefaults()
	return &Machine{o: o, groups: map[string]*group{}, loading: true}
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.NewMemberTimeout == 0 {
		o.NewMemberTimeout = 5 * time.Minute
	}
	if o.Account == nil {
		o.Account = NewAccount(10_000, 256<<20, nil)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
}

// timerID names a timer of the machine.
type timerID struct {
	kind   timerKind
	group  string
	member string
}

type timerKind uint8

const (
	sessionTimer   timerKind = iota // a member's session, a pending member's id, a new member's patience
	joinTimer                       // the end of a group's join phase
	syncTimer                       // the end of a group's wait for SyncGroup
	retentionTimer                  // the next look for expired offsets
	deletionTimer                   // more offsets of a deleted topic: its name in group, its id in member
)

// Apply implements coordinator.Machine.
func (m *Machine) Apply(r coordinator.Record) error {
	if r.Key == nil {
		m.o.Logger.Warn("passing over a record without a key: the coordinator writes none", "topic", Topic)
		return nil
	}
	key, err := ParseKey(r.Key)
	if err != nil {
		return err
	}
	switch key.Kind {
	case KeyOffset:
		return m.applyOffset(key, r.Value)
	case KeyGroup:
		return m.applyGroup(key, r.Value)
	default:
		return nil
	}
}

func (m *Machine) applyOffset(key Key, value []byte) error {
	tp := TopicPartition{key.Topic, key.Partition}
	if value == nil {
		if g := m.groups[key.Group]; g != nil {
			delete(g.offsets, tp)
			m.dropIfUnused(g)
		}
		return nil
	}
	c, err := ParseOffset(value)
	if err != nil {
		return fmt.Errorf("group %q, partition %s-%d: %w", key.Group, key.Topic, key.Partition, err)
	}
	g := m.ensure(key.Group)
	if g.offsets == nil {
		g.offsets = map[TopicPartition]Committed{}
	}
	c.TopicPartition = tp
	g.offsets[tp] = c
	return nil
}

func (m *Machine) applyGroup(key Key, value []byte) error {
	if value == nil {
		if g := m.groups[key.Group]; g != nil {
			g.saved, g.loaded = nil, Metadata{}
			m.dropIfUnused(g)
		}
		return nil
	}
	if !m.loading {
		m.ensure(key.Group).saved = value
		return nil
	}
	md, err := ParseMetadata(value)
	if err != nil {
		return fmt.Errorf("group %q: %w", key.Group, err)
	}
	g := m.ensure(key.Group)
	g.saved, g.loaded = bytes.Clone(value), md
	return nil
}

// Loaded implements coordinator.Machine: members of the groups in the log get
// their session anew, and what was awaited is awaited again.
func (m *Machine) Loaded(now coordinator.Now) coordinator.Result {
	m.loading = false
	var res coordinator.Result
	for _, id := range m.sorted() {
		g := m.groups[id]
		m.restore(now, g, &res)
	}
	if m.o.RetentionCheck > 0 {
		res.Timers = append(res.Timers, coordinator.Timer{ID: timerID{kind: retentionTimer}, After: m.o.RetentionCheck})
	}
	m.o.Metrics.groups.Add(float64(len(m.groups)))
	return res
}

// restore makes of a group's record the state beside the log.
func (m *Machine) restore(now coordinator.Now, g *group, res *coordinator.Result) {
	md := g.loaded
	g.loaded = Metadata{}
	if g.saved == nil {
		return
	}
	g.protocolType, g.generation, g.protocol, g.leader = md.ProtocolType, md.Generation, md.Protocol, md.Leader
	g.stateMillis = md.StateMillis
	for _, mm := range md.Members {
		mb := &member{
			id: mm.ID, instance: mm.InstanceID, client: mm.Client,
			session:    time.Duration(mm.SessionMillis) * time.Millisecond,
			rebalance:  time.Duration(mm.RebalanceMillis) * time.Millisecond,
			protocols:  []Protocol{{md.Protocol, mm.Subscription}},
			assignment: mm.Assignment,
		}
		if g.members[mb.id] != nil {
			continue // no coordinator writes a member twice
		}
		g.add(mb)
		g.touch(now, mb, mb.session, res)
	}
	g.leader = md.Leader
	g.subscribed, g.knowsTopics = g.subscribedTopics()
	switch {
	case len(g.members) == 0:
		g.state = Empty
	case md.AwaitsSync:
		g.state = CompletingRebalance
		m.awaitSync(g, res)
	default:
		g.state = Stable
	}
	if m.o.MaxSize > 0 && len(g.members) > m.o.MaxSize {
		m.prepare(now, g, "the group has more members than group.max.size allows", res)
	}
}

// Expire implements coordinator.Machine.
func (m *Machine) Expire(now coordinator.Now, id any) coordinator.Result {
	t, _ := id.(timerID)
	var res coordinator.Result
	switch t.kind {
	case retentionTimer:
		m.expireOffsets(now, &res)
		return res
	case deletionTimer:
		m.forgetTopic(t.group, [16]byte([]byte(t.member)), &res)
		return res
	}
	res.Key = t.group
	g := m.groups[t.group]
	if g == nil {
		return res
	}
	switch t.kind {
	case sessionTimer:
		m.expireSession(now, g, t.member, &res)
	case joinTimer:
		m.expireJoin(now, g, &res)
	case syncTimer:
		m.expireSync(now, g, &res)
	}
	m.dropIfUnused(g)
	return res
}

// Unload implements coordinator.Machine.
func (m *Machine) Unload() []coordinator.Reply {
	var replies []coordinator.Reply
	for _, id := range m.sorted() {
		g := m.groups[id]
		g.account.pending.Add(-int64(len(g.pendingJoin)))
		for _, mb := range g.order {
			g.account.bytes.Add(-int64(mb.bytes()))
			if join := mb.join; join != nil {
				member := mb.id
				replies = append(replies, func(err error) { join(JoinAnswer{Err: err, MemberID: member, Generation: -1}) })
			}
			if sync := mb.sync; sync != nil {
				replies = append(replies, func(err error) { sync(SyncAnswer{Err: err}) })
			}
		}
	}
	if !m.loading {
		m.o.Metrics.groups.Sub(float64(len(m.groups)))
	}
	m.groups = nil
	return replies
}

// ensure returns the group, made if need be.
func (m *Machine) ensure(id string) *group {
	g := m.groups[id]
	if g == nil {
		g = newGroup(id, m.o.Account)
		m.groups[id] = g
		if !m.loading {
			m.o.Metrics.groups.Inc()
		}
	}
	return g
}

// dropIfUnused forgets a group of which nothing is left, in the log or beside it.
func (m *Machine) dropIfUnused(g *group) {
	if g.saved != nil || len(g.offsets) > 0 || len(g.members) > 0 || len(g.pendingJoin) > 0 || m.groups[g.id] != g {
		return
	}
	delete(m.groups, g.id)
	if !m.loading {
		m.o.Metrics.groups.Dec()
	}
}

// sorted returns the ids of all groups in order, so that equal machines do equal things.
func (m *Machine) sorted() []string {
	ids := make([]string, 0, len(m.groups))
	for id := range m.groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Dump writes out what of the state is in the log, for comparing two machines
// and for reading: a line a group, a line a member, a line an offset.
func (m *Machine) Dump() string {
	var b strings.Builder
	for _, id := range m.sorted() {
		g := m.groups[id]
		if g.saved == nil && len(g.offsets) == 0 {
			continue
		}
		fmt.Fprintf(&b, "group %q", id)
		if g.saved != nil {
			md, err := ParseMetadata(g.saved)
			if err != nil {
				fmt.Fprintf(&b, " unreadable: %v", err)
			}
			fmt.Fprintf(&b, " type=%q generation=%d protocol=%q leader=%q awaits-sync=%t since=%d",
				md.ProtocolType, md.Generation, md.Protocol, md.Leader, md.AwaitsSync, md.StateMillis)
			for _, mb := range md.Members {
				fmt.Fprintf(&b, "\n  member %s instance=%q client=%q host=%q session=%d rebalance=%d subscription=%q assignment=%q",
					mb.ID, orEmpty(mb.InstanceID), mb.Client.ID, mb.Client.Host, mb.SessionMillis, mb.RebalanceMillis, mb.Subscription, mb.Assignment)
			}
		}
		b.WriteByte('\n')
		for _, c := range g.sortedOffsets() {
			fmt.Fprintf(&b, "  offset %s-%d=%d epoch=%d metadata=%q at=%d expires=%d topic-id=%x\n",
				c.Topic, c.Partition, c.Offset, c.LeaderEpoch, c.Metadata, c.CommitMillis, c.ExpireMillis, c.TopicID)
		}
	}
	return b.String()
}
