package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeProducers (key 61), version 0, at the leader of each partition: the producer ids that the
// log knows, in order, each with its epoch, its last sequence and the open transaction. An id that
// has been silent for producer.id.expiration.ms is not among them. A partition that is asked for again in the same request is
// INVALID_REQUEST there.
func (b *Broker) describeProducers(_ *call, req *kmsg.DescribeProducersRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeProducersResponse()
	seen := map[topicPartition]struct{}{}
	for _, t := range req.Topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = t.Topic
		for _, index := range t.Partitions {
			if twice(seen, topicPartition{t.Topic, index}) {
				rt.Partitions = append(rt.Partitions, noProducers(index, errTwice))
				continue
			}
			rt.Partitions = append(rt.Partitions, b.producersOf(t.Topic, index))
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (b *Broker) producersOf(topic string, index int32) kmsg.DescribeProducersResponseTopicPartition {
	p, err := b.o.Replicas.ByName([]byte(topic), index)
	if err == nil {
		err = p.Leading(-1)
	}
	if err != nil {
		return noProducers(index, err)
	}
	log, err := p.Log()
	if err != nil {
		return noProducers(index, err)
	}
	r := kmsg.NewDescribeProducersResponseTopicPartition()
	r.Partition = index
	for _, s := range log.Producers() {
		a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		a.ProducerID, a.ProducerEpoch = s.ProducerID, int32(s.Epoch)
		a.LastSequence, a.LastTimestamp = s.LastSequence, s.LastTimestamp
		a.CoordinatorEpoch, a.CurrentTxnStartOffset = s.CoordinatorEpoch, s.TxnStartOffset
		r.ActiveProducers = append(r.ActiveProducers, a)
	}
	return r
}

func noProducers(index int32, err error) kmsg.DescribeProducersResponseTopicPartition {
	r := kmsg.NewDescribeProducersResponseTopicPartition()
	r.Partition, r.ErrorCode, r.ErrorMessage = index, code(err), message(err)
	return r
}
