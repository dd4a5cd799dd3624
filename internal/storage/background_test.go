package storage

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// Without write caching a flush follows at once; with it by bytes, records or time, whichever is first.
func TestWhenAFlushFollows(t *testing.T) {
	for _, c := range []struct {
		name    string
		o       LogOptions
		batches int
		size    int
		after   time.Duration
	}{
		{"no caching", LogOptions{}, 1, 10, 0},
		{"caching", LogOptions{WriteCaching: true}, 1, 10, 100 * time.Millisecond},
		{"256 KiB", LogOptions{WriteCaching: true}, 3, 100_000, 0},
		{"less than that", LogOptions{WriteCaching: true}, 2, 100_000, 100 * time.Millisecond},
		{"flush.messages", LogOptions{WriteCaching: true, FlushMessages: 5}, 5, 10, 0},
		{"flush.ms", LogOptions{WriteCaching: true, FlushMillis: 30}, 1, 10, 30 * time.Millisecond},
		{"a long flush.ms", LogOptions{WriteCaching: true, FlushMillis: 60_000}, 1, 10, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var took time.Duration
				var began time.Time
				d := memDirectory(t, vfs.NewMem(), func(o *DirectoryOptions) { o.OnFlush = func([]*Log) { took = time.Since(began) } })
				l := createLog(t, d, "orders", c.o)
				r := run(t, d)
				for round := range 3 {
					began, took = time.Now(), -1
					for range c.batches {
						mustAppend(t, l, 0, simpleBatch(1, c.size))
					}
					time.Sleep(200 * time.Millisecond)
					synctest.Wait()
					if took != c.after || l.Flushed() != l.End() {
						t.Errorf("round %d: flushed %d of %d after %v, want %v", round, l.Flushed(), l.End(), took, c.after)
					}
				}
				r.end(t)
				d.shutAll()
			})
		})
	}
}

// A log that gives write caching up is flushed at once.
func TestCachingGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memDirectory(t, vfs.NewMem())
		l := createLog(t, d, "orders", LogOptions{WriteCaching: true})
		r := run(t, d)
		mustAppend(t, l, 0, simpleBatch(1, 10))
		synctest.Wait()
		if l.Flushed() != 0 {
			t.Error("flushed at once with write caching")
		}
		l.SetOptions(LogOptions{})
		synctest.Wait()
		if l.Flushed() != 1 {
			t.Error("not flushed when write caching was given up")
		}
		r.end(t)
		d.shutAll()
	})
}

// While a flush hangs other work goes on: appends to the same log, and reads.
func TestAHangingFlushStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewFaults(vfs.NewMem())
		d := memDirectory(t, fsys)
		l := createLog(t, d, "orders", LogOptions{})
		r := run(t, d)
		stall := fsys.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Stall: true})
		mustAppend(t, l, 0, simpleBatch(1, 10))
		synctest.Wait()
		if stall.Waiting() != 1 {
			t.Fatal("no flush hangs")
		}
		for range 100 {
			mustAppend(t, l, 0, simpleBatch(1, 10))
		}
		if s, err := l.Read(50, 100, 1000, true); err != nil || s.Len == 0 {
			t.Errorf("read: %v", err)
		} else {
			s.Release()
		}
		if l.Flushed() != 0 {
			t.Error("flushed")
		}
		stall.Heal()
		synctest.Wait()
		if l.Flushed() != 101 {
			t.Errorf("flushed %d afterwards", l.Flushed())
		}
		r.end(t)
		d.shutAll()
	})
}

// retentionLog is a log with a segment an hour, ten hours long.
func retentionLog(t *testing.T, now *clock.Manual, fsys vfs.FS, o LogOptions, change ...func(*DirectoryOptions)) (*Directory, *Log) {
	t.Helper()
	d := memDirectory(t, fsys, append(change, func(o *DirectoryOptions) { o.Clock = now })...)
	o.SegmentMillis = time.Hour.Milliseconds()
	l := createLog(t, d, "orders", o)
	for range 10 {
		mustAppend(t, l, 0, makeBatch(batchSpec{records: 1, valueSize: 100, timestamp: now.NowMillis()}))
		now.Add(time.Hour)
	}
	mustFlush(t, d)
	l.SetRetentionBound(l.Flushed())
	return d, l
}

