package config

import "math"

// nodeProperties declare who the node is, where it listens and how it takes part in the cluster.
func nodeProperties() []Property {
	return []Property{
		{
			Name: "node.id", Type: Int, Default: "1", Limit: between(1, math.MaxInt32), Flag: "all", Kafka: "-1",
			Doc:   "The number of this node, unique in the cluster and the same for ever: it is written into the data directory. raft-cluster demands that it is given.",
			field: func(s *Settings) any { return &s.NodeID },
		},
		{
			Name: "kafka.port", Type: Int, Default: "9092", Limit: between(0, 65535), Own: true, Flag: "all",
			Doc:   "The port Kafka clients connect to. 0 takes a free one, which the log names.",
			field: func(s *Settings) any { return &s.KafkaPort },
		},
		{
			Name: "bind.addr", Type: String, Own: true, Unset: true, Limit: checked("address, host name or *", checkBindAddr), Flag: "all",
			Doc: "The address the Kafka port is bound to; * is every address of the machine. Without it: 127.0.0.1 for standalone and the bare command, " +
				"* for raft-cluster.",
			field: func(s *Settings) any { return &s.BindAddr },
		},
		{
			Name: "advertised.addr", Type: String, Own: true, Unset: true, Limit: checked("host or host:port", checkAdvertisedAddr), Flag: "all",
			Doc: "The address clients and other nodes are told for this node: it must lead here from where they are. The port is kafka.port if it is not given. " +
				"Without it: localhost on a loopback bind, the bound address if that is one, else the machine's host name if it resolves, else its first address that is not loopback.",
			field: func(s *Settings) any { return &s.AdvertisedAddr },
		},
		{
			Name: "admin.addr", Type: String, Own: true, Unset: true, Limit: checked("host:port", checkListenAddr), Flag: "all",
			Doc: "The address of the admin server: health, metrics, profiles. It has no authentication: keep it on loopback or in a closed network. " +
				"Without it: 127.0.0.1 and the Kafka port + 552 (9644 for 9092), or a free port if that is taken, which the log names.",
			field: func(s *Settings) any { return &s.AdminAddr },
		},
		{
			Name: "data.dir", Type: String, Own: true, Unset: true, Flag: "all",
			Doc:   "The directory of this node's data. Without it: chronik-data/node-<id> in the working directory.",
			field: func(s *Settings) any { return &s.DataDir },
		},
		{
			Name: "broker.rack", Type: String, Unset: true,
			Doc:   "The rack or availability zone of this broker; replicas of a partition are placed in different racks, and clients are told it.",
			field: func(s *Settings) any { return &s.Rack },
		},
		{
			Name: "log.level", Type: String, Default: "info", Limit: oneOf("debug", "info", "warn", "error"), Own: true, Flag: "all",
			Doc:   "The least severe level of the node's log that is written.",
			field: func(s *Settings) any { return &s.LogLevel },
		},
		{
			Name: "log.format", Type: String, Default: "text", Limit: oneOf("text", "json"), Own: true, Flag: "all",
			Doc:   "The form of the node's log on standard error: text for people, json for collectors.",
			field: func(s *Settings) any { return &s.LogFormat },
		},
		{
			Name: "raft.addr", Type: String, Own: true, Unset: true, Limit: checked("host:port", checkListenAddr), Flag: "raft-cluster",
			Doc: "The address Raft's gRPC server is bound to, for the other nodes; they are told the host of advertised.addr with this port. " +
				"Without it: 0.0.0.0:5001 for raft-cluster, no port at all for standalone.",
			field: func(s *Settings) any { return &s.RaftAddr },
		},
		{
			Name: "peers", Type: List, Own: true, Unset: true, Limit: checked("id@host:port,...", checkPeer), Flag: "raft-cluster",
			Doc: "The other founders of the cluster with their Raft addresses, without this node. At the first start all founders must name the same set; " +
				"later the list is only a hint where the others are.",
			field: func(s *Settings) any { return &s.Peers },
		},
	}
}

