package raftrpc

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what the transport sees.
type Metrics struct {
	elections      *prometheus.CounterVec
	gated          prometheus.Counter
	trimmed        prometheus.Counter
	pipelineBreaks prometheus.Counter
	snapshotsSent  *prometheus.CounterVec
	snapshotsIn    *prometheus.CounterVec
	snapshotBytes  *prometheus.CounterVec
}

// NewMetrics returns the metrics of a node, registered with r unless that is nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &Metrics{
		elections:      vec("chronik_raft_elections_total", "Elections this node stood for, by cause: timeout, dead, transfer, founding.", "cause"),
		gated:          counter("chronik_raft_gate_heartbeats_total", "Heartbeats answered while Raft was busy storing what the same leader had sent."),
		trimmed:        counter("chronik_raft_append_trimmed_total", "AppendEntries calls cut to the size limit; the rest follows in the next call."),
		pipelineBreaks: counter("chronik_raft_pipeline_breaks_total", "Append pipelines that ended with an error; replication goes on call by call."),
		snapshotsSent:  vec("chronik_raft_snapshots_sent_total", "Snapshots sent to followers, by outcome: installed, refused, failed.", "outcome"),
		snapshotsIn:    vec("chronik_raft_snapshots_received_total", "Snapshots received from a leader, by outcome: installed, held, conflict, refused, failed.", "outcome"),
		snapshotBytes:  vec("chronik_raft_snapshot_bytes_total", "Bytes of snapshots, by direction: in, out.", "direction"),
	}
	if r != nil {
		r.MustRegister(m.elections, m.gated, m.trimmed, m.pipelineBreaks, m.snapshotsSent, m.snapshotsIn, m.snapshotBytes)
	}
	return m
}
