package broker

import (
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/wire"
)

// leaderHint tells who leads a partition, by the newest image; -1 if nobody does, or there is
// no such partition (KIP-951).
func (b *Broker) leaderHint(name []byte, id metadata.ID, byID bool, index int32) wire.LeaderHint {
	img := b.ctl.Image()
	t := img.TopicByID(id)
	if !byID {
		t = img.TopicByName(string(name))
	}
	if t == nil || index < 0 || int(index) >= len(t.Partitions) {
		return wire.NoLeaderHint
	}
	p := t.Partitions[index]
	if p.Leader == metadata.NoLeader {
		return wire.NoLeaderHint
	}
	return wire.LeaderHint{Node: p.Leader, Epoch: p.LeaderEpoch}
}

// addEndpoint adds where clients reach a node, once.
func (b *Broker) addEndpoint(to []wire.Endpoint, node int32) []wire.Endpoint {
	if node < 0 {
		return to
	}
	for i := range to {
		if to[i].Node == node {
			return to
		}
	}
	br := b.ctl.Image().Broker(node)
	if br == nil || len(br.Listeners) == 0 {
		return to
	}
	return append(to, wire.Endpoint{Node: node, Host: br.Host(), Port: br.Port(), Rack: br.Rack})
}
