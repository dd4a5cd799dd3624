package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
)

// Whatever is left out, what is handed on is in the log's order and folds to the same.
func TestLatestFoldsToTheSame(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var log []shards.Record
		for i := range rng.IntN(400) {
			r := shards.Record{Value: append(binary.BigEndian.AppendUint32(nil, uint32(i)), make([]byte, rng.IntN(40))...)}
			if rng.IntN(4) == 0 {
				r.Value = nil
			}
			if rng.IntN(50) > 0 {
				r.Key = []byte(strings.Repeat("k", rng.IntN(1+int(seed%20))))
			}
			log = append(log, r)
		}
		want, got := fold{last: -1}, fold{last: -1}
		keys := 1 << rng.IntN(8)
		l := newLatest(keys, got.apply)
		buffer := make([]byte, 0, 100) // of who reads the log
		for i, r := range log {
			err := want.apply(r)
			buffer = append(append(buffer[:0], r.Key...), r.Value...)
			if r.Key != nil {
				r.Key = buffer[:len(r.Key)]
			}
			if r.Value != nil {
				r.Value = buffer[len(r.Key):]
			}
			if err = errors.Join(err, l.add(int64(i), r)); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			clear(buffer)
		}
		if err := l.flush(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !maps.EqualFunc(want.values, got.values, bytes.Equal) || want.keyless != got.keyless {
			t.Fatalf("seed %d: the log folds to %v and %d records without a key, what was handed on to %v and %d", seed, want.values, want.keyless, got.values, got.keyless)
		}
		if seed%20 < 4 && keys >= 4 && want.n > 200 && got.n > want.n/2 {
			t.Errorf("seed %d: %d of %d records of at most 4 keys are handed on", seed, got.n, want.n)
		}
	}
}

// fold is what records fold to.
type fold struct {
	values     map[string][]byte
	n, keyless int
	last       int64 // the number in the last value
}

func (f *fold) apply(r shards.Record) error {
	f.n++
	if r.Value != nil {
		n := int64(binary.BigEndian.Uint32(r.Value))
		if n <= f.last {
			return fmt.Errorf("record %d comes after %d", n, f.last)
		}
		f.last = n
	}
	switch {
	case r.Key == nil:
		f.keyless++
	case r.Value == nil:
		delete(f.values, string(r.Key))
	default:
		if f.values == nil {
			f.values = map[string][]byte{}
		}
		f.values[string(r.Key)] = bytes.Clone(r.Value)
	}
	return nil
}

// A record that cannot be read is named by its own offset, whenever it is handed on.
func TestLatestNamesTheOffset(t *testing.T) {
	bad := errors.New("bad")
	l := newLatest(4, func(r shards.Record) error {
		if len(r.Value) == 0 {
			return bad
		}
		return nil
	})
	for i, value := range []string{"x", "x", "", "x"} {
		if err := l.add(int64(100+i), shards.Record{Key: []byte{byte(i)}, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.flush(); !errors.Is(err, bad) || !strings.Contains(err.Error(), "offset 102") {
		t.Errorf("%v", err)
	}
	big := shards.Record{Key: []byte("k"), Value: make([]byte, latestBytes)}
	n := 0
	l = newLatest(4, func(r shards.Record) error { n += len(r.Value); return nil })
	if err := errors.Join(l.add(0, big), l.add(1, shards.Record{Key: []byte("k"), Value: []byte("x")}), l.flush()); err != nil || n != latestBytes+1 {
		t.Errorf("%d bytes were handed on, want %d: %v", n, latestBytes+1, err)
	}
}
