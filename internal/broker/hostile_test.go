package broker

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAskedForAgain: what costs more to answer than to ask for is answered once in a request.
func TestAskedForAgain(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("t", 2)
		c := b.dial()
		list := kmsg.NewPtrListOffsetsRequest()
		for range 2 {
			rt := kmsg.NewListOffsetsRequestTopic()
			rt.Topic = "t"
			for _, index := range []int32{0, 1, 0} {
				rp := kmsg.NewListOffsetsRequestTopicPartition()
				rp.Partition, rp.Timestamp = index, 5
				rt.Partitions = append(rt.Partitions, rp)
			}
			list.Topics = append(list.Topics, rt)
		}
		var codes []int16
		for _, rt := range do[*kmsg.ListOffsetsResponse](c, list, 7).Topics {
			for _, rp := range rt.Partitions {
				codes = append(codes, rp.ErrorCode)
			}
		}
		again := codeInvalidRequest
		wantEqual(t, "ListOffsets", fmt.Sprint(codes), fmt.Sprint([]int16{0, 0, again, again, again, again}))

		producers := kmsg.NewPtrDescribeProducersRequest()
		rt := kmsg.NewDescribeProducersRequestTopic()
		rt.Topic, rt.Partitions = "t", []int32{1, 0, 1}
		producers.Topics = append(producers.Topics, rt)
		codes = nil
		for _, rp := range do[*kmsg.DescribeProducersResponse](c, producers, 0).Topics[0].Partitions {
			codes = append(codes, rp.ErrorCode)
		}
		wantEqual(t, "DescribeProducers", fmt.Sprint(codes), fmt.Sprint([]int16{0, 0, again}))
	})
}

// TestManyUnknownTopics: as many names as a frame can hold are looked through once, not each against all.
func TestManyUnknownTopics(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long")
	}
	inBox(t, func(t *testing.T, b *box) {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = true
		for i := range 90_000 {
			mt := kmsg.NewMetadataRequestTopic()
			mt.Topic = kmsg.StringPtr(fmt.Sprintf("t%06x", i))
			req.Topics = append(req.Topics, mt)
		}
		resp := do[*kmsg.MetadataResponse](b.dial(), req, 8)
		wantEqual(t, "topics in the answer", len(resp.Topics), len(req.Topics))
		wantEqual(t, "topics that were created", b.ctl.Image().TopicCount(), 0)
	})
}

// TestLookedForInVain: to look for a property that does not exist goes through all that do, so that is bounded too.
func TestLookedForInVain(t *testing.T) {
	if testing.Short() {
		t.Skip("as much as one request may cost")
	}
	inBox(t, func(t *testing.T, b *box) {
		req := kmsg.NewPtrDescribeConfigsRequest()
		for range 40_000 {
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeBroker, "1", []string{"x"}
			req.Resources = append(req.Resources, r)
		}
		described := 0
		for _, r := range do[*kmsg.DescribeConfigsResponse](b.dial(), req, 4).Resources {
			if r.ErrorCode == codeNone {
				described++
			}
		}
		if described == 0 || described > 5000 {
			t.Errorf("%d resources were described", described)
		}
	})
}

// TestMessagesAreShort: what a client has sent is quoted in its answer, in older versions in a string of at most 32,767 bytes.
func TestMessagesAreShort(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("t", 1)
		c := b.dial()
		for _, name := range []string{strings.Repeat("n", math.MaxInt16), strings.Repeat("\x00", math.MaxInt16), strings.Repeat("a\xff", math.MaxInt16/2)} {
			describe := kmsg.NewPtrDescribeConfigsRequest()
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
			describe.Resources = append(describe.Resources, r)
			do[*kmsg.DescribeConfigsResponse](c, describe, 1)

			alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
			for _, resource := range []string{"t", name} {
				r := kmsg.NewIncrementalAlterConfigsRequestResource()
				r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, resource
				e := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
				e.Name, e.Value = name, &name
				r.Configs = append(r.Configs, e)
				alter.Resources = append(alter.Resources, r)
			}
			do[*kmsg.IncrementalAlterConfigsResponse](c, alter, 0)

			create := kmsg.NewPtrCreateTopicsRequest()
			rt := kmsg.NewCreateTopicsRequestTopic()
			rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, 1, 1
			create.Topics = append(create.Topics, rt)
			do[*kmsg.CreateTopicsResponse](c, create, 2)

			remove := kmsg.NewPtrDeleteTopicsRequest()
			remove.TopicNames = []string{name}
			do[*kmsg.DeleteTopicsResponse](c, remove, 1)

			grow := kmsg.NewPtrCreatePartitionsRequest()
			gt := kmsg.NewCreatePartitionsRequestTopic()
			gt.Topic, gt.Count = name, 2
			grow.Topics = append(grow.Topics, gt)
			do[*kmsg.CreatePartitionsResponse](c, grow, 0)
		}
	})
}

// TestManyPartitions: a Produce or a Fetch of many partitions takes memory of the account until it is answered, and does not
// make others wait for that for long.
func TestManyPartitions(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("t", 1)
		const n = 5000
		account := b.broker.o.Memory

		produce := kmsg.NewPtrProduceRequest()
		produce.Acks, produce.TimeoutMillis = 1, 1000
		pt := kmsg.NewProduceRequestTopic()
		pt.Topic = "nope"
		for i := range int32(n) {
			pp := kmsg.NewProduceRequestTopicPartition()
			pp.Partition, pp.Records = i, []byte{}
			pt.Partitions = append(pt.Partitions, pp)
		}
		produce.Topics = append(produce.Topics, pt)
		fetch := kmsg.NewPtrFetchRequest()
		fetch.ReplicaID, fetch.SessionEpoch, fetch.MaxWaitMillis, fetch.MinBytes = -1, -1, math.MaxInt32, 1
		ft := kmsg.NewFetchRequestTopic()
		ft.Topic = "t"
		for range n {
			ft.Partitions = append(ft.Partitions, kmsg.NewFetchRequestTopicPartition())
		}
		fetch.Topics = append(fetch.Topics, ft)

		produced, fetched := b.dial().send(produce, 8), b.dial().send(fetch, 11)
		wantEqual(t, "partitions in the answer", len(produced().(*kmsg.ProduceResponse).Topics[0].Partitions), n)
		synctest.Wait()
		if held := account.Used(); held < n*partitionBytes {
			t.Errorf("%d bytes are held for a fetch that waits", held)
		}
		start := time.Now()
		wantEqual(t, "partitions in the answer", len(fetched().(*kmsg.FetchResponse).Topics[0].Partitions), n)
		if waited := time.Since(start); waited > manyWait {
			t.Errorf("waited for %v", waited)
		}
		synctest.Wait()
		wantEqual(t, "memory taken", account.Used(), 0)
	})
}
