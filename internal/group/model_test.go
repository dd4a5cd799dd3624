package group

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/coordinator"
)

// TestModel runs random commands, take-overs and long waits against the machine and a naive model of what
// a group keeps: nothing that was committed goes before its time, all that is due goes, what is deleted stays
// deleted, a group with members does not go, and the log says the same as the machine.
func TestModel(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 20
	}
	seen := map[string]int{} // how often what happened: a model that never sees an outcome has not tested it
	for seed := range seeds {
		newModel(t, uint64(seed), seen).run()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, what := range []string{
		"deleted", "delete: non-empty-group", "delete: group-not-found", "offset deleted", "delete-offsets: subscribed",
		"delete-offsets: non-empty-group", "delete-offsets: group-not-found", "expired", "expired by its own time", "expired while stable",
		"group expired", "topic deleted", "take-over with members", "joined a deleted group", "id void",
	} {
		if seen[what] == 0 {
			t.Errorf("never seen: %s; seen were %v", what, seen)
		}
	}
}

const (
	modelRetention = 2 * time.Hour
	modelCheck     = 10 * time.Minute
)

// kept is an offset as the model remembers it.
type kept struct {
	offset          int64
	commit, expires int64 // expires: -1 if it has no time of its own
	id              byte  // of its topic
}

// modelGroup is a group as the model remembers it.
type modelGroup struct {
	offsets    map[TopicPartition]kept
	protocol   string // type; empty: it never had members
	members    []string
	generation int32
	subscribed map[string]bool
	emptySince int64
	stray      string // an id that was given out and not used
	wasDeleted bool
}

type model struct {
	*bench
	rnd    *rand.Rand
	seen   map[string]int
	groups map[string]*modelGroup
	topics map[string]byte // the id that each topic has now
	checks int64           // from when on the machine looks for expired offsets: millis of its last load
	next   int64
}

func newModel(t *testing.T, seed uint64, seen map[string]int) *model {
	m := &model{
		bench: newBench(t), rnd: rand.New(rand.NewPCG(seed, 46)), seen: seen,
		groups: map[string]*modelGroup{}, topics: map[string]byte{"t": 1, "u": 1, "v": 1},
	}
	m.o.Retention, m.o.RetentionCheck, m.o.InitialRebalanceDelay = modelRetention, modelCheck, 0
	m.sparse = true
	m.o.Account = NewAccount(10_000, 1<<20, nil)
	m.reload(nil)
	return m
}

func (m *model) group(id string) *modelGroup {
	g := m.groups[id]
	if g == nil {
		g = &modelGroup{offsets: map[TopicPartition]kept{}}
		m.groups[id] = g
	}
	return g
}

// exists tells whether the machine must know the group.
func (g *modelGroup) exists() bool {
	return len(g.offsets) > 0 || g.protocol != "" || g.stray != ""
}

func (m *model) run() {
	ids := []string{"a", "b", "c"}
	for range 120 {
		id := ids[m.rnd.IntN(len(ids))]
		g := m.group(id)
		switch n := m.rnd.IntN(20); {
		case n < 6:
			m.commitTo(id, g)
		case n < 9:
			m.joinTo(id, g)
		case n < 10:
			m.strayID(id, g)
		case n < 12:
			m.leaveAll(id, g)
		case n < 14:
			m.deleteGroup(id, g)
		case n < 16:
			m.deleteOffsets(id, g)
		case n < 17:
			m.deleteTopic()
		case n < 18:
			m.takeOver()
		default:
			m.wait()
		}
		m.compare()
		if m.t.Failed() {
			return
		}
	}
	m.checkReplay()
	for _, reply := range m.m.Unload() {
		reply(coordinator.ErrNotCoordinator)
	}
	if p, b := m.o.Account.pending.Load(), m.o.Account.bytes.Load(); p != 0 || b != 0 {
		m.t.Errorf("after the end the account still holds %d ids and %d bytes", p, b)
	}
}

func (m *model) millis() int64 { return m.when().Millis }

