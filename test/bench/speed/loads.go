package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/test/bench/rig"
)

func cpuPerGB(r *rig.Result) float64    { return r.CPUPerGB }
func cpuPerBatch(r *rig.Result) float64 { return r.CPU() / float64(r.Produce.Batches) * 1e6 }
func batchRate(r *rig.Result) float64   { return float64(r.Produce.Batches) / r.Produce.Seconds }
func ackP50(r *rig.Result) float64      { return r.Produce.Ack.P50 * 1000 }
func e2eP50(r *rig.Result) float64      { return r.E2E.P50 }
func cpuPerWireGB(r *rig.Result) float64 {
	return r.CPU() / float64(r.Consume.WireBytes) * 1e9
}

var (
	caching = []string{"write.caching=true"}
	group   = []string{"-sync", "group"}
)

// comparisons are the loads whose bars docs/BENCHMARKS.md keeps. Each lasts long enough for /proc's 10 ms.
var comparisons = []comparison{
	{
		name: "produce-16k", what: "produce 16 KiB batches of 1 KiB, acks=1, 4 producers, write.caching", options: caching, kfake: true,
		load:    args("-engine raw -topic p16 -partitions 4 -producers 4 -recreate -acks 1 -size 1024 -batch-bytes 16384 -count 1000000"),
		figures: []figure{{"CPU-s a GB", "%.2f", cpuPerGB, 1.3, false}},
	},
	{
		name: "produce-1m", what: "produce 1 MiB batches of 1 KiB, acks=1, 4 producers, write.caching", options: caching, kfake: true,
		load:    args("-engine raw -topic p1m -partitions 4 -producers 4 -recreate -acks 1 -size 1024 -batch-bytes 1000000 -count 1000000"),
		figures: []figure{{"CPU-s a GB", "%.2f", cpuPerGB, 1.25, false}},
	},
	{
		name: "requests", what: "one record of 100 B a request, acks=1, 8 producers x 5 in flight, write.caching", options: caching, kfake: true,
		load:    args("-engine raw -topic one -partitions 8 -producers 8 -inflight 5 -recreate -acks 1 -size 100 -batch-bytes 1 -count 500000"),
		figures: []figure{{"CPU-us a request", "%.1f", cpuPerBatch, 1.4, false}},
	},
	fetch("fetch-64k", "fetch 64 KiB at a time, 1 consumer", 64<<10),
	fetch("fetch-1m", "fetch 1 MiB at a time, 1 consumer", 1<<20),
	durable("durable-8", 8),
	durable("durable-64", 64),
	{
		name: "round-trip", what: "one record of 100 B at a time, acks=all, flushed, franz-go", floor: group,
		load:    args("-topic rt -recreate -size 100 -sync -acks all -count 10000"),
		figures: []figure{{"round trip p50, us", "%.0f", ackP50, 1.5, false}},
	},
	{
		name: "end-to-end", what: "20,000 records/s of 1 KiB over 4 partitions, acks=1, write.caching, franz-go on both sides", options: caching, kfake: true,
		load:    args("-topic e2e -partitions 4 -recreate -mode both -producers 4 -size 1024 -acks 1 -rate 20000 -warmup 1s -duration 5s"),
		figures: []figure{{"end to end p50, ms", "%.2f", e2eP50, 1.5, false}, {"CPU-s a GB", "%.2f", cpuPerGB, 1.5, false}},
	},
}

func args(s string) []string { return strings.Fields(s) }

func fetch(name, what string, bytes int) comparison {
	return comparison{
		name: name, what: what, options: caching, kfake: true,
		prepare: args("-engine raw -topic f -partitions 4 -producers 4 -acks 1 -size 1024 -batch-bytes 16384 -count 1000000"),
		load:    append(args("-engine raw -topic f -no-create -mode consume -count 0 -fetch-bytes"), strconv.Itoa(bytes)),
		figures: []figure{{"CPU-s a GB on the wire", "%.2f", cpuPerWireGB, 1.3, false}},
	}
}

func durable(name string, partitions int) comparison {
	return comparison{
		name: name, what: fmt.Sprintf("16 KiB batches, acks=all, flushed, 64 producers over %d partitions", partitions), floor: group,
		load: args(fmt.Sprintf("-engine raw -topic d%d -partitions %d -producers 64 -recreate -acks all -size 1024 -batch-bytes 16384 -count 800000", partitions, partitions)),
		figures: []figure{
			{"CPU-us a batch", "%.0f", cpuPerBatch, 1.2, false},
			{"batches a second", "%.0f", batchRate, 0.9, true},
		},
	}
}

