import static org.apache.kafka.common.config.ConfigResource.Type.BROKER;
import static org.apache.kafka.common.config.ConfigResource.Type.BROKER_LOGGER;
import static org.apache.kafka.common.config.ConfigResource.Type.CLIENT_METRICS;
import static org.apache.kafka.common.config.ConfigResource.Type.GROUP;
import static org.apache.kafka.common.config.ConfigResource.Type.TOPIC;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.ClassicGroupDescription;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeConsumerGroupsOptions;
import org.apache.kafka.clients.admin.DescribeProducersOptions;
import org.apache.kafka.clients.admin.DescribeReplicaLogDirsResult.ReplicaLogDirInfo;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.FeatureMetadata;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.admin.ReplicaInfo;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.TopicListing;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ClassicGroupState;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.errors.UnsupportedVersionException;

/** Every method of Java's Admin whose API a broker here serves, against a cluster of three, and what each answers. */
final class AdminChecks extends Checks {
    private final String prefix; // of topics and groups, so that several clients find a cluster of their own
    private final Admin admin;

    private AdminChecks(String bootstrap, String prefix) {
        super(bootstrap);
        this.prefix = prefix;
        this.admin = Admin.create(properties());
    }

    public static void main(String[] args) {
        AdminChecks c = new AdminChecks(args[0], args[1]);
        try (Admin admin = c.admin) {
            check("describeCluster", c::describeCluster);
            check("describeMetadataQuorum", c::describeMetadataQuorum);
            check("describeFeatures", c::describeFeatures);
            check("createTopics", c::createTopics);
            check("createTopics refused", c::createTopicsRefused);
            check("listTopics", c::listTopics);
            check("describeTopics", c::describeTopics);
            check("describeTopics in pages", c::describeTopicsInPages);
            check("createPartitions", c::createPartitions);
            check("deleteTopics", c::deleteTopics);
            check("describeConfigs of a topic", c::describeTopicConfigs);
            check("describeConfigs of brokers", c::describeBrokerConfigs);
            check("incrementalAlterConfigs of a topic", c::alterTopicConfigs);
            check("incrementalAlterConfigs of brokers", c::alterBrokerConfigs);
            check("incrementalAlterConfigs of loggers", c::alterLoggers);
            check("incrementalAlterConfigs of a group", c::alterGroupConfigs);
            check("incrementalAlterConfigs of client metrics", c::alterClientMetrics);
            check("listConfigResources", c::listConfigResources);
            check("listOffsets", c::listOffsets);
            check("deleteRecords", c::deleteRecords);
            check("describeLogDirs", c::describeLogDirs);
            check("describeProducers", c::describeProducers);
            check("consumer groups", c::groups);
            check("offsets of consumer groups", c::groupOffsets);
            check("removeMembersFromConsumerGroup", c::removeMembers);
            check("groups that are not there", c::noGroups);
            check("what is not served", c::notServed);
        }
    }

    // Topics.

    private void create(String topic, int partitions, Map<String, String> configs) throws Exception {
        get(admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all());
    }

