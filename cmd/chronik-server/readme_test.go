package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain lets scripts run this test binary as chronik-server.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"chronik-server": main})
}

// leakChecked runs the tests and fails if one has left a goroutine behind.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

const top = "../.."

// block is a fenced block of the README: its language, the word behind it, its text.
type block struct {
	line       int
	lang, kind string
	text       string
}

func readme(t *testing.T) []block {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	var open *block
	for i, line := range strings.Split(string(text), "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			lang, kind, _ := strings.Cut(fence, " ")
			open = &block{line: i + 1, lang: lang, kind: kind}
		case isFence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if len(blocks) < 5 {
		t.Fatalf("the README has %d blocks: is it read in the right way?", len(blocks))
	}
	return blocks
}

// TestReadme runs every command block of the README, in order, against the nodes that its own
// blocks start. The ports are others, so that it runs beside anything else.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole nodes: not with -short")
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("the README's commands are written for sh, which is not here")
	}
	blocks := readme(t)
	ports := freePorts(t)
	file := filepath.Join(t.TempDir(), "readme.txtar")
	writeFile(t, file, readmeScript(blocks, ports.replacer()))
	topDir, err := filepath.Abs(top)
	if err != nil {
		t.Fatal(err)
	}
	goEnv, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Files: []string{file},
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"Makefile", "deploy"} { // what the commands name
				if err := os.Symlink(filepath.Join(topDir, name), filepath.Join(env.WorkDir, name)); err != nil {
					return err
				}
			}
			values := strings.Split(string(goEnv), "\n")
			for i, name := range []string{"GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY"} {
				env.Setenv(name, values[i])
			}
			env.Setenv("CGO_ENABLED", "0")
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("CHRONIK_KAFKA_PORT", strconv.Itoa(ports.kafka[0]))
			env.Setenv("CHRONIK_BOOTSTRAP_SERVER", fmt.Sprintf("localhost:%d", ports.kafka[0]))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ready":       func(ts *testscript.TestScript, _ bool, _ []string) { waitReady(ts, ports) },
			"stopservers": stopServers,
			"gorun": func(ts *testscript.TestScript, _ bool, args []string) { // with the modules of this one
				ts.Check(ts.Exec("go", "-C", topDir, "run", args[0]))
			},
		},
	})
}

// noErrors holds after nodes were stopped in order: nothing went wrong, so none of them says so.
const noErrors = "! stderr level=ERROR\n"

// readmeScript makes one script of the README's blocks: each is a file of its archive, and run by sh.
func readmeScript(blocks []block, ports *strings.Replacer) string {
	var script, files strings.Builder
	file := func(name, text string) string {
		fmt.Fprintf(&files, "-- %s --\n%s", name, text)
		return "$WORK/" + name
	}
	for _, b := range blocks {
		text := ports.Replace(b.text)
		fmt.Fprintf(&script, "# README.md:%d\n", b.line)
		switch {
		case b.lang == "sh" && b.kind == "server":
			// In a directory of their own: a cluster's nodes find no data of an earlier block.
			fmt.Fprintf(&script, "stopservers\nwait\n%smkdir servers-%d\ncd servers-%d\n", noErrors, b.line, b.line)
			for i, command := range strings.Split(strings.TrimSpace(text), "\n") {
				name := fmt.Sprintf("server_%d_%d", b.line, i)
				fmt.Fprintf(&script, "exec sh %s &%s&\n", file(name+".sh", "exec "+command+"\n"), name)
			}
			script.WriteString("cd $WORK\nready\n")
		case b.lang == "sh":
			if b.kind != "" { // a program that need not be there
				fmt.Fprintf(&script, "[exec:%s] ", b.kind)
			}
			fmt.Fprintf(&script, "exec sh -e %s\n", file(fmt.Sprintf("line-%d.sh", b.line), dryMake(text)))
		case b.lang == "go":
			fmt.Fprintf(&script, "gorun %s\nstdout '^orders-[0-2]@\\d+: '\n", file("program.go", text))
		}
	}
	script.WriteString("stopservers\nwait\n" + noErrors)
	return script.String() + files.String()
}

// ports takes the place of the ports that the README names: 9092 and the two behind it, 5001 and
// the two behind it.
type ports struct{ kafka, raft [3]int }

func freePorts(t *testing.T) ports {
	t.Helper()
	var p ports
	next := 12000 + os.Getpid()%10000
	take := func(offsets ...int) int {
		for ; next < 31000; next++ {
			free := true
			for _, o := range offsets {
				l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", next+o))
				if err != nil {
					free = false
					continue
				}
				l.Close()
			}
			if free {
				next++
				return next - 1
			}
		}
		t.Fatal("no free ports")
		return 0
	}
	for i := range p.kafka {
		p.kafka[i] = take(0, 552) // the admin port too
	}
	for i := range p.raft {
		p.raft[i] = take(0)
	}
	return p
}

func (p ports) replacer() *strings.Replacer {
	pairs := []string{"9644", strconv.Itoa(p.kafka[0] + 552)}
	for i := range 3 {
		pairs = append(pairs, strconv.Itoa(9092+i), strconv.Itoa(p.kafka[i]), strconv.Itoa(5001+i), strconv.Itoa(p.raft[i]))
	}
	return strings.NewReplacer(pairs...)
}

// TestThreeNodesScript runs deploy/three-nodes/run.sh, on other ports, until it is interrupted.
func TestThreeNodesScript(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole nodes: not with -short")
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("the script is written for sh, which is not here")
	}
	text, err := os.ReadFile(filepath.Join(top, "deploy", "three-nodes", "run.sh"))
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t)
	script := filepath.Join(t.TempDir(), "script.txtar")
	writeFile(t, script, "exec sh run.sh &run&\nready\nexec chronik-server topic create orders -b $BOOTSTRAP\nstopservers\nwait run\n"+
		"stdout '^bootstrap servers: '\nexists chronik-data/node-1 chronik-data/node-2 chronik-data/node-3\n"+
		"-- run.sh --\n"+ports.replacer().Replace(string(text)))
	testscript.Run(t, testscript.Params{
		Files: []string{script},
		Setup: func(env *testscript.Env) error {
			env.Setenv("BOOTSTRAP", fmt.Sprintf("localhost:%d", ports.kafka[2]))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ready":       func(ts *testscript.TestScript, _ bool, _ []string) { waitReadyNodes(ts, ports, 3) },
			"stopservers": stopServers,
		},
	})
}

// waitReady waits until every server in the background can serve.
func waitReady(ts *testscript.TestScript, p ports) { waitReadyNodes(ts, p, len(ts.BackgroundCmds())) }

func waitReadyNodes(ts *testscript.TestScript, p ports, n int) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for i := range n {
		url := fmt.Sprintf("http://127.0.0.1:%d/readyz", p.kafka[i]+552)
		for {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			ts.Check(err)
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			if err == nil && resp.StatusCode == http.StatusOK {
				break
			}
			select {
			case <-ctx.Done():
				ts.Fatalf("%s is not ready: %v", url, err)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// stopServers asks the servers in the background to stop in order.
func stopServers(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(os.Interrupt))
	}
}

var makeCommand = regexp.MustCompile(`(?m)^make `)

// dryMake lets make only say what it would do: the tests that run this test would run themselves.
func dryMake(text string) string { return makeCommand.ReplaceAllString(text, "make -n ") }

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
