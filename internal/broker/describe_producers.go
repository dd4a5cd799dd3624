package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeProducers (key 61), version 0, at the leader of each partition: the producer ids that the
// log knows, in order, each with its epoch, its last sequence and the open transaction. An id that
// has been silent for producer.id.expiration.ms is not among them.
func (b *Broker) describeProducers(_ *call, req *kmsg.DescribeProducersRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeProducersResponse()
	for _, t := range req.Topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = t.Topic
		for _, index := range t.Partitions {
			rt.Partitions = append(rt.Partitions, b.producersOf(t.Topic, index))
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (b *Broker) producersOf(topic string, index int32) kmsg.DescribeProducersResponseTopicPartition {
	r := kmsg.NewDescribeProducersResponseTopicPartition()
	r.Partition = index
	p, err := b.o.Replicas.ByName([]byte(topic), index)
	if err == nil {
		err = p.Leading(-1)
	}
	if err != nil {
		r.ErrorCode, r.ErrorMessage = code(err), message(err)
		return r
	}
	log, err := p.Log()
	if err != nil {
		r.ErrorCode, r.ErrorMessage = code(err), message(err)
		return r
	}
	for _, s := range log.Producers() {
		a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		a.ProducerID, a.ProducerEpoch = s.ProducerID, int32(s.Epoch)
		a.LastSequence, a.LastTimestamp = s.LastSequence, s.LastTimestamp
		a.CoordinatorEpoch, a.CurrentTxnStartOffset = s.CoordinatorEpoch, s.TxnStartOffset
		r.ActiveProducers = append(r.ActiveProducers, a)
	}
	return r
}