    private TopicDescription describe(String topic) throws Exception {
        return ask(() -> admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
    }

    private void createTopics() throws Exception {
        NewTopic defaults = new NewTopic(prefix + "defaults", Optional.empty(), Optional.empty());
        NewTopic counted = new NewTopic(prefix + "counted", 3, (short) 1).configs(Map.of("retention.ms", "3600000"));
        NewTopic placed = new NewTopic(prefix + "placed", Map.of(0, List.of(2), 1, List.of(3)));
        CreateTopicsResult r = admin.createTopics(List.of(defaults, counted, placed));
        get(r.all());
        equal(3, get(r.numPartitions(counted.name())));
        equal(1, get(r.replicationFactor(counted.name())));
        Config c = get(r.config(counted.name()));
        equal("3600000", c.get("retention.ms").value());
        equal(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, c.get("retention.ms").source());
        equal("delete", c.get("cleanup.policy").value());
        equal(get(r.topicId(placed.name())), describe(placed.name()).topicId());
        equal(List.of(2, 3), describe(placed.name()).partitions().stream().map(p -> p.leader().id()).collect(Collectors.toList()));

        NewTopic imagined = new NewTopic(prefix + "imagined", 4, (short) 1);
        CreateTopicsResult v = admin.createTopics(List.of(imagined), new CreateTopicsOptions().validateOnly(true));
        equal(4, get(v.numPartitions(imagined.name())));
        that(!get(admin.listTopics().names()).contains(imagined.name()), "validateOnly made a topic");
    }

    private void createTopicsRefused() throws Exception {
        String there = prefix + "there";
        create(there, 1, Map.of());
        fails(TopicExistsException.class, () -> get(admin.createTopics(List.of(new NewTopic(there, 1, (short) 1))).all()));
        fails(InvalidTopicException.class, () -> get(admin.createTopics(List.of(new NewTopic("no spaces", 1, (short) 1))).all()));
        fails(InvalidPartitionsException.class, () -> get(admin.createTopics(List.of(new NewTopic(prefix + "a", 0, (short) 1))).all()));
        fails(InvalidReplicationFactorException.class, () -> get(admin.createTopics(List.of(new NewTopic(prefix + "b", 1, (short) 4))).all()));
        NewTopic wrong = new NewTopic(prefix + "c", 1, (short) 1).configs(Map.of("retention.ms", "soon"));
        fails(InvalidConfigurationException.class, () -> get(admin.createTopics(List.of(wrong)).all()));
    }

    private void listTopics() throws Exception {
        create(prefix + "listed", 1, Map.of());
        await("the topic is listed", () -> get(admin.listTopics().names()).contains(prefix + "listed"));
        Uuid id = describe(prefix + "listed").topicId();
        await("its id is listed", () -> {
            TopicListing l = get(admin.listTopics().namesToListings()).get(prefix + "listed");
            return l != null && l.topicId().equals(id);
        });
        commit(prefix + "lister", new TopicPartition(prefix + "listed", 0), 0);
        await("the internal topic is listed as one", () -> {
            TopicListing l = get(admin.listTopics(new ListTopicsOptions().listInternal(true)).namesToListings()).get("__consumer_offsets");
            return l != null && l.isInternal();
        });
        that(!get(admin.listTopics().names()).contains("__consumer_offsets"), "an internal topic is listed unasked");
    }

    private void describeTopics() throws Exception {
        String topic = prefix + "described";
        create(topic, 2, Map.of());
        TopicDescription d = ask(() -> admin.describeTopics(List.of(topic), new DescribeTopicsOptions().includeAuthorizedOperations(true))
            .allTopicNames()).get(topic);
        equal(2, d.partitions().size());
        for (TopicPartitionInfo p : d.partitions()) {
            equal(List.of(p.leader()), p.replicas());
            equal(List.of(p.leader()), p.isr());
        }
        that(d.authorizedOperations().containsAll(Set.of(AclOperation.READ, AclOperation.WRITE, AclOperation.ALTER_CONFIGS)), d.authorizedOperations());
        equal(false, d.isInternal());
        equal(topic, ask(() -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(d.topicId()))).allTopicIds()).get(d.topicId()).name());
        fails(UnknownTopicOrPartitionException.class, () -> get(admin.describeTopics(List.of(prefix + "nothing")).allTopicNames()));
        Uuid unknown = Uuid.randomUuid();
        fails(UnknownTopicIdException.class, () -> get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(unknown))).allTopicIds()));
    }

    private void describeTopicsInPages() throws Exception {
        List<String> names = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            names.add(prefix + "page" + i);
            create(names.get(i), 4, Map.of());
        }
        Map<String, TopicDescription> all = ask(() -> admin.describeTopics(names, new DescribeTopicsOptions().partitionSizeLimitPerResponse(3)).allTopicNames());
        for (String name : names) {
            equal(List.of(0, 1, 2, 3), all.get(name).partitions().stream().map(TopicPartitionInfo::partition).collect(Collectors.toList()));
        }
    }

    private void createPartitions() throws Exception {
        String topic = prefix + "grown";
        create(topic, 1, Map.of());
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3)), new CreatePartitionsOptions().validateOnly(true)).all());
        equal(1, describe(topic).partitions().size());
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3, List.of(List.of(3), List.of(1))))).all());
        await("the partitions are there", () -> describe(topic).partitions().size() == 3);
        await("they are where they are to be", () -> describe(topic).partitions().stream().skip(1).map(p -> p.leader().id())
            .collect(Collectors.toList()).equals(List.of(3, 1)));
        fails(InvalidPartitionsException.class, () -> get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all()));
        fails(UnknownTopicOrPartitionException.class,
            () -> get(admin.createPartitions(Map.of(prefix + "nothing", NewPartitions.increaseTo(2))).all()));
    }

    private void deleteTopics() throws Exception {
        create(prefix + "by-name", 1, Map.of());
        create(prefix + "by-id", 1, Map.of());
        get(admin.deleteTopics(List.of(prefix + "by-name")).all());
        Uuid id = describe(prefix + "by-id").topicId();
        get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all());
        fails(UnknownTopicOrPartitionException.class, () -> get(admin.deleteTopics(List.of(prefix + "by-name")).all()));
        fails(UnknownTopicIdException.class, () -> get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all()));
        create(prefix + "by-name", 2, Map.of());
        await("the new topic is there", () -> describe(prefix + "by-name").partitions().size() == 2);
    }

    // The cluster.

    private void describeCluster() throws Exception {
        DescribeClusterResult r = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true).includeFencedBrokers(true));
        Collection<Node> nodes = get(r.nodes());
        equal(Set.of(1, 2, 3), nodes.stream().map(Node::id).collect(Collectors.toSet()));
        that(nodes.contains(get(r.controller())), "the controller is none of the nodes: " + get(r.controller()));
        equal(22, get(r.clusterId()).length());
        that(get(r.authorizedOperations()).contains(AclOperation.CREATE), get(r.authorizedOperations()));
        for (Node n : nodes) {
            equal(false, n.isFenced());
            equal(false, n.hasRack());
        }
    }

    private void describeMetadataQuorum() throws Exception {
        QuorumInfo q = get(admin.describeMetadataQuorum().quorumInfo());
        equal(Set.of(1, 2, 3), q.voters().stream().map(QuorumInfo.ReplicaState::replicaId).collect(Collectors.toSet()));
        equal(List.of(), q.observers());
        that(q.leaderEpoch() > 0 && q.highWatermark() > 0, q);
        for (QuorumInfo.ReplicaState v : q.voters()) {
            that(v.logEndOffset() > 0, v);
            that(!v.replicaDirectoryId().equals(Uuid.ZERO_UUID), v);
            if (v.replicaId() == q.leaderId()) {
                that(v.logEndOffset() >= q.highWatermark(), q);
            }
            that(v.lastFetchTimestamp().isPresent() && v.lastCaughtUpTimestamp().isPresent(), v);
        }
        equal(Set.of(1, 2, 3), q.nodes().keySet());
    }

    private void describeFeatures() throws Exception {
        FeatureMetadata f = get(admin.describeFeatures().featureMetadata());
        equal(Map.of(), f.finalizedFeatures());
        equal(Map.of(), f.supportedFeatures());
    }

    // Configurations.

    private static ConfigResource resource(ConfigResource.Type type, String name) {
        return new ConfigResource(type, name);
    }

    private Config configs(ConfigResource r) throws Exception {
        DescribeConfigsOptions o = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return ask(() -> admin.describeConfigs(List.of(r), o).all()).get(r);
    }

    private Void alter(ConfigResource r, String name, String value, AlterConfigOp.OpType op) throws Exception {
        return get(admin.incrementalAlterConfigs(Map.of(r, List.of(new AlterConfigOp(new ConfigEntry(name, value), op)))).all());
    }

    private static List<String> synonyms(ConfigEntry e) {
        return e.synonyms().stream().map(s -> s.source() + ":" + s.name() + "=" + s.value()).collect(Collectors.toList());
    }

    private void describeTopicConfigs() throws Exception {
        String topic = prefix + "configured";
        create(topic, 1, Map.of("segment.ms", "600000"));
        Config c = configs(resource(TOPIC, topic));
        ConfigEntry e = c.get("segment.ms");
        equal("600000", e.value());
        equal(ConfigEntry.ConfigType.LONG, e.type());
        that(!e.isDefault() && !e.isReadOnly() && !e.isSensitive(), e);
        that(!e.documentation().isEmpty(), e);
        equal("DYNAMIC_TOPIC_CONFIG:segment.ms=600000", synonyms(e).get(0));
        e = c.get("max.message.bytes");
        equal("1048588", e.value());
        that(e.isDefault(), e);
        equal(List.of("DEFAULT_CONFIG:message.max.bytes=1048588"), synonyms(e));
        equal(ConfigEntry.ConfigType.LIST, c.get("cleanup.policy").type());
        equal(ConfigEntry.ConfigType.BOOLEAN, c.get("preallocate").type());
        equal(ConfigEntry.ConfigType.DOUBLE, c.get("min.cleanable.dirty.ratio").type());
        fails(UnknownTopicOrPartitionException.class, () -> get(admin.describeConfigs(List.of(resource(TOPIC, prefix + "nothing"))).all()));
    }

    private void describeBrokerConfigs() throws Exception {
        for (String id : List.of("1", "2", "3")) { // each is asked for at that broker
            ConfigEntry e = configs(resource(BROKER, id)).get("node.id");
            equal(id, e.value());
            that(e.isReadOnly(), e);
        }
        equal(0, configs(resource(BROKER, "")).entries().size());
        that(configs(resource(BROKER, "1")).entries().size() > 100, "few properties of a broker");
    }

    private void alterTopicConfigs() throws Exception {
        ConfigResource r = resource(TOPIC, prefix + "altered");
        create(r.name(), 1, Map.of());
        alter(r, "retention.ms", "1000000", AlterConfigOp.OpType.SET);
        alter(r, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        await("the list is longer", () -> configs(r).get("cleanup.policy").value().equals("delete,compact"));
        await("the value is set", () -> configs(r).get("retention.ms").value().equals("1000000"));
        alter(r, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
        alter(r, "retention.ms", null, AlterConfigOp.OpType.DELETE);
        await("the list is shorter", () -> configs(r).get("cleanup.policy").value().equals("compact"));
        await("the value is the default", () -> configs(r).get("retention.ms").isDefault());
        fails(InvalidConfigurationException.class, () -> alter(r, "retention.ms", "soon", AlterConfigOp.OpType.SET));
        fails(InvalidConfigurationException.class, () -> alter(r, "no.such.thing", "1", AlterConfigOp.OpType.SET));
        fails(UnknownTopicOrPartitionException.class, () -> alter(resource(TOPIC, prefix + "nothing"), "retention.ms", "1", AlterConfigOp.OpType.SET));
        get(admin.incrementalAlterConfigs(Map.of(r, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "7"), AlterConfigOp.OpType.SET))),
            new AlterConfigsOptions().validateOnly(true)).all());
        that(configs(r).get("retention.ms").isDefault(), "validateOnly changed it");
    }

    private void alterBrokerConfigs() throws Exception {
        ConfigResource all = resource(BROKER, ""), two = resource(BROKER, "2");
        alter(all, "log.cleaner.threads", "2", AlterConfigOp.OpType.SET);
        alter(two, "log.cleaner.threads", "3", AlterConfigOp.OpType.SET);
        await("the default is there", () -> {
            ConfigEntry e = configs(all).get("log.cleaner.threads");
            return e != null && e.value().equals("2");
        });
        await("broker 1 has it", () -> configs(resource(BROKER, "1")).get("log.cleaner.threads").value().equals("2"));
        await("broker 2 has its own", () -> configs(two).get("log.cleaner.threads").value().equals("3"));
        await("and knows the default", () -> configs(two).get("log.cleaner.threads").synonyms().size() == 3);
        ConfigEntry e = configs(two).get("log.cleaner.threads");
        equal(ConfigEntry.ConfigSource.DYNAMIC_BROKER_CONFIG, e.source());
        equal(List.of("DYNAMIC_BROKER_CONFIG:log.cleaner.threads=3", "DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.threads=2",
            "DEFAULT_CONFIG:log.cleaner.threads=1"), synonyms(e));
        alter(two, "log.cleaner.threads", null, AlterConfigOp.OpType.DELETE);
        alter(all, "log.cleaner.threads", null, AlterConfigOp.OpType.DELETE);
        await("broker 2 has the default", () -> configs(two).get("log.cleaner.threads").isDefault());
        fails(InvalidRequestException.class, () -> alter(two, "node.id", "7", AlterConfigOp.OpType.SET));
    }

    private void alterLoggers() throws Exception {
        ConfigResource r = resource(BROKER_LOGGER, "3");
        ConfigEntry e = configs(r).entries().iterator().next();
        equal(ConfigEntry.ConfigSource.DYNAMIC_BROKER_LOGGER_CONFIG, e.source());
        alter(r, e.name(), "WARN", AlterConfigOp.OpType.SET);
        equal("WARN", configs(r).get(e.name()).value());
        alter(r, e.name(), e.value(), AlterConfigOp.OpType.SET);
        equal(e.value(), configs(r).get(e.name()).value());
    }

    private void alterGroupConfigs() throws Exception {
        ConfigResource r = resource(GROUP, prefix + "tuned");
        alter(r, "consumer.session.timeout.ms", "50000", AlterConfigOp.OpType.SET);
        await("the group has it", () -> configs(r).get("consumer.session.timeout.ms").value().equals("50000"));
        await("as its own", () -> configs(r).get("consumer.session.timeout.ms").source() == ConfigEntry.ConfigSource.DYNAMIC_GROUP_CONFIG);
        fails(InvalidConfigurationException.class, () -> alter(r, "consumer.session.timeout.ms", "1", AlterConfigOp.OpType.SET));
    }

    private void alterClientMetrics() throws Exception {
        ConfigResource r = resource(CLIENT_METRICS, prefix + "subscription");
        alter(r, "interval.ms", "60000", AlterConfigOp.OpType.SET);
        await("the subscription has it", () -> {
            ConfigEntry e = configs(r).get("interval.ms");
            return e != null && e.value().equals("60000");
        });
        fails(InvalidConfigurationException.class, () -> alter(r, "interval.ms", "soon", AlterConfigOp.OpType.SET));
    }

    private void listConfigResources() throws Exception {
        create(prefix + "resource", 1, Map.of());
        alter(resource(GROUP, prefix + "resource"), "consumer.session.timeout.ms", "50000", AlterConfigOp.OpType.SET);
        alter(resource(CLIENT_METRICS, prefix + "resource"), "interval.ms", "60000", AlterConfigOp.OpType.SET);
        await("all are listed", () -> {
            Collection<ConfigResource> all = get(admin.listConfigResources().all());
            return all.containsAll(List.of(resource(TOPIC, prefix + "resource"), resource(GROUP, prefix + "resource"),
                resource(CLIENT_METRICS, prefix + "resource"), resource(BROKER, "1"), resource(BROKER_LOGGER, "3")));
        });
        await("groups alone are listed", () -> {
            Collection<ConfigResource> groups = get(admin.listConfigResources(Set.of(GROUP), new ListConfigResourcesOptions()).all());
            that(groups.stream().allMatch(g -> g.type() == GROUP), groups);
            return groups.contains(resource(GROUP, prefix + "resource"));
        });
    }

    // Records.

    /** Sends ten records: offset n has timestamp 1000 * n, but 9 has 4500. */
    private TopicPartition tenRecords(String topic) throws Exception {
        create(topic, 1, Map.of());
        try (KafkaProducer<String, String> p = new KafkaProducer<>(properties("enable.idempotence", "true"))) {
            for (long n = 0; n < 10; n++) {
                p.send(new ProducerRecord<>(topic, 0, n == 9 ? 4500 : 1000 * n, "key", "value-" + n)).get();
            }
        }
        return new TopicPartition(topic, 0);
    }

    private ListOffsetsResultInfo offset(TopicPartition tp, OffsetSpec spec) throws Exception {
        return get(admin.listOffsets(Map.of(tp, spec)).all()).get(tp);
    }

    private void listOffsets() throws Exception {
        TopicPartition tp = tenRecords(prefix + "offsets");
        equal(0L, offset(tp, OffsetSpec.earliest()).offset());
        equal(10L, offset(tp, OffsetSpec.latest()).offset());
        ListOffsetsResultInfo max = offset(tp, OffsetSpec.maxTimestamp());
        equal(8L, max.offset());
        equal(8000L, max.timestamp());
        ListOffsetsResultInfo at = offset(tp, OffsetSpec.forTimestamp(4001));
        equal(5L, at.offset());
        equal(5000L, at.timestamp());
        equal(-1L, offset(tp, OffsetSpec.forTimestamp(8001)).offset());
        equal(0L, offset(tp, OffsetSpec.earliestLocal()).offset());
        equal(-1L, offset(tp, OffsetSpec.latestTiered()).offset());
        equal(-1L, offset(tp, OffsetSpec.earliestPendingUpload()).offset());
        that(offset(tp, OffsetSpec.latest()).leaderEpoch().isPresent(), "no leader epoch");
    }

    private void deleteRecords() throws Exception {
        TopicPartition tp = tenRecords(prefix + "trimmed");
        equal(4L, get(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(tp)).lowWatermark());
        equal(4L, offset(tp, OffsetSpec.earliest()).offset());
        equal(4L, get(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(1))).lowWatermarks().get(tp)).lowWatermark());
        fails(OffsetOutOfRangeException.class, () -> get(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(11))).all()));
        equal(10L, get(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(tp)).lowWatermark());
        equal(10L, offset(tp, OffsetSpec.earliest()).offset());
    }

    private void describeLogDirs() throws Exception {
        TopicPartition tp = tenRecords(prefix + "sized");
        Map<Integer, Map<String, LogDirDescription>> all = get(admin.describeLogDirs(List.of(1, 2, 3)).allDescriptions());
        int leader = describe(tp.topic()).partitions().get(0).leader().id();
        for (int id : List.of(1, 2, 3)) {
            equal(1, all.get(id).size());
            LogDirDescription d = all.get(id).values().iterator().next();
            equal(null, d.error());
            that(d.totalBytes().getAsLong() >= d.usableBytes().getAsLong() && d.usableBytes().getAsLong() > 0, d);
            ReplicaInfo r = d.replicaInfos().get(tp);
            equal(id == leader, r != null);
            that(r == null || r.size() > 0 && r.offsetLag() == 0 && !r.isFuture(), r);
        }
        TopicPartitionReplica r = new TopicPartitionReplica(tp.topic(), 0, leader);
        ReplicaLogDirInfo i = get(admin.describeReplicaLogDirs(List.of(r)).all()).get(r);
        that(all.get(leader).containsKey(i.getCurrentReplicaLogDir()), i);
        equal(null, i.getFutureReplicaLogDir());
    }

    private void describeProducers() throws Exception {
        TopicPartition tp = tenRecords(prefix + "produced");
        List<ProducerState> all = get(admin.describeProducers(List.of(tp)).partitionResult(tp)).activeProducers();
        equal(1, all.size());
        ProducerState p = all.get(0);
        that(p.producerId() >= 0, p);
        equal(0, p.producerEpoch());
        equal(9, p.lastSequence());
        that(p.currentTransactionStartOffset().isEmpty(), p);
        int leader = describe(tp.topic()).partitions().get(0).leader().id();
        equal(1, get(admin.describeProducers(List.of(tp), new DescribeProducersOptions().brokerId(leader)).partitionResult(tp)).activeProducers().size());
    }

    // Consumer groups.

    private KafkaConsumer<String, String> member(String topic, String... more) throws Exception {
        KafkaConsumer<String, String> c = new KafkaConsumer<>(properties(more));
        c.subscribe(List.of(topic));
        await("an assignment", () -> {
            c.poll(Duration.ofMillis(50));
            return !c.assignment().isEmpty();
        });
        return c;
    }

    private void commit(String group, TopicPartition tp, long offset) throws Exception {
        ask(() -> admin.alterConsumerGroupOffsets(group, Map.of(tp, new OffsetAndMetadata(offset, "by hand"))).all());
    }

    private Map<TopicPartition, OffsetAndMetadata> committed(String group) throws Exception {
        return get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
    }

    private void groups() throws Exception {
        String group = prefix + "group", topic = prefix + "group-topic";
        TopicPartition tp = tenRecords(topic);
        try (KafkaConsumer<String, String> c = member(topic, "group.id", group, "client.id", "reader", "group.instance.id", "static-1")) {
            ConsumerGroupDescription d = get(admin.describeConsumerGroups(List.of(group),
                new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).all()).get(group);
            equal(GroupState.STABLE, d.groupState());
            equal(GroupType.CLASSIC, d.type());
            equal("range", d.partitionAssignor());
            equal(false, d.isSimpleConsumerGroup());
            that(d.authorizedOperations().contains(AclOperation.DELETE), d.authorizedOperations());
            that(d.coordinator().id() >= 1 && d.coordinator().id() <= 3, d.coordinator());
            equal(1, d.members().size());
            MemberDescription m = d.members().iterator().next();
            equal("reader", m.clientId());
            equal("static-1", m.groupInstanceId().get());
            equal(Set.of(tp), m.assignment().topicPartitions());
            that(m.consumerId().startsWith("static-1-") && m.host().matches("/127\\.0\\.0\\.1"), m);

            ClassicGroupDescription old = get(admin.describeClassicGroups(List.of(group)).all()).get(group);
            equal(ClassicGroupState.STABLE, old.state());
            equal("consumer", old.protocol());
            equal(Set.of(tp), old.members().iterator().next().assignment().topicPartitions());

            GroupListing l = get(admin.listGroups(ListGroupsOptions.forConsumerGroups().inGroupStates(Set.of(GroupState.STABLE))).all()).stream()
                .filter(g -> g.groupId().equals(group)).findAny().get();
            equal(GroupType.CLASSIC, l.type().get());
            equal(GroupState.STABLE, l.groupState().get());
            equal("consumer", l.protocol());
            that(get(admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.SHARE))).all()).isEmpty(), "share groups are listed");

            c.commitSync(Map.of(tp, new OffsetAndMetadata(3)));
            equal(3L, committed(group).get(tp).offset());
            fails(GroupNotEmptyException.class, () -> get(admin.deleteConsumerGroups(List.of(group)).all()));
            fails(GroupSubscribedToTopicException.class, () -> get(admin.deleteConsumerGroupOffsets(group, Set.of(tp)).all()));
            fails(UnknownMemberIdException.class, () -> get(admin.alterConsumerGroupOffsets(group, Map.of(tp, new OffsetAndMetadata(1))).all()));
            equal(3L, committed(group).get(tp).offset());
        } // a static member does not leave
        get(admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("static-1")))).all());
        await("the group is empty", () -> get(admin.describeConsumerGroups(List.of(group)).all()).get(group).groupState() == GroupState.EMPTY);
        get(admin.deleteConsumerGroups(List.of(group)).all());
        that(get(admin.listConsumerGroups().all()).stream().noneMatch(g -> g.groupId().equals(group)), "a deleted group is listed");
        fails(GroupIdNotFoundException.class, () -> get(admin.deleteConsumerGroups(List.of(group)).all()));
    }

    private void groupOffsets() throws Exception {
        String group = prefix + "offset-group", topic = prefix + "offset-topic";
        create(topic, 2, Map.of());
        TopicPartition a = new TopicPartition(topic, 0), b = new TopicPartition(topic, 1);
        commit(group, a, 0);
        commit(group, b, 7);
        equal(new OffsetAndMetadata(0, "by hand"), committed(group).get(a));
        equal(new OffsetAndMetadata(7, "by hand"), committed(group).get(b));
        commit(prefix + "offset-group-2", a, 5);
        Map<String, ListConsumerGroupOffsetsSpec> specs = new HashMap<>();
        specs.put(group, new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(b)));
        specs.put(prefix + "offset-group-2", new ListConsumerGroupOffsetsSpec());
        Map<String, Map<TopicPartition, OffsetAndMetadata>> both = get(admin.listConsumerGroupOffsets(specs).all());
        equal(Set.of(b), both.get(group).keySet());
        equal(5L, both.get(prefix + "offset-group-2").get(a).offset());
        ConsumerGroupDescription d = get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
        equal(GroupState.EMPTY, d.groupState());
        get(admin.deleteConsumerGroupOffsets(group, Set.of(a)).all());
        equal(Set.of(b), committed(group).keySet());
        get(admin.deleteTopics(List.of(topic)).all());
        await("the offsets of a deleted topic are gone", () -> committed(group).isEmpty());
    }

    private void removeMembers() throws Exception {
        String group = prefix + "leaving", topic = prefix + "leaving-topic";
        create(topic, 1, Map.of());
        try (KafkaConsumer<String, String> c = member(topic, "group.id", group)) {
            get(admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all());
            equal(GroupState.EMPTY, get(admin.describeConsumerGroups(List.of(group)).all()).get(group).groupState());
        }
    }

    private void noGroups() throws Exception {
        String group = prefix + "nobody";
        fails(GroupIdNotFoundException.class, () -> get(admin.describeConsumerGroups(List.of(group)).all()));
        fails(GroupIdNotFoundException.class, () -> get(admin.describeClassicGroups(List.of(group)).all()));
        fails(GroupIdNotFoundException.class, () -> get(admin.deleteConsumerGroups(List.of(group)).all()));
        fails(GroupIdNotFoundException.class, () -> get(admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition("t", 0))).all()));
        equal(Map.of(), committed(group));
    }

    /** What is not advertised is told of by the client itself, and costs it no connection. */
    private void notServed() throws Exception {
        fails(UnsupportedVersionException.class, () -> get(admin.listTransactions().all()));
        fails(UnsupportedVersionException.class, () -> get(admin.listPartitionReassignments().reassignments()));
        fails(UnsupportedVersionException.class, () -> get(admin.describeShareGroups(List.of("g")).all()));
        fails(UnsupportedVersionException.class, () -> get(admin.describeAcls(AclBindingFilter.ANY).values()));
    }
}
