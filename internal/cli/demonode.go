package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// demoNode is one process of the demo. Its methods are safe for concurrent use.
type demoNode struct {
	id                 int32
	kafka, raft, admin string // host:port
	binary             string
	args               []string
	environ            []string
	log                string

	mu     sync.Mutex
	cmd    *exec.Cmd     // nil if it does not run
	ended  chan struct{} // closed when the last process has ended
	wanted bool          // its end was asked for
	err    error         // how it ended, if nobody asked
}

// demoPorts chooses nine ports on loopback: the usual ones if all are free, else others that are
// free now and that the kernel is not likely to give to a client before the node takes them.
func demoPorts() (ports []int, usual bool, err error) {
	want := []int{9092, 5001, 9644, 9093, 5002, 9645, 9094, 5003, 9646}
	if allFree(want) {
		return want, true, nil
	}
	for p := 12000 + os.Getpid()%15000; len(ports) < len(want) && p < 31000; p++ {
		if allFree([]int{p}) {
			ports = append(ports, p)
		}
	}
	if len(ports) < len(want) {
		return nil, false, errors.New("there are too few free ports on 127.0.0.1")
	}
	return ports, false, nil
}

func allFree(ports []int) bool {
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// demoNodes lays out the three nodes; nothing runs yet.
func demoNodes(binary, dir string, ports []int, environ []string) []*demoNode {
	var nodes []*demoNode
	for i := range 3 {
		addr := func(k int) string { return net.JoinHostPort("localhost", strconv.Itoa(ports[3*i+k])) }
		nodes = append(nodes, &demoNode{
			id: int32(i + 1), kafka: addr(0), raft: addr(1), admin: addr(2), binary: binary,
			log: filepath.Join(dir, fmt.Sprintf("node-%d.log", i+1)),
		})
	}
	for i, n := range nodes {
		for _, e := range environ {
			if !strings.HasPrefix(e, "CHRONIK_") { // a person's settings are for a person's nodes
				n.environ = append(n.environ, e)
			}
		}
		var peers []string
		for _, p := range nodes {
			if p != n {
				peers = append(peers, fmt.Sprintf("%d@%s", p.id, p.raft))
			}
		}
		loopback := func(k int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[3*i+k])) }
		n.args = []string{
			"--node-id", strconv.Itoa(int(n.id)), "--kafka-port", strconv.Itoa(ports[3*i]), "--bind-addr", "127.0.0.1", "--advertised-addr", "localhost",
			"--admin-addr", loopback(2), "--data-dir", filepath.Join(dir, fmt.Sprintf("node-%d", n.id)),
			"-o", "group.initial.rebalance.delay.ms=100", // nobody watches a group wait three seconds for more members
			"raft-cluster", "--raft-addr", loopback(1), "--peers", strings.Join(peers, ","),
		}
	}
	return nodes
}

// start runs the process; its log is appended to a file.
func (n *demoNode) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.binary, n.args...)
	cmd.Env, cmd.SysProcAttr = n.environ, dieWithParent()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start node %d: %w", n.id, err)
	}
	ended := make(chan struct{})
	n.cmd, n.ended, n.wanted, n.err = cmd, ended, false, nil
	go func() {
		_ = cmd.Wait() // ProcessState tells the same
		n.mu.Lock()
		n.cmd = nil
		if !n.wanted {
			n.err = fmt.Errorf("node %d ended by itself (%v)", n.id, cmd.ProcessState)
		}
		n.mu.Unlock()
		close(ended)
	}()
	return nil
}

func (n *demoNode) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

func (n *demoNode) running() bool { return n.pid() != 0 }

// failure tells that the process has ended although nobody asked for it, with its last words.
func (n *demoNode) failure() error {
	n.mu.Lock()
	err := n.err
	n.mu.Unlock()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\n%s", err, n.tail())
}

// tail is the end of the node's log.
func (n *demoNode) tail() string {
	text, err := os.ReadFile(n.log)
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return "  " + string(bytes.Join(lines[max(0, len(lines)-5):], []byte("\n  ")))
}

// waitReady waits until the node can serve.
func (n *demoNode) waitReady(ctx context.Context) error {
	reason := "it does not answer"
	for {
		ask, cancel := context.WithTimeout(ctx, time.Second)
		report, err := askHealth(ask, n.admin, "readyz")
		cancel()
		if err == nil && report.OK {
			return nil
		}
		for i := 0; err == nil && i < len(report.Checks); i++ {
			if c := report.Checks[i]; !c.OK {
				reason = c.Name + ": " + c.Error
				break
			}
		}
		if err := n.failure(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %d is not ready (%s): %w\n%s", n.id, reason, ctx.Err(), n.tail())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// kill ends the process at once, as kill -9 does, and waits for its end.
func (n *demoNode) kill() { n.end((*os.Process).Kill) }

// interrupt asks the process to stop in order; Windows has no way to ask another process for it.
func (n *demoNode) interrupt() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted = true
	if n.cmd == nil {
		return
	}
	if runtime.GOOS == "windows" {
		_ = n.cmd.Process.Kill()
		return
	}
	_ = n.cmd.Process.Signal(os.Interrupt)
}

func (n *demoNode) end(signal func(*os.Process) error) {
	n.mu.Lock()
	n.wanted = true
	ended := n.ended
	if n.cmd != nil {
		_ = signal(n.cmd.Process)
	}
	n.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// waitStopped waits for the end of a process that was asked to stop.
func (n *demoNode) waitStopped(limit time.Duration) error {
	n.mu.Lock()
	ended := n.ended
	n.mu.Unlock()
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("node %d did not stop within %v\n%s", n.id, limit, n.tail())
	}
}
