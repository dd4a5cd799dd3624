package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// globals holds the flags that every command takes, before or after its name.
type globals struct {
	program *Program
	file    string
	options []string
	values  map[string]*string // by property
}

// register adds the global flags: those of properties follow from the table.
func (g *globals) register(root *cobra.Command) {
	g.values = map[string]*string{}
	flags := root.PersistentFlags()
	textVar(flags, &g.file, "config", "", "file", "YAML file of properties (CHRONIK_CONFIG)")
	flags.StringArrayVarP(&g.options, "option", "o", nil, "value of any property, as `key=value`; may be given again")
	for _, p := range config.Properties() {
		if p.Flag == "all" {
			g.values[p.Name] = new(string)
			textVar(flags, g.values[p.Name], p.FlagName(), "", argument(p), flagUsage(p))
		}
	}
}

// propertyFlag gives one command the flag of a property that is not global.
func (g *globals) propertyFlag(cmd *cobra.Command, name string) {
	p := config.Lookup(name)
	textVar(cmd.Flags(), new(string), p.FlagName(), "", argument(p), flagUsage(p))
}

// flagUsage is the first sentence of a property's documentation, with its default.
func flagUsage(p *config.Property) string {
	usage, _, _ := strings.Cut(p.Doc, ". ")
	usage, _, _ = strings.Cut(strings.TrimSuffix(usage, "."), ": ")
	usage = strings.ToLower(usage[:1]) + usage[1:]
	if p.Default != "" {
		usage += " (default " + p.Default + ")"
	}
	return usage
}

// argument is the word that stands for a flag's value in the help.
func argument(p *config.Property) string {
	switch {
	case p.Type == config.Int:
		return "n"
	case strings.HasPrefix(p.Limit.Text, "one of: "):
		return strings.ReplaceAll(strings.TrimPrefix(p.Limit.Text, "one of: "), ", ", "|")
	case strings.Contains(p.Limit.Text, "host:port"):
		return p.Limit.Text
	case strings.HasSuffix(p.Name, ".dir"):
		return "dir"
	default:
		return "value"
	}
}

// sources gathers what the flags, the environment and --config give.
func (g *globals) sources(cmd *cobra.Command, mode config.Mode) (config.Sources, error) {
	src := config.Sources{
		Mode: mode, Environ: g.program.Environ, File: g.file,
		MemoryGranted: memory.Granted(func(name string) ([]byte, error) { return vfs.ReadFile(vfs.OS{}, name) }),
	}
	if src.File == "" {
		src.File = g.program.getenv("CHRONIK_CONFIG")
	}
	for _, p := range config.Properties() {
		if f := cmd.Flags().Lookup(p.FlagName()); p.Flag != "" && f != nil && f.Changed {
			src.Flags = append(src.Flags, config.Setting{Name: p.Name, Value: f.Value.String(), Flag: "--" + f.Name})
		}
	}
	for _, option := range g.options {
		name, value, ok := strings.Cut(option, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return src, usagef("-o %s: write key=value, as in -o num.partitions=3", option)
		}
		src.Flags = append(src.Flags, config.Setting{Name: name, Value: value, Flag: "-o"})
	}
	return src, nil
}

// load makes the configuration of a node that is started in the given mode.
func (g *globals) load(cmd *cobra.Command, mode config.Mode) (*config.Config, error) {
	src, err := g.sources(cmd, mode)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(src)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return cfg, nil
}

// hideFrom takes the flags of a node out of the help of commands that talk to a cluster: they are
// allowed there too, and mean nothing.
func (g *globals) hideFrom(cmd *cobra.Command) {
	top := cmd
	for top.HasParent() && top.Parent().HasParent() {
		top = top.Parent()
	}
	if top.GroupID != "use" && cmd.Flag("bootstrap-server") == nil && top.Name() != "version" && top.Name() != "dump-log" && top.Name() != "demo" {
		return
	}
	cmd.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = true })
}
