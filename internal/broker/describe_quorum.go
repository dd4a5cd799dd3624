package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The topic of the metadata log: by its own name, and by the one that Kafka's clients ask for.
const (
	metadataTopic      = "__raft_metadata"
	kafkaMetadataTopic = "__cluster_metadata"
)

// DescribeQuorum (key 55), versions 0 to 2, at any broker, which asks the leader: the voters of the
// metadata log and how far each is.
//
//   - 0: flexible from the start.
//   - 1: when each replica was heard, and when it had all that the leader had (KIP-836).
//   - 2: directory ids, endpoints of the nodes, error messages (KIP-853).
//
// The log is __raft_metadata; Kafka's admin client asks for __cluster_metadata and is told of the same.
func (b *Broker) describeQuorum(c *call, req *kmsg.DescribeQuorumRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	began := time.Now()
	quorum, err := b.ctl.Quorum(c.ctx)
	c.awaited(began)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = submitCode(err), message(err)
		return resp
	}
	for _, rt := range req.Topics {
		topic := kmsg.NewDescribeQuorumResponseTopic()
		topic.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			part := kmsg.NewDescribeQuorumResponseTopicPartition()
			part.Partition, part.LeaderID = rp.Partition, -1
			if rt.Topic != metadataTopic && rt.Topic != kafkaMetadataTopic || rp.Partition != 0 {
				part.ErrorCode = codeUnknownTopicOrPartition
				part.ErrorMessage = kmsg.StringPtr("only partition 0 of " + metadataTopic + " has a quorum")
			} else {
				part.LeaderID, part.LeaderEpoch, part.HighWatermark = quorum.LeaderID, quorum.LeaderEpoch, quorum.HighWatermark
				part.CurrentVoters = quorumReplicas(quorum.Voters)
				part.Observers = quorumReplicas(quorum.Observers)
			}
			topic.Partitions = append(topic.Partitions, part)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	for _, r := range append(quorum.Voters[:len(quorum.Voters):len(quorum.Voters)], quorum.Observers...) {
		node := kmsg.NewDescribeQuorumResponseNode()
		node.NodeID = r.ID
		if r.Host != "" {
			l := kmsg.NewDescribeQuorumResponseNodeListener()
			l.Name, l.Host, l.Port = "CONTROLLER", r.Host, uint16(r.Port)
			node.Listeners = append(node.Listeners, l)
		}
		resp.Nodes = append(resp.Nodes, node)
	}
	return resp
}

func quorumReplicas(list []QuorumReplica) []kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	var states []kmsg.DescribeQuorumResponseTopicPartitionReplicaState
	for _, r := range list {
		s := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		s.ReplicaID, s.ReplicaDirectoryID, s.LogEndOffset = r.ID, r.DirectoryID, r.LogEndOffset
		s.LastFetchTimestamp, s.LastCaughtUpTimestamp = r.LastFetchMillis, r.LastCaughtUpMilli
		states = append(states, s)
	}
	return states
}
