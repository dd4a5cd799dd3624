package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestSizeOf: what a request has been made of is told from its slices and strings.
func TestSizeOf(t *testing.T) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	base := sizeOf(reflect.ValueOf(req))
	req.TopicNames = make([]string, 1000)
	req.TopicNames[3] = "a topic"
	wantEqual(t, "size", sizeOf(reflect.ValueOf(req))-base, 16_000+7)
}

// TestLargeBodies are served as small ones are: in order, whatever kind of row.
func TestLargeBodies(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		const many = 1500 // partitions or topics: more than decodeFreely bytes
		b.topic("t", 1)
		b.groupTopic()
		c := b.dial()
		list := kmsg.NewPtrListOffsetsRequest()
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = "t"
		for range many {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Timestamp = -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		list.Topics = append(list.Topics, rt)
		meta := kmsg.NewPtrMetadataRequest()
		for i := range many {
			mt := kmsg.NewMetadataRequestTopic()
			mt.Topic = kmsg.StringPtr(fmt.Sprint("topic-", i))
			meta.Topics = append(meta.Topics, mt)
		}
		fetch := kmsg.NewPtrOffsetFetchRequest()
		fetch.Group = "g"
		ft := kmsg.NewOffsetFetchRequestTopic()
		ft.Topic, ft.Partitions = "t", make([]int32, 3*many)
		fetch.Topics = append(fetch.Topics, ft)
		meta.AllowAutoTopicCreation = false

		var all bytes.Buffer
		conn := c.conn
		c.conn = &keptBack{Conn: conn, to: &all}
		reads := []func() kmsg.Response{c.send(list, 5), c.send(meta, 8), c.send(fetch, 5), c.send(list, 5)}
		c.conn = conn
		go conn.Write(all.Bytes()) // the responses are read meanwhile: they are more than is on its way at a time
		wantEqual(t, "now", len(reads[0]().(*kmsg.ListOffsetsResponse).Topics[0].Partitions), many)
		wantEqual(t, "alone", len(reads[1]().(*kmsg.MetadataResponse).Topics), many)
		wantEqual(t, "later", len(reads[2]().(*kmsg.OffsetFetchResponse).Topics[0].Partitions), 3*many)
		wantEqual(t, "now", len(reads[3]().(*kmsg.ListOffsetsResponse).Topics[0].Partitions), many)
		synctest.Wait() // a request gives back what it took after its response
		wantEqual(t, "memory taken", b.broker.o.Memory.Used(), 0)

		// A body that cannot be decoded, and a frame longer than its row allows.
		for _, size := range []int{100_000, defaultFrame + 1} {
			c := b.dial()
			frame := make([]byte, size)
			copy(frame, []byte{0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0x10})
			go c.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(size)), frame...)) // is not read to its end
			if !c.closed() {
				t.Errorf("%d bytes of nothing were served", size)
			}
		}
		synctest.Wait()
		wantEqual(t, "memory taken", b.broker.o.Memory.Used(), 0)
	})
}
