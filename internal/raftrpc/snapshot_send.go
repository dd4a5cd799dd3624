package raftrpc

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// chunkBytes is how much of a snapshot one message carries.
const chunkBytes = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errNoProgress = errors.New("the snapshot makes no progress")

type snapshotStream = grpc.BidiStreamingClient[raftv1.SnapshotChunk, raftv1.SnapshotReply]

// InstallSnapshot implements raft.Transport. It has no deadline but one of
// progress, and ends when raft stops leading. Snapshots go one at a time, on
// connections of their own, and not faster than the limit.
func (i *Instance) InstallSnapshot(_ raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest,
	resp *raft.InstallSnapshotResponse, data io.Reader,
) error {
	node, c, err := i.client(target, i.t.o.Peers.Bulk)
	if err != nil {
		return err
	}
	leading := i.while()
	select {
	case i.t.sending <- struct{}{}:
	case <-leading.Done():
		return i.failed("InstallSnapshot", node, context.Cause(leading))
	}
	defer func() { <-i.t.sending }()
	ctx, cancel := context.WithCancelCause(leading)
	defer cancel(nil)
	s := &snapshotSender{i: i, node: node, args: args, data: data, ctx: ctx}
	s.watchdog = time.AfterFunc(i.t.o.SnapshotProgress, func() { cancel(errNoProgress) })
	defer s.watchdog.Stop()
	start := time.Now()
	m, err := s.send(c)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(cause, err)
		}
		i.t.o.Metrics.snapshotsSent.WithLabelValues("failed").Inc()
		return i.failed("InstallSnapshot", node, err)
	}
	*resp = *decodeInstallResponse(m)
	outcome := "refused"
	if resp.Success {
		outcome = "installed"
	}
	i.t.o.Metrics.snapshotsSent.WithLabelValues(outcome).Inc()
	i.t.o.Logger.Info("Sent a snapshot", "node", i.self.NodeID, "peer", node, "index", args.LastLogIndex, "term", args.Term,
		"size", args.Size, "resumed_from", s.resumed, "outcome", outcome, "took", time.Since(start))
	return nil
}

// snapshotSender sends one snapshot over one stream.
type snapshotSender struct {
	i        *Instance
	node     int32
	args     *raft.InstallSnapshotRequest
	data     io.Reader
	ctx      context.Context
	watchdog *time.Timer
	crc      uint32
	resumed  int64
}

// progressed gives the watchdog its time back.
func (s *snapshotSender) progressed() { s.watchdog.Reset(s.i.t.o.SnapshotProgress) }

func (s *snapshotSender) send(c raftv1.RaftClient) (*raftv1.InstallSnapshotResponse, error) {
	stream, err := c.InstallSnapshot(s.ctx, wait)
	if err != nil {
		return nil, err
	}
	if err := s.put(stream, &raftv1.SnapshotChunk{Part: &raftv1.SnapshotChunk_Start{Start: encodeInstallRequest(s.args)}}); err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if r := first.GetResponse(); r != nil {
		return r, nil // refused, or held already
	}
	s.progressed()
	if s.resumed = first.GetResumeFrom(); s.resumed < 0 || s.resumed > s.args.Size {
		return nil, fmt.Errorf("node %d wants the snapshot from byte %d of %d", s.node, s.resumed, s.args.Size)
	}
	if err := s.skip(); err != nil {
		return nil, err
	}
	if err := s.stream(stream); err != nil {
		return nil, err
	}
	return s.await(stream)
}

// put sends a message. A stream that the other side has ended says io.EOF here,
// and why when it is read.
func (s *snapshotSender) put(stream snapshotStream, m *raftv1.SnapshotChunk) error {
	m.Topic, m.Partition = Topic, Partition
	err := stream.Send(m)
	if errors.Is(err, io.EOF) {
		for err = nil; err == nil; {
			_, err = stream.Recv()
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}
	if err == nil {
		s.progressed()
	}
	return err
}

// skip reads past what the follower has from an earlier try.
func (s *snapshotSender) skip() error {
	p := make([]byte, chunkBytes)
	for left := s.resumed; left > 0; {
		n, err := io.ReadFull(s.data, p[:min(left, chunkBytes)])
		s.crc = crc32.Update(s.crc, castagnoli, p[:n])
		if left -= int64(n); err != nil {
			return fmt.Errorf("read the snapshot: %w", err)
		}
		s.progressed()
	}
	return nil
}

// stream sends the data and the end, at no more than the limit.
func (s *snapshotSender) stream(stream snapshotStream) error {
	rate := time.Duration(s.i.t.o.SnapshotRate)
	next := time.Now()
	for offset := s.resumed; offset < s.args.Size; {
		p := make([]byte, min(s.args.Size-offset, chunkBytes)) // gRPC keeps it after Send
		if _, err := io.ReadFull(s.data, p); err != nil {
			return fmt.Errorf("read the snapshot: %w", err)
		}
		s.crc = crc32.Update(s.crc, castagnoli, p)
		m := &raftv1.SnapshotData{Offset: offset, Bytes: p, Crc: crc32.Checksum(p, castagnoli)}
		if err := s.put(stream, &raftv1.SnapshotChunk{Part: &raftv1.SnapshotChunk_Data{Data: m}}); err != nil {
			return err
		}
		offset += int64(len(p))
		s.i.t.o.Metrics.snapshotBytes.WithLabelValues("out").Add(float64(len(p)))
		next = next.Add(time.Duration(len(p)) * time.Second / rate)
		if err := s.pause(time.Until(next)); err != nil {
			return err
		}
	}
	end := &raftv1.SnapshotEnd{Size: s.args.Size, Crc: s.crc}
	if err := s.put(stream, &raftv1.SnapshotChunk{Part: &raftv1.SnapshotChunk_End{End: end}}); err != nil {
		return err
	}
	return stream.CloseSend()
}

func (s *snapshotSender) pause(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// await waits until the follower has installed the snapshot; it tells that it is at it.
func (s *snapshotSender) await(stream snapshotStream) (*raftv1.InstallSnapshotResponse, error) {
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if r := m.GetResponse(); r != nil {
			return r, nil
		}
		s.progressed()
	}
}
