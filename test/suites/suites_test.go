//go:build linux

package suites

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/test/proctest"
)

var update = flag.Bool("update", false, "add what passes for the first time to testdata and write COMPATIBILITY.md")

// suite is the tests of one module.
type suite struct {
	name, module, pkg string
	how               string   // where it runs, for COMPATIBILITY.md
	flags             []string // of the build
	patch             []patch
}

// patch is a change to a fixture of a suite.
type patch struct{ file, old, new, why string }

var (
	franzGo = suite{
		name: "franz-go", module: "github.com/twmb/franz-go", pkg: "github.com/twmb/franz-go/pkg/kgo",
		how: "three nodes; `KGO_TEST_RF=1`, `KGO_TEST_RECORDS=5000`",
	}
	kafkaGo = suite{
		name: "kafka-go", module: "github.com/segmentio/kafka-go", pkg: "github.com/segmentio/kafka-go",
		how: "one node with `message.max.bytes=200000000` and `group.initial.rebalance.delay.ms=0` on localhost:9092, in a network namespace of its own; `KAFKA_VERSION=4.0.0`",
		patch: []patch{
			{"reader_test.go", `ConfigName:  "segment.bytes"`, `ConfigName:  "segment.ms"`, "Kafka takes no segments of less than 1 MiB since 4.0, and neither do we"},
			{"reader_test.go", `ConfigValue: "200"`, `ConfigValue: "1"`, "the same"},
			{"reader_test.go", "\t\tpartitions = 2\n", "\t\tpartitions = 3\n", "the topic has three; with records for two, a reader that has one partition cannot read what it should, with Kafka 4.3.1 neither"},
			{"reader_test.go", "conn, err := cg.coordinator()", "cg.config.Topics = []string{config.Topic}; _ = cg.config.Validate(); conn, err := cg.coordinator()", "without its defaults a ConsumerGroup has no dial function, and panics"},
		},
	}
	saramaFunctional = suite{
		name: "sarama", module: "github.com/IBM/sarama", pkg: "github.com/IBM/sarama", flags: []string{"-tags", "functional"},
		how: "five nodes with `auto.create.topics.enable=false` and `group.initial.rebalance.delay.ms=0` behind proxies, in a network namespace of their own; `KAFKA_VERSION=4.3.1`; " +
			"a [stand-in](test/suites/testdata/docker) for docker runs Kafka's own tools",
		patch: []patch{
			{"functional_test.go", "ReplicationFactor: 3", "ReplicationFactor: 1", "partitions have one replica here"},
			{"functional_test.go", "if FunctionalTestEnv.UsingExisting {", "if false {", "what it runs through docker can be run here"},
		},
	}
	suites = []suite{franzGo, kafkaGo, saramaFunctional}
)

func TestFranzGo(t *testing.T) {
	bin, dir := franzGo.build(t)
	cl := proctest.Run(t, proctest.Config{Nodes: 3})
	franzGo.run(t, bin, dir, "KGO_SEEDS="+strings.Join(cl.Bootstrap(), ","), "KGO_TEST_RF=1", "KGO_TEST_RECORDS=5000", "KGO_LOG_LEVEL=none")
}

func TestKafkaGo(t *testing.T) {
	bin, dir := kafkaGo.build(t)
	inNamespace(t, func(t *testing.T) {
		like := []string{"CHRONIK_MESSAGE_MAX_BYTES=200000000", "CHRONIK_GROUP_INITIAL_REBALANCE_DELAY_MS=0"} // as in its own fixture
		startNode(t, like, "--admin-addr", "127.0.0.1:9644", "standalone")
		awaitReady(t, 9644)
		kafkaGo.run(t, bin, dir, "KAFKA_VERSION=4.0.0")
	})
}

