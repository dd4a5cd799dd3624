// Package node is the composition root: it builds every part of a broker from a
// configuration, starts them in an order that never shows a client a half-ready
// node, and stops them in reverse.
//
// # The order of a start
//
//  1. Ports are bound, so that one in use costs nothing else. The admin port
//     answers from here on; Kafka's connections wait in the kernel.
//  2. The data directory is locked and its identity read.
//  3. Side by side: the Raft node forms or rejoins its cluster and catches up,
//     and the logs are recovered.
//  4. The broker registers, fenced; the partitions are reconciled to the image
//     that holds the registration.
//  5. Kafka's port accepts; the heartbeats ask to be unfenced.
//  6. The own image shows the broker unfenced: /readyz turns 200.
//
// # The order of a stop
//
// The broker is fenced while it still answers, so that clients find out and
// where to go; then the listener drains, coordinators and partitions end, the logs are
// flushed and closed, Raft leadership is handed over and Raft ends. The
// clean-shutdown marker is written last, and only if all of it went well.
//
// # Goroutines
//
// One for each part (parts), named after it: admin, disk space, cluster, storage, replicas,
// groups, reconfigure, kafka; each ends when its part is stopped. Run itself waits on the
// caller's goroutine, with one more while the logs are recovered.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/internal/admin"
	"github.com/chronik-stream/chronik/internal/broker"
	"github.com/chronik-stream/chronik/internal/cluster"
	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/listener"
	"github.com/chronik-stream/chronik/internal/logging"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/storage"
)

// drainTimeout bounds how long a stop waits for the others to know of it, and
// closeTimeout how long it flushes.
const (
	drainTimeout = 5 * time.Second
	closeTimeout = 30 * time.Second
)

// Node is one broker of a cluster.
type Node struct {
	cfg     *config.Config // what it was started with
	live    *config.Live   // with what is set at run time over it
	env     Env
	log     *slog.Logger
	loggers *logging.Loggers

	kafka      net.Listener
	advertised config.Endpoint
	admin      *admin.Server

	dir      *dataDirectory
	disk     *diskSpace
	memory   *memory.Account // of what clients make this node hold
	storage  *storage.Directory
	cluster  *cluster.Cluster
	replicas *replica.Manager
	groups   *broker.Groups
	broker   *broker.Broker
	listener *listener.Listener

	reconfigurer *reconfigurer

	parts *parts
	phase atomic.Pointer[string] // what the start waits for; "" when it has ended
	epoch int64                  // the broker epoch of this run, 0 before it is registered

	storageErr atomic.Pointer[error] // why the data directory cannot be used any more
}

// Run runs a node until ctx ends or a part of it fails, and returns when
// everything it started has ended: nil after a clean stop.
func Run(ctx context.Context, cfg *config.Config, env Env) error {
	env.setDefaults()
	n := &Node{
		cfg: cfg, live: config.NewLive(cfg), env: env, log: env.Logger, loggers: logging.Of(env.Logger),
		parts: newParts(), disk: newDiskSpace(env.FS, cfg.DataDir, env.Logger),
	}
	n.setPhase("the ports are bound")
	if err := n.bind(ctx); err != nil {
		n.release()
		return err
	}
	if err := n.build(ctx); err != nil {
		n.release()
		return err
	}
	return n.run(ctx)
}

// bind takes every port first, and then the data directory.
func (n *Node) bind(ctx context.Context) (err error) {
	if n.kafka, err = n.env.Network.Listen(ctx, "tcp", n.cfg.KafkaListenAddr()); err != nil {
		return bindError("Kafka", n.cfg.KafkaListenAddr(), "--bind-addr", "--kafka-port", err)
	}
	if n.admin, err = admin.New(n.adminOptions(ctx)); err != nil {
		return bindError("admin", n.cfg.AdminAddr, "--admin-addr", "--admin-addr", err)
	}
	port := n.cfg.KafkaPort
	if a, ok := n.kafka.Addr().(*net.TCPAddr); ok {
		port = int32(a.Port)
	}
	n.advertised = n.cfg.Advertised(ctx, *n.env.Machine, port)
	if n.dir, err = claimDirectory(n.env.FS, n.cfg.DataDir, n.cfg.NodeID); err != nil {
		return err
	}
	if err := n.dir.checkCluster(n.cfg.NodeID, n.cfg.Peers); err != nil {
		return err
	}
	if n.cluster, err = cluster.New(n.clusterOptions()); err != nil {
		return err
	}
	if err := n.cluster.Listen(ctx); err != nil {
		return err
	}
	return n.dir.begin()
}

// build makes the parts above the data directory; none of them runs yet.
func (n *Node) build(ctx context.Context) (err error) {
	if n.replicas, err = replica.New(n.replicaOptions()); err != nil {
		return err
	}
	if n.storage, err = storage.OpenDirectory(n.storageOptions()); err != nil {
		return err
	}
	n.memory = clientMemory(n.cfg.QueuedMaxRequestBytes, n.cfg.MemoryLimit)
	n.groups = broker.NewGroups(n.groupOptions())
	if n.broker, err = broker.New(n.brokerOptions()); err != nil {
		return err
	}
	options, err := n.listenerOptions(ctx)
	if err != nil {
		return err
	}
	if n.listener, err = listener.New(n.kafka, options); err != nil {
		return err
	}
	// The order matters: partitions are opened with the settings in force, and a partition must lead before the shard
	// that lives on it loads.
	n.reconfigurer = newReconfigurer(n)
	n.cluster.Subscribe(n.reconfigurer)
	n.cluster.Subscribe(n.replicas)
	n.cluster.Subscribe(n.groups)
	return nil
}

