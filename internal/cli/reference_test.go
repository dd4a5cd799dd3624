package cli

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write docs/CLI.md anew")

const referencePath = "../../docs/CLI.md"

func TestReferenceIsUpToDate(t *testing.T) {
	var b bytes.Buffer
	if err := WriteReference(&b); err != nil {
		t.Fatal(err)
	}
	if *update {
		write(t, referencePath, b.Bytes())
	}
	have, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), b.String()); diff != "" {
		t.Errorf("docs/CLI.md is out of date: go generate ./internal/cli\n%s", diff)
	}
}

// Every command says what it does, and what its examples show are commands and flags that exist.
func TestExamplesAreValid(t *testing.T) {
	root := (&Program{}).root()
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short text %q", cmd.CommandPath(), cmd.Short)
		}
		for line := range strings.Lines(strings.ReplaceAll(cmd.Example, "\\\n", "")) {
			for part := range strings.SplitSeq(line, " | ") {
				words := strings.Fields(strings.Split(part, " > ")[0])
				if len(words) == 0 || words[0] != "chronik-server" {
					continue
				}
				found, rest, err := (&Program{}).root().Find(words[1:])
				if err != nil {
					t.Errorf("%s: %v", part, err)
					continue
				}
				if err := found.ParseFlags(rest); err != nil {
					t.Errorf("%s: %v", part, err)
				}
			}
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
}
