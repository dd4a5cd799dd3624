package node

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/rpc"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// Env is what surrounds a node: the machine, or what a test puts in its place.
// The zero value is the machine.
type Env struct {
	FS       vfs.FS               // nil: the operating system's files
	Network  rpc.Network          // nil: the machine's TCP
	Clock    clock.Clock          // nil: the machine's
	Machine  *config.Machine      // nil: this machine; what an advertised address is found by
	Stores   raftstore.Opener     // nil: bolt
	Registry *prometheus.Registry // nil: one of its own, with the process's and Go's metrics
	Logger   *slog.Logger         // nil: silent; what it is told again and again is left out
	Version  string               // of the program

	// Ready, if not nil, is called once, when /readyz turns 200 for the first time.
	Ready func(*Node)
}

func (e *Env) setDefaults() {
	if e.FS == nil {
		e.FS = vfs.OS{}
	}
	if e.Network == nil {
		e.Network = rpc.TCP{}
	}
	if e.Clock == nil {
		e.Clock = clock.Wall{}
	}
	if e.Machine == nil {
		m := config.ThisMachine()
		e.Machine = &m
	}
	if e.Stores == nil {
		e.Stores = raftstore.OpenBolt
	}
	if e.Registry == nil {
		e.Registry = prometheus.NewRegistry()
		e.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	e.Logger = slog.New(withoutRepeats(e.Logger.Handler()))
}