// growth is what something costs this broker as it grows tenfold.
type growth struct {
	name, what string
	run        func(ctx context.Context, r *rig.Rig, rounds int) ([]string, error)
}

var growths = []growth{
	{"partitions", "Produce of 16 KiB batches, acks=1, write.caching, 8 producers in turn over all partitions:", overPartitions},
	{"connections", "Idle connections, each of which has asked for ApiVersions:", connections},
	{"log-size", "Fetch of 64 KiB at a time, 1 consumer, logs in the page cache:", logSize},
}

func overPartitions(ctx context.Context, r *rig.Rig, rounds int) ([]string, error) {
	lines := []string{"| partitions | CPU-s a GB | to 10 |", "|---|---|---|"}
	first := 0.0
	for _, n := range []int{10, 100, 1000} {
		b, err := r.Chronik(ctx, caching...)
		if err != nil {
			return nil, err
		}
		var cpu []float64
		// What making and deleting so many logs costs stands in the table of make growth: here they are there, each with a record.
		load := func(more string) (rig.Result, error) {
			return r.Load(ctx, b, args("-engine raw -topic many -producers 8 -partitioner rr -acks 1 -size 1024 -batch-bytes 16384 "+more)...)
		}
		_, err = load(fmt.Sprintf("-partitions %d -count 200000", n))
		for range rounds {
			var res rig.Result
			if err == nil {
				res, err = load("-no-create -count 500000")
			}
			if err != nil {
				b.Stop()
				return nil, err
			}
			cpu = append(cpu, res.CPUPerGB)
		}
		b.Stop()
		m := rig.Median(cpu)
		if first == 0 {
			first = m
		}
		lines = append(lines, fmt.Sprintf("| %d | %.2f | %.2f |", n, m, m/first))
	}
	return lines, nil
}

// apiVersions is a request of version 0 with client id "idle".
var apiVersions = []byte{0, 0, 0, 14, 0, 18, 0, 0, 0, 0, 0, 1, 0, 4, 'i', 'd', 'l', 'e'}

func connections(ctx context.Context, r *rig.Rig, _ int) ([]string, error) {
	lines := []string{"| connections | resident MiB | KiB a connection |", "|---|---|---|"}
	b, err := r.Chronik(ctx)
	if err != nil {
		return nil, err
	}
	defer b.Stop()
	base, err := resident(b.Pid)
	if err != nil {
		return nil, err
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for _, n := range []int{50, 500, 5000} {
		for len(open) < n {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.Addr)
			if err != nil {
				return nil, err
			}
			open = append(open, c)
			if _, err := c.Write(apiVersions); err != nil {
				return nil, err
			}
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				return nil, err
			}
		}
		now, err := resident(b.Pid)
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("| %d | %.1f | %.1f |", n, float64(now)/1024, float64(now-base)/float64(n)))
	}
	return lines, nil
}

// resident is VmRSS in KiB.
func resident(pid int) (int, error) {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := bytes.Cut(p, []byte("VmRSS:"))
	if f := bytes.Fields(rest); ok && len(f) > 0 {
		return strconv.Atoi(string(f[0]))
	}
	return 0, errors.New("no VmRSS")
}

func logSize(ctx context.Context, r *rig.Rig, rounds int) ([]string, error) {
	lines := []string{"| log | CPU-s a GB on the wire | to the smallest |", "|---|---|---|"}
	b, err := r.Chronik(ctx, caching...)
	if err != nil {
		return nil, err
	}
	defer b.Stop()
	first := 0.0
	for _, mb := range []int{30, 300, 3000} {
		topic := fmt.Sprint("size-", mb)
		if _, err := r.Load(ctx, b, args(fmt.Sprintf("-engine raw -topic %s -acks 1 -size 1024 -batch-bytes 16384 -count %d", topic, mb*1000))...); err != nil {
			return nil, err
		}
		consumers := max(1, 300/mb) // enough bytes for /proc's 10 ms
		var cpu []float64
		for range rounds {
			res, err := r.Load(ctx, b, args(fmt.Sprintf("-engine raw -topic %s -no-create -mode consume -count 0 -consumers %d -fetch-bytes 65536", topic, consumers))...)
			if err != nil {
				return nil, err
			}
			cpu = append(cpu, cpuPerWireGB(&res))
		}
		m := rig.Median(cpu)
		if first == 0 {
			first = m
		}
		lines = append(lines, fmt.Sprintf("| %d MB | %.2f | %.2f |", mb, m, m/first))
	}
	return lines, nil
}