// clusterProperties declare the timing of Raft, sessions and formation.
//
// house: long because it is a table.
func clusterProperties() []Property {
	return []Property{
		{
			Name: "raft.heartbeat.timeout.ms", Type: Int, Default: "200", Limit: between(5, 60_000), Own: true,
			Doc: "How long a follower waits, once to twice this long, for a sign of the leader before it campaigns. " +
				"Raise it with the two below to 1000/1000/500 where the round trip between nodes exceeds 30 ms.",
			field: func(s *Settings) any { return &s.RaftHeartbeatTimeout },
		},
		{
			Name: "raft.election.timeout.ms", Type: Int, Default: "200", Limit: between(5, 60_000), Own: true,
			Doc:   "How long a candidate waits for votes, once to twice this long, before it starts another term. At least raft.heartbeat.timeout.ms.",
			field: func(s *Settings) any { return &s.RaftElectionTimeout },
		},
		{
			Name: "raft.leader.lease.timeout.ms", Type: Int, Default: "160", Limit: between(5, 60_000), Own: true,
			Doc:   "How long a leader stays leader without an answer from a majority. At most raft.heartbeat.timeout.ms, so that it steps down before another can be elected.",
			field: func(s *Settings) any { return &s.RaftLeaderLeaseTimeout },
		},
		{
			Name: "raft.commit.timeout.ms", Type: Int, Default: "50", Limit: between(1, 60_000), Own: true,
			Doc:   "How late, at most, a follower learns in a lull that an entry is committed. Lower costs idle CPU; the controller hurries commits along anyway.",
			field: func(s *Settings) any { return &s.RaftCommitTimeout },
		},
		{
			Name: "raft.snapshot.threshold", Type: Long, Default: "8192", Limit: atLeast(1), Own: true,
			Doc:   "After how many entries since the last one a snapshot of the metadata is written.",
			field: func(s *Settings) any { return &s.RaftSnapshotThreshold },
		},
		{
			Name: "raft.snapshot.interval.ms", Type: Int, Default: "30000", Limit: atLeast(5), Own: true,
			Doc:   "How often it is looked whether a snapshot is due, once to twice this long.",
			field: func(s *Settings) any { return &s.RaftSnapshotInterval },
		},
		{
			Name: "raft.trailing.logs", Type: Long, Default: "10240", Limit: atLeast(0), Own: true,
			Doc:   "How many entries stay in the metadata log behind a snapshot, so that a node that was away a moment catches up without one.",
			field: func(s *Settings) any { return &s.RaftTrailingLogs },
		},
		{
			Name: "raft.storage.stall.timeout.ms", Type: Int, Default: "300", Limit: between(10, 60_000), Own: true,
			Doc:   "How long a write of the metadata log may take before a leader gives up its leadership. It must exceed the slowest honest write of the disk.",
			field: func(s *Settings) any { return &s.RaftStorageStallTimeout },
		},
		{
			Name: "disk.stall.timeout.ms", Type: Int, Default: "10000", Limit: between(100, 600_000), Own: true,
			Doc:   "How long a write to the disk may take before the node closes its ports and ends, so that others take over.",
			field: func(s *Settings) any { return &s.DiskStallTimeout },
		},
		{
			Name: "metadata.log.max.record.bytes.between.snapshots", Type: Long, Default: "67108864", Kafka: "20971520", Limit: atLeast(1),
			Doc:   "After how many bytes of entries a snapshot of the metadata is written, whatever their number.",
			field: func(s *Settings) any { return &s.MetadataBytesBetweenSnapshots },
		},
		{
			Name: "broker.heartbeat.interval.ms", Type: Int, Default: "100", Kafka: "2000", Limit: atLeast(10),
			Doc:   "How often a broker tells the controller that it lives.",
			field: func(s *Settings) any { return &s.BrokerHeartbeatInterval },
		},
		{
			Name: "broker.session.timeout.ms", Type: Int, Default: "450", Kafka: "9000", Limit: atLeast(30),
			Doc:   "After how long without a heartbeat the controller fences a broker and takes its partitions' leadership. At least three heartbeats.",
			field: func(s *Settings) any { return &s.BrokerSessionTimeout },
		},
		{
			Name: "initial.broker.registration.timeout.ms", Type: Int, Default: "60000", Limit: atLeast(1),
			Doc:   "How long a starting node tries to register with the controller before it gives up and ends.",
			field: func(s *Settings) any { return &s.InitialRegistrationTimeout },
		},
	}
}

