package node

import (
	"fmt"
	"strings"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// fencedBrokers names the brokers that serve nothing.
func fencedBrokers(img *metadata.Image) error {
	var fenced []string
	for _, b := range img.Brokers() {
		if b.Fenced {
			fenced = append(fenced, fmt.Sprintf("broker %d", b.ID))
		}
	}
	if len(fenced) == 0 {
		return nil
	}
	return fmt.Errorf("fenced, so not serving: %s; if one is not starting or stopping, look at its log", strings.Join(fenced, ", "))
}

// offlinePartitions counts the partitions without a leader.
func offlinePartitions(img *metadata.Image) error {
	offline, example := 0, ""
	for t := range img.Topics() {
		for _, p := range t.Partitions {
			if p.Leader >= 0 {
				continue
			}
			if offline == 0 {
				example = fmt.Sprintf("%s-%d, which lives on %v", t.Name, p.Index, p.Replicas)
			}
			offline++
		}
	}
	if offline == 0 {
		return nil
	}
	return fmt.Errorf("%d partitions have no leader (the first is %s): they wait for a broker that is fenced", offline, example)
}

// Status is the overview that /healthz adds to its report.
type Status struct {
	Node       int32          `json:"node"`
	ClusterID  string         `json:"cluster_id"`
	RaftLeader int32          `json:"raft_leader"` // 0: none is known
	RaftTerm   uint64         `json:"raft_term"`
	ImageIndex uint64         `json:"image_index"`
	Digest     string         `json:"image_digest"` // of the image at ImageIndex; equal on every node at an equal index
	Brokers    []BrokerStatus `json:"brokers"`
	Topics     int            `json:"topics"`
	Partitions int            `json:"partitions"`
}

// BrokerStatus is one broker in a Status.
type BrokerStatus struct {
	ID     int32  `json:"id"`
	Addr   string `json:"addr"`
	Epoch  int64  `json:"epoch"`
	Fenced bool   `json:"fenced"`
}

func (n *Node) status() any {
	s := Status{Node: n.cfg.NodeID}
	s.RaftLeader, s.RaftTerm = n.cluster.Leader()
	img := n.cluster.Image()
	s.ClusterID, s.ImageIndex, s.Digest = img.ClusterID(), img.Index(), fmt.Sprintf("%016x", img.Digest())
	s.Topics, s.Partitions = img.TopicCount(), img.PartitionCount()
	for _, b := range img.Brokers() {
		bs := BrokerStatus{ID: b.ID, Epoch: b.Epoch, Fenced: b.Fenced}
		if len(b.Listeners) > 0 {
			bs.Addr = fmt.Sprintf("%s:%d", b.Listeners[0].Host, b.Listeners[0].Port)
		}
		s.Brokers = append(s.Brokers, bs)
	}
	return s
}
