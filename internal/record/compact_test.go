package record

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// compactable is a batch with the keys 0, 1, ...; a record whose number is in tombstones has no value.
func compactable(t *testing.T, codec Codec, n int, tombstones ...int) Batch {
	t.Helper()
	b := NewBuilder()
	b.BaseOffset, b.LeaderEpoch, b.Codec, b.ProducerID, b.ProducerEpoch, b.BaseSequence = 100, 7, codec, 42, 3, 10
	for i := range n {
		value := fmt.Appendf(nil, "value %d", i)
		for _, at := range tombstones {
			if at == i {
				value = nil
			}
		}
		b.Add(1_700_000_000_000+int64(10*i), fmt.Append(nil, i), value, Header{Key: "h", Value: fmt.Append(nil, i)})
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// show is what a batch holds, one record a line.
func show(t *testing.T, b Batch) string {
	t.Helper()
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	s := fmt.Sprintf("[%d,%d] n=%d epoch=%d producer=%d/%d/%d max=+%d horizon=%v\n", b.BaseOffset(), b.LastOffset(), b.Count(), b.LeaderEpoch(),
		b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.MaxTimestamp()-1_700_000_000_000, b.HasDeleteHorizon())
	for r, err := range b.Records(1 << 20) {
		if err != nil {
			t.Fatal(err)
		}
		s += fmt.Sprintf("%d +%d %s=%s", b.BaseOffset()+int64(r.OffsetDelta), b.Timestamp(r)-1_700_000_000_000, r.Key, r.Value)
		for h := range r.Headers.All() {
			s += fmt.Sprintf(" %s=%s", h.Key, h.Value)
		}
		s += "\n"
	}
	return s
}

func TestCompact(t *testing.T) {
	const horizon = 1_800_000_000_000
	only := func(keys string) func(Record) bool {
		return func(r Record) bool { return strings.Contains(keys, string(r.Key)) }
	}
	for _, codec := range []Codec{None, Gzip, Snappy, Lz4, Zstd} {
		for _, tt := range []struct {
			name       string
			tombstones []int
			fate       Fate
			want       string // "" for nothing, "=" for the batch as it was
		}{
			{"all", nil, Fate{Keep: only("0123"), Horizon: horizon}, "="},
			{"none", nil, Fate{Keep: only(""), Horizon: horizon}, ""},
			{"empty", nil, Fate{Keep: only(""), Empty: true, Horizon: horizon}, "[100,103] n=0 epoch=7 producer=42/3/10 max=+30 horizon=false\n"},
			{
				"some", nil,
				Fate{Keep: only("02"), Horizon: horizon},
				"[100,103] n=2 epoch=7 producer=42/3/10 max=+20 horizon=false\n100 +0 0=value 0 h=0\n102 +20 2=value 2 h=2\n",
			},
			{
				"a tombstone for the first time",
				[]int{1},
				Fate{Keep: only("123"), Horizon: horizon},
				"[100,103] n=3 epoch=7 producer=42/3/10 max=+30 horizon=true\n101 +10 1= h=1\n102 +20 2=value 2 h=2\n103 +30 3=value 3 h=3\n",
			},
			{
				"a tombstone, all kept",
				[]int{1},
				Fate{Keep: only("0123"), Horizon: horizon},
				"[100,103] n=4 epoch=7 producer=42/3/10 max=+30 horizon=true\n100 +0 0=value 0 h=0\n101 +10 1= h=1\n102 +20 2=value 2 h=2\n103 +30 3=value 3 h=3\n",
			},
			{
				"a tombstone that goes",
				[]int{1},
				Fate{Keep: only("3"), Horizon: horizon},
				"[100,103] n=1 epoch=7 producer=42/3/10 max=+30 horizon=false\n103 +30 3=value 3 h=3\n",
			},
			{"no horizon given", []int{1}, Fate{Keep: only("0123"), Horizon: NoTimestamp}, "="},
		} {
			t.Run(codec.String()+"/"+tt.name, func(t *testing.T) {
				b := compactable(t, codec, 4, tt.tombstones...)
				c := Compactor{Limit: 1 << 20}
				out, left, err := c.Append([]byte("before"), b, tt.fate)
				if err != nil || string(out[:6]) != "before" {
					t.Fatalf("%q, %v", out[:6], err)
				}
				out = out[6:]
				switch {
				case tt.want == "" && len(out) == 0:
					return
				case tt.want == "=":
					if string(out) != string(b) || !left.Same {
						t.Fatalf("not the same: %s", show(t, out))
					}
					return
				}
				if have := show(t, out); have != tt.want {
					t.Fatalf("have %swant %s", have, tt.want)
				}
				if b := Batch(out); b.HasDeleteHorizon() && b.BaseTimestamp() != horizon {
					t.Fatalf("horizon %d", b.BaseTimestamp())
				}
				// What was compacted can be compacted again, and keeps the horizon that it has.
				again, left, err := c.Append(nil, out, Fate{Keep: only("0123"), Empty: true, Horizon: horizon + 1})
				if err != nil || string(again) != string(out) || !left.Same {
					t.Fatalf("again: %v, %s", err, show(t, again))
				}
			})
		}
	}
}

// With LogAppendTime the greatest timestamp is that of all records.
func TestCompactLogAppendTime(t *testing.T) {
	b := compactable(t, Lz4, 3, 1)
	b.SetLogAppendTime(1_700_000_000_500)
	c := Compactor{Limit: 1 << 20}
	out, _, err := c.Append(nil, b, Fate{Keep: func(r Record) bool { return r.OffsetDelta == 1 }, Horizon: 1_800_000_000_000})
	if err != nil {
		t.Fatal(err)
	}
	if have, want := show(t, out), "[100,102] n=1 epoch=7 producer=42/3/10 max=+500 horizon=true\n101 +500 1= h=1\n"; have != want {
		t.Fatalf("have %swant %s", have, want)
	}
}

// A marker gets its horizon when nothing of its transaction is left.
func TestCompactMarker(t *testing.T) {
	b := NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = 1, 0, true, true
	b.Add(5, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 9})
	marker, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := Compactor{Limit: 1 << 20}
	keep := func(Record) bool { return true }
	if out, left, err := c.Append(nil, marker, Fate{Keep: keep, Horizon: 77}); err != nil || !left.Same || string(out) != string(marker) {
		t.Fatalf("with data left: %v", err)
	}
	out, _, err := c.Append(nil, marker, Fate{Keep: keep, Marker: true, Horizon: 77})
	if err != nil {
		t.Fatal(err)
	}
	if n := Batch(out); !n.HasDeleteHorizon() || n.BaseTimestamp() != 77 || !n.IsControl() || n.MaxTimestamp() != 5 || n.Check() != nil {
		t.Fatalf("%x", out)
	}
}

func TestCompactLimit(t *testing.T) {
	b := NewBuilder()
	b.Codec = Zstd
	b.Add(0, []byte("k"), make([]byte, 1<<20))
	bomb, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := Compactor{Limit: 1 << 16}
	if _, _, err := c.Append(nil, bomb, Fate{Keep: func(Record) bool { return true }}); !errors.Is(err, ErrLimit) {
		t.Fatalf("compacting: %v", err)
	}
}
