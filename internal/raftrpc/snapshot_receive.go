package raftrpc

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/invariant"
	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// installingEvery is how often a sender is told that raft is still installing.
const installingEvery = time.Second

// InstallSnapshot implements raftv1.RaftServer. The data go to a file first:
// raft copies them on its main goroutine, and would neither heartbeat nor vote
// for as long as a slow network takes.
func (t *Transport) InstallSnapshot(s grpc.BidiStreamingServer[raftv1.SnapshotChunk, raftv1.SnapshotReply]) error {
	m, err := s.Recv()
	if err != nil {
		return ended(err)
	}
	if m.GetStart() == nil {
		return invalid(errors.New("a snapshot begins with its description"))
	}
	i, err := t.attached(m)
	if err != nil {
		return err
	}
	node, err := sender(s.Context(), m.GetStart().GetHeader())
	if err != nil {
		return err
	}
	req, err := decodeInstallRequest(m.GetStart())
	if err != nil {
		return invalid(err)
	}
	r := &snapshotReceiver{t: t, s: s, node: node, req: req}
	outcome, err := r.run(i)
	t.o.Metrics.snapshotsIn.WithLabelValues(outcome).Inc()
	t.o.Logger.Info("Received a snapshot", "node", i.self.NodeID, "leader", node, "index", req.LastLogIndex, "term", req.Term,
		"size", req.Size, "outcome", outcome, "error", err)
	return err
}

// snapshotReceiver receives one snapshot over one stream.
type snapshotReceiver struct {
	t    *Transport
	s    grpc.BidiStreamingServer[raftv1.SnapshotChunk, raftv1.SnapshotReply]
	node int32
	req  *raft.InstallSnapshotRequest
}

func (r *snapshotReceiver) reply(m *raftv1.SnapshotReply) error {
	m.Topic, m.Partition = Topic, Partition
	return r.s.Send(m)
}

func (r *snapshotReceiver) respond(resp *raft.InstallSnapshotResponse) error {
	return r.reply(&raftv1.SnapshotReply{Part: &raftv1.SnapshotReply_Response{Response: encodeInstallResponse(resp)}})
}

// run returns what has become of the snapshot, for the metrics, and the end of the stream.
func (r *snapshotReceiver) run(i *Instance) (outcome string, err error) {
	outcome, resp, err := i.judge(r.node, r.req)
	if err != nil {
		return outcome, err
	}
	if resp != nil {
		return outcome, r.respond(resp)
	}
	sp, err := r.t.spools.take(r.node, r.req)
	if err != nil {
		return "failed", status.Errorf(codes.ResourceExhausted, "node %d has no place for the snapshot: %v", i.self.NodeID, err)
	}
	whole, err := r.fill(i, sp)
	if !whole {
		// What is here is kept for the next try, unless it is wrong.
		if status.Code(err) == codes.DataLoss || status.Code(err) == codes.ResourceExhausted {
			r.t.spools.drop(sp)
		} else {
			r.t.spools.park(sp)
		}
		return "failed", err
	}
	defer r.t.spools.drop(sp)
	// Much may have happened meanwhile, a restart of raft in place among it.
	if i, err = r.t.current(); err != nil {
		return "failed", err
	}
	if outcome, resp, err = i.judge(r.node, r.req); err != nil {
		return outcome, err
	}
	if resp != nil {
		return outcome, r.respond(resp)
	}
	resp, err = r.install(i, sp)
	if err != nil {
		return "failed", err
	}
	outcome = "refused"
	if resp.Success {
		outcome = "installed"
	}
	return outcome, r.respond(resp)
}

// fill takes the data down to the spool; whole if all of them are there and right.
func (r *snapshotReceiver) fill(i *Instance, sp *spool) (whole bool, err error) {
	if err := r.reply(&raftv1.SnapshotReply{Part: &raftv1.SnapshotReply_ResumeFrom{ResumeFrom: sp.size}}); err != nil {
		return false, err
	}
	for {
		m, err := r.s.Recv()
		if err != nil {
			// The end of the stream before the end of the data is an error like any other.
			return false, status.Errorf(codes.Aborted, "the stream of the snapshot broke after %d of %d bytes: %v", sp.size, r.req.Size, err)
		}
		switch part := m.GetPart().(type) {
		case *raftv1.SnapshotChunk_Data:
			d := part.Data
			if d.GetOffset() != sp.size || d.GetOffset()+int64(len(d.GetBytes())) > r.req.Size || crc32.Checksum(d.GetBytes(), castagnoli) != d.GetCrc() {
				return false, status.Errorf(codes.DataLoss, "a piece of the snapshot is wrong: %d bytes at %d, with %d of %d here", len(d.GetBytes()), d.GetOffset(), sp.size, r.req.Size)
			}
			if err := sp.write(d.GetBytes()); err != nil {
				return false, status.Errorf(codes.ResourceExhausted, "node %d cannot store the snapshot: %v", i.self.NodeID, err)
			}
			r.t.o.Metrics.snapshotBytes.WithLabelValues("in").Add(float64(len(d.GetBytes())))
			i.heard(r.node, r.req.Term)
		case *raftv1.SnapshotChunk_End:
			if part.End.GetSize() != sp.size || sp.size != r.req.Size || part.End.GetCrc() != sp.crc {
				return false, status.Errorf(codes.DataLoss, "the snapshot is not whole: %d of %d bytes, checksum %08x, want %08x", sp.size, r.req.Size, sp.crc, part.End.GetCrc())
			}
			return true, nil
		default:
			return false, invalid(errors.New("the description of a snapshot in the middle of it"))
		}
	}
}

