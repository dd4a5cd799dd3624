package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dataDir = "data"

// batchSpec says what batch to make.
type batchSpec struct {
	records   int
	valueSize int
	timestamp int64
	pid       int64 // 0: no producer
	epoch     int16
	seq       int32
	fill      uint64
}

// makeBatch makes a batch whose values come from spec.fill, so that any byte out of place is seen.
func makeBatch(spec batchSpec) record.Batch {
	b := record.NewBuilder()
	if spec.pid > 0 {
		b.ProducerID, b.ProducerEpoch, b.BaseSequence = spec.pid, spec.epoch, spec.seq
	}
	rng := rand.New(rand.NewPCG(spec.fill, 1))
	value := make([]byte, spec.valueSize)
	for i := range max(1, spec.records) {
		for j := 0; j+8 <= len(value); j += 8 {
			binary.LittleEndian.PutUint64(value[j:], rng.Uint64())
		}
		b.Add(spec.timestamp+int64(i), nil, value)
	}
	batch, err := b.Build()
	if err != nil {
		panic(err)
	}
	return batch
}

// simpleBatch is a batch of n records of about size bytes.
func simpleBatch(n, size int) record.Batch {
	return makeBatch(batchSpec{records: n, valueSize: size, timestamp: 1_700_000_000_000, fill: uint64(n)<<32 + uint64(size)})
}

// memDirectory opens a data directory on fsys, without Run.
func memDirectory(t testing.TB, fsys vfs.FS, change ...func(*DirectoryOptions)) *Directory {
	t.Helper()
	if err := fsys.MkdirAll(dataDir); err != nil {
		t.Fatal(err)
	}
	if err := fsys.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	o := DirectoryOptions{FS: fsys, Path: dataDir}
	for _, c := range change {
		c(&o)
	}
	d, err := OpenDirectory(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Recover(context.Background()); err != nil {
		t.Fatal(err)
	}
	return d
}

func createLog(t testing.TB, d *Directory, topic string, o LogOptions) *Log {
	t.Helper()
	l, err := d.Create(LogID{Topic: topic, TopicID: [16]byte{1, byte(len(topic))}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// mustAppend appends batches and returns the base offset of the first.
func mustAppend(t testing.TB, l *Log, epoch int32, batches ...record.Batch) int64 {
	t.Helper()
	in := make([]Append, len(batches))
	for i, b := range batches {
		in[i].Batch = b
	}
	if err := l.Append(epoch, in); err != nil {
		t.Fatal(err)
	}
	for _, a := range in {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	return in[0].BaseOffset
}

func mustFlush(t testing.TB, d *Directory) {
	t.Helper()
	if err := d.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// readAll returns the batches of the log from an offset on, read by Read.
func readAll(l *Log, from int64) ([]record.Batch, error) {
	var all []record.Batch
	for from < l.End() {
		s, err := l.Read(from, l.End(), 1<<30, true)
		if err != nil {
			return all, err
		}
		p, err := s.ReadBytes(nil)
		s.Release()
		if err != nil {
			return all, err
		}
		if len(p) == 0 {
			return all, fmt.Errorf("nothing at offset %d of %s, which ends at %d", from, l, l.End())
		}
		for len(p) > 0 {
			b, rest, err := record.Next(p)
			if err != nil {
				return all, err
			}
			if err := b.Check(); err != nil {
				return all, err
			}
			all, p = append(all, b), rest
			from = b.LastOffset() + 1
		}
	}
	return all, nil
}

// indexesEqualScan tells why the indexes of the log are not those that a scan of its data gives.
func indexesEqualScan(l *Log) error {
	segments := *l.segments.Load()
	for i, s := range segments {
		size, _ := s.extent()
		if size == 0 {
			continue
		}
		if i == len(segments)-1 {
			l.mu.Lock()
			s.loadIndex()
			l.mu.Unlock()
		}
		h, err := s.acquire()
		if err != nil {
			return err
		}
		want := newIndex()
		err = s.walkIndex(h, &want, 0, size)
		h.release()
		if err != nil {
			return err
		}
		if i < len(segments)-1 {
			want.addTime()
		}
		s.mu.Lock()
		x := s.index
		s.mu.Unlock()
		if x.broken {
			return fmt.Errorf("%s: index is broken", s.path(logSuffix))
		}
		files, err := s.readIndexFiles(x.nOffset, x.nTime)
		if err != nil {
			return err
		}
		have := append(encodeOffsetEntries(files.offsets), encodeOffsetEntries(x.offsets)...)
		if !bytes.Equal(have, encodeOffsetEntries(want.offsets)) {
			return fmt.Errorf("%s: offset index has %v, a scan gives %v", s.path(logSuffix), decodeOffsetEntries(have), want.offsets)
		}
		have = append(encodeTimeEntries(files.times), encodeTimeEntries(x.times)...)
		if !bytes.Equal(have, encodeTimeEntries(want.times)) {
			return fmt.Errorf("%s: time index has %v (%d in the file), a scan gives %v; segment %d of %d, offsets %v of %v", s.path(logSuffix), decodeTimeEntries(have), x.nTime, want.times, i+1, len(segments), files.offsets, want.offsets)
		}
		if greatest, err := s.greatestTimestamp(); err != nil || greatest.ts != want.maxTime.ts || greatest.ts >= 0 && greatest != want.maxTime {
			return fmt.Errorf("%s: greatest timestamp %v, a scan gives %v (%v)", s.path(logSuffix), greatest, want.maxTime, err)
		}
	}
	return nil
}

// copyFile returns the content of a file.
func fileContent(t testing.TB, fsys vfs.FS, name string) []byte {
	t.Helper()
	p, err := vfs.ReadFile(fsys, name)
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return p
}

// round does a round of the committer for the logs that have asked.
func (d *Directory) round() {
	d.committer.round <- struct{}{}
	d.committer.doRound()
	<-d.committer.round
}

// sweepUp lets the janitor remove what is due.
func (d *Directory) sweepUp() {
	due, _ := d.janitor.take()
	for _, x := range due {
		d.janitor.remove(context.Background(), x)
	}
}
