// Package logging gives every part of a node a logger of its own whose level can be changed while it runs, as Kafka's
// BROKER_LOGGER resources are: a named logger has the level that was set for it, else that of ROOT.
//
// State: Loggers has a table of names under a mutex (short sections) and a level each behind an atomic; a log line
// reads only the level. Levels are not kept: a start begins with ROOT's alone. The package starts no goroutine.
package logging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Root is the name of the logger whose level others have that have none of their own.
const Root = "ROOT"

// What a change of a level can be refused for.
var (
	ErrUnknownLogger = errors.New("there is no such logger")
	ErrUnknownLevel  = errors.New("there is no such level")
	ErrRootLevel     = errors.New("the level of ROOT cannot be taken away")
)

// levels are Kafka's names of levels, from the most that is logged to the least.
var levels = []struct {
	name  string
	level slog.Level
}{
	{"TRACE", slog.LevelDebug - 4},
	{"DEBUG", slog.LevelDebug},
	{"INFO", slog.LevelInfo},
	{"WARN", slog.LevelWarn},
	{"ERROR", slog.LevelError},
	{"FATAL", slog.LevelError + 4},
}

// Everything is the level of a handler that New is given: it leaves the choice to Loggers.
const Everything = slog.LevelDebug - 4

// Loggers are the loggers of one process.
type Loggers struct {
	out  slog.Handler
	root *level

	mu    sync.Mutex
	named map[string]*level // without ROOT
}

// level is that of one logger.
type level struct {
	own    atomic.Pointer[slog.Level] // nil: the parent's
	parent *level
}

func (l *level) get() slog.Level {
	if own := l.own.Load(); own != nil {
		return *own
	}
	return l.parent.get() // ROOT always has one
}

// New makes loggers that write to out, which should let Everything through. ROOT begins at the given level.
func New(out slog.Handler, at slog.Level) *Loggers {
	l := &Loggers{out: out, root: &level{}, named: map[string]*level{}}
	l.root.own.Store(&at)
	return l
}

// Of returns the Loggers that a logger is of; one that is of none gets new ones at INFO.
func Of(log *slog.Logger) *Loggers {
	if h, ok := log.Handler().(*handler); ok {
		return h.of
	}
	return New(log.Handler(), slog.LevelInfo)
}

// Root returns the logger ROOT.
func (l *Loggers) Root() *slog.Logger { return slog.New(&handler{of: l, level: l.root, out: l.out}) }

// Logger returns the logger of a name, which it makes known.
func (l *Loggers) Logger(name string) *slog.Logger {
	l.mu.Lock()
	defer l.mu.Unlock()
	lv := l.named[name]
	if lv == nil {
		lv = &level{parent: l.root}
		l.named[name] = lv
	}
	return slog.New(&handler{of: l, level: lv, out: l.out})
}

// Level is a logger and what it logs.
type Level struct {
	Logger string
	Level  string // Kafka's name
}

// Levels lists every logger, ROOT first and the others by name.
func (l *Loggers) Levels() []Level {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []Level{{Root, levelName(l.root.get())}}
	for _, name := range slices.Sorted(maps.Keys(l.named)) {
		list = append(list, Level{name, levelName(l.named[name].get())})
	}
	return list
}

func levelName(at slog.Level) string {
	for _, l := range levels {
		if at <= l.level {
			return l.name
		}
	}
	return "FATAL"
}

// Check tells why Set would be refused.
func (l *Loggers) Check(logger, level string) error {
	_, _, err := l.find(logger, level)
	return err
}

// Set gives a logger a level, by Kafka's name. The error wraps ErrUnknownLogger or ErrUnknownLevel.
func (l *Loggers) Set(logger, level string) error {
	lv, at, err := l.find(logger, level)
	if err == nil {
		lv.own.Store(&at)
	}
	return err
}

func (l *Loggers) find(logger, at string) (*level, slog.Level, error) {
	lv, err := l.logger(logger)
	if err != nil {
		return nil, 0, err
	}
	var known []string
	for _, c := range levels {
		if strings.EqualFold(c.name, at) {
			return lv, c.level, nil
		}
		known = append(known, c.name)
	}
	return nil, 0, fmt.Errorf("%w %q; it is one of %s", ErrUnknownLevel, at, strings.Join(known, ", "))
}

func (l *Loggers) logger(name string) (*level, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == Root {
		return l.root, nil
	}
	if lv := l.named[name]; lv != nil {
		return lv, nil
	}
	return nil, fmt.Errorf("%w %q; there are %s and %s", ErrUnknownLogger, name, Root, strings.Join(slices.Sorted(maps.Keys(l.named)), ", "))
}

// CheckReset tells why Reset would be refused.
func (l *Loggers) CheckReset(logger string) error {
	if logger == Root {
		return fmt.Errorf("%w; set another one", ErrRootLevel)
	}
	_, err := l.logger(logger)
	return err
}

// Reset gives a logger the level of ROOT again. The error wraps ErrUnknownLogger or ErrRootLevel.
func (l *Loggers) Reset(logger string) error {
	if err := l.CheckReset(logger); err != nil {
		return err
	}
	lv, _ := l.logger(logger)
	lv.own.Store(nil)
	return nil
}

// handler lets through what its logger's level does.
type handler struct {
	of    *Loggers
	level *level
	out   slog.Handler
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, at slog.Level) bool { return at >= h.level.get() }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error { return h.out.Handle(ctx, r) }

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{of: h.of, level: h.level, out: h.out.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{of: h.of, level: h.level, out: h.out.WithGroup(name)}
}
