package vfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// TestWriteVectorGoesOn writes by calls that stop anywhere.
func TestWriteVectorGoesOn(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var bufs [][]byte
		var want []byte
		for range rng.IntN(2 * maxVector) {
			b := make([]byte, rng.IntN(5))
			for i := range b {
				b[i] = byte(rng.IntN(256))
			}
			bufs, want = append(bufs, b), append(want, b...)
		}
		before := append([][]byte(nil), bufs...)
		var got []byte
		n, err := writeVector(bufs, 1000, func(some [][]byte, off int64) (int, error) {
			if len(some) > maxVector || off != int64(1000+len(got)) {
				t.Fatalf("%d buffers at %d, after %d bytes", len(some), off, len(got))
			}
			all := bytes.Join(some, nil)
			all = all[:1+rng.IntN(len(all))]
			got = append(got, all...)
			return len(all), nil
		})
		if err != nil || n != len(want) || !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %d of %d bytes, %v", seed, n, len(want), err)
		}
		for i := range bufs {
			if !bytes.Equal(bufs[i], before[i]) {
				t.Fatal("the caller's buffers were changed")
			}
		}
	}
}

func TestWriteVectorStops(t *testing.T) {
	full := errors.New("full")
	bufs := [][]byte{[]byte("abc"), []byte("def")}
	calls := 0
	n, err := writeVector(bufs, 0, func([][]byte, int64) (int, error) {
		calls++
		if calls == 2 {
			return 1, full
		}
		return 2, nil
	})
	if n != 3 || err != full {
		t.Errorf("%d, %v", n, err)
	}
	n, err = writeVector(bufs, 0, func([][]byte, int64) (int, error) { return 0, nil })
	if n != 0 || err != io.ErrUnexpectedEOF {
		t.Errorf("no progress: %d, %v", n, err)
	}
}
