package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadataTopic is the name Kafka's tools ask the quorum's state under.
const metadataTopic = "__cluster_metadata"

func (g *globals) cluster() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Show how a cluster is, what it serves, and its disks"}
	c := g.clientFlags(cmd)
	return parent(cmd, c.clusterStatus(), c.clusterAPIVersions(), c.clusterDisk())
}

// clusterState is what cluster status shows.
type clusterState struct {
	ClusterID  string      `json:"clusterId"`
	Healthy    bool        `json:"healthy"`
	Problems   []string    `json:"problems"`
	Leader     int32       `json:"leader"` // of the metadata quorum; -1: none
	Term       int32       `json:"term"`
	Committed  int64       `json:"committed"`
	Nodes      []nodeState `json:"nodes"`
	Topics     int         `json:"topics"`
	Partitions int         `json:"partitions"`
	Leaderless []string    `json:"leaderless"`
}

type nodeState struct {
	ID        int32  `json:"id"`
	Addr      string `json:"addr"`
	Rack      string `json:"rack,omitempty"`
	Fenced    bool   `json:"fenced"`
	Unreached string `json:"unreached,omitempty"` // why the address that clients are told cannot be connected to from here
	Voter     bool   `json:"voter"`
	Leader    bool   `json:"leader"`
	LogEnd    int64  `json:"logEnd"` // of its metadata log, as the leader knows it; -1: not known
}

func (c *client) clusterStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show nodes, the metadata quorum, and partitions without a leader",
		Long: "Shows the nodes of the cluster, the Raft quorum that keeps its metadata, and which partitions have no leader.\n" +
			"The exit code is 0 if all is well and 3 if not.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.run(cmd, false, func(ctx context.Context) error {
				s, err := c.clusterState(ctx)
				if err != nil {
					return err
				}
				r := result{value: s, table: s.table}
				for _, n := range s.Nodes {
					r.names = append(r.names, fmt.Sprint(n.ID))
				}
				if err := c.print(r); err != nil {
					return err
				}
				if !s.Healthy {
					return &exitError{exitUnhealthy, errReported}
				}
				return nil
			})
		},
	}
}

// clusterState asks for the cluster, its quorum and its topics. It asks one node that answers, and
// leaves no choice to the client library, which would also try nodes that are gone.
func (c *client) clusterState(ctx context.Context) (*clusterState, error) {
	s := &clusterState{Leader: -1, Term: -1, Committed: -1, Problems: []string{}, Nodes: []nodeState{}, Leaderless: []string{}}
	var failed error
	for _, b := range c.kgo.SeedBrokers() {
		if failed = s.ask(ctx, b, min(2*time.Second, c.timeout/2)); failed == nil {
			break
		}
	}
	if failed != nil {
		return nil, failed
	}
	slices.SortFunc(s.Nodes, func(a, b nodeState) int { return cmp.Compare(a.ID, b.ID) })
	s.dial(ctx)
	s.judge()
	return s, nil
}

// ask fills the state with what one node knows. What the quorum has to say is waited for no longer
// than patience: without a majority nobody says it, and the rest is shown all the same.
func (s *clusterState) ask(ctx context.Context, b *kgo.Broker, patience time.Duration) error {
	if err := s.brokers(ctx, b); err != nil {
		return err
	}
	if err := s.topics(ctx, b); err != nil {
		return err
	}
	// Last: a node answers a connection's requests in order, and this one may wait.
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.quorum(limited, b); limited.Err() != nil && ctx.Err() == nil {
		s.Problems = append(s.Problems, "the metadata quorum has no leader: a majority of the voters must be running")
	} else if err != nil {
		s.Problems = append(s.Problems, "the metadata quorum does not answer: "+kafkaError(err, ""))
	}
	return nil
}

func (s *clusterState) brokers(ctx context.Context, b *kgo.Broker) error {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeFencedBrokers = true
	resp, err := b.RetriableRequest(ctx, req)
	if err != nil {
		return err
	}
	described := resp.(*kmsg.DescribeClusterResponse)
	if err := brokerError(described.ErrorCode, described.ErrorMessage); err != nil {
		return err
	}
	s.ClusterID, s.Nodes = described.ClusterID, []nodeState{}
	for _, b := range described.Brokers {
		n := nodeState{ID: b.NodeID, Addr: net.JoinHostPort(b.Host, fmt.Sprint(b.Port)), Fenced: b.IsFenced, LogEnd: -1}
		if b.Rack != nil {
			n.Rack = *b.Rack
		}
		s.Nodes = append(s.Nodes, n)
	}
	return nil
}

func (s *clusterState) topics(ctx context.Context, b *kgo.Broker) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil // all
	resp, err := b.RetriableRequest(ctx, req)
	if err != nil {
		return err
	}
	s.Topics, s.Partitions, s.Leaderless = 0, 0, []string{}
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		s.Topics++
		for _, p := range t.Partitions {
			s.Partitions++
			if p.Leader < 0 && t.Topic != nil {
				s.Leaderless = append(s.Leaderless, fmt.Sprintf("%s-%d", *t.Topic, p.Partition))
			}
		}
	}
	slices.Sort(s.Leaderless)
	return nil
}

