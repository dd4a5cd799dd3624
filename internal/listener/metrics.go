package listener

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/memory"
)

// metrics are a listener's counters.
type metrics struct {
	open              prometheus.Gauge
	accepted, garbage prometheus.Counter
	refused, blocked  *prometheus.CounterVec // by why
}

func newMetrics(r prometheus.Registerer, a *memory.Account) *metrics {
	m := &metrics{
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "chronik_kafka_connections", Help: "Client connections that are open.",
		}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_kafka_connections_accepted_total", Help: "Client connections that were accepted.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_kafka_connections_refused_total", Help: "Client connections that were closed at once, by reason: too many of one address, or a stop.",
		}, []string{"reason"}),
		blocked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_kafka_accept_blocked_seconds_total", Help: "How long connections have waited to be accepted, by the property that bounds them.",
		}, []string{"reason"}),
		garbage: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_kafka_connections_garbage_total", Help: "Client connections that were closed because they sent no request of Kafka's protocol.",
		}),
	}
	for _, why := range []string{byStop, byIP} {
		m.refused.WithLabelValues(why)
	}
	for _, why := range []string{byTotal, byRate} {
		m.blocked.WithLabelValues(why)
	}
	gauge := func(name, help string, f func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(f()) })
	}
	r.MustRegister(
		gauge("chronik_client_memory_bytes", "Memory that requests and responses of clients hold now.", a.Used),
		gauge("chronik_client_memory_limit_bytes", "The most that they may hold, by queued.max.request.bytes and memory.limit.", a.Limit),
		gauge("chronik_client_memory_waiting", "Requests that wait for memory.", func() int64 { return int64(a.Waiting()) }),
	)
	r.MustRegister(m.open, m.accepted, m.refused, m.blocked, m.garbage)
	return m
}
