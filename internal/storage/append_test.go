package storage

import (
	"context"
	"errors"
	"hash/crc32"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

const errNoSpace = syscall.ENOSPC

func crcOf(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

func TestOneCallOneWrite(t *testing.T) {
	fsys := vfs.NewFaults(vfs.NewMem())
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{})
	mustAppend(t, l, 3, simpleBatch(1, 10))
	before := fsys.Count(vfs.OpAny)
	if base := mustAppend(t, l, 3, simpleBatch(2, 10), simpleBatch(3, 10), simpleBatch(1, 10)); base != 1 {
		t.Errorf("base offset %d", base)
	}
	if calls := fsys.Count(vfs.OpAny) - before; calls != 1 {
		t.Errorf("%d calls to the file system for three batches", calls)
	}
	all, err := readAll(l, 0)
	if err != nil || len(all) != 4 || all[3].BaseOffset() != 6 || all[3].LeaderEpoch() != 3 {
		t.Errorf("%v: %d batches", err, len(all))
	}
}

func TestACallGoesOverSegments(t *testing.T) {
	d := memDirectory(t, vfs.NewMem())
	l := createLog(t, d, "orders", LogOptions{SegmentBytes: 1000})
	in := make([]Append, 20)
	for i := range in {
		in[i].Batch = simpleBatch(1, 150)
	}
	if err := l.Append(0, in); err != nil {
		t.Fatal(err)
	}
	for i, a := range in {
		if a.Err != nil || a.BaseOffset != int64(i) {
			t.Errorf("batch %d: offset %d, %v", i, a.BaseOffset, a.Err)
		}
	}
	if n := l.Segments(); n != 5 {
		t.Errorf("%d segments", n)
	}
	if _, err := readAll(l, 0); err != nil {
		t.Error(err)
	}
	in = []Append{{Batch: simpleBatch(1, 1000)}, {Batch: simpleBatch(1, 10)}}
	if err := l.Append(0, in); err != nil || !errors.Is(in[0].Err, ErrRecordTooLarge) || in[1].Err != nil {
		t.Errorf("a batch larger than a segment: %v, %v, %v", err, in[0].Err, in[1].Err)
	}
}

func TestSegmentsEnd(t *testing.T) {
	now := clock.NewManual(1_700_000_000_000)
	d := memDirectory(t, vfs.NewMem(), func(o *DirectoryOptions) { o.Clock = now })
	byAge := createLog(t, d, "age", LogOptions{SegmentMillis: 1000})
	byIndex := createLog(t, d, "index", LogOptions{SegmentIndexBytes: 16, IndexIntervalBytes: 100})
	for i := range 10 {
		mustAppend(t, byAge, 0, simpleBatch(1, 10))
		mustAppend(t, byIndex, 0, makeBatch(batchSpec{records: 1, valueSize: 100, timestamp: int64(i)}))
		now.Add(400 * time.Millisecond)
	}
	if n := byAge.Segments(); n != 4 {
		t.Errorf("%d segments of 1 s in 4 s", n)
	}
	if n := byIndex.Segments(); n < 3 {
		t.Errorf("%d segments although the index holds two entries", n)
	}
	for _, l := range d.Logs() {
		if err := indexesEqualScan(l); err != nil {
			t.Error(err)
		}
	}
}

func TestLogAppendTime(t *testing.T) {
	now := clock.NewManual(1_700_000_000_000)
	d := memDirectory(t, vfs.NewMem(), func(o *DirectoryOptions) { o.Clock = now })
	l := createLog(t, d, "orders", LogOptions{LogAppendTime: true})
	in := []Append{{Batch: makeBatch(batchSpec{records: 3, valueSize: 10, timestamp: 5, pid: 1})}}
	if err := l.Append(0, in); err != nil || in[0].LogAppendTime != 1_700_000_000_000 {
		t.Fatalf("%v, %+v", err, in[0])
	}
	all, err := readAll(l, 0)
	if err != nil {
		t.Fatal(err)
	}
	if b := all[0]; b.TimestampType() != record.LogAppendTime || b.MaxTimestamp() != 1_700_000_000_000 {
		t.Errorf("stored with %v %d", b.TimestampType(), b.MaxTimestamp())
	}
	now.Add(time.Hour)
	in = []Append{{Batch: makeBatch(batchSpec{records: 3, valueSize: 10, timestamp: 5, pid: 1})}}
	if err := l.Append(0, in); err != nil || !in[0].Duplicate || in[0].LogAppendTime != 1_700_000_000_000 {
		t.Errorf("the duplicate: %v, %+v", err, in[0])
	}
}

func TestLeaderEpochs(t *testing.T) {
	d := memDirectory(t, vfs.NewMem())
	l := createLog(t, d, "orders", LogOptions{})
	if e, end := l.EpochEnd(5); e != -1 || end != -1 || l.LatestEpoch() != -1 {
		t.Errorf("an empty log has epoch %d to %d", e, end)
	}
	mustAppend(t, l, 2, simpleBatch(3, 10))
	if err := l.BeginEpoch(4); err != nil {
		t.Fatal(err)
	}
	if err := l.BeginEpoch(5); err != nil { // its leader has nothing to write, like the one before
		t.Fatal(err)
	}
	mustAppend(t, l, 5, simpleBatch(2, 10))
	for _, c := range []struct {
		asked, epoch int32
		end          int64
	}{{1, -1, -1}, {2, 2, 3}, {3, 2, 3}, {4, 2, 3}, {5, 5, 5}, {9, 5, 5}} {
		if e, end := l.EpochEnd(c.asked); e != c.epoch || end != c.end {
			t.Errorf("epoch %d: %d ends at %d, want %d at %d", c.asked, e, end, c.epoch, c.end)
		}
	}
	in := []Append{{Batch: simpleBatch(1, 10)}}
	if err := l.Append(4, in); !errors.Is(err, ErrFencedEpoch) || !errors.Is(in[0].Err, ErrFencedEpoch) || l.End() != 5 {
		t.Errorf("an append in epoch 4 after 5: %v, %v", err, in[0].Err)
	}
	if err := l.TruncateTo(3); err != nil {
		t.Fatal(err)
	}
	if l.LatestEpoch() != 2 {
		t.Errorf("epoch %d begins at the end after a truncation to it", l.LatestEpoch())
	}
}

func TestReplicatedAppendsContinueTheLog(t *testing.T) {
	d := memDirectory(t, vfs.NewMem())
	l := createLog(t, d, "orders", LogOptions{})
	batch := func(base int64, epoch int32) record.Batch {
		b := simpleBatch(2, 10)
		b.SetBaseOffset(base)
		b.SetLeaderEpoch(epoch)
		return b
	}
	if err := l.AppendReplicated([]record.Batch{batch(0, 1), batch(2, 3)}); err != nil {
		t.Fatal(err)
	}
	if e := l.Epochs(); len(e) != 2 || e[1] != (Epoch{3, 2}) {
		t.Errorf("epochs %v", e)
	}
	for _, bad := range []record.Batch{batch(5, 3), batch(3, 3), batch(4, 2)} {
		if err := l.AppendReplicated([]record.Batch{bad}); !errors.Is(err, ErrNotContiguous) {
			t.Errorf("offset %d, epoch %d: %v", bad.BaseOffset(), bad.LeaderEpoch(), err)
		}
	}
}

// Lack of space leaves the log as it was; any other error of a write is final.
func TestWritesThatFail(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		final bool
	}{{"no space", errNoSpace, false}, {"quota", syscall.EDQUOT, false}, {"I/O error", syscall.EIO, true}, {"read-only", syscall.EROFS, true}} {
		t.Run(c.name, func(t *testing.T) {
			mem := vfs.NewMem()
			fsys := vfs.NewFaults(mem)
			var failed []*Log
			d := memDirectory(t, fsys, func(o *DirectoryOptions) { o.OnFail = func(l *Log, _ error) { failed = append(failed, l) } })
			l, other := createLog(t, d, "orders", LogOptions{}), createLog(t, d, "other", LogOptions{})
			mustAppend(t, l, 0, simpleBatch(1, 100))
			mustFlush(t, d)
			rule := fsys.Inject(vfs.Rule{Ops: vfs.OpWrite, Path: "orders-0/*", Err: c.err, Short: 90})
			in := []Append{{Batch: simpleBatch(1, 100)}}
			err := l.Append(0, in)
			if !errors.Is(err, ErrStorage) || !errors.Is(err, c.err) || !errors.Is(in[0].Err, ErrStorage) {
				t.Fatalf("append: %v", err)
			}
			rule.Heal()
			if size, _ := mem.Stat("data/orders-0/00000000000000000000.log"); size.Size != int64(len(in[0].Batch)) {
				t.Errorf("the file has %d bytes after the failed write, want %d", size.Size, len(in[0].Batch))
			}
			err = l.Append(0, []Append{{Batch: simpleBatch(1, 100)}})
			if (err != nil) != c.final || (l.Err() != nil) != c.final || (len(failed) == 1) != c.final {
				t.Errorf("afterwards: %v, the log %v, told %d", err, l.Err(), len(failed))
			}
			mustAppend(t, other, 0, simpleBatch(1, 100))
			mustFlush(t, d)
			if other.Flushed() != 1 {
				t.Error("the other log does not go on")
			}
			if _, err := readAll(l, 0); err != nil {
				t.Errorf("reading what was there: %v", err)
			}
		})
	}
}

