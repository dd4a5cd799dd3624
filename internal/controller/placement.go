package controller

import (
	"slices"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// maxReplicationFactor is how many replicas a partition can have in this version.
const maxReplicationFactor = 1

func noReplication(asked int) *metadata.Error {
	return metadata.Errorf(metadata.CodeInvalidReplicationFactor,
		"a replication factor of %d was asked for, and replication of partitions is not there yet in this version: use 1", asked)
}

// newReplicas returns the brokers of each partition of a new topic: those that the
// request names, or such as placed.
func (d *decision) newReplicas(t *clusterv1.CreateTopics_Topic) ([][]int32, *metadata.Error) {
	if len(t.GetAssignments()) > 0 {
		return d.assignedReplicas(t)
	}
	partitions, factor := t.GetNumPartitions(), t.GetReplicationFactor()
	if partitions == -1 {
		partitions = d.env.Partitions
	}
	if factor == -1 {
		factor = maxReplicationFactor
	}
	switch {
	case partitions < 1:
		return nil, metadata.Errorf(metadata.CodeInvalidPartitions, "a topic has at least 1 partition, and %d were asked for: use -1 for the cluster's default", partitions)
	case factor < 1:
		return nil, metadata.Errorf(metadata.CodeInvalidReplicationFactor, "a partition has at least 1 replica, and %d were asked for: use -1 for the cluster's default", factor)
	case factor > maxReplicationFactor:
		return nil, noReplication(int(factor))
	}
	return d.place(int(partitions))
}

// place gives each of n new partitions a broker, one after another in the order of
// their ids, beginning at a random one so that small topics spread too.
func (d *decision) place(n int) ([][]int32, *metadata.Error) {
	var active []int32
	for _, b := range d.img.Brokers() {
		if b.Active() {
			active = append(active, b.ID)
		}
	}
	if len(active) == 0 {
		return nil, metadata.Errorf(metadata.CodeInvalidReplicationFactor,
			"none of the %d registered brokers can take a partition now: each is fenced or shutting down", len(d.img.Brokers()))
	}
	start := d.env.Intn(len(active))
	replicas := make([][]int32, n)
	for i := range replicas {
		replicas[i] = []int32{active[(start+i)%len(active)]}
	}
	return replicas, nil
}

// assignedReplicas takes the brokers that a request names for the partitions of a
// new topic.
func (d *decision) assignedReplicas(t *clusterv1.CreateTopics_Topic) ([][]int32, *metadata.Error) {
	if t.GetNumPartitions() != -1 || t.GetReplicationFactor() != -1 {
		return nil, metadata.Errorf(metadata.CodeInvalidRequest,
			"with assigned replicas, the number of partitions and the replication factor follow from them and must be given as -1")
	}
	replicas := make([][]int32, len(t.GetAssignments()))
	for _, a := range t.GetAssignments() {
		n := a.GetPartition()
		if n < 0 || int(n) >= len(replicas) || replicas[n] != nil {
			return nil, metadata.Errorf(metadata.CodeInvalidReplicaAssignment,
				"the assigned partitions must be 0 to %d, each once; partition %d is not", len(replicas)-1, n)
		}
		if err := d.checkAssignment(n, a.GetBrokerIds()); err != nil {
			return nil, err
		}
		replicas[n] = slices.Clone(a.GetBrokerIds())
	}
	return replicas, nil
}

// checkAssignment checks the brokers assigned to one partition.
func (d *decision) checkAssignment(partition int32, brokers []int32) *metadata.Error {
	if len(brokers) == 0 {
		return metadata.Errorf(metadata.CodeInvalidReplicaAssignment, "partition %d is assigned to no broker", partition)
	}
	for i, b := range brokers {
		if slices.Contains(brokers[:i], b) {
			return metadata.Errorf(metadata.CodeInvalidReplicaAssignment, "partition %d is assigned to broker %d twice", partition, b)
		}
		if d.img.Broker(b) == nil {
			return metadata.Errorf(metadata.CodeInvalidReplicaAssignment, "partition %d is assigned to broker %d, which is not registered", partition, b)
		}
	}
	if len(brokers) > maxReplicationFactor {
		return noReplication(len(brokers))
	}
	return nil
}

// newPartition is the first state of a partition: those of its replicas that may
// serve are in sync, since there is nothing to hold yet, and the first of them leads.
func (d *decision) newPartition(index int32, replicas []int32) (*metadata.Partition, *metadata.Error) {
	p := &metadata.Partition{Index: index, Replicas: replicas, Directories: make([]metadata.ID, len(replicas))}
	for _, id := range replicas {
		if b := d.img.Broker(id); b != nil && b.Active() {
			p.ISR = append(p.ISR, id)
		}
	}
	if len(p.ISR) == 0 {
		return nil, metadata.Errorf(metadata.CodeInvalidReplicaAssignment,
			"partition %d is assigned to %v, and none of them can take it now: each is fenced or shutting down", index, replicas)
	}
	p.Leader = p.ISR[0]
	return p, nil
}

// createPartitions adds partitions to topics, all that are asked for of a topic or
// none.
func (d *decision) createPartitions(c *clusterv1.CreatePartitions) (*clusterv1.Answer, *metadata.Error) {
	names := map[string]int{}
	total := 0
	for _, t := range c.GetTopics() {
		names[t.GetName()]++
		total++
		if topic := d.img.TopicByName(t.GetName()); topic != nil {
			total += max(0, int(t.GetCount())-len(topic.Partitions)-1)
		}
	}
	if total > d.env.Limits.Partitions {
		return nil, tooManyPartitions(total, d.env.Limits.Partitions)
	}
	answer := &clusterv1.CreatePartitionsAnswer{}
	for _, t := range c.GetTopics() {
		var err *metadata.Error
		switch times := names[t.GetName()]; {
		case times < 0:
			continue
		case times > 1:
			names[t.GetName()] = -1
			err = metadata.Errorf(metadata.CodeInvalidRequest, "the request names the topic more than once")
		default:
			err = d.addPartitions(t, c.GetValidateOnly())
		}
		result := &clusterv1.CreatePartitionsAnswer_Topic{Name: text(t.GetName())}
		if err != nil {
			result.Code, result.Message = int32(err.Code), err.Message
		}
		answer.Topics = append(answer.Topics, result)
	}
	return &clusterv1.Answer{Kind: &clusterv1.Answer_CreatePartitions{CreatePartitions: answer}}, nil
}

func (d *decision) addPartitions(t *clusterv1.CreatePartitions_Topic, validateOnly bool) *metadata.Error {
	topic := d.img.TopicByName(t.GetName())
	if topic == nil {
		return metadata.Errorf(metadata.CodeUnknownTopicOrPartition, "there is no topic %q", t.GetName())
	}
	have := len(topic.Partitions)
	added := int(t.GetCount()) - have
	if added <= 0 {
		return metadata.Errorf(metadata.CodeInvalidPartitions,
			"the topic %q has %d partitions already and %d were asked for: partitions can only be added", t.GetName(), have, t.GetCount())
	}
	replicas, err := d.addedReplicas(t, have, added)
	if err != nil {
		return err
	}
	var recs []*metadatav1.Record
	for i, brokers := range replicas {
		p, err := d.newPartition(int32(have+i), brokers)
		if err != nil {
			return err
		}
		recs = append(recs, metadata.PartitionRecord(topic.ID, p))
	}
	if !validateOnly {
		d.note(recs...)
	}
	return nil
}

func (d *decision) addedReplicas(t *clusterv1.CreatePartitions_Topic, have, added int) ([][]int32, *metadata.Error) {
	assigned := t.GetAssignments()
	if len(assigned) == 0 {
		return d.place(added)
	}
	if len(assigned) != added {
		return nil, metadata.Errorf(metadata.CodeInvalidReplicaAssignment,
			"%d partitions are added and replicas were assigned to %d", added, len(assigned))
	}
	replicas := make([][]int32, added)
	for i, a := range assigned {
		if err := d.checkAssignment(int32(have+i), a.GetBrokerIds()); err != nil {
			return nil, err
		}
		replicas[i] = slices.Clone(a.GetBrokerIds())
	}
	return replicas, nil
}
