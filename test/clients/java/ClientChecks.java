import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.record.TimestampType;

/** What users do with Java's producer and consumer beside the plain way, and what each call answers. */
final class ClientChecks extends Checks {
    private final String prefix; // of topics and groups, so that several clients find a cluster of their own

    private ClientChecks(String bootstrap, String prefix) {
        super(bootstrap);
        this.prefix = prefix;
    }

    public static void main(String[] args) {
        ClientChecks c = new ClientChecks(args[0], args[1]);
        check("record metadata", c::recordMetadata);
        check("headers and nulls", c::headersAndNulls);
        check("LogAppendTime", c::logAppendTime);
        check("compression that the topic asks for", c::topicCompression);
        check("records that are refused", c::refused);
        check("a topic made by its first record", c::autoCreate);
        check("metadata of the consumer", c::consumerMetadata);
        check("offsets by time", c::offsetsForTimes);
        check("seek, pause and resume", c::seekPauseResume);
        check("auto.offset.reset", c::autoOffsetReset);
        check("read_committed", c::readCommitted);
        check("max.poll.records and fetch sizes", c::smallFetches);
        check("commits and their metadata", c::commits);
        check("auto commit", c::autoCommit);
        check("a pattern", c::pattern);
        check("assignors", c::assignors);
        check("static members", c::staticMembers);
        check("members that stay and members that leave", c::closeOptions);
        check("what is not served", c::notServed);
    }

    private void create(String topic, int partitions, Map<String, String> configs) throws Exception {
        try (Admin admin = Admin.create(properties())) {
            get(admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all());
        }
    }