// A flush that fails is final for its log, and is told before anything of it is acknowledged.
func TestFlushThatFails(t *testing.T) {
	for _, op := range []vfs.Rule{{Ops: vfs.OpSync, Path: "orders-0/*.log"}, {Ops: vfs.OpSyncDir, Path: "orders-0"}, {Ops: vfs.OpSync, Path: "orders-0/partition.metadata"}} {
		fsys := vfs.NewFaults(vfs.NewMem())
		var failed, flushed []*Log
		d := memDirectory(t, fsys, func(o *DirectoryOptions) {
			o.OnFail = func(l *Log, _ error) { failed = append(failed, l) }
			o.OnFlush = func(moved []*Log) { flushed = append(flushed, moved...) }
		})
		l, other := createLog(t, d, "orders", LogOptions{}), createLog(t, d, "other", LogOptions{})
		mustAppend(t, l, 0, simpleBatch(1, 100))
		mustAppend(t, other, 0, simpleBatch(1, 100))
		op.Err, op.Nth = syscall.EIO, 1
		fsys.Inject(op)
		mustFlush(t, d)
		if len(failed) != 1 || failed[0] != l || !errors.Is(l.Err(), ErrStorage) || l.Flushed() != 0 {
			t.Errorf("%+v: told %v, error %v, flushed %d", op, failed, l.Err(), l.Flushed())
		}
		if len(flushed) != 1 || flushed[0] != other || other.Flushed() != 1 {
			t.Errorf("%+v: flushed %v", op, flushed)
		}
		mustFlush(t, d) // the sync would be successful now
		if l.Flushed() != 0 || len(failed) != 1 {
			t.Errorf("%+v: a failed flush was tried again and believed", op)
		}
		if err := l.Append(0, []Append{{Batch: simpleBatch(1, 10)}}); !errors.Is(err, ErrStorage) {
			t.Errorf("%+v: append afterwards: %v", op, err)
		}
	}
}

