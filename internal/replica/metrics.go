package replica

import "github.com/prometheus/client_golang/prometheus"

// metrics are a manager's counters: sums over its partitions, so that their number is bounded.
type metrics struct {
	appendedBytes          prometheus.Counter
	created, deleted, lost prometheus.Counter
}

func newMetrics(r prometheus.Registerer, m *Manager) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string, counts func(p *Partition, v *view) bool) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			n := 0
			for _, p := range m.all() {
				if counts(p, p.view.Load()) {
					n++
				}
			}
			return float64(n)
		}))
	}
	gauge("chronik_replica_partitions", "Partitions of which this broker has a replica.",
		func(*Partition, *view) bool { return true })
	gauge("chronik_replica_leaders", "Partitions that this broker leads and serves.",
		func(_ *Partition, v *view) bool { return v.err == nil })
	gauge("chronik_replica_offline", "Partitions whose log is lost or has failed here.",
		func(_ *Partition, v *view) bool { return v.err != nil && v.err != ErrOpening && v.err != ErrNotLeader })
	return &metrics{
		appendedBytes: counter("chronik_replica_appended_bytes_total", "Bytes of batches appended as leader."),
		created:       counter("chronik_replica_logs_created_total", "Logs created for new partitions."),
		deleted:       counter("chronik_replica_logs_deleted_total", "Logs deleted with their partitions."),
		lost:          counter("chronik_replica_logs_lost_total", "Partitions that should have a log here and have none."),
	}
}
