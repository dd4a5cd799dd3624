package raftrpc

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// Kinds of messages in a fuzzer's input: each is a kind, two bytes of length, and the message.
const (
	fuzzAppend = iota
	fuzzVote
	fuzzPreVote
	fuzzTimeoutNow
	fuzzSnapshot // the chunks of one stream, each with two bytes of length
	fuzzKinds
)

func fuzzMessage(kind byte, messages ...proto.Message) []byte {
	var all []byte
	for _, m := range messages {
		p, err := proto.Marshal(m)
		if err != nil {
			panic(err)
		}
		if kind == fuzzSnapshot {
			all = binary.BigEndian.AppendUint16(all, uint16(len(p)))
		}
		all = append(all, p...)
	}
	return append(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(all))), all...)
}

// FuzzHandlers gives a member of a cluster, a real raft, messages of a peer with arbitrary fields: each is answered or refused, raft goes on,
// its term does not fall, and nothing is applied that is not an entry of the peer's.
func FuzzHandlers(f *testing.F) {
	entries := []*raft.Log{{Index: 2, Term: 3, Data: []byte("x")}, {Index: 3, Term: 3, Type: raft.LogNoop}, {Index: 4, Term: 2, Type: raft.LogBarrier}}
	conf := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "2", Address: Address(2, [16]byte{2})}}})
	a := &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: 1, PrevLogTerm: 0, Entries: entries, LeaderCommitIndex: math.MaxUint64}
	f.Add(fuzzMessage(fuzzAppend, encodeAppendRequest(a)))
	f.Add(append(fuzzMessage(fuzzVote, encodeVoteRequest(&raft.RequestVoteRequest{Term: math.MaxUint64, LastLogIndex: 9, LastLogTerm: 9})),
		fuzzMessage(fuzzTimeoutNow, encodeTimeoutNowRequest(&raft.TimeoutNowRequest{}))...))
	f.Add(fuzzMessage(fuzzPreVote, encodePreVoteRequest(&raft.RequestPreVoteRequest{Term: math.MaxUint64})))
	a = &raft.AppendEntriesRequest{Term: 5, PrevLogEntry: 0, Entries: []*raft.Log{{Index: 1, Term: 5, Type: raft.LogConfiguration, Data: conf}}, LeaderCommitIndex: 1}
	f.Add(append(fuzzMessage(fuzzAppend, encodeAppendRequest(a)), fuzzMessage(fuzzTimeoutNow, encodeTimeoutNowRequest(&raft.TimeoutNowRequest{}))...))
	data := []byte(`{"Index":7}` + "\n")
	f.Add(fuzzMessage(fuzzSnapshot,
		&raftv1.SnapshotChunk{Part: &raftv1.SnapshotChunk_Start{Start: encodeInstallRequest(&raft.InstallSnapshotRequest{
			SnapshotVersion: 1, Term: 4, LastLogIndex: 7, LastLogTerm: 3, Configuration: conf, ConfigurationIndex: 1, Size: int64(len(data)),
		})}},
		&raftv1.SnapshotChunk{Part: &raftv1.SnapshotChunk_Data{Data: &raftv1.SnapshotData{Bytes: data, Crc: crc32.Checksum(data, castagnoli)}}},
		&raftv1.SnapshotChunk{Part: &raftv1.SnapshotChunk_End{End: &raftv1.SnapshotEnd{Size: int64(len(data)), Crc: crc32.Checksum(data, castagnoli)}}},
	))
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 4<<10 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 3)
			n, peer := c.nodes[0], c.nodes[1]
			n.start()
			defer func() {
				n.stop()
				c.net.Close()
			}()
			from := raft.RPCHeader{ProtocolVersion: 3, ID: []byte(ServerID(peer.id)), Addr: []byte(Address(peer.id, peer.dir))}
			for len(input) >= 3 {
				kind, size := input[0]%fuzzKinds, min(int(binary.BigEndian.Uint16(input[1:])), len(input)-3)
				before := n.raft().CurrentTerm()
				n.receive(t, kind, input[3:3+size], encodeHeader(from))
				input = input[3+size:]
				time.Sleep(10 * time.Millisecond)
				if now := n.raft().CurrentTerm(); now < before {
					t.Fatalf("term %d, before %d", now, before)
				}
			}
			time.Sleep(time.Second)
			if s := n.raft().State(); s == raft.Shutdown {
				t.Fatal("raft has ended")
			}
			if applied, last := n.raft().AppliedIndex(), n.raft().LastIndex(); applied > last {
				t.Fatalf("entry %d is applied, the log ends with %d", applied, last)
			}
		})
	})
}

// receive hands a message to the handler of its kind, as gRPC would.
func (n *node) receive(t *testing.T, kind byte, p []byte, from *raftv1.Header) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var err error
	switch kind {
	case fuzzAppend:
		m := &raftv1.AppendEntriesRequest{}
		if proto.Unmarshal(p, m) == nil {
			m.Topic, m.Partition, m.Header = Topic, Partition, from
			_, err = n.transport.AppendEntries(ctx, m)
		}
	case fuzzVote:
		m := &raftv1.RequestVoteRequest{}
		if proto.Unmarshal(p, m) == nil {
			m.Topic, m.Partition, m.Header = Topic, Partition, from
			_, err = n.transport.RequestVote(ctx, m)
		}
	case fuzzPreVote:
		m := &raftv1.RequestPreVoteRequest{}
		if proto.Unmarshal(p, m) == nil {
			m.Topic, m.Partition, m.Header = Topic, Partition, from
			_, err = n.transport.RequestPreVote(ctx, m)
		}
	case fuzzTimeoutNow:
		m := &raftv1.TimeoutNowRequest{}
		if proto.Unmarshal(p, m) == nil {
			m.Topic, m.Partition, m.Header = Topic, Partition, from
			_, err = n.transport.TimeoutNow(ctx, m)
		}
	case fuzzSnapshot:
		err = n.transport.InstallSnapshot(&chunkStream{ctx: ctx, rest: p, from: from})
	}
	if _, ok := status.FromError(err); !ok {
		t.Errorf("an error that gRPC does not know: %v", err)
	}
}

// chunkStream is the receiving end of a stream of chunks.
type chunkStream struct {
	grpc.ServerStream
	ctx  context.Context
	rest []byte
	from *raftv1.Header
}

func (s *chunkStream) Context() context.Context         { return s.ctx }
func (s *chunkStream) Send(*raftv1.SnapshotReply) error { return nil }

func (s *chunkStream) Recv() (*raftv1.SnapshotChunk, error) {
	if len(s.rest) < 2 {
		return nil, io.EOF
	}
	size := min(int(binary.BigEndian.Uint16(s.rest)), len(s.rest)-2)
	m := &raftv1.SnapshotChunk{}
	err := proto.Unmarshal(s.rest[2:2+size], m)
	s.rest = s.rest[2+size:]
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	m.Topic, m.Partition = Topic, Partition
	if m.GetStart() != nil {
		m.GetStart().Header = s.from
	}
	return m, nil
}