func TestSarama(t *testing.T) {
	bin, dir := saramaFunctional.build(t)
	inNamespace(t, func(t *testing.T) {
		const nodes = 5
		like := []string{"CHRONIK_AUTO_CREATE_TOPICS_ENABLE=false", "CHRONIK_GROUP_INITIAL_REBALANCE_DELAY_MS=0"} // as in its own fixture
		tools := kafkaTools(t)
		upstream := map[string][2]string{}
		for i := 1; i <= nodes; i++ {
			var peers []string
			for j := 1; j <= nodes; j++ {
				if j != i {
					peers = append(peers, fmt.Sprintf("%d@127.0.0.2:%d", j, 5000+j))
				}
			}
			log := startNode(t, like, "--node-id", fmt.Sprint(i), "--bind-addr", "127.0.0.2", "--advertised-addr", "127.0.0.1", "--kafka-port", fmt.Sprint(29090+i),
				"--admin-addr", fmt.Sprintf("127.0.0.1:%d", 9640+i), "raft-cluster", "--raft-addr", fmt.Sprintf("127.0.0.2:%d", 5000+i), "--peers", strings.Join(peers, ","))
			if err := os.Symlink(log, filepath.Join(tools, fmt.Sprintf("node-%d.log", i))); err != nil {
				t.Fatal(err)
			}
			upstream[fmt.Sprintf("kafka%d", i)] = [2]string{fmt.Sprintf("127.0.0.1:%d", 29090+i), fmt.Sprintf("127.0.0.2:%d", 29090+i)}
		}
		for i := 1; i <= nodes; i++ {
			awaitReady(t, 9640+i)
		}
		saramaFunctional.run(t, bin, dir, "KAFKA_VERSION=4.3.1", "TOXIPROXY_ADDR="+serveProxies(t, upstream), "PATH="+tools+":"+os.Getenv("PATH"))
	})
}

// kafkaTools makes a directory with testdata/docker and the tools of Kafka that sarama's tests run through docker, as
// test/clients/java/pom.xml has fetched them.
func kafkaTools(t *testing.T) string {
	t.Helper()
	top, err := proctest.Top()
	if err != nil {
		t.Fatal(err)
	}
	jars, err := os.ReadFile(filepath.Join(top, "bin", "java", "kafka", "classpath"))
	if err != nil {
		t.Fatalf("%v: make java fetches Kafka's tools", err)
	}
	dir := t.TempDir()
	scripts := map[string]string{"docker": readFile(t, "testdata/docker")}
	for tool, class := range map[string]string{
		"kafka-console-producer": "ConsoleProducer", "kafka-console-consumer": "consumer.ConsoleConsumer", "kafka-verifiable-consumer": "VerifiableConsumer",
	} {
		scripts[tool+".sh"] = fmt.Sprintf("#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Xmx512m -cp '%s' org.apache.kafka.tools.%s \"$@\"\n", jars, class)
	}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// build compiles the tests of the suite as its module ships them, but for the patches, and returns the
// binary and the directory to run it in.
func (s suite) build(t *testing.T) (bin, dir string) {
	t.Helper()
	if testing.Short() {
		t.Skip("other people's suites take minutes")
	}
	top, err := proctest.Top()
	if err != nil {
		t.Fatal(err)
	}
	bin = filepath.Join(top, "bin", "suites", s.name+".test")
	if os.Getenv(namespaceMark) == "" {
		if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(strings.TrimSuffix(bin, ".test") + ".out"); err != nil {
			t.Fatal(err)
		}
	}
	shipped := strings.TrimSpace(command(t, "go", "list", "-m", "-f", "{{.Dir}}", s.module))
	rel := strings.TrimPrefix(strings.TrimPrefix(s.pkg, s.module), "/")
	if s.patch == nil {
		if os.Getenv(namespaceMark) == "" {
			command(t, "go", append(append([]string{"test", "-c", "-o", bin}, s.flags...), s.pkg)...)
		}
		return bin, filepath.Join(shipped, rel)
	}
	patched := filepath.Join(top, "bin", "suites", s.name)
	if os.Getenv(namespaceMark) != "" {
		return bin, filepath.Join(patched, rel)
	}
	s.copyPatched(t, shipped, patched)
	mod := filepath.Join(top, "bin", "suites", s.name+".mod")
	text := strings.ReplaceAll(readFile(t, "go.mod"), "=> ../..", "=> "+top) + "\nreplace " + s.module + " => " + patched + "\n"
	writeFile(t, mod, text)
	writeFile(t, strings.TrimSuffix(mod, ".mod")+".sum", readFile(t, "go.sum"))
	command(t, "go", append(append([]string{"test", "-c", "-mod=mod", "-modfile=" + mod, "-o", bin}, s.flags...), s.pkg)...)
	return bin, filepath.Join(patched, rel)
}

// copyPatched copies the module's files and applies the patches.
func (s suite) copyPatched(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.patch {
		text := readFile(t, filepath.Join(to, p.file))
		if !strings.Contains(text, p.old) {
			t.Fatalf("%s has no %q to patch", p.file, p.old)
		}
		writeFile(t, filepath.Join(to, p.file), strings.ReplaceAll(text, p.old, p.new))
	}
}

var result = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)

