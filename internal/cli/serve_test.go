package cli

import (
	"bytes"
	"context"
	"os"
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
