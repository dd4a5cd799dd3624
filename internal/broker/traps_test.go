package broker

import (
	"encoding/binary"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/wire"
)

// The traps of Kafka's protocol, by the numbers of the list in which they were gathered, that no other file
// has: what has gone wrong in other brokers at least once.

// writeRaw sends a frame as it is, whatever it is.
func (c *rawConn) writeRaw(frame []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)); err != nil {
		c.t.Fatal(err)
	}
}

// readRaw reads a response's frame.
func (c *rawConn) readRaw() []byte {
	c.t.Helper()
	size := make([]byte, 4)
	if _, err := io.ReadFull(c.conn, size); err != nil {
		c.t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size))
	if _, err := io.ReadFull(c.conn, body); err != nil {
		c.t.Fatal(err)
	}
	return body
}

// TestTrap01_TheHeaderOfApiVersionsHasNoTags, though its body is flexible from version 3 on: the error code follows the correlation id.
func TestTrap01_TheHeaderOfApiVersionsHasNoTags(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		for v := int16(0); v <= 5; v++ {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion = "a", "1"
			req.SetVersion(v)
			frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 258)
			c.writeRaw(frame[4:])
			got := c.readRaw()
			wantEqual(t, fmt.Sprint("version ", v, ": correlation id and code"), got[:6], []byte{0, 0, 1, 2, 0, 0})
			count := binary.BigEndian.Uint32(got[6:])
			if v >= 3 {
				count = uint32(got[6]) - 1
			}
			wantEqual(t, fmt.Sprint("version ", v, ": rows"), count, len(apis()))
		}
	})
}

// everyVersion asks for every version of every API as kmsg makes its request by default, and gives what comes to check.
func everyVersion(b *box, check func(row, kmsg.Response)) {
	b.groupTopic()
	for _, r := range apis() {
		c := b.dial()
		for v := r.min; v <= r.max; v++ {
			req := kmsg.RequestForKey(r.key)
			if r.key == produceKey && v < minProduce {
				continue // trap 28
			}
			switch q := req.(type) {
			case *kmsg.ProduceRequest:
				q.Acks = acksAll
			case *kmsg.ApiVersionsRequest:
				q.ClientSoftwareName, q.ClientSoftwareVersion = "a", "1"
			}
			check(r, c.send(req, v)())
		}
	}
}

// TestTrap07_EveryAdvertisedVersionIsServed with a response that kmsg reads to its end.
func TestTrap07_EveryAdvertisedVersionIsServed(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		everyVersion(b, func(r row, resp kmsg.Response) {
			wantEqual(t, "key of a response", resp.Key(), r.key)
		})
	})
}

// TestTrap09_NullIsNotEmpty: arrays that a client sends as null, where the protocol has no null, are
// empty; where it has, null is all.
func TestTrap09_NullIsNotEmpty(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		c := b.dial()
		// CreateTopics version 2 for "t": 1 partition, 1 replica, assignments and configs null.
		c.writeRaw([]byte{
			0, 19, 0, 2, 0, 0, 0, 9, 0xff, 0xff, // header, client id null
			0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			0, 0, 0x75, 0x30, 0, // timeout, validate only
		})
		wantEqual(t, "created", c.readRaw(), []byte{0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0xff, 0xff})
		wantEqual(t, "partitions", len(b.ctl.Image().TopicByName("t").Partitions), 1)
		// The same in version 5, with compact arrays.
		c.writeRaw([]byte{
			0, 19, 0, 5, 0, 0, 0, 10, 0xff, 0xff, 0,
			2, 2, 'u', 0, 0, 0, 1, 0, 1, 0, 0, 0,
			0, 0, 0x75, 0x30, 0, 0,
		})
		wantEqual(t, "created", c.readRaw()[:9], []byte{0, 0, 0, 10, 0, 0, 0, 0, 0})
		wantEqual(t, "partitions", len(b.ctl.Image().TopicByName("u").Partitions), 1)
		// A Produce whose topics are null has nothing to do, one whose records are null nothing to append.
		c.writeRaw([]byte{0, 0, 0, 7, 0, 0, 0, 11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x75, 0x30, 0xff, 0xff, 0xff, 0xff})
		wantEqual(t, "produced nothing", c.readRaw(), []byte{0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0})
		wantEqual(t, "null topics", names(metadataOf(c, 9)), []string{"t", "u", "x"})
	})
}

// TestTrap10_ResponsesLeaveInOrder, whatever finishes first: a fetch that waits, a produce that waits for
// the disk, a request for the controller, and one that is answered at once.
func TestTrap10_ResponsesLeaveInOrder(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		var reads []func() kmsg.Response
		for i := range 3 {
			fetch := fetchOf(topic, int64(i), func(q *kmsg.FetchRequest) { q.MaxWaitMillis, q.MinBytes = 50, 1<<20 })
			reads = append(reads, c.send(fetch, 11))
			reads = append(reads, c.send(produceOf(topic, acksAll, batchOf(t, nil, "x")), 9))
			list := kmsg.NewPtrMetadataRequest()
			reads = append(reads, c.send(list, 9))
			versions := kmsg.NewPtrApiVersionsRequest()
			reads = append(reads, c.send(versions, 2))
		}
		for _, read := range reads { // each checks that the correlation id is its own
			read()
		}
	}, func(b *box) {
		b.flush = 5 * time.Millisecond
		b.mount(b.fs)
	})
}

