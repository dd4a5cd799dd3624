// Package rig is what measurements run on: the tools, the brokers that are compared, and their load.
//
// Every broker is a process of its own on a free port of loopback, with its files in the rig's directory.
package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/test/proctest"
)

// Rig builds the tools once and keeps everything in one scratch directory.
type Rig struct {
	Bin string // chronik-server
	Dir string // scratch; Close removes it

	made int // brokers so far, for the names of their directories
}

// New builds the tools, whose packages lie in the working directory, for measurements of the binary bin.
func New(ctx context.Context, bin string) (*Rig, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "chronik-bench-")
	if err != nil {
		return nil, err
	}
	r := &Rig{Bin: bin, Dir: dir}
	for _, tool := range []string{"load", "floor", "kfake"} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", r.tool(tool), "./"+tool).CombinedOutput(); err != nil {
			r.Close()
			return nil, fmt.Errorf("build %s: %w\n%s", tool, err, out)
		}
	}
	return r, nil
}

// Close removes the scratch directory.
func (r *Rig) Close() { _ = os.RemoveAll(r.Dir) }

func (r *Rig) tool(name string) string { return filepath.Join(r.Dir, "tools", name) }

// Broker is a running broker.
type Broker struct {
	Name string
	Addr string // host:port
	Pid  int
	stop func()
}

// Stop kills the broker and waits for its end.
func (b *Broker) Stop() { b.stop() }

// Chronik starts a single node with options as of -o. It gives the files of a deleted topic back at once:
// page cache that grows into memory which a virtual machine has handed back to its host costs a second
// CPU-second a GB, and would be charged to whoever deletes late.
func (r *Rig) Chronik(ctx context.Context, options ...string) (*Broker, error) {
	args := []string{"-o", "log.segment.delete.delay.ms=0"}
	for _, o := range options {
		args = append(args, "-o", o)
	}
	cl, err := proctest.New(proctest.Config{Bin: r.Bin, Dir: r.newDir("chronik"), Nodes: 1, Args: args})
	if err != nil {
		return nil, err
	}
	if err := cl.Start(); err != nil {
		return nil, err
	}
	if err := cl.WaitReady(ctx); err != nil {
		cl.Kill()
		return nil, err
	}
	n := cl.Nodes[0]
	return &Broker{"chronik", n.Addr(), n.Pid(), cl.Kill}, nil
}

// Floor starts the floor broker, the least that a Kafka broker can do here.
func (r *Rig) Floor(ctx context.Context, flags ...string) (*Broker, error) {
	return r.other(ctx, "floor", flags...)
}

// Kfake starts franz-go's kfake with its file mode.
func (r *Rig) Kfake(ctx context.Context) (*Broker, error) { return r.other(ctx, "kfake") }

func (r *Rig) other(ctx context.Context, name string, flags ...string) (*Broker, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(r.tool(name), append([]string{"-addr", addr, "-dir", r.newDir(name)}, flags...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &Broker{name, addr, cmd.Process.Pid, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}}
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return b, nil
		}
		if ctx.Err() != nil {
			b.Stop()
			return nil, ctx.Err()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *Rig) newDir(name string) string {
	r.made++
	return filepath.Join(r.Dir, fmt.Sprintf("%s-%d", name, r.made))
}

// Latency is a distribution in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Result is what of load's output is used; GB are 1e9 bytes.
type Result struct {
	Produce *struct {
		Records   int64   `json:"records"`
		Batches   int64   `json:"batches"`
		WireBytes int64   `json:"wire_bytes"`
		Seconds   float64 `json:"seconds"`
		Ack       Latency `json:"ack_ms"`
	} `json:"produce"`
	Consume *struct {
		Records   int64   `json:"records"`
		WireBytes int64   `json:"wire_bytes"`
		Seconds   float64 `json:"seconds"`
	} `json:"consume"`
	E2E    *Latency `json:"e2e_ms"`
	Broker []struct {
		User    float64 `json:"cpu_user_s"`
		Sys     float64 `json:"cpu_sys_s"`
		RSSPeak float64 `json:"rss_peak_mb"`
	} `json:"broker"`
	CPUPerGB float64 `json:"broker_cpu_s_per_gb"` // of values, in both directions
	Error    string  `json:"error"`
}

// CPU is the CPU-seconds that the broker has used.
func (r *Result) CPU() float64 {
	sum := 0.0
	for _, b := range r.Broker {
		sum += b.User + b.Sys
	}
	return sum
}

// Load runs the load tool against a broker.
func (r *Rig) Load(ctx context.Context, b *Broker, args ...string) (Result, error) {
	var res Result
	args = append([]string{"-bootstrap", b.Addr, "-pid", strconv.Itoa(b.Pid)}, args...)
	out, err := exec.CommandContext(ctx, r.tool("load"), args...).CombinedOutput()
	if err != nil {
		return res, fmt.Errorf("load on %s: %w\n%s", b.Name, err, out)
	}
	i := strings.IndexByte(string(out), '{')
	if i < 0 {
		return res, fmt.Errorf("load on %s: %s", b.Name, out)
	}
	if err := json.Unmarshal(out[i:], &res); err != nil {
		return res, fmt.Errorf("load on %s: %w\n%s", b.Name, err, out)
	}
	if res.Error != "" || len(res.Broker) == 0 {
		return res, fmt.Errorf("load on %s: %s", b.Name, out)
	}
	return res, nil
}

// Median of a series that is not empty.
func Median[T int | float64 | time.Duration](v []T) T {
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}

// Machine names what is measured on, with its load: a figure of a busy machine is no figure of the broker.
func Machine() string {
	load, _ := os.ReadFile("/proc/loadavg")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	cores, _ := exec.Command("nproc").Output()
	version, _ := exec.Command("go", "version").Output()
	return fmt.Sprintf("%s cores, Linux %s, %s, load %s, %s", strings.TrimSpace(string(cores)), strings.TrimSpace(string(kernel)),
		strings.TrimSpace(string(version)), strings.Join(strings.Fields(string(load))[:3], " "), time.Now().UTC().Format(time.RFC3339))
}
