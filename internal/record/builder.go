package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Builder makes a batch: set the fields, Add records, Build. NewBuilder gives the
// defaults of a plain producer. A Builder is not safe for concurrent use.
type Builder struct {
	BaseOffset    int64
	LeaderEpoch   int32
	Codec         Codec
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Transactional bool
	Control       bool
	// LogAppendTime, unless NoTimestamp, is the timestamp of all records.
	LogAppendTime int64

	records        []byte
	scratch        []byte
	count          int32
	base, greatest int64
}

// NewBuilder returns a builder of uncompressed batches without a producer id.
func NewBuilder() *Builder {
	return &Builder{
		LeaderEpoch: NoLeaderEpoch, ProducerID: NoProducerID, ProducerEpoch: NoProducerEpoch,
		BaseSequence: NoSequence, LogAppendTime: NoTimestamp,
	}
}

// Add appends a record. A nil key or value is null. All is copied.
func (b *Builder) Add(timestamp int64, key, value []byte, headers ...Header) {
	if b.count == 0 {
		b.base, b.greatest = timestamp, timestamp
	}
	b.greatest = max(b.greatest, timestamp)
	body := append(b.scratch[:0], 0) // attributes
	body = binary.AppendVarint(body, timestamp-b.base)
	body = binary.AppendVarint(body, int64(b.count))
	body = appendBytes(body, key)
	body = appendBytes(body, value)
	body = binary.AppendVarint(body, int64(len(headers)))
	for _, h := range headers {
		body = binary.AppendVarint(body, int64(len(h.Key)))
		body = append(body, h.Key...)
		body = appendBytes(body, h.Value)
	}
	b.records = appendBytes(b.records, body)
	b.scratch = body
	b.count++
}

// appendBytes appends p behind its length, -1 for nil.
func appendBytes(dst, p []byte) []byte {
	if p == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(p))), p...)
}

// Count returns the number of records since the last Reset.
func (b *Builder) Count() int { return int(b.count) }

// Size returns the length of the batch that Build would make without compression.
func (b *Builder) Size() int { return HeaderSize + len(b.records) }

// Build returns the batch, in memory of its own. The builder keeps its records
// until Reset. Without records there is no batch: ErrInvalidRecord.
func (b *Builder) Build() (Batch, error) {
	if b.count == 0 {
		return nil, fmt.Errorf("%w: no records", ErrInvalidRecord)
	}
	p := make([]byte, HeaderSize, HeaderSize+len(b.records))
	p, err := AppendCompressed(p, b.Codec, b.records)
	if err != nil {
		return nil, err
	}
	if len(p)-Overhead > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(p))
	}
	batch := Batch(p)
	batch.SetBaseOffset(b.BaseOffset)
	binary.BigEndian.PutUint32(p[atLength:], uint32(len(p)-Overhead))
	batch.SetLeaderEpoch(b.LeaderEpoch)
	p[atMagic] = Magic
	binary.BigEndian.PutUint16(p[atAttributes:], uint16(b.attributes()))
	binary.BigEndian.PutUint32(p[atLastOffsetDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(p[atBaseTimestamp:], uint64(b.base))
	binary.BigEndian.PutUint64(p[atMaxTimestamp:], uint64(b.greatest))
	binary.BigEndian.PutUint64(p[atProducerID:], uint64(b.ProducerID))
	binary.BigEndian.PutUint16(p[atProducerEpoch:], uint16(b.ProducerEpoch))
	binary.BigEndian.PutUint32(p[atBaseSequence:], uint32(b.BaseSequence))
	binary.BigEndian.PutUint32(p[atCount:], uint32(b.count))
	if b.LogAppendTime != NoTimestamp {
		batch.SetLogAppendTime(b.LogAppendTime)
	} else {
		batch.setCRC()
	}
	return batch, nil
}

func (b *Builder) attributes() int16 {
	a := int16(b.Codec)
	if b.Transactional {
		a |= transactionalBit
	}
	if b.Control {
		a |= controlBit
	}
	return a
}

// Reset drops the records and keeps the fields.
func (b *Builder) Reset() { b.records, b.count = b.records[:0], 0 }
