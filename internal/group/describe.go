package group

import (
	"github.com/chronik-stream/chronik/internal/coordinator"
)

// Describe tells of one group. A group that does not exist is Dead, with ErrGroupNotFound.
func (m *Machine) Describe(_ coordinator.Now, id string, answer func(Description)) coordinator.Result {
	d := m.describe(id)
	return coordinator.Result{Key: id, Replies: []coordinator.Reply{func(err error) {
		if err != nil {
			d = Description{Err: err, Group: id, State: Dead}
		}
		answer(d)
	}}}
}

func (m *Machine) describe(id string) Description {
	g := m.groups[id]
	if g == nil {
		return Description{Err: ErrGroupNotFound, Group: id, State: Dead}
	}
	d := Description{Group: id, State: g.state, ProtocolType: g.protocolType}
	if g.state == Stable {
		d.Protocol = g.protocol
	}
	for _, mb := range g.order {
		member := Member{ID: mb.id, InstanceID: mb.instance, Client: mb.client}
		if g.state == Stable {
			member.Metadata, member.Assignment = mb.metadata(g.protocol), mb.assignment
		}
		d.Members = append(d.Members, member)
	}
	return d
}

// List tells of all groups of the shard.
func (m *Machine) List(_ coordinator.Now, answer func(ListAnswer)) coordinator.Result {
	var a ListAnswer
	for _, id := range m.sorted() {
		g := m.groups[id]
		a.Groups = append(a.Groups, Listed{Group: id, ProtocolType: g.protocolType, State: g.state})
	}
	return coordinator.Result{Replies: []coordinator.Reply{func(err error) {
		if err != nil {
			a = ListAnswer{Err: err}
		}
		answer(a)
	}}}
}
