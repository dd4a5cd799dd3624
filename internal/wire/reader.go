package wire

import (
	"encoding/binary"
	"fmt"
)

// Reader reads the primitive types of Kafka's protocol from B, which shrinks as it
// is read. The first error sticks and every read after it returns zero.
type Reader struct {
	B   []byte
	err error
}

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.B = nil
}

// Span returns the next n bytes.
func (r *Reader) Span(n int) []byte {
	if n < 0 || n > len(r.B) {
		r.fail(ErrTruncated)
		return nil
	}
	p := r.B[:n:n]
	r.B = r.B[n:]
	return p
}

// Int8 reads one byte.
func (r *Reader) Int8() int8 {
	if len(r.B) < 1 {
		r.fail(ErrTruncated)
		return 0
	}
	v := r.B[0]
	r.B = r.B[1:]
	return int8(v)
}

// Int16 reads two bytes.
func (r *Reader) Int16() int16 {
	if len(r.B) < 2 {
		r.fail(ErrTruncated)
		return 0
	}
	v := binary.BigEndian.Uint16(r.B)
	r.B = r.B[2:]
	return int16(v)
}

// Int32 reads four bytes.
func (r *Reader) Int32() int32 {
	if len(r.B) < 4 {
		r.fail(ErrTruncated)
		return 0
	}
	v := binary.BigEndian.Uint32(r.B)
	r.B = r.B[4:]
	return int32(v)
}

// Int64 reads eight bytes.
func (r *Reader) Int64() int64 {
	if len(r.B) < 8 {
		r.fail(ErrTruncated)
		return 0
	}
	v := binary.BigEndian.Uint64(r.B)
	r.B = r.B[8:]
	return int64(v)
}

// UUID reads sixteen bytes.
func (r *Reader) UUID() (id [16]byte) {
	if len(r.B) < 16 {
		r.fail(ErrTruncated)
		return id
	}
	copy(id[:], r.B)
	r.B = r.B[16:]
	return id
}

// Uvarint reads an unsigned varint of 32 bits, at most five bytes long.
func (r *Reader) Uvarint() uint32 {
	if len(r.B) > 0 && r.B[0] < 0x80 {
		v := r.B[0]
		r.B = r.B[1:]
		return uint32(v)
	}
	var v uint64
	for i := 0; i < 5; i++ {
		if i >= len(r.B) {
			r.fail(ErrTruncated)
			return 0
		}
		c := r.B[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if v > 0xffffffff || c == 0 && i > 0 {
				break
			}
			r.B = r.B[i+1:]
			return uint32(v)
		}
	}
	r.fail(fmt.Errorf("%w: a varint that overflows or is longer than it must be", ErrMalformed))
	return 0
}

// length reads the length of a string, of bytes or of an array: -1 is null.
func (r *Reader) length(flexible bool, wide bool) int {
	var n int
	switch {
	case flexible:
		n = int(int64(r.Uvarint()) - 1)
	case wide:
		n = int(r.Int32())
	default:
		n = int(r.Int16())
	}
	if r.err != nil {
		return 0
	}
	if n < -1 {
		r.fail(fmt.Errorf("%w: a length of %d", ErrMalformed, n))
		return 0
	}
	return n
}

func (r *Reader) nullableString() []byte { return r.String(false) }

// String reads a string; null is nil, an empty one is not.
func (r *Reader) String(flexible bool) []byte {
	n := r.length(flexible, false)
	if n < 0 || r.err != nil {
		return nil
	}
	return r.Span(n)
}

// Bytes reads bytes with their length; null is nil, empty ones are not.
func (r *Reader) Bytes(flexible bool) []byte {
	n := r.length(flexible, true)
	if n < 0 || r.err != nil {
		return nil
	}
	return r.Span(n)
}

// Array reads the length of an array whose elements take at least least bytes each,
// and fails if they cannot be there. Null is -1.
func (r *Reader) Array(flexible bool, least int) int {
	n := r.length(flexible, true)
	if n > 0 && int64(n)*int64(least) > int64(len(r.B)) {
		r.fail(fmt.Errorf("%w: %d of at least %d bytes in %d", ErrTooMany, n, least, len(r.B)))
		return 0
	}
	return n
}

// Tags reads tagged fields, which must rise; known, if not nil, is given each one.
func (r *Reader) Tags(known func(tag uint32, value []byte) error) {
	n := r.Uvarint()
	if n == 0 || r.err != nil {
		return
	}
	if int64(n)*2 > int64(len(r.B)) {
		r.fail(fmt.Errorf("%w: %d tagged fields in %d bytes", ErrTooMany, n, len(r.B)))
		return
	}
	last := int64(-1)
	for ; n > 0 && r.err == nil; n-- {
		tag := r.Uvarint()
		value := r.Span(int(r.Uvarint()))
		if r.err != nil {
			return
		}
		if int64(tag) <= last {
			r.fail(fmt.Errorf("%w: tagged field %d after %d", ErrMalformed, tag, last))
			return
		}
		last = int64(tag)
		if known != nil {
			if err := known(tag, value); err != nil {
				r.fail(err)
				return
			}
		}
	}
}
