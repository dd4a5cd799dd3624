package wire

import "fmt"

// Fetch is key 1. What the versions from 4 on added:
//
//	5   log start offset, in the request for followers
//	7   fetch sessions (KIP-227)
//	9   current leader epoch (KIP-320)
//	11  rack, preferred read replica (KIP-392)
//	12  flexible; last fetched epoch, diverging epoch
//	13  topic ids in the place of names (KIP-516)
//	15  the replica's id and epoch in a tag (KIP-903)
//	16  endpoints in the response (KIP-951)
//	17  a follower's directory id in a tag (KIP-853)
//	18  a follower's high watermark in a tag (KIP-1166)

// Fetch is a decoded Fetch request. Its slices alias the frame, and are used again by the
// next Decode.
type Fetch struct {
	Version       int16
	ReplicaID     int32 // -1 for a consumer
	ReplicaEpoch  int64
	MaxWaitMillis int32
	MinBytes      int32
	MaxBytes      int32
	Isolation     int8
	SessionID     int32
	SessionEpoch  int32 // -1: no session
	Topics        []FetchTopic
	Partitions    []FetchPartition // of all topics, in their order
	Forgotten     []FetchTopic
	ForgottenIdx  []int32 // partitions of all forgotten topics, in their order
	Rack          []byte
}

// FetchTopic is one topic of a request: by name up to version 12, by id from 13 on.
type FetchTopic struct {
	Name     []byte
	ID       [16]byte
	From, To int // of Fetch.Partitions, or Fetch.ForgottenIdx
}

// FetchPartition is what is asked of one partition.
type FetchPartition struct {
	Index              int32
	CurrentLeaderEpoch int32 // -1: not known
	Offset             int64
	LastFetchedEpoch   int32 // -1: not known
	LogStart           int64 // of a follower, else -1
	MaxBytes           int32
}

// Decode reads the body of a request of the given version, 4 or later.
func (f *Fetch) Decode(body []byte, version int16) error {
	*f = Fetch{
		Version: version, ReplicaID: -1, ReplicaEpoch: -1, SessionEpoch: -1,
		Topics: f.Topics[:0], Partitions: f.Partitions[:0], Forgotten: f.Forgotten[:0], ForgottenIdx: f.ForgottenIdx[:0],
	}
	flexible := version >= 12
	r := Reader{B: body}
	if version <= 14 {
		f.ReplicaID = r.Int32()
	}
	f.MaxWaitMillis = r.Int32()
	f.MinBytes = r.Int32()
	f.MaxBytes = r.Int32()
	f.Isolation = r.Int8()
	if version >= 7 {
		f.SessionID = r.Int32()
		f.SessionEpoch = r.Int32()
	}
	f.decodeTopics(&r, flexible)
	if version >= 7 {
		f.decodeForgotten(&r, flexible)
	}
	if version >= 11 {
		f.Rack = r.String(flexible)
	}
	if flexible {
		r.Tags(f.tag)
	}
	if r.err != nil {
		return fmt.Errorf("Fetch version %d: %w", version, r.err)
	}
	return nil
}

func (f *Fetch) decodeTopics(r *Reader, flexible bool) {
	least := f.leastPartition(flexible)
	for n := r.Array(flexible, f.leastTopic(flexible)); n > 0 && r.err == nil; n-- {
		t := FetchTopic{From: len(f.Partitions)}
		f.decodeTopic(r, &t, flexible)
		m := r.Array(flexible, least)
		if m > 0 && len(f.Partitions)+m > maxPartitions {
			r.fail(fmt.Errorf("%w: more than %d partitions", ErrTooMany, maxPartitions))
		}
		for ; m > 0 && r.err == nil; m-- {
			f.Partitions = append(f.Partitions, f.decodePartition(r, flexible))
		}
		if flexible {
			r.Tags(nil)
		}
		t.To = len(f.Partitions)
		f.Topics = append(f.Topics, t)
	}
}

func (f *Fetch) decodeTopic(r *Reader, t *FetchTopic, flexible bool) {
	if f.Version >= 13 {
		t.ID = r.UUID()
		return
	}
	t.Name = r.String(flexible)
}

func (f *Fetch) decodePartition(r *Reader, flexible bool) FetchPartition {
	p := FetchPartition{Index: r.Int32(), CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, LogStart: -1}
	if f.Version >= 9 {
		p.CurrentLeaderEpoch = r.Int32()
	}
	p.Offset = r.Int64()
	if f.Version >= 12 {
		p.LastFetchedEpoch = r.Int32()
	}
	if f.Version >= 5 {
		p.LogStart = r.Int64()
	}
	p.MaxBytes = r.Int32()
	if flexible {
		r.Tags(nil) // a follower's directory and high watermark
	}
	return p
}

