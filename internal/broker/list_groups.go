package broker

import (
	"errors"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
)

// classicGroup is the type of all groups here.
const classicGroup = "classic"

// ListGroups (key 16), versions 0 to 5, at any broker: the groups that it coordinates. To see
// all groups of the cluster a client asks every broker.
//
//   - 1: throttle time in the answer. 2: the same.
//   - 3: flexible.
//   - 4: states of the groups, and a filter by state (KIP-518).
//   - 5: types of the groups, and a filter by type (KIP-848). All are "classic".
//
// While a shard loads, the whole answer is COORDINATOR_LOAD_IN_PROGRESS: a list that lacks groups would be taken for complete.
func (b *Broker) listGroups(_ *call, req *kmsg.ListGroupsRequest, r *reply) {
	resp := kmsg.NewPtrListGroupsResponse()
	groups := b.o.Groups
	if groups == nil || len(req.TypesFilter) > 0 && !containsFold(req.TypesFilter, classicGroup) {
		r.send(resp)
		return
	}
	partitions := groups.runtime.Partitions()
	g := pendingAnswers{left: len(partitions) + 1, done: func() {
		if resp.ErrorCode != codeNone {
			resp.Groups = nil
		}
		slices.SortFunc(resp.Groups, func(x, y kmsg.ListGroupsResponseGroup) int { return strings.Compare(x.Group, y.Group) })
		r.send(resp)
	}}
	answer := func(a group.ListAnswer) {
		g.one(func() {
			switch {
			case errors.Is(a.Err, shards.ErrNotCoordinator): // it has moved meanwhile: another broker lists it
			case a.Err != nil:
				resp.ErrorCode = code(a.Err)
			default:
				resp.Groups = append(resp.Groups, listed(req.StatesFilter, a.Groups)...)
			}
		})
	}
	for _, p := range partitions {
		groups.runtime.Submit(p, shards.Event[*group.Machine]{
			Run:  func(m *group.Machine, now shards.Now) shards.Result { return m.List(now, answer) },
			Fail: func(err error) { answer(group.ListAnswer{Err: err}) },
		})
	}
	g.one(func() {})
}

func listed(states []string, groups []group.Listed) []kmsg.ListGroupsResponseGroup {
	var list []kmsg.ListGroupsResponseGroup
	for _, g := range groups {
		if len(states) > 0 && !containsFold(states, g.State.String()) {
			continue
		}
		entry := kmsg.NewListGroupsResponseGroup()
		entry.Group, entry.ProtocolType, entry.GroupState, entry.GroupType = g.Group, g.ProtocolType, g.State.String(), classicGroup
		list = append(list, entry)
	}
	return list
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(l string) bool { return strings.EqualFold(l, s) })
}
