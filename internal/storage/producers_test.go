package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// produce is one idempotent append, and what it must be answered.
type produce struct {
	epoch   int16
	seq     int32
	records int
	want    string // "" appended, "dup <offset>", or the error
}

func TestProducerRules(t *testing.T) {
	for name, steps := range map[string][]produce{
		"an unknown producer begins anywhere": {{0, 17, 2, ""}, {0, 19, 1, ""}},
		"a gap is refused":                    {{0, 0, 2, ""}, {0, 3, 1, "storage: out of order sequence number"}, {0, 2, 1, ""}},
		"the last five are answered again, whole": {
			{0, 0, 1, ""},
			{0, 1, 1, ""},
			{0, 2, 2, ""},
			{0, 4, 1, ""},
			{0, 5, 1, ""},
			{0, 0, 1, "dup 0"},
			{0, 2, 2, "dup 2"},
			{0, 5, 1, "dup 5"},
			{0, 6, 1, ""},
			{0, 0, 1, "storage: out of order sequence number"},
			{0, 1, 1, "dup 1"},
		},
		"the records of a known range in other batches have no offset": {
			{0, 0, 2, ""}, {0, 2, 2, ""}, {0, 1, 2, "storage: duplicate sequence number"}, {0, 3, 2, "storage: out of order sequence number"},
		},
		"an older epoch is fenced":                       {{3, 0, 1, ""}, {2, 1, 1, "storage: invalid producer epoch"}, {3, 1, 1, ""}},
		"a new epoch begins with 0":                      {{0, 0, 1, ""}, {1, 1, 1, "storage: out of order sequence number"}, {1, 0, 1, ""}, {0, 1, 1, "storage: invalid producer epoch"}},
		"a new epoch forgets the batches of the old one": {{0, 0, 1, ""}, {1, 0, 1, ""}, {1, 0, 1, "dup 1"}},
		"sequences go from 2^31-1 to 0": {
			{0, math.MaxInt32 - 1, 2, ""}, {0, 0, 1, ""}, {0, 1, 1, ""}, {0, math.MaxInt32 - 1, 2, "dup 0"},
		},
		"a batch goes over the wrap": {{0, math.MaxInt32, 3, ""}, {0, 2, 1, ""}, {0, math.MaxInt32, 3, "dup 0"}, {0, 0, 2, "storage: duplicate sequence number"}},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := vfs.NewMem()
			d := memDirectory(t, fsys)
			l := createLog(t, d, "orders", LogOptions{SegmentBytes: 300})
			for i, p := range steps {
				in := []Append{{Batch: makeBatch(batchSpec{records: p.records, valueSize: 16, timestamp: 1, pid: 9, epoch: p.epoch, seq: p.seq})}}
				_ = l.Append(0, in)
				have := ""
				switch {
				case in[0].Duplicate:
					have = fmt.Sprint("dup ", in[0].BaseOffset)
				case in[0].Err != nil:
					have = errorKind(in[0].Err)
				}
				if have != p.want {
					t.Fatalf("step %d: %+v was answered %q", i, p, have)
				}
			}
			// The same rules after a restart that has to read the log.
			before := l.producers.encode()
			mustFlush(t, d)
			back := memDirectory(t, fsys.Kill()).Log("orders", 0)
			if !bytes.Equal(before, back.producers.encode()) {
				t.Error("another producer state after recovery")
			}
		})
	}
}

// errorKind returns the text of the sentinel that an error wraps.
func errorKind(err error) string {
	for _, kind := range []error{ErrOutOfOrderSequence, ErrDuplicateSequence, ErrInvalidProducerEpoch, ErrStorage} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	return err.Error()
}

// A retry in the same call as its first try must not be taken for new, nor for a duplicate if the write fails.
func TestRetryWithinOneCall(t *testing.T) {
	fsys := vfs.NewFaults(vfs.NewMem())
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{})
	batch := func() record.Batch { return makeBatch(batchSpec{records: 2, valueSize: 16, timestamp: 1, pid: 9}) }
	full := fsys.Inject(vfs.Rule{Ops: vfs.OpWrite, Path: "*.log", Err: errNoSpace, Short: 70})
	in := []Append{{Batch: batch()}, {Batch: batch()}}
	if err := l.Append(0, in); !errors.Is(err, ErrStorage) || in[0].Err == nil || in[1].Err == nil || in[1].Duplicate {
		t.Fatalf("%v: %+v", err, in)
	}
	full.Heal()
	if l.Err() != nil || len(l.Producers()) != 0 {
		t.Fatalf("after a write without space: %v, producers %v", l.Err(), l.Producers())
	}
	in = []Append{{Batch: batch()}, {Batch: batch()}}
	if err := l.Append(0, in); err != nil || in[0].BaseOffset != 0 || !in[1].Duplicate || in[1].BaseOffset != 0 || l.End() != 2 {
		t.Fatalf("%v: %+v, end %d", err, in, l.End())
	}
}

// The marker that ends a transaction keeps the producer's window, and closes the transaction.
func TestTransactionMarkers(t *testing.T) {
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{})
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = 9, 2, 0, true
	b.Add(5, nil, []byte("v"))
	data, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 0, simpleBatch(3, 10), data)
	if p := l.Producers()[0]; p.TxnStartOffset != 3 || p.CoordinatorEpoch != -1 {
		t.Errorf("open transaction: %+v", p)
	}
	mustAppend(t, l, 0, commitMarker(9, 2, 7))
	want := ProducerState{ProducerID: 9, Epoch: 2, LastSequence: 0, LastTimestamp: 1_700_000_050_000, CoordinatorEpoch: 7, TxnStartOffset: -1}
	if p := l.Producers()[0]; p != want {
		t.Errorf("after the marker: %+v, want %+v", p, want)
	}
	mustFlush(t, d)
	if p := memDirectory(t, fsys.Kill()).Log("orders", 0).Producers()[0]; p != want {
		t.Errorf("after recovery: %+v, want %+v", p, want)
	}
}

func TestSnapshotsOfDamagedBytesAreRefused(t *testing.T) {
	ps := newProducers()
	for i := range 7 {
		b := makeBatch(batchSpec{records: 1 + i, valueSize: 8, timestamp: int64(i), pid: int64(1 + i%2), epoch: 1, seq: int32(i)})
		b.SetBaseOffset(int64(10 * i))
		ps.apply(b, txnMarker{}, 0)
	}
	p := ps.encode()
	back, err := decodeProducers(p)
	if err != nil || !bytes.Equal(back.encode(), p) {
		t.Fatalf("round trip: %v", err)
	}
	for i := range p {
		bad := bytes.Clone(p)
		bad[i] ^= 4
		if _, err := decodeProducers(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
		if _, err := decodeProducers(p[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

func FuzzSnapshot(f *testing.F) {
	ps := newProducers()
	ps.apply(makeBatch(batchSpec{records: 1, valueSize: 8, pid: 5}), txnMarker{}, 0)
	f.Add(ps.encode()[snapshotHeader:])
	f.Fuzz(func(t *testing.T, body []byte) {
		p := append(make([]byte, snapshotHeader), body...)
		p[1] = snapshotVersion
		crc := crcOf(body)
		copy(p[2:], []byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)})
		if ps, err := decodeProducers(p); err == nil {
			for _, pr := range ps.byID {
				if pr.n < 0 || pr.n > window {
					t.Fatalf("%d batches", pr.n)
				}
			}
			ps.encode()
		}
	})
}
