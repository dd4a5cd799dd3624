package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/record"
)

const mib = 1 << 20

// plain is a record with its headers taken out, for comparison.
type plain struct {
	Timestamp  int64
	Offset     int64
	Key, Value []byte
	Headers    []record.Header
}

func (p plain) equal(q plain) bool {
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	if p.Timestamp != q.Timestamp || p.Offset != q.Offset || !same(p.Key, q.Key) || !same(p.Value, q.Value) || len(p.Headers) != len(q.Headers) {
		return false
	}
	for i, h := range p.Headers {
		if h.Key != q.Headers[i].Key || !same(h.Value, q.Headers[i].Value) {
			return false
		}
	}
	return true
}

func collect(b record.Batch, limit int) ([]plain, error) {
	var all []plain
	for r, err := range b.Records(limit) {
		if err != nil {
			return all, err
		}
		p := plain{Timestamp: b.Timestamp(r), Offset: b.BaseOffset() + int64(r.OffsetDelta), Key: r.Key, Value: r.Value}
		for h := range r.Headers.All() {
			p.Headers = append(p.Headers, h)
		}
		if len(p.Headers) != r.Headers.Len() {
			return all, fmt.Errorf("%d headers, Len says %d", len(p.Headers), r.Headers.Len())
		}
		all = append(all, p)
	}
	return all, nil
}

// randomRecords returns records of every odd shape.
func randomRecords(rng *rand.Rand) []plain {
	blob := func(most int) []byte {
		switch rng.IntN(4) {
		case 0:
			return nil
		case 1:
			return bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(most))
		default:
			p := make([]byte, rng.IntN(most))
			for i := range p {
				p[i] = byte(rng.IntN(256))
			}
			return p
		}
	}
	all := make([]plain, 1+rng.IntN(50))
	for i := range all {
		all[i] = plain{Timestamp: rng.Int64N(math.MaxInt64), Offset: int64(i), Key: blob(20), Value: blob(3000)}
		for range rng.IntN(3) {
			all[i].Headers = append(all[i].Headers, record.Header{Key: strings.Repeat("h", rng.IntN(100)), Value: blob(100)})
		}
	}
	return all
}

func build(t testing.TB, b *record.Builder, records []plain) record.Batch {
	t.Helper()
	for _, r := range records {
		b.Add(r.Timestamp, r.Key, r.Value, r.Headers...)
	}
	if b.Count() != len(records) {
		t.Fatalf("count %d, want %d", b.Count(), len(records))
	}
	size := b.Size()
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if b.Codec == record.None && size != len(batch) {
		t.Fatalf("size %d, but the batch has %d bytes", size, len(batch))
	}
	b.Reset()
	return batch
}

// seeds returns how many seeds a test of random records tries.
func seeds() uint64 {
	if testing.Short() {
		return 5
	}
	return 100
}

func TestRoundTrip(t *testing.T) {
	for _, codec := range codecs {
		b := record.NewBuilder()
		b.Codec = codec
		for seed := range seeds() {
			want := randomRecords(rand.New(rand.NewPCG(seed, 0)))
			batch := build(t, b, want)
			if err := batch.CheckProduced(record.Limits{}); err != nil {
				t.Fatal(err)
			}
			got, err := collect(batch, mib)
			if err != nil || len(got) != len(want) {
				t.Fatalf("%s, seed %d: %d of %d records, %v", codec, seed, len(got), len(want), err)
			}
			for i := range want {
				if !got[i].equal(want[i]) {
					t.Fatalf("%s, seed %d, record %d:\n got %v\nwant %v", codec, seed, i, got[i], want[i])
				}
			}
		}
	}
}

