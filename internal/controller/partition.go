package controller

import (
	"slices"
	"strings"

	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// election is the one way in which the state of a partition follows the state of
// the brokers.
type election struct {
	// broker finds a broker as it is once the command has taken effect.
	broker func(id int32) *metadata.Broker
	// unclean: a replica that is not known to hold everything may lead.
	unclean bool
	// dropped is a broker that came back without all that it acknowledged, so
	// that it leaves the ISR where another member remains; 0 for none.
	dropped int32
}

// next returns the state that p should have, and false if it has it already. Which
// replica leads, first hit wins, in the order of the replicas:
//
//  1. the leader, if it still may;
//  2. a member of the ISR;
//  3. the last known leader, if the ISR is empty and it is the only one known;
//  4. any replica, if unclean election is on.
//
// Only a replica whose broker is registered, not fenced, not shutting down, and
// whose directory is online may be chosen; a leader that is shutting down stays
// while it is the only one left. 3 and 4 are unclean: the ISR becomes the leader
// alone, and the partition is marked as recovering.
//
// With a leader, fenced and leaving brokers are taken out of the ISR. Without one
// the ISR stays as it is: nothing can be committed, so each of its members remains
// as complete as it was, and the first to return may lead. A replica on a lost
// directory leaves in any case, even as the last member; it is then remembered as
// the last known leader, should its disk come back.
func (e election) next(p *metadata.Partition) (n metadata.Partition, changed bool) {
	n = *p
	n.ISR = e.members(p)
	if len(n.ISR) == 0 && len(p.ISR) > 0 {
		n.LastKnownELR = lastMember(p)
	}
	unclean := false
	n.Leader, unclean = e.leader(&n)
	switch {
	case unclean:
		n.ISR, n.LastKnownELR, n.Recovering = []int32{n.Leader}, nil, true
	case n.Leader != metadata.NoLeader:
		n.ISR = e.serving(&n)
	}
	if n.Leader == p.Leader && !unclean && slices.Equal(n.ISR, p.ISR) && slices.Equal(n.LastKnownELR, p.LastKnownELR) {
		return n, false
	}
	if (n.Leader != p.Leader || unclean) && !invariant.Mutant("controller-keeps-leader-epoch") {
		n.LeaderEpoch++
	}
	n.PartitionEpoch++
	return n, true
}

// members is the ISR without those that have lost what they had.
func (e election) members(p *metadata.Partition) []int32 {
	isr := p.ISR
	without := func(out func(b int32) bool) {
		if slices.ContainsFunc(isr, out) {
			isr = slices.DeleteFunc(slices.Clone(isr), out)
		}
	}
	without(func(b int32) bool { return e.lost(p, b) })
	if len(isr) > 1 {
		without(func(b int32) bool { return b == e.dropped })
	}
	return isr
}

// lost reports whether the directory of b's replica is gone: it was assigned, and
// b has registered without it.
func (e election) lost(p *metadata.Partition, b int32) bool {
	dir, ok := p.Directory(b)
	broker := e.broker(b)
	return ok && broker != nil && !broker.Online(dir)
}

// lastMember is who is remembered when the ISR becomes empty.
func lastMember(p *metadata.Partition) []int32 {
	if p.Leader != metadata.NoLeader {
		return []int32{p.Leader}
	}
	return slices.Clone(p.ISR[:1])
}

func (e election) leader(p *metadata.Partition) (leader int32, unclean bool) {
	if slices.Contains(p.ISR, p.Leader) && e.mayLead(p, p.Leader) {
		return p.Leader, false
	}
	for _, b := range p.Replicas {
		if slices.Contains(p.ISR, b) && e.mayLead(p, b) {
			return b, false
		}
	}
	if b := e.broker(p.Leader); slices.Contains(p.ISR, p.Leader) && b != nil && !b.Fenced {
		return p.Leader, false // shutting down, and nobody is there to take over
	}
	if len(p.ISR) == 0 && len(p.LastKnownELR) == 1 && e.mayLead(p, p.LastKnownELR[0]) {
		return p.LastKnownELR[0], true
	}
	if e.unclean {
		for _, b := range p.Replicas {
			if e.mayLead(p, b) {
				return b, true
			}
		}
	}
	return metadata.NoLeader, false
}

// mayLead reports whether b may be chosen.
func (e election) mayLead(p *metadata.Partition, b int32) bool {
	dir, ok := p.Directory(b)
	broker := e.broker(b)
	return ok && broker != nil && broker.Active() && broker.Online(dir)
}

// serving is the ISR without members that the leader need not wait for.
func (e election) serving(p *metadata.Partition) []int32 {
	gone := func(b int32) bool {
		broker := e.broker(b)
		return b != p.Leader && (broker == nil || !broker.Active())
	}
	if !slices.ContainsFunc(p.ISR, gone) {
		return p.ISR
	}
	return slices.DeleteFunc(slices.Clone(p.ISR), gone)
}

// elect adds what next says about a partition. It returns false when the entry is
// full and the partition was left as it is.
func (d *decision) elect(t *metadata.Topic, p *metadata.Partition, dropped int32) bool {
	e := election{broker: d.img.Broker, unclean: d.uncleanElection(t), dropped: dropped}
	n, changed := e.next(p)
	if !changed {
		return true
	}
	r := changeRecord(t.ID, p, n)
	if !d.room(r) {
		return false
	}
	d.note(r)
	return true
}

func (d *decision) uncleanElection(t *metadata.Topic) bool {
	if v, ok := t.Configs["unclean.leader.election.enable"]; ok {
		return strings.EqualFold(strings.TrimSpace(v), "true")
	}
	return d.env.UncleanElection
}

// changeRecord holds the fields in which n differs from p.
func changeRecord(topic metadata.ID, p *metadata.Partition, n metadata.Partition) *metadatav1.Record {
	c := &metadatav1.PartitionChange{TopicId: topic[:], Index: p.Index, PartitionEpoch: &n.PartitionEpoch}
	if n.Leader != p.Leader {
		c.Leader = &n.Leader
	}
	if n.LeaderEpoch != p.LeaderEpoch {
		c.LeaderEpoch = &n.LeaderEpoch
	}
	if !slices.Equal(n.Replicas, p.Replicas) {
		c.Replicas = &metadatav1.PartitionChange_Nodes{Ids: n.Replicas}
	}
	if !slices.Equal(n.Directories, p.Directories) {
		c.Directories = &metadatav1.PartitionChange_Directories{}
		for i := range n.Directories {
			c.Directories.Ids = append(c.Directories.Ids, n.Directories[i][:])
		}
	}
	if !slices.Equal(n.ISR, p.ISR) {
		c.Isr = &metadatav1.PartitionChange_Nodes{Ids: n.ISR}
	}
	if !slices.Equal(n.LastKnownELR, p.LastKnownELR) {
		c.LastKnownElr = &metadatav1.PartitionChange_Nodes{Ids: n.LastKnownELR}
	}
	if n.Recovering != p.Recovering {
		state := metadatav1.Recovery_RECOVERY_NONE
		if n.Recovering {
			state = metadatav1.Recovery_RECOVERY_RECOVERING
		}
		c.Recovery = &state
	}
	return &metadatav1.Record{Kind: &metadatav1.Record_PartitionChange{PartitionChange: c}}
}
