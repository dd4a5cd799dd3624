package sim

import (
	"fmt"
	"os"
	"runtime"
	"time"
)

// realTime is what one bubble may take of real time, several times what it needs under the
// race detector on a busy machine.
const realTime = 30 * time.Second

// watch ends the process with all stacks if what is named has not ended after realTime:
// a bubble whose clock stands still (a mutex held across a wait, a wait for something
// outside of the bubble) or that spins without ever ends by itself. It is called outside of the
// bubble, so that its timer is real; the function it returns calls it off.
func watch(name string) (off func()) {
	timer := time.AfterFunc(realTime, func() {
		stacks := make([]byte, 8<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		fmt.Fprintf(os.Stderr, "%s\n\n%s: no end after %v of real time; look for a goroutine of the bubble that is not durably blocked\n", stacks, name, realTime)
		os.Exit(2)
	})
	return func() { timer.Stop() }
}
