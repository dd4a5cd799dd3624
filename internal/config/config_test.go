package config

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/CONFIGURATION.md anew")

func load(t *testing.T, src Sources) *Config {
	t.Helper()
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// set is a flag -o name=value.
func set(pairs ...string) []Setting {
	var s []Setting
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		s = append(s, Setting{Name: name, Value: value, Flag: "-o"})
	}
	return s
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chronik.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreValid(t *testing.T) {
	c := load(t, Sources{})
	for _, v := range c.Values() {
		p := v.Property
		if v.Origin.Kind != FromDefault {
			t.Errorf("%s comes from %v with no source at all", p.Name, v.Origin)
		}
		if p.Default != "" && v.Text != p.Default {
			t.Errorf("%s: its default %q becomes %q", p.Name, p.Default, v.Text)
		}
		if v.Text == "" {
			continue
		}
		if _, err := p.parse(v.Text); err != nil {
			t.Errorf("%s: what is in force, %q, would be refused: %v", p.Name, v.Text, err)
		}
	}
}

func TestEveryFieldHasOneProperty(t *testing.T) {
	fields := func(v any) map[any]string {
		m := map[any]string{}
		s := reflect.ValueOf(v).Elem()
		for i := range s.NumField() {
			m[s.Field(i).Addr().Interface()] = s.Type().Field(i).Name
		}
		return m
	}
	var s Settings
	left := fields(&s)
	for _, p := range Properties() {
		if p.field == nil {
			if p.NoEffect == "" {
				t.Errorf("%s has an effect and no place in the settings", p.Name)
			}
			continue
		}
		target := p.field(&s)
		if left[target] == "" {
			t.Errorf("%s is kept where another property is, or nowhere", p.Name)
		}
		delete(left, target)
	}
	var topic Topic
	topicLeft := fields(&topic)
	for _, p := range TopicProperties() {
		target := p.topic(&topic)
		if topicLeft[target] == "" {
			t.Errorf("topic config %s is kept where another is, or nowhere", p.Name)
		}
		delete(topicLeft, target)
		if p.from != nil && reflect.TypeOf(p.from(&s)) != reflect.TypeOf(target) {
			t.Errorf("topic config %s is a %T, its broker default a %T", p.Name, target, p.from(&s))
		}
		for _, synonym := range p.Synonyms {
			if Lookup(synonym) == nil {
				t.Errorf("topic config %s takes its default from %s, which does not exist", p.Name, synonym)
			}
		}
	}
	for _, name := range left {
		t.Errorf("Settings.%s has no property", name)
	}
	for _, name := range topicLeft {
		t.Errorf("Topic.%s has no property", name)
	}
}

func TestNoNameStandsTwice(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range KindBroker.Properties() {
		if seen[p.Name] {
			t.Errorf("%s is declared twice: what has an effect is no longer among keptProperties", p.Name)
		}
		seen[p.Name] = true
	}
}

func TestEveryPropertyIsDocumented(t *testing.T) {
	for _, p := range append(Properties(), TopicProperties()...) {
		if !strings.HasSuffix(p.Doc, ".") || p.NoEffect != "" && !strings.HasSuffix(p.NoEffect, ".") {
			t.Errorf("%s: %q is not a sentence", p.Name, p.Doc)
		}
		if p.Default == "" && !p.Unset && p.Change != PerTopic {
			t.Errorf("%s has no default and may not be unset", p.Name)
		}
	}
}

// The topic configurations of Kafka 4.4, by name and type, without internal ones.
var kafkaTopicConfigs = map[string]Type{
	"cleanup.policy": List, "compression.gzip.level": Int, "compression.lz4.level": Int, "compression.type": String,
	"compression.zstd.level": Int, "delete.retention.ms": Long, "errors.deadletterqueue.group.enable": Boolean,
	"file.delete.delay.ms": Long, "flush.messages": Long, "flush.ms": Long, "follower.replication.throttled.replicas": List,
	"index.interval.bytes": Int, "leader.replication.throttled.replicas": List, "local.retention.bytes": Long,
	"local.retention.ms": Long, "max.compaction.lag.ms": Long, "max.decompressed.message.bytes": Int, "max.message.bytes": Int,
	"message.timestamp.after.max.ms": Long, "message.timestamp.before.max.ms": Long, "message.timestamp.type": String,
	"min.cleanable.dirty.ratio": Double, "min.compaction.lag.ms": Long, "min.insync.replicas": Int, "preallocate": Boolean,
	"remote.copy.lag.bytes": Long, "remote.copy.lag.ms": Long, "remote.log.copy.disable": Boolean,
	"remote.log.delete.on.disable": Boolean, "remote.storage.enable": Boolean, "retention.bytes": Long, "retention.ms": Long,
	"segment.bytes": Int, "segment.index.bytes": Int, "segment.jitter.ms": Long, "segment.ms": Long,
	"unclean.leader.election.enable": Boolean,
}

func TestEveryTopicConfigOfKafkaIsKnown(t *testing.T) {
	for name, typ := range kafkaTopicConfigs {
		switch p := TopicProperty(name); {
		case p == nil:
			t.Errorf("%s is not known", name)
		case p.Type != typ:
			t.Errorf("%s is a %v, in Kafka a %v", name, p.Type, typ)
		}
	}
	for _, p := range TopicProperties() {
		if _, kafka := kafkaTopicConfigs[p.Name]; kafka == p.Own {
			t.Errorf("%s: Own is %v", p.Name, p.Own)
		}
	}
	c := load(t, Sources{})
	for _, e := range c.DescribeTopic(nil, 1) {
		if err := CheckTopicConfig(e.Property.Name, e.Value); err != nil {
			t.Errorf("the default of %s would be refused: %v", e.Property.Name, err)
		}
	}
}

func TestReferenceIsUpToDate(t *testing.T) {
	const path = "../../docs/CONFIGURATION.md"
	var b strings.Builder
	if err := WriteReference(&b); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Errorf("docs/CONFIGURATION.md differs from the table: make generate")
	}
}