// outcomes are the names of tests and subtests.
type outcomes struct{ passed, failed, skipped map[string]bool }

// run runs the suite and holds what passes against its list, and what does not against the reasons to leave
// it out: every test is in one of the two. What fails is run a second time: these tests are written for a
// machine of their own, and some bound a wait tightly.
func (s suite) run(t *testing.T, bin, dir string, env ...string) {
	t.Helper()
	var patterns []string
	for _, l := range s.leftOut(t) {
		patterns = append(patterns, l.pattern)
	}
	skip := "-test.skip=" + strings.Join(patterns, "|")
	got := s.execute(t, bin, dir, env, skip)
	if len(got.failed) > 0 {
		again := map[string]bool{}
		for name := range got.failed {
			top, _, _ := strings.Cut(name, "/")
			again["^"+top+"$"] = true
		}
		t.Logf("run again: %s", slices.Sorted(maps.Keys(got.failed)))
		second := s.execute(t, bin, dir, env, skip, "-test.run="+strings.Join(slices.Sorted(maps.Keys(again)), "|"))
		maps.Copy(got.passed, second.passed)
	}
	s.compare(t, got)
}

// compare holds what was seen against the lists, and writes the list of those that pass with -update.
func (s suite) compare(t *testing.T, all outcomes) {
	t.Helper()
	for name := range all.failed {
		if !all.passed[name] {
			t.Errorf("%s of %s fails (see bin/suites/%s.out)", name, s.name, s.name)
		}
	}
	for name := range all.skipped {
		if !all.passed[name] {
			t.Errorf("%s of %s skips itself, and %s has no reason", name, s.name, s.file("leftout"))
		}
	}
	for _, name := range s.names(t) {
		seen := all.passed[name] || all.failed[name] || all.skipped[name]
		if !seen && !slices.ContainsFunc(s.leftOut(t), func(l leftOut) bool { return regexp.MustCompile(l.pattern).MatchString(name) }) {
			t.Errorf("%s of %s was not run, and %s has no reason", name, s.name, s.file("leftout"))
		}
	}
	list := s.list(t)
	for _, name := range list {
		if !all.passed[name] {
			t.Errorf("%s of %s no longer passes (see bin/suites/%s.out)", name, s.name, s.name)
		}
	}
	var grown []string
	for name := range all.passed {
		if !slices.Contains(list, name) && !covered(name, all.passed, list) {
			grown = append(grown, name)
		}
	}
	sort.Strings(grown)
	t.Logf("%s: %d tests in the list, %d more pass", s.name, len(list), len(grown))
	switch {
	case len(grown) > 0 && !*update:
		t.Errorf("these pass now; run with -update: %s", strings.Join(grown, " "))
	case len(grown) > 0:
		list = append(list, grown...)
		sort.Strings(list)
		writeFile(t, s.file("passes"), strings.Join(list, "\n")+"\n")
	}
}

var declared = regexp.MustCompile(`(?m)^func (Test[A-Z0-9_]\w*)\(\w+ \*testing\.T\)`)