    /** Sends records to partition 0, one after the other. */
    private List<RecordMetadata> send(String topic, int n, String... more) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> p = new KafkaProducer<>(properties(more))) {
            for (int i = 0; i < n; i++) {
                sent.add(p.send(new ProducerRecord<>(topic, 0, 1000L * i, "key-" + i, "value-" + i)));
            }
        }
        List<RecordMetadata> all = new ArrayList<>();
        for (Future<RecordMetadata> f : sent) {
            all.add(f.get());
        }
        return all;
    }

    private TopicPartition filled(String topic, int n) throws Exception {
        create(topic, 1, Map.of());
        send(topic, n);
        return new TopicPartition(topic, 0);
    }

    private KafkaConsumer<String, String> consumer(String... more) {
        return new KafkaConsumer<>(properties(more));
    }

    /** Polls until there are n records. */
    private static List<ConsumerRecord<String, String>> read(KafkaConsumer<String, String> c, int n) throws Exception {
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        await(n + " records", () -> {
            c.poll(Duration.ofMillis(100)).forEach(got::add);
            return got.size() >= n;
        });
        equal(n, got.size());
        return got;
    }

    private List<ConsumerRecord<String, String>> readFromStart(TopicPartition tp, int n, String... more) throws Exception {
        try (KafkaConsumer<String, String> c = consumer(more)) {
            c.assign(List.of(tp));
            c.seekToBeginning(List.of(tp));
            return read(c, n);
        }
    }

    // Producers.

    private void recordMetadata() throws Exception {
        String topic = prefix + "metadata";
        create(topic, 1, Map.of());
        for (String acks : List.of("1", "all")) {
            int before = acks.equals("1") ? 0 : 5;
            List<RecordMetadata> all = send(topic, 5, "acks", acks, "enable.idempotence", String.valueOf(acks.equals("all")));
            for (int i = 0; i < 5; i++) {
                equal((long) before + i, all.get(i).offset());
                equal(1000L * i, all.get(i).timestamp());
                equal(0, all.get(i).partition());
            }
        }
        that(!send(topic, 1, "acks", "0", "enable.idempotence", "false").get(0).hasOffset(), "acks=0 told an offset");
    }

    private void headersAndNulls() throws Exception {
        TopicPartition tp = new TopicPartition(prefix + "headers", 0);
        create(tp.topic(), 1, Map.of());
        try (KafkaProducer<String, String> p = new KafkaProducer<>(properties())) {
            ProducerRecord<String, String> r = new ProducerRecord<>(tp.topic(), 0, null, null);
            r.headers().add("trace", "ümlaut".getBytes(StandardCharsets.UTF_8)).add("none", null).add("trace", new byte[0]);
            p.send(r).get();
        }
        ConsumerRecord<String, String> got = readFromStart(tp, 1).get(0);
        equal(null, got.key());
        equal(null, got.value());
        equal(3, got.headers().toArray().length);
        equal("ümlaut", new String(got.headers().toArray()[0].value(), StandardCharsets.UTF_8));
        equal(null, got.headers().lastHeader("none").value());
        equal(0, got.headers().lastHeader("trace").value().length);
        that(got.leaderEpoch().isPresent(), "no leader epoch");
    }

    private void logAppendTime() throws Exception {
        TopicPartition tp = new TopicPartition(prefix + "append-time", 0);
        create(tp.topic(), 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        RecordMetadata m = send(tp.topic(), 3, "compression.type", "lz4").get(2);
        that(m.timestamp() >= before - 1000 && m.timestamp() < before + 3_600_000, m.timestamp());
        for (ConsumerRecord<String, String> r : readFromStart(tp, 3)) {
            equal(TimestampType.LOG_APPEND_TIME, r.timestampType());
            that(r.timestamp() >= before - 1000, r);
        }
    }

    private void topicCompression() throws Exception {
        for (String codec : List.of("uncompressed", "gzip", "snappy", "lz4", "zstd")) {
            TopicPartition tp = new TopicPartition(prefix + "as-" + codec, 0);
            create(tp.topic(), 1, Map.of("compression.type", codec));
            for (String sent : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                send(tp.topic(), 20, "compression.type", sent);
            }
            List<ConsumerRecord<String, String>> got = readFromStart(tp, 100);
            for (int i = 0; i < 100; i++) {
                equal("value-" + i % 20, got.get(i).value());
                equal((long) i, got.get(i).offset());
            }
        }
    }

    private void refused() throws Exception {
        String small = prefix + "small", compacted = prefix + "compacted", punctual = prefix + "punctual";
        create(small, 1, Map.of("max.message.bytes", "2000"));
        create(compacted, 1, Map.of("cleanup.policy", "compact"));
        create(punctual, 1, Map.of("message.timestamp.before.max.ms", "60000"));
        try (KafkaProducer<String, String> p = new KafkaProducer<>(properties("linger.ms", "0"))) {
            fails(RecordTooLargeException.class, () -> p.send(new ProducerRecord<>(small, "k", "x".repeat(3000))).get());
            fails(InvalidRecordException.class, () -> p.send(new ProducerRecord<>(compacted, null, "no key")).get());
            fails(InvalidTimestampException.class, () -> p.send(new ProducerRecord<>(punctual, 0, 1L, "k", "v")).get());
            // None of them stands in the way of what comes after.
            for (String topic : List.of(small, compacted, punctual)) {
                equal(0L, p.send(new ProducerRecord<>(topic, "k", "v")).get().offset());
            }
        }
    }

    private void autoCreate() throws Exception {
        TopicPartition tp = new TopicPartition(prefix + "auto", 0);
        send(tp.topic(), 2);
        equal("value-1", readFromStart(tp, 2).get(1).value());
        try (KafkaConsumer<String, String> c = consumer("allow.auto.create.topics", "false")) {
            equal(List.of(), c.partitionsFor(prefix + "not-made"));
            that(!c.listTopics().containsKey(prefix + "not-made"), "a consumer made a topic that it was not to make");
        }
    }

    // Consumers without a group.

    private void consumerMetadata() throws Exception {
        String topic = prefix + "seen";
        create(topic, 3, Map.of());
        send(topic, 4);
        try (KafkaConsumer<String, String> c = consumer()) {
            await("the topic is seen", () -> c.partitionsFor(topic).size() == 3);
            for (PartitionInfo p : c.partitionsFor(topic)) {
                equal(1, p.replicas().length);
                equal(p.leader(), p.inSyncReplicas()[0]);
            }
            await("the topic is listed", () -> c.listTopics().containsKey(topic));
            TopicPartition zero = new TopicPartition(topic, 0), one = new TopicPartition(topic, 1);
            equal(Map.of(zero, 0L, one, 0L), c.beginningOffsets(Set.of(zero, one)));
            equal(Map.of(zero, 4L, one, 0L), c.endOffsets(Set.of(zero, one)));
        }
    }

    private void offsetsForTimes() throws Exception {
        TopicPartition tp = filled(prefix + "times", 10);
        try (KafkaConsumer<String, String> c = consumer()) {
            OffsetAndTimestamp at = c.offsetsForTimes(Map.of(tp, 3500L)).get(tp);
            equal(4L, at.offset());
            equal(4000L, at.timestamp());
            Map<TopicPartition, OffsetAndTimestamp> late = c.offsetsForTimes(Map.of(tp, 9001L));
            equal(null, late.get(tp));
        }
    }

    private void seekPauseResume() throws Exception {
        TopicPartition tp = filled(prefix + "sought", 10);
        try (KafkaConsumer<String, String> c = consumer()) {
            c.assign(List.of(tp));
            c.seek(tp, 7);
            equal(7L, read(c, 3).get(0).offset());
            c.seekToBeginning(List.of(tp));
            c.pause(List.of(tp));
            equal(0, c.poll(Duration.ofMillis(200)).count());
            c.resume(List.of(tp));
            equal("value-0", read(c, 10).get(0).value());
            equal(10L, c.position(tp));
            equal(0L, c.currentLag(tp).getAsLong());
            c.seekToEnd(List.of(tp));
            equal(10L, c.position(tp));
        }
    }

    private void autoOffsetReset() throws Exception {
        TopicPartition tp = filled(prefix + "reset", 5);
        try (KafkaConsumer<String, String> c = consumer("auto.offset.reset", "none")) {
            c.assign(List.of(tp));
            fails(NoOffsetForPartitionException.class, () -> c.poll(Duration.ofSeconds(PATIENCE)));
            c.seek(tp, 100);
            fails(OffsetOutOfRangeException.class, () -> {
                await("the answer", () -> c.poll(Duration.ofMillis(100)) == null);
                return null;
            });
        }
        try (KafkaProducer<String, String> p = new KafkaProducer<>(properties())) {
            p.send(new ProducerRecord<>(tp.topic(), 0, "key", "of today")).get(); // the others are of 1970
        }
        for (Map.Entry<String, Integer> reset : Map.of("earliest", 6, "by_duration:PT24H", 1).entrySet()) {
            try (KafkaConsumer<String, String> c = consumer("auto.offset.reset", reset.getKey())) {
                c.assign(List.of(tp));
                c.seek(tp, 100);
                read(c, reset.getValue());
            }
        }
    }

    private void readCommitted() throws Exception {
        TopicPartition tp = filled(prefix + "committed", 10);
        readFromStart(tp, 10, "isolation.level", "read_committed", "check.crcs", "true");
        try (KafkaConsumer<String, String> c = consumer("isolation.level", "read_committed")) {
            equal(Map.of(tp, 10L), c.endOffsets(List.of(tp)));
        }
    }

    private void smallFetches() throws Exception {
        TopicPartition tp = filled(prefix + "bits", 500);
        List<ConsumerRecord<String, String>> got = readFromStart(tp, 500, "max.poll.records", "7", "max.partition.fetch.bytes", "1", "fetch.max.bytes", "1");
        for (int i = 0; i < 500; i++) {
            equal((long) i, got.get(i).offset());
        }
        readFromStart(tp, 500, "fetch.min.bytes", "1000000", "fetch.max.wait.ms", "200");
    }

    // Consumers in a group.

    private void subscribed(KafkaConsumer<String, String> c, String topic, int partitions) throws Exception {
        c.subscribe(List.of(topic));
        assigned(c, partitions);
    }

    private static void assigned(KafkaConsumer<String, String> c, int partitions) throws Exception {
        await(partitions + " partitions assigned", () -> {
            c.poll(Duration.ofMillis(50));
            return c.assignment().size() == partitions;
        });
    }

    private void commits() throws Exception {
        TopicPartition tp = filled(prefix + "kept", 5);
        String group = prefix + "keeper";
        try (KafkaConsumer<String, String> c = consumer("group.id", group, "enable.auto.commit", "false")) {
            subscribed(c, tp.topic(), 1);
            equal(null, c.committed(Set.of(tp)).get(tp));
            c.commitSync(Map.of(tp, new OffsetAndMetadata(2, "half way")));
            equal(new OffsetAndMetadata(2, "half way"), c.committed(Set.of(tp)).get(tp));
            HashSet<Long> done = new HashSet<>();
            c.commitAsync(Map.of(tp, new OffsetAndMetadata(3)), (offsets, e) -> done.add(e == null ? offsets.get(tp).offset() : -1));
            await("the callback", () -> {
                c.poll(Duration.ofMillis(50));
                return done.contains(3L);
            });
            that(c.groupMetadata().generationId() > 0 && c.groupMetadata().groupId().equals(group), c.groupMetadata());
        }
        try (KafkaConsumer<String, String> c = consumer("group.id", group, "enable.auto.commit", "false")) {
            c.subscribe(List.of(tp.topic()));
            equal(3L, read(c, 2).get(0).offset());
        }
    }

    private void autoCommit() throws Exception {
        TopicPartition tp = filled(prefix + "automatic", 5);
        String[] options = {"group.id", prefix + "automatic", "auto.offset.reset", "earliest", "auto.commit.interval.ms", "50"};
        try (KafkaConsumer<String, String> c = consumer(options)) {
            c.subscribe(List.of(tp.topic()));
            read(c, 5);
            await("the commit", () -> {
                c.poll(Duration.ofMillis(50));
                OffsetAndMetadata o = c.committed(Set.of(tp)).get(tp);
                return o != null && o.offset() == 5;
            });
        }
        send(tp.topic(), 1);
        try (KafkaConsumer<String, String> c = consumer(options)) {
            c.subscribe(List.of(tp.topic()));
            equal(5L, read(c, 1).get(0).offset());
        }
    }

    private void pattern() throws Exception {
        filled(prefix + "pattern-a", 2);
        try (KafkaConsumer<String, String> c = consumer("group.id", prefix + "pattern", "auto.offset.reset", "earliest", "metadata.max.age.ms", "200")) {
            c.subscribe(Pattern.compile(Pattern.quote(prefix) + "pattern-.*"));
            read(c, 2);
            filled(prefix + "pattern-b", 3); // it is found while the consumer runs
            read(c, 3);
        }
    }

    private void assignors() throws Exception {
        String topic = prefix + "shared";
        create(topic, 6, Map.of());
        for (String assignor : List.of("RangeAssignor", "RoundRobinAssignor", "StickyAssignor", "CooperativeStickyAssignor")) {
            String[] options = {"group.id", prefix + assignor, "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor,
                "heartbeat.interval.ms", "50"};
            try (KafkaConsumer<String, String> a = consumer(options); KafkaConsumer<String, String> b = consumer(options)) {
                subscribed(a, topic, 6);
                b.subscribe(List.of(topic));
                await(assignor + ": three partitions each", () -> {
                    a.poll(Duration.ofMillis(50));
                    b.poll(Duration.ofMillis(50));
                    return a.assignment().size() == 3 && b.assignment().size() == 3;
                });
                HashSet<TopicPartition> all = new HashSet<>(a.assignment());
                all.addAll(b.assignment());
                equal(6, all.size());
            }
        }
    }

    private void staticMembers() throws Exception {
        String topic = prefix + "static";
        create(topic, 2, Map.of());
        String[] options = {"group.id", topic, "group.instance.id", "one", "heartbeat.interval.ms", "50"};
        KafkaConsumer<String, String> first = consumer(options);
        subscribed(first, topic, 2);
        int generation = first.groupMetadata().generationId();
        first.close();
        try (KafkaConsumer<String, String> again = consumer(options)) { // as after a restart: no rebalance
            subscribed(again, topic, 2);
            equal(generation, again.groupMetadata().generationId());
            try (KafkaConsumer<String, String> twin = consumer(options)) { // the same name twice: the older one is fenced
                subscribed(twin, topic, 2);
                fails(FencedInstanceIdException.class, () -> {
                    await("the fence", () -> again.poll(Duration.ofMillis(50)) == null);
                    return null;
                });
            }
        }
    }

    private void closeOptions() throws Exception {
        String topic = prefix + "closed";
        create(topic, 2, Map.of());
        try (Admin admin = Admin.create(properties())) {
            for (CloseOptions.GroupMembershipOperation op : CloseOptions.GroupMembershipOperation.values()) {
                String group = topic + "-" + op;
                KafkaConsumer<String, String> c = consumer("group.id", group, "group.instance.id", "one");
                subscribed(c, topic, 2);
                c.close(CloseOptions.groupMembershipOperation(op));
                boolean leaves = op == CloseOptions.GroupMembershipOperation.LEAVE_GROUP; // a static member stays by default
                equal(leaves ? 0 : 1, get(admin.describeConsumerGroups(List.of(group)).all()).get(group).members().size());
            }
        }
    }

    /** Clients that ask for what is not served are told so instead of hanging. */
    private void notServed() throws Exception {
        create(prefix + "new-protocol", 1, Map.of());
        try (KafkaConsumer<String, String> c = consumer("group.id", prefix + "new-protocol", "group.protocol", "consumer")) {
            c.subscribe(List.of(prefix + "new-protocol"));
            fails(UnsupportedVersionException.class, () -> {
                await("an answer", () -> c.poll(Duration.ofMillis(50)) == null);
                return null;
            });
        }
    }
}
