package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// running is a directory whose parts run.
type running struct {
	*Directory
	stop context.CancelFunc
	done chan error
}

func run(t testing.TB, d *Directory) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Directory: d, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- d.Run(ctx) }()
	t.Cleanup(func() { r.end(t) })
	return r
}

// end stops the parts; the logs stay open.
func (r *running) end(t testing.TB) {
	if r.done == nil {
		return
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	r.done = nil
}

// TestAppendReadAndPowerLossAtOnce lets producers, consumers, retention and the background run
// together, takes the power away under them, and looks for what was acknowledged.
func TestAppendReadAndPowerLossAtOnce(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 2
	}
	for i := range rounds {
		powerLossUnderLoad(t, uint64(i))
	}
}

// promised is what was acknowledged of a log.
type promised struct {
	mu      sync.Mutex
	flushed int64
	down    bool
	moved   *sync.Cond
}

// wait returns when what lies below offset is acknowledged, or false when the machine is down.
func (p *promised) wait(offset int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.flushed < offset && !p.down {
		p.moved.Wait()
	}
	return !p.down
}

func powerLossUnderLoad(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	mem := vfs.NewMem()
	promises := map[string]*promised{}
	d := memDirectory(t, mem, func(o *DirectoryOptions) {
		o.CheckpointInterval = 1
		o.OnFlush = func(moved []*Log) {
			for _, l := range moved {
				p := promises[l.String()]
				p.mu.Lock()
				p.flushed = max(p.flushed, l.Flushed())
				p.mu.Unlock()
				p.moved.Broadcast()
			}
		}
	})
	r := run(t, d)
	written := map[string]*sync.Map{}
	var logs []*Log
	for i := range 3 {
		l, err := d.Create(LogID{Topic: fmt.Sprint("t", i), TopicID: [16]byte{byte(i + 1)}}, LogOptions{
			SegmentBytes: 8192, WriteCaching: i == 2, FlushMessages: 20, RetentionBytes: 64 << 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		p := &promised{}
		p.moved = sync.NewCond(&p.mu)
		promises[l.String()], written[l.String()] = p, &sync.Map{}
		logs = append(logs, l)
	}
	target := int64(50 + rng.IntN(300))
	var parts sync.WaitGroup
	for _, l := range logs {
		p := promises[l.String()]
		for range 2 {
			parts.Go(func() { appendUntilDown(t, l, p, written[l.String()]) })
		}
		parts.Go(func() { readUntilDown(t, l, p) })
	}
	promises[logs[0].String()].wait(target)
	d.retain(context.Background(), d.clock.NowMillis())
	disk := mem.Crash(rng)
	for _, p := range promises {
		p.mu.Lock()
		p.down = true
		p.mu.Unlock()
		p.moved.Broadcast()
	}
	parts.Wait()
	r.end(t)

	back := memDirectory(t, disk)
	for _, old := range logs {
		l, p := back.Log(old.ID().Topic, 0), promises[old.String()]
		if l == nil && p.flushed == 0 {
			continue
		}
		if l == nil || l.Err() != nil {
			t.Fatalf("seed %d: %s: %v, acknowledged %d", seed, old, l, p.flushed)
		}
		if l.End() < p.flushed {
			t.Fatalf("seed %d: %s ends at %d, acknowledged %d", seed, l, l.End(), p.flushed)
		}
		if err := sameAsWritten(l, l.Start(), written[old.String()]); err != nil {
			t.Fatalf("seed %d: %s: %v", seed, l, err)
		}
		if err := indexesEqualScan(l); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func appendUntilDown(t *testing.T, l *Log, p *promised, written *sync.Map) {
	for i := 0; p.wait(l.End() - 20); i++ {
		in := []Append{{Batch: simpleBatch(1+i%3, 50+i%200)}, {Batch: simpleBatch(1, 100)}}
		err := l.Append(0, in)
		for _, a := range in {
			if a.Err == nil {
				written.Store(a.BaseOffset, a.Batch)
			} else if !errors.Is(a.Err, ErrStorage) {
				t.Errorf("append: %v", a.Err)
			}
		}
		l.SetRetentionBound(l.Flushed())
		if err != nil {
			return
		}
	}
}

func readUntilDown(t *testing.T, l *Log, pr *promised) {
	for from := int64(0); pr.wait(from + 1); {
		s, err := l.Read(from, l.Flushed(), 4096, true)
		if errors.Is(err, ErrOutOfRange) {
			from = l.Start()
			continue
		}
		if err != nil {
			if !errors.Is(err, vfs.ErrCrashed) {
				t.Errorf("read from %d: %v", from, err)
			}
			return
		}
		p, err := s.ReadBytes(nil)
		s.Release()
		for len(p) > 0 && err == nil {
			var b record.Batch
			if b, p, err = record.Next(p); err != nil {
				break
			}
			if err := b.Check(); err != nil {
				t.Errorf("read from %d: %v", from, err)
				return
			}
			from = b.LastOffset() + 1
		}
		if err != nil && !errors.Is(err, vfs.ErrCrashed) {
			t.Errorf("read from %d: %v", from, err)
			return
		}
	}
}

// sameAsWritten compares what the log holds with what its producers were told. What nobody was told of
// may be there too.
func sameAsWritten(l *Log, from int64, written *sync.Map) error {
	all, err := readAll(l, from)
	if err != nil {
		return err
	}
	for _, b := range all {
		if want, ok := written.Load(b.BaseOffset()); ok && !bytes.Equal(want.(record.Batch), b) {
			return fmt.Errorf("the batch at %d is not the one that was appended", b.BaseOffset())
		}
	}
	return nil
}