// TestAgainstFranzGo reads what we make with franz-go's codecs and kmsg, and what those make with ours.
func TestAgainstFranzGo(t *testing.T) {
	decompress := kgo.DefaultDecompressor()
	compressors := map[record.Codec]kgo.CompressionCodec{
		record.None: kgo.NoCompression(), record.Gzip: kgo.GzipCompression(), record.Snappy: kgo.SnappyCompression(),
		record.Lz4: kgo.Lz4Compression(), record.Zstd: kgo.ZstdCompression(),
	}
	for _, codec := range codecs {
		b := record.NewBuilder()
		b.Codec, b.BaseOffset = codec, 1000
		compressor, err := kgo.DefaultCompressor(compressors[codec])
		if err != nil {
			t.Fatal(err)
		}
		for seed := range seeds() {
			want := randomRecords(rand.New(rand.NewPCG(seed, 1)))
			batch := build(t, b, want)
			var k kmsg.RecordBatch
			if err := k.ReadFrom(batch); err != nil {
				t.Fatal(err)
			}
			raw, err := decompress.Decompress(k.Records, kgo.CompressionCodecType(codec))
			if err != nil {
				t.Fatalf("%s: franz-go cannot decompress: %v", codec, err)
			}
			checkKmsgRecords(t, k, raw, want)
			if codec == record.None {
				continue
			}
			theirs, kind := compressor.Compress(new(bytes.Buffer), raw)
			got, err := record.Decompress(record.Codec(kind), theirs, mib)
			if err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("%s: what franz-go compressed: %v", codec, err)
			}
		}
	}
}

func checkKmsgRecords(t *testing.T, k kmsg.RecordBatch, raw []byte, want []plain) {
	t.Helper()
	for i, w := range want {
		length, n := binary.Varint(raw)
		var r kmsg.Record
		if err := r.ReadFrom(raw[:n+int(length)]); err != nil {
			t.Fatal(err)
		}
		raw = raw[n+int(length):]
		got := plain{Timestamp: k.FirstTimestamp + r.TimestampDelta64, Offset: int64(r.OffsetDelta), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			got.Headers = append(got.Headers, record.Header{Key: h.Key, Value: h.Value})
		}
		if !got.equal(w) {
			t.Fatalf("record %d:\n got %v\nwant %v", i, got, w)
		}
	}
	if len(raw) > 0 {
		t.Fatalf("%d bytes behind the records", len(raw))
	}
}

func TestRecordsStopsWhenTold(t *testing.T) {
	b := sample(t, record.Zstd)
	n := 0
	for _, err := range b.Records(mib) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d records", n)
	}
	stop := errors.New("stop")
	if err := b.Walk(mib, func(record.Record) error { return stop }); err != stop {
		t.Errorf("Walk returned %v, want the visitor's error", err)
	}
	if err := b.Walk(mib, nil); err != nil {
		t.Errorf("Walk without a visitor: %v", err)
	}
}

func TestUncompressedRecordsAreViews(t *testing.T) {
	b := sample(t, record.None)
	for r, err := range b.Records(0) { // the limit is for decompression
		if err != nil {
			t.Fatal(err)
		}
		if string(r.Value) == "value" {
			r.Value[0] = 'V'
			r.Value = append(r.Value, '!') // must not reach the bytes behind
		}
	}
	got, err := collect(b, 0)
	if err != nil || string(got[0].Value) != "Value" || got[0].Headers[0].Key != "h" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEmptyBatches(t *testing.T) {
	if _, err := record.NewBuilder().Build(); !errors.Is(err, record.ErrInvalidRecord) {
		t.Errorf("a batch without records was built: %v", err)
	}
	// What compaction leaves of a producer's last batch: a header.
	b := sample(t, record.Gzip)[:record.HeaderSize]
	binary.BigEndian.PutUint32(b[8:], record.HeaderSize-record.Overhead)
	clear(b[57:61])
	sign(b)
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	if got, err := collect(b, mib); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestControlBatch(t *testing.T) {
	b := record.NewBuilder()
	b.Control, b.Transactional, b.ProducerID, b.ProducerEpoch, b.LogAppendTime = true, true, 9, 1, 77
	b.Add(5, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 3})
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := batch.Check(); err != nil {
		t.Error(err)
	}
	if batch.Attributes() != 0x38 || batch.MaxTimestamp() != 77 || batch.BaseSequence() != record.NoSequence {
		t.Errorf("attributes %#x, timestamp %d, sequence %d", batch.Attributes(), batch.MaxTimestamp(), batch.BaseSequence())
	}
}

// varint encodes v as records do.
func varint(v int64) []byte { return binary.AppendVarint(nil, v) }

func cat(parts ...any) []byte {
	var p []byte
	for _, part := range parts {
		switch part := part.(type) {
		case int:
			p = append(p, varint(int64(part))...)
		case string:
			p = append(p, part...)
		case []byte:
			p = append(p, part...)
		}
	}
	return p
}

// framed puts the length of a record in front of it.
func framed(body []byte) []byte { return cat(len(body), body) }

// batchOf makes a batch of count records, by its header, from any payload.
func batchOf(codec record.Codec, count int32, payload []byte) record.Batch {
	b := record.Batch(append(make([]byte, record.HeaderSize), payload...))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-record.Overhead))
	b[16], b[22] = record.Magic, byte(codec)
	binary.BigEndian.PutUint32(b[23:], uint32(count-1))
	binary.BigEndian.PutUint64(b[43:], math.MaxUint64)
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	sign(b)
	return b
}

