package group

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/invariant"
)

// group is one group. saved and offsets are what the log says, changed by Apply
// alone; all else is beside the log.
type group struct {
	id      string
	account *Account
	saved   []byte // value of the group's last record; nil: it has none
	offsets map[TopicPartition]Committed
	loaded  Metadata // saved, read; between Apply and Loaded only

	state       State
	initial     bool  // PreparingRebalance was entered from Empty: nobody has been in a generation yet
	stateMillis int64 // when state was entered, wall clock; -1: not known
	generation  int32

	protocolType, protocol, leader string // empty: none

	members map[string]*member
	order   []*member         // the same, in the order they joined
	static  map[string]string // member id of each group instance id
	// supported counts for each protocol the members that support it.
	supported map[string]int
	// awaiting counts the members whose JoinGroup waits.
	awaiting int
	// pendingJoin holds ids that were given out and not come back with; see pend and unpend.
	pendingJoin map[string]struct{}
	// pendingSync holds the members that have not sent SyncGroup in this generation.
	pendingSync map[string]struct{}

	// The initial rebalance is put off while members keep coming.
	newMember          bool
	delayed, delayLeft time.Duration
	subscribed         map[string]struct{} // topics of the generation's members
	knowsTopics        bool                // subscribed could be read
}

// member is a member of a group.
type member struct {
	id                 string
	instance           *string
	client             Client
	session, rebalance time.Duration
	protocols          []Protocol // each name once
	assignment         []byte
	isNew              bool // its first JoinGroup has not been answered

	join func(JoinAnswer) // its JoinGroup waits
	sync func(SyncAnswer) // its SyncGroup waits

	// The session ends at deadline. A heartbeat moves deadline alone; the timer,
	// due at armed, sets itself anew when it finds the deadline moved.
	deadline, armed time.Time
}

func newGroup(id string, account *Account) *group {
	return &group{
		id: id, account: account, stateMillis: -1,
		members: map[string]*member{}, static: map[string]string{}, supported: map[string]int{},
		pendingJoin: map[string]struct{}{}, pendingSync: map[string]struct{}{},
	}
}

// enter changes the state.
func (g *group) enter(now coordinator.Now, s State) {
	g.initial = s == PreparingRebalance && g.state == Empty
	g.state, g.stateMillis = s, now.Millis
}

// add makes mb a member.
func (g *group) add(mb *member) {
	if mb.instance != nil {
		g.static[*mb.instance] = mb.id
	}
	if g.leader == "" {
		g.leader = mb.id
	}
	g.members[mb.id] = mb
	g.order = append(g.order, mb)
	g.count(mb, 1)
	g.unpend(mb.id)
}

// remove takes a member, or an id that has not joined yet, out of the group.
func (g *group) remove(id string, res *coordinator.Result) {
	delete(g.pendingSync, id)
	if g.unpend(id) {
		res.Timers = append(res.Timers, coordinator.Timer{ID: timerID{sessionTimer, g.id, id}, After: -1})
	}
	mb := g.members[id]
	if mb == nil {
		return
	}
	g.answerJoin(mb, JoinAnswer{Err: ErrUnknownMember, Generation: -1}, res)
	g.answerSync(mb, SyncAnswer{Err: ErrUnknownMember}, res)
	g.disarm(mb, res)
	g.count(mb, -1)
	delete(g.members, id)
	g.order = slices.DeleteFunc(g.order, func(o *member) bool { return o == mb })
	if mb.instance != nil && g.static[*mb.instance] == id {
		delete(g.static, *mb.instance)
	}
	if g.leader == id {
		g.leader = ""
		if len(g.order) > 0 {
			g.leader = g.order[0].id
		}
	}
}

// count adds n, 1 or -1, to the support of each protocol of mb, and mb to what the account holds.
func (g *group) count(mb *member, n int) {
	g.account.bytes.Add(int64(n * mb.bytes()))
	for _, p := range mb.protocols {
		if g.supported[p.Name] += n; g.supported[p.Name] == 0 {
			delete(g.supported, p.Name)
		}
	}
}

// supports tells whether a member with these protocols can be in the group.
func (g *group) supports(protocolType string, protocols []Protocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == g.protocolType && slices.ContainsFunc(protocols, func(p Protocol) bool {
		return g.supported[p.Name] == len(g.members)
	})
}

// selectProtocol lets each member vote for the first of its protocols that all
// members support, and returns the one with the most votes; among equals the
// one that was voted for first.
func (g *group) selectProtocol() string {
	votes := map[string]int{}
	var order []string
	for _, mb := range g.order {
		i := slices.IndexFunc(mb.protocols, func(p Protocol) bool { return g.supported[p.Name] == len(g.members) })
		if i < 0 {
			continue
		}
		name := mb.protocols[i].Name
		if votes[name] == 0 {
			order = append(order, name)
		}
		votes[name]++
	}
	invariant.Check(len(order) > 0, "I-34", "group %q has no protocol that all members support", g.id)
	if len(order) == 0 {
		return ""
	}
	return slices.MaxFunc(order, func(a, b string) int { return cmp.Compare(votes[a], votes[b]) })
}

// electLeader keeps the leader if it has joined, else takes the first member that has. False: none has.
func (g *group) electLeader() bool {
	if mb := g.members[g.leader]; mb != nil && mb.join != nil {
		return true
	}
	for _, mb := range g.order {
		if mb.join != nil {
			g.leader = mb.id
			return true
		}
	}
	return false
}

// allJoined tells whether a join phase need not wait for anybody.
func (g *group) allJoined() bool {
	return g.awaiting == len(g.members) && len(g.pendingJoin) == 0
}

