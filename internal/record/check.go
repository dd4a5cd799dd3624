package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What can be wrong with a batch. The errors that are returned wrap one of these
// and say more.
var (
	// ErrIncomplete: the bytes end before the batch does. It may be whole elsewhere: in a file that is still being written, behind a fetch limit.
	ErrIncomplete = errors.New("record: incomplete batch")
	// ErrCorrupt: lengths or CRC do not fit the bytes.
	ErrCorrupt = errors.New("record: corrupt batch")
	// ErrUnsupportedMagic: a format other than v2.
	ErrUnsupportedMagic = errors.New("record: unsupported format of batch")
	// ErrUnsupportedCodec: a compression that is unknown or not allowed here.
	ErrUnsupportedCodec = errors.New("record: unsupported compression")
	// ErrTooLarge: more bytes than the topic allows.
	ErrTooLarge = errors.New("record: batch too large")
	// ErrInvalidRecord: an intact batch that no producer may send.
	ErrInvalidRecord = errors.New("record: invalid batch")
	// ErrInvalidTimestamp: timestamps outside what the topic allows.
	ErrInvalidTimestamp = errors.New("record: invalid timestamp")
	// ErrLimit: the records, decompressed, are larger than the caller allows.
	ErrLimit = errors.New("record: decompressed records exceed the limit")
)

// SizePrefix is how many bytes Size needs.
const SizePrefix = atMagic + 1

// Size returns the number of bytes of the batch that begins with p, which must
// hold SizePrefix bytes: ErrIncomplete if it does not, ErrCorrupt if the length
// is none, ErrUnsupportedMagic for an old format. The rest may be missing.
func Size(p []byte) (int, error) {
	if len(p) < SizePrefix {
		return 0, ErrIncomplete
	}
	n := int32(binary.BigEndian.Uint32(p[atLength:]))
	if p[atMagic] != Magic {
		return 0, fmt.Errorf("%w: magic %d, want %d", ErrUnsupportedMagic, int8(p[atMagic]), Magic)
	}
	if n < HeaderSize-Overhead {
		return 0, fmt.Errorf("%w: length field %d, at least %d", ErrCorrupt, n, HeaderSize-Overhead)
	}
	return Overhead + int(n), nil
}

// Next cuts the first batch off p by its length field and checks nothing else.
// At the end of p it returns io.EOF, before the end of a batch ErrIncomplete.
func Next(p []byte) (b Batch, rest []byte, err error) {
	if len(p) == 0 {
		return nil, nil, io.EOF
	}
	n, err := Size(p)
	if err != nil {
		return nil, p, err
	}
	if n > len(p) {
		return nil, p, ErrIncomplete
	}
	return Batch(p[:n:n]), p[n:], nil
}

// Check tells whether b is one whole, intact batch as it may stand in a log:
// length, magic, CRC-32C, count and offsets. A log that was compacted holds
// batches of fewer records than offsets, or of none.
func (b Batch) Check() error {
	if err := b.checkShape(); err != nil {
		return err
	}
	if crc := b.ComputeCRC(); crc != b.CRC() {
		return b.badCRC(crc)
	}
	if n, last := b.Count(), b.LastOffsetDelta(); n < 0 || last < 0 || last < n-1 {
		return fmt.Errorf("%w: %d records, last offset delta %d", ErrCorrupt, n, last)
	}
	return nil
}

// checkShape tells whether b is as long as its header says, and of the format we read.
func (b Batch) checkShape() error {
	n, err := Size(b)
	switch {
	case err != nil:
		return err
	case n > len(b):
		return ErrIncomplete
	case n < len(b):
		return fmt.Errorf("%w: %d bytes, but the header says %d", ErrCorrupt, len(b), n)
	}
	return nil
}

func (b Batch) badCRC(computed uint32) error {
	return fmt.Errorf("%w: CRC-32C is %08x, the header says %08x", ErrCorrupt, computed, b.CRC())
}

// Limits are the rules of a topic, and of a request's version, for produced batches.
// The zero value sets none.
type Limits struct {
	// MaxBytes is max.message.bytes, the greatest length of a batch.
	MaxBytes int
	// MinTimestamp and MaxTimestamp bound the producer's timestamps (milliseconds).
	// The header alone is looked at: its base and its greatest timestamp.
	MinTimestamp, MaxTimestamp int64
	// NoZstd refuses zstd: Produce requests before version 7 may not carry it.
	NoZstd bool
}

