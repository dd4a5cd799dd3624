package storage

import (
	"fmt"
	"maps"
	"slices"

	"github.com/chronik-stream/chronik/internal/record"
)

// window is how many batches of a producer are remembered: as many as it may have in flight.
const window = 5

// ProducerState is what DescribeProducers tells of a producer id.
type ProducerState struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32 // -1 if no batch of this epoch is known
	LastTimestamp    int64
	CoordinatorEpoch int32 // of the last transaction marker, -1 if none
	TxnStartOffset   int64 // first offset of the open transaction, -1 if none
}

// producedBatch is a batch in a producer's window.
type producedBatch struct {
	lastSeq    int32
	delta      int32 // last sequence less first, and last offset less base offset
	lastOffset int64
	timestamp  int64
}

func (b *producedBatch) baseOffset() int64 { return b.lastOffset - int64(b.delta) }
func (b *producedBatch) firstSeq() int32   { return record.AddSequence(b.lastSeq, -b.delta) }

// producer is what the log knows of a producer id.
type producer struct {
	epoch            int16
	n                int8 // batches known, of this epoch
	coordinatorEpoch int32
	txnStart         int64
	lastTimestamp    int64
	seen             int64                 // wall clock, for expiry; not part of the state
	batches          [window]producedBatch // oldest first
}

func (p *producer) last() *producedBatch { return &p.batches[p.n-1] }

// producers is the state of all producer ids of a log: a fold of its batches. It is decided upon
// and changed under the log's lock together with the append, so that a batch and its retry never
// both get in.
type producers struct {
	byID map[int64]*producer
	// lastOffset is the last offset of the newest batch that changed it, -1 if none is known.
	lastOffset int64
}

func newProducers() producers { return producers{byID: map[int64]*producer{}, lastOffset: -1} }

// verdict is what check says of a batch.
type verdict struct {
	duplicate  bool
	baseOffset int64 // of the batch that is in the log
	timestamp  int64 // its greatest
}

// check decides about a leader's append. The rules are Kafka's since KIP-360: an id that is not
// known may begin with any sequence, a new epoch begins with 0, else batches follow one another
// modulo 2^31; one of the last five is answered again.
func (ps *producers) check(b record.Batch) (verdict, error) {
	id, epoch := b.ProducerID(), b.ProducerEpoch()
	p := ps.byID[id]
	if p == nil {
		return verdict{}, nil
	}
	if epoch < p.epoch {
		return verdict{}, fmt.Errorf("%w: producer %d has epoch %d, the batch %d", ErrInvalidProducerEpoch, id, p.epoch, epoch)
	}
	if b.IsControl() {
		return verdict{}, nil
	}
	first, last := b.BaseSequence(), b.LastSequence()
	if epoch > p.epoch {
		if first != 0 {
			return verdict{}, fmt.Errorf("%w: producer %d begins epoch %d with sequence %d, not 0", ErrOutOfOrderSequence, id, epoch, first)
		}
		return verdict{}, nil
	}
	for i := range p.batches[:p.n] {
		if known := &p.batches[i]; known.lastSeq == last && known.firstSeq() == first {
			return verdict{duplicate: true, baseOffset: known.baseOffset(), timestamp: known.timestamp}, nil
		}
	}
	expected := int32(0)
	if p.n > 0 {
		expected = record.AddSequence(p.last().lastSeq, 1)
	}
	if first == expected {
		return verdict{}, nil
	}
	if p.holds(first, last) {
		return verdict{}, fmt.Errorf("%w: producer %d, sequences %d to %d are in the log in other batches", ErrDuplicateSequence, id, first, last)
	}
	return verdict{}, fmt.Errorf("%w: producer %d, epoch %d: sequence %d, expected %d", ErrOutOfOrderSequence, id, epoch, first, expected)
}

// holds tells whether the sequences first to last all lie in the window's batches.
func (p *producer) holds(first, last int32) bool {
	if p.n == 0 {
		return false
	}
	oldest := p.batches[0].firstSeq()
	span := record.AddSequence(p.last().lastSeq, -oldest)
	from, to := record.AddSequence(first, -oldest), record.AddSequence(last, -oldest)
	return from <= to && to <= span
}

