// Command speed runs the same load against this broker and the floor broker (and against franz-go's kfake in
// file mode), in interleaved rounds, and writes what came out into docs/BENCHMARKS.md.
//
//	make bench
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/test/bench/rig"
)

func main() {
	bin := flag.String("bin", "../../bin/chronik-server", "the binary to measure")
	rounds := flag.Int("rounds", 5, "rounds of every comparison")
	only := flag.String("only", "", "run the comparisons whose names contain this")
	page := flag.String("write", "", "put the table between the marks in this file")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, *bin, *rounds, *only, *page); err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string, rounds int, only, page string) error {
	r, err := rig.New(ctx, bin)
	if err != nil {
		return err
	}
	defer r.Close()
	var table strings.Builder
	say := func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		fmt.Println(line)
		table.WriteString(line + "\n")
	}
	say("Before: %s.\n", rig.Machine())
	say("| load | figure | bar | ratio, median of %d | chronik | floor | kfake, files | |", rounds)
	say("|---|---|---|---|---|---|---|---|")
	missed := 0
	for _, c := range comparisons {
		if !strings.Contains(c.name, only) {
			continue
		}
		got, err := c.run(ctx, r, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		for _, g := range got {
			if g.verdict != "" {
				missed++
			}
			say("| %s | %s | %s | %.2f | %s | %s | %s | %s |", c.what, g.figure.name, g.figure.bar(), g.ratio, g.chronik, g.floor, g.kfake, g.verdict)
		}
	}
	for _, g := range growths {
		if !strings.Contains(g.name, only) {
			continue
		}
		lines, err := g.run(ctx, r, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		say("\n%s\n", g.what)
		for _, l := range lines {
			say("%s", l)
		}
	}
	say("\nAfter: %s.", rig.Machine())
	if page != "" {
		if err := rig.WriteTable(page, "bench", table.String()); err != nil {
			return err
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d figures missed their bars", missed)
	}
	return nil
}

// figure is one number of a run.
type figure struct {
	name   string
	format string
	value  func(*rig.Result) float64
	limit  float64 // of the ratio to the floor; at least it where more is better
	more   bool
}

func (f *figure) bar() string {
	if f.more {
		return fmt.Sprintf(">= %.2f", f.limit)
	}
	return fmt.Sprintf("<= %.2f", f.limit)
}

// better reports whether a beats b.
func (f *figure) better(a, b float64) bool {
	if f.more {
		return a > b
	}
	return a < b
}

// outcome is a figure of all rounds.
type outcome struct {
	figure                *figure
	ratio                 float64
	chronik, floor, kfake string
	verdict               string
}

// comparison is one load on the brokers.
type comparison struct {
	name, what string
	options    []string // of chronik
	floor      []string // flags of the floor broker
	kfake      bool     // compare with kfake too
	prepare    []string // a load before the first round, unmeasured
	load       []string
	figures    []figure
}

func (c *comparison) run(ctx context.Context, r *rig.Rig, rounds int) ([]outcome, error) {
	var brokers []*rig.Broker
	defer func() {
		for _, b := range brokers {
			b.Stop()
		}
	}()
	start := []func() (*rig.Broker, error){
		func() (*rig.Broker, error) { return r.Chronik(ctx, c.options...) },
		func() (*rig.Broker, error) { return r.Floor(ctx, c.floor...) },
	}
	if c.kfake {
		start = append(start, func() (*rig.Broker, error) { return r.Kfake(ctx) })
	}
	for _, f := range start {
		b, err := f()
		if err != nil {
			return nil, err
		}
		brokers = append(brokers, b)
		if c.prepare != nil {
			if _, err := r.Load(ctx, b, c.prepare...); err != nil {
				return nil, err
			}
		}
	}
	values := make([][][]float64, len(brokers)) // broker, figure, round
	for i := range values {
		values[i] = make([][]float64, len(c.figures))
	}
	for round := range rounds + 1 {
		for _, i := range rand.Perm(len(brokers)) {
			res, err := r.Load(ctx, brokers[i], c.load...)
			if err != nil {
				return nil, err
			}
			for j := range c.figures {
				if round > 0 { // the first warms page cache and heap
					values[i][j] = append(values[i][j], c.figures[j].value(&res))
				}
			}
		}
	}
	var out []outcome
	for j := range c.figures {
		f := &c.figures[j]
		o := outcome{figure: f, chronik: spread(f, values[0][j]), floor: spread(f, values[1][j])}
		var ratios []float64
		for k, v := range values[0][j] {
			ratios = append(ratios, v/values[1][j][k])
		}
		o.ratio = rig.Median(ratios)
		if f.better(f.limit, o.ratio) {
			o.verdict = "**missed**"
		}
		if c.kfake {
			o.kfake = spread(f, values[2][j])
			if !f.better(rig.Median(values[0][j]), rig.Median(values[2][j])) {
				o.verdict += " **kfake is better**"
			}
		}
		out = append(out, o)
	}
	return out, nil
}

// spread is the median and the best.
func spread(f *figure, v []float64) string {
	best := slices.Min(v)
	if f.more {
		best = slices.Max(v)
	}
	return fmt.Sprintf(f.format+" ("+f.format+")", rig.Median(v), best)
}