// dial connects to every node at the address that clients are told, which is what goes wrong first.
func (s *clusterState) dial(ctx context.Context) {
	var all sync.WaitGroup
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Addr == "-" {
			continue
		}
		all.Go(func() {
			conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", n.Addr)
			if err != nil {
				n.Unreached = cause(err).Error()
				return
			}
			conn.Close()
		})
	}
	all.Wait()
}

// quorum adds who leads and votes.
func (s *clusterState) quorum(ctx context.Context, b *kgo.Broker) error {
	q, err := quorumOf(ctx, b)
	if err != nil {
		return err
	}
	s.Leader, s.Term, s.Committed = q.LeaderID, q.LeaderEpoch, q.HighWatermark
	node := func(id int32) *nodeState {
		for i := range s.Nodes {
			if s.Nodes[i].ID == id {
				return &s.Nodes[i]
			}
		}
		s.Nodes = append(s.Nodes, nodeState{ID: id, Addr: "-", Fenced: true, LogEnd: -1}) // a voter that has not registered
		return &s.Nodes[len(s.Nodes)-1]
	}
	for _, v := range q.CurrentVoters {
		n := node(v.ReplicaID)
		n.Voter, n.LogEnd, n.Leader = true, v.LogEndOffset, v.ReplicaID == q.LeaderID
	}
	for _, v := range q.Observers {
		node(v.ReplicaID).LogEnd = v.LogEndOffset
	}
	return nil
}

// quorumOf asks one node for the state of the metadata log's replicas.
func quorumOf(ctx context.Context, b *kgo.Broker) (*kmsg.DescribeQuorumResponseTopicPartition, error) {
	resp, err := b.Request(ctx, quorumRequest())
	if err != nil {
		return nil, err
	}
	return quorumAnswer(resp.(*kmsg.DescribeQuorumResponse))
}

func quorumRequest() *kmsg.DescribeQuorumRequest {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = metadataTopic
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	return req
}

func quorumAnswer(resp *kmsg.DescribeQuorumResponse) (*kmsg.DescribeQuorumResponseTopicPartition, error) {
	if err := brokerError(resp.ErrorCode, resp.ErrorMessage); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errors.New("the answer about the metadata quorum is empty")
	}
	p := &resp.Topics[0].Partitions[0]
	return p, brokerError(p.ErrorCode, p.ErrorMessage)
}

// brokerError makes an error of a code and the message that came with it.
func brokerError(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err != nil && message != nil && *message != "" {
		return errors.New(kafkaError(err, *message))
	}
	return err
}

// judge lists what is wrong.
func (s *clusterState) judge() {
	if s.Leader < 0 && len(s.Problems) == 0 {
		s.Problems = append(s.Problems, "the metadata quorum has no leader: a majority of the voters must be running")
	}
	var fenced []int32
	for _, n := range s.Nodes {
		switch {
		case n.Fenced:
			fenced = append(fenced, n.ID)
		case n.Unreached != "":
			s.Problems = append(s.Problems, fmt.Sprintf("node %d cannot be reached from here at %s, the address clients are told: %s", n.ID, n.Addr, n.Unreached))
		}
	}
	if len(fenced) > 0 {
		s.Problems = append(s.Problems, fmt.Sprintf("not serving: node %s; start it, or see its log", ids(fenced)))
	}
	if n := len(s.Leaderless); n > 0 {
		shown := s.Leaderless[:min(n, 5)]
		more := ""
		if n > len(shown) {
			more = fmt.Sprintf(" and %d more", n-len(shown))
		}
		s.Problems = append(s.Problems, fmt.Sprintf("%s without a leader: %s%s", plural(n, "partition"), strings.Join(shown, ", "), more))
	}
	s.Healthy = len(s.Problems) == 0
}

func (s *clusterState) table(t *table) {
	state := "healthy"
	if !s.Healthy {
		state = "not healthy"
	}
	t.line("cluster %s: %s", s.ClusterID, state)
	for _, p := range s.Problems {
		t.line("  %s", p)
	}
	leader := "no leader"
	if s.Leader >= 0 {
		leader = fmt.Sprintf("leader %d, term %d, committed %d", s.Leader, s.Term, s.Committed)
	}
	t.line("metadata: %s", leader)
	t.line("topics: %d with %s", s.Topics, plural(s.Partitions, "partition"))
	t.head("NODE", "ADDRESS", "STATE", "QUORUM", "METADATA LOG", "RACK")
	for _, n := range s.Nodes {
		state, quorum, end := "serving", "observer", "-"
		if s.Term < 0 {
			quorum = "-" // nobody has said
		}
		if n.Unreached != "" {
			state = "unreachable"
		}
		if n.Fenced {
			state = "fenced"
		}
		if n.Voter {
			quorum = "voter"
		}
		if n.Leader {
			quorum = "leader"
		}
		if n.LogEnd >= 0 {
			end = fmt.Sprint(n.LogEnd)
		}
		t.row(n.ID, n.Addr, state, quorum, end, orDash(n.Rack))
	}
}
