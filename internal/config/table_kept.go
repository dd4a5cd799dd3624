package config

// What has no effect, and why. Other tables have more of them.
const (
	noTransactions = "Transactions are not there yet: it is kept and shown, and changes nothing."
	noPlugins      = "No class is ever loaded: it is kept and shown, and changes nothing."
	noQuotas       = "Quotas are not there yet: it is kept and shown, and changes nothing."
	noThreads      = "Work is done by goroutines and not by pools of threads: it is kept and shown, and changes nothing."
	noSecurity     = "There is one listener, without authentication: it is kept and shown, and changes nothing."
	noController   = "Raft keeps the metadata, with properties of its own: it is kept and shown, and changes nothing."
	noPurgatory    = "What has waited is forgotten at once: it is kept and shown, and changes nothing."
	noCoordinator  = "The group coordinator has no such choice: it is kept and shown, and changes nothing."
	noStorage      = "Logs have no such choice: it is kept and shown, and changes nothing."
	noMetrics      = "Metrics are read by a scraper, which keeps them: it is kept and shown, and changes nothing."
	noSocket       = "The listener has no such choice: it is kept and shown, and changes nothing."
	noTLS          = "Kafka's port does not speak TLS: it is kept and shown, and changes nothing."
	noSASL         = "Kafka's port does not authenticate clients: it is kept and shown, and changes nothing."
)

// keptProperties declare what Kafka's brokers have and this one does not act on: it is accepted, so that a configuration
// which works with Kafka works here, and shown, because tools read it. A property that gets an effect moves to
// another table.
//
// house: long because it is a table.
func keptProperties() []Property {
	var rows []Property
	for _, group := range []struct {
		why  string
		rows []Property
	}{
		{noTransactions, keptTransactionsProperties()},
		{noPlugins, keptPluginsProperties()},
		{noReplicas, keptReplicasProperties()},
		{noQuotas, keptQuotasProperties()},
		{noThreads, keptThreadsProperties()},
		{noSecurity, keptSecurityProperties()},
		{noController, keptControllerProperties()},
		{noPurgatory, keptPurgatoryProperties()},
		{noConsumer, keptConsumerProperties()},
		{noShare, keptShareProperties()},
		{noStreams, keptStreamsProperties()},
		{noCoordinator, keptCoordinatorProperties()},
		{noStorage, keptStorageProperties()},
		{noMetrics, keptMetricsProperties()},
		{noSocket, keptSocketProperties()},
		{noTiering, keptTieringProperties()},
		{noTLS, keptTLSProperties()},
		{noSASL, keptSASLProperties()},
	} {
		for _, p := range group.rows {
			p.NoEffect = group.why
			rows = append(rows, p)
		}
	}
	return rows
}

func keptTransactionsProperties() []Property {
	return []Property{
		{Name: "add.partitions.to.txn.retry.backoff.max.ms", Type: Int, Default: "100", Limit: atLeast(0), Doc: "The longest pause before a partition is asked again to verify a transaction."},
		{Name: "add.partitions.to.txn.retry.backoff.ms", Type: Int, Default: "20", Limit: atLeast(1), Doc: "The first pause before a partition is asked again to verify a transaction."},
		{Name: "transaction.abort.timed.out.transaction.cleanup.interval.ms", Type: Int, Default: "10000", Limit: atLeast(1), Doc: "How often transactions are looked for that have gone on for too long."},
		{Name: "transaction.max.timeout.ms", Type: Int, Default: "900000", Limit: atLeast(1), Doc: "The longest timeout that a transaction may ask for."},
		{Name: "transaction.partition.verification.enable", Type: Boolean, Default: "true", Change: ClusterWide, Doc: "Whether a partition verifies that a transaction is open before it appends to it."},
		{Name: "transaction.remove.expired.transaction.cleanup.interval.ms", Type: Int, Default: "3600000", Limit: atLeast(1), Doc: "How often expired transactional ids are looked for."},
		{Name: "transaction.state.log.load.buffer.size", Type: Int, Default: "5242880", Limit: atLeast(1), Doc: "How many bytes of the transaction log are read at a time."},
		{Name: "transaction.state.log.min.isr", Type: Int, Default: "2", Limit: atLeast(1), Doc: "min.insync.replicas of the transaction log."},
		{Name: "transaction.state.log.num.partitions", Type: Int, Default: "50", Limit: atLeast(1), Doc: "How many partitions the transaction log has."},
		{Name: "transaction.state.log.replication.factor", Type: Short, Default: "3", Limit: atLeast(1), Doc: "How many replicas the transaction log has."},
		{Name: "transaction.state.log.segment.bytes", Type: Int, Default: "104857600", Limit: atLeast(1), Doc: "The size of a segment of the transaction log."},
		{Name: "transaction.two.phase.commit.enable", Type: Boolean, Default: "false", Doc: "Whether transactions may take part in a two-phase commit."},
		{Name: "transactional.id.expiration.ms", Type: Int, Default: "604800000", Limit: atLeast(1), Doc: "After what silence a transactional id is forgotten."},
	}
}

func keptPluginsProperties() []Property {
	return []Property{
		{Name: "alter.config.policy.class.name", Type: Class, Unset: true, Doc: "The class that is asked about changes of configurations."},
		{Name: "authorizer.class.name", Type: String, Unset: true, Doc: "The class that decides who may do what."},
		{Name: "client.quota.callback.class", Type: Class, Unset: true, Doc: "The class that computes quotas."},
		{Name: "config.providers", Type: List, Unset: true, Change: ClusterWide, Doc: "The names of providers that configurations may refer to."},
		{Name: "create.topic.policy.class.name", Type: Class, Unset: true, Doc: "The class that is asked about new topics."},
		{Name: "kafka.metrics.polling.interval.secs", Type: Int, Default: "10", Limit: atLeast(1), Doc: "How often metrics reporters of the older kind are called."},
		{Name: "kafka.metrics.reporters", Type: List, Unset: true, Doc: "Classes that metrics of the older kind are reported to."},
		{Name: "metric.reporters", Type: List, Default: "org.apache.kafka.common.metrics.JmxReporter", Change: ClusterWide, Doc: "Classes that metrics are reported to."},
		{Name: "principal.builder.class", Type: Class, Default: "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", Change: PerBroker, Doc: "The class that makes a principal of a connection."},
		{Name: "replica.selector.class", Type: String, Unset: true, Doc: "The class that chooses the replica that a consumer reads from."},
		{Name: "security.providers", Type: String, Unset: true, Doc: "Classes that provide algorithms."},
	}
}

