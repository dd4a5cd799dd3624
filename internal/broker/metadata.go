package broker

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// autoCreateTimeout is how long Metadata waits for topics to be created (docs/adr/0006-metadata-waits-for-topics-it-creates.md). The request
// may be about topics that exist too, and those should not wait for a controller that is not there.
const autoCreateTimeout = 3 * time.Second

// fewTopics is how many topics may be asked for without waiting for others who ask for many.
const fewTopics = 100

// Metadata (key 3), versions 0 to 13, at any broker: the brokers that are alive, and topics with their
// partitions and leaders. Topics that do not exist are created if the client and auto.create.topics.enable
// allow it; unlike Kafka's, the answer waits for that, and has the new topic with its leaders.
//
//   - 0: topics []: all. REPLICA_NOT_AVAILABLE where a replica's broker is down, which is left out then.
//   - 1: topics null: all, []: none. The controller, racks, internal topics.
//   - 2: cluster id. 3: throttle time in the answer.
//   - 4: AllowAutoTopicCreation, without which it is allowed.
//   - 5: offline replicas. 6: the same.
//   - 7: leader epochs (KIP-320).
//   - 8: authorized operations, if the client asks (KIP-430).
//   - 9: flexible.
//   - 10: topic ids in the answer (KIP-516). 11: no authorized operations of the cluster.
//   - 12: topics by their ids.
//   - 13: a code for the whole answer (KIP-1102); it is always 0 here.
func (b *Broker) metadata(c *call, req *kmsg.MetadataRequest) kmsg.Response {
	all := req.Topics == nil || c.version == 0 && len(req.Topics) == 0
	var refused map[string]error
	if !all && b.s.AutoCreateTopics && (req.AllowAutoTopicCreation || c.version < 4) {
		refused = b.autoCreate(c, req.Topics)
	}
	if all || len(req.Topics) > fewTopics {
		// A long answer takes a millisecond of a processor: hundreds who ask for one do not hold up those who write and read.
		if b.answers.Take(c.ctx, 1, 0, memory.Small) != nil {
			return nil
		}
		defer b.answers.Give(1)
	}
	v := metadataView{img: b.ctl.Image(), version: c.version, authorized: req.IncludeTopicAuthorizedOperations}
	resp := kmsg.NewPtrMetadataResponse()
	for _, br := range v.img.Brokers() {
		if !br.Fenced {
			resp.Brokers = append(resp.Brokers, metadataBroker(br))
		}
	}
	id := v.img.ClusterID()
	resp.ClusterID, resp.ControllerID = &id, b.advertisedController(v.img)
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	if all {
		for t := range v.img.Topics() {
			resp.Topics = append(resp.Topics, v.topic(t))
		}
		return resp
	}
	type question struct {
		id   metadata.ID
		name string
	}
	seen := map[question]bool{}
	for _, rt := range req.Topics {
		q := question{rt.TopicID, orEmpty(rt.Topic)}
		if !seen[q] {
			seen[q] = true
			resp.Topics = append(resp.Topics, v.asked(rt, refused[q.name]))
		}
	}
	return resp
}

func metadataBroker(br *metadata.Broker) kmsg.MetadataResponseBroker {
	mb := kmsg.NewMetadataResponseBroker()
	mb.NodeID, mb.Host, mb.Port = br.ID, br.Host(), br.Port()
	if br.Rack != "" {
		mb.Rack = &br.Rack
	}
	return mb
}

// advertisedController is where admin clients send what the controller decides: any
// broker forwards, so it must be one that is alive.
func (b *Broker) advertisedController(img *metadata.Image) int32 {
	node, _ := img.Controller()
	alive := func(id int32) bool { br := img.Broker(id); return br != nil && !br.Fenced }
	if alive(node) {
		return node
	}
	if alive(b.o.NodeID) {
		return b.o.NodeID
	}
	for _, br := range img.Brokers() {
		if !br.Fenced {
			return br.ID
		}
	}
	return -1
}

// metadataView makes topics of the answer, all of one image.
type metadataView struct {
	img        *metadata.Image
	version    int16
	authorized bool
}

