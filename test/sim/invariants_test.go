package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/node"
	"github.com/chronik-stream/chronik/internal/testcluster"
)

// invariants looks at all nodes at once.
type invariants struct {
	c        *testcluster.Cluster
	digests  map[uint64]uint64     // image index -> digest, of any node
	index    map[*node.Node]uint64 // the highest index a life of a node has published
	leaders  map[uint64]int32      // term -> who was the active controller
	epochs   map[partition]epochAt // the newest leader epoch seen
	clusters map[string]bool       // cluster ids seen
}

type partition struct {
	topic [16]byte
	index int32
}

// epochAt is a partition's leader epoch in the image of an index.
type epochAt struct {
	index uint64
	epoch int32
}

func newInvariants(c *testcluster.Cluster) *invariants {
	return &invariants{
		c: c, digests: map[uint64]uint64{}, index: map[*node.Node]uint64{}, leaders: map[uint64]int32{},
		epochs: map[partition]epochAt{}, clusters: map[string]bool{},
	}
}

// check compares what the nodes show now with each other and with the past.
func (v *invariants) check(t *testing.T) {
	t.Helper()
	for _, n := range v.c.Nodes {
		life := n.Node()
		if life == nil {
			continue
		}
		img := life.Image()
		if d, ok := v.digests[img.Index()]; ok && d != img.Digest() {
			t.Errorf("%s: image at index %d has digest %x, another node's had %x", n.Name, img.Index(), img.Digest(), d)
		}
		v.digests[img.Index()] = img.Digest()
		if img.Index() < v.index[life] {
			t.Errorf("%s: its image went back from index %d to %d", n.Name, v.index[life], img.Index())
		}
		v.index[life] = img.Index()
		if id, term := img.Controller(); term > 0 {
			if other, ok := v.leaders[term]; ok && other != id {
				t.Errorf("%s: node %d was the controller of term %d, and node %d too", n.Name, id, term, other)
			}
			v.leaders[term] = id
		}
		if v.clusters[img.ClusterID()] = true; len(v.clusters) > 1 {
			t.Errorf("%s: cluster id %s, and there was another", n.Name, img.ClusterID())
		}
		for topic := range img.Topics() {
			for _, p := range topic.Partitions {
				at := partition{topic.ID, p.Index}
				seen := v.epochs[at]
				if img.Index() > seen.index && p.LeaderEpoch < seen.epoch || img.Index() < seen.index && p.LeaderEpoch > seen.epoch {
					t.Errorf("%s: %s-%d has leader epoch %d at index %d, and %d at index %d", n.Name, topic.Name, p.Index, p.LeaderEpoch, img.Index(), seen.epoch, seen.index)
				}
				if img.Index() > seen.index {
					v.epochs[at] = epochAt{img.Index(), p.LeaderEpoch}
				}
				if p.Leader >= 0 {
					if b := img.Broker(p.Leader); b == nil || b.Fenced {
						t.Errorf("%s: %s-%d is led by broker %d, which is fenced or unknown", n.Name, topic.Name, p.Index, p.Leader)
					}
				}
			}
		}
	}
}

// settled waits until all nodes show one image, and one only, in which every broker is in
// service and every partition has a leader.
func (v *invariants) settled(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		v.check(t)
		missing := v.missing()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("10 s after the end of all faults: %s", missing)
			return
		}
	}
}

// missing says what a healthy cluster would have and this one has not.
func (v *invariants) missing() string {
	first := v.c.Nodes[0].Node().Image()
	for _, n := range v.c.Nodes {
		img := n.Node().Image()
		if img.Index() != first.Index() || img.Digest() != first.Digest() {
			return fmt.Sprintf("the image of %s is at index %d, that of %s at %d", n.Name, img.Index(), v.c.Nodes[0].Name, first.Index())
		}
		if b := first.Broker(n.ID); b == nil || b.Fenced {
			return n.Name + " is fenced"
		}
	}
	for topic := range first.Topics() {
		for _, p := range topic.Partitions {
			if p.Leader < 0 {
				return fmt.Sprintf("%s-%d has no leader", topic.Name, p.Index)
			}
		}
	}
	return ""
}
