package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// maxRejected is how many records of a batch are named that may not be appended.
const maxRejected = 100

// RejectedError tells which records of an intact batch its topic does not take. It wraps
// ErrInvalidTimestamp if one is refused for its timestamp, else ErrInvalidRecord.
type RejectedError struct {
	Records []Rejected // in their order, the first of them
	Count   int        // of all
	kind    error
}

// Rejected is one of them.
type Rejected struct {
	Index int32 // in the batch, from 0
	Why   string
}

// Error implements error.
func (e *RejectedError) Error() string {
	first := e.Records[0]
	return fmt.Sprintf("%v: %d of its records are not allowed, the first is record %d: %s", e.kind, e.Count, first.Index, first.Why)
}

// Unwrap returns ErrInvalidTimestamp or ErrInvalidRecord.
func (e *RejectedError) Unwrap() error { return e.kind }

// CheckRecords tells whether the records of a batch that CheckProduced has passed may be appended: p
// is what Open has returned for it. Their structure is checked as by Walk, so they are as
// many as the header says and their offsets follow one another; their timestamps must be within l, and
// with keys each must have a key. It returns the greatest timestamp, which the header may have wrong.
func (b Batch) CheckRecords(p []byte, l Limits, keys bool) (int64, error) {
	greatest, index := int64(math.MinInt64), int32(0)
	var rejected *RejectedError
	base := b.BaseTimestamp()
	err := b.walk(p, func(r Record, _ []byte) error {
		ts := base + r.TimestampDelta
		if why, kind := l.refuses(ts, keys && r.Key == nil); kind != nil {
			rejected = rejected.add(index, why, kind)
		}
		greatest = max(greatest, ts)
		index++
		return nil
	})
	if err != nil {
		return 0, err
	}
	if rejected != nil {
		return 0, rejected
	}
	return greatest, nil
}

// refuses tells why a record is not allowed, if it is not.
func (l *Limits) refuses(ts int64, keyless bool) (why string, kind error) {
	switch {
	case keyless:
		return "it has no key, and the topic is compacted (cleanup.policy)", ErrInvalidRecord
	case ts == NoTimestamp:
		return "", nil
	case l.MinTimestamp != 0 && ts < l.MinTimestamp:
		return fmt.Sprintf("timestamp %d is before %d, the earliest allowed now (message.timestamp.before.max.ms)", ts, l.MinTimestamp), ErrInvalidTimestamp
	case l.MaxTimestamp != 0 && ts > l.MaxTimestamp:
		return fmt.Sprintf("timestamp %d is after %d, the latest allowed now (message.timestamp.after.max.ms)", ts, l.MaxTimestamp), ErrInvalidTimestamp
	}
	return "", nil
}

func (e *RejectedError) add(index int32, why string, kind error) *RejectedError {
	if e == nil {
		e = &RejectedError{kind: kind}
	}
	if kind == ErrInvalidTimestamp {
		e.kind = kind
	}
	if e.Count++; len(e.Records) < maxRejected {
		e.Records = append(e.Records, Rejected{Index: index, Why: why})
	}
	return e
}

// SetMaxTimestamp writes the greatest timestamp, and the CRC anew.
func (b Batch) SetMaxTimestamp(ms int64) {
	binary.BigEndian.PutUint64(b[atMaxTimestamp:], uint64(ms))
	b.setCRC()
}

// Recompressed returns the batch with its records, p as Open has returned them, compressed by
// codec at a level: in memory of its own, with a CRC of its own. All else in the header stays, and so
// do the records' offsets and timestamps, which count from it.
func (b Batch) Recompressed(p []byte, codec Codec, level int) (Batch, error) {
	dst := make([]byte, HeaderSize, HeaderSize+len(b))
	copy(dst, b[:HeaderSize])
	dst, err := AppendCompressedLevel(dst, codec, level, p)
	if err != nil {
		return nil, err
	}
	if len(dst)-Overhead > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(dst))
	}
	binary.BigEndian.PutUint32(dst[atLength:], uint32(len(dst)-Overhead))
	dst[atAttributes+1] = dst[atAttributes+1]&^codecMask | byte(codec)
	batch := Batch(dst)
	batch.setCRC()
	return batch, nil
}