// producerUndo is how to take back an apply.
type producerUndo struct {
	id         int64
	existed    bool
	before     producer
	lastOffset int64
}

// apply accounts for a batch in the log. The offsets are in its header.
func (ps *producers) apply(b record.Batch, marker txnMarker, now int64) producerUndo {
	id, epoch := b.ProducerID(), b.ProducerEpoch()
	p := ps.byID[id]
	undo := producerUndo{id: id, existed: p != nil, lastOffset: ps.lastOffset}
	if p == nil {
		p = &producer{epoch: epoch, coordinatorEpoch: -1, txnStart: -1}
		ps.byID[id] = p
	} else {
		undo.before = *p
	}
	if epoch != p.epoch {
		p.epoch, p.n = epoch, 0
	}
	p.lastTimestamp, p.seen = b.MaxTimestamp(), now
	ps.lastOffset = b.LastOffset()
	switch {
	case b.IsControl():
		p.coordinatorEpoch = marker.coordinatorEpoch
		p.txnStart = -1
		return undo
	case b.IsTransactional() && p.txnStart < 0:
		p.txnStart = b.BaseOffset()
	}
	if p.n == window {
		copy(p.batches[:], p.batches[1:])
		p.n--
	}
	p.batches[p.n] = producedBatch{lastSeq: b.LastSequence(), delta: b.LastOffsetDelta(), lastOffset: b.LastOffset(), timestamp: b.MaxTimestamp()}
	p.n++
	return undo
}

// undo takes back the newest apply.
func (ps *producers) undo(u producerUndo) {
	ps.lastOffset = u.lastOffset
	if !u.existed {
		delete(ps.byID, u.id)
		return
	}
	*ps.byID[u.id] = u.before
}

// expire forgets the ids that were last seen before a time of the wall clock and have no open
// transaction. The clock counts from the append, or the start of the process, not from the
// batch's timestamp: that is the producer's to choose, and an id that is forgotten while its
// producer lives lets a retry in twice.
func (ps *producers) expire(before int64) {
	maps.DeleteFunc(ps.byID, func(_ int64, p *producer) bool { return p.seen < before && p.txnStart < 0 })
}

func (ps *producers) ids() []int64 { return slices.Sorted(maps.Keys(ps.byID)) }

// txnMarker is what a control batch says.
type txnMarker struct {
	commit           bool
	coordinatorEpoch int32
}

// parseMarker reads the one record of a control batch: key version and type, value version and
// coordinator epoch. Any other batch has none.
func parseMarker(b record.Batch) (txnMarker, error) {
	m := txnMarker{coordinatorEpoch: -1}
	if !b.IsControl() {
		return m, nil
	}
	for r, err := range b.Records(len(b)) {
		if err != nil {
			return m, err
		}
		if len(r.Key) < 4 || len(r.Value) < 6 {
			return m, fmt.Errorf("%w: control record with a key of %d bytes and a value of %d", record.ErrInvalidRecord, len(r.Key), len(r.Value))
		}
		m.commit = r.Key[3] == 1
		m.coordinatorEpoch = int32(uint32(r.Value[2])<<24 | uint32(r.Value[3])<<16 | uint32(r.Value[4])<<8 | uint32(r.Value[5]))
		break
	}
	return m, nil
}

// Producers returns the state of every producer id, in order of the ids.
func (l *Log) Producers() []ProducerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	states := make([]ProducerState, 0, len(l.producers.byID))
	for _, id := range l.producers.ids() {
		states = append(states, l.producers.byID[id].state(id))
	}
	return states
}

func (p *producer) state(id int64) ProducerState {
	s := ProducerState{
		ProducerID: id, Epoch: p.epoch, LastSequence: record.NoSequence, LastTimestamp: p.lastTimestamp,
		CoordinatorEpoch: p.coordinatorEpoch, TxnStartOffset: p.txnStart,
	}
	if p.n > 0 {
		s.LastSequence = p.last().lastSeq
	}
	return s
}
