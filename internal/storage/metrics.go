package storage

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the directory's; none has a label whose values grow with topics or partitions.
type metrics struct {
	fsync      prometheus.Histogram
	rounds     prometheus.Counter
	checkpoint prometheus.Histogram

	appendedBatches prometheus.Counter
	appendedBytes   prometheus.Counter
	duplicates      prometheus.Counter
	rolls           prometheus.Counter
	failures        prometheus.Counter
	readErrors      prometheus.Counter
	corruptions     prometheus.Counter
	indexRebuilds   prometheus.Counter
	cleanings       prometheus.Counter
	cleanerSeconds  prometheus.Counter
	cleanerRead     prometheus.Counter
	cleanerWrote    prometheus.Counter
	cleanerRemoved  prometheus.Counter
	dirtyRatio      prometheus.Gauge
	deleted         *prometheus.CounterVec // by reason

	recovered       *prometheus.CounterVec // by how
	recoveryScanned prometheus.Counter
	recoveryCut     prometheus.Counter
	recoverySeconds prometheus.Gauge
}

// Values of the labels.
const (
	deletedByTime, deletedBySize, deletedByStart       = "retention_time", "retention_size", "log_start"
	deletedByTruncation, deletedByCompaction           = "truncation", "compaction"
	recoveredClean, recoveredScanned, recoveredOffline = "clean", "scanned", "offline"
)

func newMetrics(r prometheus.Registerer, d *Directory) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "chronik", Subsystem: "log", Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "chronik", Subsystem: "log", Name: name, Help: help}, []string{label})
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "chronik", Subsystem: "log", Name: name, Help: help,
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 10},
		})
	}
	m := &metrics{
		fsync:           seconds("fsync_seconds", "Time of an fdatasync of a segment file."),
		rounds:          counter("flush_rounds_total", "Rounds of flushes by the committer."),
		checkpoint:      seconds("checkpoint_seconds", "Time to write the recovery points."),
		appendedBatches: counter("appended_batches_total", "Record batches appended."),
		appendedBytes:   counter("appended_bytes_total", "Bytes appended."),
		duplicates:      counter("duplicate_batches_total", "Batches of idempotent producers that were in the log already."),
		rolls:           counter("segment_rolls_total", "Segments begun because the one before was full or old."),
		failures:        counter("failures_total", "Logs fenced by a disk failure."),
		readErrors:      counter("read_errors_total", "Reads that the disk failed."),
		corruptions:     counter("corrupt_batches_total", "Damaged batches met by reads and by recovery."),
		indexRebuilds:   counter("index_rebuilds_total", "Indexes that did not fit the data and were made anew."),
		cleanings:       counter("cleanings_total", "Passes of compaction over a log."),
		cleanerSeconds:  counter("cleaner_seconds_total", "Time spent on passes of compaction, waits of the throttle included."),
		cleanerRead:     counter("cleaner_read_bytes_total", "Bytes of segments that compaction has written anew."),
		cleanerWrote:    counter("cleaner_written_bytes_total", "Bytes that compaction has written in their place."),
		cleanerRemoved:  counter("cleaner_removed_records_total", "Records removed by compaction."),
		dirtyRatio:      prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "chronik", Subsystem: "log", Name: "cleaner_max_dirty_ratio", Help: "Dirty share of the compacted log that has the largest, when the cleaner looked last."}),
		deleted:         vec("segments_deleted_total", "Segments deleted.", "reason"),
		recovered:       vec("recovered_total", "Logs opened at the start.", "how"),
		recoveryScanned: counter("recovery_scanned_bytes_total", "Bytes that recovery read and checked."),
		recoveryCut:     counter("recovery_truncated_bytes_total", "Bytes that recovery cut off as torn writes."),
		recoverySeconds: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "chronik", Subsystem: "log", Name: "recovery_seconds", Help: "Time that opening all logs took at the start."}),
	}
	for _, reason := range []string{deletedByTime, deletedBySize, deletedByStart, deletedByTruncation, deletedByCompaction} {
		m.deleted.WithLabelValues(reason)
	}
	for _, how := range []string{recoveredClean, recoveredScanned, recoveredOffline} {
		m.recovered.WithLabelValues(how)
	}
	if r != nil {
		m.register(r, d)
	}
	return m
}

// register shows the metrics, and gauges that are computed when they are asked for.
func (m *metrics) register(r prometheus.Registerer, d *Directory) {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "chronik", Subsystem: "log", Name: name, Help: help}, value)
	}
	sum := func(f func(*Log) int64) func() float64 {
		return func() float64 {
			var n int64
			for _, l := range d.Logs() {
				n += f(l)
			}
			return float64(n)
		}
	}
	r.MustRegister(m.fsync, m.rounds, m.checkpoint, m.appendedBatches, m.appendedBytes, m.duplicates, m.rolls, m.failures,
		m.readErrors, m.corruptions, m.indexRebuilds, m.cleanings, m.cleanerSeconds, m.cleanerRead, m.cleanerWrote, m.cleanerRemoved, m.dirtyRatio, m.deleted, m.recovered, m.recoveryScanned, m.recoveryCut, m.recoverySeconds,
		gauge("partitions", "Logs in the directory.", sum(func(*Log) int64 { return 1 })),
		gauge("partitions_offline", "Logs that take no appends because the disk failed them or their data is damaged.", sum(func(l *Log) int64 {
			if l.failure.Load() != nil {
				return 1
			}
			return 0
		})),
		gauge("uncleanable_partitions", "Logs that compaction has failed on and leaves alone until the next start.", sum(func(l *Log) int64 {
			if l.uncleanable.Load() {
				return 1
			}
			return 0
		})),
		gauge("segments", "Segment files.", sum(func(l *Log) int64 { return int64(l.Segments()) })),
		gauge("bytes", "Bytes in segment files.", sum((*Log).Size)),
		gauge("open_segments", "Segment files kept open.", func() float64 { return float64(d.files.len()) }),
		gauge("dir_free_bytes", "Free space of the file system that holds the data directory.", func() float64 {
			_, free, _ := d.fs.Usage(d.path)
			return float64(free)
		}),
		gauge("dir_total_bytes", "Size of the file system that holds the data directory.", func() float64 {
			total, _, _ := d.fs.Usage(d.path)
			return float64(total)
		}),
	)
}

// appended counts an append.
func (m *metrics) appended(batches int, bytes int64) {
	m.appendedBatches.Add(float64(batches))
	m.appendedBytes.Add(float64(bytes))
}