// names are all tests of the suite.
func (s suite) names(t *testing.T) (names []string) {
	t.Helper()
	const files = "{{range .TestGoFiles}}{{$.Dir}}/{{.}}\n{{end}}{{range .XTestGoFiles}}{{$.Dir}}/{{.}}\n{{end}}"
	for _, file := range strings.Fields(command(t, "go", append(append([]string{"list"}, s.flags...), "-f", files, s.pkg)...)) {
		for _, m := range declared.FindAllStringSubmatch(readFile(t, file), -1) {
			names = append(names, m[1])
		}
	}
	if len(names) < 20 {
		t.Fatalf("%s has the tests %q: are they found in the right way?", s.pkg, names)
	}
	return names
}

// execute runs the binary, keeps what it prints in a file, and returns how the tests ended.
func (s suite) execute(t *testing.T, bin, dir string, env []string, args ...string) outcomes {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, append([]string{"-test.v", "-test.timeout=14m"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s: %v", filepath.Base(bin), err)
	log, openErr := os.OpenFile(strings.TrimSuffix(bin, ".test")+".out", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if openErr != nil {
		t.Fatal(openErr)
	}
	defer log.Close()
	if _, err := log.Write(out); err != nil {
		t.Fatal(err)
	}
	got := outcomes{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, line := range strings.Split(string(out), "\n") {
		if m := result.FindStringSubmatch(line); m != nil {
			map[string]map[string]bool{"PASS": got.passed, "FAIL": got.failed, "SKIP": got.skipped}[m[1]][m[2]] = true
		}
	}
	return got
}

// covered tells whether an ancestor of a subtest stands for it. The name of a subtest may have slashes of its own.
func covered(name string, passed map[string]bool, list []string) bool {
	for i := range len(name) {
		if name[i] == '/' && (passed[name[:i]] || slices.Contains(list, name[:i])) {
			return true
		}
	}
	return false
}

func (s suite) file(kind string) string { return filepath.Join("testdata", s.name+"."+kind) }

func (s suite) list(t *testing.T) []string {
	data, err := os.ReadFile(s.file("passes"))
	if err != nil && !*update {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// leftOut is a pattern of go test's -skip, and why.
type leftOut struct{ pattern, why string }

func (s suite) leftOut(t *testing.T) []leftOut {
	t.Helper()
	var all []leftOut
	for _, line := range strings.Split(strings.TrimSpace(readFile(t, s.file("leftout"))), "\n") {
		pattern, why, ok := strings.Cut(line, "\t")
		if !ok {
			t.Fatalf("%s: %q has no reason", s.file("leftout"), line)
		}
		all = append(all, leftOut{pattern, why})
	}
	return all
}

// startNode starts a node with the ports that the arguments give, and returns the name of its log. It ends with the test.
func startNode(t *testing.T, env []string, args ...string) (logFile string) {
	t.Helper()
	bin, err := proctest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, append([]string{"--data-dir", filepath.Join(dir, "data")}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	})
	return log.Name()
}

func awaitReady(t *testing.T, admin int) {
	t.Helper()
	for deadline := time.Now().Add(proctest.Patience); ; time.Sleep(5 * time.Millisecond) {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", admin))
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node with admin port %d is not ready: %v", admin, err)
		}
	}
}

const namespaceMark = "TEST_IN_NAMESPACE"

// inNamespace runs the body in a network namespace of its own, where every port is free, by running
// this test alone in a child process. It needs root.
func inNamespace(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if os.Getenv(namespaceMark) != "" {
		command(t, "ip", "link", "set", "lo", "up")
		body(t)
		return
	}
	if _, err := proctest.Binary(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=16m", fmt.Sprintf("-update=%v", *update))
	cmd.Env = append(os.Environ(), namespaceMark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		if os.Getenv("TEST_CLIENTS_REQUIRED") != "1" && os.Getuid() != 0 {
			t.Skipf("SKIPPED, NOT TESTED: a network namespace needs root: %v", err)
		}
		t.Fatal(err)
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
