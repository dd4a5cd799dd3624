package clients

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chronik-stream/chronik/test/proctest"
)

// The two sets of jars of java/pom.xml, each a profile of it.
const (
	javaKafka      = "kafka"         // server, tools and client of one release
	javaClientNext = "clients-4.4.0" // the client alone, of the newest release
)

// jvmFlags make short-lived Java processes start sooner.
var jvmFlags = []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx512m"}

// classPaths are what Maven resolved, by profile, once a process.
var classPaths struct {
	sync.Mutex
	m map[string]string
}

// classPath returns the class path of a profile of java/pom.xml, what was compiled of java/ first. Maven
// is asked offline, and from the network only when it lacks something.
func classPath(t *testing.T, profile string) string {
	t.Helper()
	if os.Getenv("TEST_CLIENTS_SKIP") == "java" {
		t.Skip("TEST_CLIENTS_SKIP=java: nothing of Java is tested")
	}
	for _, tool := range []string{"java", "javac", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			requireOrSkip(t, tool)
		}
	}
	classPaths.Lock()
	defer classPaths.Unlock()
	if cp := classPaths.m[profile]; cp != "" {
		return cp
	}
	top, err := proctest.Top()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(top, "bin", "java", profile)
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(out, "classpath")
	mvn := func(flags ...string) ([]byte, error) {
		return exec.Command("mvn", append(flags, "-q", "-B", "-f", "java/pom.xml", "-P", profile,
			"org.apache.maven.plugins:maven-dependency-plugin:build-classpath", "-Dmdep.outputFile="+list)...).CombinedOutput()
	}
	if _, err := mvn("-o"); err != nil {
		if said, err := mvn(); err != nil {
			t.Logf("mvn: %v\n%s", err, said)
			requireOrSkip(t, "what java/pom.xml names")
		}
	}
	jars, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("java/*.java")
	if err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command("javac", append([]string{"-Xlint:-removal", "-cp", string(jars), "-d", out}, sources...)...).CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, said)
	}
	if classPaths.m == nil {
		classPaths.m = map[string]string{}
	}
	classPaths.m[profile] = out + string(os.PathListSeparator) + string(jars)
	return classPaths.m[profile]
}

