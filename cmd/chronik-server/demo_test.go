package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// process is a running chronik-server whose output is read line by line.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stdout io.Closer
	seen   strings.Builder
	errors bytes.Buffer
	tmp    string
}

// run starts the command with a temporary directory of its own.
func run(t *testing.T, args ...string) *process {
	t.Helper()
	if testing.Short() {
		t.Skip("runs three nodes: not with -short")
	}
	p := &process{t: t, cmd: exec.Command("chronik-server", args...), tmp: t.TempDir()}
	p.cmd.Env = append(os.Environ(), "TMPDIR="+p.tmp, "TMP="+p.tmp)
	p.cmd.Stderr = &p.errors
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()
	})
	p.stdout, p.lines = out, bufio.NewScanner(io.TeeReader(out, &p.seen))
	return p
}

// until reads lines until one matches, and returns its submatches.
func (p *process) until(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for p.lines.Scan() {
		if m := re.FindStringSubmatch(p.lines.Text()); m != nil {
			return m
		}
	}
	p.t.Fatalf("no line matches %s:\n%s%s", pattern, &p.seen, &p.errors)
	return nil
}

// ended waits for the end, and checks the exit code and that nothing is left behind.
func (p *process) ended(code int) {
	p.t.Helper()
	for p.lines.Scan() {
	}
	_ = p.cmd.Wait() // the exit code tells
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d:\n%s%s", got, code, &p.seen, &p.errors)
	}
	left, err := os.ReadDir(p.tmp)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range left {
		p.t.Errorf("%s is left behind", f.Name())
	}
}

func (p *process) interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
}

func TestDemoPasses(t *testing.T) {
	p := run(t, "demo")
	p.until(`three nodes of chronik-server dev in `)
	dead := p.until(`killed the Raft leader: kill -9 of node ([123]), pid \d+$`)[1]
	if next := p.until(`node ([123]) is the new Raft leader, term \d+, \d+ ms after the kill$`)[1]; next == dead {
		t.Errorf("node %s is killed and the new leader", dead)
	}
	p.until(`4 of 6 partitions go on taking records$`)
	p.until(`node ` + dead + ` is back, ready \d+ ms after its start$`)
	p.until(`all \d+ are there, each once, in order, byte for byte`)
	p.until(`the consumer group has read all of them too, and committed$`)
	p.until(`^PASS in \d+\.\d s$`)
	p.ended(0)
	// The README shows what the demo prints, but for numbers.
	shown := map[string]bool{}
	for line := range strings.Lines(p.seen.String()) {
		shown[withoutNumbers(line)] = true
	}
	for _, b := range readme(t) {
		for line := range strings.Lines(b.text) {
			if b.kind == "demo" && !shown[withoutNumbers(line)] {
				t.Errorf("README.md shows a line that the demo does not print: %s", line)
			}
		}
	}
}

// numbers, and the directory that is named after one.
var numbers = regexp.MustCompile(`\S*chronik-demo-\d+|\d+`)

func withoutNumbers(line string) string {
	return strings.TrimSpace(numbers.ReplaceAllString(line, "N"))
}

func TestDemoKeepsTheClusterUntilInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no interrupt for another process")
	}
	p := run(t, "demo", "--keep")
	bootstrap := p.until(`Bootstrap servers: (\S+)$`)[1]
	p.until(`^Ctrl-C stops it and removes its data.$`)
	for _, args := range [][]string{{"cluster", "status"}, {"consume", "demo", "-n", "1"}, {"group", "describe", "demo-readers"}} {
		if out, err := exec.Command("chronik-server", append(args, "-b", bootstrap)...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	p.interrupt()
	p.ended(0)
}

func TestDemoCleansUpWhenInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no interrupt for another process")
	}
	p := run(t, "demo")
	p.until(`are at work$`)
	p.interrupt()
	p.ended(1)
	if !strings.Contains(p.errors.String(), "interrupted; the nodes are stopped and their data is removed") {
		t.Errorf("it says %q", &p.errors)
	}
}

// Nobody reads on: demo | head.
func TestDemoCleansUpWhenItsOutputIsClosed(t *testing.T) {
	p := run(t, "demo")
	p.until(`are at work$`)
	p.stdout.Close()
	p.ended(1)
}