// rebalanceTimeout is the longest of the members'.
func (g *group) rebalanceTimeout() time.Duration {
	var d time.Duration
	for _, mb := range g.order {
		d = max(d, mb.rebalance)
	}
	return d
}

// check tells whether a request of the member may be served.
func (g *group) check(id string, instance *string) error {
	if instance != nil {
		switch current, ok := g.static[*instance]; {
		case !ok:
			return ErrUnknownMember
		case current != id:
			return ErrFencedInstance
		}
	}
	if g.members[id] == nil {
		return ErrUnknownMember
	}
	return nil
}

// parkJoin lets the member's JoinGroup wait. An earlier one that still waits came
// over a connection that its client has given up.
func (g *group) parkJoin(mb *member, answer func(JoinAnswer), res *coordinator.Result) {
	g.answerJoin(mb, JoinAnswer{Err: ErrRebalanceInProgress, MemberID: mb.id, Generation: -1}, res)
	mb.join = answer
	g.awaiting++
}

// answerJoin answers the member's JoinGroup, if one waits.
func (g *group) answerJoin(mb *member, a JoinAnswer, res *coordinator.Result) {
	if mb.join == nil {
		return
	}
	replyJoin(mb.join, a, res)
	mb.join = nil
	g.awaiting--
}

func replyJoin(answer func(JoinAnswer), a JoinAnswer, res *coordinator.Result) {
	res.Replies = append(res.Replies, func(err error) {
		if err != nil {
			a = JoinAnswer{Err: err, MemberID: a.MemberID, Generation: -1}
		}
		answer(a)
	})
}

// answerSync answers the member's SyncGroup, if one waits.
func (g *group) answerSync(mb *member, a SyncAnswer, res *coordinator.Result) bool {
	if mb.sync == nil {
		return false
	}
	replySync(mb.sync, a, res)
	mb.sync = nil
	return true
}

func replySync(answer func(SyncAnswer), a SyncAnswer, res *coordinator.Result) {
	res.Replies = append(res.Replies, func(err error) {
		if err != nil {
			a = SyncAnswer{Err: err}
		}
		answer(a)
	})
}

// touch lets the member's session end d from now.
func (g *group) touch(now coordinator.Now, mb *member, d time.Duration, res *coordinator.Result) {
	mb.deadline = now.Time.Add(d)
	if mb.armed.IsZero() || mb.armed.After(mb.deadline) {
		mb.armed = mb.deadline
		res.Timers = append(res.Timers, coordinator.Timer{ID: timerID{sessionTimer, g.id, mb.id}, After: d})
	}
}

func (g *group) disarm(mb *member, res *coordinator.Result) {
	if !mb.armed.IsZero() {
		mb.armed = time.Time{}
		res.Timers = append(res.Timers, coordinator.Timer{ID: timerID{sessionTimer, g.id, mb.id}, After: -1})
	}
}

// metadata is the group as its record tells it.
func (g *group) metadata(awaitsSync bool) Metadata {
	md := Metadata{
		ProtocolType: g.protocolType, Generation: g.generation, Protocol: g.protocol, Leader: g.leader,
		StateMillis: g.stateMillis, AwaitsSync: awaitsSync,
	}
	for _, mb := range g.order {
		md.Members = append(md.Members, MetadataMember{
			ID: mb.id, InstanceID: mb.instance, Client: mb.client,
			RebalanceMillis: int32(mb.rebalance.Milliseconds()), SessionMillis: int32(mb.session.Milliseconds()),
			Subscription: mb.metadata(g.protocol), Assignment: mb.assignment,
		})
	}
	return md
}

// joinMembers is what the leader is told of the members.
func (g *group) joinMembers() []JoinMember {
	list := make([]JoinMember, len(g.order))
	for i, mb := range g.order {
		list[i] = JoinMember{mb.id, mb.instance, mb.metadata(g.protocol)}
	}
	return list
}

// metadata returns the member's metadata for a protocol.
func (mb *member) metadata(protocol string) []byte {
	for _, p := range mb.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// matches tells whether the member supports just these protocols with just this metadata.
func (mb *member) matches(protocols []Protocol) bool {
	return slices.EqualFunc(mb.protocols, protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && string(a.Metadata) == string(b.Metadata)
	})
}

func (g *group) sortedOffsets() []Committed {
	list := make([]Committed, 0, len(g.offsets))
	for _, c := range g.offsets {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Committed) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return list
}

// consumerProtocol is the protocol type whose metadata names topics.
const consumerProtocol = "consumer"

// subscribedTopics reads the topics of the generation from the members'
// metadata; false if the group's protocol does not tell them.
func (g *group) subscribedTopics() (map[string]struct{}, bool) {
	if g.protocolType != consumerProtocol {
		return nil, false
	}
	topics := map[string]struct{}{}
	for _, mb := range g.order {
		if !subscription(mb.metadata(g.protocol), topics) {
			return nil, false
		}
	}
	return topics, true
}

// subscription adds the topics of a consumer's subscription to topics: int16
// version, then an array of strings; later versions only add to the end.
func subscription(b []byte, topics map[string]struct{}) bool {
	if len(b) < 6 {
		return false
	}
	n := int32(binary.BigEndian.Uint32(b[2:]))
	b = b[6:]
	for ; n > 0; n-- {
		if len(b) < 2 {
			return false
		}
		l := int(int16(binary.BigEndian.Uint16(b)))
		if l < 0 || len(b) < 2+l {
			return false
		}
		topics[string(b[2:2+l])] = struct{}{}
		b = b[2+l:]
	}
	return true
}
