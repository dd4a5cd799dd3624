package clients

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/chronik-stream/chronik/test/proctest"
)

// toolClasses are what the scripts of Kafka's bin/ start, by the names that users type without ".sh".
var toolClasses = map[string]string{
	"kafka-topics":              "org.apache.kafka.tools.TopicCommand",
	"kafka-configs":             "kafka.admin.ConfigCommand",
	"kafka-console-producer":    "org.apache.kafka.tools.ConsoleProducer",
	"kafka-console-consumer":    "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"kafka-consumer-groups":     "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-groups":              "org.apache.kafka.tools.GroupsCommand",
	"kafka-get-offsets":         "org.apache.kafka.tools.GetOffsetShell",
	"kafka-delete-records":      "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-log-dirs":            "org.apache.kafka.tools.LogDirsCommand",
	"kafka-cluster":             "org.apache.kafka.tools.ClusterTool",
	"kafka-metadata-quorum":     "org.apache.kafka.tools.MetadataQuorumCommand",
	"kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"kafka-producer-perf-test":  "org.apache.kafka.tools.ProducerPerformance",
	"kafka-consumer-perf-test":  "org.apache.kafka.tools.ConsumerPerformance",
	"kafka-e2e-latency":         "org.apache.kafka.tools.EndToEndLatency",
	"kafka-dump-log":            "org.apache.kafka.tools.DumpLogSegments",
	"kafka-storage":             "kafka.tools.StorageTool",
	"kafka-server-start":        "kafka.Kafka",
}