// What was appended to many logs is flushed in one round, and told once.
func TestARoundTellsOnce(t *testing.T) {
	var rounds [][]string
	fsys := vfs.NewFaults(vfs.NewMem())
	d := memDirectory(t, fsys, func(o *DirectoryOptions) {
		o.OnFlush = func(moved []*Log) {
			var names []string
			for _, l := range moved {
				names = append(names, l.String())
			}
			rounds = append(rounds, names)
		}
	})
	a, b := createLog(t, d, "a", LogOptions{}), createLog(t, d, "b", LogOptions{})
	for range 3 {
		mustAppend(t, a, 0, simpleBatch(1, 10))
		mustAppend(t, b, 0, simpleBatch(1, 10))
	}
	syncs := fsys.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log"})
	d.round()
	if len(rounds) != 1 || len(rounds[0]) != 2 || syncs.Fired() != 2 {
		t.Errorf("rounds %v, %d syncs", rounds, syncs.Fired())
	}
	d.round()
	if len(rounds) != 1 || syncs.Fired() != 2 {
		t.Errorf("a round with nothing to do: %v, %d syncs", rounds, syncs.Fired())
	}
	mustAppend(t, a, 0, simpleBatch(1, 10))
	if err := d.Flush(context.Background()); err != nil || len(rounds) != 2 || len(rounds[1]) != 1 {
		t.Errorf("%v: rounds %v", err, rounds)
	}
}
