package integration

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/test/proctest"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type logWriter struct{ t *testing.T }

func (w *logWriter) Write(p []byte) (int, error) {
	w.t.Helper()
	w.t.Logf("%s", bytes.TrimRight(p, "\n"))
	return len(p), nil
}

// theCommands are the documented ones, to the letter.
var theCommands = []string{
	`chronik-server --node-id 1 --kafka-port 9092 --advertised-addr localhost raft-cluster --raft-addr 0.0.0.0:5001 --peers "2@localhost:5002,3@localhost:5003"`,
	`chronik-server --node-id 2 --kafka-port 9093 --advertised-addr localhost raft-cluster --raft-addr 0.0.0.0:5002 --peers "1@localhost:5001,3@localhost:5003"`,
	`chronik-server --node-id 3 --kafka-port 9094 --advertised-addr localhost raft-cluster --raft-addr 0.0.0.0:5003 --peers "1@localhost:5001,2@localhost:5002"`,
}

// shellNode is a node started by a shell from one of the commands.
type shellNode struct {
	command string
	log     string
	cmd     *exec.Cmd
}

func (n *shellNode) start(t *testing.T, dir, bin string) {
	t.Helper()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n.cmd = exec.Command("sh", "-c", "exec "+n.command)
	n.cmd.Dir = dir
	n.cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd := n.cmd
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func (n *shellNode) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

// TestTheThreeCommands runs the documented command lines from one folder, in a
// random order, on a machine where all ports are free, and reads the logs.
func TestTheThreeCommands(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		built, err := proctest.Binary()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		bin := filepath.Join(dir, "bin", "chronik-server")
		if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(built, bin); err != nil {
			t.Fatal(err)
		}
		var nodes []*shellNode
		for i, c := range theCommands {
			nodes = append(nodes, &shellNode{command: c, log: filepath.Join(dir, fmt.Sprintf("node-%d.log", i+1))})
		}
		t.Cleanup(func() {
			if t.Failed() {
				for i, n := range nodes {
					p, _ := os.ReadFile(n.log)
					t.Logf("log of node %d:\n%s", i+1, p)
				}
			}
		})
		order := rand.Perm(3)
		t.Logf("started in the order %v", order)
		var third time.Time
		for _, i := range order {
			third = time.Now()
			nodes[i].start(t, dir, bin)
		}
		ready(t, 0, 1, 2)
		t.Logf("formed %v after the third start", time.Since(third).Round(time.Millisecond))
		checkElectionLines(t, nodes)
		useCluster(t, "first")

		// A later start needs two of three.
		for _, n := range nodes {
			n.kill()
		}
		nodes[order[0]].start(t, dir, bin)
		second := time.Now()
		nodes[order[1]].start(t, dir, bin)
		ready(t, order[0], order[1])
		t.Logf("started again %v after the second start", time.Since(second).Round(time.Millisecond))
		nodes[order[2]].start(t, dir, bin)
		ready(t, 0, 1, 2)
		useCluster(t, "second")

		for i := range nodes {
			if _, err := os.Stat(filepath.Join(dir, "chronik-data", fmt.Sprintf("node-%d", i+1))); err != nil {
				t.Errorf("the default data directory: %v", err)
			}
		}
	})
}

// ready waits for /readyz of nodes by their default admin ports, 9644 and on.
func ready(t *testing.T, nodes ...int) {
	t.Helper()
	deadline := time.Now().Add(proctest.Patience)
	for _, i := range nodes {
		url := fmt.Sprintf("http://127.0.0.1:%d/readyz", 9092+i+552)
		for {
			resp, err := http.Get(url)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					break
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("node %d is not ready: %v", i+1, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// useCluster creates a topic through one node and moves records through the others.
func useCluster(t *testing.T, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), proctest.Patience)
	defer cancel()
	k, err := kgo.NewClient(kgo.SeedBrokers("localhost:9093"), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, err := kadm.NewClient(k).CreateTopic(ctx, 3, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if err := k.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "v%d", i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for got := 0; got < 30; {
		fs := k.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		got += fs.NumRecords()
	}
}

// checkElectionLines looks for the lines of the first election: the winner's in
// their order, the other nodes' answers.
func checkElectionLines(t *testing.T, nodes []*shellNode) {
	t.Helper()
	line := func(level, text string, fields ...string) *regexp.Regexp {
		pattern := `(?i)level=` + level + `\b.*` + text
		for _, f := range fields {
			pattern += `.*\b` + f + `=`
		}
		return regexp.MustCompile(pattern)
	}
	winner := []*regexp.Regexp{
		line("INFO", "Raft gRPC server started on "),
		line("INFO", "became candidate at term 1"),
		line("INFO", "sent RequestVote"),
		regexp.MustCompile(`(?i)level=INFO.*received RequestVoteResponse.*granted=true`),
		line("INFO", "became leader at term 1"),
		line("INFO", "Elected as Raft leader"),
	}
	voter := []*regexp.Regexp{
		line("INFO", "Raft gRPC server started on "),
		regexp.MustCompile(`(?i)level=INFO.*received RequestVote\b.*peer=.*term=1`),
		regexp.MustCompile(`(?i)level=INFO.*sent RequestVoteResponse.*peer=.*term=1.*granted=true`),
	}
	leaders, voters := 0, 0
	for i, n := range nodes {
		p, err := os.ReadFile(n.log)
		if err != nil {
			t.Fatal(err)
		}
		log := string(p)
		if strings.Contains(log, "became leader at term 1") {
			leaders++
			if missing := inOrder(log, winner); missing != "" {
				t.Errorf("node %d won; its log lacks, in this order, %s", i+1, missing)
			}
			continue
		}
		if inOrder(log, voter) == "" {
			voters++
		}
		if !strings.Contains(log, "Raft gRPC server started on ") {
			t.Errorf("node %d: no line says where its Raft server listens", i+1)
		}
	}
	if leaders != 1 || voters == 0 {
		t.Errorf("%d nodes became leader at term 1, want 1; %d nodes granted it their vote, want at least 1", leaders, voters)
	}
}

// inOrder returns the first pattern that no line matches after the line of the one before.
func inOrder(log string, patterns []*regexp.Regexp) string {
	next := 0
	for line := range strings.Lines(log) {
		if next < len(patterns) && patterns[next].MatchString(line) {
			next++
		}
	}
	if next == len(patterns) {
		return ""
	}
	return patterns[next].String()
}
