package raftrpc

//lint:file-ignore SA1019 the wire carries every field that raft has, the deprecated ones too

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// The messages are raft's structs, field by field; codec_test.go fails when raft
// gains one.

func encodeHeader(h raft.RPCHeader) *raftv1.Header {
	return &raftv1.Header{ProtocolVersion: int32(h.ProtocolVersion), Id: h.ID, Addr: h.Addr}
}

func decodeHeader(m *raftv1.Header) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersion(m.GetProtocolVersion()), ID: m.GetId(), Addr: m.GetAddr()}
}

func encodeEntry(l *raft.Log) *raftv1.Entry {
	e := &raftv1.Entry{Index: l.Index, Term: l.Term, Type: uint32(l.Type), Data: l.Data, Extensions: l.Extensions}
	if !l.AppendedAt.IsZero() {
		ns := l.AppendedAt.UnixNano()
		e.AppendedAtNs = &ns
	}
	return e
}

// decodeEntry refuses what raft would panic on.
func decodeEntry(m *raftv1.Entry) (*raft.Log, error) {
	switch t := raft.LogType(m.GetType()); {
	case m.GetType() > uint32(raft.LogConfiguration), t == raft.LogAddPeerDeprecated, t == raft.LogRemovePeerDeprecated:
		return nil, fmt.Errorf("entry %d has type %d, which is not known", m.GetIndex(), m.GetType())
	case t == raft.LogConfiguration:
		if err := checkConfiguration(m.GetData()); err != nil {
			return nil, fmt.Errorf("entry %d: %w", m.GetIndex(), err)
		}
	}
	l := &raft.Log{Index: m.GetIndex(), Term: m.GetTerm(), Type: raft.LogType(m.GetType()), Data: m.GetData(), Extensions: m.GetExtensions()}
	if m.AppendedAtNs != nil {
		l.AppendedAt = time.Unix(0, m.GetAppendedAtNs())
	}
	return l, nil
}

// checkConfiguration reports whether raft can decode a configuration: it panics if not.
func checkConfiguration(p []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("its configuration cannot be read: %v", v)
		}
	}()
	raft.DecodeConfiguration(p)
	return nil
}

func encodeAppendRequest(r *raft.AppendEntriesRequest) *raftv1.AppendEntriesRequest {
	m := &raftv1.AppendEntriesRequest{
		Topic: Topic, Partition: Partition, Header: encodeHeader(r.RPCHeader),
		Term: r.Term, Leader: r.Leader, PrevIndex: r.PrevLogEntry, PrevTerm: r.PrevLogTerm, CommitIndex: r.LeaderCommitIndex,
	}
	if len(r.Entries) > 0 {
		m.Entries = make([]*raftv1.Entry, len(r.Entries))
		for k, l := range r.Entries {
			m.Entries[k] = encodeEntry(l)
		}
	}
	return m
}

// decodeAppendRequest refuses entries that do not follow each other: raft
// stores them as they come.
func decodeAppendRequest(m *raftv1.AppendEntriesRequest) (*raft.AppendEntriesRequest, error) {
	r := &raft.AppendEntriesRequest{
		RPCHeader: decodeHeader(m.GetHeader()),
		Term:      m.GetTerm(), Leader: m.GetLeader(), PrevLogEntry: m.GetPrevIndex(), PrevLogTerm: m.GetPrevTerm(),
		LeaderCommitIndex: m.GetCommitIndex(),
	}
	if len(m.GetEntries()) == 0 {
		return r, nil
	}
	r.Entries = make([]*raft.Log, len(m.GetEntries()))
	for k, e := range m.GetEntries() {
		if want := r.PrevLogEntry + 1 + uint64(k); e.GetIndex() != want {
			return nil, fmt.Errorf("entry %d stands where entry %d belongs", e.GetIndex(), want)
		}
		l, err := decodeEntry(e)
		if err != nil {
			return nil, err
		}
		r.Entries[k] = l
	}
	return r, nil
}

func encodeAppendResponse(r *raft.AppendEntriesResponse) *raftv1.AppendEntriesResponse {
	return &raftv1.AppendEntriesResponse{
		Topic: Topic, Partition: Partition, Header: encodeHeader(r.RPCHeader),
		Term: r.Term, LastIndex: r.LastLog, Success: r.Success, NoRetryBackoff: r.NoRetryBackoff,
	}
}

func decodeAppendResponse(m *raftv1.AppendEntriesResponse) *raft.AppendEntriesResponse {
	return &raft.AppendEntriesResponse{
		RPCHeader: decodeHeader(m.GetHeader()),
		Term:      m.GetTerm(), LastLog: m.GetLastIndex(), Success: m.GetSuccess(), NoRetryBackoff: m.GetNoRetryBackoff(),
	}
}

func encodeVoteRequest(r *raft.RequestVoteRequest) *raftv1.RequestVoteRequest {
	return &raftv1.RequestVoteRequest{
		Topic: Topic, Partition: Partition, Header: encodeHeader(r.RPCHeader),
		Term: r.Term, Candidate: r.Candidate, LastIndex: r.LastLogIndex, LastTerm: r.LastLogTerm, LeadershipTransfer: r.LeadershipTransfer,
	}
}

func decodeVoteRequest(m *raftv1.RequestVoteRequest) *raft.RequestVoteRequest {
	return &raft.RequestVoteRequest{
		RPCHeader: decodeHeader(m.GetHeader()),
		Term:      m.GetTerm(), Candidate: m.GetCandidate(), LastLogIndex: m.GetLastIndex(), LastLogTerm: m.GetLastTerm(),
		LeadershipTransfer: m.GetLeadershipTransfer(),
	}
}

