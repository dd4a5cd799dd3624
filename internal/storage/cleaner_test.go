package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// cleanable is a compacted log whose segments hold a few batches each, and what a test does with it.
type cleanable struct {
	*Log
	t     *testing.T
	clock *clock.Manual
	fs    *vfs.Faults
	mem   *vfs.Mem
}

func newCleanable(t *testing.T, o LogOptions, c CleanerOptions) *cleanable {
	t.Helper()
	mem := vfs.NewMem()
	l := &cleanable{t: t, clock: clock.NewManual(1_700_000_000_000), mem: mem, fs: vfs.NewFaults(mem)}
	d := memDirectory(t, l.fs, func(d *DirectoryOptions) { d.Clock, d.Cleaner = l.clock, c })
	o.Compacted, o.IndexIntervalBytes = true, 100
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 400
	}
	l.Log = createLog(t, d, "a", o)
	return l
}

// put appends a batch of records "key=value", of which one without a value is a tombstone; a number in front is its producer.
func (l *cleanable) put(records ...string) {
	l.t.Helper()
	l.batch(func(*record.Builder) {}, records...)
}

func (l *cleanable) batch(change func(*record.Builder), records ...string) {
	l.t.Helper()
	b := record.NewBuilder()
	change(b)
	for _, r := range records {
		key, value, there := strings.Cut(r, "=")
		if there {
			b.Add(l.clock.NowMillis(), []byte(key), append([]byte(value), make([]byte, 40)...))
		} else {
			b.Add(l.clock.NowMillis(), []byte(key), nil)
		}
	}
	batch, err := b.Build()
	if err != nil {
		l.t.Fatal(err)
	}
	mustAppend(l.t, l.Log, 0, batch)
}

// marker ends a transaction.
func (l *cleanable) marker(pid int64, commit bool) {
	l.t.Helper()
	kind := byte(0)
	if commit {
		kind = 1
	}
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = pid, 0, true, true
	b.Add(l.clock.NowMillis(), []byte{0, 0, 0, kind}, []byte{0, 0, 0, 0, 0, 1})
	batch, err := b.Build()
	if err != nil {
		l.t.Fatal(err)
	}
	mustAppend(l.t, l.Log, 0, batch)
}

// settle makes all durable, begins a new segment, and cleans.
func (l *cleanable) clean() {
	l.t.Helper()
	l.seal()
	l.dir.cleaner.cleanAll(context.Background())
	if err := l.Err(); err != nil {
		l.t.Fatal(err)
	}
}

// seal makes all durable, in segments that may be cleaned.
func (l *cleanable) seal() {
	l.t.Helper()
	l.mu.Lock()
	if err := l.rollLocked(l.End(), l.clock.NowMillis()); err != nil {
		l.t.Fatal(err)
	}
	l.mu.Unlock()
	mustAppend(l.t, l.Log, 0, simpleBatch(1, 8)) // the active segment, whose keyless record nobody looks at
	mustFlush(l.t, l.dir)
	l.dir.checkpoints.pass(context.Background())
	l.SetRetentionBound(l.Flushed())
}

// wants compares the records below the active segment with "offset key=value ...".
func (l *cleanable) wants(want string) {
	l.t.Helper()
	batches, err := readAll(l.Log, l.Start())
	if err != nil {
		l.t.Fatal(err)
	}
	var have []string
	for _, b := range batches {
		if b.Count() > 0 && b.IsControl() {
			have = append(have, fmt.Sprintf("%d marker", b.BaseOffset()))
			continue
		}
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				l.t.Fatal(err)
			}
			if r.Key == nil {
				continue
			}
			text := fmt.Sprintf("%d %s", b.BaseOffset()+int64(r.OffsetDelta), r.Key)
			if r.Value != nil {
				text += "=" + strings.TrimRight(string(r.Value), "\x00")
			}
			have = append(have, text)
		}
	}
	if got := strings.Join(have, ", "); got != want {
		l.t.Errorf("have %s\nwant %s", got, want)
	}
}

