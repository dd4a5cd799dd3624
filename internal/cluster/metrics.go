package cluster

import "github.com/prometheus/client_golang/prometheus"

// metrics are those of the controller, of the sessions and of this node's part in
// the Raft group; the transport and the stores have their own.
type metrics struct {
	elected       prometheus.Counter
	restarts      prometheus.Counter
	active        prometheus.Gauge
	queueDepth    *prometheus.GaugeVec
	entryCommands prometheus.Histogram
	entryBytes    prometheus.Histogram
	applySeconds  prometheus.Histogram
	fencedEntries prometheus.Counter
	mismatches    prometheus.Counter
	fenced        *prometheus.CounterVec
	lateness      prometheus.Histogram
	submitSeconds prometheus.Histogram
	submitRetries prometheus.Counter
	catchUpMissed prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 14)
	m := &metrics{
		elected:  counter("chronik_raft_elections_won_total", "Elections of the metadata log that this node won."),
		restarts: counter("chronik_raft_restarts_total", "Restarts of Raft in place, after a late write or a snapshot that conflicted with the log."),
		active:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_controller_active", Help: "1 on the node whose controller is active, else 0."}),
		queueDepth: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "chronik_controller_queue_depth", Help: "Commands that wait for the controller, by class: urgent, broker, client.",
		}, []string{"class"}),
		entryCommands: histogram("chronik_controller_entry_commands", "Commands answered by one entry.", prometheus.ExponentialBuckets(1, 2, 13)),
		entryBytes:    histogram("chronik_controller_entry_bytes", "Size of an entry.", prometheus.ExponentialBuckets(64, 4, 8)),
		applySeconds:  histogram("chronik_controller_apply_seconds", "Time from the proposal of an entry until it is applied.", seconds),
		fencedEntries: counter("chronik_controller_fenced_entries_total", "Entries that were dropped because they were decided in another term."),
		mismatches:    counter("chronik_controller_image_digest_mismatch_total", "Brokers found to have another image than the controller at the same index."),
		fenced: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_session_ended_total", Help: "Brokers that this controller had fenced, by cause: expired, storage, goodbye, other.",
		}, []string{"cause"}),
		lateness:      histogram("chronik_session_lateness_seconds", "Pauses of this process that prolonged broker sessions.", prometheus.ExponentialBuckets(0.1, 2, 10)),
		submitSeconds: histogram("chronik_controller_submit_seconds", "Time of a command of this node, from its arrival to the controller's answer.", seconds),
		submitRetries: counter("chronik_controller_submit_retries_total", "Commands of this node that were sent to a controller again."),
		catchUpMissed: counter("chronik_controller_catch_up_missed_total", "Answers given before this node's own image held their effect."),
	}
	r.MustRegister(m.elected, m.restarts, m.active, m.queueDepth, m.entryCommands, m.entryBytes, m.applySeconds,
		m.fencedEntries, m.mismatches, m.fenced, m.lateness, m.submitSeconds, m.submitRetries, m.catchUpMissed)
	return m
}

// watchRaft registers what is read from the running raft instance when it is asked for.
func (c *Cluster) watchRaft(r prometheus.Registerer) {
	gauge := func(name, help string, read func(*instance) float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if inst := c.member.current.Load(); inst != nil {
				return read(inst)
			}
			return 0
		}))
	}
	gauge("chronik_raft_state", "State of Raft on this node: 0 follower, 1 candidate, 2 leader, 3 stopped.",
		func(i *instance) float64 { return float64(i.raft.State()) })
	gauge("chronik_raft_term", "Raft's current term.", func(i *instance) float64 { return float64(i.raft.CurrentTerm()) })
	gauge("chronik_raft_commit_index", "Index up to which the metadata log is known to be committed.",
		func(i *instance) float64 { return float64(i.raft.CommitIndex()) })
	gauge("chronik_raft_last_index", "Last index of the metadata log.", func(i *instance) float64 { return float64(i.raft.LastIndex()) })
	gauge("chronik_raft_applied_index", "Last index handed to the metadata image.", func(i *instance) float64 { return float64(i.raft.AppliedIndex()) })
	gauge("chronik_raft_last_contact_ms", "Milliseconds since the leader was heard; 0 on the leader.", lastContact)
	gauge("chronik_metadata_image_index", "Index of the image that brokers read on this node.",
		func(*instance) float64 { return float64(c.Image().Index()) })
}
