package wire

import "encoding/binary"

// The functions below append one value of a primitive type of the protocol.

func appendInt16(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) }

func appendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }

func appendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// appendLen appends the length of an array or of bytes; -1 is null.
func appendLen(dst []byte, n int, flexible bool) []byte {
	if flexible {
		return binary.AppendUvarint(dst, uint64(n+1))
	}
	return appendInt32(dst, int32(n))
}

func appendString[S ~[]byte | ~string](dst []byte, s S, flexible bool) []byte {
	if flexible {
		dst = binary.AppendUvarint(dst, uint64(len(s)+1))
	} else {
		dst = appendInt16(dst, int16(len(s)))
	}
	return append(dst, s...)
}

// appendNullable appends s, or null if it is empty.
func appendNullable(dst []byte, s string, flexible bool) []byte {
	switch {
	case s != "":
		return appendString(dst, s, flexible)
	case flexible:
		return append(dst, 0)
	default:
		return append(dst, 0xff, 0xff)
	}
}

// LeaderHint tells a client who leads a partition, next to an error (KIP-951). Node -1 is no hint.
type LeaderHint struct {
	Node, Epoch int32
}

// NoLeaderHint is the hint that is left out.
var NoLeaderHint = LeaderHint{-1, -1}

// Endpoint is where clients reach a broker that a hint names.
type Endpoint struct {
	Node int32
	Host string
	Port int32
	Rack string
}

// appendHint appends the hint as tagged field tag; 11 bytes with its tag and size.
func appendHint(dst []byte, tag byte, h LeaderHint) []byte {
	dst = append(dst, tag, 9)
	dst = appendInt32(dst, h.Node)
	dst = appendInt32(dst, h.Epoch)
	return append(dst, 0)
}

// appendEndpoints appends the tagged fields at the end of a Produce or Fetch response: none, or
// the endpoints as tag 0.
func appendEndpoints(dst []byte, endpoints []Endpoint) []byte {
	if len(endpoints) == 0 {
		return append(dst, 0)
	}
	dst = append(dst, 1, 0)
	size := uvarintLen(len(endpoints) + 1)
	for _, e := range endpoints {
		size += 4 + uvarintLen(len(e.Host)+1) + len(e.Host) + 4 + 1
		if e.Rack != "" {
			size += uvarintLen(len(e.Rack)+1) + len(e.Rack)
		} else {
			size++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(size))
	dst = appendLen(dst, len(endpoints), true)
	for _, e := range endpoints {
		dst = appendInt32(dst, e.Node)
		dst = appendString(dst, e.Host, true)
		dst = appendInt32(dst, e.Port)
		dst = appendNullable(dst, e.Rack, true)
		dst = append(dst, 0)
	}
	return dst
}

func uvarintLen(v int) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
