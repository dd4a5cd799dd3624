package broker

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/listener"
)

// metrics are the broker's counters. Everything that a request touches is bound to its API when the
// broker is made, so no label is looked up on the way, and it is a handful of atomics that requests which
// came together share: client_golang's own histogram would cost more than to decode a small request.
// Labels are the names of the table's rows: nothing that a client sends becomes a label.
type metrics struct {
	apis   [wireKeys]apiMetrics
	served []int16 // keys that have a row
	errors *prometheus.CounterVec

	requests, seconds, phase, in, out *prometheus.Desc
}

// phases are what the time of a request is made of, in their order.
var phases = [...]string{"queue", "local", "remote", "response"}

// histogram counts times by bounds.
type histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64 // not cumulative; the last has no bound
	nanos   atomic.Int64                   // sum of the times
}

// observe counts n times that are alike.
func (h *histogram) observe(d time.Duration, n int) {
	h.buckets[bucketOf(d)].Add(uint64(n))
	h.nanos.Add(int64(d) * int64(n))
}

// observeMore is observe but for the first bucket, which is what the others leave of all requests (apiMetrics.phases).
func (h *histogram) observeMore(d time.Duration, n int) {
	if d <= 0 {
		return
	}
	if i := bucketOf(d); i > 0 {
		h.buckets[i].Add(uint64(n))
	}
	h.nanos.Add(int64(d) * int64(n))
}

func bucketOf(d time.Duration) int {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	return i
}

// counts returns what is in the buckets, and in all.
func (h *histogram) counts() (n [len(bounds) + 1]uint64, all uint64) {
	for i := range h.buckets {
		n[i] = h.buckets[i].Load()
		all += n[i]
	}
	return n, all
}

// metric makes the histogram of counts.
func (h *histogram) metric(d *prometheus.Desc, counts [len(bounds) + 1]uint64, labels ...string) prometheus.Metric {
	all, buckets := uint64(0), make(map[float64]uint64, len(bounds))
	for i := range counts {
		all += counts[i]
		if i < len(bounds) {
			buckets[bounds[i].Seconds()] = all
		}
	}
	return prometheus.MustNewConstHistogram(d, all, time.Duration(h.nanos.Load()).Seconds(), buckets, labels...)
}

// bounds are the upper bounds of the buckets of request times.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// apiMetrics are one API's.
type apiMetrics struct {
	name    string
	total   histogram
	phases  [len(phases)]histogram // counted after total; what their first buckets hold is not counted
	in, out atomic.Uint64          // bytes
}

func newMetrics(r prometheus.Registerer, rows []row) *metrics {
	label := []string{"api"}
	m := &metrics{
		requests: prometheus.NewDesc("chronik_kafka_requests_total", "Requests answered, by API.", label, nil),
		seconds: prometheus.NewDesc("chronik_kafka_request_seconds",
			"Time from the read that brought a request until its response was written, by API; waits the client asked for are in it.", label, nil),
		phase: prometheus.NewDesc("chronik_kafka_request_phase_seconds", "What the time of requests is made of, by API and phase. "+
			"queue: until the request began to be served, behind earlier ones of its connection or for memory. local: served here. "+
			"remote: waiting for something else: for the disk or replicas to have its records, for records to fetch, for other members of a group, for the controller. "+
			"response: until the response was written, behind earlier ones of its connection and as fast as the client takes it.",
			[]string{"api", "phase"}, nil),
		in:  prometheus.NewDesc("chronik_kafka_request_bytes_total", "Bytes of requests, by API.", label, nil),
		out: prometheus.NewDesc("chronik_kafka_response_bytes_total", "Bytes of responses, by API, records sent from files included.", label, nil),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_kafka_errors_total", Help: "Error codes given to clients in Produce and Fetch responses, a partition each, by API and code.",
		}, []string{"api", "code"}),
	}
	for i := range rows {
		m.apis[rows[i].key].name = rows[i].name
		m.served = append(m.served, rows[i].key)
	}
	r.MustRegister(m, m.errors)
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(c chan<- *prometheus.Desc) {
	c <- m.requests
	c <- m.seconds
	c <- m.phase
	c <- m.in
	c <- m.out
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	for _, key := range m.served {
		a := &m.apis[key]
		var split [len(phases)][len(bounds) + 1]uint64
		var more [len(phases)]uint64
		for i := range a.phases {
			split[i], more[i] = a.phases[i].counts()
		}
		// After the phases: so no phase has more requests than there are.
		total, count := a.total.counts()
		c <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(count), a.name)
		c <- a.total.metric(m.seconds, total, a.name)
		for i := range a.phases {
			split[i][0] = count - more[i]
			c <- a.phases[i].metric(m.phase, split[i], a.name, phases[i])
		}
		c <- prometheus.MustNewConstMetric(m.in, prometheus.CounterValue, float64(a.in.Load()), a.name)
		c <- prometheus.MustNewConstMetric(m.out, prometheus.CounterValue, float64(a.out.Load()), a.name)
	}
}

// answered counts requests whose responses have been written.
func (m *metrics) answered(t *listener.Timing, took time.Duration) {
	a := &m.apis[t.Key]
	a.total.observe(took, t.Requests)
	a.phases[0].observeMore(t.Queue, t.Requests)
	a.phases[1].observeMore(t.Local, t.Requests)
	a.phases[2].observeMore(t.Remote, t.Requests)
	a.phases[3].observeMore(took-t.Queue-t.Local-t.Remote, t.Requests)
	a.out.Add(uint64(t.Bytes))
}

// Answered implements listener.Handler.
func (b *Broker) Answered(t *listener.Timing, took time.Duration) { b.m.answered(t, took) }

// arrived counts the bytes of requests.
func (m *metrics) arrived(key int16, bytes int) { m.apis[key].in.Add(uint64(bytes)) }

// error counts an error code in a response. It looks its label up: errors are rare.
func (m *metrics) error(key, code int16) {
	m.errors.WithLabelValues(m.apis[key].name, strconv.Itoa(int(code))).Inc()
}