// asked answers for a topic that the request names; refused is why it could not be created.
func (v *metadataView) asked(rt kmsg.MetadataRequestTopic, refused error) kmsg.MetadataResponseTopic {
	missing := kmsg.NewMetadataResponseTopic()
	missing.Topic, missing.TopicID = rt.Topic, rt.TopicID
	byID := rt.TopicID != metadata.ID{}
	switch {
	case v.version < 12 && (byID || rt.Topic == nil):
		missing.ErrorCode = codeInvalidRequest // versions 10 and 11 have the field, and no questions by id
		missing.Topic = kmsg.StringPtr(orEmpty(rt.Topic))
	case byID:
		if t := v.img.TopicByID(rt.TopicID); t != nil {
			return v.topic(t)
		}
		missing.Topic, missing.ErrorCode = nil, codeUnknownTopicID
	case rt.Topic == nil:
		missing.ErrorCode = codeUnknownTopicID // neither name nor id
	default:
		if t := v.img.TopicByName(*rt.Topic); t != nil {
			return v.topic(t)
		}
		missing.ErrorCode, missing.IsInternal = codeUnknownTopicOrPartition, isInternal(*rt.Topic)
		if !validTopicName(*rt.Topic) {
			missing.ErrorCode = codeInvalidTopic
		}
		if refused != nil {
			missing.ErrorCode = code(refused)
		}
	}
	return missing
}

// isInternal tells whether a topic is the brokers' own.
func isInternal(name string) bool { return name == group.Topic }

func (v *metadataView) topic(t *metadata.Topic) kmsg.MetadataResponseTopic {
	mt := kmsg.NewMetadataResponseTopic()
	mt.Topic, mt.TopicID, mt.IsInternal = &t.Name, t.ID, isInternal(t.Name)
	if v.authorized {
		mt.AuthorizedOperations = topicOperations
	}
	mt.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i, p := range t.Partitions {
		mt.Partitions[i] = v.partition(p)
	}
	return mt
}

// partition shows a leader only if its broker is among those of the answer.
func (v *metadataView) partition(p *metadata.Partition) kmsg.MetadataResponseTopicPartition {
	mp := kmsg.NewMetadataResponseTopicPartition()
	mp.Partition, mp.LeaderEpoch, mp.Replicas, mp.ISR = p.Index, p.LeaderEpoch, p.Replicas, p.ISR
	for _, id := range p.Replicas {
		if !v.serves(p, id) {
			mp.OfflineReplicas = append(mp.OfflineReplicas, id)
		}
	}
	down := func(id int32) bool { return slices.Contains(mp.OfflineReplicas, id) }
	if v.version == 0 && len(mp.OfflineReplicas) > 0 {
		mp.Replicas = slices.DeleteFunc(slices.Clone(p.Replicas), down)
		mp.ISR = slices.DeleteFunc(slices.Clone(p.ISR), down)
		mp.ErrorCode = codeReplicaNotAvailable
	}
	mp.Leader = p.Leader
	if p.Leader == metadata.NoLeader || down(p.Leader) {
		mp.Leader, mp.ErrorCode = metadata.NoLeader, codeLeaderNotAvailable
	}
	return mp
}

// serves tells whether a replica's broker is alive, with the directory of the replica.
func (v *metadataView) serves(p *metadata.Partition, id int32) bool {
	br := v.img.Broker(id)
	if br == nil || br.Fenced {
		return false
	}
	dir, ok := p.Directory(id)
	return ok && br.Online(dir)
}

// autoCreate creates those of the topics that do not exist, and returns why one could not be created.
func (b *Broker) autoCreate(c *call, topics []kmsg.MetadataRequestTopic) map[string]error {
	img := b.ctl.Image()
	cmd := &clusterv1.CreateTopics{}
	seen := map[string]struct{}{}
	for _, rt := range topics {
		name := orEmpty(rt.Topic)
		if rt.TopicID != (metadata.ID{}) || img.TopicByName(name) != nil || !validTopicName(name) || twice(seen, name) {
			continue
		}
		if isInternal(name) && b.o.Groups != nil {
			cmd.Topics = append(cmd.Topics, b.o.Groups.newTopic())
			continue
		}
		cmd.Topics = append(cmd.Topics, &clusterv1.CreateTopics_Topic{
			Name: name, NumPartitions: b.s.NumPartitions, ReplicationFactor: int32(b.s.DefaultReplicationFactor),
		})
	}
	if len(cmd.Topics) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, autoCreateTimeout)
	defer cancel()
	began := time.Now()
	answer, err := b.ctl.Submit(ctx, &clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{CreateTopics: cmd}})
	c.awaited(began)
	if err == nil {
		err = metadata.AnswerError(answer)
	}
	refused := map[string]error{}
	if err != nil {
		b.seldom.autoCreate.warn(b.log, "topics could not be created as Metadata asked for them", "topics", len(cmd.Topics), "version", c.version, "error", err)
		for _, t := range cmd.Topics {
			refused[t.Name] = errNotCreatedYet
		}
		return refused
	}
	for _, t := range answer.GetCreateTopics().GetTopics() {
		if c := int16(t.GetCode()); c != codeNone && c != codeTopicAlreadyExists {
			refused[t.GetName()] = &metadata.Error{Code: c, Message: t.GetMessage()}
		}
	}
	return refused
}