func TestPrecedence(t *testing.T) {
	src := Sources{
		File:    file(t, "num.partitions: 2\nfetch.max.bytes: 2048\nbroker.rack: a\nlog.level: warn\npeers:\n"),
		Environ: []string{"CHRONIK_NUM_PARTITIONS=3", "CHRONIK_FETCH_MAX_BYTES=4096", "PATH=/bin"},
		Flags:   set("num.partitions=4", "broker.rack="),
	}
	c := load(t, src)
	got := map[string]string{}
	for _, name := range []string{"num.partitions", "fetch.max.bytes", "broker.rack", "log.level", "log.format"} {
		v, _ := c.Lookup(name)
		got[name] = v.Text + " from " + strings.Replace(v.Origin.String(), src.File, "FILE", 1)
	}
	want := map[string]string{
		"num.partitions":  "4 from -o",
		"fetch.max.bytes": "4096 from CHRONIK_FETCH_MAX_BYTES",
		"broker.rack":     " from -o",
		"log.level":       "warn from FILE:4",
		"log.format":      "text from default",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c.NumPartitions != 4 || c.FetchMaxBytes != 4096 || c.Rack != "" || c.LogLevel != "warn" {
		t.Errorf("typed values differ: %+v", c.Settings)
	}
}

func TestDependentDefaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		src  Sources
		want map[string]string
	}{
		{"bare", Sources{}, map[string]string{
			"bind.addr": "127.0.0.1", "admin.addr": "127.0.0.1:9644", "data.dir": filepath.Join("chronik-data", "node-1"), "raft.addr": "",
		}},
		{
			"raft-cluster",
			Sources{Mode: RaftCluster, Flags: set("node.id=2", "kafka.port=9093", "peers=3@c:5001,1@a:5001")},
			map[string]string{
				"bind.addr": "*", "admin.addr": "127.0.0.1:9645", "data.dir": filepath.Join("chronik-data", "node-2"),
				"raft.addr": "0.0.0.0:5001", "peers": "1@a:5001,3@c:5001",
			},
		},
		{"free port", Sources{Flags: set("kafka.port=0")}, map[string]string{"admin.addr": "127.0.0.1:0"}},
		{"high port", Sources{Flags: set("kafka.port=65500")}, map[string]string{"admin.addr": "127.0.0.1:0"}},
		{"hours", Sources{Flags: set("log.retention.hours=2", "log.roll.hours=3")}, map[string]string{
			"log.retention.ms": "7200000", "log.roll.ms": "10800000",
		}},
		{"minutes before hours", Sources{Flags: set("log.retention.hours=2", "log.retention.minutes=3")}, map[string]string{"log.retention.ms": "180000"}},
		{"for ever", Sources{Flags: set("log.retention.minutes=-1")}, map[string]string{"log.retention.ms": "-1"}},
		{"milliseconds before all", Sources{Flags: set("log.retention.ms=5", "log.retention.minutes=3")}, map[string]string{"log.retention.ms": "5"}},
		{"flush", Sources{Flags: set("log.flush.scheduler.interval.ms=7")}, map[string]string{"log.flush.interval.ms": "7"}},
		{"internal topics", Sources{Flags: set("default.replication.factor=1")}, map[string]string{"offsets.topic.replication.factor": "1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := load(t, tt.src)
			for name, want := range tt.want {
				if v, _ := c.Lookup(name); v.Text != want {
					t.Errorf("%s is %q, want %q", name, v.Text, want)
				}
			}
		})
	}
}

