package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/internal/config"
)

func (g *globals) config() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and check a node's configuration; read and change that of a running cluster",
		Long: "show, validate and reference look at the configuration a node is started with. get, list, set and unset talk to a running\n" +
			"cluster: they read and change what can be changed there, for a topic, a broker, all brokers or a group.",
	}
	return parent(cmd, append(g.dynamicConfig(), g.configShow(), g.configValidate(), g.configReference())...)
}

// configRow is a property as config show prints it.
type configRow struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

func (g *globals) configShow() *cobra.Command {
	var origin, changed bool
	var format string
	cmd := &cobra.Command{
		Use:   "show [PROPERTY...]",
		Short: "Print the configuration in force",
		Long: "Prints every property with the value that a node started with the same flags, environment and file would have:\n" +
			"of raft-cluster if peers are named, else of standalone. Properties of Kafka that have no effect here are left out unless they are set or named.",
		Args: cobra.ArbitraryArgs,
	}
	cmd.Flags().BoolVar(&origin, "origin", false, "where each value comes from")
	cmd.Flags().BoolVar(&changed, "changed", false, "only what is not the default")
	formatVar(cmd.Flags(), &format)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		for _, name := range names {
			if config.Lookup(name) == nil {
				return usagef("there is no property %q%s", name, suggest(name, propertyNames()))
			}
		}
		cfg, err := g.load(cmd, config.ByPeers)
		if err != nil {
			return err
		}
		rows := []configRow{}
		var r result
		for _, v := range cfg.Values() {
			name := v.Property.Name
			isDefault := v.Origin.Kind == config.FromDefault
			if len(names) > 0 && !slices.Contains(names, name) || changed && isDefault || len(names) == 0 && isDefault && v.Property.Kept() {
				continue
			}
			rows = append(rows, configRow{name, v.Text, v.Origin.String()})
			r.names = append(r.names, name)
		}
		r.value = rows
		r.table = func(t *table) {
			if origin {
				t.head("PROPERTY", "VALUE", "ORIGIN")
			} else {
				t.head("PROPERTY", "VALUE")
			}
			for _, row := range rows {
				if origin {
					t.row(row.Name, orDash(row.Value), row.Origin)
				} else {
					t.row(row.Name, orDash(row.Value))
				}
			}
		}
		return r.print(g.program.Out, format)
	}
	return cmd
}

func propertyNames() []string {
	var names []string
	for _, p := range config.Properties() {
		names = append(names, p.Name)
	}
	return names
}

func (g *globals) configValidate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check the configuration without starting anything",
		Long:  "Checks a configuration file, with the flags and the environment over it, and lists all that is wrong, one a line.",
		Args:  someArgs(0, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				g.file = args[0]
			}
			src, err := g.sources(cmd, config.ByPeers)
			if err != nil {
				return err
			}
			cfg, err := config.Load(src)
			var all config.Errors
			if errors.As(err, &all) {
				for _, e := range all {
					fmt.Fprintln(g.program.Err, e)
				}
				return &exitError{exitUsage, errReported}
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(g.program.Out, "valid: node %d, %s\n", cfg.NodeID, cfg.Mode())
			return err
		},
	}
}

func (g *globals) configReference() *cobra.Command {
	return &cobra.Command{
		Use:   "reference",
		Short: "Describe every property, as Markdown",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			return config.WriteReference(g.program.Out)
		},
	}
}
