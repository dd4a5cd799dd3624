package node

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/chronik-stream/chronik/internal/admin"
	"github.com/chronik-stream/chronik/internal/broker"
	"github.com/chronik-stream/chronik/internal/cluster"
	"github.com/chronik-stream/chronik/internal/storage"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// controller is the cluster as the broker sees it.
type controller struct{ *cluster.Cluster }

// Quorum implements broker.Controller.
func (c controller) Quorum(ctx context.Context) (broker.Quorum, error) {
	q, err := c.Cluster.Quorum(ctx)
	if err != nil {
		return broker.Quorum{}, err
	}
	out := broker.Quorum{
		LeaderID:      q.Leader,
		LeaderEpoch:   int32(q.Term),
		HighWatermark: int64(q.HighWatermark),
		Voters:        quorumReplicas(q.Voters),
		Observers:     quorumReplicas(q.Observers),
	}
	return out, nil
}

// quorumReplicas gives each replica its Raft address as a host and a port.
func quorumReplicas(in []cluster.QuorumReplica) []broker.QuorumReplica {
	out := make([]broker.QuorumReplica, 0, len(in))
	for _, r := range in {
		q := broker.QuorumReplica{
			ID: r.Node, DirectoryID: r.Directory, LogEndOffset: r.LogEnd, LastFetchMillis: r.LastFetch, LastCaughtUpMilli: r.LastCaughtUp,
		}
		if host, port, err := net.SplitHostPort(r.Address); err == nil {
			q.Host = host
			if p, err := strconv.ParseUint(port, 10, 16); err == nil {
				q.Port = int32(p)
			}
		}
		out = append(out, q)
	}
	return out
}

// logFailed hears that a disk failure has fenced a log. Other logs go on until they
// fail themselves; when the last one has, this node serves nothing any more and ends.
func (n *Node) logFailed(l *storage.Log, err error) {
	n.replicas.OnFail(l, err)
	for _, other := range n.storage.Logs() {
		if other.Err() == nil {
			return
		}
	}
	n.storageErr.Store(&err)
	n.parts.fail("storage", fmt.Errorf("every log in %s has failed, the last one so: %w", n.dir.path, err))
}

// storageError is why the data directory cannot be used; nil while it can.
func (n *Node) storageError() error {
	if err := n.storageErr.Load(); err != nil {
		return *err
	}
	return nil
}

// health is asked before each heartbeat: a broker that cannot store anything must not
// look alive because another goroutine of its process is.
func (n *Node) health() cluster.Health {
	h := cluster.Health{Storage: clusterv1.Storage_STORAGE_OK}
	if n.storageErr.Load() != nil {
		h.Storage = clusterv1.Storage_STORAGE_FAILED
		h.FailedDirectories = [][16]byte{n.dir.id}
	}
	return h
}

// readiness are the checks of this node alone: a kubelet that asks must not take
// a node out of service because another one is down.
func (n *Node) readiness() []admin.Check {
	checks := []admin.Check{{Name: "start", Run: func(context.Context) error {
		if p := n.phase.Load(); *p != "" {
			return fmt.Errorf("waiting until %s", *p)
		}
		return nil
	}}}
	// Whether Raft has a leader is a matter of the whole cluster.
	for _, name := range []string{"cluster-formed", "metadata-image", "broker-unfenced"} {
		checks = append(checks, n.clusterCheck(name))
	}
	return append(checks, admin.Check{Name: "storage", Run: func(context.Context) error { return n.storageError() }})
}

func (n *Node) clusterCheck(name string) admin.Check {
	return admin.Check{Name: name, Run: func(context.Context) error {
		for _, c := range n.cluster.Checks() {
			if c.Name == name {
				return c.Err
			}
		}
		return fmt.Errorf("there is no check %s", name)
	}}
}

// clusterHealth are the checks of the whole cluster as this node knows it, for people and alerts.
func (n *Node) clusterHealth() []admin.Check {
	return append(n.readiness(),
		n.clusterCheck("raft-leader"),
		admin.Check{Name: "disk-space", Run: func(context.Context) error { return n.disk.lack() }},
		admin.Check{Name: "brokers", Run: func(context.Context) error { return fencedBrokers(n.cluster.Image()) }},
		admin.Check{Name: "partitions", Run: func(context.Context) error { return offlinePartitions(n.cluster.Image()) }})
}