func encodeVoteResponse(r *raft.RequestVoteResponse) *raftv1.RequestVoteResponse {
	return &raftv1.RequestVoteResponse{
		Topic: Topic, Partition: Partition, Header: encodeHeader(r.RPCHeader),
		Term: r.Term, Peers: r.Peers, Granted: r.Granted,
	}
}

func decodeVoteResponse(m *raftv1.RequestVoteResponse) *raft.RequestVoteResponse {
	return &raft.RequestVoteResponse{
		RPCHeader: decodeHeader(m.GetHeader()),
		Term:      m.GetTerm(), Peers: m.GetPeers(), Granted: m.GetGranted(),
	}
}

func encodePreVoteRequest(r *raft.RequestPreVoteRequest) *raftv1.RequestPreVoteRequest {
	return &raftv1.RequestPreVoteRequest{
		Topic: Topic, Partition: Partition, Header: encodeHeader(r.RPCHeader),
		Term: r.Term, LastIndex: r.LastLogIndex, LastTerm: r.LastLogTerm,
	}
}

func decodePreVoteRequest(m *raftv1.RequestPreVoteRequest) *raft.RequestPreVoteRequest {
	return &raft.RequestPreVoteRequest{
		RPCHeader: decodeHeader(m.GetHeader()),
		Term:      m.GetTerm(), LastLogIndex: m.GetLastIndex(), LastLogTerm: m.GetLastTerm(),
	}
}

func encodePreVoteResponse(r *raft.RequestPreVoteResponse) *raftv1.RequestPreVoteResponse {
	return &raftv1.RequestPreVoteResponse{
		Topic: Topic, Partition: Partition, Header: encodeHeader(r.RPCHeader), Term: r.Term, Granted: r.Granted,
	}
}

func decodePreVoteResponse(m *raftv1.RequestPreVoteResponse) *raft.RequestPreVoteResponse {
	return &raft.RequestPreVoteResponse{RPCHeader: decodeHeader(m.GetHeader()), Term: m.GetTerm(), Granted: m.GetGranted()}
}

func encodeTimeoutNowRequest(r *raft.TimeoutNowRequest) *raftv1.TimeoutNowRequest {
	return &raftv1.TimeoutNowRequest{Topic: Topic, Partition: Partition, Header: encodeHeader(r.RPCHeader)}
}

func decodeTimeoutNowRequest(m *raftv1.TimeoutNowRequest) *raft.TimeoutNowRequest {
	return &raft.TimeoutNowRequest{RPCHeader: decodeHeader(m.GetHeader())}
}

func encodeTimeoutNowResponse(r *raft.TimeoutNowResponse) *raftv1.TimeoutNowResponse {
	return &raftv1.TimeoutNowResponse{Topic: Topic, Partition: Partition, Header: encodeHeader(r.RPCHeader)}
}

func decodeTimeoutNowResponse(m *raftv1.TimeoutNowResponse) *raft.TimeoutNowResponse {
	return &raft.TimeoutNowResponse{RPCHeader: decodeHeader(m.GetHeader())}
}

func encodeInstallRequest(r *raft.InstallSnapshotRequest) *raftv1.InstallSnapshotRequest {
	return &raftv1.InstallSnapshotRequest{
		Topic: Topic, Partition: Partition, Header: encodeHeader(r.RPCHeader),
		SnapshotVersion: int32(r.SnapshotVersion), Term: r.Term, Leader: r.Leader,
		LastIndex: r.LastLogIndex, LastTerm: r.LastLogTerm, Peers: r.Peers,
		Configuration: r.Configuration, ConfigurationIndex: r.ConfigurationIndex, Size: r.Size,
	}
}

// decodeInstallRequest refuses what raft would panic on.
func decodeInstallRequest(m *raftv1.InstallSnapshotRequest) (*raft.InstallSnapshotRequest, error) {
	if err := checkConfiguration(m.GetConfiguration()); err != nil {
		return nil, fmt.Errorf("snapshot at entry %d: %w", m.GetLastIndex(), err)
	}
	if m.GetSize() < 0 || m.GetSnapshotVersion() != 1 {
		return nil, fmt.Errorf("snapshot at entry %d: version %d, size %d", m.GetLastIndex(), m.GetSnapshotVersion(), m.GetSize())
	}
	return &raft.InstallSnapshotRequest{
		RPCHeader:       decodeHeader(m.GetHeader()),
		SnapshotVersion: raft.SnapshotVersion(m.GetSnapshotVersion()), Term: m.GetTerm(), Leader: m.GetLeader(),
		LastLogIndex: m.GetLastIndex(), LastLogTerm: m.GetLastTerm(), Peers: m.GetPeers(),
		Configuration: m.GetConfiguration(), ConfigurationIndex: m.GetConfigurationIndex(), Size: m.GetSize(),
	}, nil
}

func encodeInstallResponse(r *raft.InstallSnapshotResponse) *raftv1.InstallSnapshotResponse {
	return &raftv1.InstallSnapshotResponse{
		Topic: Topic, Partition: Partition, Header: encodeHeader(r.RPCHeader), Term: r.Term, Success: r.Success,
	}
}

func decodeInstallResponse(m *raftv1.InstallSnapshotResponse) *raft.InstallSnapshotResponse {
	return &raft.InstallSnapshotResponse{RPCHeader: decodeHeader(m.GetHeader()), Term: m.GetTerm(), Success: m.GetSuccess()}
}
