package config

const (
	noTiering  = "Tiered storage is not there yet: it is kept and shown, and changes nothing."
	noReplicas = "Replication of partitions is not there yet: until then it is kept and shown, and changes nothing."
)

// logProperties declare how partitions are kept on disk; most give topics their defaults.
//
// house: long because it is a table.
func logProperties() []Property {
	return []Property{
		{
			Name: "write.caching", Type: Boolean, Default: "false", Own: true, Change: ClusterWide,
			Doc: "The default of topics' write.caching. false: a write is acknowledged, and can be read, when it is on the disk. " +
				"true: when it is in the system's cache; it is on the disk within 256 KiB or 100 ms, and lost if the power fails before.",
			field: func(s *Settings) any { return &s.WriteCaching },
		},
		{
			Name: "produce.validation", Type: String, Default: "header", Own: true, Limit: oneOf("header", "records"), Change: ClusterWide,
			Doc:   "The default of topics' produce.validation: header checks the header, length and CRC of a produced batch, records every record in it too, as Kafka does.",
			field: func(s *Settings) any { return &s.ProduceValidation },
		},
		{
			Name: "min.insync.replicas", Type: Int, Unset: true, Kafka: "1", Limit: atLeast(1), Change: ClusterWide,
			Doc:   "How many replicas must be in sync for a write with acks=all. Without it: 2 where a topic has 3 replicas or more, else 1.",
			field: func(s *Settings) any { return &s.MinInsyncReplicas },
		},
		{
			Name: "message.max.bytes", Type: Int, Default: "1048588", Limit: atLeast(0), Change: ClusterWide,
			Doc:   "The largest record batch in bytes, as the producer compressed it.",
			field: func(s *Settings) any { return &s.MessageMaxBytes },
		},
		{
			Name: "max.decompressed.message.bytes", Type: Int, Default: "2147483639", Limit: atLeast(0), Change: ClusterWide,
			Doc:   "The most bytes the records of a batch may have when they are decompressed, where the broker does that: see produce.validation. It is 32 MiB at most.",
			field: func(s *Settings) any { return &s.MaxDecompressedBytes },
		},
		{
			Name: "compression.type", Type: String, Default: "producer", Change: ClusterWide,
			Limit: oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
			Doc:   "How batches are compressed in the log; producer: as they came.",
			field: func(s *Settings) any { return &s.CompressionType },
		},
		{
			Name: "compression.gzip.level", Type: Int, Default: "-1", Change: ClusterWide,
			Limit: checkedLevel(-1, 1, 9), Doc: "The level of gzip where compression.type is gzip.",
			field: func(s *Settings) any { return &s.CompressionGzipLevel },
		},
		{
			Name: "compression.lz4.level", Type: Int, Default: "9", Change: ClusterWide,
			Limit: between(1, 17), Doc: "The level of lz4 where compression.type is lz4.",
			field: func(s *Settings) any { return &s.CompressionLZ4Level },
		},
		{
			Name: "compression.zstd.level", Type: Int, Default: "3", Change: ClusterWide,
			Limit: between(-131072, 22), Doc: "The level of zstd where compression.type is zstd.",
			field: func(s *Settings) any { return &s.CompressionZstdLevel },
		},
		{
			Name: "unclean.leader.election.enable", Type: Boolean, Default: "false", Change: ClusterWide, NoEffect: noReplicas,
			Doc:   "Whether a replica that is not in sync may become leader when no other is left, at the price of acknowledged records.",
			field: func(s *Settings) any { return &s.UncleanLeaderElection },
		},
		{
			Name: "producer.id.expiration.ms", Type: Int, Default: "86400000", Limit: atLeast(1), Change: ClusterWide,
			Doc:   "How long a partition remembers an idempotent producer that has stopped writing to it.",
			field: func(s *Settings) any { return &s.ProducerIDExpiration },
		},
		{
			Name: "num.recovery.threads.per.data.dir", Type: Int, Default: "8", Kafka: "2", Limit: between(1, 256), Change: ClusterWide,
			Doc:   "How many logs are opened and recovered at once at a start. What is set at run time is kept and shown, and changes nothing: logs are recovered before a node knows what was set.",
			field: func(s *Settings) any { return &s.RecoveryThreadsPerDir },
		},
		{
			Name: "log.segment.bytes", Type: Int, Default: "1073741824", Limit: atLeast(1 << 20), Change: ClusterWide,
			Doc:   "The size in bytes at which a log goes on in a new segment file.",
			field: func(s *Settings) any { return &s.LogSegmentBytes },
		},
		{
			Name: "log.roll.ms", Type: Long, Unset: true, Limit: atLeast(1), Change: ClusterWide,
			Doc:   "The age in milliseconds at which a log goes on in a new segment file. Without it: log.roll.hours.",
			field: func(s *Settings) any { return &s.LogRollMillis },
		},
		{
			Name: "log.roll.hours", Type: Int, Default: "168", Limit: atLeast(1),
			Doc:   "The age in hours at which a log goes on in a new segment file.",
			field: func(s *Settings) any { return &s.LogRollHours },
		},
		{
			Name: "log.roll.jitter.ms", Type: Long, Unset: true, Limit: atLeast(0), Change: ClusterWide,
			Doc:   "How much, drawn at random, is taken off the age at which a segment ends, so that not all end at once. Without it: log.roll.jitter.hours.",
			field: func(s *Settings) any { return &s.LogRollJitterMillis },
		},
		{
			Name: "log.roll.jitter.hours", Type: Int, Default: "0", Limit: atLeast(0),
			Doc:   "log.roll.jitter.ms in hours.",
			field: func(s *Settings) any { return &s.LogRollJitterHours },
		},
		{
			Name: "log.retention.ms", Type: Long, Unset: true, Limit: atLeast(-1), Change: ClusterWide,
			Doc:   "How long records are kept, in milliseconds; -1: for ever. Without it: log.retention.minutes.",
			field: func(s *Settings) any { return &s.LogRetentionMillis },
		},
		{
			Name: "log.retention.minutes", Type: Int, Unset: true, Limit: atLeast(-1),
			Doc:   "How long records are kept, in minutes. Without it: log.retention.hours.",
			field: func(s *Settings) any { return &s.LogRetentionMinutes },
		},
		{
			Name: "log.retention.hours", Type: Int, Default: "168", Limit: atLeast(-1),
			Doc:   "How long records are kept, in hours; -1: for ever.",
			field: func(s *Settings) any { return &s.LogRetentionHours },
		},
		{
			Name: "log.retention.bytes", Type: Long, Default: "-1", Limit: atLeast(-1), Change: ClusterWide,
			Doc:   "How many bytes of a partition are kept; -1: no limit.",
			field: func(s *Settings) any { return &s.LogRetentionBytes },
		},
		{
			Name: "log.retention.check.interval.ms", Type: Long, Default: "300000", Limit: atLeast(1),
			Doc:   "How often it is looked for segments that retention lets go.",
			field: func(s *Settings) any { return &s.LogRetentionCheck },
		},
		{
			Name: "log.cleanup.policy", Type: List, Default: "delete", Limit: cleanupPolicy(), Change: ClusterWide,
			Doc:   "What becomes of old records: delete removes segments that retention lets go, compact all records of a key but the last; compact,delete does both.",
			field: func(s *Settings) any { return &s.LogCleanupPolicy },
		},
		{
			Name: "log.index.size.max.bytes", Type: Int, Default: "10485760", Limit: atLeast(4), Change: ClusterWide,
			Doc:   "The size in bytes at which a segment's offset index is full, and the segment ends.",
			field: func(s *Settings) any { return &s.LogIndexSizeMaxBytes },
		},
		{
			Name: "log.index.interval.bytes", Type: Int, Default: "4096", Limit: atLeast(0), Change: ClusterWide,
			Doc:   "After how many bytes of records the offset index gets an entry.",
			field: func(s *Settings) any { return &s.LogIndexIntervalBytes },
		},
		{
			Name: "log.flush.interval.messages", Type: Long, Default: "9223372036854775807", Limit: atLeast(1), Change: ClusterWide,
			Doc:   "With write.caching=true: after how many records of a partition they are flushed to the disk, if not sooner.",
			field: func(s *Settings) any { return &s.LogFlushMessages },
		},
		{
			Name: "log.flush.interval.ms", Type: Long, Unset: true, Limit: atLeast(0), Change: ClusterWide,
			Doc:   "With write.caching=true: after how long records are flushed to the disk, if not sooner. Without it: log.flush.scheduler.interval.ms.",
			field: func(s *Settings) any { return &s.LogFlushMillis },
		},
		{
			Name: "log.flush.scheduler.interval.ms", Type: Long, Default: "9223372036854775807", Limit: atLeast(1),
			Doc:   "The default of log.flush.interval.ms.",
			field: func(s *Settings) any { return &s.LogFlushSchedulerMillis },
		},
		{
			Name: "log.segment.delete.delay.ms", Type: Long, Default: "60000", Limit: atLeast(0), Change: ClusterWide,
			Doc:   "How long the files of a deleted segment stay on the disk, for readers that are in the middle of them.",
			field: func(s *Settings) any { return &s.LogSegmentDeleteDelay },
		},
		{
			Name: "log.preallocate", Type: Boolean, Default: "false", Change: ClusterWide,
			Doc:   "Whether the space of a segment is reserved when it is begun.",
			field: func(s *Settings) any { return &s.LogPreallocate },
		},
		{
			Name: "log.message.timestamp.type", Type: String, Default: "CreateTime", Limit: oneOf("CreateTime", "LogAppendTime"), Change: ClusterWide,
			Doc:   "Whether records keep their producer's timestamp or get the time of the append.",
			field: func(s *Settings) any { return &s.LogTimestampType },
		},
		{
			Name: "log.message.timestamp.before.max.ms", Type: Long, Default: "9223372036854775807", Limit: atLeast(0), Change: ClusterWide,
			Doc:   "How far before the broker's clock a record's timestamp may lie with CreateTime.",
			field: func(s *Settings) any { return &s.LogTimestampBeforeMax },
		},
		{
			Name: "log.message.timestamp.after.max.ms", Type: Long, Default: "3600000", Limit: atLeast(0), Change: ClusterWide,
			Doc:   "How far after the broker's clock a record's timestamp may lie with CreateTime.",
			field: func(s *Settings) any { return &s.LogTimestampAfterMax },
		},
		{
			Name: "log.cleaner.delete.retention.ms", Type: Long, Default: "86400000", Limit: atLeast(0), Change: ClusterWide,
			Doc:   "How long compaction keeps the mark of a deleted key.",
			field: func(s *Settings) any { return &s.CleanerDeleteRetention },
		},
		{
			Name: "log.cleaner.min.compaction.lag.ms", Type: Long, Default: "0", Limit: atLeast(0), Change: ClusterWide,
			Doc:   "How long a record is safe from compaction.",
			field: func(s *Settings) any { return &s.CleanerMinCompactionLag },
		},
		{
			Name: "log.cleaner.max.compaction.lag.ms", Type: Long, Default: "9223372036854775807", Limit: atLeast(1), Change: ClusterWide,
			Doc:   "After how long a record is compacted at the latest.",
			field: func(s *Settings) any { return &s.CleanerMaxCompactionLag },
		},
		{
			Name: "log.cleaner.min.cleanable.ratio", Type: Double, Default: "0.5", Limit: fraction(), Change: ClusterWide,
			Doc:   "How much of a log must be uncompacted before compaction takes it up.",
			field: func(s *Settings) any { return &s.CleanerMinCleanableRatio },
		},
		{
			Name: "log.cleaner.enable", Type: Boolean, Default: "true",
			Doc:   "Whether logs are compacted. Without it those of compacted topics, __consumer_offsets too, only grow.",
			field: func(s *Settings) any { return &s.CleanerEnable },
		},
		{
			Name: "log.cleaner.threads", Type: Int, Default: "1", Limit: atLeast(0), Change: ClusterWide,
			NoEffect: "One thread compacts, one log after the other: it needs one offset map, takes one core at most, and reads and writes faster than a disk does; a second " +
				"would double the memory and take from the requests. It is kept and shown, and changes nothing.",
			Doc:   "How many logs are compacted at once.",
			field: func(s *Settings) any { return &s.CleanerThreads },
		},
		{
			Name: "log.cleaner.backoff.ms", Type: Long, Default: "15000", Limit: atLeast(0), Change: ClusterWide,
			Doc:   "How long compaction waits when no log needs it, before it looks again.",
			field: func(s *Settings) any { return &s.CleanerBackoff },
		},
		{
			Name: "log.cleaner.dedupe.buffer.size", Type: Long, Default: "134217728", Limit: atLeast(1 << 20), Change: ClusterWide,
			Doc:   "The most memory in bytes for the keys of a log that is being compacted, 24 bytes each. It is taken as needed, and given back. A log with more keys takes several passes.",
			field: func(s *Settings) any { return &s.CleanerDedupeBytes },
		},
		{
			Name: "log.cleaner.io.buffer.size", Type: Int, Default: "524288", Limit: atLeast(1024), Change: ClusterWide,
			Doc:   "How many bytes compaction reads or writes at a time, both together.",
			field: func(s *Settings) any { return &s.CleanerBufferBytes },
		},
		{
			Name: "log.cleaner.io.buffer.load.factor", Type: Double, Default: "0.9", Limit: between(0, 1), Change: ClusterWide,
			Doc:   "How full log.cleaner.dedupe.buffer.size may get: with more, more keys a pass and slower look-ups.",
			field: func(s *Settings) any { return &s.CleanerLoadFactor },
		},
		{
			Name: "log.cleaner.io.max.bytes.per.second", Type: Double, Default: "1.7976931348623157e+308", Change: ClusterWide,
			Doc:   "How many bytes a second compaction reads and writes at the most, both together.",
			field: func(s *Settings) any { return &s.CleanerBytesPerSecond },
		},
		{
			Name: "log.local.retention.ms", Type: Long, Default: "-2", Limit: atLeast(-2), Change: ClusterWide, NoEffect: noTiering,
			Doc:   "How long records of a tiered topic stay on the local disk; -2: as log.retention.ms.",
			field: func(s *Settings) any { return &s.LocalRetentionMillis },
		},
		{
			Name: "log.local.retention.bytes", Type: Long, Default: "-2", Limit: atLeast(-2), Change: ClusterWide, NoEffect: noTiering,
			Doc:   "How many bytes of a tiered partition stay on the local disk; -2: as log.retention.bytes.",
			field: func(s *Settings) any { return &s.LocalRetentionBytes },
		},
		{
			Name: "log.remote.copy.lag.ms", Type: Long, Default: "0", Limit: atLeast(-1), Change: ClusterWide, NoEffect: noTiering,
			Doc:   "How long a finished segment of a tiered topic waits before it is copied.",
			field: func(s *Settings) any { return &s.RemoteCopyLagMillis },
		},
		{
			Name: "log.remote.copy.lag.bytes", Type: Long, Default: "-1", Limit: atLeast(-1), Change: ClusterWide, NoEffect: noTiering,
			Doc:   "How many bytes of a tiered partition wait before they are copied.",
			field: func(s *Settings) any { return &s.RemoteCopyLagBytes },
		},
	}
}
