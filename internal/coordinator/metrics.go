package coordinator

import "github.com/prometheus/client_golang/prometheus"

// metrics of one runtime; the label topic tells runtimes apart.
type metrics struct {
	active, loading            prometheus.Gauge
	events, appends, records   prometheus.Counter
	timeouts, overloaded       prometheus.Counter
	commitSeconds, loadSeconds prometheus.Histogram
}

func newMetrics(topic string, reg prometheus.Registerer) *metrics {
	labels := prometheus.Labels{"topic": topic}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_coordinator_" + name, Help: help, ConstLabels: labels})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_coordinator_" + name, Help: help, ConstLabels: labels})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "chronik_coordinator_" + name, Help: help, ConstLabels: labels,
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		})
	}
	m := &metrics{
		active:        gauge("active_shards", "Shards that take events."),
		loading:       gauge("loading_shards", "Shards that read their log."),
		events:        counter("events_total", "Events handed to the machines of all shards."),
		appends:       counter("appends_total", "Batches appended by all shards."),
		records:       counter("records_total", "Records appended by all shards."),
		timeouts:      counter("write_timeouts_total", "Replies given up because their records were not committed in time."),
		overloaded:    counter("overloaded_total", "Events refused because a shard's mailbox was full."),
		commitSeconds: histogram("commit_seconds", "Time from the append of a batch until the high watermark passed it."),
		loadSeconds:   histogram("load_seconds", "Time a shard took to load its state from the log."),
	}
	if reg != nil {
		reg.MustRegister(m.active, m.loading, m.events, m.appends, m.records, m.timeouts, m.overloaded, m.commitSeconds, m.loadSeconds)
	}
	return m
}