// What a default follows from is its origin: retention by hours shows the flag that set the hours.
func TestDependentDefaultsShowTheirOrigin(t *testing.T) {
	c := load(t, Sources{Flags: set("log.retention.hours=2")})
	if v, _ := c.Lookup("log.retention.ms"); v.Origin.String() != "-o" {
		t.Errorf("origin of log.retention.ms: %v", v.Origin)
	}
	for _, e := range c.DescribeTopic(map[string]string{"flush.ms": "9"}, 1) {
		want := SourceDefault
		switch e.Property.Name {
		case "retention.ms":
			want = SourceBroker
		case "flush.ms":
			want = SourceTopic
		}
		if e.Source != want {
			t.Errorf("source of %s is %d, want %d", e.Property.Name, e.Source, want)
		}
	}
}

func TestModeByPeers(t *testing.T) {
	if c := load(t, Sources{Mode: ByPeers}); c.Mode() != Standalone {
		t.Errorf("without peers: %v", c.Mode())
	}
	if c := load(t, Sources{Mode: ByPeers, Flags: set("node.id=1", "peers=2@b:5001")}); c.Mode() != RaftCluster || c.BindAddr != "*" {
		t.Errorf("with peers: %v, bound to %s", c.Mode(), c.BindAddr)
	}
}

func TestListenAddresses(t *testing.T) {
	c := load(t, Sources{Mode: RaftCluster, Flags: set("node.id=1", "peers=2@b:5001", "raft.addr=*:5001")})
	if got := c.KafkaListenAddr(); got != ":9092" {
		t.Errorf("Kafka listens on %q", got)
	}
	if got := c.RaftListenAddr(); got != ":5001" || c.RaftPort() != 5001 {
		t.Errorf("Raft listens on %q, port %d", got, c.RaftPort())
	}
	if !c.AdminFallback() {
		t.Error("the default admin port has no fallback")
	}
	c = load(t, Sources{Flags: set("bind.addr=::1", "admin.addr=:9000")})
	if got := c.KafkaListenAddr(); got != "[::1]:9092" {
		t.Errorf("Kafka listens on %q", got)
	}
	if c.RaftListenAddr() != "" || c.RaftPort() != 0 || c.AdminFallback() {
		t.Error("a standalone node has a Raft port, or a given admin address a fallback")
	}
}