// TestClassPaths resolves what java/pom.xml names: from the network at first, offline from then on.
func TestClassPaths(t *testing.T) {
	for _, profile := range []string{javaKafka, javaClientNext} {
		t.Run(profile, func(t *testing.T) {
			for _, jar := range strings.Split(classPath(t, profile), string(os.PathListSeparator)) {
				if _, err := os.Stat(jar); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// javaClient is the Java client in a process of its own: see java/Client.java for what is said.
type javaClient struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	errs  bytes.Buffer

	asking  sync.Mutex // held from a command to its answer
	answers chan string

	mu      sync.Mutex
	members map[string]func(record)
	joined  int
}

func newJava(profile string) func(t *testing.T, bootstrap []string) client {
	return func(t *testing.T, bootstrap []string) client {
		return startJava(t, profile, bootstrap)
	}
}

func startJava(t *testing.T, profile string, bootstrap []string) *javaClient {
	t.Helper()
	j := &javaClient{answers: make(chan string, 1), members: map[string]func(record){}}
	args := append(append([]string(nil), jvmFlags...), "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		"-cp", classPath(t, profile), "Client", strings.Join(bootstrap, ","))
	j.cmd = exec.Command("java", args...)
	j.cmd.Stderr = &j.errs
	out, err := j.cmd.StdoutPipe()
	if err == nil {
		j.stdin, err = j.cmd.StdinPipe()
	}
	if err == nil {
		err = j.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		j.read(out)
	}()
	t.Cleanup(func() {
		_ = j.cmd.Process.Kill()
		<-read
		_ = j.cmd.Wait()
		if t.Failed() {
			t.Logf("the Java client said:\n%s", j.errs.String())
		}
	})
	return j
}

// read passes on what the process writes until it ends.
func (j *javaClient) read(out io.Reader) {
	defer close(j.answers)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.SplitN(lines.Text(), "\t", 4)
		if words[0] != "rec" {
			j.answers <- lines.Text()
			continue
		}
		j.mu.Lock()
		got := j.members[words[1]]
		j.mu.Unlock()
		got(record{words[2], words[3]})
	}
}

// ask gives a command, and lines that belong to it, and waits for its answer.
func (j *javaClient) ask(ctx context.Context, lines []string, words ...string) error {
	j.asking.Lock()
	defer j.asking.Unlock()
	lines = append([]string{strings.Join(words, "\t")}, lines...)
	if _, err := io.WriteString(j.stdin, strings.Join(lines, "\n")+"\n"); err != nil {
		return err
	}
	select {
	case answer, ok := <-j.answers:
		if !ok {
			return errors.New("the Java client has ended")
		}
		if answer != "ok" {
			return fmt.Errorf("%s: %s", strings.Join(words, " "), strings.TrimPrefix(answer, "error\t"))
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *javaClient) createTopic(ctx context.Context, topic string, partitions int) error {
	return j.ask(ctx, nil, "create", topic, fmt.Sprint(partitions))
}

func (j *javaClient) produce(ctx context.Context, topic string, recs []record, o produceOptions) error {
	var lines []string
	for _, r := range recs {
		lines = append(lines, r.key+"\t"+r.value)
	}
	return j.ask(ctx, lines, "produce", topic, o.codec, fmt.Sprint(o.acks), fmt.Sprint(o.idempotent), fmt.Sprint(len(recs)))
}

// readAll reads a topic from start to end, with check.crcs=true.
func (j *javaClient) readAll(ctx context.Context, topic string, got func(record)) error {
	j.mu.Lock()
	j.members[topic] = got
	j.mu.Unlock()
	return j.ask(ctx, nil, "read", topic)
}

// readKept reads a topic from start to end, with check.crcs=true.
func (j *javaClient) readKept(ctx context.Context, topic string, got func(kept)) error {
	var wrong error
	j.mu.Lock()
	j.members[topic] = func(r record) {
		var k kept
		if _, err := fmt.Sscanf(r.key, "%d %d %s", &k.partition, &k.offset, &k.key); err != nil {
			wrong = err
		}
		k.value, k.tombstone = strings.TrimPrefix(r.value, "="), r.value == ""
		got(k)
	}
	j.mu.Unlock()
	return errors.Join(j.ask(ctx, nil, "kept", topic), wrong)
}

// stream produces record after record until it is told to stop.
func (j *javaClient) stream(ctx context.Context, topic string, acked *atomic.Int64) (stop func() error, err error) {
	j.mu.Lock()
	j.members[topic] = func(r record) {
		if n, err := strconv.ParseInt(r.value, 10, 64); err == nil {
			acked.Store(n)
		}
	}
	j.mu.Unlock()
	return func() error { return j.ask(ctx, nil, "stop", topic) }, j.ask(ctx, nil, "stream", topic, fmt.Sprint(streamAhead))
}

func (j *javaClient) join(ctx context.Context, group, topic string, got func(record)) (member, error) {
	j.mu.Lock()
	j.joined++
	m := javaMember{j, fmt.Sprintf("member-%d", j.joined)}
	j.members[m.name] = got
	j.mu.Unlock()
	return m, j.ask(ctx, nil, "join", m.name, group, topic)
}

type javaMember struct {
	j    *javaClient
	name string
}

func (m javaMember) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), proctest.Patience)
	defer cancel()
	return m.j.ask(ctx, nil, "leave", m.name)
}

// TestJavaChecks runs java/AdminChecks.java and java/ClientChecks.java with the client of either release.
func TestJavaChecks(t *testing.T) {
	classPath(t, javaKafka)
	cl := proctest.Run(t, proctest.Config{Nodes: 3, Args: []string{"-o", "group.initial.rebalance.delay.ms=0"}})
	for _, profile := range []string{javaKafka, javaClientNext} {
		for _, program := range []string{"AdminChecks", "ClientChecks"} {
			t.Run(profile+"/"+program, func(t *testing.T) {
				runChecks(t, profile, program, strings.Join(cl.Bootstrap(), ","), profile+"-"+program+"-")
			})
		}
	}
}

// runChecks runs one program, each of whose lines is the outcome of a check.
func runChecks(t *testing.T, profile, program string, args ...string) {
	args = append(append(append([]string(nil), jvmFlags...), "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		"-cp", classPath(t, profile), program), args...)
	ctx, cancel := context.WithTimeout(context.Background(), 3*proctest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "java", args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines {
		outcome, rest, _ := strings.Cut(line, "\t")
		name, wrong, _ := strings.Cut(rest, "\t")
		t.Run(name, func(t *testing.T) {
			if outcome != "ok" {
				t.Error(wrong)
			}
		})
	}
	if err != nil || len(lines) < 10 {
		t.Errorf("%s: %v after %d checks", program, err, len(lines))
	}
	if t.Failed() {
		t.Logf("it said:\n%s", errs.String())
	}
}
