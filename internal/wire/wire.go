// Package wire is Kafka's framing: request and response headers, the ranges of
// versions that Kafka 4.4 serves, and by hand the two requests that carry records,
// Produce and Fetch. All other messages are kmsg's.
//
// Decoding here never allocates by what a frame claims: an array's length is held
// against the bytes that are left and the least size of an element before anything
// is made, and lengths that overflow or run past the frame are errors. Slices that a
// decoder returns alias the frame.
//
// The package keeps no state and starts no goroutine.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// SizeBytes is the length of the size that precedes a frame.
	SizeBytes = 4
	// MinFrame is the length of the part of a header that every request has: key, version, correlation id.
	MinFrame = 8
	// MaxClientID is the longest client id that is taken, in bytes.
	MaxClientID = 1024
)

// Errors of decoding. All end the connection: what follows in the stream cannot be trusted.
var (
	ErrTruncated = errors.New("wire: a field runs past the end of the frame")
	ErrMalformed = errors.New("wire: malformed field")
	ErrTooMany   = errors.New("wire: an array claims more elements than the frame can hold")
)

// Header is a request's header. ClientID aliases the frame and is nil if it was null.
type Header struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      []byte
}

// Prefix reads what every request starts with, whatever its key and version, so
// that an unknown version can be answered. frame lacks the size.
func Prefix(frame []byte) (Header, error) {
	if len(frame) < MinFrame {
		return Header{}, fmt.Errorf("%w: a request of %d bytes", ErrTruncated, len(frame))
	}
	return Header{
		Key:           int16(binary.BigEndian.Uint16(frame)),
		Version:       int16(binary.BigEndian.Uint16(frame[2:])),
		CorrelationID: int32(binary.BigEndian.Uint32(frame[4:])),
	}, nil
}

// ParseHeader completes h, which Prefix has read from frame, and returns the body.
// The client id is an int16 length even in the flexible header, where tags follow it.
func ParseHeader(frame []byte, h *Header) (body []byte, err error) {
	r := Reader{B: frame[MinFrame:]}
	h.ClientID = r.nullableString()
	if Flexible(h.Key, h.Version) {
		r.Tags(nil)
	}
	if r.err != nil {
		return nil, fmt.Errorf("header of key %d version %d: %w", h.Key, h.Version, r.err)
	}
	if len(h.ClientID) > MaxClientID {
		return nil, fmt.Errorf("%w: a client id of %d bytes, more than %d", ErrMalformed, len(h.ClientID), MaxClientID)
	}
	return r.B, nil
}

// BeginResponse appends room for the size and the response header. ApiVersions has
// no tags in its header at any version: a client must be able to read the answer to
// a version the broker does not know.
func BeginResponse(dst []byte, key, version int16, correlationID int32) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if key != apiVersionsKey && Flexible(key, version) {
		dst = append(dst, 0)
	}
	return dst
}

// EndResponse writes the size of the response that began at start; beyond counts the
// bytes of it that are not in dst (records sent from files).
func EndResponse(dst []byte, start, beyond int) {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-SizeBytes+beyond))
}

const apiVersionsKey = 18