func TestServiceLinksOfKubernetesAreNoErrors(t *testing.T) {
	c := load(t, Sources{Environ: []string{
		"CHRONIK_SERVICE_HOST=10.0.0.1", "CHRONIK_SERVICE_PORT=9092", "CHRONIK_SERVICE_PORT_KAFKA=9092", "CHRONIK_PORT=tcp://10.0.0.1:9092",
		"CHRONIK_PORT_9092_TCP=tcp://10.0.0.1:9092", "CHRONIK_PORT_9092_TCP_ADDR=10.0.0.1", "CHRONIK_KAFKA_PORT=tcp://10.0.0.2:9092",
		"CHRONIK_KAFKA_SERVICE_HOST=10.0.0.2", "CHRONIK_CONFIG=x", "CHRONIK_BOOTSTRAP_SERVER=y", "CHRONIK_NUM_PARTITIONS=",
	}})
	if c.KafkaPort != 9092 || c.Given("kafka.port") {
		t.Errorf("a service link set kafka.port to %d", c.KafkaPort)
	}
}

func TestErrorsAreOneClearLine(t *testing.T) {
	raft := func(pairs ...string) Sources {
		return Sources{Mode: RaftCluster, Flags: set(append([]string{"node.id=1", "peers=2@b:5001,3@c:5001"}, pairs...)...)}
	}
	for _, tt := range []struct {
		name string
		src  Sources
		want string
	}{
		{"unknown flag", Sources{Flags: set("num.partition=3")}, "-o num.partition: there is no such property; did you mean num.partitions?"},
		{"unknown variable", Sources{Environ: []string{"CHRONIK_ADVERTISE=x"}}, "CHRONIK_ADVERTISE: there is no such property"},
		{"near variable", Sources{Environ: []string{"CHRONIK_KAFKAPORT=1"}}, "CHRONIK_KAFKAPORT: there is no such property; did you mean CHRONIK_KAFKA_PORT?"},
		{"Kafka's name", Sources{Flags: set("advertised.listeners=PLAINTEXT://x:1")}, "-o advertised.listeners: there is no such property; use advertised.addr (--advertised-addr)"},
		{"topic's name", Sources{Flags: set("retention.ms=1")}, "-o retention.ms: there is no such property; it belongs to a topic; the broker's default for it is log.retention.ms"},
		{"flag", Sources{Flags: []Setting{{Name: "kafka.port", Value: "x", Flag: "--kafka-port"}}}, "--kafka-port x: is not a whole number"},
		{"port", Sources{Flags: set("kafka.port=70000")}, "-o kafka.port=70000: must lie between 0 and 65535"},
		{"number", Sources{Environ: []string{"CHRONIK_NUM_PARTITIONS=many"}}, "CHRONIK_NUM_PARTITIONS=many: is not a whole number"},
		{"range of the type", Sources{Flags: set("num.partitions=99999999999")}, "-o num.partitions=99999999999: is out of range: the largest is 2147483647"},
		{"boolean", Sources{Flags: set("write.caching=yes")}, "-o write.caching=yes: is not a boolean: give true or false"},
		{"choice", Sources{Flags: set("log.format=xml")}, "-o log.format=xml: must be one of: text, json"},
		{"empty", Sources{Flags: set("num.partitions=")}, "-o num.partitions: is not a whole number"},
		{"advertised wildcard", Sources{Flags: set("advertised.addr=0.0.0.0")}, "-o advertised.addr=0.0.0.0: clients cannot connect to 0.0.0.0: give the name or address by which they reach this node"},
		{"advertised wildcard with port", Sources{Flags: set("advertised.addr=[::]:9092")}, "-o advertised.addr=[::]:9092: clients cannot connect to ::: give the name or address by which they reach this node"},
		{"advertised without host", Sources{Flags: set("advertised.addr=:9092")}, "-o advertised.addr=:9092: clients cannot connect to an empty host: give the name or address by which they reach this node"},
		{"advertised port", Sources{Flags: set("advertised.addr=a:99999")}, `-o advertised.addr=a:99999: port "99999" must lie between 0 and 65535`},
		{"bind with port", Sources{Flags: set("bind.addr=127.0.0.1:9092")}, "-o bind.addr=127.0.0.1:9092: takes no port: the port is kafka.port"},
		{"two flags", Sources{Flags: append(set("kafka.port=1"), Setting{Name: "kafka.port", Value: "2", Flag: "--kafka-port"})}, `kafka.port: is given twice, as "1" by -o and as "2" by --kafka-port; give it once`},
		{"load factor", Sources{Flags: set("log.cleaner.io.buffer.load.factor=0")}, "-o log.cleaner.io.buffer.load.factor: 0 would leave no room for a key; give more than 0, and 1 at the most"},
		{"replication", Sources{Flags: set("default.replication.factor=3")}, "-o default.replication.factor=3: replication of partitions is not there yet; use 1"},
		{"replication of internal topics", Sources{Flags: set("offsets.topic.replication.factor=3")}, "-o offsets.topic.replication.factor=3: replication of partitions is not there yet; use 1"},
		{"lease", Sources{Flags: set("raft.leader.lease.timeout.ms=300")}, "-o raft.leader.lease.timeout.ms: 300 exceeds raft.heartbeat.timeout.ms=200: a leader that is cut off would go on beside its successor; lower it to at most that"},
		{"session", Sources{Flags: set("broker.heartbeat.interval.ms=400")}, "broker.session.timeout.ms: 450 is less than three times broker.heartbeat.interval.ms=400: one late heartbeat would fence the broker; raise it, or lower the interval"},
		{"retention", Sources{Flags: set("log.retention.minutes=0")}, "-o log.retention.minutes: 0 would keep nothing at all; give at least 1, or -1 to keep records for ever"},
		{"same port", Sources{Flags: set("admin.addr=127.0.0.1:9092")}, "-o admin.addr: its port 9092 is that of kafka.port too; give each a port of its own"},
		{"no node id", Sources{Mode: RaftCluster, Flags: set("peers=2@b:5001")}, "node.id: raft-cluster needs an id of its own for every node; give --node-id, as in --node-id 1"},
		{"no peers", Sources{Mode: RaftCluster, Flags: set("node.id=1")}, `peers: raft-cluster needs the other founders; give --peers, as in --peers "2@localhost:5002,3@localhost:5003", or start a single node with standalone`},
		{"peers of one", Sources{Flags: set("peers=2@b:5001")}, "-o peers: a standalone node has none; start it with raft-cluster, or leave peers out"},
		{"names itself", raft("node.id=1"), ""},
		{"itself", Sources{Mode: RaftCluster, Flags: set("node.id=2", "peers=1@a:5001,2@b:5001")}, "-o peers: the list names this node itself (2@b:5001); list the other nodes only"},
		{"own address", Sources{Mode: RaftCluster, Flags: set("node.id=1", "advertised.addr=localhost", "peers=2@localhost:5001")}, "-o peers: localhost:5001 is this node's own Raft address, but node 2 is another one; give the address of node 2"},
		{"duplicate id", Sources{Mode: RaftCluster, Flags: set("node.id=1", "peers=2@b:5001,2@c:5001")}, "-o peers=2@b:5001,2@c:5001: names node 2 twice, as 2@b:5001 and as 2@c:5001: every node has an id of its own"},
		{"duplicate address", Sources{Mode: RaftCluster, Flags: set("node.id=1", "peers=2@b:5001,3@b:5001")}, "-o peers=2@b:5001,3@b:5001: nodes 2 and 3 have the same address b:5001: every node has a Raft address of its own"},
		{"no id", Sources{Mode: RaftCluster, Flags: set("node.id=1", "peers=b:5001")}, `-o peers=b:5001: "b:5001" is not a peer: write id@host:port, as in 2@localhost:5002`},
		{"bad id", Sources{Mode: RaftCluster, Flags: set("node.id=1", "peers=0@b:5001")}, `-o peers=0@b:5001: "0@b:5001" is not a peer: "0" is not a node id (1 to 2147483647)`},
		{"no port", Sources{Mode: RaftCluster, Flags: set("node.id=1", "peers=2@b")}, `-o peers=2@b: "2@b" is not a peer: "b" is not host:port`},
		{"peer anywhere", Sources{Mode: RaftCluster, Flags: set("node.id=1", "peers=2@0.0.0.0:5001")}, `-o peers=2@0.0.0.0:5001: "2@0.0.0.0:5001" is not a peer: 0.0.0.0 is no address to connect to; give the host's name or address`},
		{"free Raft port", raft("raft.addr=0.0.0.0:0"), "-o raft.addr=0.0.0.0:0: the other nodes cannot know a free port; give a port between 1 and 65535"},
		{"no file", Sources{File: "does-not-exist.yaml"}, "does-not-exist.yaml: cannot read the configuration file: no such file or directory; check the path given by --config or CHRONIK_CONFIG"},
		{"two errors", Sources{Flags: set("num.partitions=0", "log.level=loud")}, "-o log.level=loud: must be one of: debug, info, warn, error (and 1 more: chronik-server config validate lists them)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(tt.src)
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			if got := strings.ReplaceAll(err.Error(), "The system cannot find the file specified.", "no such file or directory"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("%T holds no *Error", err)
			}
		})
	}
}

func TestFileErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"comment", "# nothing\n", ""},
		{"document mark", "---\nnum.partitions: 3\n", ""},
		{"unknown", "\nnum.partitons: 3\n", "FILE:2: num.partitons: there is no such property; did you mean num.partitions?"},
		{"bad value", "kafka.port: 9092\nnum.partitions: 0\n", "FILE:2: num.partitions=0: must lie between 1 and 10000"},
		{"twice", "num.partitions: 1\nnum.partitions: 1\n", "FILE:2: num.partitions: stands here for the second time, first in line 1; remove one"},
		{"nested", "num:\n  partitions: 1\n", "FILE:1: num: holds a mapping, but properties are written flat; write num.partitions: 3, not num: {partitions: 3}"},
		{"list", "peers: [[1]]\n", "FILE:1: peers: its list must hold plain values only"},
		{"not a mapping", "- a\n", "FILE:1: must hold lines of the form name: value"},
		{"not YAML", "a: [\n", "FILE: is not valid YAML: line 1: did not find expected node content"},
		{"whole list", "log.cleanup.policy: [delete]\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := file(t, tt.text)
			_, err := Load(Sources{File: path})
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), path, "FILE")
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestCheckTopicConfig(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"retention.ms", "1000", ""},
		{"retention.ms", "-1", ""},
		{"retention.ms", "-2", "retention.ms=-2: must be at least -1"},
		{"retention.ms", "", "retention.ms: is not a whole number"},
		{"retention.m", "1", "retention.m: there is no such topic config; did you mean retention.ms?"},
		{"cleanup.policy", "delete", ""},
		{"cleanup.policy", "compact", ""},
		{"cleanup.policy", "compact,delete", ""},
		{"cleanup.policy", "shred", `cleanup.policy=shred: must be delete, compact or both, not "shred"`},
		{"cleanup.policy", "", "cleanup.policy: must be delete, compact or both"},
		{"remote.storage.enable", "true", "remote.storage.enable=true: tiered storage is not there yet; leave remote.storage.enable out"},
		{"remote.storage.enable", "false", ""},
		{"segment.bytes", "1024", "segment.bytes=1024: must be at least 1048576"},
		{"compression.type", "zstd", ""},
		{"compression.type", "brotli", "compression.type=brotli: must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"compression.gzip.level", "0", "compression.gzip.level=0: must be -1 or lie between 1 and 9"},
		{"compression.gzip.level", "-1", ""},
		{"min.cleanable.dirty.ratio", "1.5", "min.cleanable.dirty.ratio=1.5: must lie between 0 and 1"},
		{"min.cleanable.dirty.ratio", "NaN", "min.cleanable.dirty.ratio=NaN: is not a number"},
		{"leader.replication.throttled.replicas", "*", ""},
		{"leader.replication.throttled.replicas", "0:1,1:2", ""},
		{"leader.replication.throttled.replicas", "0-1", `leader.replication.throttled.replicas=0-1: must be * or a list of partition:broker, not "0-1"`},
		{"message.format.version", "3.0", "message.format.version: there is no such topic config; Kafka removed it in 4.0: every batch has format 2; leave it out"},
		{"write.caching", "true", ""},
		{"min.insync.replicas", "0", "min.insync.replicas=0: must be at least 1"},
	} {
		err := CheckTopicConfig(tt.name, tt.value)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s=%s:\ngot  %s\nwant %s", tt.name, tt.value, got, tt.want)
		}
	}
	if err := CheckTopicConfigs(map[string]string{"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "4"}); err == nil {
		t.Error("a minimum lag above the maximum was accepted")
	}
}

