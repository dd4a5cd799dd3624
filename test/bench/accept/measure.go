package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/test/bench/rig"
	"github.com/chronik-stream/chronik/test/proctest"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// demo runs the demonstration and takes its time.
func (b *bench) demo(ctx context.Context) error {
	start := time.Now()
	out, err := exec.CommandContext(ctx, b.Bin, "demo").CombinedOutput()
	took := time.Since(start)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	pass := strings.Contains(string(out), "PASS")
	b.add("demo prints PASS, from the binary's start", "<= 20 s", fmt.Sprintf("%.1f s", took.Seconds()), pass && took <= 20*time.Second, "")
	return nil
}

// formation starts three nodes in random orders, and two of them again.
func (b *bench) formation(ctx context.Context) error {
	var first, later []time.Duration
	for round := range b.rounds {
		cl, err := proctest.New(proctest.Config{Bin: b.Bin, Dir: filepath.Join(b.Dir, fmt.Sprintf("form-%d", round)), Nodes: 3})
		if err != nil {
			return err
		}
		order := rand.Perm(3)
		var last time.Time
		for _, i := range order {
			last = time.Now()
			if err := cl.Nodes[i].Start(); err != nil {
				return err
			}
		}
		if err := cl.WaitReady(ctx); err != nil {
			cl.Kill()
			return err
		}
		first = append(first, time.Since(last))
		cl.Kill()
		for _, i := range order[:2] {
			last = time.Now()
			if err := cl.Nodes[i].Start(); err != nil {
				return err
			}
		}
		err = cl.WaitReady(ctx)
		later = append(later, time.Since(last))
		cl.Kill()
		if err != nil {
			return err
		}
	}
	worst := slices.Max(first)
	b.add("three nodes ready after the third start, first start, worst", "<= 3 s", ms(worst), worst <= 3*time.Second, "median "+ms(rig.Median(first)))
	worst = slices.Max(later)
	b.add("two nodes ready after the second start, kill -9 before, worst", "<= 3 s", ms(worst), worst <= 3*time.Second, "median "+ms(rig.Median(later)))
	return nil
}

var servedLine = regexp.MustCompile(`CreateTopics served (\S+) later`)

// failover runs the integration test of a killed leader for 20 rounds and reads its times.
func (b *bench) failover(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout", "20m", "-v", "-run", "^TestLeaderKilledUnderMetadataLoad$", "./test/integration")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "TEST_KILLS=20", "TEST_BIN="+b.Bin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	var times []time.Duration
	for _, m := range servedLine.FindAllStringSubmatch(string(out), -1) {
		d, err := time.ParseDuration(m[1])
		if err != nil {
			return err
		}
		times = append(times, d)
	}
	if len(times) != 20 {
		return fmt.Errorf("%d rounds were reported, want 20\n%s", len(times), out)
	}
	worst := slices.Max(times)
	b.add("leader killed 20 times under load: CreateTopics served, worst", "< 1 s", ms(worst), worst < time.Second, "median "+ms(rig.Median(times)))
	return nil
}

// startEmpty takes the time from exec to /readyz of a single node on an empty directory.
func (b *bench) startEmpty(ctx context.Context) error {
	var times []time.Duration
	for round := range 2*b.rounds + 1 {
		cl, err := proctest.New(proctest.Config{Bin: b.Bin, Dir: filepath.Join(b.Dir, fmt.Sprintf("empty-%d", round)), Nodes: 1})
		if err != nil {
			return err
		}
		start := time.Now()
		if err := cl.Start(); err != nil {
			return err
		}
		err = cl.WaitReady(ctx)
		times = append(times, time.Since(start))
		cl.Kill()
		if err != nil {
			return err
		}
	}
	m := rig.Median(times)
	b.add("ready on an empty directory, single node, median", "<= 300 ms", ms(m), m <= 300*time.Millisecond, "worst "+ms(slices.Max(times)))
	return nil
}