// TestTrap13_MinimumsOfOldClients: librdkafka before 2.11.1 takes a feature for missing if the one version
// that it knows of it is not in the range, even if all later ones are.
func TestTrap13_MinimumsOfOldClients(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		ranges := map[int16][2]int16{}
		for _, k := range askVersions(b.dial(), 0).ApiKeys {
			ranges[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
		}
		for _, x := range []struct{ key, version int16 }{
			{0, 2}, {0, 3}, {0, 7}, {1, 4}, {1, 10}, {2, 1}, {10, 0}, {11, 0}, {14, 0}, {12, 0}, {13, 0}, {8, 2}, {9, 1}, {22, 0}, {18, 0},
		} {
			if r, ok := ranges[x.key]; !ok || x.version < r[0] || x.version > r[1] {
				api, _ := wire.LookupAPI(x.key)
				t.Errorf("%s version %d is not advertised: %v", api.Name, x.version, r)
			}
		}
	})
}

// TestTrap15_TopicIDsWhereverTheyAreTold: a topic has an id, the same in every API that has one, from the
// version on with which a client may use it elsewhere.
func TestTrap15_TopicIDsWhereverTheyAreTold(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		for v := int16(10); v <= 13; v++ {
			wantEqual(t, "Metadata", metadataOf(c, v, "t").Topics[0].TopicID, topic.id)
		}
		wantEqual(t, "DescribeTopicPartitions", describeTopics(c, 10, "", 0, "t").Topics[0].TopicID, topic.id)
		wantEqual(t, "Produce", one(t, produceTo(c, 13, produceOf(topicRef{id: topic.id}, acksAll, batchOf(t, nil, "x")))).ErrorCode, 0)
		for v := int16(13); v <= 18; v++ {
			wantEqual(t, "Fetch", one(t, fetchFrom(c, v, fetchOf(topicRef{id: topic.id}, 0))).ErrorCode, 0)
		}
		for v := int16(13); v <= 18; v++ {
			wantEqual(t, "zero id", one(t, fetchFrom(c, v, fetchOf(topicRef{name: "t"}, 0))).ErrorCode, codeUnknownTopicID)
		}
		wantEqual(t, "zero id", one(t, produceTo(c, 13, produceOf(topicRef{name: "t"}, acksAll, batchOf(t, nil, "x")))).ErrorCode, codeUnknownTopicID)
	})
}

// TestTrap16_FeaturesWithoutAZeroMinimum: up to version 3 no supported feature may begin at 0; none is supported yet.
func TestTrap16_FeaturesWithoutAZeroMinimum(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		for v := int16(3); v <= 5; v++ {
			for _, f := range askVersions(b.dial(), v).SupportedFeatures {
				if v == 3 && f.MinVersion == 0 {
					t.Errorf("version 3: feature %s begins at 0", f.Name)
				}
			}
		}
	})
}

// TestTrap25_CRC: CRC-32C, big-endian, of all from the attributes on; what stands before may be anything.
func TestTrap25_CRC(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		send := func(p []byte) int16 { return one(t, produceTo(c, 9, produceOf(topic, acksAll, p))).ErrorCode }
		good := batchOf(t, nil, "value")
		for at := range good {
			want := codeCorruptMessage
			switch {
			case at < 8, at >= 12 && at < 16: // base offset, leader epoch: the broker's
				want = 0
			case at >= 8 && at < 12, at == 16: // length and magic are looked at before
				continue
			}
			wantEqual(t, fmt.Sprint("byte ", at), send(flip(good, at)), want)
		}
		swapped := append([]byte{}, good...)
		swapped[17], swapped[18], swapped[19], swapped[20] = good[20], good[19], good[18], good[17]
		wantEqual(t, "little-endian", send(swapped), codeCorruptMessage)
	})
}

// TestTrap28_NoOldFormats: no message of format 0 or 1 gets in, whatever the version of the request.
func TestTrap28_NoOldFormats(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		old := func(magic byte) []byte { // offset, size, CRC, magic, attributes, [timestamp,] key null, value "v"
			body := []byte{0, 0, 0, 0, magic, 0}
			if magic == 1 {
				body = append(body, make([]byte, 8)...)
			}
			body = append(body, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 'v')
			return append(append(make([]byte, 8), 0, 0, 0, byte(len(body))), body...)
		}
		c := b.dial()
		for v := int16(3); v <= 13; v++ {
			for magic := range byte(2) {
				got := one(t, produceTo(c, v, produceOf(topic, acksAll, old(magic))))
				wantEqual(t, fmt.Sprint("version ", v, ", magic ", magic), []any{got.ErrorCode, got.BaseOffset}, []any{codeUnsupportedForMessageFormat, -1})
			}
		}
		for v := range int16(minProduce) {
			c := b.dial()
			c.send(produceOf(topic, acksLeader, old(byte(v/2))), v)
			if !c.closed() {
				t.Errorf("Produce version %d was served", v)
			}
		}
	})
}