func TestTopicTakesTheBrokersDefaults(t *testing.T) {
	c := load(t, Sources{Flags: set("log.retention.hours=1", "write.caching=true", "log.segment.bytes=2097152", "min.insync.replicas=2")})
	got := c.Topic(map[string]string{"segment.bytes": "1048576", "retention.bytes": "5", "unknown": "x", "flush.ms": "not a number"})
	want := load(t, Sources{}).Topic(nil)
	want.RetentionMillis, want.WriteCaching, want.SegmentBytes, want.MinInsyncReplicas, want.RetentionBytes = 3_600_000, true, 1048576, 2, 5
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMinISR(t *testing.T) {
	for _, tt := range []struct {
		set  int32
		rf   int
		want int32
	}{{0, 1, 1}, {0, 2, 1}, {0, 3, 2}, {0, 5, 2}, {1, 3, 1}, {3, 3, 3}} {
		topic := Topic{MinInsyncReplicas: tt.set}
		if got := topic.MinISR(tt.rf); got != tt.want {
			t.Errorf("min.insync.replicas %d with %d replicas is %d, want %d", tt.set, tt.rf, got, tt.want)
		}
	}
}

func TestAdvertised(t *testing.T) {
	machine := func(host string, resolves bool, addrs ...string) Machine {
		return Machine{
			Hostname: func() (string, error) { return host, nil },
			Resolves: func(context.Context, string) bool { return resolves },
			Interfaces: func() ([]net.Addr, error) {
				var list []net.Addr
				for _, a := range addrs {
					list = append(list, &net.IPNet{IP: net.ParseIP(a)})
				}
				return list, nil
			},
		}
	}
	cluster := []string{"node.id=1", "peers=2@b:5001"}
	for _, tt := range []struct {
		name    string
		mode    Mode
		flags   []string
		machine Machine
		want    string
	}{
		{"loopback", Standalone, nil, machine("h", true), "localhost:9092"},
		{"another loopback", Standalone, []string{"bind.addr=127.0.0.2"}, machine("h", true), "127.0.0.2:9092"},
		{"given", RaftCluster, append(cluster, "advertised.addr=a.example"), machine("h", true), "a.example:9092"},
		{"given with port", RaftCluster, append(cluster, "advertised.addr=a.example:19092"), machine("h", true), "a.example:19092"},
		{"given IPv6", RaftCluster, append(cluster, "advertised.addr=2001:db8::1"), machine("h", true), "[2001:db8::1]:9092"},
		{"given IPv6 with port", RaftCluster, append(cluster, "advertised.addr=[2001:db8::1]:5"), machine("h", true), "[2001:db8::1]:5"},
		{"one address", RaftCluster, append(cluster, "bind.addr=10.0.0.7"), machine("h", true), "10.0.0.7:9092"},
		{"host name", RaftCluster, cluster, machine("h", true, "127.0.0.1", "10.0.0.7"), "h:9092"},
		{"IPv4 wildcard", RaftCluster, append(cluster, "bind.addr=0.0.0.0"), machine("h", true), "h:9092"},
		{"no such host", RaftCluster, cluster, machine("h", false, "127.0.0.1", "::1", "10.0.0.7"), "10.0.0.7:9092"},
		{"alone", RaftCluster, cluster, machine("", false, "127.0.0.1"), "localhost:9092"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := load(t, Sources{Mode: tt.mode, Flags: set(tt.flags...)})
			if got := c.Advertised(t.Context(), tt.machine, c.KafkaPort); got.Addr() != tt.want || got.Why == "" {
				t.Errorf("advertises %s (%s), want %s", got.Addr(), got.Why, tt.want)
			}
		})
	}
}