// CheckProduced tells whether p, the records of one partition in a Produce
// request, may be appended: exactly one batch of format v2, intact, not a control
// batch, with as many records as offsets and no more than its bytes can hold, within l. It does not open the
// batch: CheckRecords is for topics that want that.
//
// Base offset and leader epoch are the broker's to set; what stands there is not
// looked at.
func (b Batch) CheckProduced(l Limits) error {
	if err := b.checkOne(); err != nil {
		return err
	}
	if l.MaxBytes > 0 && len(b) > l.MaxBytes {
		return fmt.Errorf("%w: %d bytes, the topic allows %d (max.message.bytes)", ErrTooLarge, len(b), l.MaxBytes)
	}
	if crc := b.ComputeCRC(); crc != b.CRC() {
		return b.badCRC(crc)
	}
	return b.checkClaims(l)
}

// checkOne tells whether b is exactly one batch.
func (b Batch) checkOne() error {
	if len(b) == 0 {
		return fmt.Errorf("%w: no batch where one is expected", ErrInvalidRecord)
	}
	n, err := Size(b)
	switch {
	case errors.Is(err, ErrIncomplete), err == nil && n > len(b):
		return fmt.Errorf("%w: %d bytes are not a whole batch", ErrCorrupt, len(b))
	case err != nil:
		return err
	case n < len(b):
		return fmt.Errorf("%w: %d bytes follow the batch; a request may hold one batch a partition", ErrInvalidRecord, len(b)-n)
	}
	return nil
}

// checkClaims tells whether an intact batch claims nothing that a producer may not, or that cannot be.
func (b Batch) checkClaims(l Limits) error {
	codec, count, attributes := b.Codec(), b.Count(), b[atAttributes+1]
	switch {
	case attributes&controlBit != 0:
		return fmt.Errorf("%w: control batches are the broker's to write", ErrInvalidRecord)
	case count <= 0 || count-1 != b.LastOffsetDelta():
		return fmt.Errorf("%w: %d records, last offset delta %d", ErrInvalidRecord, count, b.LastOffsetDelta())
	case codec > Zstd:
		return fmt.Errorf("%w: codec %d", ErrUnsupportedCodec, codec)
	case codec == Zstd && l.NoZstd:
		return fmt.Errorf("%w: zstd needs Produce version 7 or newer", ErrUnsupportedCodec)
	case int(count) > codec.most(len(b)-HeaderSize)/MinRecordSize:
		return fmt.Errorf("%w: %d records cannot stand in %d bytes of %s", ErrInvalidRecord, count, len(b)-HeaderSize, codec)
	case attributes&logAppendTimeBit != 0:
		return fmt.Errorf("%w: LogAppendTime is the broker's to set", ErrInvalidTimestamp)
	}
	if err := b.checkProducer(attributes&transactionalBit != 0); err != nil {
		return err
	}
	if l.MinTimestamp != 0 || l.MaxTimestamp != 0 {
		return b.checkTimestamps(l)
	}
	return nil
}

// most returns how many bytes of records n bytes of a codec can hold.
func (c Codec) most(n int) int {
	// How many times its own length the densest block holds.
	const gzipExpansion, zstdExpansion = 1032, zstdBlock / 4
	switch c {
	case Gzip:
		n *= gzipExpansion
	case Snappy:
		n *= snappyExpansion
	case Lz4:
		n *= lz4Expansion
	case Zstd:
		n *= zstdExpansion
	case None:
		return n
	}
	return min(n, MaxDecompressed)
}

// checkProducer tells whether producer id, epoch and sequence go together.
func (b Batch) checkProducer(transactional bool) error {
	id := b.ProducerID()
	switch {
	case id < 0 && transactional:
		return fmt.Errorf("%w: transactional without a producer id", ErrInvalidRecord)
	case id >= 0 && (b.BaseSequence() < 0 || b.ProducerEpoch() < 0):
		return fmt.Errorf("%w: producer id %d with epoch %d and sequence %d", ErrInvalidRecord, id, b.ProducerEpoch(), b.BaseSequence())
	}
	return nil
}

func (b Batch) checkTimestamps(l Limits) error {
	base, most := b.BaseTimestamp(), b.MaxTimestamp()
	switch {
	case l.MinTimestamp != 0 && base != NoTimestamp && base < l.MinTimestamp:
		return fmt.Errorf("%w: %d is before %d, the earliest allowed now (message.timestamp.before.max.ms)", ErrInvalidTimestamp, base, l.MinTimestamp)
	case l.MaxTimestamp != 0 && most > l.MaxTimestamp:
		return fmt.Errorf("%w: %d is after %d, the latest allowed now (message.timestamp.after.max.ms)", ErrInvalidTimestamp, most, l.MaxTimestamp)
	}
	return nil
}