// TestTrap38_ReadCommitted: without transactions the last stable offset is the high watermark, and the list
// of aborted ones empty for who reads committed, null for who does not.
func TestTrap38_ReadCommitted(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		produceTo(c, 9, produceOf(topic, acksAll, batchOf(t, producer(5, 0, 0), "a", "b")))
		for v := int16(4); v <= 18; v++ {
			for level := range int8(2) {
				p := one(t, fetchFrom(c, v, fetchOf(topic, 0, func(q *kmsg.FetchRequest) { q.IsolationLevel = level })))
				wantEqual(t, fmt.Sprint("version ", v, ", level ", level), []any{p.ErrorCode, p.LastStableOffset, p.HighWatermark, p.AbortedTransactions == nil, len(p.AbortedTransactions)},
					[]any{0, 2, 2, level == 0, 0})
			}
		}
		for v := int16(2); v <= 11; v++ {
			req := kmsg.NewPtrListOffsetsRequest()
			req.IsolationLevel = 1
			rt := kmsg.NewListOffsetsRequestTopic()
			rt.Topic = "t"
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Timestamp = latestTimestamp
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			wantEqual(t, "end", do[*kmsg.ListOffsetsResponse](c, req, v).Topics[0].Partitions[0].Offset, 2)
		}
	})
}

// TestTrap46_NoControlBatchesFromClients: a marker that a client makes would end somebody's transaction.
func TestTrap46_NoControlBatchesFromClients(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 1)
		c := b.dial()
		r := record.NewBuilder()
		r.Control, r.Transactional, r.ProducerID, r.ProducerEpoch = true, true, 5, 0
		r.Add(batchTime, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 0})
		marker, err := r.Build()
		b.must(err)
		for v := int16(3); v <= 13; v++ {
			wantEqual(t, fmt.Sprint("version ", v), one(t, produceTo(c, v, produceOf(topic, acksAll, marker))).ErrorCode, codeInvalidRecord)
		}
	})
}

// TestTrap49_EveryTopicIsAnswered: the replies of CreatePartitions and DeleteTopics name each topic of
// the request, whatever becomes of it.
func TestTrap49_EveryTopicIsAnswered(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		b.topic("t", 2)
		for v := int16(0); v <= 3; v++ {
			req := kmsg.NewPtrCreatePartitionsRequest()
			for name, count := range map[string]int32{"t": 3 + int32(v), "nobody": 3, "bad/name": 1} {
				rt := kmsg.NewCreatePartitionsRequestTopic()
				rt.Topic, rt.Count = name, count
				req.Topics = append(req.Topics, rt)
			}
			got := map[string]int16{}
			for _, rt := range do[*kmsg.CreatePartitionsResponse](c, req, v).Topics {
				got[rt.Topic] = rt.ErrorCode
			}
			wantEqual(t, fmt.Sprint("version ", v), got, map[string]int16{"t": 0, "nobody": codeUnknownTopicOrPartition, "bad/name": codeUnknownTopicOrPartition})
		}
		for v := int16(1); v <= 6; v++ {
			name := fmt.Sprint("d", v)
			b.topic(name, 1)
			req := kmsg.NewPtrDeleteTopicsRequest()
			for _, n := range []string{name, "nobody"} {
				req.TopicNames = append(req.TopicNames, n)
				rt := kmsg.NewDeleteTopicsRequestTopic()
				rt.Topic = &n
				req.Topics = append(req.Topics, rt)
			}
			if v == 6 {
				rt := kmsg.NewDeleteTopicsRequestTopic()
				rt.TopicID = metadata.ID{9}
				req.Topics = append(req.Topics, rt)
			}
			got := map[string]int16{}
			for _, rt := range do[*kmsg.DeleteTopicsResponse](c, req, v).Topics {
				got[orEmpty(rt.Topic)] = rt.ErrorCode
			}
			want := map[string]int16{name: 0, "nobody": codeUnknownTopicOrPartition}
			if v == 6 {
				want[""] = codeUnknownTopicID
			}
			wantEqual(t, fmt.Sprint("delete, version ", v), got, want)
		}
	})
}

// TestTrap50_NobodyIsToldOfAThrottleThatIsNotKept: there are no quotas and nothing mutes a connection for one, so that no
// response may say so: clients that believe it would wait, those that do not would not be held back.
func TestTrap50_NobodyIsToldOfAThrottleThatIsNotKept(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		seen := map[int16]bool{}
		everyVersion(b, func(r row, resp kmsg.Response) {
			if f := reflect.ValueOf(resp).Elem().FieldByName("ThrottleMillis"); f.IsValid() {
				seen[r.key] = true
				wantEqual(t, fmt.Sprint(r.name, " version ", resp.GetVersion(), ": throttle time"), f.Int(), 0)
			}
		})
		if len(seen) < len(apis())-2 { // all but DescribeQuorum, and whatever has none like it
			t.Errorf("%d of %d APIs have a throttle time", len(seen), len(apis()))
		}
	})
}
