package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/config"
)

// TestMain lets scripts run this test binary as chronik-server.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){
		"chronik-server": func() { os.Exit(Process("v1.2.3-test", fakeServe).Main(context.Background(), os.Args[1:])) },
	})
}

// leakChecked runs the tests and fails if one has left a goroutine behind.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// fakeServe stands for a node: it says what it was given, dials READY_ADDR to say that it runs,
// and does so until it is stopped; or fails where its data directory is called "broken".
func fakeServe(ctx context.Context, cfg *config.Config, logger *slog.Logger, ready func()) error {
	if cfg.DataDir == "broken" {
		return errors.Join(errors.New("data directory broken: cannot be written; give --data-dir another place"), errors.New("it is not closed"))
	}
	logger.Info("serving", "kafka", cfg.KafkaListenAddr(), "raft", cfg.RaftListenAddr(), "admin", cfg.AdminAddr, "peers", len(cfg.Peers))
	conn, err := net.Dial("tcp", os.Getenv("READY_ADDR"))
	if err != nil {
		return err
	}
	conn.Close()
	ready()
	<-ctx.Done()
	return nil
}

// TestScripts runs testdata/script. A script that says "kfake" gets a cluster to talk to.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			ready, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Defer(func() { ready.Close() })
			env.Setenv("READY_ADDR", ready.Addr().String())
			env.Values[readyKey{}] = ready
			env.Values[stateKey{}] = &scriptState{}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"run":       runInProcess,
			"input":     func(ts *testscript.TestScript, _ bool, args []string) { state(ts).input = ts.ReadFile(args[0]) },
			"kfake":     startKfake,
			"exitcode":  exitCode,
			"sigint":    sigint,
			"waitready": waitReady,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// startKfake starts a fake cluster that the script's commands reach by default: kfake [BROKERS].
func startKfake(ts *testscript.TestScript, _ bool, args []string) {
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.DefaultNumPartitions(1), kfake.AllowAutoTopicCreation()}
	if len(args) == 1 && args[0] == "3" {
		opts[0] = kfake.NumBrokers(3)
	}
	c, err := kfake.NewCluster(opts...)
	ts.Check(err)
	ts.Defer(c.Close)
	ts.Setenv("CHRONIK_BOOTSTRAP_SERVER", strings.Join(c.ListenAddrs(), ","))
}

// exitCode runs a command and demands its exit code: exitcode 2 chronik-server --nope.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if err != nil {
		code = -1
		if _, text, ok := strings.Cut(err.Error(), "exit status "); ok {
			fmt.Sscan(text, &code)
		}
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d (%v), want %s", code, err, args[0])
	}
}

// sigint interrupts the script's background commands: sigint.
func sigint(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(os.Interrupt))
	}
}

type (
	readyKey struct{}
	stateKey struct{}
)

// scriptState is the standard input of a script's next command.
type scriptState struct{ input string }

func state(ts *testscript.TestScript) *scriptState { return ts.Value(stateKey{}).(*scriptState) }

// runInProcess runs a command line without a process of its own and demands its exit code: run 2 topic lst.
func runInProcess(ts *testscript.TestScript, _ bool, args []string) {
	p := &Program{
		Version: "v1.2.3-test", Serve: fakeServe, In: strings.NewReader(state(ts).input), Out: ts.Stdout(), Err: ts.Stderr(),
		Environ: []string{"CHRONIK_BOOTSTRAP_SERVER=" + ts.Getenv("CHRONIK_BOOTSTRAP_SERVER")},
	}
	state(ts).input = ""
	if code := p.Main(context.Background(), args[1:]); strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// waitReady waits until so many of the script's nodes run: waitready N.
func waitReady(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(strings.Join(args, ""))
	ts.Check(err)
	for range n {
		conn, err := ts.Value(readyKey{}).(net.Listener).Accept()
		ts.Check(err)
		conn.Close()
	}
}
