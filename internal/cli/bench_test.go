package cli

import (
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 63, 64, 127, 128, 129, 1000, time.Millisecond, time.Hour, 1<<63 - 1} {
		b := bucket(d)
		if high := highest(b); high < d || b > 0 && highest(b-1) >= d || float64(high-d) > float64(d)/64 {
			t.Errorf("%d is counted in bucket %d, up to %d", d, b, high)
		}
	}
	var h histogram
	if h.quantile(.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0: 1, .5: 501, .99: 991, 1: 1000} {
		if got := h.quantile(q); got < want*time.Millisecond || got > want*time.Millisecond*65/64 {
			t.Errorf("quantile %v: %v, want %d ms", q, got, want)
		}
	}
}

// A producer that is held up does not hide it: what was due while it waited counts from when it was due.
func TestBenchCountsFromWhenARecordWasDue(t *testing.T) {
	b := bench{rate: 1000}
	began := time.Now().Add(-time.Second)
	due, ok := b.due(t.Context(), began, 501)
	if late := time.Since(due); !ok || late < 400*time.Millisecond {
		t.Errorf("a record that was due half a second ago counts from %v ago", late)
	}
}

func TestBenchPool(t *testing.T) {
	pool := benchPool(100)
	seen := map[string]bool{}
	for n := range int64(100) {
		v := pool(n)
		if len(v) != 100 || seen[string(v)] {
			t.Fatalf("value %d: %q", n, v)
		}
		seen[string(v)] = true
	}
	if len(benchPool(0)(7)) != 0 {
		t.Error("values of 0 bytes are not empty")
	}
}

func BenchmarkMeter(b *testing.B) {
	m := newMeter()
	for b.Loop() {
		m.add(1, 100, time.Millisecond)
	}
}
