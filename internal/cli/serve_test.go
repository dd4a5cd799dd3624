package cli

import (
	"bytes"
	"context"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Signals right after the first are the same wish; one that comes later ends the process at once.
func TestSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := &Program{Err: &out}
		ctx, cancel := context.WithCancel(t.Context())
		signals, done, ended := make(chan os.Signal, 2), make(chan struct{}), make(chan bool, 1)
		go func() { ended <- p.impatient(signals, done, cancel) }()

		signals <- syscall.SIGTERM
		signals <- syscall.SIGTERM
		<-ctx.Done()
		time.Sleep(sameWish)
		signals <- syscall.SIGINT
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("two signals at once and one a second later were taken for impatience")
		default:
		}
		time.Sleep(time.Millisecond)
		signals <- os.Interrupt
		if !<-ended {
			t.Error("a signal long after the first did not end the process")
		}
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d lines, want one for each wish: %s", n, &out)
		}

		go func() { ended <- p.impatient(signals, done, cancel) }()
		close(done)
		if <-ended {
			t.Error("no signal at all was taken for impatience")
		}
	})
}

// TestLimitMemory: the property reaches the collector, and gives way to the environment.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	debug.SetMemoryLimit(math.MaxInt64)
	for _, x := range []struct {
		bytes   int64
		environ []string
		want    string
	}{
		{0, nil, "none"},
		{8 << 30, []string{"GOMEMLIMIT=1GiB"}, "none"}, // the runtime read it at the start of the process, which this test's was not given
		{8 << 30, []string{"PATH=/bin"}, "8589934592"},
		{0, nil, "8589934592"},
	} {
		if got := limitMemory(x.bytes, x.environ); got != x.want {
			t.Errorf("%d with %v: %s, want %s", x.bytes, x.environ, got, x.want)
		}
	}
}
