package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// at is the path of a file of the log orders-0.
func at(offset int64, suffix string) string { return "data/orders-0/" + offsetName(offset, suffix) }

// flip changes one bit of a file.
func flip(t *testing.T, fsys vfs.FS, path string, pos int64) {
	t.Helper()
	if err := overwrite(fsys, path, func(p []byte) { p[pos] ^= 1 }); err != nil {
		t.Fatal(err)
	}
}

// cutFile shortens a file.
func cutFile(t *testing.T, fsys vfs.FS, path string, size int64) {
	t.Helper()
	f, err := fsys.OpenReadWrite(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

// boot sets the boot id of a directory.
func boot(id string) func(*DirectoryOptions) {
	return func(o *DirectoryOptions) { o.BootID = id }
}

// tenBatches makes a log of ten batches of 161 bytes, flushed, in one segment; the recovery point is
// behind the first five.
func tenBatches(t *testing.T) *vfs.Mem {
	t.Helper()
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys, boot("one"))
	l := createLog(t, d, "orders", LogOptions{})
	for i := range 10 {
		mustAppend(t, l, 2, makeBatch(batchSpec{records: 2, valueSize: 40, timestamp: int64(i), pid: 4, seq: int32(2 * i)}))
		if i == 4 {
			mustFlush(t, d)
			d.checkpoints.pass(t.Context())
		}
	}
	mustFlush(t, d)
	return fsys.Kill()
}

const tenSize = 161

// Above the recovery point what a crash has torn is cut off, and only that; damage with intact batches behind
// it is not a torn write, unless the power was gone.
func TestTornAndDamaged(t *testing.T) {
	for _, c := range []struct {
		name    string
		hurt    func(t *testing.T, fsys vfs.FS)
		boot    string
		end     int64 // of the recovered log
		offline bool
	}{
		{"intact", func(*testing.T, vfs.FS) {}, "one", 20, false},
		{"the last batch is cut", func(t *testing.T, fsys vfs.FS) { cutFile(t, fsys, at(0, logSuffix), 9*tenSize+100) }, "one", 18, false},
		{"the last batch is bad", func(t *testing.T, fsys vfs.FS) { flip(t, fsys, at(0, logSuffix), 9*tenSize+100) }, "one", 18, false},
		{"a bad batch in the middle", func(t *testing.T, fsys vfs.FS) { flip(t, fsys, at(0, logSuffix), 7*tenSize+100) }, "one", 14, true},
		{"a bad length in the middle", func(t *testing.T, fsys vfs.FS) { flip(t, fsys, at(0, logSuffix), 7*tenSize+9) }, "one", 14, true},
		{"a bad batch in the middle after a loss of power", func(t *testing.T, fsys vfs.FS) { flip(t, fsys, at(0, logSuffix), 7*tenSize+100) }, "two", 14, false},
		{"the file is shorter than what was durable", func(t *testing.T, fsys vfs.FS) { cutFile(t, fsys, at(0, logSuffix), 3*tenSize) }, "two", 0, true},
		{"the file is gone", func(t *testing.T, fsys vfs.FS) {
			if err := fsys.Remove(at(0, logSuffix)); err != nil {
				t.Fatal(err)
			}
		}, "two", 0, true},
		{"recovery points are damaged", func(t *testing.T, fsys vfs.FS) { flip(t, fsys, "data/recovery-point", 60) }, "two", 20, false},
		{"recovery points are gone, and a batch is bad", func(t *testing.T, fsys vfs.FS) {
			flip(t, fsys, at(0, logSuffix), 7*tenSize+100)
			if err := fsys.Remove("data/recovery-point"); err != nil {
				t.Fatal(err)
			}
		}, "two", 14, true},
		{"leader epochs are damaged", func(t *testing.T, fsys vfs.FS) { flip(t, fsys, "data/orders-0/leader-epoch-checkpoint", 0) }, "two", 20, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := tenBatches(t)
			c.hurt(t, fsys)
			d := memDirectory(t, fsys, boot(c.boot))
			l := d.Log("orders", 0)
			if l == nil {
				t.Fatal("the log is gone")
			}
			if offline := l.Err() != nil; offline != c.offline || l.End() != c.end {
				t.Fatalf("recovered to %d, %v", l.End(), l.Err())
			}
			if c.end > 0 {
				all, err := readAll(l, 0)
				if err != nil || int64(len(all)) != c.end/2 {
					t.Errorf("%d batches, %v", len(all), err)
				}
			}
			if c.offline {
				if !errors.Is(l.Err(), ErrCorrupt) || !errors.Is(l.Err(), ErrStorage) || !strings.Contains(l.Err().Error(), "orders-0") {
					t.Errorf("the reason: %v", l.Err())
				}
				if err := l.Append(2, []Append{{Batch: simpleBatch(1, 1)}}); !errors.Is(err, ErrStorage) {
					t.Errorf("append: %v", err)
				}
				stillOffline(t, d, fsys, c.end)
				return
			}
			if l.LatestEpoch() != 2 || l.Producers()[0].LastSequence != int32(c.end-1) {
				t.Errorf("epoch %d, producers %v", l.LatestEpoch(), l.Producers())
			}
			if base := mustAppend(t, l, 3, simpleBatch(1, 1)); base != c.end {
				t.Errorf("appended at %d", base)
			}
		})
	}
}