func TestRetention(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	size := int64(len(makeBatch(batchSpec{records: 1, valueSize: 100, timestamp: 1})))
	for _, c := range []struct {
		name  string
		o     LogOptions
		bound int64
		start int64
	}{
		{"for ever", LogOptions{RetentionMillis: -1, RetentionBytes: -1}, 10, 0},
		{"three hours", LogOptions{RetentionMillis: 3 * hour}, 10, 7},
		{"nothing is young enough", LogOptions{RetentionMillis: 1}, 10, 10},
		{"above the high watermark it stays", LogOptions{RetentionMillis: 1}, 4, 4},
		{"inside a segment the high watermark keeps it", LogOptions{RetentionMillis: 1}, 0, 0},
		{"bytes of four segments", LogOptions{RetentionBytes: 4 * size}, 10, 6},
		{"bytes of four and a half", LogOptions{RetentionBytes: 4*size + 1}, 10, 5},
		{"less than the active segment", LogOptions{RetentionBytes: 1}, 10, 9},
		{"retention.ms=0", LogOptions{RetentionMillis: RetainNothing}, 10, 10},
		{"retention.bytes=0", LogOptions{RetentionBytes: RetainNothing}, 10, 10},
		{"retention.bytes=0, and for ever", LogOptions{RetentionMillis: -1, RetentionBytes: RetainNothing}, 10, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := vfs.NewMem()
			now := clock.NewManual(1_700_000_000_000)
			d, l := retentionLog(t, now, fsys, c.o)
			l.SetRetentionBound(c.bound)
			d.retain(t.Context(), now.NowMillis())
			if l.Start() != c.start || l.End() != 10 {
				t.Errorf("the log has %d to %d, want %d", l.Start(), l.End(), c.start)
			}
			back := memDirectory(t, fsys.Kill()).Log("orders", 0)
			if back.Start() != c.start || back.End() != 10 || back.Err() != nil {
				t.Errorf("after a restart it has %d to %d, %v", back.Start(), back.End(), back.Err())
			}
		})
	}
}

// TestSegmentMillis: a segment ends segment.ms after its begin, by the clock or by its records, whichever comes first.
func TestSegmentMillis(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	const begin = int64(1_700_000_000_000)
	for _, c := range []struct {
		name    string
		o       LogOptions
		advance time.Duration // of the clock, from one append to the next
		times   []int64       // of the records, in hours
		want    []int64       // where segments begin
	}{
		{"by the clock", LogOptions{SegmentMillis: 3 * hour}, time.Hour, []int64{0, 0, 0, 0, 0, 0, 0}, []int64{0, 3, 6}},
		{"by old records", LogOptions{SegmentMillis: 3 * hour}, 0, []int64{-900, -899, -897, -896, -894, -890}, []int64{0, 3, 5}},
		{"by records of the future", LogOptions{SegmentMillis: 3 * hour}, 0, []int64{0, 3, 4, 5, 7, 8}, []int64{0, 2, 5}},
		{"not by those that go back", LogOptions{SegmentMillis: 3 * hour}, 0, []int64{0, -100, 1, -200, 2, -300}, []int64{0}},
		{"a wild producer makes few", LogOptions{SegmentMillis: 3 * hour}, 0, []int64{-900, 0, -900, 0, -900, 0}, []int64{0, 1}},
		{"without timestamps", LogOptions{SegmentMillis: 3 * hour}, time.Hour, []int64{-begin, -begin, -begin, -begin}, []int64{0, 3}},
		{"a jitter as long as it", LogOptions{SegmentMillis: 3 * hour, SegmentJitter: 100 * hour}, 0, []int64{0, 0, 0}, []int64{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := clock.NewManual(begin)
			fsys := vfs.NewMem()
			d := memDirectory(t, fsys, func(o *DirectoryOptions) { o.Clock = now })
			l := createLog(t, d, "orders", c.o)
			for i, at := range c.times {
				if i == len(c.times)/2 && c.advance == 0 { // a restart does not forget when the segment was begun
					mustFlush(t, d)
					d = memDirectory(t, fsys.Kill(), func(o *DirectoryOptions) { o.Clock = now })
					l = d.Log("orders", 0)
					l.SetOptions(c.o)
				}
				mustAppend(t, l, 0, makeBatch(batchSpec{records: 1, valueSize: 100, timestamp: begin + at*hour}))
				now.Add(c.advance)
			}
			var got []int64
			for _, s := range *l.segments.Load() {
				got = append(got, s.base)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("segments begin at %v, want %v", got, c.want)
			}
		})
	}
}

