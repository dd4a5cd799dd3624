package cli

import "github.com/spf13/cobra"

func (g *globals) demo() *cobra.Command { return &cobra.Command{Use: "demo"} }
