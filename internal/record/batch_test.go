package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/record"
)

var codecs = []record.Codec{record.None, record.Gzip, record.Snappy, record.Lz4, record.Zstd}

// sample is a batch whose every header field has a value of its own.
func sample(t testing.TB, codec record.Codec) record.Batch {
	t.Helper()
	b := record.NewBuilder()
	b.BaseOffset, b.LeaderEpoch, b.Codec = 1<<40, 7, codec
	b.ProducerID, b.ProducerEpoch, b.BaseSequence = 4711, 3, 100
	b.Transactional = true
	b.Add(1000, []byte("key"), []byte("value"), record.Header{Key: "h", Value: []byte("x")}, record.Header{Key: "null"})
	b.Add(990, nil, []byte{})
	b.Add(1020, []byte{}, nil)
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func TestHeaderFieldsAgainstKmsg(t *testing.T) {
	for _, codec := range codecs {
		b := sample(t, codec)
		var k kmsg.RecordBatch
		if err := k.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name      string
			got, want any
		}{
			{"BaseOffset", b.BaseOffset(), k.FirstOffset},
			{"Length", b.Length(), int(k.Length) + 12},
			{"LeaderEpoch", b.LeaderEpoch(), k.PartitionLeaderEpoch},
			{"Magic", b.Magic(), k.Magic},
			{"CRC", b.CRC(), uint32(k.CRC)},
			{"Attributes", b.Attributes(), k.Attributes},
			{"LastOffsetDelta", b.LastOffsetDelta(), k.LastOffsetDelta},
			{"BaseTimestamp", b.BaseTimestamp(), k.FirstTimestamp},
			{"MaxTimestamp", b.MaxTimestamp(), k.MaxTimestamp},
			{"ProducerID", b.ProducerID(), k.ProducerID},
			{"ProducerEpoch", b.ProducerEpoch(), k.ProducerEpoch},
			{"BaseSequence", b.BaseSequence(), k.FirstSequence},
			{"Count", b.Count(), k.NumRecords},
			{"Payload", string(b.Payload()), string(k.Records)},
			{"Codec", b.Codec(), codec},
			{"LastOffset", b.LastOffset(), int64(1<<40 + 2)},
			{"LastSequence", b.LastSequence(), int32(102)},
			{"MaxTimestamp", b.MaxTimestamp(), int64(1020)},
			{"IsTransactional", b.IsTransactional(), true},
			{"IsControl", b.IsControl(), false},
			{"HasDeleteHorizon", b.HasDeleteHorizon(), false},
			{"HasProducerID", b.HasProducerID(), true},
			{"TimestampType", b.TimestampType(), record.CreateTime},
		} {
			if c.got != c.want {
				t.Errorf("%s: %s = %v, want %v", codec, c.name, c.got, c.want)
			}
		}
	}
}

func TestWhatTheBrokerSetsLeavesTheBatchIntact(t *testing.T) {
	b := sample(t, record.Lz4)
	crc := b.CRC()
	b.SetBaseOffset(math.MaxInt64 - 2)
	b.SetLeaderEpoch(math.MaxInt32)
	if b.BaseOffset() != math.MaxInt64-2 || b.LastOffset() != math.MaxInt64 || b.LeaderEpoch() != math.MaxInt32 {
		t.Errorf("base %d, last %d, epoch %d", b.BaseOffset(), b.LastOffset(), b.LeaderEpoch())
	}
	if err := b.Check(); err != nil || b.CRC() != crc {
		t.Errorf("CRC %08x became %08x, check: %v", crc, b.CRC(), err)
	}
	b.SetLogAppendTime(5555)
	if err := b.Check(); err != nil || b.CRC() == crc {
		t.Errorf("CRC %08x became %08x, check: %v", crc, b.CRC(), err)
	}
	if b.TimestampType() != record.LogAppendTime || b.MaxTimestamp() != 5555 || b.Codec() != record.Lz4 || !b.IsTransactional() {
		t.Errorf("type %v, max %d, codec %v", b.TimestampType(), b.MaxTimestamp(), b.Codec())
	}
	for r, err := range b.Records(1 << 20) {
		if err != nil || b.Timestamp(r) != 5555 {
			t.Errorf("timestamp %d, %v", b.Timestamp(r), err)
		}
	}
}

func TestSequencesWrap(t *testing.T) {
	for _, c := range []struct{ seq, n, want int32 }{
		{0, 0, 0},
		{0, 5, 5},
		{math.MaxInt32, 0, math.MaxInt32},
		{math.MaxInt32, 1, 0},
		{math.MaxInt32 - 1, 3, 1},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1},
	} {
		if got := record.AddSequence(c.seq, c.n); got != c.want {
			t.Errorf("%d + %d = %d, want %d", c.seq, c.n, got, c.want)
		}
	}
	b := record.NewBuilder()
	b.Add(0, nil, nil)
	batch, err := b.Build()
	if err != nil || batch.LastSequence() != record.NoSequence || batch.HasProducerID() {
		t.Errorf("without a producer: sequence %d, %v", batch.LastSequence(), err)
	}
}

