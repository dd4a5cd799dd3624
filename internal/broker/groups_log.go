package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/internal/clock"
	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/storage"
)

// groupLog is a partition of an internal topic as its coordinator's log.
type groupLog struct {
	replicas *replica.Manager
	topic    metadata.ID
	index    int32
	clock    clock.Clock
}

const (
	// loadBytes is how much of the log is read at a time when a shard loads.
	loadBytes = 1 << 20
	// loadLimit bounds what a compressed batch of the log may decompress to.
	loadLimit = 64 << 20
)

// Load implements coordinator.Log.
func (l *groupLog) Load(ctx context.Context, epoch int32, apply func(shards.Record) error) error {
	p, log, err := l.leading(ctx, epoch)
	if err != nil {
		return logError(err)
	}
	end := log.End()
	if err := replay(ctx, log, end, apply); err != nil {
		return err
	}
	w := make(committed, 1)
	if p.Await(end, true, w) {
		return nil
	}
	select {
	case err := <-w:
		return logError(err)
	case <-ctx.Done():
		p.Cancel(w)
		return ctx.Err()
	}
}

// leading returns the partition and its log, once it is open, if this broker leads it in epoch.
func (l *groupLog) leading(ctx context.Context, epoch int32) (*replica.Partition, *storage.Log, error) {
	p, err := l.replicas.ByID(l.topic, l.index)
	if err != nil {
		return nil, nil, err
	}
	if p.Opening() {
		if err := l.replicas.Wait(ctx); err != nil {
			return nil, nil, err
		}
	}
	if err := p.Leading(epoch); err != nil {
		return nil, nil, err
	}
	log, err := p.Log()
	return p, log, err
}

// replay calls apply with the records of the log below end, of which latest leaves some out.
func replay(ctx context.Context, log *storage.Log, end int64, apply func(shards.Record) error) error {
	var buf []byte
	last := newLatest(latestKeys, apply)
	start := log.Start()
	for offset := start; offset < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		slice, err := log.Read(offset, end, loadBytes, true)
		if err != nil {
			return logError(err)
		}
		buf, err = slice.ReadBytes(buf[:0])
		slice.Release()
		if err != nil {
			return logError(err)
		}
		if len(buf) == 0 {
			break // compaction has left nothing up to the end
		}
		if offset, err = replayBatches(buf, start, last.add); err != nil {
			return err
		}
	}
	return last.flush()
}

// replayBatches hands the records of whole batches on and returns the offset after the last.
func replayBatches(p []byte, start int64, add func(offset int64, r shards.Record) error) (next int64, err error) {
	for len(p) > 0 {
		var b record.Batch
		if b, p, err = record.Next(p); err == nil {
			err = b.Check()
		}
		if err != nil {
			return 0, fmt.Errorf("reading the log of a coordinator: %w", err)
		}
		next = b.LastOffset() + 1
		if b.IsControl() || b.IsTransactional() {
			continue // of transactions, which this broker does not coordinate: nothing of theirs was committed
		}
		base := b.BaseOffset()
		var refused error
		err = b.Walk(loadLimit, func(r record.Record) error {
			if offset := base + int64(r.OffsetDelta); offset >= start {
				refused = add(offset, shards.Record{Key: r.Key, Value: r.Value})
			}
			return refused
		})
		if refused == nil && err != nil {
			err = fmt.Errorf("reading the log of a coordinator at offset %d: %w", base, err)
		}
		if err != nil {
			return 0, err
		}
	}
	return next, nil
}

// Append implements coordinator.Log.
func (l *groupLog) Append(epoch int32, records []shards.Record, done func(error)) {
	p, err := l.replicas.ByID(l.topic, l.index)
	if err == nil {
		err = p.Leading(epoch)
	}
	if err == nil && !p.InSync() {
		err = replica.ErrNotEnoughReplicas
	}
	if err != nil {
		done(logError(err))
		return
	}
	target, err := l.append(p, epoch, records)
	if err != nil {
		done(logError(err))
		return
	}
	if p.Await(target, true, &appended{done}) {
		done(nil)
	}
}

// append writes one batch and returns the offset that the high watermark has to pass.
func (l *groupLog) append(p *replica.Partition, epoch int32, records []shards.Record) (int64, error) {
	b := record.NewBuilder()
	now := l.clock.NowMillis()
	for _, r := range records {
		b.Add(now, r.Key, r.Value)
	}
	batch, err := b.Build()
	if err != nil {
		return 0, err
	}
	one := []storage.Append{{Batch: batch}}
	var round replica.Round
	// The epoch is checked with the append: the shard of a newer leadership of this broker may be
	// loaded by now, and would not know of what is appended behind its back.
	err = p.AppendInEpoch(epoch, one, &round)
	round.Finish()
	if err == nil {
		err = one[0].Err
	}
	if err != nil {
		return 0, err
	}
	return replica.NextOffset(&one[0]), nil
}

// committed is a replica.Waiter whose reader waits for the channel, of capacity 1.
type committed chan error

// Reached implements replica.Waiter.
func (c committed) Reached(_ *replica.Partition, _ int64, err error) replica.Flusher {
	c <- err
	return nil
}

// appended is a replica.Waiter that tells a shard.
type appended struct{ done func(error) }

// Reached implements replica.Waiter.
func (a *appended) Reached(_ *replica.Partition, _ int64, err error) replica.Flusher {
	if err != nil {
		err = logError(err)
	}
	a.done(err)
	return nil
}

// logError says what a shard must make of an error of its log: with too few
// in-sync replicas it cannot write for now; else this broker is no longer the place where the group is looked after.
func logError(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, replica.ErrNotEnoughReplicas):
		return fmt.Errorf("%w: %w", shards.ErrUnavailable, err)
	default:
		return fmt.Errorf("%w: %w", shards.ErrNotCoordinator, err)
	}
}
