package record

// Builder makes a batch: set the fields, Add records, Build. NewBuilder gives the
// defaults of a plain producer; a Builder is not safe for concurrent use.
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

	count int32
}

// NewBuilder returns a builder of uncompressed batches without a producer id.
func NewBuilder() *Builder {
	return &Builder{
		LeaderEpoch: NoLeaderEpoch, ProducerID: NoProducerID, ProducerEpoch: NoProducerEpoch,
		BaseSequence: NoSequence, LogAppendTime: NoTimestamp,
	}
}

// Add appends a record. A nil key or value is null. All are copied.
func (b *Builder) Add(timestamp int64, key, value []byte, headers ...Header) {}

// Count returns the number of records since the last Reset.
func (b *Builder) Count() int { return int(b.count) }

// Size returns the length of the batch that Build would make without compression.
func (b *Builder) Size() int { return HeaderSize }

// Build returns the batch, in memory of its own. The builder keeps its records until Reset.
func (b *Builder) Build() (Batch, error) { return nil, nil }

// Reset drops the records and keeps the fields.
func (b *Builder) Reset() {}