func (m *model) tp() TopicPartition {
	return TopicPartition{[]string{"t", "u", "v"}[m.rnd.IntN(3)], int32(m.rnd.IntN(2))}
}

// commitTo commits as a member if there is one, else as a consumer that assigns partitions itself.
func (m *model) commitTo(id string, g *modelGroup) {
	tp := m.tp()
	m.next++
	k := kept{offset: m.next, commit: m.millis(), expires: -1, id: m.topics[tp.Topic]}
	req := CommitRequest{Group: id, Generation: -1, RetentionMillis: -1, Offsets: []Offset{{
		Topic: tp.Topic, TopicID: [16]byte{k.id}, Partition: tp.Partition, Offset: k.offset, LeaderEpoch: -1,
	}}}
	if len(g.members) > 0 {
		req.MemberID, req.Generation = g.members[0], g.generation
	}
	if m.rnd.IntN(4) == 0 {
		req.RetentionMillis = m.rnd.Int64N(modelRetention.Milliseconds())
		k.expires, k.id = k.commit+req.RetentionMillis, 0 // the record that has the one has no place for the other
	}
	m.take(m.m.Commit(m.when(), req, func(a CommitAnswer) {
		if a.Err != nil || a.Errs[0] != nil {
			m.t.Errorf("a commit to %s: %v %v", id, a.Err, a.Errs)
		}
	}))
	g.offsets[tp] = k
}

// joinTo lets a member join and the rebalance end; the others join again.
func (m *model) joinTo(id string, g *modelGroup) {
	if len(g.members) == 3 {
		return
	}
	if len(g.members) == 0 {
		g.protocol = []string{"consumer", "consumer", "connect"}[m.rnd.IntN(3)]
		g.subscribed = map[string]bool{}
		if g.wasDeleted {
			m.seen["joined a deleted group"]++
			g.wasDeleted, g.generation = false, 0
		}
	}
	topic := []string{"t", "u"}[m.rnd.IntN(2)]
	if len(g.members) == 0 || m.rnd.IntN(2) == 0 {
		g.subscribed[topic] = true
	}
	var topics string
	for _, name := range slices.Sorted(maps.Keys(g.subscribed)) {
		topics += "+" + name
	}
	members := append([]string{""}, g.members...) // the new one first: the others learn of it and come again
	joined := make([]string, len(members))
	for i, member := range members {
		req := JoinRequest{
			Group: id, MemberID: member, ProtocolType: g.protocol, Protocols: []Protocol{{"range", metadataOf("@" + topics[1:])}},
			SessionTimeout: 30 * time.Minute, RebalanceTimeout: time.Minute, Client: Client{"c", "/h"},
		}
		m.take(m.m.Join(m.when(), req, func(a JoinAnswer) {
			if a.Err != nil {
				m.t.Errorf("a join of %q to %s: %v", member, id, a.Err)
			}
			joined[i], g.generation = a.MemberID, a.Generation
		}))
	}
	// An id that was given out keeps the join phase open until it expires; so its owner comes back, or goes.
	if g.stray != "" {
		m.take(m.m.Leave(m.when(), id, []Leaver{{MemberID: g.stray}}, func(LeaveAnswer) {}))
		g.stray = ""
	}
	m.advance(0)
	for _, member := range joined {
		m.take(m.m.Sync(m.when(), SyncRequest{Group: id, MemberID: member, Generation: g.generation}, func(a SyncAnswer) {
			if a.Err != nil {
				m.t.Errorf("a sync of %q in %s: %v", member, id, a.Err)
			}
		}))
	}
	g.members = joined
	m.beatAll()
}

func (m *model) strayID(id string, g *modelGroup) {
	if g.stray != "" || len(g.members) > 0 {
		return
	}
	req := JoinRequest{
		Group: id, ProtocolType: "consumer", Protocols: []Protocol{{"range", nil}}, Client: Client{"stray", "/h"},
		SessionTimeout: 30 * time.Minute, RebalanceTimeout: time.Minute, RequireMemberID: true,
	}
	m.take(m.m.Join(m.when(), req, func(a JoinAnswer) {
		if !errors.Is(a.Err, ErrMemberIDRequired) {
			m.t.Errorf("a first join to %s: %v", id, a.Err)
		}
		g.stray = a.MemberID
	}))
}

