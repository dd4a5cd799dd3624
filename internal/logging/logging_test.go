package logging

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func text(b *bytes.Buffer) slog.Handler {
	return slog.NewTextHandler(b, &slog.HandlerOptions{Level: Everything, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
}

func TestLevelsChangeWhileLoggersAreInUse(t *testing.T) {
	var b bytes.Buffer
	l := New(text(&b), slog.LevelInfo)
	root, part := l.Root(), l.Logger("storage").With("a", 1).WithGroup("g")
	say := func() string {
		b.Reset()
		root.Debug("root")
		part.Debug("part", "x", 2)
		part.Warn("warned")
		return strings.ReplaceAll(b.String(), "\n", "; ")
	}
	for _, step := range []struct {
		logger, level string
		want          string
	}{
		{Root, "info", "level=WARN msg=warned a=1; "},
		{Root, "DEBUG", "level=DEBUG msg=root; level=DEBUG msg=part a=1 g.x=2; level=WARN msg=warned a=1; "},
		{"storage", "ERROR", "level=DEBUG msg=root; "},
		{Root, "FATAL", ""},
		{"storage", "TRACE", "level=DEBUG msg=part a=1 g.x=2; level=WARN msg=warned a=1; "},
	} {
		if err := l.Set(step.logger, step.level); err != nil {
			t.Fatal(err)
		}
		if got := say(); got != step.want {
			t.Errorf("%s at %s: %q, want %q", step.logger, step.level, got, step.want)
		}
	}
	if got := fmt.Sprint(l.Levels()); got != "[{ROOT FATAL} {storage TRACE}]" {
		t.Error(got)
	}
	if err := l.Reset("storage"); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(l.Levels()); got != "[{ROOT FATAL} {storage FATAL}]" || say() != "" {
		t.Error(got)
	}
}

func TestRefusals(t *testing.T) {
	l := New(slog.DiscardHandler, slog.LevelInfo)
	for _, c := range []struct {
		got, want error
	}{
		{l.Set("none", "INFO"), ErrUnknownLogger},
		{l.Set(Root, "LOUD"), ErrUnknownLevel},
		{l.Set(Root, ""), ErrUnknownLevel},
		{l.Reset("none"), ErrUnknownLogger},
		{l.Reset(Root), ErrRootLevel},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%v instead of %v", c.got, c.want)
		}
	}
}

func TestOf(t *testing.T) {
	l := New(slog.DiscardHandler, slog.LevelWarn)
	if Of(l.Root()) != l || Of(l.Logger("a").With("b", 1)) != l {
		t.Error("a logger does not know its Loggers")
	}
	if got := Of(slog.New(slog.DiscardHandler)).Levels(); fmt.Sprint(got) != "[{ROOT INFO}]" {
		t.Error(got)
	}
}
