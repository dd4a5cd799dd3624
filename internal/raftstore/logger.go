package raftstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// repeatEvery is how often a line that raft repeats is logged: for a dead peer it
// writes 50 a second.
const repeatEvery = 10 * time.Second

// repeated are the lines that are held back, by the start of their text. A node without a majority
// begins an election every 300 ms, for as long as that lasts.
var repeated = []string{
	"Election timeout reached", "heartbeat timeout reached", "failed to contact", "entering candidate state",
	"failed to heartbeat", "failed to appendEntries", "failed to pipeline appendEntries",
	"failed to make requestVote RPC", "failed to install snapshot", "appendEntries rejected",
	"rejecting vote request", "rejecting pre-vote request", "pipelining replication", "aborting pipeline replication",
}

// told are the lines at level INFO, by the start of their text, of what other lines tell with node, term
// and cause: candidates, votes, who leads and who is followed. They are for debugging raft.
var told = []string{
	"initial configuration", "entering follower state", "entering candidate state", "entering leader state", "election won",
	"pre-vote successful", "pre-vote campaign failed", "added peer", "updating peer", "pipelining replication", "aborting pipeline replication",
}

// peers are the lines, by the start of their text, that raft writes as errors where another node does not answer:
// it is stopped, or this one is. Nothing is wrong with this node, and what goes on by itself once the other is
// back is a warning.
var peers = []string{
	"failed to heartbeat", "failed to appendEntries", "failed to pipeline appendEntries", "failed to start pipeline replication",
	"failed to send snapshot", "failed to make requestVote RPC", "peer has newer term", "target does not support pre-vote",
}

// NewLogger returns a logger for raft.Config that writes to l. Lines of what
// the packages around raft tell have level DEBUG, those about a node that does not answer WARN. Lines that raft
// repeats while a peer is gone are logged once in 10 s, with the number of those
// held back.
func NewLogger(l *slog.Logger) hclog.Logger {
	return &logger{l: l, held: &held{lines: map[string]*heldLine{}}}
}

// logger is an hclog.Logger over slog.
type logger struct {
	l    *slog.Logger
	name string
	args []any
	held *held
}

type held struct {
	mu    sync.Mutex
	lines map[string]*heldLine
}

type heldLine struct {
	last  time.Time
	count int
}

// maxHeld bounds the lines that are remembered; they name peers.
const maxHeld = 1024

// pass reports whether a line is to be logged, and how many were held back before it.
func (h *held) pass(key string) (ok bool, before int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	x := h.lines[key]
	if x != nil && now.Sub(x.last) < repeatEvery {
		x.count++
		return false, 0
	}
	if x == nil {
		if len(h.lines) >= maxHeld {
			clear(h.lines)
		}
		x = &heldLine{}
		h.lines[key] = x
	}
	before, x.count, x.last = x.count, 0, now
	return true, before
}

var levels = map[hclog.Level]slog.Level{
	hclog.Trace: slog.LevelDebug - 4, hclog.Debug: slog.LevelDebug, hclog.Info: slog.LevelInfo,
	hclog.Warn: slog.LevelWarn, hclog.Error: slog.LevelError,
}

// Log implements hclog.Logger.
func (g *logger) Log(level hclog.Level, msg string, args ...any) {
	to, ok := levels[level]
	if to == slog.LevelInfo && startsWith(msg, told) {
		to = slog.LevelDebug
	}
	if to == slog.LevelError && startsWith(msg, peers) {
		to = slog.LevelWarn
	}
	if !ok || !g.l.Enabled(context.Background(), to) {
		return
	}
	all := make([]any, 0, len(args)+2)
	for _, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			a = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		all = append(all, a)
	}
	if startsWith(msg, repeated) {
		ok, before := g.held.pass(msg + "\x00" + peerOf(all))
		if !ok {
			return
		}
		if before > 0 {
			all = append(all, "held_back", before)
		}
	}
	g.l.Log(context.Background(), to, "raft: "+msg, all...)
}

func startsWith(msg string, any []string) bool {
	return slices.ContainsFunc(any, func(start string) bool { return strings.HasPrefix(msg, start) })
}

// peerOf returns the value that names the other node in a line.
func peerOf(args []any) string {
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "peer", "target", "from":
			return fmt.Sprint(args[i+1])
		}
	}
	return ""
}

// Trace implements hclog.Logger.
func (g *logger) Trace(msg string, args ...any) { g.Log(hclog.Trace, msg, args...) }

// Debug implements hclog.Logger.
func (g *logger) Debug(msg string, args ...any) { g.Log(hclog.Debug, msg, args...) }

// Info implements hclog.Logger.
func (g *logger) Info(msg string, args ...any) { g.Log(hclog.Info, msg, args...) }

// Warn implements hclog.Logger.
func (g *logger) Warn(msg string, args ...any) { g.Log(hclog.Warn, msg, args...) }

// Error implements hclog.Logger.
func (g *logger) Error(msg string, args ...any) { g.Log(hclog.Error, msg, args...) }

func (g *logger) enabled(l hclog.Level) bool { return g.l.Enabled(context.Background(), levels[l]) }

// IsTrace implements hclog.Logger.
func (g *logger) IsTrace() bool { return g.enabled(hclog.Trace) }

// IsDebug implements hclog.Logger.
func (g *logger) IsDebug() bool { return g.enabled(hclog.Debug) }

// IsInfo implements hclog.Logger.
func (g *logger) IsInfo() bool { return g.enabled(hclog.Info) }

// IsWarn implements hclog.Logger.
func (g *logger) IsWarn() bool { return g.enabled(hclog.Warn) }

// IsError implements hclog.Logger.
func (g *logger) IsError() bool { return g.enabled(hclog.Error) }

// ImpliedArgs implements hclog.Logger.
func (g *logger) ImpliedArgs() []any { return g.args }

// With implements hclog.Logger.
func (g *logger) With(args ...any) hclog.Logger {
	return &logger{l: g.l.With(args...), name: g.name, args: append(append([]any{}, g.args...), args...), held: g.held}
}

// Name implements hclog.Logger.
func (g *logger) Name() string { return g.name }

// Named implements hclog.Logger.
func (g *logger) Named(name string) hclog.Logger {
	if g.name != "" {
		name = g.name + "." + name
	}
	return g.ResetNamed(name)
}

// ResetNamed implements hclog.Logger.
func (g *logger) ResetNamed(name string) hclog.Logger {
	return &logger{l: g.l, name: name, args: g.args, held: g.held}
}

// SetLevel implements hclog.Logger; the level is that of the slog handler.
func (g *logger) SetLevel(hclog.Level) {}

// GetLevel implements hclog.Logger.
func (g *logger) GetLevel() hclog.Level {
	for _, l := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn} {
		if g.enabled(l) {
			return l
		}
	}
	return hclog.Error
}

// StandardLogger implements hclog.Logger.
func (g *logger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(g.StandardWriter(o), "", 0)
}

// StandardWriter implements hclog.Logger.
func (g *logger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return lineWriter{g} }

type lineWriter struct{ g *logger }

// Write implements io.Writer.
func (w lineWriter) Write(p []byte) (int, error) {
	w.g.Info(string(bytes.TrimRight(p, "\n")))
	return len(p), nil
}