func keptReplicasProperties() []Property {
	return []Property{
		{Name: "auto.leader.rebalance.enable", Type: Boolean, Default: "true", Doc: "Whether preferred leaders become leaders again by themselves."},
		{Name: "cordoned.log.dirs", Type: List, Unset: true, Change: PerBroker, Doc: "The data directories that get no new partitions."},
		{Name: "follower.fetch.last.tiered.offset.enable", Type: Boolean, Default: "false", Change: ClusterWide, Doc: "Whether a new replica begins at the last offset that was tiered."},
		{Name: "follower.replication.throttled.rate", Type: Long, Default: "9223372036854775807", Limit: atLeast(0), Change: ClusterWide, Doc: "How many bytes a second throttled replicas may fetch."},
		{Name: "leader.imbalance.check.interval.seconds", Type: Long, Default: "300", Limit: atLeast(1), Doc: "How often it is looked whether leaders are the preferred ones."},
		{Name: "leader.imbalance.per.broker.percentage", Type: Int, Default: "10", Doc: "How many percent of leaders may not be the preferred ones."},
		{Name: "leader.replication.throttled.rate", Type: Long, Default: "9223372036854775807", Limit: atLeast(0), Change: ClusterWide, Doc: "How many bytes a second are served to throttled replicas."},
		{Name: "num.replica.alter.log.dirs.threads", Type: Int, Unset: true, Doc: "How many threads move replicas between data directories."},
		{Name: "num.replica.fetchers", Type: Int, Default: "1", Limit: atLeast(1), Change: ClusterWide, Doc: "How many threads fetch from each other broker."},
		{Name: "replica.alter.log.dirs.io.max.bytes.per.second", Type: Long, Default: "9223372036854775807", Limit: atLeast(0), Change: ClusterWide, Doc: "How many bytes a second a move between data directories may copy."},
		{Name: "replica.fetch.backoff.ms", Type: Int, Default: "1000", Limit: atLeast(0), Doc: "How long a replica waits after a fetch that failed."},
		{Name: "replica.fetch.max.bytes", Type: Int, Default: "1048576", Limit: atLeast(0), Doc: "How many bytes of a partition a replica fetches at a time."},
		{Name: "replica.fetch.min.bytes", Type: Int, Default: "1", Doc: "How many bytes a replica's fetch waits for."},
		{Name: "replica.fetch.response.max.bytes", Type: Int, Default: "10485760", Limit: atLeast(0), Doc: "How many bytes a replica fetches at a time."},
		{Name: "replica.fetch.wait.max.ms", Type: Int, Default: "500", Doc: "How long a replica's fetch waits for data."},
		{Name: "replica.high.watermark.checkpoint.interval.ms", Type: Long, Default: "5000", Doc: "How often high watermarks are written down."},
		{Name: "replica.lag.time.max.ms", Type: Long, Default: "30000", Doc: "After what time behind its leader a replica is out of sync."},
		{Name: "replica.socket.receive.buffer.bytes", Type: Int, Default: "65536", Doc: "The receive buffer of a replica's connection."},
		{Name: "replica.socket.timeout.ms", Type: Int, Default: "30000", Doc: "How long a replica waits for its leader."},
		{Name: "unclean.leader.election.interval.ms", Type: Long, Default: "300000", Limit: atLeast(1), Doc: "How often an unclean election is tried."},
	}
}

func keptQuotasProperties() []Property {
	return []Property{
		{Name: "alter.log.dirs.replication.quota.window.num", Type: Int, Default: "11", Limit: atLeast(1), Doc: "How many windows the quota of moves between data directories keeps."},
		{Name: "alter.log.dirs.replication.quota.window.size.seconds", Type: Int, Default: "1", Limit: atLeast(1), Doc: "How long such a window is."},
		{Name: "controller.quota.window.num", Type: Int, Default: "11", Limit: atLeast(1), Doc: "How many windows the quota of changes by the controller keeps."},
		{Name: "controller.quota.window.size.seconds", Type: Int, Default: "1", Limit: atLeast(1), Doc: "How long such a window is."},
		{Name: "quota.window.num", Type: Int, Default: "11", Limit: atLeast(1), Doc: "How many windows the quotas of clients keep."},
		{Name: "quota.window.size.seconds", Type: Int, Default: "1", Limit: atLeast(1), Doc: "How long such a window is."},
		{Name: "replication.quota.window.num", Type: Int, Default: "11", Limit: atLeast(1), Doc: "How many windows the quota of replication keeps."},
		{Name: "replication.quota.window.size.seconds", Type: Int, Default: "1", Limit: atLeast(1), Doc: "How long such a window is."},
	}
}

func keptThreadsProperties() []Property {
	return []Property{
		{Name: "background.threads", Type: Int, Default: "10", Limit: atLeast(1), Change: ClusterWide, Doc: "How many threads do the work in the background."},
		{Name: "group.coordinator.background.threads", Type: Int, Default: "2", Limit: atLeast(1), Doc: "How many threads do the coordinator's work in the background."},
		{Name: "group.coordinator.threads", Type: Int, Default: "4", Limit: atLeast(1), Doc: "How many threads run group coordinators."},
		{Name: "num.io.threads", Type: Int, Default: "8", Limit: atLeast(1), Change: ClusterWide, Doc: "How many threads serve requests."},
		{Name: "num.network.threads", Type: Int, Default: "3", Limit: atLeast(1), Change: ClusterWide, Doc: "How many threads read and write connections."},
		{Name: "share.coordinator.threads", Type: Int, Default: "1", Limit: atLeast(1), Doc: "How many threads run share coordinators."},
	}
}

