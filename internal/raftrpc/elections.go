package raftrpc

import (
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// elections writes the lines of an election from what happens in the transport.
//
// raft asks all voters at once, each in a goroutine of its own, and says nothing
// before: the first request of a term is what tells that this node is a
// candidate. The mutex is held over the check and both lines, for else a
// request could be logged before the candidacy.
type elections struct {
	log     *slog.Logger
	node    int32
	metrics *Metrics

	mu    sync.Mutex
	term  uint64 // of the last candidacy that was logged
	cause Cause  // of the next one, if it is known
}

// expect notes why the next candidacy comes; empty for none.
func (e *elections) expect(c Cause) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cause = c
}

// candidate logs the first sign of a candidacy.
func (e *elections) candidate(term uint64, forced bool, args ...any) {
	if term <= e.term {
		return
	}
	cause := CauseTimeout
	if forced && e.cause != "" {
		cause = e.cause
	}
	e.term, e.cause = term, ""
	e.metrics.elections.WithLabelValues(string(cause)).Inc()
	e.log.Info("became candidate at term "+utoa(term), append([]any{"node", e.node, "term", term, "cause", string(cause)}, args...)...)
}

// alone is told of the candidacy of a single voter, which asks nobody.
func (e *elections) alone(term uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.candidate(term, true)
}

func (e *elections) sentRequest(peer int32, r *raft.RequestVoteRequest) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.candidate(r.Term, r.LeadershipTransfer, "last_log_index", r.LastLogIndex, "last_log_term", r.LastLogTerm)
	e.log.Info("sent RequestVote", "node", e.node, "peer", peer, "term", r.Term,
		"last_log_index", r.LastLogIndex, "last_log_term", r.LastLogTerm)
}

func (e *elections) receivedResponse(peer int32, asked uint64, r *raft.RequestVoteResponse, took time.Duration) {
	e.log.Info("received RequestVoteResponse", "node", e.node, "peer", peer, "term", asked,
		"granted", r.Granted, "peer_term", r.Term, "duration", took)
}

func (e *elections) receivedRequest(peer int32, r *raft.RequestVoteRequest) {
	e.log.Info("received RequestVote", "node", e.node, "peer", peer, "term", r.Term,
		"last_log_index", r.LastLogIndex, "last_log_term", r.LastLogTerm)
}

func (e *elections) sentResponse(peer int32, asked uint64, r *raft.RequestVoteResponse, took time.Duration) {
	e.log.Info("sent RequestVoteResponse", "node", e.node, "peer", peer, "term", asked,
		"granted", r.Granted, "own_term", r.Term, "duration", took)
}
