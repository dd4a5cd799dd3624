package sim

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// standstill is for how long, of real time, the clock of a bubble may stand still. A second of it
// takes some 50 ms on an idle machine, and one starved by others is no finding.
const standstill = 30 * time.Second

// bubble runs f in a synctest bubble, and ends the process with all stacks if the bubble's
// clock stands still: because of a mutex held across a wait, a wait for something outside of the
// bubble, or a loop without a pause. Such a bubble would never end by itself.
func bubble(t *testing.T, f func(*testing.T)) {
	var seconds atomic.Int64 // of fake time
	watched, off := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		watch(t.Name(), &seconds, off)
	}()
	defer func() {
		close(off)
		<-watched
	}()
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					seconds.Add(1)
				}
			}
		}()
		f(t)
	})
}

// watch runs outside of the bubble, where time is real.
func watch(name string, seconds *atomic.Int64, off <-chan struct{}) {
	for last := int64(-1); ; {
		select {
		case <-off:
			return
		case <-time.After(standstill):
		}
		now := seconds.Load()
		if now == last {
			stacks := make([]byte, 8<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			fmt.Fprintf(os.Stderr, "%s\n\n%s: the bubble's clock has stood still at second %d for %v of real time; look for a goroutine that is not durably blocked\n", stacks, name, now, standstill)
			os.Exit(2)
		}
		last = now
	}
}
