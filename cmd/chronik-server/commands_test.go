package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCommands runs the commands of testdata against nodes of this build.
func TestCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole nodes: not with -short")
	}
	ports := freePorts(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("CHRONIK_KAFKA_PORT", strconv.Itoa(ports.kafka[0]))
			env.Setenv("CHRONIK_BOOTSTRAP_SERVER", fmt.Sprintf("localhost:%d", ports.kafka[0]))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ready":      func(ts *testscript.TestScript, _ bool, _ []string) { waitReadyNodes(ts, ports, 1) },
			"interrupt":  interrupt,
			"waitmember": waitMember,
		},
	})
}

// interrupt asks the last of the programs in the background to stop: interrupt NAME. They are a stack, so that NAME
// is for the reader.
func interrupt(ts *testscript.TestScript, _ bool, _ []string) {
	running := ts.BackgroundCmds()
	ts.Check(running[len(running)-1].Process.Signal(os.Interrupt))
}

// waitMember waits until a group has a member that has been given partitions: waitmember GROUP.
func waitMember(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		cmd := exec.Command("chronik-server", "group", "describe", args[0])
		cmd.Env = append(os.Environ(), "CHRONIK_BOOTSTRAP_SERVER="+ts.Getenv("CHRONIK_BOOTSTRAP_SERVER"))
		out, err := cmd.CombinedOutput()
		if err == nil && strings.Contains(string(out), ": Stable, 1 member") {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("group %s has no member: %s", args[0], out)
		}
	}
}
