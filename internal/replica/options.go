package replica

import (
	"time"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/storage"
)

// logOptions gives a log what concerns it of its topic's settings.
func logOptions(t *config.Topic) storage.LogOptions {
	o := storage.LogOptions{
		SegmentBytes: t.SegmentBytes, SegmentMillis: t.SegmentMillis, SegmentJitter: t.SegmentJitterMillis,
		SegmentIndexBytes: t.SegmentIndexBytes, IndexIntervalBytes: max(t.IndexIntervalBytes, 1),
		RetentionMillis: -1, RetentionBytes: -1,
		FileDeleteDelay: time.Duration(t.FileDeleteDelayMillis) * time.Millisecond,
		WriteCaching:    t.Caches(), FlushMessages: t.FlushMessages, FlushMillis: max(t.FlushMillis, 1),
		LogAppendTime: t.LogAppendTime(), Preallocate: t.Preallocate,
		Compacted: t.Compacted(), DeleteRetentionMillis: t.DeleteRetentionMillis, MinCleanableDirtyRatio: t.MinCleanableDirtyRatio,
		MinCompactionLagMillis: t.MinCompactionLagMillis, MaxCompactionLagMillis: t.MaxCompactionLagMillis,
	}
	if t.Deleting() {
		o.RetentionMillis, o.RetentionBytes = retention(t.RetentionMillis), retention(t.RetentionBytes)
	}
	return o
}

// retention is a setting of retention as the log understands it.
func retention(v int64) int64 {
	if v == 0 {
		return storage.RetainNothing
	}
	return v
}
