package wire

import (
	"encoding/binary"
	"fmt"
)

// Produce is key 0. What the versions from 3 on (the first with record batches v2) added:
//
//	5   log start offset in the response
//	7   zstd may be used
//	8   record errors and an error message in the response
//	9   flexible
//	10  current leader and endpoints in the response (KIP-951)
//	13  topic ids in the place of names (KIP-516)

// maxPartitions bounds the partitions of one request. One takes eight bytes in it, and hundreds while it is served.
const maxPartitions = 100_000

// Produce is a decoded Produce request. Its slices alias the frame, and are used again by
// the next Decode, so that decoding allocates nothing once they are large enough.
type Produce struct {
	Version         int16
	TransactionalID []byte // nil if null
	Acks            int16
	TimeoutMillis   int32
	Topics          []ProduceTopic
	Partitions      []ProducePartition // of all topics, in their order
}

// ProduceTopic is one topic of a request: by name up to version 12, by id from 13 on.
type ProduceTopic struct {
	Name     []byte
	ID       [16]byte
	From, To int // its partitions are Produce.Partitions[From:To]
}

// ProducePartition is what one partition is to append. Records is nil if it was null.
type ProducePartition struct {
	Index   int32
	Records []byte
}

// Decode reads the body of a request of the given version, 3 or later.
func (p *Produce) Decode(body []byte, version int16) error {
	flexible := version >= 9
	topicLeast, partitionLeast := 6, 8
	switch {
	case version >= 13:
		topicLeast, partitionLeast = 18, 6
	case flexible:
		topicLeast, partitionLeast = 3, 6
	}
	r := Reader{B: body}
	p.Version, p.Topics, p.Partitions = version, p.Topics[:0], p.Partitions[:0]
	p.TransactionalID = r.String(flexible)
	p.Acks = r.Int16()
	p.TimeoutMillis = r.Int32()
	for n := r.Array(flexible, topicLeast); n > 0 && r.err == nil; n-- {
		t := ProduceTopic{From: len(p.Partitions)}
		if version >= 13 {
			t.ID = r.UUID()
		} else {
			t.Name = r.String(flexible)
		}
		m := r.Array(flexible, partitionLeast)
		if m > 0 && len(p.Partitions)+m > maxPartitions {
			r.fail(fmt.Errorf("%w: more than %d partitions", ErrTooMany, maxPartitions))
		}
		for ; m > 0 && r.err == nil; m-- {
			part := ProducePartition{Index: r.Int32(), Records: r.Bytes(flexible)}
			if flexible {
				r.Tags(nil)
			}
			p.Partitions = append(p.Partitions, part)
		}
		if flexible {
			r.Tags(nil)
		}
		t.To = len(p.Partitions)
		p.Topics = append(p.Topics, t)
	}
	if flexible && r.err == nil {
		r.Tags(nil)
	}
	if r.err != nil {
		return fmt.Errorf("Produce version %d: %w", version, r.err)
	}
	return nil
}

// Forget lets go of the frame, and of arrays that a large request has left.
func (p *Produce) Forget() {
	const keep = 64
	if cap(p.Topics) > keep || cap(p.Partitions) > keep {
		*p = Produce{}
		return
	}
	clear(p.Topics)
	clear(p.Partitions)
	p.TransactionalID, p.Topics, p.Partitions = nil, p.Topics[:0], p.Partitions[:0]
}

// ProduceResult is the answer for one partition.
type ProduceResult struct {
	Code          int16
	BaseOffset    int64         // -1 with an error
	LogAppendTime int64         // -1 unless the topic's timestamps are the broker's
	LogStart      int64         // -1 with an error
	Message       string        // of the error; "" is null
	Records       []RecordError // the records that are why, if they are known
	Leader        LeaderHint

	// At is where AppendProduceResponse has put the result, for FailProduceResult.
	At int
}

// RecordError is one record that made its batch be refused.
type RecordError struct {
	Index   int32 // in the batch
	Message string
}

// AppendProduceResponse appends the body of the response to p; results are in the order of p.Partitions.
func AppendProduceResponse(dst []byte, p *Produce, results []ProduceResult, endpoints []Endpoint) []byte {
	flexible := p.Version >= 9
	dst = appendLen(dst, len(p.Topics), flexible)
	for i := range p.Topics {
		t := &p.Topics[i]
		if p.Version >= 13 {
			dst = append(dst, t.ID[:]...)
		} else {
			dst = appendString(dst, t.Name, flexible)
		}
		dst = appendLen(dst, t.To-t.From, flexible)
		for j := t.From; j < t.To; j++ {
			results[j].At = len(dst)
			dst = appendProduceResult(dst, p.Version, p.Partitions[j].Index, &results[j])
		}
		if flexible {
			dst = append(dst, 0)
		}
	}
	dst = appendInt32(dst, 0) // throttle time
	if !flexible {
		return dst
	}
	if p.Version < 10 {
		endpoints = nil
	}
	return appendEndpoints(dst, endpoints)
}

func appendProduceResult(dst []byte, version int16, index int32, r *ProduceResult) []byte {
	flexible := version >= 9
	dst = appendInt32(dst, index)
	dst = appendInt16(dst, r.Code)
	dst = appendInt64(dst, r.BaseOffset)
	dst = appendInt64(dst, r.LogAppendTime)
	if version >= 5 {
		dst = appendInt64(dst, r.LogStart)
	}
	if version >= 8 {
		dst = appendLen(dst, len(r.Records), flexible)
		for i := range r.Records {
			dst = appendInt32(dst, r.Records[i].Index)
			dst = appendNullable(dst, r.Records[i].Message, flexible)
			if flexible {
				dst = append(dst, 0)
			}
		}
		dst = appendNullable(dst, r.Message, flexible)
	}
	if !flexible {
		return dst
	}
	if version >= 10 && r.Leader.Node >= 0 {
		return appendHint(append(dst, 1), 0, r.Leader)
	}
	return append(dst, 0)
}

// FailProduceResult makes the result that b begins with an error. It stays as long as it was.
func FailProduceResult(b []byte, version, code int16) {
	const none = ^uint64(0)
	binary.BigEndian.PutUint16(b[4:], uint16(code))
	binary.BigEndian.PutUint64(b[6:], none)  // base offset
	binary.BigEndian.PutUint64(b[14:], none) // log append time
	if version >= 5 {
		binary.BigEndian.PutUint64(b[22:], none) // log start
	}
}