// stillOffline looks whether a damaged log is found damaged at every later start, after a clean stop and another boot too.
func stillOffline(t *testing.T, d *Directory, fsys *vfs.Mem, end int64) {
	t.Helper()
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, clean := range []bool{true, false} {
		d = memDirectory(t, fsys, boot("three"), func(o *DirectoryOptions) { o.Clean = clean })
		if l := d.Log("orders", 0); l == nil || l.Err() == nil || l.End() != end {
			t.Errorf("clean %v: the log is back: %v", clean, l)
		}
	}
}

// Recovery reads what may not have been flushed, and not the rest.
func TestRecoveryReadsLittle(t *testing.T) {
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{SegmentBytes: 1 << 20})
	other := createLog(t, d, "other", LogOptions{})
	for i := range 300 {
		mustAppend(t, l, 0, makeBatch(batchSpec{records: 1, valueSize: 16000, timestamp: int64(i), pid: 3, seq: int32(i)}))
		mustAppend(t, other, 0, simpleBatch(1, 100))
	}
	mustFlush(t, d)
	d.checkpoints.pass(t.Context())
	for i := range 3 {
		mustAppend(t, l, 0, makeBatch(batchSpec{records: 1, valueSize: 16000, timestamp: int64(i), pid: 3, seq: int32(300 + i)}))
	}
	mustFlush(t, d)
	before := l.producers.encode()
	var out bytes.Buffer
	back := memDirectory(t, fsys.Kill(), func(o *DirectoryOptions) { o.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
	if back.Log("orders", 0).End() != 303 || back.Log("other", 0).End() != 300 {
		t.Error("not all is there")
	}
	if !bytes.Equal(before, back.Log("orders", 0).producers.encode()) {
		t.Error("another producer state")
	}
	if !strings.Contains(out.String(), fmt.Sprintf("scanned_bytes=%d", 3*16071)) && !strings.Contains(out.String(), "scanned_bytes=48") {
		t.Errorf("scanned: %s", out.String())
	}
}

// The producer state is bounded work too: inside a large segment it is saved now and then.
func TestSnapshotsInsideASegment(t *testing.T) {
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{WriteCaching: true})
	if testing.Short() {
		t.Skip("appends 40 MiB")
	}
	value := strings.Repeat("x", 1<<20)
	for i := range 40 {
		b := record.NewBuilder()
		b.ProducerID, b.ProducerEpoch, b.BaseSequence = 3, 0, int32(i)
		b.Add(1, nil, []byte(value))
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, 0, batch)
		if i%8 == 7 {
			mustFlush(t, d)
			d.checkpoints.pass(t.Context())
		}
	}
	if len(l.snapshots) != 1 || l.snapshots[0] != 32 {
		t.Errorf("snapshots at %v", l.snapshots)
	}
}