func TestDurations(t *testing.T) {
	c := load(t, Sources{Flags: set("connections.max.idle.ms=9223372036854775807")})
	if c.ConnectionsMaxIdle != time.Duration(NoLimit) || c.OffsetsRetention != 7*24*time.Hour || c.RaftHeartbeatTimeout != 200*time.Millisecond {
		t.Errorf("durations: %v %v %v", c.ConnectionsMaxIdle, c.OffsetsRetention, c.RaftHeartbeatTimeout)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"retention.ms", "retention.bytes", "segment.ms"}
	for name, want := range map[string]string{"retention.sm": "retention.ms", "Retention.ms": "retention.ms", "xyz": "", "segmnt.ms": "segment.ms"} {
		if got := Nearest(name, known); got != want {
			t.Errorf("nearest to %s is %q, want %q", name, got, want)
		}
	}
	if got := Nearest("segment.mm", []string{"segment.mz", "segment.ma"}); got != "segment.ma" {
		t.Errorf("of two that are as near the nearest is %q", got)
	}
	// A client's request names properties, of up to a megabyte: those are compared with nothing.
	long := strings.Repeat("retention.ms", 90_000)
	if n := testing.AllocsPerRun(10, func() { Nearest(long, known) }); n > 0 {
		t.Errorf("%v allocations for a name that is near none", n)
	}
}

