package storage

import (
	"context"
	"time"
)

// clockTolerance is how far the wall clock may move against the monotonic one between two runs of
// retention, and a record's timestamp may lie in the future, before they are not believed.
const clockTolerance = time.Hour

// runRetention deletes old segments until ctx ends.
func (d *Directory) runRetention(ctx context.Context) {
	timer := time.NewTimer(d.retentionEvery)
	defer timer.Stop()
	wall, last := d.clock.NowMillis(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now, at := d.clock.NowMillis(), time.Now()
		jump := time.Duration(now-wall)*time.Millisecond - at.Sub(last)
		wall, last = now, at
		if jump.Abs() > clockTolerance {
			d.logger.Warn("the wall clock has jumped; retention waits for its next run", "by", jump, "next", d.retentionEvery)
		} else {
			d.retain(ctx, now)
		}
		timer.Reset(d.retentionEvery)
	}
}

// retain forgets producers that are silent, rolls active segments that are old, and deletes the
// sealed ones that retention lets go. The new start offsets of all logs become durable with one
// write before the first file goes.
func (d *Directory) retain(ctx context.Context, now int64) {
	type cut struct {
		log    *Log
		reason string
	}
	var cuts []cut
	for _, l := range d.Logs() {
		if ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		l.producers.expire(now - d.expiration.Load())
		l.mu.Unlock()
		start, reason := l.retentionStart(now)
		if reason == "" {
			continue
		}
		l.beginMaint()
		if l.Err() == nil && l.raiseStart(start) {
			cuts = append(cuts, cut{log: l, reason: reason})
		}
		l.endMaint()
	}
	if len(cuts) == 0 {
		return
	}
	if err := d.checkpoints.save(true); err != nil {
		d.logger.Warn("retention cannot write the new log start offsets; the files stay until it can", "error", err)
		return
	}
	for _, c := range cuts {
		l := c.log
		l.beginMaint()
		err := error(nil)
		if l.Err() == nil {
			err = l.dropBelowStart(c.reason)
		}
		l.endMaint()
		if err != nil {
			d.logger.Warn("retention could not drop all segments", "log", l.id.String(), "error", err)
			continue
		}
		d.logger.Info("retention deleted records", "log", l.id.String(), "start", l.Start(), "reason", c.reason)
	}
}

// retentionStart returns the offset at which retention lets the log begin, and the reason; no
// reason if nothing may go. It never returns one in the active segment, nor above the bound.
func (l *Log) retentionStart(now int64) (int64, string) {
	o := l.Options()
	o.RetentionMillis, o.RetentionBytes = retained(o.RetentionMillis), retained(o.RetentionBytes)
	if o.RetentionMillis < 0 && o.RetentionBytes < 0 || l.Err() != nil {
		return 0, ""
	}
	l.rollIfOld(&o, now)
	segments := *l.segments.Load()
	bound := l.bound.Load()
	over := l.Size() - o.RetentionBytes
	start, reason := l.Start(), ""
	for i, s := range segments[:len(segments)-1] {
		size, _ := s.extent()
		next := segments[i+1].base
		switch {
		case next > bound:
			return start, reason
		case o.RetentionMillis >= 0 && now-s.newest(now) > o.RetentionMillis:
			reason = deletedByTime
		case o.RetentionBytes >= 0 && over >= size:
			reason = deletedBySize
		case next <= l.Start():
			reason = deletedByStart
		default:
			return start, reason
		}
		over -= size
		start = max(start, next)
	}
	return start, reason
}

// retained returns how much a setting of retention keeps, below 0 for all.
func retained(setting int64) int64 {
	if setting == RetainNothing {
		return 0
	}
	return setting
}

// newest returns the time of the segment's newest record: its greatest timestamp, unless that lies
// too far in the future to be true, or there is none: then the time of the last write.
func (s *segment) newest(now int64) int64 {
	greatest, err := s.greatestTimestamp()
	if err == nil && greatest.ts >= 0 && greatest.ts <= now+clockTolerance.Milliseconds() {
		return greatest.ts
	}
	info, err := s.log.dir.fs.Stat(s.path(logSuffix))
	if err != nil {
		return now
	}
	return info.ModTime.UnixMilli()
}

// rollIfOld begins a new segment if the active one is older than segment.ms, or all its records
// are older than retention.ms: so that what is in it can go although nobody appends any more.
func (l *Log) rollIfOld(o *LogOptions, now int64) {
	s := l.active()
	size, _ := s.extent()
	if size == 0 {
		return
	}
	expired := o.RetentionMillis >= 0 && now-s.newest(now) > o.RetentionMillis
	l.mu.Lock()
	if l.writableLocked() == nil && s == l.active() && (expired || now-l.begunLocked(s, now) >= o.SegmentMillis) {
		if err := l.rollLocked(l.end.Load(), now); err != nil {
			l.dir.logger.Warn("retention could not begin a new segment", "log", l.id.String(), "error", err)
		}
		l.dir.checkpoints.note(l)
	}
	l.mu.Unlock()
	l.announce()
}
