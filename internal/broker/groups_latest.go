package broker

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
)

// latest hands the records of a log on as compaction would leave them: of those that it holds at a time the last of
// each key, in the order of the log. A commit that another of its key follows costs a look-up and a copy then, and not
// what a machine makes of it. The active segment of a log is never compacted, and most of it is such commits.
type latest struct {
	apply func(shards.Record) error
	keys  int      // most in held; a power of two
	slots []uint32 // by the hash of a key: its place in held + 1,or 0
	seed  maphash.Seed
	held  []heldRecord
	bytes []byte // keys and values, some of which nobody refers to any more
}

const (
	// latestKeys is how many keys a latest holds, latestBytes how many bytes: what stays in a processor's cache, so that
	// a log without any record to leave out costs little more.
	latestKeys  = 1 << 15
	latestBytes = 4 << 20
)

// heldRecord is the last record of a key.
type heldRecord struct {
	offset     int64
	key, value span
	null       bool // the value is
}

// span is a range of bytes.
type span struct{ from, to int }

// newLatest makes one for so many keys at a time.
func newLatest(keys int, apply func(shards.Record) error) *latest {
	return &latest{apply: apply, keys: keys, seed: maphash.MakeSeed()}
}

// add takes the record at an offset. Its bytes are valid during the call only.
func (l *latest) add(offset int64, r shards.Record) error {
	size := len(r.Key) + len(r.Value)
	if r.Key == nil || size > latestBytes {
		if err := l.flush(); err != nil {
			return err
		}
		return l.hand(offset, r)
	}
	slot := l.find(r.Key)
	if *slot == 0 && len(l.held) == l.keys || len(l.bytes)+size > latestBytes {
		if err := l.flush(); err != nil {
			return err
		}
		slot = l.find(r.Key)
	}
	if *slot == 0 {
		l.held = append(l.held, heldRecord{key: l.keep(r.Key)})
		*slot = uint32(len(l.held))
	}
	h := &l.held[*slot-1]
	h.offset, h.null = offset, r.Value == nil
	if len(r.Value) > h.value.to-h.value.from {
		h.value = l.keep(r.Value)
	} else {
		h.value.to = h.value.from + copy(l.bytes[h.value.from:], r.Value)
	}
	return nil
}

// find returns the slot of a key, or the one where it goes.
func (l *latest) find(key []byte) *uint32 {
	if l.slots == nil {
		l.slots = make([]uint32, 2*l.keys)
	}
	for i := maphash.Bytes(l.seed, key); ; i++ {
		slot := &l.slots[i%uint64(len(l.slots))]
		if *slot == 0 || bytes.Equal(l.of(l.held[*slot-1].key), key) {
			return slot
		}
	}
}

func (l *latest) keep(p []byte) span {
	s := span{len(l.bytes), len(l.bytes) + len(p)}
	l.bytes = append(l.bytes, p...)
	return s
}

func (l *latest) of(s span) []byte { return l.bytes[s.from:s.to] }

// flush hands on what is held.
func (l *latest) flush() error {
	slices.SortFunc(l.held, func(a, b heldRecord) int { return cmp.Compare(a.offset, b.offset) })
	for i := range l.held {
		h := &l.held[i]
		r := shards.Record{Key: l.of(h.key)}
		if !h.null {
			r.Value = l.of(h.value)
		}
		if err := l.hand(h.offset, r); err != nil {
			return err
		}
	}
	clear(l.slots)
	l.held, l.bytes = l.held[:0], l.bytes[:0]
	return nil
}

func (l *latest) hand(offset int64, r shards.Record) error {
	if err := l.apply(r); err != nil {
		return fmt.Errorf("offset %d: %w", offset, err)
	}
	return nil
}
