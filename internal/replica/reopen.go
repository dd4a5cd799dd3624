package replica

import "time"

// This file tries again what has failed before a log was there: a full disk, or one that refuses a file for a moment,
// must not take a new partition offline until the next start.

// Pauses between attempts to make the logs that could not be made.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// retry tells Run when to try again: after pauses that double while there is something to try.
type retry struct {
	due   <-chan time.Time // nil: not armed
	timer *time.Timer
	pause time.Duration
}

// arm sees to it that due fires if there is something left, and that the next first pause is short if not.
func (r *retry) arm(left bool) {
	switch {
	case !left:
		r.stop()
		r.due, r.pause = nil, 0
	case r.due == nil:
		r.pause = min(max(2*r.pause, firstRetry), lastRetry)
		r.timer = time.NewTimer(r.pause)
		r.due = r.timer.C
	}
}

func (r *retry) stop() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

// tryUnopened queues the partitions whose logs could not be made.
func (m *Manager) tryUnopened() {
	for p := range m.unopened {
		m.mark(p)
	}
}

// notOpened takes a partition offline whose log could not be opened or made: until an attempt succeeds, if another is
// worth it. The reason is logged once, not with every attempt.
func (m *Manager) notOpened(p *Partition, again bool, err error) {
	before := m.unopened[p]
	delete(m.unopened, p)
	if again {
		m.unopened[p] = err.Error()
		if before != err.Error() {
			m.o.Logger.Error("cannot make the log of a partition; the partition is offline here, and it is tried again and again: check the space and the rights of the data directory",
				"topic", p.Topic, "partition", p.Index, "error", err)
		}
	}
	r := new(Round)
	p.fail(r, err)
	r.Finish()
}

// opened brings a partition back of which notOpened has been told before.
func (m *Manager) opened(p *Partition) {
	if _, failed := m.unopened[p]; !failed {
		return
	}
	delete(m.unopened, p)
	p.mu.Lock()
	p.failed = nil
	if !p.want.deleted {
		v := *p.view.Load()
		v.err = ErrNotLeader
		if p.want.leader == m.o.NodeID {
			v.err = ErrOpening
		}
		p.view.Store(&v)
	}
	p.mu.Unlock()
	m.o.Logger.Info("the log of a partition could be made at last", "topic", p.Topic, "partition", p.Index)
}
