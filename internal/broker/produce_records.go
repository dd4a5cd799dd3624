package broker

import (
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/wire"
)

// The path of batches that are opened (docs/adr/0005-batches-are-not-opened.md): those of topics with
// produce.validation=records, those of compacted topics, whose records need keys, and those that come
// in another compression than compression.type names. It runs on the connection's reader; as many batches are
// open at once as there are processors, which bounds the memory that bombs can take.

// openFreely is how much a batch may hold to be opened beside others. Of those that hold more, one is open at a time.
const openFreely = 4 << 20

// open returns what a batch holds; done is to be called when that is not needed any more. It does not wait for the account of
// all memory for clients, for its callers hold read buffers of that, each of which another one could wait for.
func (b *Broker) open(batch record.Batch, limit int) (p []byte, done func(), err error) {
	p, err = batch.Open(min(limit, openFreely))
	if !errors.Is(err, record.ErrLimit) || limit <= openFreely {
		return p, func() {}, err
	}
	if err := b.largeOpens.Take(b.ctx, 1, 0, memory.Small); err != nil {
		return nil, nil, err
	}
	most := int64(min(limit, record.MaxDecompressed))
	b.o.Memory.Force(most)
	b.swept(2 * openFreely)
	done = func() {
		made := most
		if err == nil {
			made = int64(len(p))
		}
		p = nil
		b.swept(2 * made) // a buffer that grows leaves as much behind as it is long
		b.o.Memory.Give(most)
		b.largeOpens.Give(1)
	}
	if p, err = batch.Open(limit); err != nil {
		done()
	}
	return p, done, err
}

// checkRecords opens a batch that has passed CheckProduced, checks its records, and returns what is to be
// appended. A greatest timestamp that the header has wrong is set right, as Kafka does: the time index is made of it.
func (s *session) checkRecords(t *config.Topic, l record.Limits, b record.Batch) (record.Batch, error) {
	codec, level := targetCodec(t, b.Codec())
	if codec == b.Codec() && !t.ChecksRecords() {
		return b, nil
	}
	if err := s.b.opens.Take(s.b.ctx, 1, 0, memory.Small); err != nil {
		return nil, err
	}
	defer s.b.opens.Give(1)
	p, done, err := s.b.open(b, int(t.MaxDecompressedBytes))
	if err != nil {
		return nil, err
	}
	defer done()
	greatest, err := b.CheckRecords(p, l, t.Compacted())
	if err != nil {
		return nil, err
	}
	if greatest != b.MaxTimestamp() {
		b.SetMaxTimestamp(greatest)
	}
	if codec == b.Codec() {
		return b, nil
	}
	rebuilt, err := b.Recompressed(p, codec, level)
	if err == nil && len(rebuilt) > int(t.MaxMessageBytes) {
		err = fmt.Errorf("%w: %d bytes once it is compressed by %s, the topic allows %d (max.message.bytes)",
			record.ErrTooLarge, len(rebuilt), codec, t.MaxMessageBytes)
	}
	if err != nil {
		return nil, err
	}
	s.producing.rebuilt += len(rebuilt)
	return rebuilt, nil
}

// targetCodec returns how a batch is compressed in the log of a topic. Where that is the producer's
// own codec the level does not count.
func targetCodec(t *config.Topic, producer record.Codec) (record.Codec, int) {
	switch t.CompressionType {
	case "uncompressed":
		return record.None, record.DefaultLevel
	case "gzip":
		return record.Gzip, int(t.CompressionGzipLevel)
	case "lz4":
		return record.Lz4, int(t.CompressionLZ4Level)
	case "zstd":
		return record.Zstd, int(t.CompressionZstdLevel)
	case "snappy":
		return record.Snappy, record.DefaultLevel
	default:
		return producer, record.DefaultLevel
	}
}

// recordErrors names the records for which a batch was refused, if they are known.
func recordErrors(err error) []wire.RecordError {
	var rejected *record.RejectedError
	if !errors.As(err, &rejected) {
		return nil
	}
	list := make([]wire.RecordError, len(rejected.Records))
	for i, r := range rejected.Records {
		list[i] = wire.RecordError{Index: r.Index, Message: r.Why}
	}
	return list
}
