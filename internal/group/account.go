package group

import (
	"bytes"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Account bounds what the machines of a broker hold for clients beside the log; they share it. A client
// makes members of as many groups as it likes, and what they bring stays in memory until their sessions
// end, so a bound for each group bounds nothing.
type Account struct {
	maxPending, maxBytes int64
	pending, bytes       atomic.Int64
	refused              prometheus.Counter
}

// NewAccount returns an account for that many ids that were given out and not used yet, and for
// that many bytes of members, most of which are their metadata. The metrics are registered with reg unless that is nil.
func NewAccount(maxPending, maxBytes int64, reg prometheus.Registerer) *Account {
	a := &Account{
		maxPending: maxPending, maxBytes: maxBytes,
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_group_refused_joins_total",
			Help: "JoinGroup requests refused because the broker had given out too many member ids, or held too much of its members.",
		}),
	}
	gauge := func(name, help string, v *atomic.Int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(v.Load()) })
	}
	if reg != nil {
		reg.MustRegister(a.refused,
			gauge("chronik_group_pending_members", "Member ids that were given out and not used yet.", &a.pending),
			gauge("chronik_group_member_bytes", "Memory for the members of all groups, about: most of it is their metadata.", &a.bytes))
	}
	return a
}

// givesID tells whether one more id may be given out.
func (a *Account) givesID() bool {
	if a.pending.Load() < a.maxPending {
		return true
	}
	a.refused.Inc()
	return false
}

// holds tells whether that many more bytes of members may be held.
func (a *Account) holds(more int) bool {
	if more <= 0 || a.bytes.Load()+int64(more) <= a.maxBytes {
		return true
	}
	a.refused.Inc()
	return false
}

// pend remembers an id that is given out.
func (g *group) pend(id string) {
	g.pendingJoin[id] = struct{}{}
	g.account.pending.Add(1)
}

// unpend forgets an id that was given out; false if it was not.
func (g *group) unpend(id string) bool {
	if _, ok := g.pendingJoin[id]; !ok {
		return false
	}
	delete(g.pendingJoin, id)
	g.account.pending.Add(-1)
	return true
}

// What a member, and each of its protocols, costs beside its bytes: a request of 1 MiB has room for 350,000 protocols without any.
const (
	memberOverhead   = 512
	protocolOverhead = 128
)

// bytes is what the account holds of the member. Its id, which changes with a static member's restart, is not in it.
func (mb *member) bytes() int {
	return memberOverhead + len(orEmpty(mb.instance)) + len(mb.client.ID) + size(mb.protocols)
}

func size(protocols []Protocol) int {
	n := 0
	for _, p := range protocols {
		n += protocolOverhead + len(p.Name) + len(p.Metadata)
	}
	return n
}

// distinct returns the protocols without those whose name came before: nothing in the group looks at them.
func distinct(protocols []Protocol) []Protocol {
	seen := make(map[string]struct{}, len(protocols))
	for _, p := range protocols {
		seen[p.Name] = struct{}{}
	}
	if len(seen) == len(protocols) {
		return protocols
	}
	clear(seen)
	return slices.DeleteFunc(slices.Clone(protocols), func(p Protocol) bool {
		_, again := seen[p.Name]
		seen[p.Name] = struct{}{}
		return again
	})
}

// owned returns a copy: the metadata of a request are parts of its body, and a member that kept a part would keep all of it.
func owned(protocols []Protocol) []Protocol {
	list := slices.Clone(protocols)
	for i := range list {
		list[i].Metadata = bytes.Clone(list[i].Metadata)
	}
	return list
}
