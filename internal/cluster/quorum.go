package cluster

import (
	"context"
	"errors"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/raftrpc"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// QuorumInfo is the state of the metadata quorum as its leader sees it.
type QuorumInfo struct {
	Leader int32
	// Term is the Raft term of the leader: Kafka's leader epoch.
	Term uint64
	// HighWatermark is the index up to which the log is committed.
	HighWatermark uint64
	Voters        []QuorumReplica // sorted by node id
	Observers     []QuorumReplica
}

// QuorumReplica is one copy of the metadata log.
type QuorumReplica struct {
	Node      int32
	Directory [16]byte
	// LogEnd is the index after the last one that the replica is known to have
	// applied, -1 where nothing is known.
	LogEnd int64
	// LastFetch and LastCaughtUp are wall-clock milliseconds, -1 where not known: when
	// the replica was last heard, and when it last had all that the leader had.
	LastFetch    int64
	LastCaughtUp int64
	// Address is where the replica's Raft port is reached; empty where not known.
	Address string
}

// Quorum tells of the voters of __raft_metadata as their leader sees them, after
// a barrier. On another node it asks the leader, until ctx ends.
func (c *Cluster) Quorum(ctx context.Context) (QuorumInfo, error) {
	ctx, cancel := c.whileRunning(ctx)
	defer cancel()
	var last error
	for {
		q, err := c.quorumOnce(ctx)
		if err == nil {
			return q, nil
		}
		if ctx.Err() == nil {
			last = err
		}
		if c.pauseForLeader(ctx, retryLeader) != nil {
			return QuorumInfo{}, c.unanswered(ctx, last)
		}
	}
}

func (c *Cluster) quorumOnce(ctx context.Context) (QuorumInfo, error) {
	leader, _, while := c.leader.get()
	switch leader {
	case 0:
		return QuorumInfo{}, errNoLeader
	case c.o.NodeID:
		return c.quorumHere(ctx)
	}
	ctx, cancel := until(ctx, while)
	defer cancel()
	m, err := clusterv1.NewObserveClient(c.conn(leader)).Quorum(ctx, &clusterv1.QuorumRequest{})
	if err != nil {
		return QuorumInfo{}, err
	}
	return quorumOf(m), nil
}

// quorumHere answers on the leader. The barrier shows that it is one still.
func (c *Cluster) quorumHere(ctx context.Context) (QuorumInfo, error) {
	if err := c.ctl.read(ctx); err != nil {
		return QuorumInfo{}, err
	}
	lead := c.ctl.current()
	if lead == nil {
		return QuorumInfo{}, errNotController
	}
	q := QuorumInfo{Leader: c.o.NodeID, Term: lead.term, HighWatermark: lead.inst.raft.CommitIndex()}
	for _, s := range lead.inst.raft.GetConfiguration().Configuration().Servers {
		node, dir, err := raftrpc.ParseAddress(s.Address)
		if err != nil {
			return QuorumInfo{}, errors.Join(errNotController, err)
		}
		r := c.sessions.replica(node)
		r.Node, r.Directory = node, dir
		if node == c.o.NodeID {
			now := c.o.Clock.NowMillis()
			r.LogEnd, r.LastFetch, r.LastCaughtUp = int64(lead.inst.raft.LastIndex())+1, now, now
			r.Address = c.o.RaftAddr
		} else if addresses, err := c.book.Addresses(node); err == nil {
			r.Address = addresses[0]
		}
		if s.Suffrage == raft.Voter {
			q.Voters = append(q.Voters, r)
		} else {
			q.Observers = append(q.Observers, r)
		}
	}
	byNode := func(a, b QuorumReplica) int { return int(a.Node) - int(b.Node) }
	slices.SortFunc(q.Voters, byNode)
	slices.SortFunc(q.Observers, byNode)
	return q, nil
}

// replica is what heartbeats tell of a node's copy.
func (s *sessions) replica(node int32) QuorumReplica {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byBroker[node]
	if x == nil || x.heard.IsZero() {
		return QuorumReplica{LogEnd: -1, LastFetch: -1, LastCaughtUp: -1}
	}
	return QuorumReplica{LogEnd: int64(x.index) + 1, LastFetch: x.heardMillis, LastCaughtUp: x.caughtUpMillis}
}

func (q QuorumInfo) message() *clusterv1.QuorumResponse {
	m := &clusterv1.QuorumResponse{Leader: q.Leader, Term: q.Term, HighWatermark: q.HighWatermark}
	list := func(replicas []QuorumReplica) (all []*clusterv1.QuorumReplica) {
		for _, r := range replicas {
			all = append(all, &clusterv1.QuorumReplica{
				NodeId: r.Node, DirectoryId: r.Directory[:], LogEnd: r.LogEnd,
				LastFetchMs: r.LastFetch, LastCaughtUpMs: r.LastCaughtUp, RaftAddress: r.Address,
			})
		}
		return all
	}
	m.Voters, m.Observers = list(q.Voters), list(q.Observers)
	return m
}

func quorumOf(m *clusterv1.QuorumResponse) QuorumInfo {
	q := QuorumInfo{Leader: m.GetLeader(), Term: m.GetTerm(), HighWatermark: m.GetHighWatermark()}
	list := func(replicas []*clusterv1.QuorumReplica) (all []QuorumReplica) {
		for _, r := range replicas {
			x := QuorumReplica{
				Node: r.GetNodeId(), LogEnd: r.GetLogEnd(), LastFetch: r.GetLastFetchMs(),
				LastCaughtUp: r.GetLastCaughtUpMs(), Address: r.GetRaftAddress(),
			}
			copy(x.Directory[:], r.GetDirectoryId())
			all = append(all, x)
		}
		return all
	}
	q.Voters, q.Observers = list(m.GetVoters()), list(m.GetObservers())
	return q
}
