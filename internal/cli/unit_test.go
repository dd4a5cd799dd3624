package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/chronik-stream/chronik/internal/config"
)

func TestParseWhere(t *testing.T) {
	now := time.UnixMilli(second)
	for text, want := range map[string]offsetSpec{
		"start": {kind: atStart}, "end": {kind: atEnd}, "0": {atOffset, 0}, "47": {atOffset, 47}, "-3": {fromEnd, 3},
		"@1000": {atTime, 1000}, "@-1h": {atTime, second - 3_600_000}, "@2025-11-24T16:00:00Z": {atTime, second},
	} {
		if got, err := parseWhere("--offset", text, now); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "begin", "@", "@yesterday", "1.5", "--1", "@-5"} {
		if got, err := parseWhere("--offset", text, now); err == nil {
			t.Errorf("%s is taken for %v", text, got)
		}
	}
}

// The end is reached when every partition that is assigned, and known, has been read to where it
// ended when the command began.
func TestTail(t *testing.T) {
	ends := kadm.ListedOffsets{"a": {0: {Offset: 2}, 1: {Offset: 0}}}
	tail := newTail(ends)
	at := func(step string, want bool) {
		t.Helper()
		if got := tail.reached(); got != want {
			t.Errorf("%s: reached is %v", step, got)
		}
	}
	at("before an assignment", false)
	tail.assign(map[string][]int32{"a": {0, 1}})
	at("assigned, positions unknown", false)
	tail.begin("a", 0, 0)
	tail.begin("a", 1, 0)
	at("one partition has records", false)
	if tail.read("a", 0, 0) || tail.read("a", 0, 1) {
		t.Error("a record before the end is said to be past it")
	}
	at("both read", true)
	if !tail.read("a", 0, 2) || !tail.read("b", 0, 0) {
		t.Error("a record past the end, or of another topic, is not said to be")
	}
	tail.assign(map[string][]int32{"a": {0}})
	at("assigned anew", false)
	tail.revoke(map[string][]int32{"a": {0}})
	at("revoked", true)
}

func TestLastLineEndsWithALineFeed(t *testing.T) {
	for in, want := range map[string]string{"": "", "a": "a\n", "a\n": "a\n", "a\n\nb": "a\n\nb\n"} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "eof with data": iotest.DataErrReader,
		} {
			got, err := io.ReadAll(&lastLine{in: wrap(strings.NewReader(in))})
			if err != nil || string(got) != want {
				t.Errorf("%q (%s) becomes %q, %v", in, name, got, err)
			}
		}
	}
}

func TestYAMLNeedsQuotesWhereItMust(t *testing.T) {
	var b bytes.Buffer
	err := writeYAML(&b, struct {
		Text, Number, Truth, Empty string
		Nothing                    *int
		Count                      int
		List                       []int
	}{Text: "a: b", Number: "9092", Truth: "true", Count: 3, List: []int{}})
	want := "Text: 'a: b'\nNumber: \"9092\"\nTruth: \"true\"\nEmpty: \"\"\nNothing: null\nCount: 3\nList: []\n"
	if diff := cmp.Diff(want, b.String()); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestTableAligns(t *testing.T) {
	var b bytes.Buffer
	tab := &table{}
	tab.line("a line that is longer than any column")
	tab.head("NAME", "N")
	tab.row("orders", 1)
	tab.row("x", "")
	if err := tab.write(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("a line that is longer than any column\nNAME     N\norders   1\nx\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSoftwareVersion(t *testing.T) {
	for in, want := range map[string]string{"v1.2-3-gabc-dirty": "v1.2-3-gabc-dirty", "": "unknown", "1.0+x~": "1.0-x", "-.": "unknown"} {
		if got := softwareVersion(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

// Every property that has a flag has exactly one, on the commands that the table names.
func TestFlagsFollowFromTheTable(t *testing.T) {
	root := (&Program{}).root()
	for _, p := range config.Properties() {
		global := root.PersistentFlags().Lookup(p.FlagName()) != nil
		if global != (p.Flag == "all") {
			t.Errorf("--%s: global is %v, but the table says %q", p.FlagName(), global, p.Flag)
		}
		cluster, _, err := root.Find([]string{"raft-cluster"})
		if err != nil {
			t.Fatal(err)
		}
		if has := cluster.Flags().Lookup(p.FlagName()) != nil; has != (p.Flag == "raft-cluster") && !global {
			t.Errorf("--%s of raft-cluster: %v, but the table says %q", p.FlagName(), has, p.Flag)
		}
	}
}

func TestDemoPartitionContent(t *testing.T) {
	seen := map[string]bool{}
	for p := range int32(demoPartitions) {
		for n := range 50 {
			v := demoValue(p, n)
			if seen[v] {
				t.Fatalf("two records hold %q", v)
			}
			seen[v] = true
		}
	}
}

// A node that ends by itself makes the demo fail with its last words, and leaves its log to look at.
func TestDemoFailsWithANode(t *testing.T) {
	binary, err := exec.LookPath("false")
	if err != nil {
		t.Skip("there is no program that only fails")
	}
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	d := &demo{program: &Program{Version: "test"}, binary: binary, out: &out, began: time.Now()}
	if err := d.run(t.Context(), false); !errors.Is(err, errReported) {
		t.Errorf("it returns %v", err)
	}
	for _, want := range []string{"FAIL after ", "node 1 ended by itself (exit status 1)", "data and logs of the nodes are left in " + d.dir} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	if _, err := os.Stat(filepath.Join(d.dir, "node-1.log")); err != nil {
		t.Error(err)
	}
}
