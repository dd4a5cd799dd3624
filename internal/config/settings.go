package config

import (
	"slices"
	"time"
)

// Settings holds the typed value of every broker property. A field's comment names its
// property; what the property means stands in the table, and so in docs/CONFIGURATION.md.
type Settings struct {
	NodeID         int32  // node.id
	KafkaPort      int32  // kafka.port; 0 takes a free one
	BindAddr       string // bind.addr; "*" is every address
	AdvertisedAddr string // advertised.addr as given; Advertised resolves it
	AdminAddr      string // admin.addr, host:port
	DataDir        string // data.dir
	Rack           string // broker.rack
	LogLevel       string // log.level: debug, info, warn, error
	LogFormat      string // log.format: text, json

	RaftAddr string // raft.addr, host:port; "" for no Raft port
	Peers    []Peer // peers, in id order

	RaftHeartbeatTimeout    time.Duration // raft.heartbeat.timeout.ms
	RaftElectionTimeout     time.Duration // raft.election.timeout.ms
	RaftLeaderLeaseTimeout  time.Duration // raft.leader.lease.timeout.ms
	RaftCommitTimeout       time.Duration // raft.commit.timeout.ms
	RaftSnapshotThreshold   int64         // raft.snapshot.threshold, entries
	RaftSnapshotInterval    time.Duration // raft.snapshot.interval.ms
	RaftTrailingLogs        int64         // raft.trailing.logs, entries
	RaftStorageStallTimeout time.Duration // raft.storage.stall.timeout.ms
	DiskStallTimeout        time.Duration // disk.stall.timeout.ms

	MetadataBytesBetweenSnapshots int64         // metadata.log.max.record.bytes.between.snapshots
	BrokerHeartbeatInterval       time.Duration // broker.heartbeat.interval.ms
	BrokerSessionTimeout          time.Duration // broker.session.timeout.ms
	InitialRegistrationTimeout    time.Duration // initial.broker.registration.timeout.ms

	NumPartitions            int32 // num.partitions
	DefaultReplicationFactor int16 // default.replication.factor
	AutoCreateTopics         bool  // auto.create.topics.enable
	DeleteTopic              bool  // delete.topic.enable

	SocketRequestMaxBytes int32         // socket.request.max.bytes
	MemoryLimit           int64         // memory.limit; 0 or less for none
	QueuedMaxRequestBytes int64         // queued.max.request.bytes; -1 when not set
	ConnectionsMaxIdle    time.Duration // connections.max.idle.ms
	MaxConnections        int32         // max.connections
	MaxConnectionsPerIP   int32         // max.connections.per.ip

	MaxConnectionsPerIPOverrides string // max.connections.per.ip.overrides; ParseOverrides reads it
	MaxConnectionCreationRate    int32  // max.connection.creation.rate

	FetchMaxBytes            int32         // fetch.max.bytes
	MaxRequestPartitions     int32         // max.request.partition.size.limit
	FetchSessionCacheSlots   int32         // max.incremental.fetch.session.cache.slots
	MinInsyncReplicas        int32         // min.insync.replicas; 0 when not set, see Topic.MinISR
	WriteCaching             bool          // write.caching
	ProduceValidation        string        // produce.validation
	MessageMaxBytes          int32         // message.max.bytes
	CompressionType          string        // compression.type
	CompressionGzipLevel     int32         // compression.gzip.level
	CompressionLZ4Level      int32         // compression.lz4.level
	CompressionZstdLevel     int32         // compression.zstd.level
	UncleanLeaderElection    bool          // unclean.leader.election.enable
	MaxDecompressedBytes     int32         // max.decompressed.message.bytes
	ProducerIDExpiration     time.Duration // producer.id.expiration.ms
	RecoveryThreadsPerDir    int32         // num.recovery.threads.per.data.dir
	LogSegmentBytes          int32         // log.segment.bytes
	LogRollMillis            int64         // log.roll.ms, else log.roll.hours
	LogRollHours             int32         // log.roll.hours
	LogRollJitterMillis      int64         // log.roll.jitter.ms, else log.roll.jitter.hours
	LogRollJitterHours       int32         // log.roll.jitter.hours
	LogRetentionMillis       int64         // log.retention.ms, else .minutes, else .hours; -1 for ever
	LogRetentionMinutes      int32         // log.retention.minutes
	LogRetentionHours        int32         // log.retention.hours
	LogRetentionBytes        int64         // log.retention.bytes; -1 for no limit
	LogRetentionCheck        time.Duration // log.retention.check.interval.ms
	LogCleanupPolicy         []string      // log.cleanup.policy
	LogIndexSizeMaxBytes     int32         // log.index.size.max.bytes
	LogIndexIntervalBytes    int32         // log.index.interval.bytes
	LogFlushMessages         int64         // log.flush.interval.messages
	LogFlushSchedulerMillis  int64         // log.flush.scheduler.interval.ms
	LogFlushMillis           int64         // log.flush.interval.ms, else log.flush.scheduler.interval.ms
	LogSegmentDeleteDelay    int64         // log.segment.delete.delay.ms, milliseconds
	LogPreallocate           bool          // log.preallocate
	LogTimestampType         string        // log.message.timestamp.type
	LogTimestampBeforeMax    int64         // log.message.timestamp.before.max.ms
	LogTimestampAfterMax     int64         // log.message.timestamp.after.max.ms
	CleanerDeleteRetention   int64         // log.cleaner.delete.retention.ms
	CleanerMinCompactionLag  int64         // log.cleaner.min.compaction.lag.ms
	CleanerMaxCompactionLag  int64         // log.cleaner.max.compaction.lag.ms
	CleanerMinCleanableRatio float64       // log.cleaner.min.cleanable.ratio
	CleanerEnable            bool          // log.cleaner.enable
	CleanerThreads           int32         // log.cleaner.threads
	CleanerBackoff           time.Duration // log.cleaner.backoff.ms
	CleanerDedupeBytes       int64         // log.cleaner.dedupe.buffer.size
	CleanerBufferBytes       int32         // log.cleaner.io.buffer.size
	CleanerLoadFactor        float64       // log.cleaner.io.buffer.load.factor
	CleanerBytesPerSecond    float64       // log.cleaner.io.max.bytes.per.second
	LocalRetentionMillis     int64         // log.local.retention.ms
	LocalRetentionBytes      int64         // log.local.retention.bytes
	RemoteCopyLagMillis      int64         // log.remote.copy.lag.ms
	RemoteCopyLagBytes       int64         // log.remote.copy.lag.bytes

	OffsetsTopicReplicationFactor int16         // offsets.topic.replication.factor; DefaultReplicationFactor when not set
	OffsetsTopicPartitions        int32         // offsets.topic.num.partitions
	OffsetsTopicSegmentBytes      int32         // offsets.topic.segment.bytes
	OffsetMetadataMaxBytes        int32         // offset.metadata.max.bytes
	OffsetsRetention              time.Duration // offsets.retention.minutes
	OffsetsRetentionCheck         time.Duration // offsets.retention.check.interval.ms
	OffsetsCommitTimeout          time.Duration // offsets.commit.timeout.ms
	GroupMinSessionTimeout        time.Duration // group.min.session.timeout.ms
	GroupMaxSessionTimeout        time.Duration // group.max.session.timeout.ms
	GroupInitialRebalanceDelay    time.Duration // group.initial.rebalance.delay.ms
	GroupMaxSize                  int32         // group.max.size

	MetricsKafkaSeries int32 // metrics.kafka.series.max
}

