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
		SegmentIndexBytes: t.SegmentIndexBytes, IndexIntervalBytes: t.IndexIntervalBytes,
		RetentionMillis: -1, RetentionBytes: -1,
		FileDeleteDelay: time.Duration(t.FileDeleteDelayMillis) * time.Millisecond,
		WriteCaching:    t.WriteCaching, FlushMessages: t.FlushMessages, FlushMillis: t.FlushMillis,
		LogAppendTime: t.LogAppendTime(), Preallocate: t.Preallocate,
		Compacted: t.Compacted(), DeleteRetentionMillis: t.DeleteRetentionMillis, MinCleanableDirtyRatio: t.MinCleanableDirtyRatio,
		MinCompactionLagMillis: t.MinCompactionLagMillis, MaxCompactionLagMillis: t.MaxCompactionLagMillis,
	}
	if t.Deleting() {
		o.RetentionMillis, o.RetentionBytes = t.RetentionMillis, t.RetentionBytes
	}
	return o
}
