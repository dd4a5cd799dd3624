// Package broker answers Kafka's requests. One table, apis, says which are served, in
// which versions and how each ends; one file an API holds its handler and opens with
// what each version added; errors.go is the only map from the packages' errors to
// Kafka's codes.
//
// # How a request ends
//
// A row of the table says it. now: the handler returns the response. later: the handler
// returns, and whoever has the answer sends the reply, from any goroutine. alone: the
// handler may block, on the connection's reader, and no later request of the connection
// starts before its answer. Handlers of the first two kinds never block. Produce and Fetch
// are rows of a fourth kind, raw: they read their frames by hand and write their responses
// by hand, and what they put off is done when the reader has no whole request left.
//
// # State and owners
//
// A Broker holds no metadata of its own: the image belongs to the Controller, partitions
// to replica.Manager, groups to Groups. What it owns: fetch sessions (their cache has its own
// mutex, short sections), the producer-id block (a mutex, never held across the
// allocation), metrics. Per connection a session object belongs to the connection's reader. The
// package starts no goroutine but those of a scrape, one for each other broker that is asked where its partitions end,
// which end before the scrape does.
package broker

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/listener"
	"github.com/chronik-stream/chronik/internal/logging"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/replica"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// Controller is the cluster's controller as a broker sees it.
type Controller interface {
	// Image returns the newest metadata this node has; never nil, immutable.
	Image() *metadata.Image
	// Submit has a command decided by the active controller and returns its answer once this
	// node's own image holds what it changed. An error says that no answer was had: the command
	// may have been done.
	Submit(ctx context.Context, cmd *clusterv1.Command) (*clusterv1.Answer, error)
	// Quorum tells of the voters of __raft_metadata. It may ask other nodes.
	Quorum(ctx context.Context) (Quorum, error)
}

// Quorum is the state of the voters of __raft_metadata, for DescribeQuorum.
type Quorum struct {
	LeaderID    int32 // -1 if it is not known
	LeaderEpoch int32 // the Raft term
	// HighWatermark is the index of the last committed entry, -1 if not known.
	HighWatermark int64
	Voters        []QuorumReplica
	Observers     []QuorumReplica
}

// QuorumReplica is one voter or observer.
type QuorumReplica struct {
	ID                int32
	DirectoryID       [16]byte
	LogEndOffset      int64 // -1 if not known
	LastFetchMillis   int64 // wall clock, -1 if not known
	LastCaughtUpMilli int64 // wall clock, -1 if not known
	Host              string
	Port              int32
}

// Options are a broker's surroundings and settings. All fields are needed unless they say otherwise.
type Options struct {
	NodeID     int32
	Controller Controller
	Groups     *Groups // nil: this broker coordinates no groups
	Replicas   *replica.Manager
	Clock      clock.Clock
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Memory     *memory.Account // of what clients make this node hold; the listener's too

	// Dial connects to the other brokers' Kafka ports, by their advertised addresses.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Configs Configs
	Loggers *logging.Loggers // nil: those of Logger

	Settings Settings
}

// Settings are the values of properties that requests depend on; node copies them from the configuration.
type Settings struct {
	AutoCreateTopics         bool          // auto.create.topics.enable
	DeleteTopics             bool          // delete.topic.enable
	NumPartitions            int32         // num.partitions
	DefaultReplicationFactor int16         // default.replication.factor
	RequestMaxBytes          int           // socket.request.max.bytes
	FetchMaxBytes            int           // fetch.max.bytes
	DescribedPartitions      int           // max.request.partition.size.limit
	FetchSessions            int           // max.incremental.fetch.session.cache.slots
	KafkaSeries              int           // metrics.kafka.series.max; 0: none are served
	AloneTimeout             time.Duration // longest time an alone request may take where it names none; 0 is 30 s
}

// Broker serves Kafka's API on this node. It implements listener.Handler.
type Broker struct {
	o    Options
	s    Settings
	log  *slog.Logger
	ctl  Controller
	rows [wireKeys]*row // by request key; nil where nothing is served

	ctx    context.Context // ends when the broker closes; the parent of every alone request
	cancel context.CancelFunc
	m      *metrics

	sessions    fetchSessions
	producerIDs producerIDs
	garbage     atomic.Int64    // what decoding has left to the collector since it was told to look
	opens       *memory.Account // of batches, at once
	largeOpens  *memory.Account // of batches that hold more than openFreely, at once
	answers     *memory.Account // that tell of many partitions and are made at once

	seldom struct{ transactional, producerID, autoCreate seldom } // what clients can have logged at will
}

// New makes a broker. It starts nothing; give it to a listener.
func New(o Options) (*Broker, error) {
	if o.Controller == nil || o.Replicas == nil || o.Clock == nil || o.Logger == nil || o.Registerer == nil || o.Memory == nil || o.Configs == nil {
		return nil, errors.New("broker: Controller, Replicas, Clock, Logger, Registerer, Memory and Configs must be given")
	}
	if o.Loggers == nil {
		o.Loggers = logging.Of(o.Logger)
	}
	if o.Settings.AloneTimeout <= 0 {
		o.Settings.AloneTimeout = 30 * time.Second
	}
	b := &Broker{o: o, s: o.Settings, log: o.Logger, ctl: o.Controller}
	b.opens, b.largeOpens = memory.New(int64(runtime.GOMAXPROCS(0))), memory.New(1)
	b.answers = memory.New(int64(max(1, runtime.GOMAXPROCS(0)/2)))
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.sessions = fetchSessions{b: b, slots: o.Settings.FetchSessions, byID: map[int32]*fetchSet{}, newID: func() int32 { return rand.Int32N(math.MaxInt32) }}
	b.producerIDs.asking = make(chan struct{}, 1)
	rows := apis()
	for i := range rows {
		b.rows[rows[i].key] = &rows[i]
	}
	b.m = newMetrics(o.Registerer, rows)
	if o.Settings.KafkaSeries > 0 {
		o.Registerer.MustRegister(newKafkaExporter(b, o.Settings.KafkaSeries))
	}
	return b, nil
}

// Close ends the requests that block (they see their context end). Connections are the listener's to end.
func (b *Broker) Close() { b.cancel() }

var _ listener.Handler = (*Broker)(nil)
