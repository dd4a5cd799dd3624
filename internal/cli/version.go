package cli

import (
	"runtime"
	"slices"

	"github.com/spf13/cobra"
)

// kafkaVersion is the Kafka whose API versions the broker serves.
const kafkaVersion = "4.4"

type versionInfo struct {
	Version string `json:"version"`
	Kafka   string `json:"kafka"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (g *globals) version() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Args: noArgs}
	cmd.Flags().StringVar(&format, "format", "table", "`table|json|yaml|name`: the form of the output")
	cmd.RunE = func(*cobra.Command, []string) error {
		if !slices.Contains(formats, format) {
			return usagef("--format %s: must be one of table, json, yaml, name", format)
		}
		v := versionInfo{g.program.Version, kafkaVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH}
		return result{value: v, names: []string{v.Version}, table: func(t *table) {
			t.line("chronik-server %s, Kafka %s API, %s %s/%s", v.Version, v.Kafka, v.Go, v.OS, v.Arch)
		}}.print(g.program.Out, format)
	}
	return cmd
}
