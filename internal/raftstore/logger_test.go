package raftstore

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestLoggerWritesLevelsFieldsAndFormats(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
	g := NewLogger(l).With("node", 1)
	g.Debug("hidden")
	g.Info("entering leader state", "hidden", true)
	g.Info("starting snapshot up to", "leader", hclog.Fmt("%+v", []int{1, 2}))
	g.Named("x").Warn("odd", "a", "b")
	got := out.String()
	for _, want := range []string{`level=INFO msg="raft: starting snapshot up to" node=1 leader="[1 2]"`, `level=WARN msg="raft: odd" node=1 a=b`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "hidden") {
		t.Errorf("a line for debugging at level info:\n%s", got)
	}
	if g.GetLevel() != hclog.Info || g.IsDebug() || !g.IsWarn() {
		t.Errorf("level %v", g.GetLevel())
	}
}

// A node that is stopped, or whose peer is, has no error to tell of.
func TestLoggerWarnsOfPeersThatDoNotAnswer(t *testing.T) {
	var out bytes.Buffer
	g := NewLogger(slog.New(slog.NewTextHandler(&out, nil)))
	g.Error("failed to heartbeat to", "peer", "node:2/x", "error", "raftrpc: this raft instance has stopped")
	g.Error("failed to pipeline appendEntries", "peer", "node:2/x", "error", "node 2: Raft is starting or stopping")
	g.Error("failed to get log", "index", 7, "error", "damaged")
	if got := out.String(); strings.Count(got, "level=WARN") != 2 || strings.Count(got, "level=ERROR") != 1 || !strings.Contains(got, `level=ERROR msg="raft: failed to get log"`) {
		t.Errorf("levels are wrong:\n%s", got)
	}
}

func TestLoggerHoldsRepeatedLinesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		g := NewLogger(slog.New(slog.NewTextHandler(&out, nil)))
		for range 1000 {
			g.Error("failed to heartbeat to", "peer", "node:2/x", "error", "unreachable")
			g.Error("failed to heartbeat to", "peer", "node:3/x", "error", "unreachable")
			g.Warn("Election timeout reached, restarting election")
			g.Error("something else")
			time.Sleep(20 * time.Millisecond)
		}
		// 20 s: at 0 and at 10 for each peer.
		if got := strings.Count(out.String(), "failed to heartbeat"); got != 4 {
			t.Errorf("%d lines", got)
		}
		if got := strings.Count(out.String(), "Election timeout"); got != 2 {
			t.Errorf("%d lines about the elections of a node without a majority", got)
		}
		if got := strings.Count(out.String(), "held_back=499"); got != 3 {
			t.Errorf("%d of them say how many were held back:\n%.600s", got, out.String())
		}
		if got := strings.Count(out.String(), "something else"); got != 1000 {
			t.Errorf("%d other lines", got)
		}
	})
}