// requestProperties declare what clients may do and how much of it.
//
// house: long because it is a table.
func requestProperties() []Property {
	return []Property{
		{
			Name: "num.partitions", Type: Int, Default: "1", Limit: between(1, 10_000),
			Doc:   "How many partitions a topic gets when its creator does not say.",
			field: func(s *Settings) any { return &s.NumPartitions },
		},
		{
			Name: "default.replication.factor", Type: Short, Default: "1", Limit: between(1, 32767),
			Doc:   "How many replicas a partition gets when its topic's creator does not say. Above 1 is refused until replication of partitions is there.",
			field: func(s *Settings) any { return &s.DefaultReplicationFactor },
		},
		{
			Name: "auto.create.topics.enable", Type: Boolean, Default: "true",
			Doc:   "Whether a topic is created when a client that allows it asks for one that is not there.",
			field: func(s *Settings) any { return &s.AutoCreateTopics },
		},
		{
			Name: "delete.topic.enable", Type: Boolean, Default: "true",
			Doc:   "Whether topics may be deleted.",
			field: func(s *Settings) any { return &s.DeleteTopic },
		},
		{
			Name: "socket.request.max.bytes", Type: Int, Default: "104857600", Limit: atLeast(1024),
			Doc:   "The largest request in bytes; the connection of a larger one is closed.",
			field: func(s *Settings) any { return &s.SocketRequestMaxBytes },
		},
		{
			Name: "memory.limit", Type: Long, Default: "-1", Limit: atLeast(-1), Own: true,
			Doc: "How much memory in bytes the process is to use at most: near it, garbage is collected more often. -1 is nine tenths of what the control group " +
				"of the process grants (a container's limit, MemoryMax= of a systemd unit; config show tells how much that is), and no limit where it grants all; 0: no limit. " +
				"GOMEMLIMIT in the environment goes before it. What clients may make the broker hold is bounded by a quarter of it.",
			field: func(s *Settings) any { return &s.MemoryLimit },
		},
		{
			Name: "queued.max.request.bytes", Type: Long, Default: "-1", Limit: atLeast(-1),
			Doc: "The most memory in bytes that requests and responses of clients may hold together: what has been read, what is being decoded, and what clients do not take. " +
				"Requests wait for it, and who holds some without getting on is disconnected while others wait. " +
				"-1 is 64 MiB; at most a quarter of memory.limit, at least 8 MiB. Members of consumer groups may hold half as much beside it.",
			field: func(s *Settings) any { return &s.QueuedMaxRequestBytes },
		},
		{
			Name: "connections.max.idle.ms", Type: Long, Default: "600000",
			Doc:   "After how long without a request a connection is closed; a negative value: never.",
			field: func(s *Settings) any { return &s.ConnectionsMaxIdle },
		},
		{
			Name: "max.connections", Type: Int, Default: "2147483647", Limit: atLeast(0), Change: ClusterWide,
			Doc: "How many connections of clients the broker holds at most; more of them wait until another ends. " +
				"A fifth of the files that the process may open is kept for other things, whatever this says.",
			field: func(s *Settings) any { return &s.MaxConnections },
		},
		{
			Name: "max.connections.per.ip", Type: Int, Default: "2147483647", Limit: atLeast(0), Change: ClusterWide,
			Doc:   "How many connections from one address the broker holds at most; more of them are closed.",
			field: func(s *Settings) any { return &s.MaxConnectionsPerIP },
		},
		{
			Name: "max.connections.per.ip.overrides", Type: String, Unset: true, Limit: checked("host:connections,...", checkOverrides), Change: ClusterWide,
			Doc:   "max.connections.per.ip of single addresses or host names, which are looked up at the start: 10.0.0.7:100,backup.example:5.",
			field: func(s *Settings) any { return &s.MaxConnectionsPerIPOverrides },
		},
		{
			Name: "max.connection.creation.rate", Type: Int, Default: "2147483647", Limit: atLeast(1), Change: ClusterWide,
			Doc:   "How many connections a second the broker accepts; more of them wait, unless a second before had fewer.",
			field: func(s *Settings) any { return &s.MaxConnectionCreationRate },
		},
		{
			Name: "fetch.max.bytes", Type: Int, Default: "57671680", Limit: atLeast(1024),
			Doc:   "The most bytes a fetch response holds, whatever the client asks for; a first batch larger than that is returned whole.",
			field: func(s *Settings) any { return &s.FetchMaxBytes },
		},
		{
			Name: "max.request.partition.size.limit", Type: Int, Default: "2000", Limit: atLeast(1),
			Doc:   "How many partitions one answer to DescribeTopicPartitions holds at most, whatever the client asks for: the rest is on its next pages.",
			field: func(s *Settings) any { return &s.MaxRequestPartitions },
		},
		{
			Name: "max.incremental.fetch.session.cache.slots", Type: Int, Default: "1000", Limit: atLeast(0),
			Doc:   "How many fetch sessions the broker keeps at most; consumers without one send their whole list of partitions with each fetch.",
			field: func(s *Settings) any { return &s.FetchSessionCacheSlots },
		},
		{
			Name: "offsets.topic.replication.factor", Type: Short, Unset: true, Kafka: "3", Limit: between(1, 32767),
			Doc:   "How many replicas __consumer_offsets gets when it is created. Without it: default.replication.factor. Above 1 is refused until replication of partitions is there.",
			field: func(s *Settings) any { return &s.OffsetsTopicReplicationFactor },
		},
		{
			Name: "offsets.topic.num.partitions", Type: Int, Default: "50", Limit: between(1, 10_000),
			Doc:   "How many partitions __consumer_offsets gets when it is created; it must not change afterwards, for a group's name chooses its partition.",
			field: func(s *Settings) any { return &s.OffsetsTopicPartitions },
		},
		{
			Name: "offsets.topic.segment.bytes", Type: Int, Default: "104857600", Limit: atLeast(1 << 20),
			Doc:   "segment.bytes of __consumer_offsets.",
			field: func(s *Settings) any { return &s.OffsetsTopicSegmentBytes },
		},
		{
			Name: "offset.metadata.max.bytes", Type: Int, Default: "4096", Limit: atLeast(0),
			Doc:   "The most bytes of text a consumer may store with a committed offset.",
			field: func(s *Settings) any { return &s.OffsetMetadataMaxBytes },
		},
		{
			Name: "offsets.retention.minutes", Type: Int, Default: "10080", Limit: atLeast(1),
			Doc:   "How long committed offsets are kept after their group has lost its last member, or since the commit where a consumer assigns partitions by itself.",
			field: func(s *Settings) any { return &s.OffsetsRetention },
		},
		{
			Name: "offsets.retention.check.interval.ms", Type: Long, Default: "600000", Limit: atLeast(1),
			Doc:   "How often it is looked for committed offsets that are due to expire.",
			field: func(s *Settings) any { return &s.OffsetsRetentionCheck },
		},
		{
			Name: "offsets.commit.timeout.ms", Type: Int, Default: "5000", Limit: atLeast(1),
			Doc:   "How long a commit of offsets may take before the consumer is told that it timed out.",
			field: func(s *Settings) any { return &s.OffsetsCommitTimeout },
		},
		{
			Name: "group.min.session.timeout.ms", Type: Int, Default: "6000", Limit: atLeast(0),
			Doc:   "The shortest session timeout a member of a consumer group may ask for.",
			field: func(s *Settings) any { return &s.GroupMinSessionTimeout },
		},
		{
			Name: "group.max.session.timeout.ms", Type: Int, Default: "1800000", Limit: atLeast(1),
			Doc:   "The longest session timeout a member of a consumer group may ask for.",
			field: func(s *Settings) any { return &s.GroupMaxSessionTimeout },
		},
		{
			Name: "group.initial.rebalance.delay.ms", Type: Int, Default: "3000", Limit: atLeast(0),
			Doc:   "How long the first rebalance of an empty group waits for more members to come.",
			field: func(s *Settings) any { return &s.GroupInitialRebalanceDelay },
		},
		{
			Name: "group.max.size", Type: Int, Default: "2147483647", Limit: atLeast(1),
			Doc:   "How many members a consumer group may have. More than 10,000 are refused whatever this says.",
			field: func(s *Settings) any { return &s.GroupMaxSize },
		},
		{
			Name: "metrics.kafka.series.max", Type: Int, Default: "20000", Limit: between(0, 1_000_000), Own: true,
			Doc:   "How many series of topics, and as many of consumer groups, the admin port serves under the names of kafka_exporter (kafka_topic_partition_*, kafka_consumergroup_*). Topics and groups beyond that are left out whole and counted by chronik_kafka_exporter_left_out. 0 switches these metrics off.",
			field: func(s *Settings) any { return &s.MetricsKafkaSeries },
		},
	}
}
