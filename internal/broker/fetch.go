package broker

import (
	"errors"
	"time"

	"github.com/chronik-stream/chronik/internal/listener"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/storage"
	"github.com/chronik-stream/chronik/internal/wire"
)

// Fetch (1), versions 4 to 18.
//
//	5   log start offset
//	7   fetch sessions (KIP-227, fetch_session.go)
//	9   leader epochs (KIP-320)
//	11  rack, preferred read replica
//	12  flexible; diverging epoch
//	13  topic ids only
//	15  the replica's id moves into a tag
//	16  the leader's endpoint next to NOT_LEADER_OR_FOLLOWER (KIP-951)
//	17, 18 tags of followers
//
// Left out: reading from followers (the preferred replica is always -1), and followers
// themselves: every reader reads below the high watermark. There are no transactions, so the last stable
// offset is the high watermark, and the list of aborted ones is null, or empty for read_committed.
//
// Records are ranges of segment files that the listener sends; only small ones are copied. A
// fetch that must wait is completed by the goroutine that moves a high watermark (fetch_wait.go).

const (
	fetchKey = 1
	// copyBelow (measured by BenchmarkFileRange in listener) is the length below which a range is copied into the response rather than sent
	// from its file: two calls to the system either way, and a copied one can share its write.
	copyBelow = 16 << 10
)

// fetchPart is one partition of a fetch, or of a fetch session.
type fetchPart struct {
	topic string
	id    [16]byte
	index int32

	partition *replica.Partition // nil if the look-up failed with err
	err       error
	want      wire.FetchPartition

	result  wire.FetchResult
	records storage.Slice
	bytes   int // of records, as they were read

	// Of parts that wait or are in a session.
	sub    replica.Subscription
	marked bool // on the set's list of parts to look at; guarded by its mu

	// Of sessions: whether it is on the list of parts to look at, has been forgotten, and what the client was last told.
	listed, gone      bool
	toldHW, toldStart int64
	told              bool
}

// fetchCall is what a response needs to know of its request.
type fetchCall struct {
	version       int16
	correlationID int32
	start         time.Time
	queue, local  time.Duration // until it began to be served, and until it began to wait; local is negative while it has not
	maxBytes      int
	minBytes      int
	committed     bool // read_committed
	sessionID     int32
	took          int64 // of the account of all memory for clients, until the answer
}

// fetch serves one request, or has it wait.
func (s *session) fetch(c *call, body []byte) (func(), error) {
	q := &s.fetching
	if err := q.Decode(body, c.version); err != nil {
		return nil, err
	}
	if !s.waited && s.b.o.Replicas.Busy() && s.fetchOpening(q) {
		q.Forget()
		return s.again(c, body, (*session).fetch), nil
	}
	if n := len(q.Partitions) + len(q.ForgottenIdx); n > manyPartitions && s.took == 0 && !s.waited {
		q.Forget()
		return s.within(c, body, n, (*session).fetch), nil
	}
	fc := fetchCall{
		version: c.version, correlationID: c.correlationID, start: c.start, queue: c.queue, local: -1,
		maxBytes: min(int(max(q.MaxBytes, 0)), s.b.s.FetchMaxBytes), minBytes: int(q.MinBytes), committed: q.Isolation == 1,
	}
	wait := time.Duration(q.MaxWaitMillis) * time.Millisecond
	set, code := s.b.sessions.open(s, q)
	q.Forget()
	slot := s.client.Defer()
	s.begun = -1
	if code != codeNone {
		s.b.m.error(fetchKey, code)
		slot.Buf = encodeFetchError(slot.Buf, &fc, code)
		fc.time(slot, len(slot.Buf))
		slot.Done()
		return nil, nil
	}
	fc.sessionID = set.id
	if fc.took, s.took = s.took, 0; fc.took > 0 {
		wait = min(wait, manyWait)
	}
	set.serve(s, slot, fc, wait)
	return nil, nil
}

// fetchOpening reports whether a partition of the request is being opened.
func (s *session) fetchOpening(q *wire.Fetch) bool {
	for i := range q.Topics {
		t := &q.Topics[i]
		for j := t.From; j < t.To; j++ {
			if p, err := s.lookup(q.Version >= 13, t.Name, t.ID, q.Partitions[j].Index); err == nil && p.Opening() {
				return true
			}
		}
	}
	return false
}

// minZstdFetch is the first version whose clients are sure to read zstd (KIP-110).
const minZstdFetch = 10

var errZstdTopic = errors.New("the topic has compression.type=zstd, which needs Fetch version 10 or newer: the client is too old for it")

