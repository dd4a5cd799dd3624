package clients

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/test/proctest"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestRealKafkaServesOurLogs gives the segments that a node of ours wrote to Kafka's dump tool and
// then to a real Kafka: at first without indexes, which it rebuilds, then with ours.
func TestRealKafkaServesOurLogs(t *testing.T) {
	classPath(t, javaKafka)
	const topic = "events"
	config := map[string]*string{"segment.bytes": kadm.StringPtr("1048576"), "index.interval.bytes": kadm.StringPtr("2048")}
	ctx := patient(t)

	cl := proctest.Run(t, proctest.Config{Nodes: 1})
	want := writeSegments(ctx, t, cl, topic, config)
	wantAt := offsetsAt(ctx, t, cl.Bootstrap(), topic, want.middle)
	ours := cl.Nodes[0]
	if err := ours.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Run("kafka-dump-log", func(t *testing.T) { dumpLogs(ctx, t, ours.DataDir) })

	k := formatKafka(ctx, t)
	k.start(t)
	createTopic(ctx, t, k.bootstrap, topic, config)
	k.stop(t)
	for _, pass := range []struct {
		name string
		ours []string // which of our files it is given
		says string   // a complaint that must not be in its log
	}{
		{"indexes rebuilt", []string{".log"}, "orrupt"},
		{"our indexes", []string{".log", ".index", ".timeindex"}, "rebuilding"},
	} {
		t.Run(pass.name, func(t *testing.T) {
			k.replace(t, ours.DataDir, topic, pass.ours)
			k.log.Reset()
			k.start(t)
			awaitLeaders(ctx, t, k.bootstrap, topic)
			var got []string
			j := startJava(t, javaKafka, k.bootstrap)
			if err := j.readAll(ctx, topic, func(r record) { got = append(got, r.key+"="+r.value) }); err != nil {
				t.Fatal(err)
			}
			sort.Strings(got)
			if d := difference(want.records, got); d != "" {
				t.Fatal(d)
			}
			if at := offsetsAt(ctx, t, k.bootstrap, topic, want.middle); at != wantAt {
				t.Errorf("offsets at timestamp %d: Kafka finds %s, we found %s", want.middle, at, wantAt)
			}
			k.stop(t)
			if strings.Contains(k.log.String(), pass.says) {
				t.Errorf("its log says %q", pass.says)
			}
		})
	}
}

// written is what writeSegments wrote.
type written struct {
	records []string // key=value, sorted
	middle  int64    // a timestamp in the middle of it
}

// writeSegments fills a topic of two partitions with several segments of every
// codec, from producers with and without idempotence, and commits for a group.
func writeSegments(ctx context.Context, t *testing.T, cl *proctest.Cluster, topic string, config map[string]*string) written {
	t.Helper()
	createTopic(ctx, t, cl.Bootstrap(), topic, config)
	var w written
	at := time.Now().Add(-time.Hour)
	random := rand.New(rand.NewPCG(1, 2))
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for i := range 2 * len(codecs) {
		opts := []kgo.Opt{
			kgo.SeedBrokers(cl.Bootstrap()...), kgo.ProducerBatchCompression(codecs[i%len(codecs)]), kgo.ProducerBatchMaxBytes(16 << 10),
			kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		}
		if i%2 == 0 {
			opts = append(opts, kgo.DisableIdempotentWrite())
		}
		k, err := kgo.NewClient(opts...)
		if err != nil {
			t.Fatal(err)
		}
		var rs []*kgo.Record
		for n := range 800 {
			at = at.Add(time.Millisecond)
			value := make([]byte, 600)
			for b := range value {
				value[b] = byte('a' + random.IntN(26))
			}
			r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "%d-%d", i, n), Value: value, Timestamp: at}
			rs = append(rs, r)
			w.records = append(w.records, string(r.Key)+"="+string(r.Value))
		}
		if err := k.ProduceSync(ctx, rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		k.Close()
		if i == len(codecs) {
			w.middle = at.UnixMilli()
		}
	}
	sort.Strings(w.records)
	reader, err := (&franz{cl.Bootstrap()}).join(ctx, "readers", topic, func(record) {})
	if err != nil {
		t.Fatal(err)
	}
	checkCommitted(ctx, t, cl, "readers", topic, len(w.records))
	if err := reader.leave(); err != nil {
		t.Fatal(err)
	}
	return w
}

