package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// CreateTopics (key 19), versions 2 to 7, at any broker, which has the controller decide. A success is answered when
// this broker's own metadata has the topic.
//
//   - 2: throttle time in the answer. 3: the same.
//   - 4: -1 partitions, -1 replicas: the cluster's defaults (KIP-464). They are taken in 2 and 3 too, as Kafka does.
//   - 5: flexible; the number of partitions and replicas and all settings in the answer (KIP-525).
//   - 6: THROTTLING_QUOTA_EXCEEDED among the errors (KIP-599). 7: topic ids in the answer (KIP-516).
//
// Left out: quotas. A replication factor above 1 is refused with INVALID_REPLICATION_FACTOR.
func (b *Broker) createTopics(c *call, req *kmsg.CreateTopicsRequest) kmsg.Response {
	ctx, cancel := c.within(req.TimeoutMillis)
	defer cancel()
	cmd := &clusterv1.CreateTopics{ValidateOnly: req.ValidateOnly}
	configs := map[string]map[string]string{}
	for i := range req.Topics {
		t, own := newTopic(&req.Topics[i])
		cmd.Topics = append(cmd.Topics, t)
		configs[t.Name] = own
	}
	began := time.Now()
	answer, err := b.ctl.Submit(ctx, &clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{CreateTopics: cmd}})
	c.awaited(began)
	if err == nil {
		err = metadata.AnswerError(answer)
	}
	resp := kmsg.NewPtrCreateTopicsResponse()
	if err != nil {
		for _, t := range req.Topics {
			created := kmsg.NewCreateTopicsResponseTopic()
			created.Topic, created.ErrorCode, created.ErrorMessage = t.Topic, submitCode(err), message(err)
			resp.Topics = append(resp.Topics, created)
		}
		return resp
	}
	for _, t := range answer.GetCreateTopics().GetTopics() {
		resp.Topics = append(resp.Topics, b.createdTopic(t, configs[t.GetName()]))
	}
	return resp
}

// newTopic translates a topic of the request. A setting without a value is the default, so it is left out.
func newTopic(rt *kmsg.CreateTopicsRequestTopic) (*clusterv1.CreateTopics_Topic, map[string]string) {
	t := &clusterv1.CreateTopics_Topic{
		Name: text(rt.Topic), NumPartitions: rt.NumPartitions, ReplicationFactor: int32(rt.ReplicationFactor),
	}
	for _, a := range rt.ReplicaAssignment {
		t.Assignments = append(t.Assignments, &clusterv1.ReplicaAssignment{Partition: a.Partition, BrokerIds: a.Replicas})
	}
	own := map[string]string{}
	for _, e := range rt.Configs {
		if e.Value != nil {
			t.Configs = append(t.Configs, &clusterv1.ConfigEntry{Name: text(e.Name), Value: text(*e.Value)})
			own[e.Name] = *e.Value
		}
	}
	return t, own
}

func (b *Broker) createdTopic(t *clusterv1.CreateTopicsAnswer_Topic, own map[string]string) kmsg.CreateTopicsResponseTopic {
	created := kmsg.NewCreateTopicsResponseTopic()
	created.Topic, created.ErrorCode = t.GetName(), int16(t.GetCode())
	created.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	if created.ErrorCode != codeNone {
		created.ErrorMessage = kmsg.StringPtr(t.GetMessage())
		return created
	}
	copy(created.TopicID[:], t.GetTopicId())
	created.NumPartitions, created.ReplicationFactor = t.GetNumPartitions(), int16(t.GetReplicationFactor())
	for _, e := range b.o.Configs.DescribeTopic(own, int(created.ReplicationFactor)) {
		entry := kmsg.NewCreateTopicsResponseTopicConfig()
		entry.Name, entry.Value, entry.Source = e.Property.Name, orNull(e.Value, e.Null), int8(e.Source)
		entry.ReadOnly, entry.IsSensitive = e.ReadOnly, e.Property.Sensitive()
		created.Configs = append(created.Configs, entry)
	}
	return created
}
