//go:build unix

package storage

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// BenchmarkCleaner compacts a log of random keys, each of which was written ten times, and tells what a GB costs.
func BenchmarkCleaner(b *testing.B) {
	for _, codec := range []record.Codec{record.None, record.Lz4} {
		for _, size := range []int{100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", codec, size), func(b *testing.B) { benchmarkCleaner(b, codec, size, 64<<20/size) })
		}
	}
}

func benchmarkCleaner(b *testing.B, codec record.Codec, size, records int) {
	var bytes int64
	var cpu time.Duration
	for range b.N {
		b.StopTimer()
		d, l := compactedLog(b, b.TempDir(), 8<<20)
		fillKeyed(b, l, codec, records, max(1, records/10), 16<<10/size, make([]byte, size))
		mustFlush(b, d)
		d.checkpoints.pass(context.Background())
		l.SetRetentionBound(l.Flushed())
		b.StartTimer()
		bytes += l.Size()
		before := processorTime()
		d.cleaner.cleanAll(context.Background())
		cpu += processorTime() - before
		b.StopTimer()
		if l.Uncleanable() || l.cleanPoint.Load() < int64(records)/2 {
			b.Fatalf("clean to %d of %d", l.cleanPoint.Load(), records)
		}
		if err := d.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	gb := float64(bytes) / 1e9
	b.ReportMetric(cpu.Seconds()/gb, "cpu-s/GB")
	b.SetBytes(bytes / int64(b.N))
}

// processorTime is what this process has used of processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// compactedLog makes a compacted log on the disk.
func compactedLog(t testing.TB, path string, segment int32) (*Directory, *Log) {
	t.Helper()
	d, err := OpenDirectory(DirectoryOptions{FS: vfs.OS{}, Path: path})
	if err == nil {
		err = d.Recover(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	return d, createLog(t, d, "a", LogOptions{Compacted: true, SegmentBytes: segment, MinCleanableDirtyRatio: .5, DeleteRetentionMillis: 86_400_000, WriteCaching: true})
}

// fillKeyed appends records of so many keys, some to a batch; value is its scratch.
func fillKeyed(t testing.TB, l *Log, codec record.Codec, records, keys, perBatch int, value []byte) {
	t.Helper()
	r := record.NewBuilder()
	r.Codec = codec
	key := make([]byte, 8)
	random := uint64(1)
	for i := range records {
		random = random*6364136223846793005 + 1442695040888963407
		binary.BigEndian.PutUint64(key, random>>20%uint64(keys))
		for j := 0; j+8 <= len(value)/2; j += 8 { // half of it does not compress
			random = random*6364136223846793005 + 1442695040888963407
			binary.BigEndian.PutUint64(value[j:], random)
		}
		r.Add(1_700_000_000_000+int64(i), key, value)
		if r.Count() < max(1, perBatch) && i < records-1 {
			continue
		}
		batch, err := r.Build()
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, 0, batch)
		r.Reset()
	}
}