func TestCleaningKeepsTheLastOfEachKey(t *testing.T) {
	l := newCleanable(t, LogOptions{DeleteRetentionMillis: 1000}, CleanerOptions{})
	l.put("a=1", "b=1", "c=1")
	l.put("a=2")
	l.put("b", "d=1")
	l.put("a=3")
	l.clean()
	l.wants("2 c=1, 4 b, 5 d=1, 6 a=3")
	if n := l.Segments(); n != 2 {
		t.Errorf("%d segments: those that were cleaned should be one", n)
	}
	// A tombstone stays delete.retention.ms from when it was cleaned first, and no longer.
	l.clock.Add(999 * time.Millisecond)
	l.put("e=1")
	l.clean()
	l.wants("2 c=1, 4 b, 5 d=1, 6 a=3, 8 e=1")
	l.clock.Add(time.Millisecond)
	l.put("c=2")
	l.clean()
	l.wants("5 d=1, 6 a=3, 8 e=1, 10 c=2")
	if err := indexesEqualScan(l.Log); err != nil {
		t.Error(err)
	}
}

// What is read from a hole begins with the next batch that is there; a time finds the next record that is there.
func TestReadingCleanedSegments(t *testing.T) {
	l := newCleanable(t, LogOptions{}, CleanerOptions{})
	var times []int64
	for i := range 40 {
		times = append(times, l.clock.NowMillis())
		l.put(fmt.Sprintf("k%d=%d", i%7, i))
		l.clock.Add(time.Second)
	}
	held, err := l.Read(0, l.End(), 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	before, err := held.ReadBytes(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.clean()
	l.dir.sweepUp()
	after, err := held.ReadBytes(nil)
	held.Release()
	if err != nil || string(after) != string(before) {
		t.Errorf("a reader that held a segment reads other bytes now: %v", err)
	}
	for from := range int64(40) {
		batches, err := readAll(l.Log, from)
		if err != nil {
			t.Fatal(err)
		}
		if last := batches[0].LastOffset(); last < from {
			t.Errorf("read from %d begins with the batch that ends with %d", from, last)
		}
		batches = slices.DeleteFunc(batches, func(b record.Batch) bool { return b.Count() == 0 })
		if last := batches[0].LastOffset(); last != max(from, 33) {
			t.Errorf("read from %d gives the records of the batch that ends with %d", from, last)
		}
		found, err := l.OffsetForTime(times[from])
		if err != nil || found.Offset != max(from, 33) || found.Timestamp != times[max(from, 33)] {
			t.Errorf("offset for the time of %d: %+v, %v", from, found, err)
		}
	}
	if found, err := l.MaxTimestampOffset(); err != nil || found.Offset != 39 {
		t.Errorf("greatest timestamp: %+v, %v", found, err)
	}
}

func TestWhatIsCleanedWhen(t *testing.T) {
	fill := func(l *cleanable) {
		for i := range 12 {
			l.put(fmt.Sprintf("k=%d", i))
			l.clock.Add(time.Second)
		}
		l.seal()
	}
	plan := func(l *cleanable) *cleaningPlan { return l.planCleaning(l.clock.NowMillis()) }
	t.Run("dirty ratio", func(t *testing.T) {
		l := newCleanable(t, LogOptions{MinCleanableDirtyRatio: .9}, CleanerOptions{})
		fill(l)
		if p := plan(l); p == nil || !p.due() || p.ratio() != 1 || p.from != 0 || p.to != 12 {
			t.Fatalf("%+v", p)
		}
		l.clean()
		l.put("k=12", "l=1")
		l.seal()
		if p := plan(l); p == nil || p.due() || p.ratio() >= .9 || p.from != 13 {
			t.Fatalf("%+v", p)
		}
	})
	t.Run("min lag", func(t *testing.T) {
		l := newCleanable(t, LogOptions{MinCompactionLagMillis: 6000}, CleanerOptions{})
		fill(l)
		p := plan(l)
		if p == nil || p.to < 3 || p.to > 6 {
			t.Fatalf("%+v", p)
		}
		l.clock.Add(time.Minute)
		if p := plan(l); p == nil || p.to != 12 {
			t.Fatalf("%+v", p)
		}
	})
	t.Run("max lag", func(t *testing.T) {
		l := newCleanable(t, LogOptions{MaxCompactionLagMillis: 60_000, MinCleanableDirtyRatio: 1}, CleanerOptions{})
		fill(l)
		if p := plan(l); p == nil || p.due() {
			t.Fatalf("%+v", p)
		}
		l.clock.Add(time.Minute)
		plan(l)
		l.put("k=12")
		mustFlush(t, l.dir)
		l.dir.checkpoints.pass(context.Background())
		l.SetRetentionBound(l.Flushed())
		if p := plan(l); p == nil || !p.due() || p.to != 13 {
			t.Fatalf("the active segment is to be sealed at that age, too: %+v", p)
		}
	})
	t.Run("bounds", func(t *testing.T) {
		l := newCleanable(t, LogOptions{}, CleanerOptions{})
		fill(l)
		l.SetRetentionBound(5)
		if p := plan(l); p == nil || p.to > 5 {
			t.Fatalf("above the high watermark: %+v", p)
		}
		l.SetRetentionBound(0)
		if p := plan(l); p != nil {
			t.Fatalf("%+v", p)
		}
		l.SetRetentionBound(l.End())
		l.SetOptions(LogOptions{Compacted: false})
		if p := l.dir.cleaner.filthiest(context.Background(), nil); p != nil {
			t.Fatalf("not compacted: %+v", p)
		}
	})
}

// A map that takes fewer keys than there are means more passes, and nothing else.
func TestCleaningInSeveralPasses(t *testing.T) {
	l := newCleanable(t, LogOptions{}, CleanerOptions{DedupeBytes: 4 * mapSlotSize})
	var want []string
	for i := range 30 {
		l.put(fmt.Sprintf("k%d=%d", i%10, i))
		if i >= 20 {
			want = append(want, fmt.Sprintf("%d k%d=%d", i, i%10, i))
		}
	}
	l.clean()
	l.wants(strings.Join(want, ", "))
	if at := l.cleanPoint.Load(); at != 30 {
		t.Errorf("clean to %d", at)
	}
}

// The records of an aborted transaction go, and hide nothing; a marker stays as long as any of its transaction does, and
// delete.retention.ms longer; what an open transaction has written is not touched.
func TestCleaningTransactions(t *testing.T) {
	l := newCleanable(t, LogOptions{DeleteRetentionMillis: 1000}, CleanerOptions{})
	transactional := func(pid int64, seq int32) func(*record.Builder) {
		return func(b *record.Builder) {
			b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = pid, 0, seq, true
		}
	}
	l.put("a=1", "b=1")                        // 0
	l.batch(transactional(1, 0), "a=2", "c=2") // 2
	l.batch(transactional(2, 0), "b=2", "d=2") // 4
	l.marker(1, false)                         // 6
	l.marker(2, true)                          // 7
	l.batch(transactional(3, 0), "a=3")        // 8
	l.put("e=1")
	l.seal()
	if p := l.planCleaning(l.clock.NowMillis()); p != nil && p.to > 8 {
		t.Fatalf("behind the begin of an open transaction: %+v", p)
	}
	l.marker(3, false)
	l.clean()
	l.wants("0 a=1, 4 b=2, 5 d=2, 6 marker, 7 marker, 9 e=1, 11 marker")
	l.clock.Add(2 * time.Second)
	l.put("b=3", "d=3")
	l.clean()
	l.wants("0 a=1, 7 marker, 9 e=1, 13 b=3, 14 d=3") // of that one the data has gone only now
	l.clock.Add(999 * time.Millisecond)
	l.put("f=1")
	l.clean()
	l.wants("0 a=1, 7 marker, 9 e=1, 13 b=3, 14 d=3, 16 f=1")
	l.clock.Add(time.Millisecond)
	l.put("g=1")
	l.clean()
	l.wants("0 a=1, 9 e=1, 13 b=3, 14 d=3, 16 f=1, 18 g=1")
}

// A log that cannot be cleaned does not keep others from it, and is left alone; lack of space passes.
func TestUncleanable(t *testing.T) {
	l := newCleanable(t, LogOptions{}, CleanerOptions{})
	other := *l
	other.Log = createLog(t, l.dir, "other", l.Options())
	for i := range 12 {
		l.put(fmt.Sprintf("k=%d", i))
		other.put(fmt.Sprintf("k=%d", i))
	}
	l.seal()
	l.fs.Inject(vfs.Rule{Ops: vfs.OpWrite, Path: "a-0/*.cleaned", Err: syscall.ENOSPC, Nth: 1})
	l.dir.cleaner.cleanAll(context.Background())
	if l.Uncleanable() || l.cleanPoint.Load() > 0 {
		t.Fatalf("no space: uncleanable %v, clean to %d", l.Uncleanable(), l.cleanPoint.Load())
	}
	l.fs.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "a-0/*.cleaned", Err: syscall.EIO, Nth: 1})
	other.seal()
	l.dir.cleaner.cleanAll(context.Background())
	if !l.Uncleanable() || l.Err() != nil {
		t.Fatalf("uncleanable %v, failed %v", l.Uncleanable(), l.Err())
	}
	other.wants("11 k=11")
	if infos, err := l.mem.ReadDir(l.dirPath()); err != nil || len(infos) == 0 {
		t.Fatal(err)
	} else {
		for _, info := range infos {
			if strings.HasSuffix(info.Name, cleanedSuffix) {
				t.Errorf("%s is left", info.Name)
			}
		}
	}
	if p := l.planCleaning(l.clock.NowMillis()); p != nil {
		t.Errorf("it is tried again: %+v", p)
	}
	l.put("k=12")
	mustFlush(t, l.dir)
}

