package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzProduce: what is decoded by hand is what kmsg decodes; and what kmsg takes and this refuses has tagged fields out of their order, lengths
// below -1 or varints that are longer than they must be.
func FuzzProduce(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 3))
	for v := int16(3); v <= 13; v++ {
		f.Add(v, produceRequest(r, v).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 3 || version > 13 {
			return
		}
		var p Produce
		if err := p.Decode(body, version); err != nil {
			return
		}
		if len(p.Topics)*3+len(p.Partitions)*6 > len(body) {
			t.Fatalf("%d topics, %d partitions from %d bytes", len(p.Topics), len(p.Partitions), len(body))
		}
		k := kmsg.NewPtrProduceRequest()
		k.Version = version
		if err := k.ReadFrom(bytes.Clone(body)); err != nil {
			if nullName(p.Topics, version) {
				return // kmsg takes a null name for no name in the older versions alone
			}
			t.Fatalf("kmsg: %v", err)
		}
		if p.Acks != k.Acks || p.TimeoutMillis != k.TimeoutMillis || (p.TransactionalID == nil) != (k.TransactionID == nil) ||
			k.TransactionID != nil && string(p.TransactionalID) != *k.TransactionID || len(p.Topics) != len(k.Topics) {
			t.Fatalf("%+v\n%+v", p, k)
		}
		for i, topic := range p.Topics {
			want := k.Topics[i]
			if string(topic.Name) != want.Topic || topic.ID != want.TopicID || topic.To-topic.From != len(want.Partitions) {
				t.Fatalf("topic %d: %+v, %+v", i, topic, want)
			}
			for j, part := range p.Partitions[topic.From:topic.To] {
				if part.Index != want.Partitions[j].Partition || !bytes.Equal(part.Records, want.Partitions[j].Records) {
					t.Fatalf("topic %d: %+v, %+v", i, part, want.Partitions[j])
				}
			}
		}
	})
}

// FuzzFetch is the same for the other request that is decoded by hand.
func FuzzFetch(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 3))
	for v := int16(4); v <= 18; v++ {
		f.Add(v, fetchRequest(r, v).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 4 || version > 18 {
			return
		}
		var q Fetch
		if err := q.Decode(body, version); err != nil {
			return
		}
		if len(q.Topics)*3+len(q.Partitions)*16+len(q.ForgottenIdx)*4 > len(body) {
			t.Fatalf("%d topics, %d partitions from %d bytes", len(q.Topics), len(q.Partitions), len(body))
		}
		k := kmsg.NewPtrFetchRequest()
		k.Version = version
		if err := k.ReadFrom(bytes.Clone(body)); err != nil {
			if nullName(q.Topics, version) || nullName(q.Forgotten, version) || version >= 11 && q.Rack == nil || version >= 12 {
				return // kmsg reads the tagged fields of followers, which are passed over here
			}
			t.Fatalf("kmsg: %v", err)
		}
		replica, epoch := k.ReplicaID, int64(-1)
		if version >= 15 {
			replica, epoch = k.ReplicaState.ID, k.ReplicaState.Epoch
		}
		if q.ReplicaID != replica || q.ReplicaEpoch != epoch || q.MaxWaitMillis != k.MaxWaitMillis || q.MinBytes != k.MinBytes || q.MaxBytes != k.MaxBytes ||
			q.Isolation != k.IsolationLevel || q.SessionID != k.SessionID || q.SessionEpoch != k.SessionEpoch || string(q.Rack) != k.Rack ||
			len(q.Topics) != len(k.Topics) || len(q.Forgotten) != len(k.ForgottenTopics) {
			t.Fatalf("%+v\n%+v", q, k)
		}
		for i, topic := range q.Topics {
			want := k.Topics[i]
			if string(topic.Name) != want.Topic || topic.ID != want.TopicID || topic.To-topic.From != len(want.Partitions) {
				t.Fatalf("topic %d: %+v, %+v", i, topic, want)
			}
			for j, part := range q.Partitions[topic.From:topic.To] {
				w := &want.Partitions[j]
				if part != (FetchPartition{w.Partition, w.CurrentLeaderEpoch, w.FetchOffset, w.LastFetchedEpoch, w.LogStartOffset, w.PartitionMaxBytes}) {
					t.Fatalf("topic %d: %+v, %+v", i, part, w)
				}
			}
		}
		for i, topic := range q.Forgotten {
			want := k.ForgottenTopics[i]
			if string(topic.Name) != want.Topic || topic.ID != want.TopicID || topic.To-topic.From != len(want.Partitions) {
				t.Fatalf("forgotten topic %d: %+v, %+v", i, topic, want)
			}
			for j, index := range q.ForgottenIdx[topic.From:topic.To] {
				if index != want.Partitions[j] {
					t.Fatalf("forgotten topic %d: %d, %d", i, index, want.Partitions[j])
				}
			}
		}
	})
}

// nullName tells whether a topic's name is null, where names are.
func nullName[T ProduceTopic | FetchTopic](topics []T, version int16) bool {
	for i := range topics {
		switch t := any(&topics[i]).(type) {
		case *ProduceTopic:
			if t.Name == nil && version < 13 {
				return true
			}
		case *FetchTopic:
			if t.Name == nil && version < 13 {
				return true
			}
		}
	}
	return false
}

// FuzzHeader: a header that is taken is the one that comes of its parts, and the rest of the frame is the body.
func FuzzHeader(f *testing.F) {
	for _, c := range []struct{ key, version int16 }{{0, 3}, {3, 9}, {18, 0}, {18, 3}, {68, 0}, {7, 1}, {-1, -1}} {
		id := "client"
		f.Add(header(c.key, c.version, 7, &id, []byte("body")))
		f.Add(header(c.key, c.version, -1, nil, nil))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03})
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, err := Prefix(frame)
		if err != nil {
			if len(frame) >= MinFrame {
				t.Fatal(err)
			}
			return
		}
		body, err := ParseHeader(frame, &h)
		if err != nil {
			return
		}
		var id *string
		if h.ClientID != nil {
			s := string(h.ClientID)
			id = &s
		}
		again := header(h.Key, h.Version, h.CorrelationID, id, body)
		if tags := len(frame) - len(again); tags == 0 && !bytes.Equal(again, frame) || tags < 0 || tags > 0 && !Flexible(h.Key, h.Version) {
			t.Fatalf("%x is read as %+v and %x, which is %x", frame, h, body, again)
		}
		if !bytes.HasSuffix(frame, body) {
			t.Fatalf("%x has not the body %x", frame, body)
		}
	})
}

// header makes a frame without tagged fields.
func header(key, version int16, correlationID int32, clientID *string, body []byte) []byte {
	p := appendInt32(appendInt16(appendInt16(nil, key), version), correlationID)
	if clientID == nil {
		p = appendInt16(p, -1)
	} else {
		p = append(appendInt16(p, int16(len(*clientID))), *clientID...)
	}
	if Flexible(key, version) {
		p = append(p, 0)
	}
	return append(p, body...)
}
