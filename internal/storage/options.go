package storage

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// LogID names a log: the partition and the incarnation of its topic.
type LogID struct {
	Topic     string
	Partition int32
	TopicID   [16]byte
}

// String returns topic-partition, which is also the name of the log's directory.
func (id LogID) String() string { return fmt.Sprintf("%s-%d", id.Topic, id.Partition) }

// RetainNothing is what retention.ms=0 and retention.bytes=0 are in LogOptions, where 0 stands for the default.
const RetainNothing = math.MinInt64

// LogOptions are the topic properties that matter to a log, named as Kafka's. A zero
// value stands for Kafka's default.
type LogOptions struct {
	SegmentBytes       int32 // segment.bytes; default 1 GiB
	SegmentMillis      int64 // segment.ms, by the wall clock since the segment was begun, or by the timestamps since its first batch; default 7 days
	SegmentJitter      int64 // segment.jitter.ms, at most SegmentMillis: as much as that is taken off it at random
	SegmentIndexBytes  int32 // segment.index.bytes; default 10 MiB
	IndexIntervalBytes int32 // index.interval.bytes; default 4096

	RetentionMillis int64         // retention.ms; -1 for ever; default for ever, the caller sets Kafka's 7 days
	RetentionBytes  int64         // retention.bytes; -1 for no limit; default no limit
	FileDeleteDelay time.Duration // file.delete.delay.ms; 0 deletes files as soon as the background gets to it

	// WriteCaching lets the flush follow an append by up to 256 KiB or 100 ms, or FlushMessages or
	// FlushMillis if they are less (write.caching, flush.messages, flush.ms). Without it every
	// append asks for a flush at once.
	WriteCaching  bool
	FlushMessages int64
	FlushMillis   int64

	Compacted              bool    // cleanup.policy has compact
	DeleteRetentionMillis  int64   // delete.retention.ms; 0 lets tombstones go the second time they are met
	MinCompactionLagMillis int64   // min.compaction.lag.ms
	MaxCompactionLagMillis int64   // max.compaction.lag.ms; default no limit
	MinCleanableDirtyRatio float64 // min.cleanable.dirty.ratio

	LogAppendTime bool // message.timestamp.type=LogAppendTime
	Preallocate   bool // preallocate: reserve a segment's space in full steps from its begin
}

// DirectoryOptions are what a Directory needs.
type DirectoryOptions struct {
	FS   vfs.FS
	Path string // the data directory; it must exist

	Clock      clock.Clock           // nil: the machine's
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: metrics are kept and not shown

	// OnFlush is called at the end of a round of flushes with the logs whose flushed offset has
	// moved, from one goroutine at a time. The slice is the callee's to read until it returns. It
	// must not call Flush or Close, which wait for the round.
	OnFlush func(moved []*Log)
	// OnFail is called once for a log that was fenced by a disk failure, from any goroutine, with none of
	// its locks held but perhaps its maintenance: it must not truncate, trim, delete or close the log
	// itself. It is not called for logs that Recover could not recover; their Err tells.
	OnFail func(l *Log, err error)

	// Clean tells that the last stop was clean and that no later start has touched the directory
	// (LoadCleanShutdown). Logs are then opened without reading their data.
	Clean bool
	// BootID tells one boot of the machine from another (BootID); empty where unknown. If it has
	// not changed since the last run, the page cache has not been lost, and damage that only the
	// loss of power explains is corruption.
	BootID string

	// Defaults are the options of the logs that Recover finds, until SetOptions.
	Defaults LogOptions

	Cleaner CleanerOptions

	RecoveryThreads    int           // logs recovered at once; default 8
	FlushThreads       int           // fdatasyncs at once; default 8
	MaxOpenFiles       int           // segment files kept open while nobody uses them; default 4096
	RetentionInterval  time.Duration // between two runs of retention; default 5 min
	CheckpointInterval time.Duration // between two recovery-point checkpoints while logs grow; default 1 s
	ProducerExpiration time.Duration // producer ids silent for longer are forgotten; default 24 h
	StrayDelay         time.Duration // how long a stray log's files are kept; default 10 min
}