// A damaged batch is not written anew with a checksum that fits.
func TestCleaningDamagedData(t *testing.T) {
	l := newCleanable(t, LogOptions{}, CleanerOptions{})
	for i := range 12 {
		l.put(fmt.Sprintf("k%d=%d", i, i))
	}
	l.seal()
	f, err := l.mem.OpenReadWrite((*l.segments.Load())[0].path(logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xee}, record.HeaderSize+10); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	l.dir.cleaner.cleanAll(context.Background())
	if !l.Uncleanable() || l.Segments() < 3 {
		t.Fatalf("uncleanable %v, %d segments", l.Uncleanable(), l.Segments())
	}
}

// A truncation under a pass ends it, and below the clean point nothing is clean any more, also after a crash.
func TestTruncationBelowTheCleanPoint(t *testing.T) {
	l := newCleanable(t, LogOptions{}, CleanerOptions{})
	for i := range 12 {
		l.put(fmt.Sprintf("k%d=%d", i%5, i))
	}
	l.clean()
	p := &cleaningPlan{log: l.Log, truncations: l.truncations.Load()}
	if err := l.TruncateTo(9); err != nil {
		t.Fatal(err)
	}
	if err := l.dir.cleaner.mark(p, 12); !errors.Is(err, errLogChanged) {
		t.Fatalf("a pass that was overtaken marks the log clean: %v", err)
	}
	points, err := DecodeCleanPoints(fileContent(t, l.mem, dataDir+"/"+cleanPointsName))
	if err != nil || !maps.Equal(points, map[string]int64{"a-0": 9}) {
		t.Fatalf("%v, %v", points, err)
	}
	l.put("k4=again")
	l.wants("7 k2=7, 8 k3=8, 9 k4=again")

	// Into a hole: the log ends there, and goes on without one.
	l.put("k4=1")
	l.put("k4=2")
	l.put("k4=3")
	l.clean()
	if err := l.TruncateTo(11); err != nil {
		t.Fatal(err)
	}
	l.put("new=1")
	l.wants("7 k2=7, 8 k3=8, 11 new=1")
}

