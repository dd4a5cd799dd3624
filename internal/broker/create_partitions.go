package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// CreatePartitions (key 37), versions 0 to 3, at any broker, which has the controller decide. Topics
// only grow. A success is answered when this broker's own metadata has the new partitions.
//
//   - 1: the same.
//   - 2: flexible.
//   - 3: THROTTLING_QUOTA_EXCEEDED among the errors (KIP-599).
//
// Internal topics do not grow: which partition keeps a group follows from their number, so
// every group would lose its offsets. Left out: quotas.
func (b *Broker) createPartitions(c *call, req *kmsg.CreatePartitionsRequest) kmsg.Response {
	ctx, cancel := c.within(req.TimeoutMillis)
	defer cancel()
	cmd := &clusterv1.CreatePartitions{ValidateOnly: req.ValidateOnly}
	resp := kmsg.NewPtrCreatePartitionsResponse()
	for _, rt := range req.Topics {
		if isInternal(rt.Topic) {
			resp.Topics = append(resp.Topics, grown(rt.Topic, codeInvalidRequest,
				"the number of partitions of "+rt.Topic+" cannot be changed: groups would no longer find their offsets"))
			continue
		}
		t := &clusterv1.CreatePartitions_Topic{Name: text(rt.Topic), Count: rt.Count}
		for _, a := range rt.Assignment {
			t.Assignments = append(t.Assignments, &clusterv1.ReplicaAssignment{BrokerIds: a.Replicas})
		}
		cmd.Topics = append(cmd.Topics, t)
	}
	if len(cmd.Topics) == 0 {
		return resp
	}
	began := time.Now()
	answer, err := b.ctl.Submit(ctx, &clusterv1.Command{Kind: &clusterv1.Command_CreatePartitions{CreatePartitions: cmd}})
	c.awaited(began)
	if err == nil {
		err = metadata.AnswerError(answer)
	}
	if err != nil {
		for _, t := range cmd.Topics {
			resp.Topics = append(resp.Topics, grown(t.Name, submitCode(err), err.Error()))
		}
		return resp
	}
	for _, t := range answer.GetCreatePartitions().GetTopics() {
		resp.Topics = append(resp.Topics, grown(t.GetName(), int16(t.GetCode()), t.GetMessage()))
	}
	return resp
}

func grown(topic string, errorCode int16, why string) kmsg.CreatePartitionsResponseTopic {
	t := kmsg.NewCreatePartitionsResponseTopic()
	t.Topic, t.ErrorCode = topic, errorCode
	if errorCode != codeNone {
		t.ErrorMessage = &why
	}
	return t
}
