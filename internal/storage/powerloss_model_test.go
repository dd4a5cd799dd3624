package storage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/internal/record"
)

// mbatch is a batch that was appended, as it was written.
type mbatch struct {
	base, last int64
	bytes      record.Batch
}

// mlog is what the test knows of a log: all that was appended since it began, the trimmed records
// too, and what was promised about it.
type mlog struct {
	id       LogID
	options  LogOptions
	history  []mbatch
	ghosts   map[int64][]mbatch // appends that failed or were cut short by a crash: they may be there all the same
	end      int64
	acked    int64 // flushed offset that somebody was told
	start    int64 // durable log start
	maxStart int64 // a start that was asked for
	epoch    int32
	durable  bool // its creation was acknowledged, or something in it was
	failed   bool // fenced by an injected fault
	// emptying is set while TruncateFullyAndStartAt runs: any part of the old content may be left, or the new start.
	emptying  bool
	emptyAt   int64
	truncated bool // the last truncation may have been cut short
	producers naiveProducers
}

func (m *mlog) String() string { return m.id.String() }

// naiveProducers is the producer state, written down as simply as can be.
type naiveProducers map[int64]*naiveProducer

type naiveProducer struct {
	epoch   int16
	batches []mbatch // of this epoch
}

// verdict tells what an append of b must be answered: the base offset of a duplicate, or an error.
func (n naiveProducers) verdict(b record.Batch) (dup int64, err error) {
	p := n[b.ProducerID()]
	if p == nil {
		return -1, nil
	}
	switch {
	case b.ProducerEpoch() < p.epoch:
		return -1, ErrInvalidProducerEpoch
	case b.ProducerEpoch() > p.epoch:
		if b.BaseSequence() != 0 {
			return -1, ErrOutOfOrderSequence
		}
		return -1, nil
	}
	known := p.batches[max(0, len(p.batches)-5):]
	for _, k := range known {
		if k.bytes.BaseSequence() == b.BaseSequence() && k.bytes.LastSequence() == b.LastSequence() {
			return k.base, nil
		}
	}
	if b.BaseSequence() == record.AddSequence(p.batches[len(p.batches)-1].bytes.LastSequence(), 1) {
		return -1, nil
	}
	have := map[int32]bool{}
	for _, k := range known {
		for i := range k.bytes.Count() {
			have[record.AddSequence(k.bytes.BaseSequence(), i)] = true
		}
	}
	for i := range b.Count() {
		if !have[record.AddSequence(b.BaseSequence(), i)] {
			return -1, ErrOutOfOrderSequence
		}
	}
	return -1, ErrDuplicateSequence
}

func (n naiveProducers) add(b mbatch) {
	if !b.bytes.HasProducerID() {
		return
	}
	p := n[b.bytes.ProducerID()]
	if p == nil || p.epoch != b.bytes.ProducerEpoch() {
		p = &naiveProducer{epoch: b.bytes.ProducerEpoch()}
		n[b.bytes.ProducerID()] = p
	}
	p.batches = append(p.batches, b)
}

func (m *mlog) fold() {
	m.producers = naiveProducers{}
	for _, b := range m.history {
		m.producers.add(b)
	}
}

// equalProducers compares the log's producer state with that of the model.
func (m *mlog) equalProducers(l *Log) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have, want := len(l.producers.byID), len(m.producers); have != want {
		return fmt.Errorf("%d producers, a replay gives %d", have, want)
	}
	for id, want := range m.producers {
		have := l.producers.byID[id]
		if have == nil {
			return fmt.Errorf("producer %d is unknown", id)
		}
		if have.epoch != want.epoch {
			return fmt.Errorf("producer %d: epoch %d, a replay gives %d", id, have.epoch, want.epoch)
		}
		known := want.batches[max(0, len(want.batches)-window):]
		if int(have.n) != len(known) {
			return fmt.Errorf("producer %d: %d batches remembered, a replay gives %d", id, have.n, len(known))
		}
		for i, k := range known {
			h := have.batches[i]
			if h.lastSeq != k.bytes.LastSequence() || h.lastOffset != k.last || h.baseOffset() != k.base || h.firstSeq() != k.bytes.BaseSequence() {
				return fmt.Errorf("producer %d: batch %d is %+v, a replay gives sequences %d to %d at %d", id, i, h, k.bytes.BaseSequence(), k.bytes.LastSequence(), k.base)
			}
		}
	}
	return nil
}

