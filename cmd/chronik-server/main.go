// Command chronik-server is a Kafka-compatible broker and the tools around it.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/chronik-stream/chronik/internal/cli"
	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/node"
)

// version is set by the linker.
var version = "dev"

func main() {
	p := cli.Process(version, func(ctx context.Context, cfg *config.Config, logger *slog.Logger, ready func()) error {
		return node.Run(ctx, cfg, node.Env{Logger: logger, Version: version, Ready: func(*node.Node) { ready() }})
	})
	os.Exit(p.Main(context.Background(), os.Args[1:]))
}
