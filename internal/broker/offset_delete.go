package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
)

// OffsetDelete (key 47), version 0, at the group's coordinator: committed offsets of a group are
// forgotten (KIP-496). That there was none is no error. Offsets of a topic that members of the group are
// subscribed to are GROUP_SUBSCRIBED_TO_TOPIC; a group of members that are not consumers is NON_EMPTY_GROUP.
func (b *Broker) offsetDelete(_ *call, req *kmsg.OffsetDeleteRequest, r *reply) {
	img := b.ctl.Image()
	resp := kmsg.NewPtrOffsetDeleteResponse()
	var partitions []group.TopicPartition
	var at [][2]int // where the verdict on each goes: indexes of topic and partition in resp
	for i, rt := range req.Topics {
		topic := kmsg.NewOffsetDeleteResponseTopic()
		topic.Topic = rt.Topic
		known := img.TopicByName(rt.Topic)
		for j, rp := range rt.Partitions {
			part := kmsg.NewOffsetDeleteResponseTopicPartition()
			part.Partition = rp.Partition
			if known == nil || rp.Partition < 0 || int(rp.Partition) >= len(known.Partitions) {
				part.ErrorCode = codeUnknownTopicOrPartition
			} else {
				at = append(at, [2]int{i, j})
				partitions = append(partitions, group.TopicPartition{Topic: rt.Topic, Partition: rp.Partition})
			}
			topic.Partitions = append(topic.Partitions, part)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	answer := func(a group.CommitAnswer) {
		if errors.Is(a.Err, shards.ErrTooLarge) {
			a.Err = errCommitTooLarge
		}
		if resp.ErrorCode = code(a.Err); a.Err != nil {
			resp.Topics = nil
		}
		for k, err := range a.Errs {
			resp.Topics[at[k][0]].Partitions[at[k][1]].ErrorCode = code(err)
		}
		r.send(resp)
	}
	b.o.Groups.submit(req.Group,
		func(m *group.Machine, now shards.Now) shards.Result {
			return m.DeleteOffsets(now, req.Group, partitions, answer)
		},
		func(err error) { answer(group.CommitAnswer{Err: err}) })
}