// Topic is the resolved configuration of one topic on this broker: the topic's own values over
// the broker's defaults. Times are milliseconds because they are compared with records'
// timestamps, not waited for; NoLimit stands for never.
type Topic struct {
	CleanupPolicy            []string // cleanup.policy
	WriteCaching             bool     // write.caching
	ProduceValidation        string   // produce.validation: header, records
	MinInsyncReplicas        int32    // min.insync.replicas; 0 when not set, see MinISR
	MaxMessageBytes          int32    // max.message.bytes
	SegmentBytes             int32    // segment.bytes
	SegmentMillis            int64    // segment.ms
	SegmentJitterMillis      int64    // segment.jitter.ms
	SegmentIndexBytes        int32    // segment.index.bytes
	IndexIntervalBytes       int32    // index.interval.bytes
	Preallocate              bool     // preallocate
	FlushMessages            int64    // flush.messages
	FlushMillis              int64    // flush.ms
	RetentionBytes           int64    // retention.bytes; -1 for no limit
	RetentionMillis          int64    // retention.ms; -1 for ever
	FileDeleteDelayMillis    int64    // file.delete.delay.ms
	TimestampType            string   // message.timestamp.type: CreateTime, LogAppendTime
	TimestampBeforeMaxMillis int64    // message.timestamp.before.max.ms
	TimestampAfterMaxMillis  int64    // message.timestamp.after.max.ms
	CompressionType          string   // compression.type
	CompressionGzipLevel     int32    // compression.gzip.level
	CompressionLZ4Level      int32    // compression.lz4.level
	CompressionZstdLevel     int32    // compression.zstd.level
	MaxDecompressedBytes     int32    // max.decompressed.message.bytes
	UncleanLeaderElection    bool     // unclean.leader.election.enable
	DeleteRetentionMillis    int64    // delete.retention.ms
	MinCompactionLagMillis   int64    // min.compaction.lag.ms
	MaxCompactionLagMillis   int64    // max.compaction.lag.ms
	MinCleanableDirtyRatio   float64  // min.cleanable.dirty.ratio

	LeaderThrottledReplicas   []string // leader.replication.throttled.replicas
	FollowerThrottledReplicas []string // follower.replication.throttled.replicas

	RemoteStorageEnable     bool  // remote.storage.enable
	RemoteLogCopyDisable    bool  // remote.log.copy.disable
	RemoteLogDeleteDisabled bool  // remote.log.delete.on.disable
	LocalRetentionMillis    int64 // local.retention.ms
	LocalRetentionBytes     int64 // local.retention.bytes
	RemoteCopyLagMillis     int64 // remote.copy.lag.ms
	RemoteCopyLagBytes      int64 // remote.copy.lag.bytes
	DeadLetterQueue         bool  // errors.deadletterqueue.group.enable
}