func (m *model) leaveAll(id string, g *modelGroup) {
	if len(g.members) == 0 {
		return
	}
	var leavers []Leaver
	for _, member := range g.members {
		leavers = append(leavers, Leaver{MemberID: member})
	}
	m.take(m.m.Leave(m.when(), id, leavers, func(LeaveAnswer) {}))
	m.advance(0)
	g.members, g.emptySince = nil, m.millis()
}

func (m *model) deleteGroup(id string, g *modelGroup) {
	want := error(nil)
	switch {
	case len(g.members) > 0:
		want = ErrNonEmptyGroup
	case !g.exists():
		want = ErrGroupNotFound
	}
	m.take(m.m.Delete(m.when(), id, func(err error) {
		if !errors.Is(err, want) {
			m.t.Errorf("the deletion of %s is %v, want %v", id, err, want)
		}
	}))
	if want != nil {
		m.seen["delete: "+errName(want)]++
		return
	}
	m.seen["deleted"]++
	if g.stray != "" {
		m.take(m.m.Heartbeat(m.when(), HeartbeatRequest{Group: id, MemberID: g.stray}, func(err error) {
			if errors.Is(err, ErrUnknownMember) {
				m.seen["id void"]++
			}
		}))
	}
	m.groups[id] = &modelGroup{offsets: map[TopicPartition]kept{}, wasDeleted: true}
}

func (m *model) deleteOffsets(id string, g *modelGroup) {
	list := []TopicPartition{m.tp(), m.tp()}
	var want error
	switch {
	case !g.exists():
		want = ErrGroupNotFound
	case len(g.members) > 0 && g.protocol != "consumer":
		want = ErrNonEmptyGroup
	}
	m.take(m.m.DeleteOffsets(m.when(), id, list, func(a CommitAnswer) {
		if !errors.Is(a.Err, want) {
			m.t.Errorf("the deletion of offsets of %s is %v, want %v", id, a.Err, want)
		}
		for i, err := range a.Errs {
			if subscribed := len(g.members) > 0 && g.subscribed[list[i].Topic]; subscribed != errors.Is(err, ErrSubscribed) {
				m.t.Errorf("the deletion of %v of %s is %v; subscribed: %t", list[i], id, err, subscribed)
			}
		}
	}))
	if want != nil {
		m.seen["delete-offsets: "+errName(want)]++
		return
	}
	for _, tp := range list {
		if len(g.members) > 0 && g.subscribed[tp.Topic] {
			m.seen["delete-offsets: subscribed"]++
			continue
		}
		if _, ok := g.offsets[tp]; ok {
			m.seen["offset deleted"]++
			delete(g.offsets, tp)
		}
	}
}

// deleteTopic deletes a topic, and makes another of its name.
func (m *model) deleteTopic() {
	name := m.tp().Topic
	m.take(m.m.TopicDeleted(m.when(), name, [16]byte{m.topics[name]}))
	for _, g := range m.groups {
		maps.DeleteFunc(g.offsets, func(tp TopicPartition, _ kept) bool { return tp.Topic == name })
	}
	m.topics[name]++
	m.seen["topic deleted"]++
}

// takeOver lets another coordinator load the log. Ids that were given out are forgotten.
func (m *model) takeOver() {
	m.reload(coordinator.ErrNotCoordinator)
	m.checks = m.millis()
	for _, g := range m.groups {
		g.stray = ""
		if len(g.members) > 0 {
			m.seen["take-over with members"]++
		}
	}
	m.beatAll()
}

