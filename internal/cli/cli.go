// Package cli is the command line of chronik-server: the commands that start a
// node, those that talk to a cluster as any Kafka client would, those that look
// at files and ports of one node, and the demo.
//
// The rules that hold for all of them: a value that is wrong gets one line that
// says what, why and what to do; nothing asks a question unless a person sits
// at a terminal; what a command found goes to standard output in the form that
// --format asks for, everything else to standard error; the exit code is 0 for
// done, 1 for failed, 2 for wrong usage, 3 for not healthy or not found.
//
// State: a Program is what main gives, and every call of Main builds its own
// tree of commands. A command runs on the caller's goroutine; while one runs,
// a goroutine waits for signals and ends with it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chronik-stream/chronik/internal/config"
)

// Program is the command line with everything it reaches outside of itself.
type Program struct {
	// Version is what the binary was built from, as git describes it.
	Version string
	// Serve runs a node until ctx ends and returns when all of it has stopped: node.Run.
	Serve Serve

	In       io.Reader
	Out, Err io.Writer
	Environ  []string

	log atomic.Pointer[slog.Logger] // of a node that runs and logs JSON; else nil
}

// Serve runs a node until ctx ends, and calls ready once, when the node can serve for the first time.
type Serve func(ctx context.Context, cfg *config.Config, logger *slog.Logger, ready func()) error

// Exit codes.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitUnhealthy = 3 // or not found
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usagef reports that the command was called in a wrong way.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// notFoundf reports that what was asked for is not there, or is not well.
func notFoundf(format string, args ...any) error {
	return &exitError{exitUnhealthy, fmt.Errorf(format, args...)}
}

// errReported ends a command whose output already tells what failed.
var errReported = errors.New("reported")

// Main runs one command line, without the program's name, and returns the exit code.
func (p *Program) Main(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	ctx, stop := p.untilSignal(ctx)
	defer stop()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintf(p.Err, "chronik-server: %s\n", oneLine(err))
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}

// oneLine is the text of an error, or of several joined ones, in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// root builds the tree of commands.
func (p *Program) root() *cobra.Command {
	g := &globals{program: p}
	root := &cobra.Command{
		Use:   "chronik-server",
		Short: "A Kafka-compatible broker cluster in one binary",
		Long: "chronik-server is a Kafka-compatible broker. Without a command it runs a single node on loopback:\n" +
			"point any Kafka client at localhost:9092.\n\n" +
			"A value comes from a flag, else from CHRONIK_<NAME> in the environment, else from the file of --config,\n" +
			"else it is the default; 'chronik-server config reference' describes all properties.",
		Args:              noArgs,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.serve(cmd, config.Standalone)
		},
	}
	root.SetFlagErrorFunc(flagError)
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		g.hideFrom(cmd)
		help(cmd, args)
	})
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run a node:"},
		&cobra.Group{ID: "use", Title: "Use a cluster:"},
		&cobra.Group{ID: "look", Title: "Look after a node:"},
	)
	root.SetHelpCommandGroupID("look")
	root.SetCompletionCommandGroupID("look")
	g.register(root)
	for _, cmd := range []*cobra.Command{g.standalone(), g.raftCluster(), g.demo()} {
		cmd.GroupID = "run"
		root.AddCommand(cmd)
	}
	for _, cmd := range []*cobra.Command{g.topic(), g.produce(), g.consume(), g.group(), g.cluster(), g.bench()} {
		cmd.GroupID = "use"
		root.AddCommand(cmd)
	}
	for _, cmd := range []*cobra.Command{g.config(), g.health(), g.dumpLog(), g.version()} {
		cmd.GroupID = "look"
		root.AddCommand(cmd)
	}
	return root
}

// flagError words pflag's complaints as usage errors, an unknown flag with the nearest known one.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = "-" + unknown.GetSpecifiedName()
		}
		text = "there is no flag " + name
		if near := config.Nearest(unknown.GetSpecifiedName(), flagNames(cmd)); near != "" && strings.HasPrefix(name, "--") {
			text += "; did you mean --" + near + "?"
		}
	}
	return usagef("%s ('%s --help' lists the flags)", text, cmd.CommandPath())
}

func flagNames(cmd *cobra.Command) []string {
	var names []string
	add := func(f *pflag.Flag) { names = append(names, f.Name) }
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return names
}

// noArgs refuses arguments; what stands where a command could stand is taken for an unknown one.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasAvailableSubCommands() {
		return usagef("%s takes no argument, but was given %q", commandName(cmd), args[0])
	}
	text := fmt.Sprintf("there is no command %q", strings.TrimSpace(commandName(cmd)+" "+args[0]))
	var names []string
	for _, sub := range cmd.Commands() {
		names = append(append(names, sub.Name()), sub.Aliases...)
	}
	if near := config.Nearest(args[0], names); near != "" {
		text += "; did you mean " + near + "?"
	}
	return usagef("%s ('%s --help' lists the commands)", text, cmd.CommandPath())
}

// commandName is a command's path without the program, whose name stands before every error; "" for the program itself.
func commandName(cmd *cobra.Command) string {
	_, name, _ := strings.Cut(cmd.CommandPath(), " ")
	return name
}

// parent is a command that only holds others.
func parent(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.Args = noArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(children...)
	return cmd
}

// someArgs demands from low to high arguments (high 0: any number), which are called what.
func someArgs(low, high int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usagef("%s needs %s: %s", commandName(cmd), what, cmd.UseLine())
		case high > 0 && len(args) > high:
			return usagef("%s takes only %s, but was given %q too: %s", commandName(cmd), what, args[high], cmd.UseLine())
		}
		return nil
	}
}

// getenv reads the environment the program was given.
func (p *Program) getenv(name string) string {
	for i := len(p.Environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(p.Environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// Process returns the program of this process: its arguments, streams and environment are the operating system's.
func Process(version string, serve Serve) *Program {
	return &Program{Version: version, Serve: serve, In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ()}
}
