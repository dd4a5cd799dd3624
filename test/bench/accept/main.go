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
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// row is one measured figure.
type row struct {
	what, bar, got string
	ok             bool
	note           string
}

// bench is the surroundings of a measurement.
type bench struct {
	bin    string // chronik-server
	tools  string // where load and floor are built
	dir    string // scratch, removed at the end
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
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "chronik-accept-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{bin: bin, tools: filepath.Join(dir, "tools"), dir: dir, rounds: rounds}
	for _, tool := range []string{"load", "floor"} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(b.tools, tool), "./"+tool).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", tool, err, out)
		}
	}
	fmt.Printf("machine: %s\n", machine())
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
	fmt.Printf("machine: %s\n", machine())
	for _, r := range b.rows {
		if !r.ok {
			return fmt.Errorf("missed: %s: %s, bar %s", r.what, r.got, r.bar)
		}
	}
	return nil
}

// machine names what the figures were measured on, with its load: a figure of a
// busy machine is no figure of the broker.
func machine() string {
	load, _ := os.ReadFile("/proc/loadavg")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	cores, _ := exec.Command("nproc").Output()
	version, _ := exec.Command("go", "version").Output()
	return fmt.Sprintf("%s cores, Linux %s, %s, load %s, %s", strings.TrimSpace(string(cores)), strings.TrimSpace(string(kernel)),
		strings.TrimSpace(string(version)), strings.Join(strings.Fields(string(load))[:3], " "), time.Now().UTC().Format(time.RFC3339))
}