func TestWalkRefusesWhatDoesNotAddUp(t *testing.T) {
	good := framed(cat("\x00", 0, 0, 1, "k", 1, "v", 0))
	second := framed(cat("\x00", 0, 1, 1, "k", 1, "v", 0))
	overlong := func(b byte, n int) string { return strings.Repeat("\xff", n) + string([]byte{b}) }
	for _, c := range []struct {
		name    string
		count   int32
		payload []byte
		want    string // in the message; "" is no error
	}{
		{"one", 1, good, ""},
		{"two", 2, cat(good, second), ""},
		{"one of two", 2, good, "varint without an end"},
		{"two of one", 1, cat(good, second), "bytes follow the last"},
		{"the same offset twice", 2, cat(good, good), "offset delta 0 follows 0"},
		{"offsets from 1", 1, second, "offset delta 1"},
		{"offset -1", 1, framed(cat("\x00", 0, -1, -1, -1, 0)), "offset delta -1"},
		{"empty record", 1, framed(nil), "empty record"},
		{"record of null", 1, cat(-1), "empty record"},
		{"negative record", 1, cat(-2), "negative length"},
		{"attributes alone", 1, framed([]byte{0}), "varint without an end"},
		{"record beyond the end", 1, good[:len(good)-1], "length beyond the end"},
		{"key beyond the record", 1, framed(cat("\x00", 0, 0, 99, "k")), "length beyond the end"},
		{"key of -2", 1, framed(cat("\x00", 0, 0, -2, 1, "v", 0)), "negative length"},
		{"value beyond the record", 1, framed(cat("\x00", 0, 0, -1, math.MaxInt32)), "length beyond the end"},
		{"no headers", 1, framed(cat("\x00", 0, 0, -1, -1)), "varint without an end"},
		{"-1 headers", 1, framed(cat("\x00", 0, 0, -1, -1, -1)), "impossible number of headers"},
		{"two billion headers", 1, framed(cat("\x00", 0, 0, -1, -1, math.MaxInt32)), "impossible number of headers"},
		{"a header of null", 1, framed(cat("\x00", 0, 0, -1, -1, 1, -1, -1)), "header without a key"},
		{"half a header", 1, framed(cat("\x00", 0, 0, -1, -1, 1, 1, "k")), "varint without an end"},
		{"bytes behind the headers", 1, framed(cat("\x00", 0, 0, -1, -1, 0, "x")), "bytes behind the headers"},
		{"timestamp of 10 bytes", 1, framed(cat("\x00", overlong(1, 9), 0, -1, -1, 0)), ""},
		{"timestamp of 65 bits", 1, framed(cat("\x00", overlong(2, 9), 0, -1, -1, 0)), "more than 64 bits"},
		{"timestamp without an end", 1, framed(cat("\x00", overlong(0xff, 20))), "more than 64 bits"},
		{"length of 33 bits", 1, cat(overlong(0x1f, 4), good[1:]), "more than 32 bits"},
		{"length of 6 bytes", 1, cat("\x90\x80\x80\x80\x80\x00", good[1:]), "more than 32 bits"},
	} {
		err := batchOf(record.None, c.count, c.payload).Walk(0, nil)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.Is(err, record.ErrInvalidRecord) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		var last error
		for _, err := range batchOf(record.None, c.count, c.payload).Records(0) {
			last = err
		}
		if fmt.Sprint(last) != fmt.Sprint(err) {
			t.Errorf("%s: Records says %v, Walk %v", c.name, last, err)
		}
	}
}
