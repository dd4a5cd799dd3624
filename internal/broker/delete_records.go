package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/replica"
)

var errCompactOnly = errors.New("the topic has cleanup.policy=compact, without delete: its records go when newer ones have their keys; to delete by offset set cleanup.policy=compact,delete")

// DeleteRecords (key 21), versions 0 to 2, at the leader of each partition: raises the start of
// its log. The answer has the new start, and comes when that is durable.
//
//   - 0: the offset -1 stands for the high watermark.
//   - 1: the same.
//   - 2: flexible.
//
// An offset at or below the start is a success that changes nothing. One above the high watermark is
// OFFSET_OUT_OF_RANGE, a topic that is only compacted POLICY_VIOLATION.
func (b *Broker) deleteRecords(_ *call, req *kmsg.DeleteRecordsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteRecordsResponse()
	var deletions []replica.DeleteRecords
	var answers []*kmsg.DeleteRecordsResponseTopicPartition // of the deletions
	for _, t := range req.Topics {
		rt := kmsg.NewDeleteRecordsResponseTopic()
		rt.Topic, rt.Partitions = t.Topic, make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.Partitions))
		for i, q := range t.Partitions {
			r := &rt.Partitions[i]
			r.Default()
			r.Partition, r.LowWatermark = q.Partition, -1
			p, err := b.deletable(t.Topic, q.Partition)
			if err != nil {
				r.ErrorCode = code(err)
				continue
			}
			deletions, answers = append(deletions, replica.DeleteRecords{Partition: p, Offset: q.Offset}), append(answers, r)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	b.o.Replicas.DeleteRecords(deletions)
	for i := range deletions {
		if err := deletions[i].Err; err != nil {
			answers[i].ErrorCode = code(err)
			continue
		}
		answers[i].LowWatermark = deletions[i].LowWatermark
	}
	return resp
}

// deletable finds a partition whose records users may delete.
func (b *Broker) deletable(topic string, index int32) (*replica.Partition, error) {
	p, err := b.o.Replicas.ByName([]byte(topic), index)
	if err == nil && isInternal(topic) {
		err = errInternal
	}
	if err == nil {
		err = p.Leading(-1)
	}
	if err == nil && p.Config().Compacted() && !p.Config().Deleting() {
		err = errCompactOnly
	}
	return p, err
}
