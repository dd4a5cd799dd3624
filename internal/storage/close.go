package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Close flushes all logs and writes all that lets the next start open them without reading their
// data. Run must have returned. After an error, or when ctx ends first, the stop was not clean: the
// marker (WriteCleanShutdown) must not be written, and the next start recovers. If Recover has not
// come to its end Close writes nothing, leaves everything to the next start and returns ErrNotRecovered.
func (d *Directory) Close(ctx context.Context) error {
	logs := d.Logs()
	if !d.recovered {
		for _, l := range logs {
			l.shut()
		}
		return fmt.Errorf("close %s: %w", d.path, ErrNotRecovered)
	}
	for _, l := range logs {
		l.mu.Lock()
		l.stopped = true
		l.mu.Unlock()
	}
	if err := d.Flush(ctx); err != nil {
		return fmt.Errorf("close %s: %w", d.path, err)
	}
	var mu sync.Mutex
	var errs []error
	forEach(ctx, d.flushThreads, logs, func(l *Log) {
		if err := l.closeClean(); err != nil {
			mu.Lock()
			errs = append(errs, fmt.Errorf("%s: %w", l.id, err))
			mu.Unlock()
		}
	})
	if err := ctx.Err(); err != nil {
		errs = append(errs, err)
	}
	if err := d.checkpoints.save(true); err != nil {
		errs = append(errs, err)
	}
	for _, l := range logs {
		l.shut()
	}
	if len(errs) > 0 {
		return fmt.Errorf("close %s: %w", d.path, errors.Join(errs...))
	}
	return nil
}

// closeClean writes what stands in memory only, and moves the recovery point to the end.
func (l *Log) closeClean() error {
	if l.grown == 0 && l.recovery.offset == l.end.Load() && !l.epochsCut && l.active().pendingEntries() == 0 {
		return nil // nothing has happened since it was opened
	}
	if err := l.tidy(); err != nil {
		return err
	}
	l.beginMaint()
	defer l.endMaint()
	if l.Err() != nil {
		return nil
	}
	if err := l.active().release(); err != nil {
		return err
	}
	if err := l.active().writeIndex(true); err != nil {
		return err
	}
	l.mu.Lock()
	var state []byte
	end := l.end.Load()
	if len(l.producers.byID) > 0 {
		state = l.producers.encode()
	}
	l.mu.Unlock()
	if state != nil {
		if err := l.writeSnapshot(end, state); err != nil {
			return err
		}
	}
	if err := l.syncNames(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moveRecoveryLocked()
	if l.recovery.offset != end {
		return fmt.Errorf("%w: flushed to %d of %d", ErrStorage, l.recovery.offset, end)
	}
	return nil
}

// shut ends the log and closes its files.
func (l *Log) shut() {
	l.closed.Store(true)
	for _, s := range *l.segments.Load() {
		s.retire()
	}
}