// TestSegmentJitter: it makes segments shorter, by no more than it says, and not all alike.
func TestSegmentJitter(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	now := clock.NewManual(1_700_000_000_000)
	d := memDirectory(t, vfs.NewMem(), func(o *DirectoryOptions) { o.Clock = now })
	l := createLog(t, d, "orders", LogOptions{SegmentMillis: 100 * hour, SegmentJitter: 50 * hour})
	for range 2000 {
		mustAppend(t, l, 0, simpleBatch(1, 10))
		now.Add(time.Hour)
	}
	lengths := map[int64]bool{}
	segments := *l.segments.Load()
	for i, s := range segments[1:] {
		n := s.base - segments[i].base
		if n < 50 || n > 100 {
			t.Errorf("a segment of %d hours", n)
		}
		lengths[n] = true
	}
	if len(lengths) < 5 {
		t.Errorf("%d lengths among %d segments", len(lengths), len(segments))
	}
}

// A record that claims to be of the far future does not keep its segment for ever.
func TestRetentionDoesNotBelieveTheFuture(t *testing.T) {
	now := clock.NewManual(time.Now().UnixMilli())
	d := memDirectory(t, vfs.NewMem(), func(o *DirectoryOptions) { o.Clock = now })
	l := createLog(t, d, "orders", LogOptions{RetentionMillis: time.Hour.Milliseconds(), SegmentBytes: 300})
	for range 4 {
		mustAppend(t, l, 0, makeBatch(batchSpec{records: 1, valueSize: 100, timestamp: now.NowMillis() + 1e12}))
	}
	mustFlush(t, d)
	l.SetRetentionBound(4)
	d.retain(t.Context(), now.NowMillis())
	if l.Start() != 0 {
		t.Error("deleted at once")
	}
	now.Add(2 * time.Hour)
	d.retain(t.Context(), now.NowMillis())
	if l.Start() != 4 {
		t.Errorf("start %d after retention.ms has passed since the last write", l.Start())
	}
}

// A jump of the wall clock does not delete what is young: the run of retention is left out.
func TestRetentionAndClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := clock.NewManual(1_700_000_000_000)
		var out bytes.Buffer
		d, l := retentionLog(t, now, vfs.NewMem(), LogOptions{RetentionMillis: 24 * time.Hour.Milliseconds()}, func(o *DirectoryOptions) {
			o.RetentionInterval = time.Minute
			o.Logger = slog.New(slog.NewTextHandler(&out, nil))
		})
		r := run(t, d)
		synctest.Wait()
		now.Add(10 * 365 * 24 * time.Hour) // somebody has set the clock
		time.Sleep(time.Minute)
		synctest.Wait()
		if l.Start() != 0 || !strings.Contains(out.String(), "wall clock has jumped") {
			t.Errorf("start %d after a jump; log: %s", l.Start(), out.String())
		}
		now.Add(time.Minute)
		time.Sleep(time.Minute)
		synctest.Wait()
		if l.Start() != 10 {
			t.Errorf("start %d: the time of the clock stands for a minute, and counts", l.Start())
		}
		r.end(t)
		d.shutAll()
	})
}

// Producer ids that are silent are forgotten, by the clock of the broker and not by their timestamps.
func TestProducersExpire(t *testing.T) {
	now := clock.NewManual(1_700_000_000_000)
	d := memDirectory(t, vfs.NewMem(), func(o *DirectoryOptions) { o.Clock = now })
	l := createLog(t, d, "orders", LogOptions{})
	mustAppend(t, l, 0, makeBatch(batchSpec{records: 1, valueSize: 1, timestamp: 5, pid: 1}))
	now.Add(20 * time.Hour)
	mustAppend(t, l, 0, makeBatch(batchSpec{records: 1, valueSize: 1, timestamp: 5, pid: 2}))
	d.retain(t.Context(), now.NowMillis())
	if len(l.Producers()) != 2 {
		t.Errorf("producers %v", l.Producers())
	}
	now.Add(10 * time.Hour)
	d.retain(t.Context(), now.NowMillis())
	if p := l.Producers(); len(p) != 1 || p[0].ProducerID != 2 {
		t.Errorf("producers %v", p)
	}
}

// The background keeps the recovery point behind the flushed offset, and the files of deleted segments go.
func TestTheBackgroundTidiesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewMem()
		d := memDirectory(t, fsys)
		l := createLog(t, d, "orders", LogOptions{SegmentBytes: 500, FileDeleteDelay: time.Minute})
		r := run(t, d)
		for range 20 {
			mustAppend(t, l, 0, simpleBatch(1, 100))
		}
		time.Sleep(3 * time.Second)
		points, err := ReadRecoveryPoints(fsys, dataDir)
		if err != nil || len(points) != 1 || points[0].RecoveryPoint != 20 {
			t.Errorf("recovery points %+v, %v", points, err)
		}
		if err := l.TrimBefore(15); err != nil {
			t.Fatal(err)
		}
		deleted := func() (n int) {
			infos, err := fsys.ReadDir(l.dirPath())
			if err != nil {
				t.Fatal(err)
			}
			for _, info := range infos {
				if strings.HasSuffix(info.Name, deletedSuffix) {
					n++
				}
			}
			return n
		}
		synctest.Wait()
		if deleted() == 0 {
			t.Error("nothing was set aside")
		}
		time.Sleep(61 * time.Second)
		if n := deleted(); n != 0 {
			t.Errorf("%d files are still there after file.delete.delay.ms", n)
		}
		if err := d.Delete(l); err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Second)
		if infos, _ := fsys.ReadDir(dataDir); len(infos) != 1 {
			t.Errorf("left after a deletion: %v", infos)
		}
		r.end(t)
	})
}

