package record

import (
	"errors"
	"fmt"
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
func (h Headers) All() iter.Seq[Header] {
	return func(yield func(Header) bool) {
		r := reader{p: h.bytes}
		for range h.count {
			key, value := r.bytes(), r.bytes()
			if r.bad != "" || !yield(Header{Key: string(key), Value: value}) {
				return
			}
		}
	}
}

// errStop ends a Walk whose consumer wants no more.
var errStop = errors.New("record: stop")

// Records yields the records of the batch; an error ends the iteration. A
// compressed batch is decompressed whole first: ErrLimit if that takes more than
// limit bytes, ErrInvalidRecord if it cannot be done or the records do not add up. The
// CRC is not looked at: Check is for that.
func (b Batch) Records(limit int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		err := b.Walk(limit, func(r Record) error {
			if !yield(r, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && err != errStop {
			yield(Record{}, err)
		}
	}
}

// Walk goes through the records and checks their structure: lengths that add up,
// as many records as the header says, offsets that rise and stay within the batch,
// nothing behind the last. It calls visit, unless nil, for each, and ends with the
// first error. It decompresses and fails as Records does.
func (b Batch) Walk(limit int, visit func(Record) error) error {
	p, err := b.Open(limit)
	if err != nil {
		return err
	}
	return b.walk(p, func(r Record, _ []byte) error {
		if visit == nil {
			return nil
		}
		return visit(r)
	})
}

// Open returns the records as they are encoded, decompressed if they are compressed. It fails as Records does.
func (b Batch) Open(limit int) ([]byte, error) {
	p := b.Payload()
	if codec := b.Codec(); codec != None && len(p) > 0 { // compaction may leave a batch of nothing
		return Decompress(codec, p, limit)
	}
	return p, nil
}

// walk is Walk over what Open has returned; visit gets the bytes of each record, too.
func (b Batch) walk(p []byte, visit func(r Record, whole []byte) error) error {
	last, rest := int32(-1), reader{p: p}
	for i := range b.Count() {
		before := rest.p
		r := rest.record()
		switch {
		case rest.bad != "":
			return fmt.Errorf("%w: record %d of %d: %s", ErrInvalidRecord, i, b.Count(), rest.bad)
		case r.OffsetDelta <= last || r.OffsetDelta > b.LastOffsetDelta():
			return fmt.Errorf("%w: record %d of %d: offset delta %d follows %d, the batch ends at %d",
				ErrInvalidRecord, i, b.Count(), r.OffsetDelta, last, b.LastOffsetDelta())
		}
		last = r.OffsetDelta
		if err := visit(r, before[:len(before)-len(rest.p)]); err != nil {
			return err
		}
	}
	if len(rest.p) > 0 {
		return fmt.Errorf("%w: %d bytes follow the last of %d records", ErrInvalidRecord, len(rest.p), b.Count())
	}
	return nil
}

// reader takes encoded values off p. What it finds wrong first stays in bad.
type reader struct {
	p   []byte
	bad string
}

func (r *reader) fail(what string) {
	if r.bad == "" {
		r.bad = what
	}
	r.p = nil
}

// varlong takes a zigzag varint of at most 64 bits. Most are of one byte.
func (r *reader) varlong() int64 {
	if len(r.p) > 0 && r.p[0] < 0x80 {
		u := r.p[0]
		r.p = r.p[1:]
		return int64(u>>1) ^ -int64(u&1)
	}
	return r.longVarlong()
}

// longVarlong takes one of more than a byte.
func (r *reader) longVarlong() int64 {
	var u uint64
	for i, c := range r.p {
		if i == 9 && c > 1 {
			r.fail("varint of more than 64 bits")
			return 0
		}
		u |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.p = r.p[i+1:]
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	r.fail("varint without an end")
	return 0
}

// varint takes a zigzag varint of at most 32 bits.
func (r *reader) varint() int32 {
	if len(r.p) > 0 && r.p[0] < 0x80 {
		u := r.p[0]
		r.p = r.p[1:]
		return int32(u>>1) ^ -int32(u&1)
	}
	return r.longVarint()
}

// longVarint takes one of more than a byte.
func (r *reader) longVarint() int32 {
	before := len(r.p)
	v := r.longVarlong()
	if int64(int32(v)) != v || before-len(r.p) > 5 && r.bad == "" {
		r.fail("varint of more than 32 bits")
		return 0
	}
	return int32(v)
}

// bytes takes a length and so many bytes; nil for the length -1.
func (r *reader) bytes() []byte {
	n := r.varint()
	switch {
	case n == -1 || r.bad != "":
		return nil
	case n < 0:
		r.fail("negative length")
		return nil
	case int(n) > len(r.p):
		r.fail("length beyond the end")
		return nil
	}
	b := r.p[:n:n]
	r.p = r.p[n:]
	return b
}

// record takes a record, which must fill its length.
func (r *reader) record() Record {
	body := reader{p: r.bytes(), bad: r.bad}
	if body.bad == "" && len(body.p) == 0 {
		body.fail("empty record")
	}
	if len(body.p) > 0 {
		body.p = body.p[1:] // attributes: no bit has a meaning yet
	}
	rec := Record{
		TimestampDelta: body.varlong(),
		OffsetDelta:    body.varint(),
		Key:            body.bytes(),
		Value:          body.bytes(),
		Headers:        body.headers(),
	}
	if len(body.p) > 0 {
		body.fail("bytes behind the headers")
	}
	r.bad = body.bad
	return rec
}

// headers takes and checks the headers of a record without keeping them.
func (r *reader) headers() Headers {
	n := r.varint()
	if n < 0 || int(n) > len(r.p)/2 { // the smallest header is two lengths
		r.fail("impossible number of headers")
		return Headers{}
	}
	before := r.p
	for range n {
		if key := r.bytes(); key == nil && r.bad == "" {
			r.fail("header without a key")
		}
		r.bytes()
		if r.bad != "" {
			return Headers{}
		}
	}
	return Headers{count: int(n), bytes: before[:len(before)-len(r.p)]}
}
