package node

import (
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/storage"
)

// The directory of one cluster is not taken for another: a single node's for a cluster of several, or the other way round.
func TestTheClusterOfADirectory(t *testing.T) {
	peers := func(ids ...int32) (all []config.Peer) {
		for _, id := range ids {
			all = append(all, config.Peer{ID: id, Host: "localhost", Port: 5001})
		}
		return all
	}
	for _, c := range []struct {
		name     string
		founders []int32
		peers    []config.Peer
		want     string // "" if it may start
	}{
		{"fresh, single", nil, nil, ""},
		{"fresh, cluster", nil, peers(2, 3), ""},
		{"single again", []int32{1}, nil, ""},
		{"cluster again", []int32{1, 2, 3}, peers(2, 3), ""},
		{"one peer of two is another", []int32{1, 2, 3}, peers(2, 4), ""},
		{"single node's for a cluster", []int32{1}, peers(2, 3), "is that of a single node"},
		{"cluster's for a single node", []int32{1, 2, 3}, nil, "founded with 2, 3: start it with 'chronik-server raft-cluster'"},
		{"another cluster's", []int32{1, 2, 3}, peers(4, 5), "none of them is in --peers"},
	} {
		d := &dataDirectory{path: "data"}
		for _, id := range c.founders {
			d.meta.ClusterID = "some"
			d.meta.Founders = append(d.meta.Founders, storage.Founder{NodeID: id})
		}
		err := d.checkCluster(1, c.peers)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