// startFull takes the time of a start with 1,000 partitions and 1 GiB after a clean stop.
func (b *bench) startFull(ctx context.Context) error {
	cl, err := proctest.New(proctest.Config{Bin: b.Bin, Dir: filepath.Join(b.Dir, "full"), Nodes: 1, Args: []string{"-o", "write.caching=true"}})
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
	k, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer k.Close()
	if _, err := kadm.NewClient(k).CreateTopic(ctx, 1000, 1, nil, "full"); err != nil {
		return err
	}
	value := make([]byte, 64<<10)
	var failed error
	for range (1 << 30) / len(value) {
		k.Produce(ctx, &kgo.Record{Topic: "full", Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
	}
	if err := errors.Join(k.Flush(ctx), failed); err != nil {
		return err
	}
	var times []time.Duration
	for range b.rounds {
		if err := n.Stop(); err != nil {
			return fmt.Errorf("a clean stop ended with %w\n%s", err, n.LogTail(20))
		}
		start := time.Now()
		if err := n.Start(); err != nil {
			return err
		}
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
		times = append(times, time.Since(start))
	}
	m := rig.Median(times)
	b.add("ready with 1,000 partitions and 1 GiB after a clean stop, median", "<= 1 s", ms(m), m <= time.Second, "worst "+ms(slices.Max(times)))
	return nil
}

// memory reads the resident size of three idle nodes.
func (b *bench) memory(ctx context.Context) error {
	cl, err := proctest.New(proctest.Config{Bin: b.Bin, Dir: filepath.Join(b.Dir, "idle"), Nodes: 3})
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
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Second):
	}
	worst := 0.0
	for _, n := range cl.Nodes {
		p, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Pid()))
		if err != nil {
			return err
		}
		m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(p)
		if m == nil {
			return errors.New("no VmRSS")
		}
		kb, _ := strconv.Atoi(string(m[1]))
		worst = max(worst, float64(kb)/1024)
	}
	b.add("resident memory of an idle node of three, worst", "<= 40 MiB", fmt.Sprintf("%.1f MiB", worst), worst <= 40, "")
	return nil
}

// produce compares the CPU a GB of raw 16 KiB produce, acks=1, write.caching=true,
// with the floor broker's, in interleaved rounds. Both begin each round with an empty topic.
func (b *bench) produce(ctx context.Context) error {
	chronik, err := b.Chronik(ctx, "write.caching=true")
	if err != nil {
		return err
	}
	defer chronik.Stop()
	floor, err := b.Floor(ctx)
	if err != nil {
		return err
	}
	defer floor.Stop()
	brokers := []*rig.Broker{chronik, floor}
	cpu := make([][]float64, 2)
	var ratios []float64
	for round := range b.rounds + 1 {
		var now [2]float64
		for _, i := range rand.Perm(2) {
			r, err := b.Load(ctx, brokers[i], "-engine", "raw", "-topic", "produce", "-partitions", "4", "-producers", "4", "-recreate",
				"-acks", "1", "-size", "1024", "-batch-bytes", "16384", "-count", "1000000")
			if err != nil {
				return err
			}
			now[i] = r.CPUPerGB
		}
		if round == 0 {
			continue // warm the page cache and the heap of both
		}
		cpu[0], cpu[1] = append(cpu[0], now[0]), append(cpu[1], now[1])
		ratios = append(ratios, now[0]/now[1])
	}
	m := rig.Median(ratios)
	b.add("raw 16 KiB produce, acks=1, write.caching=true: CPU a GB / floor's", "<= 1.5", fmt.Sprintf("%.2f", m), m <= 1.5,
		fmt.Sprintf("CPU-s/GB %.2f, floor %.2f, minima %.2f", rig.Median(cpu[0]), rig.Median(cpu[1]), slices.Min(cpu[0])/slices.Min(cpu[1])))
	return nil
}
