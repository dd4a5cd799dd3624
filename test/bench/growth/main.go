// Command growth measures what stays small as a node grows: creating, starting with and keeping 5,000 partitions,
// fetch sessions over a thousand of them, and __consumer_offsets after ten million commits. It prints a table with the
// bars, puts it into docs/BENCHMARKS.md if asked, and fails if one is missed.
//
//	make growth
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/test/bench/rig"
	"github.com/chronik-stream/chronik/test/proctest"
)

// bench is the surroundings of the measurements.
type bench struct {
	bin, dir string
	made     int // nodes so far, for the names of their directories
	table    strings.Builder
	missed   int
}

func main() {
	b := &bench{}
	flag.StringVar(&b.bin, "bin", "../../bin/chronik-server", "the binary to measure")
	only := flag.String("only", "", "run the measurements whose names contain this")
	page := flag.String("write", "", "put the table between the marks in this file")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := b.run(ctx, *only, *page); err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, only, page string) (err error) {
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "chronik-growth-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.say("Before: %s.\n", rig.Machine())
	b.say("| what | bar | measured | |\n|---|---|---|---|")
	for _, m := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"partitions", b.partitions},
		{"sessions", b.sessions},
		{"offsets", b.offsets},
	} {
		if !strings.Contains(m.name, only) {
			continue
		}
		if err := m.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	b.say("\nAfter: %s.", rig.Machine())
	if page != "" {
		if err := rig.WriteTable(page, "growth", b.table.String()); err != nil {
			return err
		}
	}
	if b.missed > 0 {
		return fmt.Errorf("%d figures missed their bars", b.missed)
	}
	return nil
}

func (b *bench) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	fmt.Println(line)
	b.table.WriteString(line + "\n")
}

// row adds a figure, with what is to be known of it.
func (b *bench) row(what, bar, got string, ok bool, note string) {
	if !ok {
		b.missed++
		note = strings.TrimSpace("**missed** " + note)
	}
	b.say("| %s | %s | %s | %s |", what, bar, got, note)
}

// node starts a single node with options as of -o, and a client of it.
func (b *bench) node(ctx context.Context, options ...string) (*proctest.Node, *kgo.Client, error) {
	var args []string
	for _, o := range options {
		args = append(args, "-o", o)
	}
	b.made++
	cl, err := proctest.New(proctest.Config{Bin: b.bin, Dir: filepath.Join(b.dir, fmt.Sprint(b.made)), Nodes: 1, Args: args})
	if err != nil {
		return nil, nil, err
	}
	n := cl.Nodes[0]
	if err := restart(ctx, n); err != nil {
		n.Kill9()
		return nil, nil, err
	}
	k, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		n.Kill9()
		return nil, nil, err
	}
	return n, k, nil
}

// restart starts a node that does not run and waits until it is ready.
func restart(ctx context.Context, n *proctest.Node) error {
	if err := n.Start(); err != nil {
		return err
	}
	return n.WaitReady(ctx)
}

// seconds says how long something took.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// sleep waits for d.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