// A log that takes the name of one that was cleaned begins dirty, also after a crash.
func TestCleanPointOfADeletedLog(t *testing.T) {
	l := newCleanable(t, LogOptions{}, CleanerOptions{})
	for range 12 {
		l.put("k=1")
	}
	l.clean()
	if err := l.dir.Delete(l.Log); err != nil {
		t.Fatal(err)
	}
	if _, err := l.dir.Create(LogID{Topic: "a", TopicID: [16]byte{9}}, l.Options()); err != nil {
		t.Fatal(err)
	}
	if points, err := DecodeCleanPoints(fileContent(t, l.mem, dataDir+"/"+cleanPointsName)); err != nil || len(points) > 0 {
		t.Fatalf("%v, %v", points, err)
	}
}

// Without recovery points a compacted log is read from its begin, holes and all.
func TestRecoveryOfACleanedLogWithoutRecoveryPoints(t *testing.T) {
	l := newCleanable(t, LogOptions{}, CleanerOptions{})
	for i := range 20 {
		l.put(fmt.Sprintf("k%d=%d", i%6, i))
	}
	l.clean()
	l.wants("14 k2=14, 15 k3=15, 16 k4=16, 17 k5=17, 18 k0=18, 19 k1=19")
	mem := l.mem.Kill()
	if err := mem.Remove(dataDir + "/" + checkpointName); err != nil {
		t.Fatal(err)
	}
	d := memDirectory(t, mem)
	l.Log = d.Log("a", 0)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	l.wants("14 k2=14, 15 k3=15, 16 k4=16, 17 k5=17, 18 k0=18, 19 k1=19")
}

