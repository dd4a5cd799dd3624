package rpc

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// RefusedError says that an identity is not the right one: a call was answered
// FAILED_PRECONDITION, or did not leave because it would have been. Trying again
// at once is of no use: somebody has to act.
type RefusedError struct {
	Peer   int32                 // the node that was called, or that called
	By     int32                 // the node that refuses
	Reason raftv1.Refusal_Reason // why
	Want   string                // what the refusing side holds
	Got    string                // what it was shown
}

// Error says what, why, and what to do.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("node %d refuses: %s", e.By, e.text())
}

func (e *RefusedError) text() string {
	switch e.Reason {
	case raftv1.Refusal_REASON_NO_IDENTITY:
		return fmt.Sprintf("the call carries no readable identity (%s); only nodes of the cluster may call the Raft port", e.Got)
	case raftv1.Refusal_REASON_PROTOCOL:
		return fmt.Sprintf("it speaks protocol %s, the caller %s; upgrade one release at a time", e.Want, e.Got)
	case raftv1.Refusal_REASON_WRONG_CLUSTER:
		return fmt.Sprintf("it belongs to cluster %s, the caller to %s; check --peers of both, or the data directory if one of them was moved", e.Want, e.Got)
	case raftv1.Refusal_REASON_WRONG_NODE:
		return fmt.Sprintf("behind this address is %s, not %s; check --peers, and whether the node was started on another data directory", e.Want, e.Got)
	case raftv1.Refusal_REASON_UNKNOWN_DIRECTORY:
		return fmt.Sprintf("the caller's node id stands in the cluster with directory %s, not %s; "+
			"if its volume is not mounted, mount it; if two processes use one --node-id, stop one; if the disk was replaced, let the node rejoin as a new one", e.Want, e.Got)
	case raftv1.Refusal_REASON_OLD_GENERATION:
		return fmt.Sprintf("the cluster was recovered (generation %s) without the caller (generation %s); the caller has to rejoin with an empty data directory", e.Want, e.Got)
	case raftv1.Refusal_REASON_OWN_NODE_ID:
		return fmt.Sprintf("the caller shows its own node id (%s); if the address leads back to the caller itself, correct --peers or --advertised-addr, else two processes use one --node-id: stop one", e.Got)
	default:
		return fmt.Sprintf("reason %v (has %q, was shown %q)", e.Reason, e.Want, e.Got)
	}
}

// GRPCStatus lets status.Code and status.FromError see what it was on the wire.
func (e *RefusedError) GRPCStatus() *status.Status {
	s := status.New(codes.FailedPrecondition, e.text())
	d, err := s.WithDetails(&raftv1.Refusal{Reason: e.Reason, Want: e.Want, Got: e.Got, NodeId: e.By})
	if err != nil {
		return s
	}
	return d
}

// asRefused returns the refusal that err carries, if it does.
func asRefused(peer int32, err error) (*RefusedError, bool) {
	var own *RefusedError
	if errors.As(err, &own) {
		return own, true
	}
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.FailedPrecondition {
		return nil, false
	}
	for _, d := range s.Details() {
		if r, ok := d.(*raftv1.Refusal); ok {
			return &RefusedError{Peer: peer, By: r.GetNodeId(), Reason: r.GetReason(), Want: r.GetWant(), Got: r.GetGot()}, true
		}
	}
	return nil, false
}

// complaints logs a refusal the first time and then once a minute.
type complaints struct {
	mu   sync.Mutex
	last map[complaint]time.Time
}

type complaint struct {
	reason raftv1.Refusal_Reason
	peer   int32
	by     int32
}

const (
	complaintEvery = time.Minute
	complaintsMax  = 1024 // node ids come from the network
)

func (c *complaints) due(e *RefusedError) bool {
	k := complaint{e.Reason, e.Peer, e.By}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if last, ok := c.last[k]; ok && now.Sub(last) < complaintEvery {
		return false
	}
	if c.last == nil || len(c.last) >= complaintsMax {
		c.last = map[complaint]time.Time{}
	}
	c.last[k] = now
	return true
}

func (c *complaints) log(l *slog.Logger, e *RefusedError) {
	if c.due(e) {
		l.Error("Wrong identity between nodes", "peer", e.Peer, "refused_by", e.By, "reason", e.Reason.String(), "error", e.text())
	}
}
