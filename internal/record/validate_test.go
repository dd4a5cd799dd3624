package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/chronik-stream/chronik/internal/record"
)

// recordsOf lists what the records of a batch say.
func recordsOf(t *testing.T, b record.Batch) (all []string) {
	t.Helper()
	for r, err := range b.Records(1 << 20) {
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("%d@%d %q=%q", r.OffsetDelta, b.Timestamp(r), r.Key, r.Value)
		for h := range r.Headers.All() {
			s += fmt.Sprintf(" %s:%q", h.Key, h.Value)
		}
		all = append(all, s)
	}
	return all
}

// TestRecompressed goes from every codec to every other, at every level that Kafka's properties have.
func TestRecompressed(t *testing.T) {
	levels := map[record.Codec][]int{
		record.None: {record.DefaultLevel}, record.Snappy: {record.DefaultLevel, 3},
		record.Gzip: {record.DefaultLevel, -1, 1, 5, 9, 99}, record.Lz4: {record.DefaultLevel, 1, 5, 9, 17}, record.Zstd: {record.DefaultLevel, -131072, 1, 3, 8, 22},
	}
	for _, from := range codecs {
		b := sample(t, from)
		before := bytes.Clone(b)
		p, err := b.Open(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		for to, all := range levels {
			for _, level := range all {
				got, err := b.Recompressed(p, to, level)
				if err != nil {
					t.Fatalf("%s to %s: %v", from, to, err)
				}
				if err := got.Check(); err != nil || got.Codec() != to {
					t.Errorf("%s to %s at level %d: codec %s, %v", from, to, level, got.Codec(), err)
				}
				if g, w := fmt.Sprint(recordsOf(t, got)), fmt.Sprint(recordsOf(t, b)); g != w {
					t.Errorf("%s to %s: records %s, want %s", from, to, g, w)
				}
				// Of the header only length, CRC and the codec differ.
				head := bytes.Clone(got[:record.HeaderSize])
				copy(head[8:12], b[8:12])
				copy(head[17:21], b[17:21])
				head[22] = head[22]&^7 | b[22]&7
				if !bytes.Equal(head, b[:record.HeaderSize]) {
					t.Errorf("%s to %s: header %x, want %x", from, to, head, b[:record.HeaderSize])
				}
			}
		}
		if !bytes.Equal(b, before) {
			t.Errorf("%s: the original was written into", from)
		}
	}
}

// TestLevelsCompress: a level has an effect.
func TestLevelsCompress(t *testing.T) {
	text := bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog; "), 50)
	for i := range text {
		text[i] += byte(i * i % 7)
	}
	for codec, levels := range map[record.Codec][2]int{record.Gzip: {1, 9}, record.Lz4: {9, 17}, record.Zstd: {1, 19}} {
		low, err := record.AppendCompressedLevel(nil, codec, levels[0], text)
		if err != nil {
			t.Fatal(err)
		}
		high, err := record.AppendCompressedLevel([]byte("before"), codec, levels[1], text)
		if err != nil {
			t.Fatal(err)
		}
		if len(high)-6 >= len(low) {
			t.Errorf("%s: %d bytes at level %d, %d at level %d", codec, len(low), levels[0], len(high)-6, levels[1])
		}
		if out, err := record.Decompress(codec, high[6:], 1<<20); err != nil || !bytes.Equal(out, text) || !bytes.HasPrefix(high, []byte("before")) {
			t.Errorf("%s: %v", codec, err)
		}
	}
}

func TestCheckRecords(t *testing.T) {
	for _, codec := range codecs {
		builder := record.NewBuilder()
		builder.Codec = codec
		builder.Add(1000, []byte("a"), []byte("x"))
		builder.Add(900, nil, []byte("y")) // earlier than the first: the header's base timestamp does not show it
		builder.Add(3000, []byte("b"), nil)
		builder.Add(2000, []byte{}, nil)
		b, err := builder.Build()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			l       record.Limits
			keys    bool
			kind    error
			records []int32
		}{
			{},
			{l: record.Limits{MinTimestamp: 900, MaxTimestamp: 3000}},
			{keys: true, kind: record.ErrInvalidRecord, records: []int32{1}},
			{l: record.Limits{MinTimestamp: 950}, kind: record.ErrInvalidTimestamp, records: []int32{1}},
			{l: record.Limits{MaxTimestamp: 1500}, keys: true, kind: record.ErrInvalidTimestamp, records: []int32{1, 2, 3}},
		} {
			p, err := b.Open(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			greatest, err := b.CheckRecords(p, x.l, x.keys)
			var rejected *record.RejectedError
			switch {
			case x.kind == nil && (err != nil || greatest != 3000):
				t.Errorf("%s, %+v: %d, %v", codec, x, greatest, err)
			case x.kind == nil:
			case !errors.Is(err, x.kind) || !errors.As(err, &rejected):
				t.Errorf("%s, %+v: %v", codec, x, err)
			default:
				var at []int32
				for _, r := range rejected.Records {
					at = append(at, r.Index)
				}
				if fmt.Sprint(at) != fmt.Sprint(x.records) || rejected.Count != len(at) {
					t.Errorf("%s, %+v: records %v of %d", codec, x, at, rejected.Count)
				}
			}
		}
		// A header that lies about its records has a right CRC all the same.
		for what, change := range map[string]func(record.Batch){
			"one record less": func(q record.Batch) { q[26], q[60] = 2, 3 },
			"one record more": func(q record.Batch) { q[26], q[60] = 4, 5 },
			"garbage":         func(q record.Batch) { copy(q[80:], bytes.Repeat([]byte{0xff}, len(q))) },
		} {
			q := record.Batch(bytes.Clone(b))
			change(q)
			q.SetMaxTimestamp(q.MaxTimestamp())
			if err := q.CheckProduced(record.Limits{}); err != nil {
				t.Errorf("%s, %s: the header alone is refused: %v", codec, what, err)
			}
			p, err := q.Open(1 << 20)
			if err == nil {
				_, err = q.CheckRecords(p, record.Limits{}, false)
			}
			if !errors.Is(err, record.ErrInvalidRecord) {
				t.Errorf("%s, %s: %v", codec, what, err)
			}
		}
	}
}

// TestRejectedRecordsAreBounded: a batch of a million bad records does not make a million answers.
func TestRejectedRecordsAreBounded(t *testing.T) {
	builder := record.NewBuilder()
	for range 10_000 {
		builder.Add(0, nil, nil)
	}
	b, err := builder.Build()
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.CheckRecords(b.Payload(), record.Limits{}, true)
	var rejected *record.RejectedError
	if !errors.As(err, &rejected) || rejected.Count != 10_000 || len(rejected.Records) != 100 {
		t.Errorf("%v", err)
	}
}

// TestImpossibleCounts: what a header claims must be possible in its bytes, whatever the codec.
func TestImpossibleCounts(t *testing.T) {
	for _, codec := range codecs {
		b := sample(t, codec)
		for _, count := range []uint32{1 << 24, 1<<31 - 1} {
			q := record.Batch(bytes.Clone(b))
			for i, v := range []uint32{count - 1, count} {
				at := []int{23, 57}[i]
				q[at], q[at+1], q[at+2], q[at+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
			}
			q.SetMaxTimestamp(q.MaxTimestamp())
			if err := q.CheckProduced(record.Limits{}); !errors.Is(err, record.ErrInvalidRecord) {
				t.Errorf("%s: %d records in %d bytes: %v", codec, count, len(q), err)
			}
		}
	}
}