// install gives the snapshot to raft, and tells the sender that it is at it.
func (r *snapshotReceiver) install(i *Instance, sp *spool) (*raft.InstallSnapshotResponse, error) {
	stop := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		t := time.NewTicker(installingEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				_ = r.reply(&raftv1.SnapshotReply{Part: &raftv1.SnapshotReply_Installing{Installing: true}})
			case <-stop:
				return
			}
		}
	})
	who := reign{r.node, r.req.Term}
	var call uint64
	answer, err := i.offer(r.s.Context(), r.req, io.NewSectionReader(sp.file, 0, sp.size), nil, func() {
		call = i.gate.begin(who, true, i.t.o.InstallTimeout)
	})
	close(stop)
	telling.Wait()
	resp, ok := answer.(*raft.InstallSnapshotResponse)
	if err == nil && !ok {
		err = unexpected(answer)
	}
	if call != 0 {
		var as *raft.AppendEntriesResponse
		if err == nil {
			as = &raft.AppendEntriesResponse{Term: resp.Term, Success: resp.Success}
		}
		i.passed(who, call, as)
	}
	return resp, err
}

// judge decides what becomes of a snapshot before raft sees it: an answer, an
// error, or neither, which means to install it.
func (i *Instance) judge(node int32, req *raft.InstallSnapshotRequest) (outcome string, resp *raft.InstallSnapshotResponse, err error) {
	r := i.raft.Load()
	if r == nil {
		return "refused", nil, status.Errorf(codes.Unavailable, "node %d: Raft is starting", i.self.NodeID)
	}
	term := r.CurrentTerm()
	resp = &raft.InstallSnapshotResponse{RPCHeader: i.header(), Term: term}
	_, leader := r.LeaderWithID()
	switch {
	case req.Term < term:
		return "refused", resp, nil
	case r.AppliedIndex() >= req.LastLogIndex:
		// All that it covers is applied here. raft would go back to it, and
		// might miss entries in between that are compacted here.
		if req.Term > term || leader != ServerID(node) {
			return "refused", nil, status.Errorf(codes.Unavailable, "node %d has applied entry %d already and does not follow node %d in term %d yet", i.self.NodeID, req.LastLogIndex, node, req.Term)
		}
		resp.Success = true
		return "held", resp, nil
	}
	var l raft.Log
	switch err := i.o.Logs.GetLog(req.LastLogIndex, &l); {
	case errors.Is(err, raft.ErrLogNotFound):
		return "", nil, nil
	case err != nil:
		return "failed", nil, status.Errorf(codes.Unavailable, "node %d cannot read its entry %d: %v", i.self.NodeID, req.LastLogIndex, err)
	case l.Term == req.LastLogTerm, invariant.Mutant("raftrpc-no-conflict-check"):
		return "", nil, nil
	}
	err = fmt.Errorf("entry %d has term %d here and %d in the snapshot: Raft is restarted without it", req.LastLogIndex, l.Term, req.LastLogTerm)
	i.t.o.Logger.Warn("A snapshot conflicts with the log", "node", i.self.NodeID, "leader", node, "index", req.LastLogIndex, "error", err)
	if i.o.OnConflict != nil && i.conflict.CompareAndSwap(false, true) {
		i.o.OnConflict(req.LastLogIndex)
	}
	return "conflict", nil, status.Errorf(codes.Aborted, "node %d: %v", i.self.NodeID, err)
}

// heard notes that a leader is alive.
func (i *Instance) heard(leader int32, term uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if term >= i.contact.Term {
		i.contact = Contact{Leader: leader, Term: term, At: time.Now()}
	}
}