func TestCleanPointsFile(t *testing.T) {
	points := map[string]int64{"orders-7": 42, "a-b-0": 0, "__consumer_offsets-49": 1 << 40}
	text := encodeCleanPoints(points)
	if want := "0\n3\n__consumer_offsets 49 1099511627776\na-b 0 0\norders 7 42\n"; string(text) != want {
		t.Fatalf("%q", text)
	}
	if got, err := DecodeCleanPoints(text); err != nil || !maps.Equal(got, points) {
		t.Fatalf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "0\n", "1\n0\n", "0\n1\n", "0\n1\na 0\n", "0\n1\na 0 -1\n", "0\n1\na x 1\n", "0\n0\na 0 1\n", "0\nx\n", "0\n1\n a 0 1\n"} {
		if _, err := DecodeCleanPoints([]byte(bad)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := throttle{rate: 1000}
		began := time.Now()
		for range 10 {
			if err := slow.take(t.Context(), 500); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 4900*time.Millisecond || took > 5100*time.Millisecond {
			t.Errorf("5000 bytes at 1000 a second took %v", took)
		}
		time.Sleep(time.Hour) // what was not used is lost
		began = time.Now()
		_ = slow.take(t.Context(), 1000)
		if took := time.Since(began); took < 900*time.Millisecond {
			t.Errorf("1000 bytes at 1000 a second took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := slow.take(ctx, 1_000_000); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestOffsetMap(t *testing.T) {
	m := newOffsetMap(1000, 100*mapSlotSize, .9)
	for i := range 90 {
		if !m.put(fmt.Append(nil, i), int64(i)) {
			t.Fatalf("no room for key %d", i)
		}
	}
	if m.put([]byte("one more"), 90) || !m.put([]byte("3"), 1000) {
		t.Fatal("a full map takes new offsets of its keys, and no new keys")
	}
	for i := range 90 {
		key := fmt.Append(nil, i)
		if m.superseded(key, 1000) || m.superseded(key, int64(i)) != (i == 3) || !m.superseded(key, int64(i)-1) {
			t.Errorf("key %d", i)
		}
	}
	if m.superseded([]byte("unknown"), 0) {
		t.Error("an unknown key")
	}
	if n := len(newOffsetMap(10, 1<<40, .5).slots); n != 21 {
		t.Errorf("%d slots for 10 keys, half of them used", n)
	}
}
