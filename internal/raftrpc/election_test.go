package raftrpc

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// The lines of a founding: each stands where it happened, in this order, for
// whatever raft's goroutines do.
func TestFoundingWritesTheLinesOfAnElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.start()
		defer c.end()
		start := time.Now()
		if err := c.nodes[0].instance().Campaign(t.Context(), CauseFounding, nil); err != nil {
			t.Fatal(err)
		}
		l := c.leader(time.Second)
		if took := time.Since(start); l != c.nodes[0] || took > 50*time.Millisecond {
			t.Errorf("%s leads after %v", l.name, took)
		}
		if term := l.raft().CurrentTerm(); term != 1 {
			t.Errorf("the first leader has term %d", term)
		}
		inOrder(t, l.logs.String(),
			`level=INFO msg="became candidate at term 1" node=1 term=1 cause=founding last_log_index=1 last_log_term=0`,
			`level=INFO msg="sent RequestVote" node=1 peer=\d term=1`,
			`level=INFO msg="received RequestVoteResponse" node=1 peer=\d term=1 granted=true`,
			`msg="raft: election won"`)
		if k := strings.Count(l.logs.String(), "became candidate"); k != 1 {
			t.Errorf("%d candidacies in one term", k)
		}
		for _, n := range c.nodes[1:] {
			inOrder(t, n.logs.String(),
				`level=INFO msg="received RequestVote" node=\d peer=1 term=1`,
				`level=INFO msg="sent RequestVoteResponse" node=\d peer=1 term=1 granted=true`)
		}
	})
}

// inOrder checks that lines that match the patterns stand in this order.
func inOrder(t *testing.T, log string, patterns ...string) {
	t.Helper()
	rest := log
	for _, p := range patterns {
		at := regexp.MustCompile(p).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("no line %s after those before it in:\n%s", p, log)
		}
		rest = rest[at[1]:]
	}
}

// A cluster of one stands for election without asking anybody.
func TestSingleVoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.start()
		defer c.end()
		start := time.Now()
		if err := c.nodes[0].instance().Campaign(t.Context(), CauseFounding, nil); err != nil {
			t.Fatal(err)
		}
		l := c.leader(time.Second)
		if took := time.Since(start); took > 20*time.Millisecond {
			t.Errorf("leads after %v", took)
		}
		inOrder(t, l.logs.String(), `became candidate at term 1" node=1 term=1 cause=founding`, `msg="raft: election won"`)
		l.must("x")
	})
}

func TestLeaderIsReplacedAfterItsDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.start()
		defer c.end()
		l := c.leader(2 * time.Second)
		for range 100 {
			l.must("before")
		}
		c.net.Isolate(l.name)
		start := time.Now()
		var others []*node
		for _, n := range c.nodes {
			if n != l {
				others = append(others, n)
			}
		}
		next := c.leader(2*time.Second, others...)
		t.Logf("a new leader after %v", time.Since(start))
		if took := time.Since(start); took > time.Second {
			t.Errorf("a new leader after %v", took)
		}
		if l.raft().State() == raft.Leader {
			t.Error("the old leader has not stepped down")
		}
		next.must("after")
		c.net.Heal()
		c.converged(2 * time.Second)
		if !strings.Contains(next.logs.String(), "cause=timeout") {
			t.Error("no cause of the election in the log")
		}
	})
}

func TestTransferOfLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.start()
		defer c.end()
		l := c.leader(2 * time.Second)
		to := c.nodes[int(l.id)%3]
		if err := l.raft().LeadershipTransferToServer(ServerID(to.id), Address(to.id, to.dir)).Error(); err != nil {
			t.Fatal(err)
		}
		if got := c.leader(time.Second); got != to {
			t.Errorf("%s leads", got.name)
		}
		if !strings.Contains(to.logs.String(), "cause=transfer") {
			t.Error("no cause of the election in the log")
		}
	})
}

// Scenario 11: a TimeoutNow from anybody but the leader, or to a node without a
// vote, changes nothing; raft by itself would raise its term and depose the leader.
func TestTimeoutNowIsTakenFromTheLeaderByAVoterAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.start()
		defer c.end()
		l := c.leader(2 * time.Second)
		stranger, target := c.nodes[int(l.id)%3], c.nodes[int(l.id+1)%3]
		term := l.raft().CurrentTerm()
		now := func(from, to *node) error {
			i := from.instance()
			return i.TimeoutNow(ServerID(to.id), Address(to.id, to.dir), &raft.TimeoutNowRequest{RPCHeader: i.header()}, &raft.TimeoutNowResponse{})
		}
		quiet := func(what string) {
			t.Helper()
			time.Sleep(time.Second) // more than two election timeouts
			for _, n := range c.nodes {
				if got := n.raft().CurrentTerm(); got != term {
					t.Fatalf("%s: %s is in term %d, not %d", what, n.name, got, term)
				}
			}
		}
		if err := now(stranger, target); err == nil {
			t.Error("taken from a follower")
		}
		if err := now(stranger, l); err == nil {
			t.Error("taken by the leader")
		}
		quiet("from a stranger")
		for _, f := range []raft.IndexFuture{
			l.raft().DemoteVoter(ServerID(target.id), 0, time.Second),
		} {
			if err := f.Error(); err != nil {
				t.Fatal(err)
			}
		}
		l.must("x") // the configuration reaches the others
		time.Sleep(100 * time.Millisecond)
		if err := now(l, target); err == nil {
			t.Error("taken by a node without a vote")
		}
		if err := target.instance().Campaign(t.Context(), CauseDead, nil); err != ErrCampaignRefused {
			t.Errorf("campaign without a vote: %v", err)
		}
		if err := l.instance().Campaign(t.Context(), CauseDead, nil); err != ErrCampaignRefused {
			t.Errorf("campaign of the leader: %v", err)
		}
		quiet("to a non-voter")
		if err := stranger.instance().Campaign(t.Context(), CauseDead, func() bool { return false }); err != ErrCampaignRefused {
			t.Errorf("campaign whose reason has gone: %v", err)
		}
		quiet("without a reason")
	})
}

// A campaign never waits in a queue: while raft is busy it asks again whether its
// reason still holds.
func TestCampaignDoesNotOutliveItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		n := c.nodes[0]
		n.start()
		defer c.end()
		i := n.instance()
		// raft is busy: an unknown command would do, a stalled store does.
		asked := 0
		busy := make(chan struct{})
		n.raft().RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
			if _, ok := o.Data.(raft.RequestVoteRequest); ok {
				<-busy
			}
			return false
		}))
		go i.deliver(context.Background(), &raft.RequestVoteRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3}})
		synctest.Wait()
		err := i.Campaign(t.Context(), CauseDead, func() bool { asked++; return asked < 10 })
		if err != ErrCampaignRefused || asked != 10 {
			t.Errorf("asked %d times, %v", asked, err)
		}
		close(busy)
	})
}