// wait lets up to three hours go by, and notes what has expired.
func (m *model) wait() {
	start := m.millis()
	for left := time.Duration(m.rnd.Int64N(int64(3 * time.Hour))); left > 0; left -= 25 * time.Minute {
		m.advance(min(left, 25*time.Minute))
		m.beatAll()
	}
	now := m.millis()
	for id, g := range m.groups {
		if now-start >= 30*60_000 {
			g.stray = "" // or its time is not over yet: then it does no harm
			m.take(m.m.Leave(m.when(), id, []Leaver{{MemberID: "c"}}, func(LeaveAnswer) {}))
		}
		left := m.fetch(id)
		last := int64(0) // when the last offset was due
		for tp, k := range g.offsets {
			due, never := g.due(tp, k)
			last = max(last, due)
			_, there := left[tp]
			// By the second look after it was due, counted from the load and from when it began to be due, it has gone.
			must := !never && now-max(due, start, m.checks) >= 2*modelCheck.Milliseconds()
			switch {
			case !there && (never || due > now):
				m.t.Errorf("%v of %s has gone at %d and is due at %d (never: %t)", tp, id, now, due, never)
			case there && must:
				m.t.Errorf("%v of %s is still there at %d and was due at %d", tp, id, now, due)
			case !there:
				m.expired(g, k)
				delete(g.offsets, tp)
			}
		}
		if len(g.offsets) == 0 && len(g.members) == 0 && g.protocol != "" && g.stray == "" && m.state(id) == Dead {
			m.seen["group expired"]++
			m.groups[id] = &modelGroup{offsets: map[TopicPartition]kept{}, wasDeleted: true}
		} else if g.protocol != "" && len(g.offsets) == 0 && len(g.members) == 0 && g.stray == "" && now-max(start, m.checks, last) >= 2*modelCheck.Milliseconds() {
			m.t.Errorf("group %s has nothing left and is still there", id)
		}
	}
}

func (m *model) expired(g *modelGroup, k kept) {
	switch {
	case k.expires >= 0:
		m.seen["expired by its own time"]++
	case len(g.members) > 0:
		m.seen["expired while stable"]++
	default:
		m.seen["expired"]++
	}
}

// due is when an offset expires if its group stays as it is.
func (g *modelGroup) due(tp TopicPartition, k kept) (at int64, never bool) {
	if len(g.members) > 0 && (g.protocol != "consumer" || g.subscribed[tp.Topic]) {
		return 0, true
	}
	if k.expires >= 0 {
		return k.expires, false
	}
	since := k.commit
	if g.protocol != "" && len(g.members) == 0 {
		since = max(since, g.emptySince)
	}
	return since + modelRetention.Milliseconds(), false
}

func (m *model) beatAll() {
	for _, id := range slices.Sorted(maps.Keys(m.groups)) {
		g := m.groups[id]
		for _, member := range g.members {
			m.take(m.m.Heartbeat(m.when(), HeartbeatRequest{Group: id, MemberID: member, Generation: g.generation}, func(err error) {
				if err != nil {
					m.t.Errorf("a heartbeat of %s in %s: %v", member, id, err)
				}
			}))
		}
	}
}

func (m *model) fetch(id string) map[TopicPartition]Committed {
	got := map[TopicPartition]Committed{}
	m.take(m.m.Fetch(m.when(), FetchRequest{Group: id, All: true}, func(a FetchAnswer) {
		for _, c := range a.Offsets {
			got[c.TopicPartition] = c
		}
	}))
	return got
}

func (m *model) state(id string) (s State) {
	m.take(m.m.Describe(m.when(), id, func(d Description) { s = d.State }))
	return s
}

// compare holds the machine against the model.
func (m *model) compare() {
	m.t.Helper()
	m.dumps[len(m.log)] = m.m.Dump()
	for id, g := range m.groups {
		got := map[TopicPartition]kept{}
		for tp, c := range m.fetch(id) {
			got[tp] = kept{c.Offset, c.CommitMillis, c.ExpireMillis, c.TopicID[0]}
		}
		if !maps.Equal(got, g.offsets) {
			m.t.Errorf("group %s has %v, want %v", id, got, g.offsets)
		}
		want := Dead
		switch {
		case len(g.members) > 0:
			want = Stable
		case g.exists():
			want = Empty
		}
		if s := m.state(id); s != want {
			m.t.Errorf("group %s is %v, want %v: %v", id, s, want, fmt.Sprintf("%+v", *g))
		}
	}
}