// read fills result and records and returns the bytes of the records. What an earlier read has
// left is released.
func (f *fetchPart) read(b *Broker, fc *fetchCall, maxBytes int, minOne bool) int {
	f.release()
	f.result = wire.FetchResult{
		Index: f.index, HighWatermark: -1, LastStable: -1, LogStart: -1,
		NullAborted: !fc.committed, Leader: wire.NoLeaderHint, DivergingEpoch: -1, DivergingEnd: -1,
	}
	err := f.err
	if err == nil {
		var r replica.ReadResult
		r, err = f.partition.ReadLeader(replica.ReadRequest{
			Offset: f.want.Offset, LeaderEpoch: f.want.CurrentLeaderEpoch, LastFetchedEpoch: f.want.LastFetchedEpoch,
			MaxBytes: min(max(int(f.want.MaxBytes), 0), max(maxBytes, 0)), MinOne: minOne,
		})
		f.records = r.Records
		f.result.HighWatermark, f.result.LastStable, f.result.LogStart = r.HighWatermark, r.HighWatermark, r.LogStart
		f.result.DivergingEpoch, f.result.DivergingEnd = r.DivergingEpoch, r.DivergingEnd
	}
	if err == nil && fc.version < minZstdFetch && f.partition.Config().CompressionType == "zstd" {
		f.release()
		err = errZstdTopic
	}
	if err != nil {
		f.refuse(b, fc, err)
	}
	f.bytes = f.records.Len
	return f.bytes
}

func (f *fetchPart) refuse(b *Broker, fc *fetchCall, err error) {
	f.result.Code = code(err)
	if f.result.Code != codeOffsetOutOfRange {
		f.result.HighWatermark, f.result.LastStable, f.result.LogStart = -1, -1, -1
	}
	if fc.version >= 12 && (f.result.Code == codeNotLeaderOrFollower || f.result.Code == codeFencedLeaderEpoch) {
		f.result.Leader = b.leaderHint([]byte(f.topic), f.id, f.id != [16]byte{}, f.index)
	}
}

// release gives the records back that were read and not handed to a response.
func (f *fetchPart) release() {
	if f.records.Len > 0 {
		f.records.Release()
	}
	f.records = storage.Slice{}
}

// encodeFetch writes the response for parts into the slot, which takes their records over.
func encodeFetch(b *Broker, slot *listener.Slot, fc *fetchCall, parts []*fetchPart) {
	topics := 0
	for i, f := range parts {
		if i == 0 || !f.sameTopic(parts[i-1]) {
			topics++
		}
	}
	dst := wire.BeginResponse(slot.Buf, fetchKey, fc.version, fc.correlationID)
	dst = wire.AppendFetchHead(dst, fc.version, codeNone, fc.sessionID, topics)
	var endpoints []wire.Endpoint
	beyond := 0
	for i := 0; i < len(parts); {
		n := i + 1
		for n < len(parts) && parts[n].sameTopic(parts[i]) {
			n++
		}
		dst = wire.AppendFetchTopic(dst, fc.version, parts[i].topic, parts[i].id, n-i)
		for ; i < n; i++ {
			f := parts[i]
			if f.result.Code != codeNone {
				b.m.error(fetchKey, f.result.Code)
				endpoints = b.addEndpoint(endpoints, f.result.Leader.Node)
			}
			slot.Buf = dst
			beyond += f.encode(slot, fc.version)
			dst = wire.AppendFetchPartitionEnd(slot.Buf, fc.version, &f.result)
		}
		dst = wire.AppendFetchTopicEnd(dst, fc.version)
	}
	dst = wire.AppendFetchEnd(dst, fc.version, endpoints)
	wire.EndResponse(dst, 0, beyond)
	slot.Buf = dst
	fc.time(slot, len(dst)+beyond)
}

// time notes where the time of a request went whose response is complete.
func (fc *fetchCall) time(slot *listener.Slot, bytes int) {
	served := time.Since(fc.start) - fc.queue
	local := fc.local
	if local < 0 {
		local = served
	}
	slot.Time(listener.Timing{
		Key: fetchKey, Requests: 1, Bytes: bytes, Read: fc.start, Queue: fc.queue, Local: local, Remote: served - local,
	})
}

// encode appends a partition with its records, and returns how many bytes of them are sent from the file.
func (f *fetchPart) encode(slot *listener.Slot, version int16) (beyond int) {
	n := f.records.Len
	if n > 0 && n < copyBelow {
		at := len(slot.Buf)
		buf, err := f.records.ReadBytes(wire.AppendFetchPartition(slot.Buf, version, &f.result, n))
		f.release()
		if err == nil {
			slot.Buf = buf
			return 0
		}
		slot.Buf = buf[:at]
		f.result.Code, f.result.HighWatermark, f.result.LastStable, f.result.LogStart = code(err), -1, -1, -1
		n = 0
	}
	slot.Buf = wire.AppendFetchPartition(slot.Buf, version, &f.result, n)
	if n == 0 {
		return 0
	}
	slot.AddFile(listener.FileRange{File: f.records.File, Off: f.records.Off, N: n, Release: f.records.Release})
	f.records = storage.Slice{}
	return n
}

func (f *fetchPart) sameTopic(g *fetchPart) bool { return f.topic == g.topic && f.id == g.id }

// encodeFetchError appends a response that refuses the whole fetch.
func encodeFetchError(dst []byte, fc *fetchCall, code int16) []byte {
	start := len(dst)
	dst = wire.BeginResponse(dst, fetchKey, fc.version, fc.correlationID)
	dst = wire.AppendFetchHead(dst, fc.version, code, 0, 0)
	dst = wire.AppendFetchEnd(dst, fc.version, nil)
	wire.EndResponse(dst, start, 0)
	return dst
}
