package raftrpc

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func TestGate(t *testing.T) {
	a, b := reign{1, 5}, reign{2, 6}
	yes := &raft.AppendEntriesResponse{Term: 5, Success: true}
	no := &raft.AppendEntriesResponse{Term: 5}
	higher := &raft.AppendEntriesResponse{Term: 6}
	const limit = 300 * time.Millisecond
	for _, c := range []struct {
		name string
		do   func(g *gate)
		term uint64 // raft's
		want bool
	}{
		{"nothing in progress", func(g *gate) { g.end(a, 0, yes) }, 5, false},
		{"busy with what the same leader sent", func(g *gate) { g.end(a, 0, yes); g.begin(a, false, limit) }, 5, true},
		{"the first call of a leader", func(g *gate) { g.begin(a, false, limit) }, 5, false},
		{"the last one was refused for its log", func(g *gate) { g.end(a, 0, no); g.begin(a, false, limit) }, 5, false},
		{"the last one was refused for its log, and a snapshot is installed", func(g *gate) { g.end(a, 0, no); g.begin(a, true, limit) }, 5, true},
		{"the last one was answered with a higher term", func(g *gate) { g.end(a, 0, higher); g.begin(a, false, limit) }, 5, false},
		{"the last one was an error", func(g *gate) { g.end(a, 0, nil); g.begin(a, false, limit) }, 5, false},
		{"busy with another leader's", func(g *gate) { g.end(a, 0, yes); g.begin(b, false, limit) }, 5, false},
		{"the last one was another leader's", func(g *gate) { g.end(b, 0, yes); g.begin(a, false, limit) }, 5, false},
		{"raft is in a higher term", func(g *gate) { g.end(a, 0, yes); g.begin(a, false, limit) }, 6, false},
		{"done", func(g *gate) { g.end(a, 0, yes); g.end(a, g.begin(a, false, limit), yes) }, 5, false},
		{"an older call is done late", func(g *gate) {
			g.end(a, 0, yes)
			old := g.begin(a, false, limit)
			g.begin(a, false, limit)
			g.end(a, old, yes)
		}, 5, true},
		{"for too long", func(g *gate) { g.end(a, 0, yes); g.begin(a, false, limit); time.Sleep(limit) }, 5, false},
		{"not yet for too long", func(g *gate) { g.end(a, 0, yes); g.begin(a, false, limit); time.Sleep(limit - 1) }, 5, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g gate
				g.init()
				c.do(&g)
				if got, _ := g.open(a, time.Now(), c.term); got != c.want {
					t.Errorf("open: %v", got)
				}
			})
		})
	}
}

func TestGateCallsBackAHeartbeatThatWaits(t *testing.T) {
	var g gate
	g.init()
	a := reign{1, 5}
	g.end(a, 0, &raft.AppendEntriesResponse{Term: 5, Success: true})
	ok, changed := g.open(a, time.Now(), 5)
	if ok || changed == nil {
		t.Fatal("nothing in progress")
	}
	g.begin(a, false, time.Second)
	<-changed
	if ok, _ := g.open(a, time.Now(), 5); !ok {
		t.Error("still shut")
	}
}
