package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// DescribeTopicPartitions (key 75), version 0, at any broker: topics with their partitions, in order
// of the names and a page at a time. Topics []: all. NextCursor says where the next page begins; the client
// sends it back as the Cursor.
//
// The eligible leader replicas (KIP-966) are empty: a leader is elected from the in-sync replicas alone. A partition
// without a leader has LeaderID -1 and no error, as Kafka's has.
func (b *Broker) describeTopicPartitions(_ *call, req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	img := b.ctl.Image()
	names, from := topicsFrom(img, req)
	if names == nil {
		return describeTopicPartitionsRefused(req)
	}
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	v := metadataView{img: img, version: 13, authorized: true}
	left := min(max(int(req.ResponsePartitionLimit), 1), b.s.DescribedPartitions)
	for i, name := range names {
		if left == 0 {
			resp.NextCursor = cursorAt(name, 0)
			break
		}
		t := img.TopicByName(name)
		if t == nil {
			resp.Topics = append(resp.Topics, unknownTopic(name))
			continue
		}
		first := 0
		if i == 0 {
			first = min(from, len(t.Partitions))
		}
		page := t.Partitions[first:min(first+left, len(t.Partitions))]
		resp.Topics = append(resp.Topics, v.describedTopic(t, page))
		left -= len(page)
		if next := first + len(page); next < len(t.Partitions) {
			resp.NextCursor = cursorAt(name, next)
			break
		}
	}
	return resp
}

// topicsFrom returns the names that the request asks for from its cursor on, in order and each once, and
// the partition with which the first begins. Nil if the cursor is none of the request's.
func topicsFrom(img *metadata.Image, req *kmsg.DescribeTopicPartitionsRequest) (names []string, from int) {
	names = []string{}
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	if len(req.Topics) == 0 {
		for t := range img.Topics() {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	c := req.Cursor
	if c == nil {
		return names, 0
	}
	at, found := slices.BinarySearch(names, c.Topic)
	if c.Partition < 0 || !found && len(req.Topics) > 0 {
		return nil, 0
	}
	if found {
		from = int(c.Partition) // else the topic has been deleted since, and the next one is whole
	}
	return names[at:], from
}

func cursorAt(topic string, partition int) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = topic, int32(partition)
	return &c
}

func unknownTopic(name string) kmsg.DescribeTopicPartitionsResponseTopic {
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.IsInternal, t.ErrorCode, t.AuthorizedOperations = &name, isInternal(name), codeUnknownTopicOrPartition, topicOperations
	if !validTopicName(name) {
		t.ErrorCode = codeInvalidTopic
	}
	return t
}

func (v *metadataView) describedTopic(t *metadata.Topic, page []*metadata.Partition) kmsg.DescribeTopicPartitionsResponseTopic {
	dt := kmsg.NewDescribeTopicPartitionsResponseTopic()
	dt.Topic, dt.TopicID, dt.IsInternal, dt.AuthorizedOperations = &t.Name, t.ID, isInternal(t.Name), topicOperations
	for _, p := range page {
		mp := v.partition(p)
		dp := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		dp.Partition, dp.LeaderID, dp.LeaderEpoch = p.Index, mp.Leader, p.LeaderEpoch
		dp.Replicas, dp.ISR, dp.OfflineReplicas = mp.Replicas, mp.ISR, mp.OfflineReplicas
		dp.EligibleLeaderReplicas, dp.LastKnownELR = []int32{}, []int32{}
		dt.Partitions = append(dt.Partitions, dp)
	}
	return dt
}

// describeTopicPartitionsRefused answers a cursor with a negative partition, or with a topic that is not among those of the request.
func describeTopicPartitionsRefused(req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	for _, t := range req.Topics {
		rt := kmsg.NewDescribeTopicPartitionsResponseTopic()
		rt.Topic, rt.ErrorCode = kmsg.StringPtr(t.Topic), codeInvalidRequest
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