func keptSecurityProperties() []Property {
	return []Property{
		{Name: "connection.failed.authentication.delay.ms", Type: Int, Default: "100", Limit: atLeast(0), Doc: "How long a failed authentication is kept waiting."},
		{Name: "connections.max.reauth.ms", Type: Long, Default: "0", Doc: "How long an authentication lasts."},
		{Name: "delegation.token.expiry.check.interval.ms", Type: Long, Default: "3600000", Limit: atLeast(1), Doc: "How often expired tokens are looked for."},
		{Name: "delegation.token.expiry.time.ms", Type: Long, Default: "86400000", Limit: atLeast(1), Doc: "How long a token lasts unless it is renewed."},
		{Name: "delegation.token.max.lifetime.ms", Type: Long, Default: "604800000", Limit: atLeast(1), Doc: "How long a token can be renewed."},
		{Name: "delegation.token.secret.key", Type: Password, Unset: true, Doc: "The key that tokens are signed with."},
		{Name: "early.start.listeners", Type: List, Unset: true, Doc: "The listeners that start before the authorizer has."},
		{Name: "inter.broker.listener.name", Type: String, Unset: true, Doc: "The listener that brokers talk to each other by."},
		{Name: "listener.security.protocol.map", Type: String, Default: "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Change: PerBroker, Doc: "The security protocol of each listener."},
		{Name: "security.inter.broker.protocol", Type: String, Default: "PLAINTEXT", Limit: oneOf("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), Doc: "The security protocol between brokers."},
		{Name: "sasl.server.max.receive.size", Type: Int, Default: "524288", Doc: "The largest message of an authentication."},
	}
}

func keptControllerProperties() []Property {
	return []Property{
		{Name: "controlled.shutdown.max.retries", Type: Int, Default: "3", Doc: "How often a broker that stops asks to hand its leaderships over."},
		{Name: "controlled.shutdown.retry.backoff.ms", Type: Long, Default: "5000", Doc: "How long it waits in between."},
		{Name: "metadata.log.segment.min.bytes", Type: Int, Default: "8388608", Doc: "The smallest size of a segment of the metadata log."},
		{Name: "controlled.shutdown.enable", Type: Boolean, Default: "true", Doc: "Whether a broker that stops hands its leaderships over first."},
		{Name: "controller.performance.always.log.threshold.ms", Type: Long, Default: "2000", Limit: atLeast(0), Doc: "From what duration on an event of the controller is logged."},
		{Name: "controller.performance.sample.period.ms", Type: Long, Default: "60000", Limit: atLeast(100), Doc: "How often slow events of the controller are logged."},
		{Name: "controller.quorum.append.linger.ms", Type: Int, Default: "25", Limit: atLeast(0), Doc: "How long the controller waits for more records before it writes."},
		{Name: "controller.quorum.auto.join.enable", Type: Boolean, Default: "false", Doc: "Whether a controller joins the voters by itself."},
		{Name: "controller.quorum.election.backoff.max.ms", Type: Int, Default: "1000", Limit: atLeast(0), Doc: "The longest pause before another election."},
		{Name: "controller.quorum.election.timeout.ms", Type: Int, Default: "1000", Limit: atLeast(0), Doc: "How long a candidate waits for votes."},
		{Name: "controller.quorum.fetch.max.bytes", Type: Int, Default: "1048576", Limit: atLeast(1), Doc: "How many bytes of the metadata log are fetched at a time."},
		{Name: "controller.quorum.fetch.snapshot.max.bytes", Type: Int, Default: "1048576", Limit: atLeast(1), Doc: "How many bytes of a metadata snapshot are fetched at a time."},
		{Name: "controller.quorum.fetch.timeout.ms", Type: Int, Default: "2000", Limit: atLeast(0), Doc: "After what silence of the leader an election begins."},
		{Name: "controller.quorum.request.timeout.ms", Type: Int, Default: "2000", Limit: atLeast(0), Doc: "How long a controller waits for another."},
		{Name: "controller.quorum.retry.backoff.ms", Type: Int, Default: "20", Limit: atLeast(0), Doc: "How long a controller waits before it asks again."},
		{Name: "controller.socket.timeout.ms", Type: Int, Default: "30000", Doc: "How long the connection between controller and broker may be silent."},
		{Name: "internal.metadata.delete.delay.millis", Type: Long, Default: "60000", Doc: "How long deleted files of the metadata log stay."},
		{Name: "internal.metadata.log.segment.bytes", Type: Int, Unset: true, Doc: "The size of a segment of the metadata log."},
		{Name: "internal.metadata.max.batch.size.in.bytes", Type: Int, Default: "8388608", Doc: "The largest batch of the metadata log."},
		{Name: "metadata.log.max.snapshot.interval.ms", Type: Long, Default: "3600000", Limit: atLeast(0), Doc: "How often a snapshot of the metadata is made at least."},
		{Name: "metadata.log.segment.bytes", Type: Int, Default: "1073741824", Limit: atLeast(8388608), Doc: "The size of a segment of the metadata log."},
		{Name: "metadata.log.segment.ms", Type: Long, Default: "604800000", Doc: "The age of a segment of the metadata log."},
		{Name: "metadata.max.idle.interval.ms", Type: Int, Default: "500", Limit: atLeast(0), Doc: "How often an active controller writes when there is nothing to write."},
		{Name: "metadata.max.retention.bytes", Type: Long, Default: "104857600", Doc: "How many bytes of the metadata log are kept."},
		{Name: "metadata.max.retention.ms", Type: Long, Default: "604800000", Doc: "How long the metadata log is kept."},
		{Name: "request.timeout.ms", Type: Int, Default: "30000", Doc: "How long a broker waits for the controller's answer."},
		{Name: "server.max.startup.time.ms", Type: Long, Default: "9223372036854775807", Limit: atLeast(0), Doc: "How long a start may take."},
		{Name: "socket.connection.setup.timeout.max.ms", Type: Long, Default: "30000", Doc: "How long a connection between nodes may take to be set up, at the last attempt."},
		{Name: "socket.connection.setup.timeout.ms", Type: Long, Default: "10000", Doc: "How long a connection between nodes may take to be set up, at the first attempt."},
		{Name: "unstable.api.versions.enable", Type: Boolean, Default: "false", Doc: "Whether versions of requests are advertised that are still in development."},
		{Name: "unstable.feature.versions.enable", Type: Boolean, Default: "false", Doc: "Whether levels of features are allowed that are still in development."},
	}
}

func keptPurgatoryProperties() []Property {
	return []Property{
		{Name: "delete.records.purgatory.purge.interval.requests", Type: Int, Default: "1", Doc: "After how many requests waiting DeleteRecords are cleaned up."},
		{Name: "fetch.purgatory.purge.interval.requests", Type: Int, Default: "1000", Doc: "After how many requests waiting fetches are cleaned up."},
		{Name: "producer.purgatory.purge.interval.requests", Type: Int, Default: "1000", Doc: "After how many requests waiting produces are cleaned up."},
		{Name: "share.fetch.purgatory.purge.interval.requests", Type: Int, Default: "1000", Doc: "After how many requests waiting fetches of share groups are cleaned up."},
	}
}

func keptConsumerProperties() []Property {
	return []Property{
		{Name: "group.consumer.assignment.interval.ms", Type: Int, Default: "1000", Limit: atLeast(0), Change: ClusterWide, Doc: "How much time at least lies between two assignments of a group."},
		{Name: "group.consumer.assignors", Type: List, Default: "uniform,range", Doc: "The assignors that groups may choose, the default first."},
		{Name: "group.consumer.heartbeat.interval.ms", Type: Int, Default: "5000", Limit: atLeast(1), Doc: "How often members send heartbeats."},
		{Name: "group.consumer.max.assignment.interval.ms", Type: Int, Default: "15000", Limit: atLeast(0), Doc: "The largest consumer.assignment.interval.ms of a group."},
		{Name: "group.consumer.max.heartbeat.interval.ms", Type: Int, Default: "15000", Limit: atLeast(1), Doc: "The largest consumer.heartbeat.interval.ms of a group."},
		{Name: "group.consumer.max.session.timeout.ms", Type: Int, Default: "60000", Limit: atLeast(1), Doc: "The largest consumer.session.timeout.ms of a group."},
		{Name: "group.consumer.max.size", Type: Int, Default: "2147483647", Limit: atLeast(1), Doc: "How many members a group may have."},
		{Name: "group.consumer.migration.policy", Type: String, Default: "bidirectional", Doc: "Whether groups change between the classic and the consumer protocol."},
		{Name: "group.consumer.min.assignment.interval.ms", Type: Int, Default: "0", Limit: atLeast(0), Doc: "The smallest consumer.assignment.interval.ms of a group."},
		{Name: "group.consumer.min.heartbeat.interval.ms", Type: Int, Default: "5000", Limit: atLeast(1), Doc: "The smallest consumer.heartbeat.interval.ms of a group."},
		{Name: "group.consumer.min.session.timeout.ms", Type: Int, Default: "45000", Limit: atLeast(1), Doc: "The smallest consumer.session.timeout.ms of a group."},
		{Name: "group.consumer.regex.refresh.interval.ms", Type: Int, Default: "600000", Limit: atLeast(10000), Doc: "How often subscriptions by pattern are matched with new topics."},
		{Name: "group.consumer.session.timeout.ms", Type: Int, Default: "45000", Limit: atLeast(1), Doc: "After what silence a member is taken out of its group."},
		{Name: "group.coordinator.rebalance.protocols", Type: List, Default: "classic,consumer,streams", Doc: "The protocols that groups may use."},
	}
}

func keptShareProperties() []Property {
	return []Property{
		{Name: "group.share.assignment.interval.ms", Type: Int, Default: "1000", Limit: atLeast(0), Change: ClusterWide, Doc: "How much time at least lies between two assignments of a group."},
		{Name: "group.share.assignors", Type: List, Default: "simple", Doc: "The assignors of share groups."},
		{Name: "group.share.delivery.count.limit", Type: Int, Default: "5", Limit: between(2, 10), Doc: "How often a record is delivered before it is given up."},
		{Name: "group.share.heartbeat.interval.ms", Type: Int, Default: "5000", Limit: atLeast(1), Doc: "How often members send heartbeats."},
		{Name: "group.share.initialize.retry.interval.ms", Type: Int, Default: "30000", Limit: atLeast(1), Doc: "How long it is waited before the state of a partition is initialized again."},
		{Name: "group.share.max.assignment.interval.ms", Type: Int, Default: "15000", Limit: atLeast(0), Doc: "The largest share.assignment.interval.ms of a group."},
		{Name: "group.share.max.delivery.count.limit", Type: Int, Default: "10", Limit: between(5, 25), Doc: "The largest share.delivery.count.limit of a group."},
		{Name: "group.share.max.groups", Type: Int, Default: "10", Limit: atLeast(1), Doc: "How many share groups there may be."},
		{Name: "group.share.max.heartbeat.interval.ms", Type: Int, Default: "15000", Limit: atLeast(1), Doc: "The largest share.heartbeat.interval.ms of a group."},
		{Name: "group.share.max.partition.max.record.locks", Type: Int, Default: "4000", Limit: between(2000, 10000), Doc: "The largest share.partition.max.record.locks of a group."},
		{Name: "group.share.max.record.lock.duration.ms", Type: Int, Default: "60000", Limit: between(30000, 3600000), Doc: "The largest share.record.lock.duration.ms of a group."},
		{Name: "group.share.max.session.timeout.ms", Type: Int, Default: "60000", Limit: atLeast(1), Doc: "The largest share.session.timeout.ms of a group."},
		{Name: "group.share.max.share.sessions", Type: Int, Default: "2000", Limit: atLeast(1), Doc: "How many share sessions a broker keeps."},
		{Name: "group.share.max.size", Type: Int, Default: "200", Limit: between(1, 1000), Doc: "How many members a group may have."},
		{Name: "group.share.min.assignment.interval.ms", Type: Int, Default: "0", Limit: atLeast(0), Doc: "The smallest share.assignment.interval.ms of a group."},
		{Name: "group.share.min.delivery.count.limit", Type: Int, Default: "2", Limit: between(2, 5), Doc: "The smallest share.delivery.count.limit of a group."},
		{Name: "group.share.min.heartbeat.interval.ms", Type: Int, Default: "5000", Limit: atLeast(1), Doc: "The smallest share.heartbeat.interval.ms of a group."},
		{Name: "group.share.min.partition.max.record.locks", Type: Int, Default: "100", Limit: between(100, 2000), Doc: "The smallest share.partition.max.record.locks of a group."},
		{Name: "group.share.min.record.lock.duration.ms", Type: Int, Default: "15000", Limit: between(1000, 30000), Doc: "The smallest share.record.lock.duration.ms of a group."},
		{Name: "group.share.min.session.timeout.ms", Type: Int, Default: "45000", Limit: atLeast(1), Doc: "The smallest share.session.timeout.ms of a group."},
		{Name: "group.share.partition.max.record.locks", Type: Int, Default: "2000", Limit: between(100, 10000), Doc: "How many records of a partition may be delivered and not yet acknowledged."},
		{Name: "group.share.persister.class.name", Type: String, Default: "org.apache.kafka.server.share.persister.DefaultStatePersister", Doc: "The class that keeps the state of share groups."},
		{Name: "group.share.record.lock.duration.ms", Type: Int, Default: "30000", Limit: between(1000, 3600000), Doc: "How long a delivered record is kept from the other members."},
		{Name: "group.share.session.timeout.ms", Type: Int, Default: "45000", Limit: atLeast(1), Doc: "After what silence a member is taken out of its group."},
		{Name: "share.coordinator.append.linger.ms", Type: Int, Default: "-1", Limit: atLeast(-1), Doc: "How long the coordinator waits for more records before it writes."},
		{Name: "share.coordinator.cached.buffer.max.bytes", Type: Int, Default: "1048588", Limit: atLeast(524288), Change: ClusterWide, Doc: "The largest buffer that the coordinator keeps for its next write."},
		{Name: "share.coordinator.cold.partition.snapshot.interval.ms", Type: Int, Default: "300000", Limit: atLeast(1), Doc: "How often the state of a partition at rest is written down."},
		{Name: "share.coordinator.load.buffer.size", Type: Int, Default: "5242880", Limit: atLeast(1), Doc: "How many bytes of the state's log are read at a time."},
		{Name: "share.coordinator.snapshot.update.records.per.snapshot", Type: Int, Default: "500", Limit: between(0, 500), Doc: "After how many changes the state is written down as a whole."},
		{Name: "share.coordinator.state.topic.compression.codec", Type: Int, Default: "0", Doc: "The compression of the state's log."},
		{Name: "share.coordinator.state.topic.min.isr", Type: Short, Default: "2", Limit: atLeast(1), Doc: "min.insync.replicas of the state's log."},
		{Name: "share.coordinator.state.topic.num.partitions", Type: Int, Default: "50", Limit: atLeast(1), Doc: "How many partitions the state's log has."},
		{Name: "share.coordinator.state.topic.prune.interval.ms", Type: Int, Default: "300000", Limit: atLeast(1), Doc: "How often the state's log is pruned."},
		{Name: "share.coordinator.state.topic.replication.factor", Type: Short, Default: "3", Limit: atLeast(1), Doc: "How many replicas the state's log has."},
		{Name: "share.coordinator.state.topic.segment.bytes", Type: Int, Default: "104857600", Limit: atLeast(1), Doc: "The size of a segment of the state's log."},
		{Name: "share.coordinator.write.timeout.ms", Type: Int, Default: "5000", Limit: atLeast(1), Doc: "How long a write of the state may take."},
	}
}

func keptStreamsProperties() []Property {
	return []Property{
		{Name: "group.streams.assignment.interval.ms", Type: Int, Default: "1000", Limit: atLeast(0), Change: ClusterWide, Doc: "How much time at least lies between two assignments of a group."},
		{Name: "group.streams.heartbeat.interval.ms", Type: Int, Default: "5000", Limit: atLeast(1), Doc: "How often members send heartbeats."},
		{Name: "group.streams.initial.rebalance.delay.ms", Type: Int, Default: "3000", Limit: atLeast(0), Doc: "How long a new group waits for more members."},
		{Name: "group.streams.max.assignment.interval.ms", Type: Int, Default: "15000", Limit: atLeast(0), Doc: "The largest streams.assignment.interval.ms of a group."},
		{Name: "group.streams.max.heartbeat.interval.ms", Type: Int, Default: "15000", Limit: atLeast(1), Doc: "The largest streams.heartbeat.interval.ms of a group."},
		{Name: "group.streams.max.session.timeout.ms", Type: Int, Default: "60000", Limit: atLeast(1), Doc: "The largest streams.session.timeout.ms of a group."},
		{Name: "group.streams.max.size", Type: Int, Default: "2147483647", Limit: atLeast(1), Doc: "How many members a group may have."},
		{Name: "group.streams.max.standby.replicas", Type: Int, Default: "2", Limit: atLeast(0), Doc: "The largest streams.num.standby.replicas of a group."},
		{Name: "group.streams.min.assignment.interval.ms", Type: Int, Default: "0", Limit: atLeast(0), Doc: "The smallest streams.assignment.interval.ms of a group."},
		{Name: "group.streams.min.heartbeat.interval.ms", Type: Int, Default: "5000", Limit: atLeast(1), Doc: "The smallest streams.heartbeat.interval.ms of a group."},
		{Name: "group.streams.min.session.timeout.ms", Type: Int, Default: "45000", Limit: atLeast(1), Doc: "The smallest streams.session.timeout.ms of a group."},
		{Name: "group.streams.num.standby.replicas", Type: Int, Default: "0", Limit: atLeast(0), Doc: "How many standby copies each stateful task has."},
		{Name: "group.streams.session.timeout.ms", Type: Int, Default: "45000", Limit: atLeast(1), Doc: "After what silence a member is taken out of its group."},
	}
}

func keptCoordinatorProperties() []Property {
	return []Property{
		{Name: "group.coordinator.append.linger.ms", Type: Int, Default: "-1", Limit: atLeast(-1), Doc: "How long the coordinator waits for more records before it writes."},
		{Name: "group.coordinator.cached.buffer.max.bytes", Type: Int, Default: "1048588", Limit: atLeast(524288), Change: ClusterWide, Doc: "The largest buffer that the coordinator keeps for its next write."},
		{Name: "offsets.load.buffer.size", Type: Int, Default: "5242880", Limit: atLeast(1), Doc: "How many bytes of __consumer_offsets are read at a time."},
		{Name: "offsets.topic.compression.codec", Type: Int, Default: "0", Doc: "The compression of __consumer_offsets."},
	}
}

func keptStorageProperties() []Property {
	return []Property{
		{Name: "log.dir.failure.timeout.ms", Type: Long, Default: "30000", Limit: atLeast(1), Doc: "How long a broker waits for the controller after a data directory has failed."},
		{Name: "log.flush.offset.checkpoint.interval.ms", Type: Int, Default: "60000", Limit: atLeast(0), Doc: "How often recovery points are written down."},
		{Name: "log.flush.start.offset.checkpoint.interval.ms", Type: Int, Default: "60000", Limit: atLeast(0), Doc: "How often the starts of logs are written down."},
		{Name: "log.initial.task.delay.ms", Type: Long, Default: "30000", Limit: atLeast(0), Doc: "How long after a start the work in the background begins."},
		{Name: "producer.id.expiration.check.interval.ms", Type: Int, Default: "600000", Limit: atLeast(1), Doc: "How often it is looked for producers that have expired."},
	}
}

func keptMetricsProperties() []Property {
	return []Property{
		{Name: "metrics.num.samples", Type: Int, Default: "2", Limit: atLeast(1), Doc: "How many samples a metric keeps."},
		{Name: "metrics.recording.level", Type: String, Default: "INFO", Doc: "Which metrics are recorded."},
		{Name: "metrics.sample.window.ms", Type: Long, Default: "30000", Limit: atLeast(1), Doc: "How long a sample of a metric lasts."},
		{Name: "telemetry.max.bytes", Type: Int, Default: "1048576", Limit: atLeast(1), Doc: "The largest message of metrics that a client may push."},
	}
}

func keptSocketProperties() []Property {
	return []Property{
		{Name: "queued.max.requests", Type: Int, Default: "500", Limit: atLeast(1), Doc: "How many requests may wait."},
		{Name: "socket.listen.backlog.size", Type: Int, Default: "50", Limit: atLeast(1), Doc: "How many connections wait to be accepted."},
		{Name: "socket.receive.buffer.bytes", Type: Int, Default: "102400", Doc: "The receive buffer of a connection."},
		{Name: "socket.send.buffer.bytes", Type: Int, Default: "102400", Doc: "The send buffer of a connection."},
	}
}

func keptTieringProperties() []Property {
	return []Property{
		{Name: "remote.fetch.max.wait.ms", Type: Int, Default: "500", Limit: atLeast(1), Change: ClusterWide, Doc: "How long a fetch waits for records that were tiered."},
		{Name: "remote.list.offsets.request.timeout.ms", Type: Long, Default: "30000", Limit: atLeast(1), Change: ClusterWide, Doc: "How long ListOffsets waits for what was tiered."},
		{Name: "remote.log.index.file.cache.total.size.bytes", Type: Long, Default: "1073741824", Limit: atLeast(1), Change: ClusterWide, Doc: "How many bytes of indexes of tiered segments are kept on the disk."},
		{Name: "remote.log.index.file.cache.ttl.ms", Type: Long, Default: "900000", Limit: atLeast(-1), Doc: "How long such an index is kept."},
		{Name: "remote.log.manager.copier.thread.pool.size", Type: Int, Default: "10", Limit: atLeast(1), Change: ClusterWide, Doc: "How many threads copy segments."},
		{Name: "remote.log.manager.copy.max.bytes.per.second", Type: Long, Default: "9223372036854775807", Limit: atLeast(1), Change: ClusterWide, Doc: "How many bytes a second are copied."},
		{Name: "remote.log.manager.copy.quota.window.num", Type: Int, Default: "11", Limit: atLeast(1), Doc: "How many windows the quota of copies keeps."},
		{Name: "remote.log.manager.copy.quota.window.size.seconds", Type: Int, Default: "1", Limit: atLeast(1), Doc: "How long such a window is."},
		{Name: "remote.log.manager.expiration.thread.pool.size", Type: Int, Default: "10", Limit: atLeast(1), Change: ClusterWide, Doc: "How many threads delete expired tiered segments."},
		{Name: "remote.log.manager.fetch.max.bytes.per.second", Type: Long, Default: "9223372036854775807", Limit: atLeast(1), Change: ClusterWide, Doc: "How many bytes a second are read from tiered segments."},
		{Name: "remote.log.manager.fetch.quota.window.num", Type: Int, Default: "11", Limit: atLeast(1), Doc: "How many windows the quota of such reads keeps."},
		{Name: "remote.log.manager.fetch.quota.window.size.seconds", Type: Int, Default: "1", Limit: atLeast(1), Doc: "How long such a window is."},
		{Name: "remote.log.manager.follower.thread.pool.size", Type: Int, Default: "2", Limit: atLeast(1), Change: ClusterWide, Doc: "How many threads keep followers of tiered partitions."},
		{Name: "remote.log.manager.task.interval.ms", Type: Long, Default: "30000", Limit: atLeast(1), Doc: "How often it is looked for segments to copy."},
		{Name: "remote.log.manager.task.retry.backoff.max.ms", Type: Long, Default: "30000", Limit: atLeast(1), Doc: "The longest pause after a copy that failed."},
		{Name: "remote.log.manager.task.retry.backoff.ms", Type: Long, Default: "500", Limit: atLeast(1), Doc: "The first pause after a copy that failed."},
		{Name: "remote.log.manager.task.retry.jitter", Type: Double, Default: "0.2", Doc: "How much of that pause is random."},
		{Name: "remote.log.manager.thread.pool.size", Type: Int, Default: "2", Limit: atLeast(1), Doc: "How many threads do the work of tiering."},
		{Name: "remote.log.metadata.custom.metadata.max.bytes", Type: Int, Default: "128", Limit: atLeast(0), Doc: "How many bytes a storage plugin may keep about a segment."},
		{Name: "remote.log.metadata.manager.class.name", Type: String, Default: "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", Doc: "The class that keeps what is known of tiered segments."},
		{Name: "remote.log.metadata.manager.class.path", Type: String, Unset: true, Doc: "Where that class is."},
		{Name: "remote.log.metadata.manager.impl.prefix", Type: String, Default: "rlmm.config.", Doc: "What the names of that class's properties begin with."},
		{Name: "remote.log.metadata.manager.listener.name", Type: String, Unset: true, Doc: "The listener that that class connects to."},
		{Name: "remote.log.metadata.consume.wait.ms", Type: Long, Default: "120000", Limit: atLeast(0), Doc: "How long a change of the tiered segments' log waits until it is read back."},
		{Name: "remote.log.metadata.initialization.retry.interval.ms", Type: Long, Default: "100", Limit: atLeast(0), Doc: "How long it is waited before the tiered segments' log is set up again."},
		{Name: "remote.log.metadata.initialization.retry.max.timeout.ms", Type: Long, Default: "120000", Limit: atLeast(0), Doc: "How long it is tried to set the tiered segments' log up."},
		{Name: "remote.log.metadata.topic.num.partitions", Type: Int, Default: "50", Limit: atLeast(1), Doc: "How many partitions the tiered segments' log has."},
		{Name: "remote.log.metadata.topic.replication.factor", Type: Short, Default: "3", Limit: atLeast(1), Doc: "How many replicas the tiered segments' log has."},
		{Name: "remote.log.metadata.topic.retention.ms", Type: Long, Default: "-1", Doc: "How long the tiered segments' log is kept; -1: for ever."},
		{Name: "remote.log.reader.max.pending.tasks", Type: Int, Default: "100", Limit: atLeast(1), Doc: "How many reads of tiered segments may wait."},
		{Name: "remote.log.reader.threads", Type: Int, Default: "10", Limit: atLeast(1), Change: ClusterWide, Doc: "How many threads read tiered segments."},
		{Name: "remote.log.storage.manager.class.name", Type: String, Unset: true, Doc: "The class that stores tiered segments."},
		{Name: "remote.log.storage.manager.class.path", Type: String, Unset: true, Doc: "Where that class is."},
		{Name: "remote.log.storage.manager.impl.prefix", Type: String, Default: "rsm.config.", Doc: "What the names of that class's properties begin with."},
		{Name: "remote.log.storage.system.enable", Type: Boolean, Default: "false", Doc: "Whether topics may be tiered."},
	}
}

func keptTLSProperties() []Property {
	return []Property{
		{Name: "ssl.allow.dn.changes", Type: Boolean, Default: "false", Doc: "Whether a new certificate may have another name."},
		{Name: "ssl.allow.san.changes", Type: Boolean, Default: "false", Doc: "Whether a new certificate may have other alternative names."},
		{Name: "ssl.cipher.suites", Type: List, Unset: true, Change: PerBroker, Doc: "The cipher suites that are allowed; empty for all of the protocol's."},
		{Name: "ssl.client.auth", Type: String, Default: "none", Limit: oneOf("required", "requested", "none"), Change: PerBroker, Doc: "Whether clients must show a certificate."},
		{Name: "ssl.enabled.protocols", Type: List, Default: "TLSv1.2,TLSv1.3", Change: PerBroker, Doc: "The protocol versions that are allowed."},
		{Name: "ssl.endpoint.identification.algorithm", Type: String, Default: "https", Change: PerBroker, Doc: "How the name of the other side is checked."},
		{Name: "ssl.engine.factory.class", Type: Class, Unset: true, Change: PerBroker, Doc: "The class that makes TLS connections."},
		{Name: "ssl.key.password", Type: Password, Unset: true, Change: PerBroker, Doc: "The password of the private key."},
		{Name: "ssl.keymanager.algorithm", Type: String, Default: "SunX509", Change: PerBroker, Doc: "The algorithm that chooses keys."},
		{Name: "ssl.keystore.certificate.chain", Type: Password, Unset: true, Change: PerBroker, Doc: "The certificates, as PEM."},
		{Name: "ssl.keystore.key", Type: Password, Unset: true, Change: PerBroker, Doc: "The private key, as PEM."},
		{Name: "ssl.keystore.location", Type: String, Unset: true, Change: PerBroker, Doc: "The file of keys."},
		{Name: "ssl.keystore.password", Type: Password, Unset: true, Change: PerBroker, Doc: "The password of the file of keys."},
		{Name: "ssl.keystore.type", Type: String, Default: "JKS", Change: PerBroker, Doc: "The format of the file of keys."},
		{Name: "ssl.principal.mapping.rules", Type: String, Default: "DEFAULT", Doc: "How a certificate's name becomes a principal."},
		{Name: "ssl.protocol", Type: String, Default: "TLSv1.3", Change: PerBroker, Doc: "The protocol of new connections."},
		{Name: "ssl.provider", Type: String, Unset: true, Change: PerBroker, Doc: "The provider of TLS."},
		{Name: "ssl.secure.random.implementation", Type: String, Unset: true, Change: PerBroker, Doc: "The generator of random numbers."},
		{Name: "ssl.trustmanager.algorithm", Type: String, Default: "PKIX", Change: PerBroker, Doc: "The algorithm that decides about trust."},
		{Name: "ssl.truststore.certificates", Type: Password, Unset: true, Change: PerBroker, Doc: "The certificates that are trusted, as PEM."},
		{Name: "ssl.truststore.location", Type: String, Unset: true, Change: PerBroker, Doc: "The file of trusted certificates."},
		{Name: "ssl.truststore.password", Type: Password, Unset: true, Change: PerBroker, Doc: "The password of that file."},
		{Name: "ssl.truststore.type", Type: String, Default: "JKS", Change: PerBroker, Doc: "The format of that file."},
	}
}

func keptSASLProperties() []Property {
	return []Property{
		{Name: "sasl.client.callback.handler.class", Type: Class, Unset: true, Doc: "The class that a client asks for credentials."},
		{Name: "sasl.enabled.mechanisms", Type: List, Default: "GSSAPI", Change: PerBroker, Doc: "The mechanisms that clients may use."},
		{Name: "sasl.jaas.config", Type: Password, Unset: true, Change: PerBroker, Doc: "The login of the broker."},
		{Name: "sasl.kerberos.kinit.cmd", Type: String, Default: "/usr/bin/kinit", Change: PerBroker, Doc: "The path of kinit."},
		{Name: "sasl.kerberos.min.time.before.relogin", Type: Long, Default: "60000", Change: PerBroker, Doc: "How much time lies between two logins."},
		{Name: "sasl.kerberos.principal.to.local.rules", Type: List, Default: "DEFAULT", Change: PerBroker, Doc: "How a Kerberos principal becomes a short name."},
		{Name: "sasl.kerberos.service.name", Type: String, Unset: true, Change: PerBroker, Doc: "The name of the service in Kerberos."},
		{Name: "sasl.kerberos.ticket.renew.jitter", Type: Double, Default: "0.05", Change: PerBroker, Doc: "How much of the time to a renewal is random."},
		{Name: "sasl.kerberos.ticket.renew.window.factor", Type: Double, Default: "0.8", Change: PerBroker, Doc: "After what part of its life a ticket is renewed."},
		{Name: "sasl.login.callback.handler.class", Type: Class, Unset: true, Doc: "The class that a login asks for credentials."},
		{Name: "sasl.login.class", Type: Class, Unset: true, Doc: "The class that logs in."},
		{Name: "sasl.login.connect.timeout.ms", Type: Int, Unset: true, Doc: "How long the connection to an identity provider may take."},
		{Name: "sasl.login.read.timeout.ms", Type: Int, Unset: true, Doc: "How long an identity provider may take to answer."},
		{Name: "sasl.login.refresh.buffer.seconds", Type: Short, Default: "300", Change: PerBroker, Doc: "How long before its end a credential is renewed."},
		{Name: "sasl.login.refresh.min.period.seconds", Type: Short, Default: "60", Change: PerBroker, Doc: "How much time lies between two renewals of a credential."},
		{Name: "sasl.login.refresh.window.factor", Type: Double, Default: "0.8", Change: PerBroker, Doc: "After what part of its life a credential is renewed."},
		{Name: "sasl.login.refresh.window.jitter", Type: Double, Default: "0.05", Change: PerBroker, Doc: "How much of that time is random."},
		{Name: "sasl.login.retry.backoff.max.ms", Type: Long, Default: "10000", Doc: "The longest pause before another attempt to log in."},
		{Name: "sasl.login.retry.backoff.ms", Type: Long, Default: "100", Doc: "The first pause before another attempt to log in."},
		{Name: "sasl.mechanism.controller.protocol", Type: String, Default: "GSSAPI", Doc: "The mechanism between brokers and controllers."},
		{Name: "sasl.mechanism.inter.broker.protocol", Type: String, Default: "GSSAPI", Change: PerBroker, Doc: "The mechanism between brokers."},
		{Name: "sasl.oauthbearer.assertion.algorithm", Type: String, Default: "RS256", Doc: "The algorithm that assertions are signed with."},
		{Name: "sasl.oauthbearer.assertion.claim.aud", Type: String, Unset: true, Doc: "The audience of assertions."},
		{Name: "sasl.oauthbearer.assertion.claim.exp.seconds", Type: Int, Default: "300", Limit: between(0, 86400), Doc: "How long an assertion is valid."},
		{Name: "sasl.oauthbearer.assertion.claim.iss", Type: String, Unset: true, Doc: "The issuer of assertions."},
		{Name: "sasl.oauthbearer.assertion.claim.jti.include", Type: Boolean, Default: "false", Doc: "Whether assertions have an id."},
		{Name: "sasl.oauthbearer.assertion.claim.nbf.seconds", Type: Int, Default: "60", Limit: between(0, 3600), Doc: "How long before its making an assertion is valid already."},
		{Name: "sasl.oauthbearer.assertion.claim.sub", Type: String, Unset: true, Doc: "The subject of assertions."},
		{Name: "sasl.oauthbearer.assertion.file", Type: String, Unset: true, Doc: "The file of a ready assertion."},
		{Name: "sasl.oauthbearer.assertion.private.key.file", Type: String, Unset: true, Doc: "The file of the key that signs assertions."},
		{Name: "sasl.oauthbearer.assertion.private.key.passphrase", Type: Password, Unset: true, Doc: "The passphrase of that key."},
		{Name: "sasl.oauthbearer.assertion.template.file", Type: String, Unset: true, Doc: "The file of a template of assertions."},
		{Name: "sasl.oauthbearer.client.credentials.client.id", Type: String, Unset: true, Doc: "The id of the client at the identity provider."},
		{Name: "sasl.oauthbearer.client.credentials.client.secret", Type: Password, Unset: true, Doc: "The secret of the client at the identity provider."},
		{Name: "sasl.oauthbearer.clock.skew.seconds", Type: Int, Default: "30", Doc: "How far clocks may differ."},
		{Name: "sasl.oauthbearer.expected.audience", Type: List, Unset: true, Doc: "The audiences that tokens may have."},
		{Name: "sasl.oauthbearer.expected.issuer", Type: String, Unset: true, Doc: "The issuer that tokens must have."},
		{Name: "sasl.oauthbearer.jwks.endpoint.refresh.ms", Type: Long, Default: "3600000", Doc: "How often the keys of the identity provider are fetched."},
		{Name: "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Type: Long, Default: "10000", Doc: "The longest pause before they are fetched again."},
		{Name: "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Type: Long, Default: "100", Doc: "The first pause before they are fetched again."},
		{Name: "sasl.oauthbearer.jwks.endpoint.url", Type: String, Unset: true, Doc: "Where the keys of the identity provider are."},
		{Name: "sasl.oauthbearer.jwt.retriever.class", Type: Class, Default: "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", Doc: "The class that gets tokens."},
		{Name: "sasl.oauthbearer.jwt.validator.class", Type: Class, Default: "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", Doc: "The class that checks tokens."},
		{Name: "sasl.oauthbearer.scope", Type: String, Unset: true, Doc: "The scope that is asked for."},
		{Name: "sasl.oauthbearer.scope.claim.name", Type: String, Default: "scope", Doc: "The claim of a token that has the scope."},
		{Name: "sasl.oauthbearer.sub.claim.name", Type: String, Default: "sub", Doc: "The claim of a token that has the subject."},
		{Name: "sasl.oauthbearer.token.endpoint.url", Type: String, Unset: true, Doc: "Where tokens are got."},
		{Name: "sasl.server.callback.handler.class", Type: Class, Unset: true, Doc: "The class that a server asks about credentials."},
	}
}
