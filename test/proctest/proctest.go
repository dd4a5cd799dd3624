// Package proctest runs clusters of the built binary as real processes, for
// tests, benchmarks and campaigns: start, kill -9, stop, pause, restart, wait
// for a condition. Nothing in it knows more of a node than a person does: its
// command line, its ports, its log.
package proctest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Config says what cluster to run.
type Config struct {
	Bin   string   // path of chronik-server
	Dir   string   // where data directories and logs go
	Nodes int      // 1 runs "standalone", more run "raft-cluster"
	Args  []string // further flags of every node, before the subcommand
	Env   []string // further environment of every node
	Wrap  []string // a command to run each node under, e.g. strace with its flags
}

// Cluster is a set of nodes.
type Cluster struct {
	Nodes []*Node
}

// Node is one process, running or not. Its methods are safe for concurrent use.
type Node struct {
	ID        int
	KafkaPort int
	RaftPort  int
	AdminPort int
	DataDir   string
	LogFile   string

	args []string
	env  []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	err  error         // its end, valid after done
}

// New chooses free ports and lays out the nodes; nothing runs yet.
func New(c Config) (*Cluster, error) {
	ports, err := freePorts(3 * c.Nodes)
	if err != nil {
		return nil, err
	}
	cl := &Cluster{}
	for i := range c.Nodes {
		n := &Node{ID: i + 1, KafkaPort: ports[3*i], RaftPort: ports[3*i+1], AdminPort: ports[3*i+2]}
		n.DataDir = filepath.Join(c.Dir, "node-"+strconv.Itoa(n.ID))
		n.LogFile = n.DataDir + ".log"
		n.env = c.Env
		cl.Nodes = append(cl.Nodes, n)
	}
	for _, n := range cl.Nodes {
		args := append(append([]string(nil), c.Wrap...), c.Bin,
			"--node-id", strconv.Itoa(n.ID), "--kafka-port", strconv.Itoa(n.KafkaPort),
			"--advertised-addr", "127.0.0.1", "--bind-addr", "127.0.0.1",
			"--admin-addr", fmt.Sprintf("127.0.0.1:%d", n.AdminPort), "--data-dir", n.DataDir)
		args = append(args, c.Args...)
		if c.Nodes == 1 {
			args = append(args, "standalone")
		} else {
			var peers []string
			for _, p := range cl.Nodes {
				if p != n {
					peers = append(peers, fmt.Sprintf("%d@127.0.0.1:%d", p.ID, p.RaftPort))
				}
			}
			args = append(args, "raft-cluster", "--raft-addr", fmt.Sprintf("127.0.0.1:%d", n.RaftPort), "--peers", strings.Join(peers, ","))
		}
		n.args = args
	}
	return cl, nil
}

// freePorts returns ports that were free a moment ago, below the range from
// which the kernel gives ports to outgoing connections, so that a node that is
// down does not lose its port to a client's connection.
func freePorts(n int) ([]int, error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	var ports []int
	start := 12000 + (os.Getpid()*97+int(time.Now().UnixNano()/1000))%15000
	for p := start; len(ports) < n && p < start+4000; p++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		held = append(held, l)
		ports = append(ports, p)
	}
	if len(ports) < n {
		return nil, errors.New("proctest: too few free ports on 127.0.0.1")
	}
	return ports, nil
}

// Bootstrap returns the Kafka addresses of all nodes.
func (c *Cluster) Bootstrap() []string {
	var a []string
	for _, n := range c.Nodes {
		a = append(a, n.Addr())
	}
	return a
}

// Start starts every node that does not run.
func (c *Cluster) Start() error {
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return nil
}

// WaitReady waits until every running node answers /readyz with 200.
func (c *Cluster) WaitReady(ctx context.Context) error {
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends every node with SIGKILL.
func (c *Cluster) Kill() {
	for _, n := range c.Nodes {
		n.Signal(os.Kill)
	}
	for _, n := range c.Nodes {
		n.Wait()
	}
}

// Leader asks the running nodes who leads __raft_metadata and returns that node
// once a running one is named.
func (c *Cluster) Leader(ctx context.Context) (*Node, error) {
	for {
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			id, err := n.quorumLeader(ctx)
			if err != nil {
				continue
			}
			for _, l := range c.Nodes {
				if l.ID == int(id) && l.Running() {
					return l, nil
				}
			}
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return nil, fmt.Errorf("no running node is named as Raft leader: %w", err)
		}
	}
}

