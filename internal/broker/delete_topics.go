package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// DeleteTopics (key 20), versions 1 to 6, at any broker, which has the controller decide. A success is
// answered when this broker's own metadata no longer has the topic.
//
//   - 1: throttle time in the answer. 2: the same.
//   - 3: TOPIC_DELETION_DISABLED where delete.topic.enable is off; before, INVALID_REQUEST (KIP-322).
//   - 4: flexible.
//   - 5: an error message. THROTTLING_QUOTA_EXCEEDED among the errors (KIP-599).
//   - 6: topics by their ids (KIP-516).
//
// Left out: quotas.
func (b *Broker) deleteTopics(c *call, req *kmsg.DeleteTopicsRequest) kmsg.Response {
	if c.version < 6 {
		for _, name := range req.TopicNames {
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = &name
			req.Topics = append(req.Topics, t)
		}
	}
	if !b.s.DeleteTopics {
		if c.version < 3 {
			return deleteRefused(req, codeInvalidRequest, "delete.topic.enable is false")
		}
		return deleteRefused(req, codeTopicDeletionDisabled, "delete.topic.enable is false")
	}
	ctx, cancel := c.within(req.TimeoutMillis)
	defer cancel()
	cmd := &clusterv1.DeleteTopics{}
	for i := range req.Topics {
		t := &clusterv1.DeleteTopics_Topic{Name: text(orEmpty(req.Topics[i].Topic))}
		if id := req.Topics[i].TopicID; id != (metadata.ID{}) {
			t.TopicId = id[:]
		}
		cmd.Topics = append(cmd.Topics, t)
	}
	began := time.Now()
	answer, err := b.ctl.Submit(ctx, &clusterv1.Command{Kind: &clusterv1.Command_DeleteTopics{DeleteTopics: cmd}})
	c.awaited(began)
	if err == nil {
		err = metadata.AnswerError(answer)
	}
	if err != nil {
		return deleteRefused(req, submitCode(err), err.Error())
	}
	resp := kmsg.NewPtrDeleteTopicsResponse()
	for _, t := range answer.GetDeleteTopics().GetTopics() {
		deleted := kmsg.NewDeleteTopicsResponseTopic()
		deleted.ErrorCode = int16(t.GetCode())
		copy(deleted.TopicID[:], t.GetTopicId())
		if t.GetName() != "" || c.version < 6 {
			deleted.Topic = kmsg.StringPtr(t.GetName())
		}
		if deleted.ErrorCode != codeNone {
			deleted.ErrorMessage = kmsg.StringPtr(t.GetMessage())
		}
		resp.Topics = append(resp.Topics, deleted)
	}
	return resp
}

func deleteRefused(req *kmsg.DeleteTopicsRequest, errorCode int16, why string) kmsg.Response {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	for _, t := range req.Topics {
		refused := kmsg.NewDeleteTopicsResponseTopic()
		refused.Topic, refused.TopicID, refused.ErrorCode, refused.ErrorMessage = t.Topic, t.TopicID, errorCode, &why
		resp.Topics = append(resp.Topics, refused)
	}
	return resp
}
