package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/logging"
)

func (g *globals) standalone() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "standalone",
		Aliases: []string{"start"},
		Short:   "Run a single node",
		Long: "Runs a single node, the only voter of its own cluster; the bare command does the same.\n" +
			"It is bound to loopback: give --bind-addr and --advertised-addr to serve other machines.",
		Example: "  chronik-server standalone --kafka-port 9092 --data-dir /var/lib/chronik",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.serve(cmd, config.Standalone)
		},
	}
	g.propertyFlag(cmd, "raft.addr")
	return cmd
}

func (g *globals) raftCluster() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "raft-cluster",
		Short: "Run a node of a cluster",
		Long: "Runs a node of a cluster whose metadata is replicated by Raft. Every founder is started with its own id and\n" +
			"the others as --peers, in any order; the first start needs all of them, every later one a majority.",
		Example: "  chronik-server --node-id 1 --kafka-port 9092 --advertised-addr localhost \\\n" +
			"    raft-cluster --raft-addr 0.0.0.0:5001 --peers \"2@localhost:5002,3@localhost:5003\"",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.serve(cmd, config.RaftCluster)
		},
	}
	g.propertyFlag(cmd, "raft.addr")
	g.propertyFlag(cmd, "peers")
	return cmd
}

// serve runs a node until a signal stops it.
func (g *globals) serve(cmd *cobra.Command, mode config.Mode) error {
	cfg, err := g.load(cmd, mode)
	if err != nil {
		return err
	}
	logger := newLogger(g.program.Err, cfg.LogLevel, cfg.LogFormat)
	if cfg.LogFormat == "json" {
		// From here on standard error is for a collector: every line of it is an object.
		g.program.log.Store(logger)
		defer g.program.log.Store(nil)
	}
	logger.Info("starting", "version", g.program.Version, "mode", mode.String(), "node", cfg.NodeID, "data_dir", cfg.DataDir,
		"memory_limit", limitMemory(cfg.MemoryLimit, g.program.Environ))
	ctx := cmd.Context()
	stopping := sync.OnceFunc(func() { g.program.notify(logger, "STOPPING=1") })
	unwatch := context.AfterFunc(ctx, stopping)
	err = g.program.Serve(ctx, cfg, logger, func() { g.program.notify(logger, "READY=1") })
	// Serve may see the end of ctx and return before AfterFunc has begun: then it is told here, else awaited.
	if unwatch(); ctx.Err() != nil {
		stopping()
	}
	if err != nil {
		if cfg.LogFormat == "json" {
			logger.Error("failed", "node", cfg.NodeID, "error", oneLine(err))
			return errReported
		}
		return err
	}
	logger.Info("stopped", "node", cfg.NodeID)
	return nil
}

// limitMemory tells the collector how much the process may use, unless the environment did, and returns what holds then.
func limitMemory(bytes int64, environ []string) string {
	if !slices.ContainsFunc(environ, func(s string) bool { return strings.HasPrefix(s, "GOMEMLIMIT=") }) && bytes > 0 {
		debug.SetMemoryLimit(bytes)
	}
	if n := debug.SetMemoryLimit(-1); n < math.MaxInt64 {
		return strconv.FormatInt(n, 10)
	}
	return "none"
}

// newLogger makes the log of the process: text for people or JSON for collectors, one line an event.
func newLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo // the table lets no other text through
	}
	options := &slog.HandlerOptions{Level: logging.Everything} // what is written is logging's to say
	var out slog.Handler = slog.NewTextHandler(w, options)
	if format == "json" {
		out = slog.NewJSONHandler(w, options)
	}
	return logging.New(out, l).Root()
}

// sameWish is for how long after the first signal more of them are the same wish: `timeout`, and whoever else
// signals a process and then its group, sends two within microseconds, and a person holds Ctrl-C down.
const sameWish = time.Second

// untilSignal returns a context that ends at the first SIGINT or SIGTERM; one more after sameWish ends the
// process at once, for a person who does not want to wait. stop ends the goroutine that listens.
func (p *Program) untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if p.impatient(signals, done, cancel) {
			os.Exit(exitFailed)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
		close(done)
		<-ended
	}
}

// impatient cancels at the first signal and returns true at one that comes more than sameWish later, false
// when done is closed before.
func (p *Program) impatient(signals <-chan os.Signal, done <-chan struct{}, cancel func()) bool {
	var first time.Time
	for {
		select {
		case s := <-signals:
			switch {
			case first.IsZero():
				first = time.Now()
				p.say(slog.LevelInfo, "stopping; once more ends at once", s)
				cancel()
			case time.Since(first) > sameWish:
				p.say(slog.LevelWarn, "ended without a clean stop, at the second signal", s)
				return true
			}
		case <-done:
			return false
		}
	}
}

// say tells what a signal does: a person in a line of text, and the collector of a node's log in one of its own.
func (p *Program) say(level slog.Level, text string, s os.Signal) {
	if logger := p.log.Load(); logger != nil {
		logger.Log(context.Background(), level, text, "signal", s.String())
		return
	}
	fmt.Fprintf(p.Err, "chronik-server: %v: %s\n", s, text)
}