func (f *Fetch) decodeForgotten(r *Reader, flexible bool) {
	for n := r.Array(flexible, f.leastTopic(flexible)); n > 0 && r.err == nil; n-- {
		t := FetchTopic{From: len(f.ForgottenIdx)}
		f.decodeTopic(r, &t, flexible)
		m := r.Array(flexible, 4)
		if m > 0 && len(f.ForgottenIdx)+m > maxPartitions {
			r.fail(fmt.Errorf("%w: more than %d forgotten partitions", ErrTooMany, maxPartitions))
		}
		for ; m > 0 && r.err == nil; m-- {
			f.ForgottenIdx = append(f.ForgottenIdx, r.Int32())
		}
		if flexible {
			r.Tags(nil)
		}
		t.To = len(f.ForgottenIdx)
		f.Forgotten = append(f.Forgotten, t)
	}
}

// leastTopic and leastPartition return the least bytes of an element of their arrays.
func (f *Fetch) leastTopic(flexible bool) int {
	switch {
	case f.Version >= 13:
		return 18
	case flexible:
		return 3
	default:
		return 6
	}
}

func (f *Fetch) leastPartition(flexible bool) int {
	n := 4 + 8 + 4
	if f.Version >= 5 {
		n += 8
	}
	if f.Version >= 9 {
		n += 4
	}
	if flexible {
		n += 4 + 1
	}
	return n
}

// tag reads a tagged field of the request: 0 is the cluster id of a Raft replica, which is
// ignored, 1 the replica's id and epoch.
func (f *Fetch) tag(tag uint32, value []byte) error {
	if tag != 1 || f.Version < 15 {
		return nil
	}
	r := Reader{B: value}
	f.ReplicaID = r.Int32()
	f.ReplicaEpoch = r.Int64()
	r.Tags(nil)
	return r.err
}

// Forget lets go of the frame, and of arrays that a large request has left.
func (f *Fetch) Forget() {
	const keep = 64
	if cap(f.Topics) > keep || cap(f.Partitions) > keep || cap(f.Forgotten) > keep || cap(f.ForgottenIdx) > keep {
		*f = Fetch{}
		return
	}
	clear(f.Topics)
	clear(f.Forgotten)
	f.Rack = nil
}

// FetchResult is the answer for one partition, but for its records.
type FetchResult struct {
	Index         int32
	Code          int16
	HighWatermark int64 // -1 with an error
	LastStable    int64 // -1 with an error
	LogStart      int64 // -1 with an error
	// NullAborted: the list of aborted transactions is null, not empty: for read_uncommitted.
	NullAborted bool
	Leader      LeaderHint
	// DivergingEpoch and DivergingEnd tell a reader where its log leaves the leader's; -1: it does not.
	DivergingEpoch int32
	DivergingEnd   int64
}

// AppendFetchHead appends the body of a response up to its topics.
func AppendFetchHead(dst []byte, version, code int16, sessionID int32, topics int) []byte {
	dst = appendInt32(dst, 0) // throttle time
	if version >= 7 {
		dst = appendInt16(dst, code)
		dst = appendInt32(dst, sessionID)
	}
	return appendLen(dst, topics, version >= 12)
}

// AppendFetchTopic appends a topic up to its partitions.
func AppendFetchTopic(dst []byte, version int16, name string, id [16]byte, partitions int) []byte {
	if version >= 13 {
		dst = append(dst, id[:]...)
	} else {
		dst = appendString(dst, name, version >= 12)
	}
	return appendLen(dst, partitions, version >= 12)
}

// AppendFetchPartition appends a partition up to its records, of which there are n bytes.
// Records are never null: clients take a null for a broken response.
func AppendFetchPartition(dst []byte, version int16, r *FetchResult, n int) []byte {
	dst = appendInt32(dst, r.Index)
	dst = appendInt16(dst, r.Code)
	dst = appendInt64(dst, r.HighWatermark)
	dst = appendInt64(dst, r.LastStable)
	if version >= 5 {
		dst = appendInt64(dst, r.LogStart)
	}
	aborted := 0
	if r.NullAborted {
		aborted = -1
	}
	dst = appendLen(dst, aborted, version >= 12)
	if version >= 11 {
		dst = appendInt32(dst, -1) // preferred read replica
	}
	return appendLen(dst, n, version >= 12)
}

// AppendFetchPartitionEnd appends what follows the records of a partition.
func AppendFetchPartitionEnd(dst []byte, version int16, r *FetchResult) []byte {
	if version < 12 {
		return dst
	}
	tags := byte(0)
	if r.DivergingEpoch >= 0 {
		tags++
	}
	if r.Leader.Node >= 0 {
		tags++
	}
	dst = append(dst, tags)
	if r.DivergingEpoch >= 0 {
		dst = append(dst, 0, 13)
		dst = appendInt32(dst, r.DivergingEpoch)
		dst = appendInt64(dst, r.DivergingEnd)
		dst = append(dst, 0)
	}
	if r.Leader.Node >= 0 {
		dst = appendHint(dst, 1, r.Leader)
	}
	return dst
}

// AppendFetchTopicEnd appends what follows the partitions of a topic.
func AppendFetchTopicEnd(dst []byte, version int16) []byte {
	if version >= 12 {
		dst = append(dst, 0)
	}
	return dst
}

// AppendFetchEnd appends what follows the topics.
func AppendFetchEnd(dst []byte, version int16, endpoints []Endpoint) []byte {
	if version < 12 {
		return dst
	}
	if version < 16 {
		endpoints = nil
	}
	return appendEndpoints(dst, endpoints)
}