// release gives back what bind took, when the node never ran.
func (n *Node) release() {
	if n.kafka != nil {
		n.kafka.Close()
	}
	if n.admin != nil {
		n.admin.Close()
	}
	if n.cluster != nil {
		n.cluster.Close()
	}
	if n.dir != nil {
		n.dir.lock.Close()
	}
}

func (n *Node) run(ctx context.Context) error {
	n.log.Info("clients will be told this address", "kafka", n.advertised.Addr(), "because", n.advertised.Why, "listening", n.kafka.Addr().String())
	if n.admin.FellBack() {
		n.log.Warn("the admin port asked for is taken, another one was chosen", "asked", n.cfg.AdminAddr, "admin", n.admin.Addr())
	} else {
		n.log.Info("admin server started", "admin", n.admin.Addr())
	}
	if list := n.cfg.WithoutEffect(); len(list) > 0 {
		n.log.Warn("properties were set that have no effect; docs/CONFIGURATION.md says why", "properties", strings.Join(list, ", "))
	}
	n.parts.start("admin", n.admin.Run)
	n.parts.start("disk space", n.disk.Run)
	n.parts.start("cluster", n.cluster.Run)

	err := n.start(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
		case <-n.parts.failed:
			err = n.parts.err
		}
	}
	return errors.Join(err, n.stop(err == nil))
}

// start brings the node from bound ports to ready. When ctx ends first, it
// returns nil: the stop that follows is a clean one.
func (n *Node) start(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	go func() {
		select {
		case <-n.parts.failed:
			cancel(n.parts.err)
		case <-ctx.Done():
		}
	}()
	err := n.startSteps(ctx)
	switch {
	case err == nil:
		n.setPhase("")
		return nil
	case parent.Err() != nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, cluster.ErrStopped):
		// The cluster has ended by itself; what it ended with says why.
		<-n.parts.failed
		return n.parts.err
	default:
		return err
	}
}

func (n *Node) startSteps(ctx context.Context) error {
	began := time.Now()
	n.setPhase("the logs are recovered")
	if err := n.storage.Recover(ctx); err != nil {
		return fmt.Errorf("recovery of the logs in %s: %w", n.dir.path, err)
	}
	n.replicas.Open(n.storage)
	n.parts.start("storage", n.storage.Run)
	n.parts.start("replicas", n.replicas.Run)
	n.parts.start("groups", n.groups.Run)

	n.setPhase("the cluster takes the broker's registration")
	epoch, err := n.cluster.Register(ctx, n.registration())
	if err != nil {
		return err
	}
	n.epoch = epoch
	n.setPhase("the partitions are reconciled to the metadata")
	if err := n.replicas.SetStraysAside(n.cluster.Image()); err != nil {
		return err
	}
	if err := n.replicas.Wait(ctx); err != nil {
		return err
	}
	n.parts.start("reconfigure", n.reconfigurer.Run)
	n.parts.start("kafka", n.listener.Run)
	n.cluster.Serve()
	n.setPhase("the controller unfences the broker")
	if err := n.cluster.AwaitReady(ctx); err != nil {
		return err
	}
	n.log.Info("ready", "node", n.cfg.NodeID, "kafka", n.advertised.Addr(), "broker_epoch", epoch, "took", time.Since(began).Round(time.Millisecond))
	if n.env.Ready != nil {
		n.env.Ready(n)
	}
	return nil
}

// stop ends the parts. clean says that nothing has failed so far.
func (n *Node) stop(clean bool) error {
	n.setPhase("the node stops")
	var errs []error
	if clean && n.epoch > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		if err := n.cluster.Drain(ctx); err != nil {
			n.log.Warn("the others may not know yet that this broker stops", "error", err)
		}
		cancel()
	}
	n.broker.Close()
	errs = append(errs, n.parts.stopAbove("cluster"))

	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := n.storage.Close(ctx)
	if errors.Is(err, storage.ErrNotRecovered) {
		err, clean = nil, false // the start was broken off before it had changed anything
	}
	errs = append(errs, err, n.parts.stopAbove("admin"))
	if clean && n.epoch > 0 && errors.Join(errs...) == nil {
		errs = append(errs, storage.WriteCleanShutdown(n.dir.fs, n.dir.path, n.epoch))
	}
	errs = append(errs, n.parts.stopAbove(""), n.dir.lock.Close())
	if n.kafka != nil {
		n.kafka.Close() // closed already unless the listener never ran
	}
	return errors.Join(errs...)
}

func (n *Node) setPhase(s string) { n.phase.Store(&s) }

// registration is what this node registers of itself.
func (n *Node) registration() cluster.Broker {
	return cluster.Broker{
		Directories:   [][16]byte{n.dir.id},
		Listeners:     []metadata.Listener{{Name: "PLAINTEXT", Host: n.advertised.Host, Port: n.advertised.Port}},
		Rack:          n.cfg.Rack,
		PreviousEpoch: n.dir.previousEpoch,
		BootID:        n.dir.bootID,
	}
}

// KafkaAddr is the address the Kafka port is bound to.
func (n *Node) KafkaAddr() string { return n.kafka.Addr().String() }

// Image is the newest metadata of this node.
func (n *Node) Image() *metadata.Image { return n.cluster.Image() }