// tool runs one of Kafka's tools and returns what it printed. Its warnings and errors go to stderr.
func tool(ctx context.Context, t *testing.T, stdin, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	flags := append(append([]string(nil), jvmFlags...), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", classPath(t, javaKafka), toolClasses[name])
	cmd := exec.CommandContext(ctx, "java", append(flags, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// typed is a command line as a user types it, and what must come of it.
type typed struct {
	line      string // {b} stands for the bootstrap servers, {dir} for the test's directory
	stdin     string
	want      []string // regular expressions that the output matches
	complains bool     // it prints an error, as it should, and its exit code is 0
	fails     bool     // the exit code is not 0
	again     bool     // it is typed again until the output is as wanted
	aside     bool     // it runs on beside what is typed after it
	alone     bool     // what runs aside is stopped before
}

// TestKafkaTools types Kafka's own tools, in an order in which a person might.
func TestKafkaTools(t *testing.T) {
	classPath(t, javaKafka)
	cl := proctest.Run(t, proctest.Config{Nodes: 3})
	dir := t.TempDir()
	files := map[string]string{
		"delete.json":      `{"partitions": [{"topic": "orders", "partition": 0, "offset": 2}], "version": 1}`,
		"all.json":         `{"partitions": [{"topic": "orders", "partition": 1, "offset": -1}], "version": 1}`,
		"reset.csv":        "orders,0,2\norders,1,0\n",
		"topic.properties": "retention.ms=7200000\nmin.compaction.lag.ms=5\n",
		"payload.txt":      "one line\nanother line\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outer, stopAside := t, func() {}
	fill := strings.NewReplacer("{b}", strings.Join(cl.Bootstrap(), ","), "{dir}", dir)
	for i, s := range toolSession {
		t.Run(fmt.Sprintf("%02d %s", i, s.line), func(t *testing.T) {
			if s.alone {
				stopAside()
			}
			if s.aside {
				stopAside = runAside(t, fill, s)
				outer.Cleanup(stopAside)
				return
			}
			runTyped(patient(t), t, fill, s)
		})
	}
}

// runTyped runs one command line and holds its output against what must come of it.
func runTyped(ctx context.Context, t *testing.T, fill *strings.Replacer, s typed) {
	t.Helper()
	words := strings.Fields(fill.Replace(s.line))
	stdout, stderr, err := tool(ctx, t, s.stdin, words[0], words[1:]...)
	for s.again && ctx.Err() == nil && !matchesAll(stdout, s.want) {
		stdout, stderr, err = tool(ctx, t, s.stdin, words[0], words[1:]...)
	}
	if failed := err != nil; failed != s.fails {
		t.Errorf("fails: %v, want %v", err, s.fails)
	}
	if !s.fails && !s.complains && regexp.MustCompile(`WARN|ERROR|Exception|Error`).MatchString(stderr) {
		t.Error("it complains")
	}
	for _, want := range s.want {
		if !regexp.MustCompile(`(?m)` + want).MatchString(stdout) {
			t.Errorf("the output does not match %s", want)
		}
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
	}
}

func matchesAll(text string, patterns []string) bool {
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)` + p).MatchString(text) {
			return false
		}
	}
	return true
}

// runAside starts a command that runs until it is stopped.
func runAside(t *testing.T, fill *strings.Replacer, s typed) (stop func()) {
	t.Helper()
	words := strings.Fields(fill.Replace(s.line))
	flags := append(append([]string(nil), jvmFlags...), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classPath(t, javaKafka), toolClasses[words[0]])
	cmd := exec.Command("java", append(flags, words[1:]...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
}

var toolSession = []typed{
	{line: "kafka-broker-api-versions --bootstrap-server {b}", want: []string{
		`\(id: 1 rack: null isFenced: false\) -> \($`, `\(id: 3 rack`, `Produce\(0\): 0 to 13 \[usable: 13\]`, `Fetch\(1\): 4 to 18 \[usable: 18\]`,
	}},
	{line: "kafka-cluster cluster-id --bootstrap-server {b}", want: []string{`^Cluster ID: \S{22}$`}},
	{line: "kafka-metadata-quorum --bootstrap-server {b} describe --status", want: []string{
		`^LeaderId: +[123]$`, `^CurrentVoters: .*"id": 1.*"id": 2.*"id": 3`, `^CurrentObservers: +\[\]$`, `^MaxFollowerLag: `,
	}},
	{line: "kafka-metadata-quorum --bootstrap-server {b} describe --replication", want: []string{
		`^NodeId\s+DirectoryId\s+LogEndOffset\s+Lag`, `(?s)^1 .*^2 .*^3 |Leader`, `Follower`,
	}},
	{line: "kafka-metadata-quorum --bootstrap-server {b} describe --replication --human-readable", want: []string{`ms ago`}},

	{line: "kafka-topics --bootstrap-server {b} --create --topic orders --partitions 2 --replication-factor 1", want: []string{`^Created topic orders\.$`}},
	{line: "kafka-topics --bootstrap-server {b} --create --topic orders", fails: true, want: []string{`already exists|exists already`}},
	{line: "kafka-topics --bootstrap-server {b} --create --topic orders --if-not-exists"},
	{line: "kafka-topics --bootstrap-server {b} --create --topic events --partitions 1 --config segment.bytes=1048576 --config index.interval.bytes=1024"},
	{line: "kafka-topics --bootstrap-server {b} --list", want: []string{`^events\norders$`}},
	{line: "kafka-topics --bootstrap-server {b} --describe --topic orders", want: []string{
		`^Topic: orders\s+TopicId: \S{22}\s+PartitionCount: 2\s+ReplicationFactor: 1\s+Configs:`,
		`^\s+Topic: orders\s+Partition: 1\s+Leader: ([123])\s+Replicas: [123]\s+Isr: [123]`,
	}},
	{line: "kafka-topics --bootstrap-server {b} --describe --topics-with-overrides", want: []string{
		`^Topic: events\s.*Configs: .*segment.bytes=1048576`,
	}},
	{line: "kafka-topics --bootstrap-server {b} --describe --unavailable-partitions"},
	{line: "kafka-topics --bootstrap-server {b} --describe --under-replicated-partitions"},
	{line: "kafka-topics --bootstrap-server {b} --describe --under-min-isr-partitions"},
	{line: "kafka-topics --bootstrap-server {b} --describe --at-min-isr-partitions", want: []string{`Topic: orders\s+Partition: 1`}},
	{line: "kafka-topics --bootstrap-server {b} --describe --partition-size-limit-per-response 1", want: []string{`Topic: orders\s+Partition: 1`, `Topic: events\s+Partition: 0`}},
	{line: "kafka-topics --bootstrap-server {b} --create --topic placed.a --replica-assignment 3,1", want: []string{`^Created topic placed\.a\.$`}, complains: true},
	{line: "kafka-topics --bootstrap-server {b} --create --topic placed.b --config cleanup.policy=compact", complains: true},
	{line: "kafka-topics --bootstrap-server {b} --create --topic wrong --config retention.ms=soon", fails: true},
	{line: "kafka-topics --bootstrap-server {b} --create --topic wrong --replication-factor 9", fails: true},
	{line: "kafka-topics --bootstrap-server {b} --describe --topic placed.*", again: true, want: []string{
		`Topic: placed\.a\s+Partition: 0\s+Leader: 3`, `Topic: placed\.a\s+Partition: 1\s+Leader: 1`, `PartitionCount: 1\s.*Configs: .*cleanup.policy=compact`,
	}},
	{line: "kafka-topics --bootstrap-server {b} --alter --topic placed.b --partitions 2 --replica-assignment 2,2"},
	{line: "kafka-topics --bootstrap-server {b} --delete --topic placed.*"},
	{line: "kafka-topics --bootstrap-server {b} --describe --topic nothing", fails: true, want: []string{
		`Topic 'nothing' does not exist as expected`,
	}},

	{
		line:  "kafka-console-producer --bootstrap-server {b} --topic orders --reader-property parse.key=true --reader-property key.separator=:",
		stdin: "a:one\nb:two\nc:three\nd:four\ne:five\nf:six\ng:seven\nh:eight\n",
	},
	{line: "kafka-console-producer --bootstrap-server {b} --topic orders --producer-property acks=1 --compression-codec zstd", stdin: "nine\nten\n"},
	{
		line:  "kafka-console-producer --bootstrap-server {b} --topic headed --sync --request-required-acks all --reader-property parse.headers=true --reader-property parse.key=true",
		stdin: "h1:v1,h2:v2\tkey\tvalue\n", complains: true, // the topic is made by it
	},
	{
		line: "kafka-console-consumer --bootstrap-server {b} --include head.* --from-beginning --max-messages 1 --isolation-level read_committed" +
			" --formatter-property print.headers=true --formatter-property print.key=true --formatter-property print.timestamp=true",
		want: []string{`^CreateTime:\d+\s+h1:v1,h2:v2\s+key\s+value$`},
	},
	{line: "kafka-console-consumer --bootstrap-server {b} --topic orders --partition 0 --offset 1 --max-messages 1 --formatter-property print.offset=true", want: []string{`^Offset:1\s`}},
	{line: "kafka-console-consumer --bootstrap-server {b} --topic headed --from-beginning --timeout-ms 10000 --command-property check.crcs=true", complains: true, again: true, want: []string{`^value$`}},
	{line: "kafka-topics --bootstrap-server {b} --delete --topic headed"},
	{
		line: "kafka-console-consumer --bootstrap-server {b} --topic orders --from-beginning --max-messages 10 --group billing" +
			" --formatter-property print.key=true --formatter-property print.partition=true --formatter-property print.offset=true",
		want: []string{`^Partition:[01]\s+Offset:\d\s+a\s+one$`, `\sh\s+eight$`, `\snull\s+nine$`, `\snull\s+ten$`},
	},
	{line: "kafka-console-consumer --bootstrap-server {b} --topic orders --partition 0 --offset earliest --max-messages 1", want: []string{`^\w+$`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders", want: []string{`^orders:0:[1-9]\d*$`, `^orders:1:[1-9]\d*$`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time earliest", want: []string{`^orders:0:0\norders:1:0$`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time max-timestamp", want: []string{`^orders:0:[1-9]`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time 1", want: []string{`^orders:0:0\norders:1:0$`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time -1", want: []string{`^orders:0:[1-9]\d*\norders:1:[1-9]\d*$`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time -3", want: []string{`^orders:0:[1-9]`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time -4", want: []string{`^orders:0:0\norders:1:0$`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time earliest-local", want: []string{`^orders:0:0\norders:1:0$`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time -5"}, // nothing is tiered
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time latest-tiered"},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time -6"},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time earliest-pending-upload"},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time 99999999999999"},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic-partitions ord.*:1,events", want: []string{`^events:0:0\norders:1:[1-9]`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --exclude-internal-topics", want: []string{`\Aevents:0:0\norders:0:`}},

	{line: "kafka-groups --bootstrap-server {b} --list", want: []string{`^billing\s+Classic\s+consumer`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --list", want: []string{`^billing$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --list --state", want: []string{`^billing\s+Empty`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group billing", want: []string{
		`^billing\s+orders\s+0\s+(\d+)\s+(\d+)\s+0\s`, `^billing\s+orders\s+1\s+(\d+)\s+(\d+)\s+0\s`,
	}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group billing --state", want: []string{`^billing\s+127\.0\.0\.1:\d+\s+\([123]\)\s.*Empty\s+0$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group billing --members --verbose", want: []string{`^GROUP\s+CONSUMER-ID`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group billing --offsets --verbose", want: []string{`^billing\s+orders\s+1`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --list --type classic --state Empty", want: []string{`^billing\s+Classic\s+Empty`}},
	{
		line: "kafka-console-consumer --bootstrap-server {b} --topic __consumer_offsets --from-beginning --timeout-ms 10000" +
			" --formatter org.apache.kafka.tools.consumer.OffsetsMessageFormatter",
		complains: true, want: []string{`"group":"billing","topic":"orders"`},
	},
	{
		line: "kafka-console-consumer --bootstrap-server {b} --topic __consumer_offsets --from-beginning --timeout-ms 10000" +
			" --formatter org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter",
		complains: true, want: []string{`"group":"billing"`},
	},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --all-groups", want: []string{`^billing\s+orders\s+0`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group nobody", want: []string{`GroupIdNotFoundException`}, complains: true},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --topic orders --reset-offsets --to-earliest --dry-run", want: []string{
		`^billing\s+orders\s+0\s+0\s*$`, `^billing\s+orders\s+1\s+0\s*$`,
	}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --topic orders --reset-offsets --to-latest --dry-run", want: []string{`^billing\s+orders\s+0\s+[1-9]\d*\s*$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group billing", want: []string{`^billing\s+orders\s+0\s+[1-9]`}}, // a dry run does nothing
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --topic orders:0 --reset-offsets --to-offset 1 --execute", want: []string{`^billing\s+orders\s+0\s+1\s*$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --topic orders:0 --reset-offsets --shift-by 1 --execute", want: []string{`^billing\s+orders\s+0\s+2\s*$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --topic orders:0 --reset-offsets --shift-by -1 --execute", want: []string{`^billing\s+orders\s+0\s+1\s*$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --all-topics --reset-offsets --to-current --export --dry-run", want: []string{`^orders,0,1$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --topic orders --reset-offsets --to-datetime 2020-01-01T00:00:00.000 --execute", want: []string{
		`^billing\s+orders\s+0\s+0\s*$`, `^billing\s+orders\s+1\s+0\s*$`,
	}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --topic orders --reset-offsets --by-duration P1D --execute", want: []string{`^billing\s+orders\s+0\s+0\s*$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --reset-offsets --from-file {dir}/reset.csv --execute", want: []string{
		`^billing\s+orders\s+0\s+2\s*$`, `^billing\s+orders\s+1\s+0\s*$`,
	}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group billing", want: []string{`^billing\s+orders\s+0\s+2\s+\d+\s+[1-9]`, `^billing\s+orders\s+1\s+0\s`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --all-topics --reset-offsets --to-latest --execute", want: []string{`^billing\s+orders\s+0\s+[3-9]`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --delete-offsets --topic orders:1", want: []string{
		`^Request succeed(ed)? for deleting offsets`, `^orders\s+1\s+Successful`,
	}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --delete", want: []string{`'billing'.* was successful`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --delete", complains: true, want: []string{`GroupIdNotFoundException`}},

	{line: "kafka-console-consumer --bootstrap-server {b} --topic orders --group watchers --from-beginning", aside: true},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group watchers --state", again: true, complains: true, want: []string{`\srange\s+Stable\s+1\s*$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group watchers --members", want: []string{`^watchers\s+console-consumer-\S+\s+/127\.0\.0\.1\s+console-consumer\s+2\s*$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group watchers --members --verbose", want: []string{`^watchers\s+console-consumer-\S+\s.*orders`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group watchers --offsets", again: true, want: []string{
		`^watchers\s+orders\s+0\s+\d+\s+\d+\s+0\s+console-consumer-\S+\s+/127\.0\.0\.1\s+console-consumer`,
	}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --list --state Stable", want: []string{`^watchers\s+Stable`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group watchers --topic orders --reset-offsets --to-earliest --execute", complains: true, want: []string{`the current state is Stable`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group watchers --delete", complains: true, want: []string{`GroupNotEmptyException`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group watchers --delete-offsets --topic orders", complains: true, want: []string{`subscribed`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group watchers --state", alone: true, again: true, complains: true, want: []string{`\sEmpty\s+0\s*$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --all-groups --topic orders --reset-offsets --to-current --execute", want: []string{`^watchers\s+orders\s+0\s+[1-9]`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --delete --all-groups", want: []string{`'watchers'.* success`}},

	{line: "kafka-configs --bootstrap-server {b} --entity-type topics --entity-name orders --alter --add-config retention.ms=86400000,cleanup.policy=[compact,delete]", want: []string{
		`^Completed updating config for topic orders\.$`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type topics --entity-name orders --describe", want: []string{
		`^\s+retention\.ms=86400000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention\.ms=86400000`, `cleanup\.policy=compact,delete`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --topic orders --describe --all", want: []string{
		`^\s+max\.message\.bytes=1048588 sensitive=false synonyms=\{DEFAULT_CONFIG:message\.max\.bytes=1048588\}`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type topics --entity-name orders --alter --add-config-file {dir}/topic.properties", want: []string{
		`^Completed updating config for topic orders\.$`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type topics --describe", again: true, want: []string{
		`^Dynamic configs for topic events are:$`, `^\s+segment\.bytes=1048576`, `^\s+min\.compaction\.lag\.ms=5`, `^\s+retention\.ms=7200000`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --topic orders --alter --delete-config retention.ms,cleanup.policy", want: []string{
		`^Completed updating config for topic orders\.$`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --topic orders --alter --add-config retention.ms=soon", fails: true},
	{line: "kafka-configs --bootstrap-server {b} --entity-type brokers --entity-default --alter --add-config log.retention.ms=172800000", want: []string{
		`^Completed updating default config for brokers in the cluster\.$`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type brokers --entity-default --describe", want: []string{
		`log\.retention\.ms=172800000`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type brokers --entity-name 1 --describe --all", want: []string{
		`log\.retention\.ms=172800000 sensitive=false synonyms=\{DYNAMIC_DEFAULT_BROKER_CONFIG:log\.retention\.ms=172800000`, `broker\.id=1|node\.id=1`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type brokers --entity-default --alter --delete-config log.retention.ms"},
	{line: "kafka-configs --bootstrap-server {b} --broker-defaults --alter --add-config log.cleaner.threads=2", want: []string{`^Completed updating default config for brokers in the cluster\.$`}},
	{line: "kafka-configs --bootstrap-server {b} --broker-defaults --describe", again: true, want: []string{`log\.cleaner\.threads=2`}},
	{line: "kafka-configs --bootstrap-server {b} --broker 2 --alter --add-config log.cleaner.threads=3", want: []string{`^Completed updating config for broker 2\.$`}},
	{line: "kafka-configs --bootstrap-server {b} --broker 2 --describe", again: true, want: []string{`log\.cleaner\.threads=3 sensitive=false synonyms=\{DYNAMIC_BROKER_CONFIG:log\.cleaner\.threads=3, DYNAMIC_DEFAULT_BROKER_CONFIG:log\.cleaner\.threads=2`}},
	{line: "kafka-configs --bootstrap-server {b} --broker 2 --alter --delete-config log.cleaner.threads"},
	{line: "kafka-configs --bootstrap-server {b} --broker 2 --alter --add-config node.id=7", fails: true},
	{line: "kafka-configs --bootstrap-server {b} --entity-type brokers --describe", want: []string{`^Dynamic configs for broker 1 are:$`, `^Dynamic configs for broker 3 are:$`}},
	{line: "kafka-configs --bootstrap-server {b} --broker-logger 1 --describe", want: []string{`^Dynamic configs for broker-logger 1 are:$`, `=INFO sensitive=false`}},
	{line: "kafka-configs --bootstrap-server {b} --client-metrics latency --alter --add-config interval.ms=10000,metrics=org.apache.kafka.producer.", want: []string{
		`^Completed updating config for client-metric latency\.$`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --client-metrics latency --describe", again: true, want: []string{`interval\.ms=10000`}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type client-metrics --describe", again: true, want: []string{`latency`}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type groups --entity-name billing --alter --add-config consumer.session.timeout.ms=46000", want: []string{
		`^Completed updating config for group billing\.$`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type groups --entity-name billing --describe", want: []string{
		`consumer\.session\.timeout\.ms=46000`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type groups --describe", want: []string{`billing`}},

	{line: "kafka-delete-records --bootstrap-server {b} --offset-json-file {dir}/delete.json", want: []string{`partition: orders-0\s+low_watermark: 2`}},
	{line: "kafka-delete-records --bootstrap-server {b} --offset-json-file {dir}/all.json", want: []string{`partition: orders-1\s+low_watermark: [1-9]`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time -2", want: []string{`^orders:0:2\norders:1:[1-9]\d*$`}},
	{line: "kafka-log-dirs --bootstrap-server {b} --describe --topic-list orders", want: []string{
		`"broker":1`, `"partition":"orders-1"`, `"size":[1-9]`, `"offsetLag":0`,
	}},
	{line: "kafka-log-dirs --bootstrap-server {b} --describe --broker-list 2", want: []string{`"broker":2`}},
	{line: "kafka-log-dirs --bootstrap-server {b} --describe", want: []string{`"broker":3`, `"error":null`, `"isFuture":false`}},

	{line: "kafka-producer-perf-test --bootstrap-server {b} --topic events --num-records 60000 --record-size 100 --throughput -1 --producer-props acks=all linger.ms=2 batch.size=4096", want: []string{
		`^60000 records sent, .* records/sec .* ms avg latency, .* ms 99.9th\.$`,
	}},
	{line: "kafka-consumer-perf-test --bootstrap-server {b} --topic events --num-records 60000", want: []string{`^20\d\d-.*, 60000, `}},
	{line: "kafka-producer-perf-test --producer-props bootstrap.servers={b} compression.type=lz4 --topic events --num-records 500 --payload-file {dir}/payload.txt --throughput 1000 --print-metrics", want: []string{
		`^500 records sent`, `producer-metrics:record-send-total`,
	}, complains: true},
	{line: "kafka-producer-perf-test --bootstrap-server {b} --topic events --num-records 500 --payload-monotonic --throughput -1 --command-property acks=1", want: []string{`^500 records sent`}},
	{line: "kafka-consumer-perf-test --bootstrap-server {b} --include event.* --group measured --num-records 61000 --show-detailed-stats --hide-header --reporting-interval 500 --fetch-size 65536"},
	{line: "kafka-e2e-latency --bootstrap-server {b} --topic orders --num-records 50 --producer-acks all --record-size 64", want: []string{
		`^Avg latency: .* ms`, `^Percentiles: 50th = `,
	}},

	{line: "kafka-topics --bootstrap-server {b} --alter --topic orders --partitions 4"},
	{line: "kafka-topics --bootstrap-server {b} --alter --topic orders --partitions 3", fails: true},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --partitions 2,3", want: []string{`^orders:2:0\norders:3:0$`}},
	{line: "kafka-topics --bootstrap-server {b} --delete --topic orders"},
	{line: "kafka-topics --bootstrap-server {b} --delete --topic orders", fails: true},
	{line: "kafka-topics --bootstrap-server {b} --delete --topic orders --if-exists"},
	{line: "kafka-topics --bootstrap-server {b} --list --exclude-internal", want: []string{`\Aevents\n\z`}},
}
