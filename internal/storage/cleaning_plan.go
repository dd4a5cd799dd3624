package storage

import (
	"math"
)

// cleaningPlan is what a pass of the cleaner may do with a log.
type cleaningPlan struct {
	log         *Log
	options     LogOptions
	now         int64
	truncations uint64

	segments []*segment // that may be written anew: the first ones of the log, up to to
	bases    []int64    // of each, and of the one that follows
	from, to int64      // the dirty part
	clean    int64      // bytes below it
	dirty    int64      // bytes in it
	late     bool       // it holds records that are older than max.compaction.lag.ms
}

// ratio is the dirty share of what would be read.
func (p *cleaningPlan) ratio() float64 { return float64(p.dirty) / float64(max(1, p.clean+p.dirty)) }

// due tells whether the log is to be cleaned now.
func (p *cleaningPlan) due() bool { return p.late || p.ratio() > p.options.MinCleanableDirtyRatio }

// planCleaning finds out what of the log may be cleaned; nil if nothing is dirty. That is never the
// active segment, nor what lies above the recovery point, the high watermark, or the
// begin of an open transaction; nor a segment with a record younger than min.compaction.lag.ms.
func (l *Log) planCleaning(now int64) *cleaningPlan {
	if l.Err() != nil || l.uncleanable.Load() {
		return nil
	}
	p := &cleaningPlan{log: l, options: l.Options(), now: now}
	l.rollIfOld(&p.options, now)
	l.mu.Lock()
	p.truncations = l.truncations.Load()
	segments := *l.segments.Load()
	recovery, bound := l.recovery, min(l.bound.Load(), l.producers.firstOpen())
	start := l.start.Load()
	l.mu.Unlock()
	p.from = max(l.cleanPoint.Load(), start)
	p.to = p.from
	for i, s := range segments[:len(segments)-1] {
		next := segments[i+1].base
		if s.base >= recovery.base || next > bound {
			break
		}
		if next > p.from {
			if !p.takeDirty(s, i == 0 || s.base <= p.from) {
				break
			}
			p.to = next
		} else {
			size, _ := s.extent()
			p.clean += size
		}
		p.segments = append(p.segments, s)
		p.bases = append(p.bases, s.base)
	}
	if p.to == p.from {
		return nil
	}
	p.bases = append(p.bases, p.to)
	return p
}

// takeDirty adds a segment of the dirty part, unless it is too young. The first tells how old the dirty part is.
func (p *cleaningPlan) takeDirty(s *segment, first bool) bool {
	o := &p.options
	if o.MinCompactionLagMillis > 0 && s.newest(p.now) > p.now-o.MinCompactionLagMillis {
		return false
	}
	size, _ := s.extent()
	p.dirty += size
	if first && o.MaxCompactionLagMillis < math.MaxInt64 {
		p.late = s.begun(p.now) < p.now-o.MaxCompactionLagMillis
	}
	return true
}

// begun returns the timestamp of the segment's first batch, now if there is none.
func (s *segment) begun(now int64) int64 {
	h, err := s.acquire()
	if err != nil {
		return now
	}
	defer h.release()
	if b, err := firstBatch(h, s); err == nil && b.header.MaxTimestamp() > 0 {
		return b.header.MaxTimestamp()
	}
	return now
}

// firstOpen returns the first offset of the earliest open transaction, the greatest offset if none is open.
func (ps *producers) firstOpen() int64 {
	first := int64(math.MaxInt64)
	for _, p := range ps.byID {
		if p.txnStart >= 0 {
			first = min(first, p.txnStart)
		}
	}
	return first
}