func TestNext(t *testing.T) {
	one, two := sample(t, record.None), sample(t, record.Zstd)
	stream := append(append([]byte(nil), one...), two...)
	first, rest, err := record.Next(stream)
	if err != nil || !bytes.Equal(first, one) || cap(first) != len(first) {
		t.Fatalf("first: %v", err)
	}
	second, rest, err := record.Next(rest)
	if err != nil || !bytes.Equal(second, two) {
		t.Fatalf("second: %v", err)
	}
	if _, _, err := record.Next(rest); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
	for n := 1; n < len(one); n++ {
		if _, rest, err := record.Next(one[:n]); !errors.Is(err, record.ErrIncomplete) || len(rest) != n {
			t.Fatalf("%d of %d bytes: %v", n, len(one), err)
		}
	}
	for length, want := range map[int32]error{
		math.MinInt32: record.ErrCorrupt, -1: record.ErrCorrupt, 0: record.ErrCorrupt, 48: record.ErrCorrupt,
		49: nil, math.MaxInt32: record.ErrIncomplete,
	} {
		p := bytes.Clone(one)
		binary.BigEndian.PutUint32(p[8:], uint32(length))
		if _, _, err := record.Next(p); !errors.Is(err, want) {
			t.Errorf("length field %d: %v, want %v", length, err, want)
		}
	}
	for _, magic := range []byte{0, 1, 3, 255} {
		p := bytes.Clone(one)
		p[16] = magic
		if _, err := record.Size(p); !errors.Is(err, record.ErrUnsupportedMagic) {
			t.Errorf("magic %d: %v", magic, err)
		}
	}
}

// sign writes the CRC anew, by a computation of its own.
func sign(b record.Batch) {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
}

func TestCheckFindsEveryFlippedBit(t *testing.T) {
	good := sample(t, record.None)
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for bit := range len(good) * 8 {
		at := bit / 8
		if at < 8 || at >= 12 && at < 16 {
			continue // base offset and leader epoch are not covered
		}
		b := bytes.Clone(good)
		b[at] ^= 1 << (bit % 8)
		if err := record.Batch(b).Check(); err == nil {
			t.Errorf("bit %d of byte %d flipped and not found", bit%8, at)
		}
		if err := record.Batch(b).CheckProduced(record.Limits{}); err == nil {
			t.Errorf("bit %d of byte %d flipped and not found when produced", bit%8, at)
		}
	}
}

func TestCheckAcceptsWhatCompactionLeaves(t *testing.T) {
	for _, c := range []struct {
		count, last int32
		ok          bool
	}{{3, 2, true}, {3, 9, true}, {0, 9, true}, {0, 0, true}, {3, 1, false}, {-1, 2, false}, {3, -1, false}} {
		b := sample(t, record.None)
		binary.BigEndian.PutUint32(b[57:], uint32(c.count))
		binary.BigEndian.PutUint32(b[23:], uint32(c.last))
		sign(b)
		if err := b.Check(); (err == nil) != c.ok || !c.ok && !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%d records, last delta %d: %v", c.count, c.last, err)
		}
	}
}