// dumpLogs lets Kafka read every file of a data directory that it knows, and complain.
func dumpLogs(ctx context.Context, t *testing.T, dir string) {
	complaint := regexp.MustCompile(`(?i)isvalid: false|mismatch|exception|non-consecutive|out of order|could not|failed|corrupt|invalid|found`)
	// The tool expects every segment to begin at offset 0, a Kafka's own too.
	firstSegment := regexp.MustCompile(`Non-consecutive offsets in \S+\.log\s+-1 is followed by \d+\n`)
	for _, kind := range []struct {
		glob  string
		least int
		flags []string
		want  string
	}{
		{"events-*/*.log", 6, []string{"--deep-iteration"}, `isvalid: true`},
		{"events-*/*.index", 4, nil, `offset: \d+ position: \d+`},
		{"events-*/*.index", 4, []string{"--index-sanity-check"}, `passed sanity check`},
		{"events-*/*.timeindex", 4, nil, `timestamp: \d+ offset: \d+`},
		{"events-*/*.timeindex", 4, []string{"--index-sanity-check"}, `passed sanity check`},
		{"events-*/*.snapshot", 2, nil, `producerId: \d+ producerEpoch: 0`},
		{"__consumer_offsets-*/*.log", 1, []string{"--deep-iteration", "--offsets-decoder"}, `key: \{"type":"1","data":\{"group":"readers","topic":"events","partition":0\}\} payload: \{"version":"\d","data":\{"offset":`},
	} {
		files, err := filepath.Glob(filepath.Join(dir, kind.glob))
		if err != nil || len(files) < kind.least {
			t.Errorf("%s: %d files, want at least %d (%v)", kind.glob, len(files), kind.least, err)
			continue
		}
		stdout, stderr, err := tool(ctx, t, "", "kafka-dump-log", append(kind.flags, "--files", strings.Join(files, ","))...)
		said := complaint.FindString(firstSegment.ReplaceAllString(stdout+stderr, ""))
		if err != nil || said != "" || !regexp.MustCompile(kind.want).MatchString(stdout) {
			t.Errorf("kafka-dump-log %v of %s: %v, complaint %q, want %s\n%.3000s\n%s", kind.flags, kind.glob, err, said, kind.want, stdout, stderr)
		}
	}
}

func createTopic(ctx context.Context, t *testing.T, bootstrap []string, topic string, config map[string]*string) {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, err := kadm.NewClient(k).CreateTopic(ctx, 2, 1, config, topic); err != nil {
		t.Fatal(err)
	}
	awaitLeaders(ctx, t, bootstrap, topic)
}

// offsetsAt asks for the first offset at or after a timestamp, of every partition.
func offsetsAt(ctx context.Context, t *testing.T, bootstrap []string, topic string, millis int64) string {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	offsets, err := kadm.NewClient(k).ListOffsetsAfterMilli(ctx, millis, topic)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	offsets.Each(func(o kadm.ListedOffset) {
		found = append(found, fmt.Sprintf("%d:%d@%d", o.Partition, o.Offset, o.Timestamp))
	})
	sort.Strings(found)
	return strings.Join(found, " ")
}

// realKafka is one node of Kafka, broker and controller in one, with a directory of its own.
type realKafka struct {
	dir       string // holds server.properties and data
	bootstrap []string
	cmd       *exec.Cmd
	log       bytes.Buffer
}

func formatKafka(ctx context.Context, t *testing.T) *realKafka {
	t.Helper()
	k := &realKafka{dir: t.TempDir()}
	var ports []int
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	k.bootstrap = []string{fmt.Sprintf("127.0.0.1:%d", ports[0])}
	properties := fmt.Sprintf(`process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:%d
log.dirs=%s
offsets.topic.replication.factor=1
`, ports[0], ports[1], ports[1], filepath.Join(k.dir, "data"))
	if err := os.WriteFile(k.properties(), []byte(properties), 0o600); err != nil {
		t.Fatal(err)
	}
	const id = "MkU3OEVBNTcwNTJENDM2Qg"
	if out, errs, err := tool(ctx, t, "", "kafka-storage", "format", "--standalone", "-t", id, "-c", k.properties()); err != nil {
		t.Fatalf("kafka-storage format: %v\n%s%s", err, out, errs)
	}
	t.Cleanup(func() {
		if k.cmd != nil {
			_ = k.cmd.Process.Kill()
			_ = k.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("Kafka's log:\n%s", k.log.String())
		}
	})
	return k
}

func (k *realKafka) properties() string { return filepath.Join(k.dir, "server.properties") }

func (k *realKafka) start(t *testing.T) {
	t.Helper()
	args := append(append([]string(nil), jvmFlags...), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", classPath(t, javaKafka), toolClasses["kafka-server-start"], k.properties())
	k.cmd = exec.Command("java", args...)
	k.cmd.Stdout, k.cmd.Stderr = &k.log, &k.log
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(proctest.Patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", k.bootstrap[0])
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Kafka does not start: %v", err)
		}
	}
}

// stop asks Kafka to stop and waits for it; killed by a signal that it handled, Java ends with 143.
func (k *realKafka) stop(t *testing.T) {
	t.Helper()
	_ = k.cmd.Process.Signal(os.Interrupt)
	_ = k.cmd.Wait()
	k.cmd = nil
}

// replace removes every segment, index and snapshot of the topic and puts our files of the given kinds in their place.
func (k *realKafka) replace(t *testing.T, ours, topic string, kinds []string) {
	t.Helper()
	for p := range 2 {
		name := fmt.Sprintf("%s-%d", topic, p)
		theirs := filepath.Join(k.dir, "data", name)
		for _, kind := range []string{".log", ".index", ".timeindex", ".txnindex", ".snapshot"} {
			old, _ := filepath.Glob(filepath.Join(theirs, "*"+kind))
			for _, f := range old {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, kind := range kinds {
			files, _ := filepath.Glob(filepath.Join(ours, name, "*"+kind))
			for _, f := range files {
				data, err := os.ReadFile(f)
				if err == nil {
					err = os.WriteFile(filepath.Join(theirs, filepath.Base(f)), data, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
