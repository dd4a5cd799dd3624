package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pierrec/lz4/v4"

	"github.com/chronik-stream/chronik/internal/record"
)

// fuzzLimit is small, so that a fuzzer's bombs are, too.
const fuzzLimit = 256 << 10

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// allowed is what n bytes, decompressed to at most fuzzLimit, may allocate: a
// multiple of both, the block that zstd goes beyond the limit, decompressors, noise.
func allowed(n int) uint64 { return uint64(16*n + 4*fuzzLimit + 128<<10 + 256<<10) }

func goldenFiles(f *testing.F) [][]byte {
	names, err := filepath.Glob("testdata/golden/*.batch")
	if err != nil || len(names) == 0 {
		f.Fatal(len(names), err)
	}
	var all [][]byte
	for _, name := range names {
		p, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(p) < 8<<10 { // larger ones only slow the fuzzer
			all = append(all, p)
		}
	}
	return all
}

// FuzzBatch feeds hostile bytes to all that parses: nothing panics, allocates
// beyond its bound or accepts what another part refuses.
func FuzzBatch(f *testing.F) {
	for _, p := range goldenFiles(f) {
		f.Add(p, false)
		f.Add(p, true)
	}
	f.Fuzz(func(t *testing.T, p []byte, signed bool) {
		if signed && len(p) >= record.HeaderSize { // or the CRC would stop nearly all
			p = bytes.Clone(p)
			binary.BigEndian.PutUint32(p[8:], uint32(len(p)-record.Overhead))
			p[16] = record.Magic
			sign(p)
		}
		n := allocated(func() { fuzzBatch(t, p) })
		if most := allowed(len(p)); n > most {
			t.Errorf("%d bytes allocated for %d, at most %d", n, len(p), most)
		}
	})
}

func fuzzBatch(t *testing.T, p []byte) {
	produced := record.Batch(p).CheckProduced(record.Limits{MaxBytes: 1 << 20, MaxTimestamp: 1 << 50})
	b, rest, err := record.Next(p)
	if err != nil {
		if produced == nil {
			t.Fatalf("produced, but not a batch: %v", err)
		}
		return
	}
	if len(b) != b.Length() || len(b)+len(rest) != len(p) {
		t.Fatalf("%d and %d bytes of %d, header says %d", len(b), len(rest), len(p), b.Length())
	}
	check := b.Check()
	if produced == nil && check != nil {
		t.Fatalf("produced, but corrupt: %v", check)
	}
	if check != nil {
		return
	}
	var read, walked int32
	last := int32(-1)
	var end error
	for r, err := range b.Records(fuzzLimit) {
		if err != nil {
			end = err
			break
		}
		if r.OffsetDelta <= last || r.OffsetDelta > b.LastOffsetDelta() {
			t.Fatalf("offset delta %d after %d of %d", r.OffsetDelta, last, b.LastOffsetDelta())
		}
		last = r.OffsetDelta
		headers := 0
		for range r.Headers.All() {
			headers++
		}
		if headers != r.Headers.Len() {
			t.Fatalf("%d headers, Len says %d", headers, r.Headers.Len())
		}
		read++
	}
	if end == nil && read != b.Count() {
		t.Fatalf("%d records, header says %d", read, b.Count())
	}
	err = b.Walk(fuzzLimit, func(record.Record) error { walked++; return nil })
	if (err == nil) != (end == nil) || walked != read {
		t.Fatalf("Walk: %v after %d, Records: %v after %d", err, walked, end, read)
	}
}

// FuzzDecompress feeds hostile bytes to the four decompressors.
func FuzzDecompress(f *testing.F) {
	for _, p := range goldenFiles(f) {
		b := record.Batch(p)
		f.Add(byte(b.Codec()), []byte(b.Payload()))
	}
	f.Fuzz(func(t *testing.T, codec byte, p []byte) {
		var out []byte
		var err error
		n := allocated(func() { out, err = record.Decompress(record.Codec(codec%5), p, fuzzLimit) })
		if most := allowed(len(p)); n > most {
			t.Errorf("codec %d: %d bytes allocated for %d, at most %d", codec, n, len(p), most)
		}
		switch {
		case err == nil && len(out) > fuzzLimit && record.Codec(codec%5) != record.None:
			t.Errorf("%d bytes, the limit is %d", len(out), fuzzLimit)
		case err != nil && !errors.Is(err, record.ErrLimit) && !errors.Is(err, record.ErrInvalidRecord):
			t.Errorf("untyped error %v", err)
		}
		if record.Codec(codec%5) == record.Lz4 {
			againstLz4Reader(t, p, out, err)
		}
	})
}

