package cluster

import (
	"slices"
	"sync"
)

// strangers remembers which peers belong to another cluster than this node. A data directory that was moved between two
// clusters, or a wrong --peers, leaves a node among strangers: it would wait for ever for a majority that refuses it.
// The mutex guards the map.
type strangers struct {
	mu sync.Mutex
	of map[int32]string // the cluster of a peer, for those of another one
}

// heard takes what a peer says of its cluster, "" if it has none yet, and reports whether it is a stranger.
func (s *strangers) heard(peer int32, its, own string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if its == "" || own == "" || its == own {
		delete(s.of, peer)
		return false
	}
	if s.of == nil {
		s.of = make(map[int32]string)
	}
	s.of[peer] = its
	return true
}

// among returns an error that ends the process if so many of the peers are strangers that the rest and this node are no majority.
func (s *strangers) among(own string, peers []Peer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int32
	for _, p := range peers {
		if s.of[p.ID] != "" {
			ids = append(ids, p.ID)
		}
	}
	if all := len(peers) + 1; len(ids) == 0 || all-len(ids) > all/2 {
		return nil
	}
	slices.Sort(ids)
	return fatalf(ReasonStranger, "this data directory belongs to the cluster %s, and of --peers node %s to another one, %s: "+
		"give this node the --data-dir that it has in the cluster of the others, or correct --peers", own, idList(ids), s.of[ids[0]])
}
