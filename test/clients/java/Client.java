import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The Java client behind standard input and output, a command a line, its words split by tabs. Every command is answered by a line
 * "ok" or "error" and what went wrong; the members of groups write "rec", their name, key and value in between.
 */
public class Client {
    private final String bootstrap;
    private final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private final Map<String, Member> members = new ConcurrentHashMap<>();
    private final Map<String, Stream> streams = new ConcurrentHashMap<>();

    private Client(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] args) throws Exception {
        Client c = new Client(args[0]);
        for (String line = c.in.readLine(); line != null; line = c.in.readLine()) {
            c.answer(line.split("\t"));
        }
    }

    private void answer(String[] words) throws Exception {
        List<String> records = new ArrayList<>();
        if (words[0].equals("produce")) {
            for (int i = Integer.parseInt(words[5]); i > 0; i--) {
                records.add(in.readLine());
            }
        }
        try {
            switch (words[0]) {
                case "create" -> create(words[1], Integer.parseInt(words[2]));
                case "produce" -> produce(words[1], words[2], words[3], words[4], records);
                case "join" -> members.put(words[1], new Member(words[1], words[2], words[3]));
                case "leave" -> members.remove(words[1]).leave();
                case "read" -> read(words[1], false);
                case "kept" -> read(words[1], true);
                case "stream" -> streams.put(words[1], new Stream(words[1], Integer.parseInt(words[2])));
                case "stop" -> streams.remove(words[1]).stop();
                default -> throw new IllegalArgumentException(words[0]);
            }
            say("ok");
        } catch (Exception e) {
            say("error\t" + String.valueOf(e).replaceAll("\\s+", " "));
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private Properties properties() {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("key.serializer", StringSerializer.class.getName());
        p.put("value.serializer", StringSerializer.class.getName());
        p.put("key.deserializer", StringDeserializer.class.getName());
        p.put("value.deserializer", StringDeserializer.class.getName());
        return p;
    }

    private void create(String topic, int partitions) throws Exception {
        try (Admin admin = Admin.create(properties())) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get(30, TimeUnit.SECONDS);
        }
    }

    private void produce(String topic, String codec, String acks, String idempotent, List<String> records) throws Exception {
        Properties p = properties();
        p.put("compression.type", codec);
        p.put("acks", acks);
        p.put("enable.idempotence", idempotent);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(p)) {
            for (String record : records) {
                String[] kv = record.split("\t", 2);
                sent.add(producer.send(new ProducerRecord<>(topic, kv[0], kv[1])));
            }
            producer.flush();
            for (Future<RecordMetadata> f : sent) {
                f.get();
            }
        }
    }

    /**
     * Reads every partition of a topic from its start to where it ends now, and checks each checksum. If asked for, keys come
     * with partition and offset before them, and values with a "=" that tells them from null.
     */
    private void read(String topic, boolean positions) {
        Properties p = properties();
        p.put("check.crcs", "true");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p)) {
            List<TopicPartition> all = consumer.partitionsFor(topic).stream()
                .map(i -> new TopicPartition(topic, i.partition())).collect(Collectors.toList());
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            while (ends.entrySet().stream().anyMatch(e -> consumer.position(e.getKey()) < e.getValue())) {
                for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(200))) {
                    String key = r.key(), value = r.value();
                    if (positions) {
                        key = r.partition() + " " + r.offset() + " " + key;
                        value = value == null ? "" : "=" + value;
                    }
                    say("rec\t" + topic + "\t" + key + "\t" + value);
                }
            }
        }
    }

    /** An idempotent producer that sends record after record, and says how many are acknowledged, until it is stopped. */
    private final class Stream implements Runnable {
        private final String topic;
        private final int ahead; // records that are sent before the first of them is acknowledged
        private final KafkaProducer<String, String> producer;
        private final Thread thread = new Thread(this);
        private volatile boolean stopping;
        private volatile Exception failed;

        Stream(String topic, int ahead) {
            this.topic = topic;
            this.ahead = ahead;
            Properties p = properties();
            p.put("enable.idempotence", "true");
            p.put("linger.ms", "5");
            producer = new KafkaProducer<>(p);
            thread.start();
        }

        @Override
        public void run() {
            ArrayDeque<Future<RecordMetadata>> sent = new ArrayDeque<>();
            long acked = 0;
            try (producer) {
                for (long n = 0; !stopping || !sent.isEmpty(); n++) {
                    if (stopping || sent.size() == ahead) {
                        sent.remove().get();
                        acked++;
                        if (acked % 100 == 0 || stopping) {
                            say("rec\t" + topic + "\t\t" + acked);
                        }
                    }
                    if (!stopping) {
                        sent.add(producer.send(new ProducerRecord<>(topic, "key-" + n % 7, String.valueOf(n))));
                    }
                }
            } catch (Exception e) {
                failed = e;
            }
        }

        void stop() throws Exception {
            stopping = true;
            thread.join();
            if (failed != null) {
                throw failed;
            }
        }
    }

    /** A member of a group, with a thread that polls and commits. */
    private final class Member implements Runnable {
        private final String name;
        private final KafkaConsumer<String, String> consumer;
        private final Thread thread = new Thread(this);
        private volatile boolean leaving;
        private volatile RuntimeException failed;

        Member(String name, String group, String topic) {
            this.name = name;
            Properties p = properties();
            p.put("group.id", group);
            p.put("auto.offset.reset", "earliest");
            p.put("enable.auto.commit", "false");
            p.put("session.timeout.ms", "10000");
            p.put("heartbeat.interval.ms", "500");
            consumer = new KafkaConsumer<>(p);
            consumer.subscribe(List.of(topic));
            thread.start();
        }

        @Override
        public void run() {
            try (consumer) {
                boolean uncommitted = false;
                while (!leaving || uncommitted) {
                    for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(100))) {
                        say("rec\t" + name + "\t" + r.key() + "\t" + r.value());
                        uncommitted = true;
                    }
                    try {
                        if (uncommitted) {
                            consumer.commitSync();
                            uncommitted = false;
                        }
                    } catch (RebalanceInProgressException e) {
                        // The commit is made again when the next poll has rejoined.
                    } catch (CommitFailedException e) {
                        uncommitted = false; // the partitions' new owner reads the records again
                    }
                }
            } catch (RuntimeException e) {
                failed = e;
            }
        }

        void leave() throws InterruptedException {
            leaving = true;
            thread.join();
            if (failed != null) {
                throw failed;
            }
        }
    }
}
