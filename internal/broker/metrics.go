package broker

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the broker's counters. Everything that a request touches is bound to its
// API when the broker is made, so no label is looked up on the way. Labels are the names of
// the table's rows: nothing that a client sends becomes a label.
type metrics struct {
	apis   [wireKeys]apiMetrics
	errors *prometheus.CounterVec
	names  [wireKeys]string
}

type apiMetrics struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
	in, out  prometheus.Counter
}

func newMetrics(r prometheus.Registerer, rows []row) *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_kafka_requests_total", Help: "Requests answered, by API.",
	}, []string{"api"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "chronik_kafka_request_seconds", Help: "Time from the read that brought a request to its response, by API; waits the client asked for are in it.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"api"})
	out := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_kafka_response_bytes_total", Help: "Bytes of responses, by API, records sent from files included.",
	}, []string{"api"})
	in := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_kafka_request_bytes_total", Help: "Bytes of requests, by API.",
	}, []string{"api"})
	m := &metrics{errors: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chronik_kafka_errors_total", Help: "Error codes given to clients in Produce and Fetch responses, a partition each, by API and code.",
	}, []string{"api", "code"})}
	r.MustRegister(requests, seconds, in, out, m.errors)
	for _, row := range rows {
		m.names[row.key] = row.name
		m.apis[row.key] = apiMetrics{requests.WithLabelValues(row.name), seconds.WithLabelValues(row.name), in.WithLabelValues(row.name), out.WithLabelValues(row.name)}
	}
	return m
}

// done counts a request whose response is complete.
func (m *metrics) done(key int16, start time.Time, bytes int) {
	m.answered(key, time.Since(start).Seconds(), 1, bytes)
}

// answered counts n requests that took the same time and whose responses have bytes together.
func (m *metrics) answered(key int16, seconds float64, n, bytes int) {
	a := &m.apis[key]
	a.requests.Add(float64(n))
	for range n {
		a.seconds.Observe(seconds)
	}
	a.out.Add(float64(bytes))
}

// error counts an error code in a response. It looks its label up: errors are rare.
func (m *metrics) error(key, code int16) {
	m.errors.WithLabelValues(m.names[key], strconv.Itoa(int(code))).Inc()
}
