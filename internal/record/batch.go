// Package record reads, checks and makes record batches of format v2, the unit
// in which records travel and are stored. docs/formats/record-batch.md has the
// byte diagram.
//
// A Batch is a view of bytes that belong to someone else: a network buffer, a
// segment file. The broker stores and serves a producer's batch as it came; the
// header suffices for that, so nothing on that path opens a batch. Records and
// Walk, which do, decompress no more than the caller allows, and allocate in
// proportion to what is really there, never to what a header claims.
//
// The package holds no state but pools of decompressors and starts no goroutine.
package record

import (
	"encoding/binary"
	"hash/crc32"
)

// The header of a batch: offsets of its fields from the first byte.
const (
	atBaseOffset      = 0
	atLength          = 8
	atLeaderEpoch     = 12
	atMagic           = 16
	atCRC             = 17
	atAttributes      = 21 // the CRC covers all from here on
	atLastOffsetDelta = 23
	atBaseTimestamp   = 27
	atMaxTimestamp    = 35
	atProducerID      = 43
	atProducerEpoch   = 51
	atBaseSequence    = 53
	atCount           = 57
)

const (
	// HeaderSize is the length of a batch without records: the least there is.
	HeaderSize = 61
	// Overhead is what stands before the bytes that the length field counts.
	Overhead = 12
	// Magic is the only format version that is read or written.
	Magic = 2
	// MinRecordSize is the length of the smallest record; it bounds the number of records of an uncompressed batch.
	MinRecordSize = 7
)

// Bits of the attributes.
const (
	codecMask         = 0x07
	logAppendTimeBit  = 0x08
	transactionalBit  = 0x10
	controlBit        = 0x20
	deleteHorizonBit  = 0x40
	sequenceSpaceMask = 0x7fffffff // sequences run from 0 to 2^31-1 and begin again
)

// Values of fields that are absent.
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoTimestamp     int64 = -1
	NoLeaderEpoch   int32 = -1
)

// TimestampType tells who gave the records of a batch their timestamps.
type TimestampType int8

const (
	// CreateTime are timestamps of the producer.
	CreateTime TimestampType = 0
	// LogAppendTime is the time of the append, the same for all records: the batch's MaxTimestamp.
	LogAppendTime TimestampType = 1
)

// String returns the name that the topic property message.timestamp.type uses.
func (t TimestampType) String() string {
	if t == LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is one whole record batch: a view, not a copy. Its methods may be called
// on at least HeaderSize bytes, as Next returns them and Check and CheckProduced
// demand; the getters look at the header alone.
type Batch []byte

// BaseOffset returns the offset of the first record, or of the first that was there before compaction.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[atBaseOffset:])) }

// SetBaseOffset writes the base offset, which the CRC does not cover.
func (b Batch) SetBaseOffset(o int64) { binary.BigEndian.PutUint64(b[atBaseOffset:], uint64(o)) }

// Length returns the number of bytes of the whole batch, from the header's length field.
func (b Batch) Length() int { return Overhead + int(int32(binary.BigEndian.Uint32(b[atLength:]))) }

// LeaderEpoch returns the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[atLeaderEpoch:])) }

// SetLeaderEpoch writes the leader epoch, which the CRC does not cover.
func (b Batch) SetLeaderEpoch(e int32) { binary.BigEndian.PutUint32(b[atLeaderEpoch:], uint32(e)) }

// Magic returns the format version.
func (b Batch) Magic() int8 { return int8(b[atMagic]) }

// CRC returns the stored CRC-32C.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[atCRC:]) }

// ComputeCRC returns the CRC-32C of the bytes that are there.
func (b Batch) ComputeCRC() uint32 { return crc32.Checksum(b[atAttributes:], castagnoli) }

// Attributes returns the attribute bits.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[atAttributes:])) }

// Codec returns how the records are compressed.
func (b Batch) Codec() Codec { return Codec(b[atAttributes+1] & codecMask) }

// TimestampType tells whose the timestamps are.
func (b Batch) TimestampType() TimestampType {
	return TimestampType(b[atAttributes+1] & logAppendTimeBit >> 3)
}

// IsTransactional reports whether the records, or the marker, belong to a transaction.
func (b Batch) IsTransactional() bool { return b[atAttributes+1]&transactionalBit != 0 }

// IsControl reports whether the batch holds a control record, such as a transaction's marker.
func (b Batch) IsControl() bool { return b[atAttributes+1]&controlBit != 0 }

// HasDeleteHorizon reports whether compaction has put the time after which tombstones may go in the place of the base timestamp.
func (b Batch) HasDeleteHorizon() bool { return b[atAttributes+1]&deleteHorizonBit != 0 }

// LastOffsetDelta returns the last offset less the base offset.
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[atLastOffsetDelta:])) }

// LastOffset returns the offset of the last record, whether compaction has left it or not.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// BaseTimestamp returns what the timestamp deltas of the records count from.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[atBaseTimestamp:])) }

// MaxTimestamp returns the greatest timestamp of the records.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[atMaxTimestamp:])) }

// ProducerID returns the id of an idempotent or transactional producer, else NoProducerID.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[atProducerID:])) }

// HasProducerID reports whether the producer is idempotent or transactional.
func (b Batch) HasProducerID() bool { return b.ProducerID() > NoProducerID }

// ProducerEpoch returns the epoch of the producer id.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[atProducerEpoch:])) }

// BaseSequence returns the sequence number of the first record, NoSequence without a producer id and in control batches.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[atBaseSequence:])) }

// LastSequence returns the sequence number of the last record. Sequences go from 2^31-1 to 0.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base == NoSequence {
		return NoSequence
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// AddSequence returns the sequence number n after seq, which follows 2^31-1 by 0.
func AddSequence(seq, n int32) int32 {
	return int32((int64(seq) + int64(n)) & sequenceSpaceMask)
}

// Count returns the number of records, by the header.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[atCount:])) }

// Payload returns the records as they are stored: compressed, if Codec says so.
func (b Batch) Payload() []byte { return b[HeaderSize:] }

// SetLogAppendTime makes ms the timestamp of every record and writes the CRC anew.
func (b Batch) SetLogAppendTime(ms int64) {
	b[atAttributes+1] |= logAppendTimeBit
	binary.BigEndian.PutUint64(b[atMaxTimestamp:], uint64(ms))
	b.setCRC()
}

// Timestamp returns the timestamp of a record of this batch.
func (b Batch) Timestamp(r Record) int64 {
	if b.TimestampType() == LogAppendTime {
		return b.MaxTimestamp()
	}
	return b.BaseTimestamp() + r.TimestampDelta
}

func (b Batch) setCRC() { binary.BigEndian.PutUint32(b[atCRC:], b.ComputeCRC()) }
