package listener

import "github.com/prometheus/client_golang/prometheus"

// metrics are a listener's counters.
type metrics struct {
	open                       prometheus.Gauge
	accepted, refused, garbage prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "chronik_kafka_connections", Help: "Client connections that are open.",
		}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_kafka_connections_accepted_total", Help: "Client connections that were accepted.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_kafka_connections_refused_total", Help: "Client connections that were closed at once: too many, or stopping.",
		}),
		garbage: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_kafka_connections_garbage_total", Help: "Client connections that were closed because they sent no request of Kafka's protocol.",
		}),
	}
	r.MustRegister(m.open, m.accepted, m.refused, m.garbage)
	return m
}