func FuzzParsePeers(f *testing.F) {
	f.Add("2@localhost:5002,3@[::1]:5003")
	f.Add("1@:0,@,@@::")
	f.Fuzz(func(t *testing.T, text string) {
		peers, err := ParsePeers(splitList(text))
		if err != nil {
			return
		}
		var again []string
		for _, p := range peers {
			again = append(again, p.String())
		}
		back, err := ParsePeers(again)
		if err != nil || !slices.Equal(back, peers) {
			t.Errorf("%q is read as %v and then as %v, %v", text, peers, back, err)
		}
	})
}

// TestMemoryLimit: it follows from what the process is granted unless a person says otherwise, and is shown.
func TestMemoryLimit(t *testing.T) {
	for _, x := range []struct {
		granted int64
		set     []Setting
		want    string
	}{
		{0, nil, "-1 from default"},
		{1000, nil, "900 from default"},
		{1000, set("memory.limit=-1"), "900 from -o"},
		{1000, set("memory.limit=0"), "0 from -o"},
		{1000, set("memory.limit=5000"), "5000 from -o"},
	} {
		c := load(t, Sources{MemoryGranted: x.granted, Flags: x.set})
		changed, err := c.With(Dynamic{Broker: map[string]string{"max.connections": "7"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*Config{c, changed} {
			v, _ := c.Lookup("memory.limit")
			if got := v.Text + " from " + v.Origin.String(); got != x.want || v.Text != fmt.Sprint(c.MemoryLimit) {
				t.Errorf("granted %d: %s (%d), want %s", x.granted, got, c.MemoryLimit, x.want)
			}
		}
	}
}
