package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Compactor makes what compaction leaves of batches. Its buffers are used again
// from batch to batch. It is not safe for concurrent use.
type Compactor struct {
	// Limit bounds what a batch may decompress to.
	Limit int

	kept []byte
}

// Fate is what compaction makes of a batch.
type Fate struct {
	// Keep tells whether a record stays.
	Keep func(Record) bool
	// Empty keeps the batch, with no records, if none stays: for its offsets, or its producer.
	Empty bool
	// Horizon, unless NoTimestamp, becomes the delete horizon of a batch that keeps tombstones
	// or is a transaction's marker, and has no horizon yet: the time from which they may go.
	Horizon int64
	// Marker is set for a marker none of whose transaction's data is left: it may get a horizon.
	Marker bool
}

// Left is what was left of a batch.
type Left struct {
	Records    int32 // that stayed
	Tombstones int32 // of these, records without a value
	Same       bool  // the batch is as it was
}

// Append appends to dst what is left of b. Offsets and order do not change: base
// offset, last offset, leader epoch and producer fields are those of b, the
// records have the offsets that they had; the greatest timestamp is that of the
// records that stay. The checksum is not looked at: who calls has done that.
func (c *Compactor) Append(dst []byte, b Batch, f Fate) ([]byte, Left, error) {
	var left Left
	p, err := b.Open(c.Limit)
	if err != nil {
		return dst, left, err
	}
	greatest := NoTimestamp
	c.kept = c.kept[:0]
	err = b.walk(p, func(r Record, whole []byte) error {
		if !f.Keep(r) {
			return nil
		}
		if r.Value == nil {
			left.Tombstones++
		}
		left.Records++
		greatest = max(greatest, b.Timestamp(r))
		c.kept = append(c.kept, whole...)
		return nil
	})
	if err != nil {
		return dst, left, err
	}
	stamp := f.Horizon != NoTimestamp && !b.HasDeleteHorizon() && (left.Tombstones > 0 && !b.IsControl() || f.Marker && left.Records > 0)
	switch {
	case left.Records == b.Count() && !stamp && (left.Records > 0 || f.Empty):
		left.Same = true
		return append(dst, b...), left, nil
	case left.Records == 0 && !f.Empty:
		return dst, left, nil
	case left.Records == 0:
		return b.appendEmpty(dst), left, nil
	}
	base := b.BaseTimestamp()
	if stamp {
		if b.TimestampType() == CreateTime { // else the deltas say nothing
			c.rebase(b, base-f.Horizon)
		}
		base = f.Horizon
	}
	dst, err = c.build(dst, b, left.Records, base, greatest, stamp)
	return dst, left, err
}

// rebase writes the timestamp deltas of the kept records anew, larger by shift. The
// arithmetic may wrap: it wraps back when base and delta are added.
func (c *Compactor) rebase(b Batch, shift int64) {
	from := c.kept
	to := make([]byte, 0, len(from)+len(from)/8)
	var scratch [binary.MaxVarintLen64]byte
	rest := reader{p: from}
	for len(rest.p) > 0 {
		body := reader{p: rest.bytes()}
		attributes := body.p[0]
		body.p = body.p[1:]
		delta := binary.AppendVarint(scratch[:0], body.varlong()+shift)
		to = binary.AppendVarint(to, int64(1+len(delta)+len(body.p)))
		to = append(append(append(to, attributes), delta...), body.p...)
	}
	c.kept = to
}

// build appends the batch of the kept records.
func (c *Compactor) build(dst []byte, b Batch, count int32, base, greatest int64, stamp bool) ([]byte, error) {
	at := len(dst)
	dst, err := AppendCompressed(append(dst, b[:HeaderSize]...), b.Codec(), c.kept)
	if err != nil {
		return dst[:at], err
	}
	n := Batch(dst[at:])
	if len(n)-Overhead > math.MaxInt32 {
		return dst[:at], fmt.Errorf("%w: %d bytes", ErrTooLarge, len(n))
	}
	binary.BigEndian.PutUint32(n[atLength:], uint32(len(n)-Overhead))
	binary.BigEndian.PutUint32(n[atCount:], uint32(count))
	binary.BigEndian.PutUint64(n[atBaseTimestamp:], uint64(base))
	if b.TimestampType() == CreateTime {
		binary.BigEndian.PutUint64(n[atMaxTimestamp:], uint64(greatest))
	}
	if stamp {
		n[atAttributes+1] |= deleteHorizonBit
	}
	n.setCRC()
	return dst, nil
}

// appendEmpty appends b without its records. The greatest timestamp stays: it is the producer's last.
func (b Batch) appendEmpty(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, b[:HeaderSize]...)
	n := Batch(dst[at:])
	binary.BigEndian.PutUint32(n[atLength:], HeaderSize-Overhead)
	binary.BigEndian.PutUint32(n[atCount:], 0)
	binary.BigEndian.PutUint64(n[atBaseTimestamp:], uint64(math.MaxUint64)) // NoTimestamp
	n[atAttributes+1] &^= codecMask | deleteHorizonBit
	n.setCRC()
	return dst
}
