package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go test -count=1 -run TestReferenceIsUpToDate . -update

// WriteReference writes docs/CLI.md: every command with its flags, as Markdown.
func WriteReference(w io.Writer) error {
	root := (&Program{}).root()
	var b bytes.Buffer
	b.WriteString("# Commands\n\n<!-- Generated from internal/cli: go generate ./internal/cli -->\n\n" +
		"What a command finds goes to standard output, in the form of `--format`: `table` for people, `json` and `yaml` for programs, `name` for\n" +
		"scripts; everything else goes to standard error. Nothing asks a question unless a person sits at a terminal: what deletes something takes\n" +
		"`--yes`. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not healthy or not found.\n\n" +
		"Commands that talk to a cluster take `-b host:port,...`, or `CHRONIK_BOOTSTRAP_SERVER` from the environment. Shell completion, with the names of\n" +
		"topics, groups and configurations: `source <(chronik-server completion bash)`; also for `zsh`, `fish` and `powershell`.\n")
	for _, group := range root.Groups() {
		fmt.Fprintf(&b, "\n## %s\n", strings.TrimSuffix(group.Title, ":"))
		for _, cmd := range root.Commands() {
			if cmd.GroupID == group.ID && cmd.IsAvailableCommand() && cmd.Name() != "completion" && cmd.Name() != "help" {
				describeCommand(&b, cmd)
			}
		}
	}
	b.WriteString("\n## Flags of every command that runs or looks after a node\n\n")
	describeFlags(&b, root.PersistentFlags())
	_, err := w.Write(b.Bytes())
	return err
}

// describeCommand writes a command and those below it.
func describeCommand(b *bytes.Buffer, cmd *cobra.Command) {
	fmt.Fprintf(b, "\n### %s\n\n", commandName(cmd))
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	b.WriteString(text + "\n")
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(b, "\nAlso called %s.\n", strings.Join(cmd.Aliases, ", "))
	}
	if !cmd.HasAvailableSubCommands() {
		usage, example := strings.TrimSuffix(cmd.UseLine(), " [flags]"), ""
		if cmd.Example != "" {
			example = "\n\n" + strings.ReplaceAll(strings.TrimPrefix(cmd.Example, "  "), "\n  ", "\n")
		}
		fmt.Fprintf(b, "\n```\n%s%s\n```\n", usage, example)
	}
	own := cmd.NonInheritedFlags()
	if own.HasAvailableFlags() {
		b.WriteString("\n")
		describeFlags(b, own)
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			describeCommand(b, sub)
		}
	}
}

// describeFlags writes a table of flags.
func describeFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
	b.WriteString("| flag | |\n|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		what, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if what != "" {
			name += " " + what
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "[]" && f.DefValue != "-1" {
			usage += " (default `" + f.DefValue + "`)"
		}
		escape := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace
		fmt.Fprintf(b, "| `%s` | %s |\n", escape(name), escape(usage))
	})
}
