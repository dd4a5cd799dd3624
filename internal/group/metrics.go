package group

import "github.com/prometheus/client_golang/prometheus"

// Metrics of all groups of a broker; its machines share them.
type Metrics struct {
	groups                                  prometheus.Gauge
	rebalances, evictions, commits, expired prometheus.Counter
}

// NewMetrics returns the metrics, registered with reg unless that is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_group_" + name, Help: help})
	}
	m := &Metrics{
		groups: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "chronik_group_groups", Help: "Consumer groups that this broker coordinates.",
		}),
		rebalances: counter("rebalances_total", "Rebalances that ended with an assignment."),
		evictions:  counter("evictions_total", "Members removed because they were not heard of in time."),
		commits:    counter("offset_commits_total", "Offsets committed."),
		expired:    counter("expired_records_total", "Offsets and groups removed because their retention was over."),
	}
	if reg != nil {
		reg.MustRegister(m.groups, m.rebalances, m.evictions, m.commits, m.expired)
	}
	return m
}