func TestLogsThatAreGoneAreMissed(t *testing.T) {
	fsys := tenBatches(t)
	if err := fsys.RemoveAll("data/orders-0"); err != nil {
		t.Fatal(err)
	}
	d := memDirectory(t, fsys)
	if ids := d.Missing(); len(ids) != 1 || ids[0].Topic != "orders" {
		t.Fatalf("missing: %v", ids)
	}
	if err := d.checkpoints.save(true); err != nil {
		t.Fatal(err)
	}
	d = memDirectory(t, fsys)
	if ids := d.Missing(); len(ids) != 1 {
		t.Fatalf("missing at the next start: %v", ids)
	}
	createLog(t, d, "orders", LogOptions{})
	if ids := d.Missing(); len(ids) != 0 {
		t.Fatalf("missing although it was created anew: %v", ids)
	}
}

// A log that was created, durably, and never flushed keeps its topic id when its files are lost.
func TestCreationsAreDurableTogether(t *testing.T) {
	for seed := range uint64(6) {
		mem := vfs.NewMem()
		fsys := vfs.NewFaults(mem)
		d := memDirectory(t, fsys)
		for i := range 50 {
			if _, err := d.Create(LogID{Topic: "t", Partition: int32(i), TopicID: [16]byte{7, byte(i)}}, LogOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		syncs := fsys.Count(vfs.OpSync | vfs.OpSyncDir)
		if err := d.SyncCreated(); err != nil {
			t.Fatal(err)
		}
		if n := fsys.Count(vfs.OpSync|vfs.OpSyncDir) - syncs; n != 2 {
			t.Fatalf("%d syncs for 50 logs", n)
		}
		back := memDirectory(t, mem.Crash(rand.New(rand.NewPCG(seed, seed))))
		if n := len(back.Logs()); n != 50 {
			t.Fatalf("seed %d: %d logs after a loss of power", seed, n)
		}
		for i, l := range back.Logs() {
			if l.ID().TopicID != [16]byte{7, byte(i)} || l.ID().Partition != int32(i) {
				t.Fatalf("seed %d: %v has topic id %v", seed, l, l.ID().TopicID)
			}
		}
	}
}

// A topic that was deleted and made again under its name is not taken for the old one.
func TestDeleteAndCreateAgain(t *testing.T) {
	for seed := range uint64(20) {
		mem := vfs.NewMem()
		d := memDirectory(t, mem)
		old := createLog(t, d, "orders", LogOptions{})
		mustAppend(t, old, 0, simpleBatch(10, 100), simpleBatch(10, 100))
		mustFlush(t, d)
		d.checkpoints.pass(t.Context())
		if err := d.Delete(old); err != nil {
			t.Fatal(err)
		}
		id := LogID{Topic: "orders", TopicID: [16]byte{99}}
		l, err := d.Create(id, LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, 0, simpleBatch(1, 10))
		mustFlush(t, d)
		if seed%2 == 0 {
			d.sweepUp()
		}
		back := memDirectory(t, mem.Crash(rand.New(rand.NewPCG(seed, 1)))).Log("orders", 0)
		if back == nil || back.ID() != id || back.Err() != nil || back.End() != 1 {
			t.Fatalf("seed %d: %v, %v", seed, back, back.Err())
		}
	}
}

func TestWhatIsLeftOfDeletionsGoesAtTheNextStart(t *testing.T) {
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys)
	a, b := createLog(t, d, "a", LogOptions{}), createLog(t, d, "b", LogOptions{})
	mustAppend(t, a, 0, simpleBatch(1, 1))
	mustFlush(t, d)
	if err := d.Delete(a); err != nil {
		t.Fatal(err)
	}
	if err := d.Stray(b); err != nil {
		t.Fatal(err)
	}
	if len(d.Logs()) != 0 {
		t.Errorf("logs: %v", d.Logs())
	}
	d = memDirectory(t, fsys.Kill())
	d.sweepUp()
	var names []string
	infos, err := d.fs.ReadDir(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		names = append(names, asideKind(info.Name))
	}
	if slices.Contains(names, deleteDirSuffix) || !slices.Contains(names, strayDirSuffix) {
		t.Errorf("left: %v", infos)
	}
}

// A start that the disk fails leaves the log offline, and the next one finds it as it was.
func TestRecoveryThatFails(t *testing.T) {
	for _, rule := range []vfs.Rule{
		{Ops: vfs.OpReadDir, Path: "orders-0"}, {Ops: vfs.OpRead, Path: "*.log"}, {Ops: vfs.OpSync, Path: "*.log"}, {Ops: vfs.OpOpen, Path: "*.log"},
	} {
		fsys := vfs.NewFaults(tenBatches(t))
		rule.Err = syscall.EIO
		bad := fsys.Inject(rule)
		d := memDirectory(t, fsys, boot("two"))
		l := d.Log("orders", 0)
		if l == nil || !errors.Is(l.Err(), syscall.EIO) {
			t.Fatalf("%+v: %v", rule, l)
		}
		if err := d.Close(context.Background()); err != nil {
			t.Errorf("%+v: close: %v", rule, err)
		}
		bad.Heal()
		d = memDirectory(t, fsys, boot("two"), func(o *DirectoryOptions) { o.Clean = true })
		if l := d.Log("orders", 0); l == nil || l.Err() != nil || l.End() != 20 {
			t.Errorf("%+v: at the next start: %v", rule, l.Err())
		}
	}
}

// The order in which bytes are damaged does not matter: no bytes in the files of a log make recovery panic or hang.
func FuzzRecovery(f *testing.F) {
	f.Add([]byte(makeBatch(batchSpec{records: 2, valueSize: 20, pid: 1})), []byte{0, 0, 0, 1, 0, 0, 0, 0}, []byte{}, []byte("0\n1\n0 0\n"), []byte{})
	f.Fuzz(func(t *testing.T, data, index, times, epochs, point []byte) {
		fsys := vfs.NewMem()
		if err := fsys.MkdirAll("data/orders-0"); err != nil {
			t.Fatal(err)
		}
		for name, p := range map[string][]byte{
			at(0, logSuffix): data, at(0, indexSuffix): index, at(0, timeIndexSuffix): times, "data/orders-0/leader-epoch-checkpoint": epochs,
			"data/orders-0/partition.metadata": encodePartitionMetadata([16]byte{1}), "data/recovery-point": point,
		} {
			if err := replaceFile(fsys, name, p); err != nil {
				t.Fatal(err)
			}
		}
		d := memDirectory(t, fsys)
		l := d.Log("orders", 0)
		if l == nil {
			t.Fatal("the log is gone")
		}
		if l.Err() != nil {
			return
		}
		if all, err := readAll(l, l.Start()); err != nil {
			t.Fatalf("%d batches, then %v", len(all), err)
		}
		if err := indexesEqualScan(l); err != nil {
			t.Fatal(err)
		}
		if _, err := l.OffsetForTime(5); err != nil && !errors.Is(err, record.ErrCorrupt) && !errors.Is(err, record.ErrLimit) && !errors.Is(err, record.ErrUnsupportedCodec) && !errors.Is(err, record.ErrIncomplete) {
			t.Fatal(err)
		}
	})
}

// FuzzRecoveryKeepsThePrefix puts arbitrary bytes behind whole batches, in the last segment of a log and in its side files, after a loss of
// power: the log opens, all that was whole is there, and what was not is not.
func FuzzRecoveryKeepsThePrefix(f *testing.F) {
	batch := makeBatch(batchSpec{records: 2, valueSize: 20, pid: 1, epoch: 1, seq: 4})
	next := makeBatch(batchSpec{records: 3, valueSize: 9, timestamp: 50})
	next.SetBaseOffset(6)
	f.Add([]byte(next), []byte{}, []byte{}, []byte{})
	f.Add([]byte(next)[:len(next)-3], []byte{0, 0, 0, 1, 0, 0, 0, 0}, []byte{1}, []byte("0\n1\n0 0\n"))
	f.Add(append(bytes.Repeat([]byte{0}, 100), next...), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []byte{}, []byte("0\n1\n-1 -1\n"))
	f.Fuzz(func(t *testing.T, tail, index, times, epochs []byte) {
		fsys := vfs.NewMem()
		if err := fsys.MkdirAll("data/orders-0"); err != nil {
			t.Fatal(err)
		}
		var data []byte
		for i := range 3 {
			b := bytes.Clone(batch)
			record.Batch(b).SetBaseOffset(int64(2 * i))
			record.Batch(b).SetLeaderEpoch(0)
			data = append(data, b...)
		}
		whole := append(bytes.Clone(data), tail...)
		for name, p := range map[string][]byte{
			at(0, logSuffix): whole, at(0, indexSuffix): index, at(0, timeIndexSuffix): times, "data/orders-0/leader-epoch-checkpoint": epochs,
			"data/orders-0/partition.metadata": encodePartitionMetadata([16]byte{1}),
		} {
			if err := replaceFile(fsys, name, p); err != nil {
				t.Fatal(err)
			}
		}
		l := memDirectory(t, fsys).Log("orders", 0)
		if l == nil {
			t.Fatal("the log is gone")
		}
		all, err := readAll(l, 0)
		if err != nil && l.Err() == nil {
			t.Fatal(err)
		}
		var have []byte
		for _, b := range all {
			have = append(have, b...)
		}
		if !bytes.HasPrefix(have, data) {
			t.Fatalf("%d bytes are left of %d whole ones: %v", len(have), len(data), l.Err())
		}
		if !bytes.HasPrefix(whole, have) {
			t.Fatalf("%d bytes are not those that were there", len(have))
		}
		if got := fileContent(t, fsys, at(0, logSuffix)); l.Err() == nil && !bytes.Equal(got, have) {
			t.Fatalf("the file has %d bytes, the log %d", len(got), len(have))
		}
		if l.Err() == nil {
			if err := indexesEqualScan(l); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzOffline gives arbitrary files to the readers that dump-log uses: they end, with an error that says where or after the last byte, and
// what they give lies in the file.
func FuzzOffline(f *testing.F) {
	two := append([]byte(makeBatch(batchSpec{records: 2, valueSize: 20})), makeBatch(batchSpec{records: 1, valueSize: 5, pid: 3})...)
	f.Add(two)
	f.Add(two[:len(two)-1])
	f.Add(append([]byte{1, 2, 3}, two...))
	f.Fuzz(func(t *testing.T, p []byte) {
		fsys := vfs.NewMem()
		if err := fsys.MkdirAll("d"); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, snapshotSuffix} {
			if err := replaceFile(fsys, "d/"+offsetName(5, suffix), p); err != nil {
				t.Fatal(err)
			}
		}
		next := int64(0)
		err := ReadSegment(fsys, "d/"+offsetName(5, logSuffix), func(b StoredBatch) error {
			if b.Position != next || b.Size != int64(len(b.Batch)) || b.Position+b.Size > int64(len(p)) {
				t.Fatalf("a batch of %d bytes at %d, where one at %d is due", b.Size, b.Position, next)
			}
			next += b.Size
			return nil
		})
		var where *CorruptionError
		if err == nil && next != int64(len(p)) || err != nil && (!errors.As(err, &where) || where.Position != next) {
			t.Fatalf("%d of %d bytes: %v", next, len(p), err)
		}
		offsets, err := ReadOffsetIndex(fsys, "d/"+offsetName(5, indexSuffix))
		if len(offsets) != len(p)/offsetEntrySize || (err == nil) != (len(p)%offsetEntrySize == 0) {
			t.Fatalf("%d entries of %d bytes: %v", len(offsets), len(p), err)
		}
		times, err := ReadTimeIndex(fsys, "d/"+offsetName(5, timeIndexSuffix))
		if len(times) != len(p)/timeEntrySize || (err == nil) != (len(p)%timeEntrySize == 0) {
			t.Fatalf("%d entries of %d bytes: %v", len(times), len(p), err)
		}
		if _, err := ReadProducerSnapshot(fsys, "d/"+offsetName(5, snapshotSuffix)); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}