// verify compares a log that was just recovered with what was promised, and makes what is there
// what the model goes on from.
func (m *mlog) verify(l *Log, powered bool) error {
	if err := l.Err(); err != nil {
		return fmt.Errorf("does not open: %w", err)
	}
	start, end := l.Start(), l.End()
	if l.Flushed() != end {
		return fmt.Errorf("flushed %d, end %d after recovery", l.Flushed(), end)
	}
	if m.emptying && start == m.emptyAt && end == start {
		m.ghosts, m.emptying, m.maxStart = nil, false, start
		if len(l.Producers()) == 0 { // else the old records are still there, below the start
			m.history, m.acked = nil, end
		}
	}
	if start < m.start || start > max(m.maxStart, m.start) && !m.emptying {
		return fmt.Errorf("start %d, promised %d, asked for %d", start, m.start, m.maxStart)
	}
	if end < m.acked {
		return fmt.Errorf("end %d, acknowledged %d", end, m.acked)
	}
	if powered && !m.failed && !m.truncated && !m.emptying && end < m.end {
		return fmt.Errorf("end %d although there was power all the time, appended %d", end, m.end)
	}
	found, err := readAll(l, start)
	if err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	if err := m.compare(l, found, start, end); err != nil {
		return err
	}
	m.end, m.acked, m.start, m.maxStart = end, end, start, start
	m.ghosts, m.failed, m.truncated, m.emptying, m.durable = map[int64][]mbatch{}, false, false, false, true
	m.epoch = max(m.epoch, l.LatestEpoch())
	m.fold()
	if err := m.equalProducers(l); err != nil {
		return err
	}
	return m.equalEpochs(l)
}

// compare tells whether what was found continues the trimmed part of the history and is what was
// appended: below the acknowledged offset nothing else, above it also what an append that failed has left.
func (m *mlog) compare(l *Log, found []record.Batch, start, end int64) error {
	byBase := map[int64]mbatch{}
	for _, b := range m.history {
		byBase[b.base] = b
	}
	var now []mbatch
	for _, b := range m.history {
		if b.last < start {
			now = append(now, b)
		}
	}
	next := start
	for i, b := range found {
		base := b.BaseOffset()
		if i > 0 && base != next || i == 0 && base > start {
			return fmt.Errorf("batch at offset %d, expected %d", base, next)
		}
		next = b.LastOffset() + 1
		want, ok := byBase[base]
		if !ok || !bytes.Equal(want.bytes, b) {
			ok = false
			for _, g := range m.ghosts[base] {
				if base >= m.acked && bytes.Equal(g.bytes, b) {
					want, ok = g, true
				}
			}
		}
		if !ok {
			return fmt.Errorf("batch at offset %d (last %d, epoch %d) is not the one that was appended there; acknowledged %d", base, b.LastOffset(), b.LeaderEpoch(), m.acked)
		}
		now = append(now, want)
	}
	if len(found) > 0 && next != end {
		return fmt.Errorf("batches end at %d, the log at %d", next, end)
	}
	if len(found) == 0 && start == end {
		now = slices.DeleteFunc(now, func(b mbatch) bool { return b.last >= end })
		if m.acked < end && len(l.Producers()) == 0 { // it was trimmed into records that were not flushed
			now = nil
		}
	}
	m.history = now
	return nil
}

// equalEpochs compares the leader epoch of every batch, and the order of the list.
func (m *mlog) equalEpochs(l *Log) error {
	all := l.Epochs()
	for i, e := range all {
		if i > 0 && (e.Epoch <= all[i-1].Epoch || e.Start <= all[i-1].Start) {
			return fmt.Errorf("leader epochs do not rise: %v", all)
		}
		if e.Start > l.End() {
			return fmt.Errorf("leader epoch %d begins at %d, the log ends at %d", e.Epoch, e.Start, l.End())
		}
	}
	for _, b := range m.history {
		if b.last < l.Start() {
			continue
		}
		if e := l.EpochAt(max(b.base, l.Start())); e != b.bytes.LeaderEpoch() {
			return fmt.Errorf("epoch of offset %d is %d in the checkpoint, %d in the batch: %v", b.base, e, b.bytes.LeaderEpoch(), all)
		}
	}
	return nil
}

// answered takes the answers of an append into the model. If the machine went down under it
// nothing is known but what could be there.
func (m *mlog) answered(in []Append, expected []expectation, crashed bool) error {
	for i := range in {
		a := &in[i]
		if crashed || errors.Is(a.Err, ErrStorage) {
			b := mbatch{base: a.Batch.BaseOffset(), last: a.Batch.LastOffset(), bytes: a.Batch}
			m.ghosts[b.base] = append(m.ghosts[b.base], b)
			continue
		}
		want := expected[i]
		switch {
		case want.err != nil:
			if !errors.Is(a.Err, want.err) {
				return fmt.Errorf("append answered %v, expected %v", a.Err, want.err)
			}
		case a.Err != nil:
			return fmt.Errorf("append answered %w", a.Err)
		case want.dup >= 0:
			if !a.Duplicate || a.BaseOffset != want.dup {
				return fmt.Errorf("append answered base offset %d (duplicate: %v), expected the duplicate of %d", a.BaseOffset, a.Duplicate, want.dup)
			}
		default:
			if a.Duplicate || a.BaseOffset != m.end {
				return fmt.Errorf("append answered base offset %d (duplicate: %v), expected %d", a.BaseOffset, a.Duplicate, m.end)
			}
			b := mbatch{base: a.BaseOffset, last: a.Batch.LastOffset(), bytes: a.Batch}
			m.history = append(m.history, b)
			m.end = b.last + 1
			m.producers.add(b)
		}
	}
	return nil
}

// expectation is the verdict that an append should get.
type expectation struct {
	dup int64
	err error
}
