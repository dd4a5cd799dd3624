package rpc

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what goes wrong between nodes.
type Metrics struct {
	refused *prometheus.CounterVec
	redials *prometheus.CounterVec
}

// NewMetrics returns the metrics of a node, registered with r unless that is nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_rpc_refused_total",
			Help: "Calls between nodes that were refused because an identity did not match, by reason.",
		}, []string{"reason"}),
		redials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_rpc_redials_total",
			Help: "Connections to a peer that were given up after calls in a row had no answer.",
		}, []string{"peer"}),
	}
	if r != nil {
		r.MustRegister(m.refused, m.redials)
	}
	return m
}
