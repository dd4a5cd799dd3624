package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/clock"
)

// Options are what a Runtime needs to know.
type Options[M Machine] struct {
	// Topic is the internal topic, for logs and metrics.
	Topic string
	// Machine makes the empty state of a partition's shard.
	Machine func(partition int32) M
	// Clock is the wall clock; nil: the machine's.
	Clock clock.Clock
	// Logger; nil: slog.Default.
	Logger *slog.Logger
	// Registerer takes the metrics; nil: none.
	Registerer prometheus.Registerer
	// QueueLimit is how many events wait for one shard; then ErrOverloaded. 0: 4096.
	QueueLimit int
	// MaxBatchBytes is what the records of one event may take together (see Size). 0: 8 MiB.
	MaxBatchBytes int
	// GatherBytes is where a batch of several events ends. 0: 512 KiB.
	GatherBytes int
	// WriteTimeout is how long a reply waits for its records to be committed
	// before it is answered with ErrTimedOut. 0: 5 s.
	WriteTimeout time.Duration
	// Loads is how many shards read their logs at the same time. 0: 4.
	Loads int
}

func (o *Options[M]) setDefaults() {
	if o.Clock == nil {
		o.Clock = clock.Wall{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.QueueLimit == 0 {
		o.QueueLimit = 4096
	}
	if o.MaxBatchBytes == 0 {
		o.MaxBatchBytes = 8 << 20
	}
	if o.GatherBytes == 0 {
		o.GatherBytes = 512 << 10
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 5 * time.Second
	}
	if o.Loads == 0 {
		o.Loads = 4
	}
}

// Runtime holds the shards of one internal topic that this broker coordinates.
type Runtime[M Machine] struct {
	o       Options[M]
	metrics *metrics
	loads   chan struct{} // tokens of shards that read their log

	mu      sync.Mutex
	ctx     context.Context //nolint:containedctx // the context of Run, which owns the goroutines that Load starts
	stopped bool            // Run has ended: nothing is started any more
	shards  map[int32]*shard[M]
	wg      sync.WaitGroup // shard goroutines; Run waits for them
}

// New returns a runtime without shards. Load may be called before Run; loading begins with Run.
func New[M Machine](o Options[M]) *Runtime[M] {
	o.setDefaults()
	return &Runtime[M]{
		o:       o,
		metrics: newMetrics(o.Topic, o.Registerer),
		loads:   make(chan struct{}, o.Loads),
		shards:  map[int32]*shard[M]{},
	}
}

// Run serves the shards until ctx is done, and returns when all their
// goroutines have ended and every event and reply has been answered.
func (r *Runtime[M]) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.ctx != nil {
		r.mu.Unlock()
		return errors.New("coordinator: Run was called twice")
	}
	r.ctx = ctx
	for _, s := range r.shards {
		r.startLocked(s)
	}
	r.mu.Unlock()

	<-ctx.Done()

	r.mu.Lock()
	r.stopped = true
	shards := r.shards
	r.shards = map[int32]*shard[M]{}
	r.mu.Unlock()
	for _, s := range shards {
		s.stop()
	}
	r.wg.Wait()
	return nil
}

// Load makes this broker the coordinator of a partition in a leader epoch: the
// shard reads log and then takes events. A call with an epoch that is not newer than the
// shard's changes nothing. A newer one replaces the shard even if this broker
// led before: between the two epochs another broker may have led and written.
func (r *Runtime[M]) Load(partition, epoch int32, log Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.shards[partition]
	if r.stopped || before != nil && before.epoch >= epoch {
		return
	}
	s := newShard(r, partition, epoch, log)
	if before != nil {
		before.stop()
		s.after = before.ended
	}
	r.shards[partition] = s
	if r.ctx != nil {
		r.startLocked(s)
	}
}

// Unload ends the shard of a partition that this broker no longer leads; the
// shard of an epoch newer than the given one stays. What waits is answered with
// ErrNotCoordinator.
func (r *Runtime[M]) Unload(partition, epoch int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.shards[partition]
	if s == nil || s.epoch > epoch {
		return
	}
	delete(r.shards, partition)
	s.stop()
}

// Submit hands an event to the shard of a partition. It does not block: if the
// shard cannot take the event, ev.Fail has been called when Submit returns.
func (r *Runtime[M]) Submit(partition int32, ev Event[M]) {
	r.mu.Lock()
	s := r.shards[partition]
	r.mu.Unlock()
	if s == nil {
		ev.Fail(ErrNotCoordinator)
		return
	}
	if err := s.mail.put(ev); err != nil {
		if errors.Is(err, ErrOverloaded) {
			r.metrics.overloaded.Inc()
		}
		ev.Fail(err)
	}
}

// Partitions lists the partitions whose shards this broker owns, loading ones
// too, in ascending order.
func (r *Runtime[M]) Partitions() []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]int32, 0, len(r.shards))
	for p := range r.shards {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// State returns nil if the shard of a partition takes events, ErrLoading while
// it reads its log, and ErrNotCoordinator if there is none.
func (r *Runtime[M]) State(partition int32) error {
	r.mu.Lock()
	s := r.shards[partition]
	r.mu.Unlock()
	if s == nil {
		return ErrNotCoordinator
	}
	_, err := s.mail.state()
	return err
}

// Await waits while the shard of a partition reads its log, until ctx ends at the latest, and returns its state.
func (r *Runtime[M]) Await(ctx context.Context, partition int32) error {
	for {
		r.mu.Lock()
		s := r.shards[partition]
		r.mu.Unlock()
		if s == nil {
			return ErrNotCoordinator
		}
		changed, err := s.mail.state()
		if !errors.Is(err, ErrLoading) {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return err
		}
	}
}

// startLocked starts the goroutine of a shard; Run waits for it.
func (r *Runtime[M]) startLocked(s *shard[M]) {
	ctx, cancel := context.WithCancel(r.ctx)
	s.start(cancel)
	r.wg.Go(func() { s.run(ctx) })
}
