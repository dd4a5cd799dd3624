package storage

import (
	"hash/maphash"
	"math/bits"
)

// offsetMap tells for keys the offset of their last record, in bounded memory. It does not hold the
// keys but 128 bits of hash: two keys that agree in those would be taken for one, and a value lost.
// The seeds are drawn for each map, so that nobody can choose such keys, and chance needs 2^64 of them.
type offsetMap struct {
	slots []mapSlot
	seeds [2]maphash.Seed
	used  int
	limit int // of used
}

// mapSlot is free while next is 0.
type mapSlot struct {
	hash [2]uint64
	next int64 // the offset after the record
}

// mapSlotSize is what a slot takes.
const mapSlotSize = 24

// newOffsetMap makes a map for up to keys keys of at most size bytes, of whose slots the share load is used.
func newOffsetMap(keys, size int64, load float64) *offsetMap {
	slots := max(1, min(int64(float64(keys)/load)+1, size/mapSlotSize))
	return &offsetMap{
		slots: make([]mapSlot, slots), limit: max(1, int(float64(slots)*load)),
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
}

// find returns the slot of a key, or the one where it would go.
func (m *offsetMap) find(key []byte) (*mapSlot, [2]uint64) {
	h := [2]uint64{maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)}
	i, _ := bits.Mul64(h[0], uint64(len(m.slots)))
	for {
		s := &m.slots[i]
		if s.next == 0 || s.hash == h {
			return s, h
		}
		if i++; i == uint64(len(m.slots)) {
			i = 0
		}
	}
}

// put notes the offset of a key's record, which lies above those that were put before. It reports false if there is
// no room for another key.
func (m *offsetMap) put(key []byte, offset int64) bool {
	s, h := m.find(key)
	if s.next == 0 {
		if m.used == m.limit {
			return false
		}
		m.used++
		s.hash = h
	}
	s.next = offset + 1
	return true
}

// superseded tells whether the map knows a later record of the key than the one at offset.
func (m *offsetMap) superseded(key []byte, offset int64) bool {
	s, _ := m.find(key)
	return s.next > offset+1
}
