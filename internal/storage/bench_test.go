package storage

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// osDirectory opens a data directory on the machine's file system.
func osDirectory(b *testing.B, dir string, change ...func(*DirectoryOptions)) *Directory {
	b.Helper()
	o := DirectoryOptions{FS: vfs.OS{}, Path: dir}
	for _, c := range change {
		c(&o)
	}
	d, err := OpenDirectory(o)
	if err != nil {
		b.Fatal(err)
	}
	if err := d.Recover(context.Background()); err != nil {
		b.Fatal(err)
	}
	return d
}

// sized is a batch of about size bytes in records of at most 1 KiB.
func sized(size int) record.Batch {
	n := max(1, size/1024)
	return simpleBatch(n, max(8, size/n-20))
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d := osDirectory(b, b.TempDir())
			l := createLog(b, d, "bench", LogOptions{WriteCaching: true})
			batch := sized(size)
			in := []Append{{Batch: batch}}
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				in[0] = Append{Batch: batch}
				if err := l.Append(1, in); err != nil {
					b.Fatal(err)
				}
			}
			d.shutAll()
		})
	}
}

// BenchmarkAppendIdempotent is an append with a producer id.
func BenchmarkAppendIdempotent(b *testing.B) {
	d := osDirectory(b, b.TempDir())
	l := createLog(b, d, "bench", LogOptions{WriteCaching: true})
	batch := makeBatch(batchSpec{records: 1, valueSize: 100, pid: 7, timestamp: 1})
	in := []Append{{Batch: batch}}
	b.ReportAllocs()
	for seq := int32(0); b.Loop(); seq++ {
		putInt32(batch[53:], seq)
		in[0] = Append{Batch: batch}
		if err := l.Append(1, in); err != nil || in[0].Err != nil {
			b.Fatal(err, in[0].Err)
		}
	}
	d.shutAll()
}

func putInt32(p []byte, v int32) {
	p[0], p[1], p[2], p[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}

// BenchmarkDurable is group commit: 64 producers of 16 KiB, each waiting for the flush of its
// batch before the next one, over 1, 8 and 64 logs.
func BenchmarkDurable(b *testing.B) {
	for _, size := range []int{100, 16 << 10} {
		for _, logs := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("size=%d/logs=%d", size, logs), func(b *testing.B) { benchmarkDurable(b, size, logs, 64) })
		}
	}
}

// waiters are those who wait for a log's flush.
type waiters struct {
	mu   sync.Mutex
	cond *sync.Cond
}

func benchmarkDurable(b *testing.B, size, logs, producers int) {
	wait := map[*Log]*waiters{}
	d := osDirectory(b, b.TempDir(), func(o *DirectoryOptions) {
		o.OnFlush = func(moved []*Log) {
			for _, l := range moved {
				w := wait[l]
				w.mu.Lock()
				w.cond.Broadcast()
				w.mu.Unlock()
			}
		}
	})
	var all []*Log
	for i := range logs {
		l := createLog(b, d, fmt.Sprint("bench", i), LogOptions{})
		w := &waiters{}
		w.cond = sync.NewCond(&w.mu)
		wait[l] = w
		all = append(all, l)
	}
	r := run(b, d)
	batch := sized(size)
	b.SetBytes(int64(len(batch)))
	b.ResetTimer()
	var left sync.WaitGroup
	for p := range producers {
		left.Go(func() {
			l := all[p%logs]
			w := wait[l]
			in := []Append{{Batch: append(record.Batch(nil), batch...)}}
			for i := p; i < b.N; i += producers {
				in[0] = Append{Batch: in[0].Batch}
				if err := l.Append(1, in); err != nil {
					b.Error(err)
					return
				}
				end := in[0].Batch.LastOffset() + 1
				w.mu.Lock()
				for l.Flushed() < end {
					w.cond.Wait()
				}
				w.mu.Unlock()
			}
		})
	}
	left.Wait()
	b.StopTimer()
	r.end(b)
	d.shutAll()
}

// shutAll closes the files of all logs.
func (d *Directory) shutAll() {
	for _, l := range d.Logs() {
		l.shut()
	}
}

func BenchmarkReadTail(b *testing.B) {
	d := osDirectory(b, b.TempDir())
	l := createLog(b, d, "bench", LogOptions{WriteCaching: true})
	for range 1000 {
		mustAppend(b, l, 1, sized(1000))
	}
	from := l.End() - 3
	b.ReportAllocs()
	for b.Loop() {
		s, err := l.Read(from, l.End(), 1<<20, true)
		if err != nil || s.Len == 0 {
			b.Fatal(err)
		}
		s.Release()
	}
	d.shutAll()
}

// BenchmarkReadBehind reads a log from end to end, 64 KiB at a time, without the bytes themselves.
func BenchmarkReadBehind(b *testing.B) {
	d := osDirectory(b, b.TempDir())
	l := createLog(b, d, "bench", LogOptions{WriteCaching: true, SegmentBytes: 64 << 20})
	batch := sized(1000)
	for range 200_000 {
		mustAppend(b, l, 1, batch)
	}
	from := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		s, err := l.Read(from, l.End(), 64<<10, true)
		if err != nil || s.Len == 0 {
			b.Fatal(err)
		}
		from += int64(s.Len / len(batch))
		if from >= l.End()-100 {
			from = 0
		}
		s.Release()
	}
	d.shutAll()
}

// BenchmarkOpen opens 1,000 logs with 1 GiB after a clean stop, and after the death of the process.
func BenchmarkOpen(b *testing.B) {
	for _, clean := range []bool{true, false} {
		b.Run(fmt.Sprint("clean=", clean), func(b *testing.B) {
			dir := b.TempDir()
			d := osDirectory(b, dir)
			batch := sized(64 << 10)
			for i := range 1000 {
				l := createLog(b, d, fmt.Sprint("bench", i), LogOptions{})
				for range 16 {
					mustAppend(b, l, 1, batch)
				}
			}
			if err := d.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				d := osDirectory(b, dir, func(o *DirectoryOptions) { o.Clean = clean })
				if n := len(d.Logs()); n != 1000 {
					b.Fatal(n)
				}
				d.shutAll()
			}
		})
	}
}

// BenchmarkCreate makes 1,000 logs and makes them durable.
func BenchmarkCreate(b *testing.B) {
	for b.Loop() {
		d := osDirectory(b, b.TempDir())
		for i := range 1000 {
			createLog(b, d, fmt.Sprint("bench", i), LogOptions{})
		}
		if err := d.SyncCreated(); err != nil {
			b.Fatal(err)
		}
		d.shutAll()
	}
}
