package raftstore

import "github.com/prometheus/client_golang/prometheus"

// Metrics measures the writes of the metadata log.
type Metrics struct {
	writes *prometheus.HistogramVec
	stalls prometheus.Counter
}

// NewMetrics returns the metrics of a node, registered with r unless that is nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		writes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "chronik_raft_store_write_seconds",
			Help:    "Time of a durable write to the metadata log's store, by operation: store, delete, set.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}, []string{"operation"}),
		stalls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_raft_store_stalls_total",
			Help: "Appends to the metadata log that missed their deadline.",
		}),
	}
	if r != nil {
		r.MustRegister(m.writes, m.stalls)
	}
	return m
}