func TestCheckProduced(t *testing.T) {
	cases := []struct {
		name   string
		change func(b record.Batch) record.Batch
		limits record.Limits
		want   error
	}{
		{name: "as it is"},
		{name: "another base offset", change: func(b record.Batch) record.Batch { b.SetBaseOffset(-1); return b }},
		{name: "no bytes", change: func(b record.Batch) record.Batch { return nil }, want: record.ErrInvalidRecord},
		{name: "a few bytes", change: func(b record.Batch) record.Batch { return b[:20] }, want: record.ErrCorrupt},
		{name: "cut off", change: func(b record.Batch) record.Batch { return b[:len(b)-1] }, want: record.ErrCorrupt},
		{name: "a byte more", change: func(b record.Batch) record.Batch { return append(b, 0) }, want: record.ErrInvalidRecord},
		{name: "two batches", change: func(b record.Batch) record.Batch { return append(b, b...) }, want: record.ErrInvalidRecord},
		{name: "magic 1", change: func(b record.Batch) record.Batch { b[16] = 1; return b }, want: record.ErrUnsupportedMagic},
		{name: "length 0", change: func(b record.Batch) record.Batch { clear(b[8:12]); return b }, want: record.ErrCorrupt},
		{name: "payload changed", change: func(b record.Batch) record.Batch { b[70]++; return b }, want: record.ErrCorrupt},
		{name: "as large as allowed", limits: record.Limits{MaxBytes: len(sample(t, record.None))}},
		{name: "too large", limits: record.Limits{MaxBytes: len(sample(t, record.None)) - 1}, want: record.ErrTooLarge},
		{name: "too large and corrupt", change: func(b record.Batch) record.Batch { b[70]++; return b }, limits: record.Limits{MaxBytes: 1}, want: record.ErrTooLarge},
		{name: "control", change: func(b record.Batch) record.Batch { b[22] |= 0x20; sign(b); return b }, want: record.ErrInvalidRecord},
		{name: "no records", change: func(b record.Batch) record.Batch { clear(b[57:61]); sign(b); return b }, want: record.ErrInvalidRecord},
		{name: "-1 records", change: put32(57, -1), want: record.ErrInvalidRecord},
		{name: "a hole", change: put32(23, 3), want: record.ErrInvalidRecord},
		{name: "records beyond the last offset", change: put32(57, 4), want: record.ErrInvalidRecord},
		{name: "more records than bytes", change: func(b record.Batch) record.Batch { put32(23, 99)(b); return put32(57, 100)(b) }, want: record.ErrInvalidRecord},
		{name: "codec 5", change: func(b record.Batch) record.Batch { b[22] |= 5; sign(b); return b }, want: record.ErrUnsupportedCodec},
		{name: "codec 7", change: func(b record.Batch) record.Batch { b[22] |= 7; sign(b); return b }, want: record.ErrUnsupportedCodec},
		{name: "zstd", change: func(record.Batch) record.Batch { return sample(t, record.Zstd) }},
		{name: "zstd from an old client", change: func(record.Batch) record.Batch { return sample(t, record.Zstd) }, limits: record.Limits{NoZstd: true}, want: record.ErrUnsupportedCodec},
		{name: "lz4 from an old client", change: func(record.Batch) record.Batch { return sample(t, record.Lz4) }, limits: record.Limits{NoZstd: true}},
		{name: "LogAppendTime", change: func(b record.Batch) record.Batch { b.SetLogAppendTime(1); return b }, want: record.ErrInvalidTimestamp},
		{name: "transaction of nobody", change: func(b record.Batch) record.Batch { put32(43, -1)(b); return put32(47, -1)(b) }, want: record.ErrInvalidRecord},
		{name: "producer without sequence", change: put32(53, -1), want: record.ErrInvalidRecord},
		{name: "within the times", limits: record.Limits{MinTimestamp: 1000, MaxTimestamp: 1020}},
		{name: "too old", limits: record.Limits{MinTimestamp: 1001}, want: record.ErrInvalidTimestamp},
		{name: "too new", limits: record.Limits{MaxTimestamp: 1019}, want: record.ErrInvalidTimestamp},
	}
	for _, c := range cases {
		b := sample(t, record.None)
		if c.change != nil {
			b = c.change(b)
		}
		err := b.CheckProduced(c.limits)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "record: ") {
			t.Errorf("%s: message %q", c.name, err)
		}
	}
	b := record.NewBuilder()
	b.Add(record.NoTimestamp, nil, []byte("no timestamp"))
	batch, err := b.Build()
	if err == nil {
		err = batch.CheckProduced(record.Limits{MinTimestamp: 1000, MaxTimestamp: 2000})
	}
	if err != nil {
		t.Errorf("a record without a timestamp: %v", err)
	}
}

// put32 sets four bytes of the header and signs the batch.
func put32(at int, v int32) func(record.Batch) record.Batch {
	return func(b record.Batch) record.Batch {
		binary.BigEndian.PutUint32(b[at:], uint32(v))
		sign(b)
		return b
	}
}

func TestNothingOnTheHotPathAllocates(t *testing.T) {
	b := sample(t, record.None)
	limits := record.Limits{MaxBytes: 1 << 20, MinTimestamp: 1, MaxTimestamp: 1 << 40}
	var sink int64
	if n := testing.AllocsPerRun(100, func() {
		if err := b.CheckProduced(limits); err != nil {
			t.Fatal(err)
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		c, _, err := record.Next(b)
		if err != nil {
			t.Fatal(err)
		}
		sink += c.LastOffset() + c.MaxTimestamp() + c.ProducerID() + int64(c.LastSequence()) + int64(c.Count())
		c.SetBaseOffset(5)
		c.SetLeaderEpoch(6)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNames(t *testing.T) {
	for _, c := range codecs {
		if got, err := record.ParseCodec(c.String()); err != nil || got != c {
			t.Errorf("%s: %v, %v", c, got, err)
		}
	}
	if c, err := record.ParseCodec("uncompressed"); err != nil || c != record.None {
		t.Errorf("uncompressed: %v, %v", c, err)
	}
	if _, err := record.ParseCodec("lzma"); !errors.Is(err, record.ErrUnsupportedCodec) {
		t.Errorf("lzma: %v", err)
	}
	if s := fmt.Sprint(record.Codec(6), record.CreateTime, record.LogAppendTime); s != "codec(6) CreateTime LogAppendTime" {
		t.Error(s)
	}
}
