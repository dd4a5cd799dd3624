package cli

import (
	"runtime"

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
	formatVar(cmd.Flags(), &format)
	cmd.RunE = func(*cobra.Command, []string) error {
		v := versionInfo{g.program.Version, kafkaVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH}
		return result{value: v, names: []string{v.Version}, table: func(t *table) {
			t.line("chronik-server %s, Kafka %s API, %s %s/%s", v.Version, v.Kafka, v.Go, v.OS, v.Arch)
		}}.print(g.program.Out, format)
	}
	return cmd
}
