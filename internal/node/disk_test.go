package node

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// lines is a log that one goroutine writes and another reads.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take returns what was written since the last call.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// A disk that is nearly full is told of when that begins, once a minute while it lasts, and when it is over.
func TestDiskSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		fs := vfs.NewFaults(vfs.NewMem())
		d := newDiskSpace(fs, "data", slog.New(slog.NewTextHandler(&out, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		step := func(what string, free uint64, last time.Duration, well bool, want int) {
			t.Helper()
			fs.SetUsage(100<<20, free)
			out.take()
			time.Sleep(last)
			synctest.Wait()
			if err := d.lack(); (err == nil) != well {
				t.Errorf("%s: %v", what, err)
			}
			text := out.take()
			if n := strings.Count(text, "\n"); n != want {
				t.Errorf("%s: %d lines, want %d:\n%s", what, n, want, text)
			}
		}
		step("half full", 50<<20, time.Hour, true, 0)
		step("4 %", 4<<20, 3*time.Minute, false, 3)
		step("full", 0, time.Minute, false, 1)
		step("a little above", 5<<20+1, time.Minute, false, 1)
		step("well again", 7<<20, time.Minute, true, 1)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
