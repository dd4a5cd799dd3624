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
	"testing"

	"github.com/chronik-stream/chronik/test/proctest"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
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
	needs     []int16  // API keys
}

const (
	keyDeleteRecords           = 21
	keyDescribeConfigs         = 32
	keyDescribeLogDirs         = 35
	keyDeleteGroups            = 42
	keyIncrementalAlterConfigs = 44
	keyOffsetDelete            = 47
	keyListConfigResources     = 74
)

// TestKafkaTools types Kafka's own tools, in an order in which a person might.
func TestKafkaTools(t *testing.T) {
	classPath(t, javaKafka)
	cl := proctest.Run(t, proctest.Config{Nodes: 3})
	dir := t.TempDir()
	files := map[string]string{
		"delete.json": `{"partitions": [{"topic": "orders", "partition": 0, "offset": 2}], "version": 1}`,
		"reset.csv":   "orders,0,2\norders,1,0\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	served := servedKeys(t, cl)
	fill := strings.NewReplacer("{b}", strings.Join(cl.Bootstrap(), ","), "{dir}", dir)
	for i, s := range toolSession {
		t.Run(fmt.Sprintf("%02d %s", i, s.line), func(t *testing.T) {
			for _, key := range s.needs {
				if !served[key] {
					t.Skipf("%s is not served yet", kmsg.NameForKey(key))
				}
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

// servedKeys asks a node for the APIs that it has.
func servedKeys(t *testing.T, cl *proctest.Cluster) map[int16]bool {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(cl.Bootstrap()...))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(patient(t), k)
	if err != nil {
		t.Fatal(err)
	}
	served := map[int16]bool{}
	for _, key := range resp.ApiKeys {
		served[key.ApiKey] = true
	}
	return served
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

	{line: "kafka-topics --bootstrap-server {b} --create --topic orders --partitions 2 --replication-factor 1", want: []string{`^Created topic orders\.$`}},
	{line: "kafka-topics --bootstrap-server {b} --create --topic orders", fails: true, want: []string{`already exists|exists already`}},
	{line: "kafka-topics --bootstrap-server {b} --create --topic orders --if-not-exists"},
	{line: "kafka-topics --bootstrap-server {b} --create --topic events --partitions 1 --config segment.bytes=1048576 --config index.interval.bytes=1024"},
	{line: "kafka-topics --bootstrap-server {b} --list", want: []string{`^events\norders$`}},
	{line: "kafka-topics --bootstrap-server {b} --describe --topic orders", needs: []int16{keyDescribeConfigs}, want: []string{
		`^Topic: orders\s+TopicId: \S{22}\s+PartitionCount: 2\s+ReplicationFactor: 1\s+Configs:`,
		`^\s+Topic: orders\s+Partition: 1\s+Leader: ([123])\s+Replicas: [123]\s+Isr: [123]`,
	}},
	{line: "kafka-topics --bootstrap-server {b} --describe --topics-with-overrides", needs: []int16{keyDescribeConfigs}, want: []string{
		`^Topic: events\s.*Configs: .*segment.bytes=1048576`,
	}},
	{line: "kafka-topics --bootstrap-server {b} --describe --unavailable-partitions", needs: []int16{keyDescribeConfigs}},
	{line: "kafka-topics --bootstrap-server {b} --describe --topic nothing", fails: true, needs: []int16{keyDescribeConfigs}, want: []string{
		`Topic 'nothing' does not exist as expected`,
	}},

	{
		line:  "kafka-console-producer --bootstrap-server {b} --topic orders --reader-property parse.key=true --reader-property key.separator=:",
		stdin: "a:one\nb:two\nc:three\nd:four\ne:five\nf:six\ng:seven\nh:eight\n",
	},
	{line: "kafka-console-producer --bootstrap-server {b} --topic orders --producer-property acks=1 --compression-codec zstd", stdin: "nine\nten\n"},
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

	{line: "kafka-groups --bootstrap-server {b} --list", want: []string{`^billing\s+Classic\s+consumer`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --list", want: []string{`^billing$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --list --state", want: []string{`^billing\s+Empty`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group billing", want: []string{
		`^billing\s+orders\s+0\s+(\d+)\s+(\d+)\s+0\s`, `^billing\s+orders\s+1\s+(\d+)\s+(\d+)\s+0\s`,
	}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group billing --state", want: []string{`^billing\s+127\.0\.0\.1:\d+\s+\([123]\)\s.*Empty\s+0$`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group billing --members --verbose", want: []string{`^GROUP\s+CONSUMER-ID`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --all-groups", want: []string{`^billing\s+orders\s+0`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --describe --group nobody", want: []string{`GroupIdNotFoundException`}, complains: true},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --topic orders --reset-offsets --to-earliest --dry-run", want: []string{
		`^billing\s+orders\s+0\s+0\s*$`, `^billing\s+orders\s+1\s+0\s*$`,
	}},
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
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --delete-offsets --topic orders:1", needs: []int16{keyOffsetDelete}, want: []string{
		`^Request succeed(ed)? for deleting offsets`, `^orders\s+1\s+Successful`,
	}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --delete", needs: []int16{keyDeleteGroups}, want: []string{`'billing'.* was successful`}},
	{line: "kafka-consumer-groups --bootstrap-server {b} --group billing --delete", needs: []int16{keyDeleteGroups}, complains: true, want: []string{`GroupIdNotFoundException`}},

	{line: "kafka-configs --bootstrap-server {b} --entity-type topics --entity-name orders --alter --add-config retention.ms=86400000,cleanup.policy=[compact,delete]", needs: []int16{keyIncrementalAlterConfigs}, want: []string{
		`^Completed updating config for topic orders\.$`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type topics --entity-name orders --describe", needs: []int16{keyIncrementalAlterConfigs}, want: []string{
		`^\s+retention\.ms=86400000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention\.ms=86400000`, `cleanup\.policy=compact,delete`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --topic orders --describe --all", needs: []int16{keyDescribeConfigs}, want: []string{
		`^\s+max\.message\.bytes=1048588 sensitive=false synonyms=\{DEFAULT_CONFIG:message\.max\.bytes=1048588\}`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --topic orders --alter --delete-config retention.ms,cleanup.policy", needs: []int16{keyIncrementalAlterConfigs}, want: []string{
		`^Completed updating config for topic orders\.$`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --topic orders --alter --add-config retention.ms=soon", needs: []int16{keyIncrementalAlterConfigs}, fails: true},
	{line: "kafka-configs --bootstrap-server {b} --entity-type brokers --entity-default --alter --add-config log.retention.ms=172800000", needs: []int16{keyIncrementalAlterConfigs}, want: []string{
		`^Completed updating default config for brokers in the cluster\.$`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type brokers --entity-default --describe", needs: []int16{keyIncrementalAlterConfigs}, want: []string{
		`log\.retention\.ms=172800000`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type brokers --entity-name 1 --describe --all", needs: []int16{keyIncrementalAlterConfigs}, want: []string{
		`log\.retention\.ms=172800000 sensitive=false synonyms=\{DYNAMIC_DEFAULT_BROKER_CONFIG:log\.retention\.ms=172800000`, `broker\.id=1|node\.id=1`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type brokers --entity-default --alter --delete-config log.retention.ms", needs: []int16{keyIncrementalAlterConfigs}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type groups --entity-name billing --alter --add-config consumer.session.timeout.ms=46000", needs: []int16{keyIncrementalAlterConfigs}, want: []string{
		`^Completed updating config for group billing\.$`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type groups --entity-name billing --describe", needs: []int16{keyIncrementalAlterConfigs}, want: []string{
		`consumer\.session\.timeout\.ms=46000`,
	}},
	{line: "kafka-configs --bootstrap-server {b} --entity-type groups --describe", needs: []int16{keyListConfigResources}, want: []string{`billing`}},

	{line: "kafka-delete-records --bootstrap-server {b} --offset-json-file {dir}/delete.json", needs: []int16{keyDeleteRecords}, want: []string{`partition: orders-0\s+low_watermark: 2`}},
	{line: "kafka-get-offsets --bootstrap-server {b} --topic orders --time -2", needs: []int16{keyDeleteRecords}, want: []string{`^orders:0:2\norders:1:0$`}},
	{line: "kafka-log-dirs --bootstrap-server {b} --describe --topic-list orders", needs: []int16{keyDescribeLogDirs}, want: []string{
		`"broker":1`, `"partition":"orders-1"`, `"size":[1-9]`, `"offsetLag":0`,
	}},
	{line: "kafka-log-dirs --bootstrap-server {b} --describe --broker-list 2", needs: []int16{keyDescribeLogDirs}, want: []string{`"broker":2`}},

	{line: "kafka-producer-perf-test --bootstrap-server {b} --topic events --num-records 60000 --record-size 100 --throughput -1 --producer-props acks=all linger.ms=2 batch.size=4096", want: []string{
		`^60000 records sent, .* records/sec .* ms avg latency, .* ms 99.9th\.$`,
	}},
	{line: "kafka-consumer-perf-test --bootstrap-server {b} --topic events --num-records 60000", want: []string{`^20\d\d-.*, 60000, `}},
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
