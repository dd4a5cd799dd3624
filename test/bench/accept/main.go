// Command accept measures the figures that docs/BENCHMARKS.md keeps, on the
// machine it runs on, and prints them as a table with their bars. It asserts
// nothing about correctness; that is the tests' work.
//
//	make accept
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/chronik-stream/chronik/test/bench/rig"
)

// row is one measured figure.
type row struct {
	what, bar, got string
	ok             bool
	note           string
}

// bench is the surroundings of a measurement.
type bench struct {
	*rig.Rig
	rounds int
	rows   []row
}

func (b *bench) add(what, bar, got string, ok bool, note string) {
	b.rows = append(b.rows, row{what, bar, got, ok, note})
	verdict := "ok"
	if !ok {
		verdict = "MISSED"
	}
	fmt.Printf("%-66s %-12s %-14s %s  %s\n", what, bar, got, verdict, note)
}

func main() {
	bin := flag.String("bin", "../../bin/chronik-server", "the binary to measure")
	rounds := flag.Int("rounds", 5, "rounds of every measurement that is repeated")
	only := flag.String("only", "", "run the measurements whose names contain this")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, *bin, *rounds, *only); err != nil {
		fmt.Fprintln(os.Stderr, "accept:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string, rounds int, only string) error {
	r, err := rig.New(ctx, bin)
	if err != nil {
		return err
	}
	defer r.Close()
	b := &bench{Rig: r, rounds: rounds}
	fmt.Printf("machine: %s\n", rig.Machine())
	for _, m := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"demo", b.demo},
		{"formation", b.formation},
		{"failover", b.failover},
		{"start-empty", b.startEmpty},
		{"start-full", b.startFull},
		{"memory", b.memory},
		{"produce", b.produce},
	} {
		if !strings.Contains(m.name, only) {
			continue
		}
		if err := m.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	fmt.Printf("machine: %s\n", rig.Machine())
	for _, r := range b.rows {
		if !r.ok {
			return fmt.Errorf("missed: %s: %s, bar %s", r.what, r.got, r.bar)
		}
	}
	return nil
}
