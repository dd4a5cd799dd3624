package controller

import (
	"math"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// formCluster is the first command of a cluster; again, it does nothing.
func (d *decision) formCluster(c *clusterv1.FormCluster) (*clusterv1.Answer, *metadata.Error) {
	switch id := d.img.ClusterID(); {
	case c.GetClusterId() == "":
		return nil, metadata.Errorf(metadata.CodeInvalidRequest, "a cluster cannot be formed without an id")
	case id == c.GetClusterId():
		return d.ok(), nil
	case id != "":
		return nil, metadata.Errorf(metadata.CodeInconsistentClusterID, "this is the cluster %q; it cannot become %q", id, c.GetClusterId())
	}
	var founders []*clusterv1.Founder
	for _, f := range c.GetFounders() {
		if _, ok := toID(f.GetDirectoryId()); !ok {
			return nil, metadata.Errorf(metadata.CodeInvalidRequest, "founder %d has a directory id of %d bytes", f.GetNodeId(), len(f.GetDirectoryId()))
		}
		founders = append(founders, &clusterv1.Founder{NodeId: f.GetNodeId(), DirectoryId: f.GetDirectoryId()})
	}
	d.note(&metadatav1.Record{Kind: &metadatav1.Record_ClusterFormed{ClusterFormed: &metadatav1.ClusterFormed{
		ClusterId: c.GetClusterId(), Founders: founders, Generation: c.GetGeneration(),
	}}})
	return d.ok(), nil
}

// activateController opens a term.
func (d *decision) activateController(c *clusterv1.ActivateController) (*clusterv1.Answer, *metadata.Error) {
	if _, term := d.img.Controller(); c.GetTerm() < term {
		return nil, metadata.Errorf(metadata.CodeNotController, "the controller of term %d is active; term %d is over", term, c.GetTerm())
	}
	d.note(&metadatav1.Record{Kind: &metadatav1.Record_ControllerActive{ControllerActive: &metadatav1.ControllerActive{
		Node: c.GetNode(), Term: c.GetTerm(),
	}}})
	return d.ok(), nil
}

// repairPartitions looks at every partition once. What it finds was left by a
// controller that ended between two entries of one command.
func (d *decision) repairPartitions() (*clusterv1.Answer, *metadata.Error) {
	for t := range d.img.Topics() {
		for _, p := range t.Partitions {
			if !d.elect(t, p, 0) {
				return d.ok(), nil
			}
		}
	}
	return d.ok(), nil
}

// producerIDBlock is how many producer ids a broker gets at a time, as in Kafka.
const producerIDBlock = 1000

// allocateProducerIDs gives a block of ids that was never given before.
func (d *decision) allocateProducerIDs(c *clusterv1.AllocateProducerIds) (*clusterv1.Answer, *metadata.Error) {
	if _, err := d.registered(c.GetBrokerId(), c.GetBrokerEpoch()); err != nil {
		return nil, err
	}
	first := d.img.NextProducerID()
	if first > math.MaxInt64-producerIDBlock {
		return nil, metadata.Errorf(metadata.CodeUnknownServerError, "all producer ids are given away")
	}
	d.note(&metadatav1.Record{Kind: &metadatav1.Record_ProducerIds{ProducerIds: &metadatav1.ProducerIds{Next: first + producerIDBlock}}})
	return &clusterv1.Answer{Kind: &clusterv1.Answer_AllocateProducerIds{
		AllocateProducerIds: &clusterv1.AllocateProducerIdsAnswer{First: first, Count: producerIDBlock},
	}}, nil
}

// assignDirectories takes a broker's word for where its logs stand durably. From
// then on, a registration without that directory means that the replica is lost.
func (d *decision) assignDirectories(c *clusterv1.AssignDirectories) (*clusterv1.Answer, *metadata.Error) {
	b, err := d.registered(c.GetBrokerId(), c.GetBrokerEpoch())
	if err != nil {
		return nil, err
	}
	answer := &clusterv1.AssignDirectoriesAnswer{}
	for _, a := range c.GetAssignments() {
		r, err := d.assignDirectory(b, a)
		if err != nil {
			answer.Refused = append(answer.Refused, &clusterv1.AssignDirectoriesAnswer_Refused{
				TopicId: a.GetTopicId(), Partition: a.GetPartition(), Code: int32(err.Code), Message: err.Message,
			})
			continue
		}
		if r != nil {
			if !d.room(r) {
				break
			}
			d.record(r)
		}
	}
	return &clusterv1.Answer{More: d.more, Kind: &clusterv1.Answer_AssignDirectories{AssignDirectories: answer}}, nil
}

// assignDirectory returns nil if the directory stands already.
func (d *decision) assignDirectory(b *metadata.Broker, a *clusterv1.AssignDirectories_Assignment) (*metadatav1.Record, *metadata.Error) {
	dir, ok := toID(a.GetDirectoryId())
	if !ok || metadata.ReservedID(dir) || !b.Online(dir) {
		return nil, metadata.Errorf(metadata.CodeInvalidRequest, "broker %d has not registered a directory %x", b.ID, a.GetDirectoryId())
	}
	topic, _ := toID(a.GetTopicId())
	if d.img.TopicByID(topic) == nil {
		return nil, metadata.Errorf(metadata.CodeUnknownTopicID, "there is no topic %s", metadata.FormatID(topic))
	}
	p := d.img.Partition(topic, a.GetPartition())
	if p == nil {
		return nil, metadata.Errorf(metadata.CodeUnknownTopicOrPartition, "topic %s has no partition %d", metadata.FormatID(topic), a.GetPartition())
	}
	old, ok := p.Directory(b.ID)
	switch {
	case !ok:
		return nil, metadata.Errorf(metadata.CodeNotLeaderOrFollower, "broker %d has no replica of %s-%d", b.ID, metadata.FormatID(topic), p.Index)
	case old == dir:
		return nil, nil
	case !b.Online(old):
		return nil, metadata.Errorf(metadata.CodeInvalidRequest,
			"the replica of %s-%d is lost with the directory %x; another must not take its place in silence", metadata.FormatID(topic), p.Index, old)
	}
	n := *p
	n.Directories = replaced(p, b.ID, dir)
	n.PartitionEpoch++
	return changeRecord(topic, p, n), nil
}

func replaced(p *metadata.Partition, broker int32, dir metadata.ID) []metadata.ID {
	dirs := append([]metadata.ID(nil), p.Directories...)
	for i, r := range p.Replicas {
		if r == broker {
			dirs[i] = dir
		}
	}
	return dirs
}