func TestTruncation(t *testing.T) {
	d := memDirectory(t, vfs.NewMem())
	l := createLog(t, d, "orders", LogOptions{SegmentBytes: 500})
	for range 10 {
		mustAppend(t, l, 0, simpleBatch(2, 100))
	}
	if err := l.TruncateTo(7); !errors.Is(err, ErrNotContiguous) || l.End() != 20 {
		t.Errorf("into a batch: %v", err)
	}
	if err := l.TruncateTo(25); err != nil || l.End() != 20 {
		t.Errorf("above the end: %v", err)
	}
	for _, to := range []int64{18, 10, 2, 0} {
		if err := l.TruncateTo(to); err != nil || l.End() != to || l.Flushed() != to {
			t.Fatalf("to %d: %v, end %d, flushed %d", to, err, l.End(), l.Flushed())
		}
		if all, err := readAll(l, 0); err != nil || int64(len(all)) != to/2 {
			t.Errorf("to %d: %d batches, %v", to, len(all), err)
		}
		if err := indexesEqualScan(l); err != nil {
			t.Error(err)
		}
	}
	mustAppend(t, l, 1, simpleBatch(1, 1))
	if err := l.TruncateFullyAndStartAt(1000); err != nil || l.Start() != 1000 || l.End() != 1000 || l.Size() != 0 || l.Segments() != 1 {
		t.Errorf("%v: %d to %d, %d bytes", err, l.Start(), l.End(), l.Size())
	}
	if base := mustAppend(t, l, 1, simpleBatch(1, 1)); base != 1000 {
		t.Errorf("appended at %d", base)
	}
}

// A truncation that could not lower the recovery point has not happened.
func TestTruncationThatCannotBegin(t *testing.T) {
	fsys := vfs.NewFaults(vfs.NewMem())
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{})
	mustAppend(t, l, 0, simpleBatch(1, 1), simpleBatch(1, 1))
	mustFlush(t, d)
	d.checkpoints.pass(t.Context())
	fsys.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "recovery-point.tmp", Err: syscall.EIO, Nth: 1})
	if err := l.TruncateTo(1); !errors.Is(err, ErrStorage) || l.Err() != nil || l.End() != 2 {
		t.Fatalf("%v, log %v, end %d", err, l.Err(), l.End())
	}
	mustAppend(t, l, 0, simpleBatch(1, 1))
	if err := l.TruncateTo(1); err != nil || l.End() != 1 {
		t.Errorf("the second time: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys, func(o *DirectoryOptions) { o.Registerer = registry })
	l := createLog(t, d, "orders", LogOptions{SegmentBytes: 200})
	for range 3 {
		mustAppend(t, l, 0, simpleBatch(1, 50))
	}
	mustFlush(t, d)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		have[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		if f.GetHelp() == "" || !strings.HasPrefix(f.GetName(), "chronik_log_") {
			t.Errorf("%s: %q", f.GetName(), f.GetHelp())
		}
	}
	for name, want := range map[string]float64{
		"bytes": 354, "partitions": 1, "segments": 3, "appended_batches_total": 3, "appended_bytes_total": 354, "segment_rolls_total": 2,
		"flush_rounds_total": 1, "fsync_seconds": 3, "partitions_offline": 0, "failures_total": 0, "open_segments": 3,
	} {
		if have["chronik_log_"+name] != want {
			t.Errorf("chronik_log_%s is %v, want %v", name, have["chronik_log_"+name], want)
		}
	}
}

func TestOpenNeedsADirectory(t *testing.T) {
	if _, err := OpenDirectory(DirectoryOptions{FS: vfs.NewMem(), Path: "nowhere"}); err == nil {
		t.Error("opened a directory that is not there")
	}
	d := memDirectory(t, vfs.NewMem())
	createLog(t, d, "orders", LogOptions{})
	if _, err := d.Create(LogID{Topic: "orders"}, LogOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Close(ctx); err == nil {
		t.Error("closed in no time")
	}
}
