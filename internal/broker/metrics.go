package broker

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the broker's counters. Everything that a request touches is bound to its API when the
// broker is made, so no label is looked up on the way, and it is a handful of atomics that requests which
// came together share: client_golang's own histogram would cost more than to decode a small request.
// Labels are the names of the table's rows: nothing that a client sends becomes a label.
type metrics struct {
	apis   [wireKeys]apiMetrics
	served []int16 // keys that have a row
	errors *prometheus.CounterVec

	requests, seconds, in, out *prometheus.Desc
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
	buckets [len(bounds) + 1]atomic.Uint64 // not cumulative; the last has no bound
	nanos   atomic.Int64                   // sum of the times
	in, out atomic.Uint64                  // bytes
}

func newMetrics(r prometheus.Registerer, rows []row) *metrics {
	label := []string{"api"}
	m := &metrics{
		requests: prometheus.NewDesc("chronik_kafka_requests_total", "Requests answered, by API.", label, nil),
		seconds: prometheus.NewDesc("chronik_kafka_request_seconds",
			"Time from the read that brought a request to its response, by API; waits the client asked for are in it.", label, nil),
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
	c <- m.in
	c <- m.out
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	for _, key := range m.served {
		a := &m.apis[key]
		count, buckets := uint64(0), make(map[float64]uint64, len(bounds))
		for i := range a.buckets {
			count += a.buckets[i].Load()
			if i < len(bounds) {
				buckets[bounds[i].Seconds()] = count
			}
		}
		c <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(count), a.name)
		c <- prometheus.MustNewConstHistogram(m.seconds, count, time.Duration(a.nanos.Load()).Seconds(), buckets, a.name)
		c <- prometheus.MustNewConstMetric(m.in, prometheus.CounterValue, float64(a.in.Load()), a.name)
		c <- prometheus.MustNewConstMetric(m.out, prometheus.CounterValue, float64(a.out.Load()), a.name)
	}
}

// done counts a request whose response is complete.
func (m *metrics) done(key int16, start time.Time, bytes int) {
	m.answered(key, time.Since(start), 1, bytes)
}

// answered counts n requests that took the same time and whose responses have bytes together.
func (m *metrics) answered(key int16, took time.Duration, n, bytes int) {
	a := &m.apis[key]
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	a.buckets[i].Add(uint64(n))
	a.nanos.Add(int64(took) * int64(n))
	a.out.Add(uint64(bytes))
}

// arrived counts the bytes of requests.
func (m *metrics) arrived(key int16, bytes int) { m.apis[key].in.Add(uint64(bytes)) }

// error counts an error code in a response. It looks its label up: errors are rare.
func (m *metrics) error(key, code int16) {
	m.errors.WithLabelValues(m.apis[key].name, strconv.Itoa(int(code))).Inc()
}
