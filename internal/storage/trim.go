package storage

import (
	"fmt"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// Trim asks for the start of a log to be raised to an offset, which may lie inside a batch.
type Trim struct {
	Log    *Log
	Offset int64
	Err    error // why it was not done, or is not known to be durable
}

// TrimBefore raises the starts of logs, and returns when that is durable: one write of the
// recovery points serves them all. The segments that lie below a start go with it, their files a
// little later. An offset at or below the start changes nothing.
func (d *Directory) TrimBefore(trims []Trim) {
	raised := make([]trimmed, len(trims))
	save := false
	for i := range trims {
		raised[i], trims[i].Err = trims[i].Log.beginTrim(trims[i].Offset)
		save = save || raised[i].unsaved
	}
	if !save {
		return
	}
	err := d.checkpoints.save(true)
	for i := range trims {
		t := &trims[i]
		switch {
		case t.Err != nil || !raised[i].unsaved:
		case err != nil:
			t.Err = fmt.Errorf("%w: %s: make the log start %d durable: %w", ErrStorage, t.Log.id, t.Offset, err)
		default:
			t.Err = t.Log.endTrim(raised[i])
		}
	}
}

// TrimBefore is Directory.TrimBefore for one log.
func (l *Log) TrimBefore(offset int64) error {
	trim := []Trim{{Log: l, Offset: offset}}
	l.dir.TrimBefore(trim)
	return trim[0].Err
}

// trimmed is a start that was raised in memory.
type trimmed struct {
	start       int64
	truncations uint64 // of the log, until then
	unsaved     bool   // it is not known to be durable
}

// beginTrim raises the start in memory.
func (l *Log) beginTrim(offset int64) (trimmed, error) {
	l.beginMaint()
	defer l.endMaint()
	if err := l.Err(); err != nil {
		return trimmed{}, err
	}
	if end := l.end.Load(); offset > end {
		return trimmed{}, &OutOfRangeError{Offset: offset, Start: l.start.Load(), End: end}
	}
	l.raiseStart(offset)
	t := trimmed{start: l.start.Load(), truncations: l.truncations.Load()}
	t.unsaved = t.start > l.durableStart && !invariant.Mutant("storage-start-unsaved")
	return t, nil
}

// endTrim drops what lies below a start that is durable. A truncation since then may have lowered
// the start in the recovery points again; it has said itself how far that is durable.
func (l *Log) endTrim(t trimmed) error {
	l.beginMaint()
	defer l.endMaint()
	if err := l.Err(); err != nil {
		return err
	}
	if l.truncations.Load() == t.truncations {
		l.durableStart = max(l.durableStart, t.start)
	}
	return l.dropBelowStart(deletedByStart)
}
