package storage

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

var update = flag.Bool("update", false, "write the golden files anew; look at the difference before you commit it")

// goldenDir holds a data directory as this version writes it. Later versions must read it.
const goldenDir = "testdata/golden"

// writeGolden makes the golden data directory on fsys.
func writeGolden(t *testing.T, fsys vfs.FS, dir string) {
	t.Helper()
	o := DirectoryOptions{FS: fsys, Path: dir, Clock: clock.NewManual(1_700_000_000_000), BootID: "b00710"}
	d, err := OpenDirectory(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Recover(context.Background()); err != nil {
		t.Fatal(err)
	}
	id := LogID{Topic: "orders", Partition: 7, TopicID: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}
	l, err := d.Create(id, LogOptions{SegmentBytes: 1500, IndexIntervalBytes: 200})
	if err != nil {
		t.Fatal(err)
	}
	seq := int32(0)
	for i := range 12 {
		spec := batchSpec{records: 1 + i%3, valueSize: 40 + 16*i, timestamp: 1_700_000_000_000 + int64(i*1000), fill: uint64(i)}
		if i%2 == 1 {
			spec.pid, spec.epoch, spec.seq = 4711, 3, seq
			seq += int32(spec.records)
		}
		mustAppend(t, l, int32(5+i/5), makeBatch(spec))
	}
	mustAppend(t, l, 7, commitMarker(4711, 3, 9))
	if err := d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	m := &Meta{
		NodeID: 1, ClusterID: "Zm91bmRlZF9ieV8xXzJfMw", DirectoryID: [16]byte{1, 1}, Founders: []Founder{{1, [16]byte{1, 1}}, {2, [16]byte{2, 2}}, {3, [16]byte{3, 3}}},
	}
	if err := SaveMeta(fsys, dir, m); err != nil {
		t.Fatal(err)
	}
	if err := WriteCleanShutdown(fsys, dir, 42); err != nil {
		t.Fatal(err)
	}
}

// commitMarker is the control batch that commits a producer's transaction.
func commitMarker(pid int64, epoch int16, coordinator byte) record.Batch {
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = pid, epoch, true, true
	b.Add(1_700_000_050_000, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, coordinator})
	batch, err := b.Build()
	if err != nil {
		panic(err)
	}
	return batch
}

// files returns the content of all files below dir, by their path in it.
func files(t *testing.T, fsys vfs.FS, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	var walk func(path string)
	walk = func(path string) {
		infos, err := fsys.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			p := filepath.Join(path, info.Name)
			if info.IsDir {
				walk(p)
				continue
			}
			rel, _ := filepath.Rel(dir, p)
			all[filepath.ToSlash(rel)] = fileContent(t, fsys, p)
		}
	}
	walk(dir)
	return all
}

func TestGoldenFilesAreWhatIsWritten(t *testing.T) {
	if *update {
		if err := os.RemoveAll(goldenDir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(goldenDir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeGolden(t, vfs.OS{}, goldenDir)
	}
	fsys := vfs.NewMem()
	if err := fsys.MkdirAll(dataDir); err != nil {
		t.Fatal(err)
	}
	writeGolden(t, fsys, dataDir)
	have, want := files(t, fsys, dataDir), files(t, vfs.OS{}, goldenDir)
	for name, p := range want {
		if !bytes.Equal(have[name], p) {
			t.Errorf("%s is written as\n%q\nthe golden file is\n%q", name, have[name], p)
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is written, there is no golden file", name)
		}
	}
}

func TestGoldenFilesAreRead(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean=", clean), func(t *testing.T) {
			fsys := vfs.NewMem()
			for name, p := range files(t, vfs.OS{}, goldenDir) {
				path := filepath.Join(dataDir, filepath.FromSlash(name))
				if err := fsys.MkdirAll(filepath.Dir(path)); err != nil {
					t.Fatal(err)
				}
				if err := replaceFile(fsys, path, p); err != nil {
					t.Fatal(err)
				}
			}
			if epoch, was, err := LoadCleanShutdown(fsys, dataDir); epoch != 42 || !was || err != nil {
				t.Errorf("marker: %d, %v, %v", epoch, was, err)
			}
			m, err := LoadMeta(fsys, dataDir)
			if err != nil || m.NodeID != 1 || len(m.Founders) != 3 {
				t.Errorf("meta: %+v, %v", m, err)
			}
			d := memDirectory(t, fsys, func(o *DirectoryOptions) { o.Clean, o.Defaults.IndexIntervalBytes = clean, 200 })
			l := d.Log("orders", 7)
			if l == nil || l.Err() != nil || l.End() != 25 || l.Segments() != 3 {
				t.Fatalf("log: %v", l)
			}
			if all, err := readAll(l, 0); err != nil || len(all) != 13 {
				t.Errorf("%d batches, %v", len(all), err)
			}
			if err := indexesEqualScan(l); err != nil {
				t.Error(err)
			}
			if e := fmt.Sprint(l.Epochs()); e != "[{5 0} {6 9} {7 19}]" {
				t.Errorf("epochs %s", e)
			}
			want := ProducerState{ProducerID: 4711, Epoch: 3, LastSequence: 11, LastTimestamp: 1_700_000_050_000, CoordinatorEpoch: 9, TxnStartOffset: -1}
			if p := l.Producers(); len(p) != 1 || p[0] != want {
				t.Errorf("producers %+v", p)
			}
		})
	}
}

// The offline readers, which dump-log stands on, see what the log sees.
func TestOfflineReadersOnGoldenFiles(t *testing.T) {
	fsys := vfs.OS{}
	dir := filepath.Join(goldenDir, "orders-7")
	infos, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	next := int64(0)
	for _, info := range infos {
		path := filepath.Join(dir, info.Name)
		switch {
		case strings.HasSuffix(info.Name, logSuffix):
			positions := map[int64]int64{}
			err := ReadSegment(fsys, path, func(b StoredBatch) error {
				if b.Err != nil || b.Batch.BaseOffset() != next {
					t.Errorf("%s at %d: offset %d, %v", info.Name, b.Position, b.Batch.BaseOffset(), b.Err)
				}
				next = b.Batch.LastOffset() + 1
				positions[b.Batch.LastOffset()] = b.Position
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			entries, err := ReadOffsetIndex(fsys, strings.TrimSuffix(path, logSuffix)+indexSuffix)
			if err != nil || len(entries) == 0 {
				t.Errorf("%s: %d index entries, %v", info.Name, len(entries), err)
			}
			for _, e := range entries {
				if pos, ok := positions[e.Offset]; !ok || pos != e.Position {
					t.Errorf("%s: index entry %+v, the batch is at %d", info.Name, e, pos)
				}
			}
			if times, err := ReadTimeIndex(fsys, strings.TrimSuffix(path, logSuffix)+timeIndexSuffix); err != nil || len(times) == 0 {
				t.Errorf("%s: %d time index entries, %v", info.Name, len(times), err)
			}
		case strings.HasSuffix(info.Name, snapshotSuffix):
			if entries, err := ReadProducerSnapshot(fsys, path); err != nil || len(entries) != 1 || entries[0].ProducerID != 4711 {
				t.Errorf("%s: %+v, %v", info.Name, entries, err)
			}
		}
	}
	points, err := ReadRecoveryPoints(fsys, goldenDir)
	if err != nil || len(points) != 1 || points[0].RecoveryPoint != 25 {
		t.Errorf("recovery points %+v, %v", points, err)
	}
}
