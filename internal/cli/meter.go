package cli

import (
	"fmt"
	"io"
	"math/bits"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// histogram counts durations in buckets that are at most 1/64 wide of what they hold, from a nanosecond on.
type histogram struct {
	counts [58 * subBuckets]int64
	n      int64
	max    time.Duration
}

const (
	subBits    = 6
	subBuckets = 1 << subBits
)

// bucket is where a duration is counted: one each below 64 ns, and from there on 64 for each power of two.
func bucket(d time.Duration) int {
	v := uint64(max(0, d))
	if v < subBuckets {
		return int(v)
	}
	e := bits.Len64(v) - subBits - 1
	return e*subBuckets + int(v>>e)
}

// highest is the longest duration that is counted in a bucket.
func highest(b int) time.Duration {
	if b < 2*subBuckets {
		return time.Duration(b)
	}
	e := b/subBuckets - 1
	return time.Duration(uint64(b-e*subBuckets+1)<<e - 1)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.n++
	h.max = max(h.max, d)
}

// quantile returns a duration that a share q of all counted ones do not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	left := int64(q * float64(h.n))
	for b, n := range h.counts {
		if left -= n; left < 0 {
			return min(highest(b), h.max)
		}
	}
	return h.max
}

// meter counts what a benchmark does: all in all, and since it was last asked.
type meter struct {
	mu     sync.Mutex
	began  time.Time
	last   time.Time // when something was counted last
	total  tally
	window tally
	since  time.Time // when the window began
}

type tally struct {
	records, bytes int64
	latency        histogram
}

func newMeter() *meter {
	now := time.Now()
	return &meter{began: now, last: now, since: now}
}

// add counts records that took so long; a negative latency is none.
func (m *meter) add(records, bytes int64, latency time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = time.Now()
	for _, t := range []*tally{&m.total, &m.window} {
		t.records += records
		t.bytes += bytes
		if latency >= 0 {
			t.latency.add(latency)
		}
	}
}

// count returns how many records were counted.
func (m *meter) count() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total.records
}

// line describes what was counted since the line before.
func (m *meter) line() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	text := fmt.Sprintf("%3.0f s  %s", now.Sub(m.began).Seconds(), m.window.speed(now.Sub(m.since)))
	if m.window.latency.n > 0 {
		text += fmt.Sprintf("  p50 %s  p99 %s  max %s", millis(m.window.latency.quantile(.5)), millis(m.window.latency.quantile(.99)), millis(m.window.latency.max))
	}
	m.window, m.since = tally{}, now
	return text
}

func (t *tally) speed(d time.Duration) string {
	s := max(d.Seconds(), 1e-9)
	return fmt.Sprintf("%.0f records/s  %.1f MiB/s", float64(t.records)/s, float64(t.bytes)/s/(1<<20))
}

// millis writes a duration with as many digits as mean something.
func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 1:
		return fmt.Sprintf("%.3f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// benchSummary is what a benchmark found.
type benchSummary struct {
	Topic            string        `json:"topic"`
	Records          int64         `json:"records"`
	Bytes            int64         `json:"bytes"` // of values
	Seconds          float64       `json:"seconds"`
	RecordsPerSecond float64       `json:"recordsPerSecond"`
	MiBPerSecond     float64       `json:"mibPerSecond"`
	Latency          *benchLatency `json:"latencyMillis,omitempty"`
}

type benchLatency struct {
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

func (m *meter) summary(topic string) benchSummary {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.last.Sub(m.began).Seconds()
	s := benchSummary{Topic: topic, Records: m.total.records, Bytes: m.total.bytes, Seconds: d}
	if d > 0 {
		s.RecordsPerSecond, s.MiBPerSecond = float64(s.Records)/d, float64(s.Bytes)/d/(1<<20)
	}
	if l := &m.total.latency; l.n > 0 {
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		s.Latency = &benchLatency{ms(l.quantile(.5)), ms(l.quantile(.95)), ms(l.quantile(.99)), ms(l.quantile(.999)), ms(l.max)}
	}
	return s
}

func (s benchSummary) result(what string) result {
	return result{value: s, names: []string{s.Topic}, table: func(t *table) {
		t.line("%s %s, %s, in %.2f s: %.0f records/s, %.1f MiB/s", what, plural(s.Records, "record"), byteText(s.Bytes), s.Seconds, s.RecordsPerSecond, s.MiBPerSecond)
		if l := s.Latency; l != nil {
			text := func(ms float64) string { return millis(time.Duration(ms * float64(time.Millisecond))) }
			t.line("latency p50 %s, p95 %s, p99 %s, p99.9 %s, max %s", text(l.P50), text(l.P95), text(l.P99), text(l.P999), text(l.Max))
		}
	}}
}

// liveLine is one line of a terminal that is written again and again; where there is no terminal it is nothing.
type liveLine struct {
	w     io.Writer // nil: no terminal
	shown bool
}

func newLiveLine(w io.Writer) *liveLine {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &liveLine{w: f}
	}
	return &liveLine{}
}

// clearLine goes to the line's begin and empties it.
const clearLine = "\r\x1b[K"

func (l *liveLine) show(text string) {
	if l.w != nil {
		l.shown = true
		fmt.Fprint(l.w, clearLine+text)
	}
}

func (l *liveLine) clear() {
	if l.shown {
		l.shown = false
		fmt.Fprint(l.w, clearLine)
	}
}
