package record

import (
	"iter"
)

// Record is one record of a batch. Key, Value and Headers are views: of the batch
// if it is not compressed, else of the buffer into which it was decompressed.
type Record struct {
	// TimestampDelta is added to the batch's BaseTimestamp; Batch.Timestamp does it.
	TimestampDelta int64
	// OffsetDelta is added to the batch's BaseOffset.
	OffsetDelta int32
	// Key and Value are nil if null, which is not the same as empty.
	Key, Value []byte
	Headers    Headers
}

// Header is a key and a value that travel with a record.
type Header struct {
	Key   string
	Value []byte // nil if null
}

// Headers are the headers of a record, encoded: a view, like a Batch. They were
// checked when the record was read.
type Headers struct {
	count int
	bytes []byte
}

// Len returns how many there are.
func (h Headers) Len() int { return h.count }

// All yields them in their order.
func (h Headers) All() iter.Seq[Header] { return nil }

// Records yields the records of the batch, or an error that ends the iteration.
// A compressed batch is decompressed whole first: ErrLimit if that takes more than limit bytes.
// The CRC is not checked.
func (b Batch) Records(limit int) iter.Seq2[Record, error] { return nil }

// Walk goes through the records and checks their structure: lengths that add up,
// as many records as the header says, offsets that rise and stay within the batch, nothing
// behind the last. It calls visit, if not nil, for each, and ends with its first error.
func (b Batch) Walk(limit int, visit func(Record) error) error { return nil }
