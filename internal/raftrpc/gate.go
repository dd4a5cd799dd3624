package raftrpc

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// gateSlow is from which time on the gate's work is logged.
const gateSlow = 100 * time.Millisecond

// gate answers heartbeats while raft is busy with what the same leader sent.
//
// Every AppendEntries goes through raft's one main goroutine, so a heartbeat
// would wait behind a slow write of the entries before it, and the leader would
// lose its lease though the follower is well. While raft is inside an
// AppendEntries or InstallSnapshot of (leader, term) it can neither vote nor
// campaign, and what it will say to a heartbeat of the same (leader, term) is
// known: it said so to the one before. Its own election timer is safe too: the
// busy call ends with contact. After a limit the gate is silent: a follower that
// hangs must look dead.
//
// So an answered heartbeat is no proof that the follower's raft has seen it:
// VerifyLeader must not be built upon.
type gate struct {
	mu      sync.Mutex
	calls   uint64    // taken by raft so far; the number of the last one
	current reign     // of that one
	busy    bool      // raft has not answered it
	install bool      // it is an InstallSnapshot
	since   time.Time // when raft took it
	limit   time.Duration
	beats   int           // answered meanwhile
	changed chan struct{} // closed when busy becomes true

	// The last call that raft has answered: of whom, that it follows them in
	// that term, and that it was a success.
	last    reign
	follows bool
	success bool
}

// reign is a leader in its term.
type reign struct {
	leader int32
	term   uint64
}

func (g *gate) init() { g.changed = make(chan struct{}) }

// heartbeat reports whether a request is one of raft's heartbeats, which say
// nothing but that the leader is alive.
func heartbeat(r *raft.AppendEntriesRequest) bool {
	return r.PrevLogEntry == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0 && r.Term > 0
}

// open reports whether the gate answers a heartbeat; if not, changed is closed
// when that is worth asking again. term is raft's current term.
func (g *gate) open(who reign, now time.Time, term uint64) (ok bool, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ok = g.busy && !invariant.Mutant("raftrpc-no-gate") && g.current == who && g.last == who && term == who.term &&
		g.follows && (g.success || g.install) && now.Sub(g.since) < g.limit
	if ok {
		g.beats++
		return true, nil
	}
	if g.busy {
		return false, nil // it may end before raft takes the heartbeat; nothing else will open the gate
	}
	return false, g.changed
}

// begin notes that raft has taken a call, and returns its number.
func (g *gate) begin(who reign, install bool, limit time.Duration) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
	g.current, g.busy, g.install, g.since, g.limit, g.beats = who, true, install, time.Now(), limit, 0
	close(g.changed)
	g.changed = make(chan struct{})
	return g.calls
}

// end notes what raft has answered (nil: an error). If call is the number of the
// one it was busy with, end returns what the gate has done meanwhile; 0 is a heartbeat.
func (g *gate) end(who reign, call uint64, resp *raft.AppendEntriesResponse) (beats int, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = who
	g.follows = resp != nil && resp.Term == who.term
	g.success = g.follows && resp.Success
	if call == 0 || call != g.calls || !g.busy {
		return 0, 0
	}
	g.busy = false
	return g.beats, time.Since(g.since)
}
