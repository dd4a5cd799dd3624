package config

import (
	"fmt"
	"strings"
)

// topicProperties declare every topic configuration of Kafka 4.4, and Chronik's own: write.caching, produce.validation.
//
// house: long because it is a table.
func topicProperties() []Property {
	return []Property{
		{
			Name: "cleanup.policy", Type: List, Limit: cleanupPolicy(), Synonyms: []string{"log.cleanup.policy"},
			Doc:   "What becomes of old records: delete removes segments that retention lets go, compact all records of a key but the last; compact,delete does both.",
			topic: func(t *Topic) any { return &t.CleanupPolicy }, from: func(s *Settings) any { return &s.LogCleanupPolicy },
		},
		{
			Name: "compression.gzip.level", Type: Int, Limit: checkedLevel(-1, 1, 9), Synonyms: []string{"compression.gzip.level"},
			Doc:   "The level of gzip where compression.type is gzip.",
			topic: func(t *Topic) any { return &t.CompressionGzipLevel }, from: func(s *Settings) any { return &s.CompressionGzipLevel },
		},
		{
			Name: "compression.lz4.level", Type: Int, Limit: between(1, 17), Synonyms: []string{"compression.lz4.level"},
			Doc:   "The level of lz4 where compression.type is lz4.",
			topic: func(t *Topic) any { return &t.CompressionLZ4Level }, from: func(s *Settings) any { return &s.CompressionLZ4Level },
		},
		{
			Name: "compression.type", Type: String, Synonyms: []string{"compression.type"},
			Limit: oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
			Doc:   "How batches are compressed in the log; producer: as they came. A batch that comes otherwise is opened and compressed anew, which costs more than all else that is done with it.",
			topic: func(t *Topic) any { return &t.CompressionType }, from: func(s *Settings) any { return &s.CompressionType },
		},
		{
			Name: "compression.zstd.level", Type: Int, Limit: between(-131072, 22), Synonyms: []string{"compression.zstd.level"},
			Doc:   "The level of zstd where compression.type is zstd.",
			topic: func(t *Topic) any { return &t.CompressionZstdLevel }, from: func(s *Settings) any { return &s.CompressionZstdLevel },
		},
		{
			Name: "delete.retention.ms", Type: Long, Limit: atLeast(0), Synonyms: []string{"log.cleaner.delete.retention.ms"},
			Doc:   "How long compaction keeps the mark of a deleted key.",
			topic: func(t *Topic) any { return &t.DeleteRetentionMillis }, from: func(s *Settings) any { return &s.CleanerDeleteRetention },
		},
		{
			Name: "errors.deadletterqueue.group.enable", Type: Boolean, Default: "false",
			NoEffect: "Share groups are not there yet: it is kept and shown, and changes nothing.",
			Doc:      "Whether share groups may use the topic as their dead-letter queue.",
			topic:    func(t *Topic) any { return &t.DeadLetterQueue },
		},
		{
			Name: "file.delete.delay.ms", Type: Long, Limit: atLeast(0), Synonyms: []string{"log.segment.delete.delay.ms"},
			Doc:   "How long the files of a deleted segment stay on the disk, for readers that are in the middle of them.",
			topic: func(t *Topic) any { return &t.FileDeleteDelayMillis }, from: func(s *Settings) any { return &s.LogSegmentDeleteDelay },
		},
		{
			Name: "flush.messages", Type: Long, Limit: atLeast(1), Synonyms: []string{"log.flush.interval.messages"},
			Doc:   "With write.caching=true: after how many records of a partition they are flushed to the disk, if not sooner; 1 is the same as write.caching=false.",
			topic: func(t *Topic) any { return &t.FlushMessages }, from: func(s *Settings) any { return &s.LogFlushMessages },
		},
		{
			Name: "flush.ms", Type: Long, Limit: atLeast(0), Synonyms: []string{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
			Doc:   "With write.caching=true: after how long records are flushed to the disk, if not sooner.",
			topic: func(t *Topic) any { return &t.FlushMillis }, from: func(s *Settings) any { return &s.LogFlushMillis },
		},
		{
			Name: "follower.replication.throttled.replicas", Type: List, Limit: checked("* or partition:broker,...", checkThrottled), NoEffect: noReplicas,
			Doc:   "The replicas whose fetching is throttled, as partition:broker, or * for all.",
			topic: func(t *Topic) any { return &t.FollowerThrottledReplicas },
		},
		{
			Name: "index.interval.bytes", Type: Int, Limit: atLeast(0), Synonyms: []string{"log.index.interval.bytes"},
			Doc:   "After how many bytes of records the offset index gets an entry.",
			topic: func(t *Topic) any { return &t.IndexIntervalBytes }, from: func(s *Settings) any { return &s.LogIndexIntervalBytes },
		},
		{
			Name: "leader.replication.throttled.replicas", Type: List, Limit: checked("* or partition:broker,...", checkThrottled), NoEffect: noReplicas,
			Doc:   "The replicas whose serving of followers is throttled, as partition:broker, or * for all.",
			topic: func(t *Topic) any { return &t.LeaderThrottledReplicas },
		},
		{
			Name: "local.retention.bytes", Type: Long, Limit: atLeast(-2), Synonyms: []string{"log.local.retention.bytes"}, NoEffect: noTiering,
			Doc:   "How many bytes of a tiered partition stay on the local disk; -2: as retention.bytes.",
			topic: func(t *Topic) any { return &t.LocalRetentionBytes }, from: func(s *Settings) any { return &s.LocalRetentionBytes },
		},
		{
			Name: "local.retention.ms", Type: Long, Limit: atLeast(-2), Synonyms: []string{"log.local.retention.ms"}, NoEffect: noTiering,
			Doc:   "How long records of a tiered topic stay on the local disk; -2: as retention.ms.",
			topic: func(t *Topic) any { return &t.LocalRetentionMillis }, from: func(s *Settings) any { return &s.LocalRetentionMillis },
		},
		{
			Name: "max.compaction.lag.ms", Type: Long, Limit: atLeast(1), Synonyms: []string{"log.cleaner.max.compaction.lag.ms"},
			Doc:   "After how long a record is compacted at the latest.",
			topic: func(t *Topic) any { return &t.MaxCompactionLagMillis }, from: func(s *Settings) any { return &s.CleanerMaxCompactionLag },
		},
		{
			Name: "max.decompressed.message.bytes", Type: Int, Limit: atLeast(0), Synonyms: []string{"max.decompressed.message.bytes"},
			Doc:   "The most bytes the records of a batch may have when they are decompressed, where the broker does that: see produce.validation. It is 32 MiB at most.",
			topic: func(t *Topic) any { return &t.MaxDecompressedBytes }, from: func(s *Settings) any { return &s.MaxDecompressedBytes },
		},
		{
			Name: "max.message.bytes", Type: Int, Limit: atLeast(0), Synonyms: []string{"message.max.bytes"},
			Doc:   "The largest record batch in bytes, as the producer compressed it.",
			topic: func(t *Topic) any { return &t.MaxMessageBytes }, from: func(s *Settings) any { return &s.MessageMaxBytes },
		},
		{
			Name: "message.timestamp.after.max.ms", Type: Long, Limit: atLeast(0), Synonyms: []string{"log.message.timestamp.after.max.ms"},
			Doc:   "How far after the broker's clock a record's timestamp may lie with CreateTime.",
			topic: func(t *Topic) any { return &t.TimestampAfterMaxMillis }, from: func(s *Settings) any { return &s.LogTimestampAfterMax },
		},
		{
			Name: "message.timestamp.before.max.ms", Type: Long, Limit: atLeast(0), Synonyms: []string{"log.message.timestamp.before.max.ms"},
			Doc:   "How far before the broker's clock a record's timestamp may lie with CreateTime.",
			topic: func(t *Topic) any { return &t.TimestampBeforeMaxMillis }, from: func(s *Settings) any { return &s.LogTimestampBeforeMax },
		},
		{
			Name: "message.timestamp.type", Type: String, Limit: oneOf("CreateTime", "LogAppendTime"), Synonyms: []string{"log.message.timestamp.type"},
			Doc:   "Whether records keep their producer's timestamp or get the time of the append.",
			topic: func(t *Topic) any { return &t.TimestampType }, from: func(s *Settings) any { return &s.LogTimestampType },
		},
		{
			Name: "min.cleanable.dirty.ratio", Type: Double, Limit: fraction(), Synonyms: []string{"log.cleaner.min.cleanable.ratio"},
			Doc:   "How much of a log must be uncompacted before compaction takes it up.",
			topic: func(t *Topic) any { return &t.MinCleanableDirtyRatio }, from: func(s *Settings) any { return &s.CleanerMinCleanableRatio },
		},
		{
			Name: "min.compaction.lag.ms", Type: Long, Limit: atLeast(0), Synonyms: []string{"log.cleaner.min.compaction.lag.ms"},
			Doc:   "How long a record is safe from compaction.",
			topic: func(t *Topic) any { return &t.MinCompactionLagMillis }, from: func(s *Settings) any { return &s.CleanerMinCompactionLag },
		},
		{
			Name: "min.insync.replicas", Type: Int, Limit: atLeast(1), Synonyms: []string{"min.insync.replicas"},
			Doc:   "How many replicas must be in sync for a write with acks=all. Without it: 2 where the topic has 3 replicas or more, else 1.",
			topic: func(t *Topic) any { return &t.MinInsyncReplicas }, from: func(s *Settings) any { return &s.MinInsyncReplicas },
		},
		{
			Name: "preallocate", Type: Boolean, Synonyms: []string{"log.preallocate"},
			Doc:   "Whether the space of a segment is reserved when it is begun.",
			topic: func(t *Topic) any { return &t.Preallocate }, from: func(s *Settings) any { return &s.LogPreallocate },
		},
		{
			Name: "produce.validation", Type: String, Own: true, Limit: oneOf("header", "records"), Synonyms: []string{"produce.validation"},
			Doc: "What is checked of a produced batch. header: its header, length and CRC; a producer that compresses wrongly is found out by the consumers. " +
				"records: as in Kafka every record too, for which the batch is decompressed, which costs more than all else that is done with it. " +
				"Batches that are opened anyway (compaction, compression.type) are always checked in full.",
			topic: func(t *Topic) any { return &t.ProduceValidation }, from: func(s *Settings) any { return &s.ProduceValidation },
		},
		{
			Name: "remote.copy.lag.bytes", Type: Long, Limit: atLeast(-1), Synonyms: []string{"log.remote.copy.lag.bytes"}, NoEffect: noTiering,
			Doc:   "How many bytes of a tiered partition wait before they are copied.",
			topic: func(t *Topic) any { return &t.RemoteCopyLagBytes }, from: func(s *Settings) any { return &s.RemoteCopyLagBytes },
		},
		{
			Name: "remote.copy.lag.ms", Type: Long, Limit: atLeast(-1), Synonyms: []string{"log.remote.copy.lag.ms"}, NoEffect: noTiering,
			Doc:   "How long a finished segment of a tiered topic waits before it is copied.",
			topic: func(t *Topic) any { return &t.RemoteCopyLagMillis }, from: func(s *Settings) any { return &s.RemoteCopyLagMillis },
		},
		{
			Name: "remote.log.copy.disable", Type: Boolean, Default: "false", NoEffect: noTiering,
			Doc:   "Whether a tiered topic copies no more segments.",
			topic: func(t *Topic) any { return &t.RemoteLogCopyDisable },
		},
		{
			Name: "remote.log.delete.on.disable", Type: Boolean, Default: "false", NoEffect: noTiering,
			Doc:   "Whether the copies of a topic go when tiering is switched off for it.",
			topic: func(t *Topic) any { return &t.RemoteLogDeleteDisabled },
		},
		{
			Name: "remote.storage.enable", Type: Boolean, Default: "false",
			Doc:   "Whether the topic is tiered. true is refused until tiered storage is there.",
			topic: func(t *Topic) any { return &t.RemoteStorageEnable },
		},
		{
			Name: "retention.bytes", Type: Long, Limit: atLeast(-1), Synonyms: []string{"log.retention.bytes"},
			Doc:   "How many bytes of a partition are kept; -1: no limit.",
			topic: func(t *Topic) any { return &t.RetentionBytes }, from: func(s *Settings) any { return &s.LogRetentionBytes },
		},
		{
			Name: "retention.ms", Type: Long, Limit: atLeast(-1), Synonyms: []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
			Doc:   "How long records are kept, in milliseconds; -1: for ever.",
			topic: func(t *Topic) any { return &t.RetentionMillis }, from: func(s *Settings) any { return &s.LogRetentionMillis },
		},
		{
			Name: "segment.bytes", Type: Int, Limit: atLeast(1 << 20), Synonyms: []string{"log.segment.bytes"},
			Doc:   "The size in bytes at which a log goes on in a new segment file.",
			topic: func(t *Topic) any { return &t.SegmentBytes }, from: func(s *Settings) any { return &s.LogSegmentBytes },
		},
		{
			Name: "segment.index.bytes", Type: Int, Limit: atLeast(4), Synonyms: []string{"log.index.size.max.bytes"},
			Doc:   "The size in bytes at which a segment's offset index is full, and the segment ends.",
			topic: func(t *Topic) any { return &t.SegmentIndexBytes }, from: func(s *Settings) any { return &s.LogIndexSizeMaxBytes },
		},
		{
			Name: "segment.jitter.ms", Type: Long, Limit: atLeast(0), Synonyms: []string{"log.roll.jitter.ms", "log.roll.jitter.hours"},
			Doc:   "How much, drawn at random, is taken off segment.ms, so that not all segments end at once.",
			topic: func(t *Topic) any { return &t.SegmentJitterMillis }, from: func(s *Settings) any { return &s.LogRollJitterMillis },
		},
		{
			Name: "segment.ms", Type: Long, Limit: atLeast(1), Synonyms: []string{"log.roll.ms", "log.roll.hours"},
			Doc:   "The age in milliseconds at which a log goes on in a new segment file.",
			topic: func(t *Topic) any { return &t.SegmentMillis }, from: func(s *Settings) any { return &s.LogRollMillis },
		},
		{
			Name: "unclean.leader.election.enable", Type: Boolean, Synonyms: []string{"unclean.leader.election.enable"}, NoEffect: noReplicas,
			Doc:   "Whether a replica that is not in sync may become leader when no other is left, at the price of acknowledged records.",
			topic: func(t *Topic) any { return &t.UncleanLeaderElection }, from: func(s *Settings) any { return &s.UncleanLeaderElection },
		},
		{
			Name: "write.caching", Type: Boolean, Own: true, Synonyms: []string{"write.caching"},
			Doc: "false: a write is acknowledged, and can be read, when it is on the disk. " +
				"true: when it is in the system's cache; it is on the disk within 256 KiB or 100 ms, and lost if the power fails before.",
			topic: func(t *Topic) any { return &t.WriteCaching }, from: func(s *Settings) any { return &s.WriteCaching },
		},
	}
}

func cleanupPolicy() Limit {
	return Limit{"delete, compact or both", func(v any) error {
		list, _ := v.([]string)
		if len(list) == 0 {
			return fmt.Errorf("must be delete, compact or both")
		}
		for _, p := range list {
			if p != "delete" && p != "compact" {
				return fmt.Errorf("must be delete, compact or both, not %q", p)
			}
		}
		return nil
	}}
}

// checkedLevel allows one special value below a range, as gzip's -1 is.
func checkedLevel(special, low, high int64) Limit {
	return Limit{fmt.Sprintf("%d or [%d,...,%d]", special, low, high), func(v any) error {
		if n, ok := v.(int64); ok && n != special && (n < low || n > high) {
			return fmt.Errorf("must be %d or lie between %d and %d", special, low, high)
		}
		return nil
	}}
}

func checkThrottled(s string) error {
	if s == "*" {
		return nil
	}
	partition, broker, ok := strings.Cut(s, ":")
	for _, n := range []string{partition, broker} {
		if _, err := parseInt(n, 32); err != nil || strings.HasPrefix(n, "-") {
			ok = false
		}
	}
	if !ok {
		return fmt.Errorf("must be * or a list of partition:broker, not %q", s)
	}
	return nil
}
