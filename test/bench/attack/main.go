// Command attack does to a broker what a hostile network does, and fails if anybody is hurt: 200 slow senders, claims
// of 2 GiB, requests whose arrays claim a million elements, compression bombs, clients that read no answers, garbage, and a
// flood of connections, all at once, while a well-behaved client produces, reads its records back and connects anew.
//
//	go run ./attack -bin ../../bin/chronik-server
//
// The bars: 5,000 idle connections cost at most 40 KiB of resident memory each; under the attack the resident memory stays at most
// 256 MiB above that of the idle broker; 99 of 100 requests of the well-behaved client take less than a second.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/chronik-stream/chronik/test/proctest"
)

// The bars.
const (
	maxPerConnection = 40 << 10
	maxAboveIdle     = 256 << 20
	maxLatency       = time.Second
)

// report is what was measured.
type report struct {
	rows   [][3]string
	failed bool
}

func (r *report) add(what, bar, got string, ok bool) {
	if !ok {
		r.failed, got = true, got+"  FAIL"
	}
	r.rows = append(r.rows, [3]string{what, bar, got})
}

func (r *report) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range r.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", row[0], row[1], row[2])
	}
	w.Flush()
}

func main() {
	bin := flag.String("bin", "bin/chronik-server", "the binary to attack")
	idle := flag.Int("idle", 5000, "idle connections")
	scale := flag.Int("scale", 1, "multiplies the attackers")
	only := flag.String("only", "", "one kind of attacker alone")
	length := flag.Duration("for", 30*time.Second, "how long the attack lasts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var r report
	if err := run(ctx, &r, *bin, *idle, *scale, *only, *length); err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		os.Exit(1)
	}
	r.print()
	if r.failed {
		os.Exit(1)
	}
}

func run(ctx context.Context, r *report, bin string, idle, scale int, only string, length time.Duration) error {
	if idle > 0 {
		if err := raiseFiles(uint64(idle) + 2000); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	cl, err := proctest.New(proctest.Config{Bin: bin, Dir: dir, Nodes: 1, Env: os.Environ()})
	if err != nil {
		return err
	}
	defer cl.Kill()
	if err := cl.Start(); err != nil {
		return err
	}
	if err := cl.WaitReady(ctx); err != nil {
		return err
	}
	n := cl.Nodes[0]
	good, err := newGood(ctx, n.Addr())
	if err != nil {
		return err
	}
	defer good.close()
	if err := idleConnections(ctx, r, n, idle); err != nil {
		return err
	}
	madeBombs() // before the clock runs
	calm, err := underAttack(ctx, n, good, nil, min(length, 5*time.Second))
	if err != nil {
		return err
	}
	r.add("well-behaved client, no attack", "-", calm.latency(), true)
	u, err := underAttack(ctx, n, good, attackers(n.Addr(), scale, only), length)
	if err != nil {
		return err
	}
	above := u.peak - calm.idle
	r.add("resident memory of the idle broker", "-", mib(calm.idle), true)
	r.add("above that under attack, at most", "<= 256 MiB", mib(above), above <= maxAboveIdle)
	for _, k := range u.kinds {
		r.add("  attack: "+k.name, "-", fmt.Sprintf("%d connections, %d requests", k.connections.Load(), k.requests.Load()), true)
	}
	r.add("well-behaved client, p99", "< 1 s", u.latency(), u.p99() < maxLatency && u.errors == 0)
	return nil
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// raiseFiles makes room for n descriptors.
func raiseFiles(n uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if l.Cur >= n {
		return nil
	}
	l.Cur = min(n, l.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if l.Cur < n {
		return fmt.Errorf("%d files may be open, %d are needed: ulimit -n", l.Cur, n)
	}
	return nil
}

// idleConnections opens connections, has one request answered on each, and reads what they cost.
func idleConnections(ctx context.Context, r *report, n *proctest.Node, count int) error {
	if count == 0 {
		return nil
	}
	before, err := settled(ctx, n.Pid())
	if err != nil {
		return err
	}
	open := make([]*conn, 0, count)
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range count {
		c, err := dial(ctx, n.Addr())
		if err != nil {
			return err
		}
		open = append(open, c)
		if err := c.roundTrip(apiVersions()); err != nil {
			return err
		}
	}
	after, err := settled(ctx, n.Pid())
	if err != nil {
		return err
	}
	each := (after - before) / int64(count)
	r.add(fmt.Sprintf("%d idle connections, each", count), "<= 40 KiB", fmt.Sprintf("%.1f KiB", float64(each)/1024), each <= maxPerConnection)
	return nil
}

// usage is what was seen while the broker was under attack, or left alone.
type usage struct {
	idle, peak int64 // resident bytes at the beginning, and the most
	times      []time.Duration
	errors     int
	kinds      []*kind
}

// underAttack has attackers at work for a while, and the well-behaved client beside them.
func underAttack(ctx context.Context, n *proctest.Node, good *good, kinds []*kind, length time.Duration) (*usage, error) {
	u := &usage{kinds: kinds}
	var err error
	if u.idle, err = settled(ctx, n.Pid()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var wg sync.WaitGroup
	for _, k := range kinds {
		for i := range k.workers {
			wg.Go(func() { k.run(ctx, i) })
		}
	}
	var peak atomic.Int64
	wg.Go(func() {
		for ctx.Err() == nil {
			if rss, err := resident(n.Pid()); err == nil && rss > peak.Load() {
				peak.Store(rss)
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	good.run(ctx, u)
	wg.Wait()
	u.peak = peak.Load()
	if !n.Running() {
		return nil, fmt.Errorf("the broker has ended, see its log: %s", n.LogFile)
	}
	return u, nil
}
