package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/replica"
)

// ListOffsets (2), versions 1 to 11: the offset for a timestamp, one a partition.
//
//	2   isolation level
//	4   leader epoch, in both directions
//	6   flexible
//	7   timestamp -3: the record with the greatest timestamp
//	8   -4: the earliest offset on local disks, which is the log start here
//	9   -5: the latest offset in tiered storage: there is none
//	10  a timeout, for tiered storage
//	11  -6: the earliest offset that waits for tiering: there is none
//
// Offsets are those that a consumer may read up to: -1 is the high watermark. A
// special timestamp in a version before its own is UNSUPPORTED_VERSION for its partition, and a partition that is asked for
// again in the same request is INVALID_REQUEST there.

const (
	latestTimestamp          = -1
	earliestTimestamp        = -2
	maxTimestamp             = -3
	earliestLocalTimestamp   = -4
	latestTieredTimestamp    = -5
	earliestPendingTimestamp = -6
)

// sinceVersion is the first version of a special timestamp.
var sinceVersion = map[int64]int16{
	latestTimestamp: 0, earliestTimestamp: 0, maxTimestamp: 7,
	earliestLocalTimestamp: 8, latestTieredTimestamp: 9, earliestPendingTimestamp: 11,
}

func (b *Broker) listOffsets(c *call, req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := kmsg.NewPtrListOffsetsResponse()
	opening, cancel := context.WithTimeout(c.ctx, openWait)
	defer cancel()
	seen := map[topicPartition]struct{}{}
	for _, t := range req.Topics {
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if twice(seen, topicPartition{t.Topic, p.Partition}) { // a look-up by time reads files
				again := kmsg.NewListOffsetsResponseTopicPartition()
				again.Partition, again.ErrorCode = p.Partition, codeInvalidRequest
				rt.Partitions = append(rt.Partitions, again)
				continue
			}
			rt.Partitions = append(rt.Partitions, b.listOffset(opening, c, t.Topic, p))
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (b *Broker) listOffset(opening context.Context, c *call, topic string, q *kmsg.ListOffsetsRequestTopicPartition) kmsg.ListOffsetsResponseTopicPartition {
	r := kmsg.NewListOffsetsResponseTopicPartition()
	r.Partition = q.Partition
	if since, special := sinceVersion[q.Timestamp]; q.Timestamp < 0 && (!special || c.version < since) {
		r.ErrorCode = codeUnsupportedVersion
		return r
	}
	p, err := b.o.Replicas.ByName([]byte(topic), q.Partition)
	if err == nil {
		if p.Opening() { // as Produce and Fetch do: a topic that was created just now is asked for its offsets first
			_ = b.o.Replicas.Wait(opening)
		}
		err = p.Leading(q.CurrentLeaderEpoch)
	}
	if err == nil {
		err = offsetFor(p, q.Timestamp, &r)
	}
	if err != nil {
		r.ErrorCode = code(err)
		r.Offset, r.Timestamp, r.LeaderEpoch = -1, -1, -1
	}
	return r
}

// offsetFor finds the offset for a timestamp, special or not. Offset -1 says there is none.
func offsetFor(p *replica.Partition, timestamp int64, r *kmsg.ListOffsetsResponseTopicPartition) error {
	log, err := p.Log()
	if err != nil {
		return err
	}
	_, epoch := p.LeaderEpoch()
	switch timestamp {
	case latestTimestamp:
		r.Offset, r.LeaderEpoch = p.HighWatermark(), epoch
		return nil
	case earliestTimestamp, earliestLocalTimestamp:
		r.Offset = log.Start()
		r.LeaderEpoch = log.EpochAt(r.Offset)
		if r.LeaderEpoch < 0 {
			r.LeaderEpoch = epoch
		}
		return nil
	case latestTieredTimestamp, earliestPendingTimestamp:
		r.Offset, r.LeaderEpoch = -1, -1
		return nil
	}
	found, err := log.OffsetForTime(timestamp)
	if timestamp == maxTimestamp {
		found, err = log.MaxTimestampOffset()
	}
	if err != nil {
		return err
	}
	if found.Offset < 0 || found.Offset >= p.HighWatermark() {
		r.Offset, r.Timestamp, r.LeaderEpoch = -1, -1, -1
		return nil
	}
	r.Offset, r.Timestamp, r.LeaderEpoch = found.Offset, found.Timestamp, found.LeaderEpoch
	return nil
}
