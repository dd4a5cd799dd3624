package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch (23), versions 2 to 4: where the records of a leader epoch end, so
// that a reader finds out whether what it has is still there (KIP-320).
//
//	2  the leader epoch that the client knows
//	3  the replica's id: -2 is a consumer's
//	4  flexible
//
// The answer is the largest epoch that is not above the one asked for, and where it ends; -1 and -1
// if there is none, or if the one asked for is newer than the leader's. Of the present epoch the end is the high watermark: a consumer can have
// read no further.
func (b *Broker) offsetForLeaderEpoch(_ *call, req *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			rp.Partition = p.Partition
			var err error
			if rp.LeaderEpoch, rp.EndOffset, err = b.epochEnd(t.Topic, &p); err != nil {
				rp.ErrorCode, rp.LeaderEpoch, rp.EndOffset = code(err), -1, -1
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (b *Broker) epochEnd(topic string, q *kmsg.OffsetForLeaderEpochRequestTopicPartition) (epoch int32, end int64, err error) {
	p, err := b.o.Replicas.ByName([]byte(topic), q.Partition)
	if err != nil {
		return -1, -1, err
	}
	if err := p.Leading(q.CurrentLeaderEpoch); err != nil {
		return -1, -1, err
	}
	log, err := p.Log()
	if err != nil {
		return -1, -1, err
	}
	switch _, current := p.LeaderEpoch(); {
	case q.LeaderEpoch == current:
		return current, p.HighWatermark(), nil
	case q.LeaderEpoch > current:
		return -1, -1, nil
	}
	epoch, end = log.EpochEnd(q.LeaderEpoch)
	return epoch, min(end, p.HighWatermark()), nil
}