// Addr is the node's Kafka address.
func (n *Node) Addr() string { return fmt.Sprintf("127.0.0.1:%d", n.KafkaPort) }

// Args is the command line the node is started with.
func (n *Node) Args() []string { return n.args }

// Start runs the process, its output appended to LogFile.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(n.LogFile), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(n.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.args[0], n.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), n.env...)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	n.cmd, n.done = cmd, done
	go func() {
		err := cmd.Wait()
		n.mu.Lock()
		n.cmd, n.err = nil, err
		n.mu.Unlock()
		close(done)
	}()
	return nil
}

// Running tells whether the process lives.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd != nil
}

// Pid returns the process id, 0 if it does not run.
func (n *Node) Pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Signal sends s to the process, if it runs.
func (n *Node) Signal(s os.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(s)
	}
}

// Wait waits for the end of the process and returns how it ended.
func (n *Node) Wait() error {
	n.mu.Lock()
	done := n.done
	n.mu.Unlock()
	if done == nil {
		return nil
	}
	<-done
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// Kill9 ends the process with SIGKILL and waits for its end.
func (n *Node) Kill9() {
	n.Signal(os.Kill)
	_ = n.Wait()
}

// Stop asks the process to stop and waits for its end.
func (n *Node) Stop() error {
	n.Signal(os.Interrupt)
	return n.Wait()
}

// WaitReady waits until /readyz answers 200; it fails at once when the process ends.
func (n *Node) WaitReady(ctx context.Context) error {
	for {
		if !n.Running() {
			return fmt.Errorf("node %d ended before it was ready: %w\n%s", n.ID, n.Wait(), n.LogTail(20))
		}
		body, err := n.get(ctx, "/readyz?verbose")
		if err == nil {
			return nil
		}
		if perr := pause(ctx, 2*time.Millisecond); perr != nil {
			return fmt.Errorf("node %d not ready: %w: %v %s\n%s", n.ID, perr, err, body, n.LogTail(20))
		}
	}
}

// Metrics returns the text of /metrics.
func (n *Node) Metrics(ctx context.Context) (string, error) { return n.get(ctx, "/metrics") }

// Status is what a node's /healthz tells of the cluster as it knows it.
type Status struct {
	RaftLeader  int32  `json:"raft_leader"`
	ImageIndex  uint64 `json:"image_index"`
	ImageDigest string `json:"image_digest"`
}

// Status asks the admin port, whatever the health.
func (n *Node) Status(ctx context.Context) (Status, error) {
	body, err := n.get(ctx, "/healthz?format=json")
	var report struct {
		Status *Status `json:"status"`
	}
	if jerr := json.Unmarshal([]byte(body), &report); jerr != nil || report.Status == nil {
		return Status{}, fmt.Errorf("node %d: /healthz: %w: %.200s", n.ID, errors.Join(err, jerr), body)
	}
	return *report.Status, nil
}

func (n *Node) get(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", n.AdminPort, path), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// Log returns the whole log.
func (n *Node) Log() string {
	p, err := os.ReadFile(n.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(p)
}

// LogTail returns the last lines of the log.
func (n *Node) LogTail(lines int) string {
	p := bytes.Split([]byte(n.Log()), []byte("\n"))
	if len(p) > lines {
		p = p[len(p)-lines:]
	}
	return string(bytes.Join(p, []byte("\n")))
}

// quorumLeader asks this node alone for the leader of __raft_metadata.
func (n *Node) quorumLeader(ctx context.Context) (int32, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()), kgo.RequestRetries(0))
	if err != nil {
		return -1, err
	}
	defer cl.Close()
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic = "__raft_metadata"
	t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return -1, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.LeaderID > 0 {
				return p.LeaderID, nil
			}
		}
	}
	return -1, errors.New("no leader")
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