// againstLz4Reader demands that a frame that the library's reader reads is read the same here.
func againstLz4Reader(t *testing.T, p, out []byte, err error) {
	if len(p) < 4 || binary.LittleEndian.Uint32(p) != 0x184d2204 || errors.Is(err, record.ErrLimit) {
		return // a legacy or skippable frame, which Kafka's clients do not send
	}
	want, theirs := io.ReadAll(io.LimitReader(lz4.NewReader(bytes.NewReader(p)), fuzzLimit+1))
	if theirs == nil && len(want) <= fuzzLimit && (err != nil || !bytes.Equal(out, want)) {
		t.Errorf("the library reads %d bytes, we %d: %v", len(want), len(out), err)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(byte(4), int64(1), int64(2), []byte("key"), []byte("value"), "header", []byte("x"), true)
	f.Fuzz(func(t *testing.T, codec byte, t0, t1 int64, key, value []byte, name string, header []byte, null bool) {
		if null {
			key, header = nil, nil
		}
		b := record.NewBuilder()
		b.Codec = record.Codec(codec % 5)
		want := []plain{
			{Timestamp: t0, Offset: 0, Key: key, Value: value, Headers: []record.Header{{Key: name, Value: header}}},
			{Timestamp: t1, Offset: 1, Key: value, Value: key},
		}
		batch := build(t, b, want)
		if err := batch.CheckProduced(record.Limits{}); err != nil {
			t.Fatal(err)
		}
		checkRecords(t, batch, want)
	})
}

// FuzzRewrite has intact batches of hostile records written anew, as a topic's compression.type and as compaction do: what comes out is
// an intact batch of the records that stay, with their offsets and timestamps, and no other.
func FuzzRewrite(f *testing.F) {
	for i, p := range goldenFiles(f) {
		f.Add(p, byte(i%5), uint64(0x5555<<i), int64(-1), i%3 == 0, i%2 == 0)
		f.Add(p, byte(i%5), ^uint64(0), int64(1_700_000_000_000), true, false)
	}
	f.Fuzz(func(t *testing.T, p []byte, codec byte, keep uint64, horizon int64, empty, marker bool) {
		if len(p) < record.HeaderSize {
			return
		}
		p = bytes.Clone(p)
		binary.BigEndian.PutUint32(p[8:], uint32(len(p)-record.Overhead))
		p[16] = record.Magic
		sign(p)
		b := record.Batch(p)
		if b.Check() != nil {
			return
		}
		records, err := b.Open(fuzzLimit)
		if err != nil {
			return
		}
		want, err := collect(b, fuzzLimit)
		if err != nil {
			return
		}
		if _, err := b.CheckRecords(records, record.Limits{}, false); err == nil {
			again, err := b.Recompressed(records, record.Codec(codec%5), record.DefaultLevel)
			if err != nil {
				t.Fatal(err)
			}
			checkRewritten(t, b, again, want)
			if got := again.Codec(); got != record.Codec(codec%5) {
				t.Fatalf("codec %v", got)
			}
		}
		n := 0
		stays := func(r record.Record) bool { n++; return keep>>(n%64)&1 != 0 }
		c := record.Compactor{Limit: fuzzLimit}
		out, left, err := c.Append([]byte("in front"), b, record.Fate{Keep: stays, Empty: empty, Horizon: horizon, Marker: marker})
		if err != nil {
			t.Fatal(err)
		}
		var kept []plain
		for i, r := range want {
			if keep>>((i+1)%64)&1 != 0 {
				kept = append(kept, r)
			}
		}
		out, inFront := bytes.CutPrefix(out, []byte("in front"))
		if !inFront || int(left.Records) != len(kept) || left.Same && !bytes.Equal(out, b) {
			t.Fatalf("%d records are left, want %d", left.Records, len(kept))
		}
		if len(out) == 0 {
			if len(kept) > 0 || empty {
				t.Fatalf("nothing is left of %d records", len(kept))
			}
			return
		}
		checkRewritten(t, b, out, kept)
	})
}

// checkRewritten checks a batch that was made of b: it is intact, has the records, and is the same producer's at the same place.
func checkRewritten(t *testing.T, b, again record.Batch, want []plain) {
	t.Helper()
	if err := again.Check(); err != nil {
		t.Fatal(err)
	}
	if again.BaseOffset() != b.BaseOffset() || again.LastOffsetDelta() != b.LastOffsetDelta() || again.LeaderEpoch() != b.LeaderEpoch() ||
		again.ProducerID() != b.ProducerID() || again.ProducerEpoch() != b.ProducerEpoch() || again.BaseSequence() != b.BaseSequence() ||
		again.IsControl() != b.IsControl() || again.TimestampType() != b.TimestampType() {
		t.Fatalf("the header %x has become %x", b[:record.HeaderSize], again[:record.HeaderSize])
	}
	got, err := collect(again, 2*fuzzLimit) // deltas may have become longer
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d records of %d: %v", len(got), len(want), err)
	}
	for i := range got {
		if !got[i].equal(want[i]) {
			t.Fatalf("record %d is %+v, was %+v", i, got[i], want[i])
		}
	}
}