// Compacted reports whether cleanup.policy contains compact.
func (t *Topic) Compacted() bool { return slices.Contains(t.CleanupPolicy, "compact") }

// Caches reports whether a write is acknowledged before it is on the disk. flush.messages=1 forbids that, as in Kafka.
func (t *Topic) Caches() bool { return t.WriteCaching && t.FlushMessages > 1 }

// Deleting reports whether cleanup.policy contains delete, so that retention applies.
func (t *Topic) Deleting() bool { return slices.Contains(t.CleanupPolicy, "delete") }

// LogAppendTime reports whether the broker stamps records at the append.
func (t *Topic) LogAppendTime() bool { return t.TimestampType == "LogAppendTime" }

// ChecksRecords reports whether every record of a produced batch is checked, not its header alone.
func (t *Topic) ChecksRecords() bool { return t.ProduceValidation == "records" || t.Compacted() }

// MinISR returns min.insync.replicas of a topic with the given replication factor: the value that
// was set, else 2 where there are 3 replicas or more and 1 where there are fewer.
func (t *Topic) MinISR(replicationFactor int) int32 {
	switch {
	case t.MinInsyncReplicas > 0:
		return t.MinInsyncReplicas
	case replicationFactor >= 3:
		return 2
	default:
		return 1
	}
}
