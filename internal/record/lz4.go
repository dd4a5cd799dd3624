package record

import (
	"encoding/binary"
	"errors"

	"github.com/pierrec/lz4/v4"
)

// The LZ4 frame format: a header, blocks behind their lengths, an end mark.
// Frames are walked here and only the blocks given to the library: its reader
// takes 8 MiB because a header of seven bytes says that blocks may be large.
//
// The checksums of the format are passed over: the batch's CRC-32C covers the
// same bytes.
const (
	lz4Magic      = 0x184d2204
	lz4HeaderSize = 7 // magic, flags, block size, header checksum
	lz4Window     = 64 << 10
	lz4Raw        = 1 << 31 // set in the length of a block that is not compressed

	lz4Version       = 0x40
	lz4VersionMask   = 0xc0
	lz4Independent   = 0x20 // blocks do not refer to earlier ones
	lz4BlockChecksum = 0x10
	lz4ContentSize   = 0x08
	lz4ContentSum    = 0x04
	lz4Unknown       = 0x03 // reserved, and dictionaries, which nobody shares with us

	// lz4Expansion bounds what a block holds: a length grows by 255 a byte.
	lz4Expansion = 255
)

var errLz4Header = errors.New("not the header of a frame")

// lz4Frame is a frame that is being read.
type lz4Frame struct {
	p        []byte // what is left
	flags    byte
	blockMax int
	start    int // where its content begins in the output
}

func unlz4(p []byte, limit int) ([]byte, error) {
	f := lz4Frame{p: p}
	var out []byte
	for {
		if err := f.header(); err != nil {
			return nil, err
		}
		f.start = len(out)
		for {
			var done bool
			var err error
			if out, done, err = f.block(out, limit); err != nil {
				return nil, err
			}
			if done {
				break
			}
		}
		if len(f.p) == 0 {
			return out, nil
		}
	}
}

// take cuts n bytes off, or returns nil.
func (f *lz4Frame) take(n int) []byte {
	if n > len(f.p) {
		return nil
	}
	b := f.p[:n:n]
	f.p = f.p[n:]
	return b
}

func (f *lz4Frame) header() error {
	h := f.take(lz4HeaderSize)
	if h == nil {
		return errTruncated
	}
	f.flags = h[4]
	size := h[5] >> 4
	if binary.LittleEndian.Uint32(h) != lz4Magic || f.flags&lz4VersionMask != lz4Version ||
		f.flags&lz4Unknown != 0 || size < 4 || size > 7 {
		return errLz4Header
	}
	f.blockMax = 1 << (8 + 2*size)
	if f.flags&lz4ContentSize != 0 && f.take(8) == nil {
		return errTruncated
	}
	return nil
}

// block appends the content of the next block to out; done at the end of the frame.
func (f *lz4Frame) block(out []byte, limit int) (_ []byte, done bool, err error) {
	word := f.take(4)
	if word == nil {
		return nil, false, errTruncated
	}
	n := binary.LittleEndian.Uint32(word)
	if n == 0 {
		if f.flags&lz4ContentSum != 0 && f.take(4) == nil {
			return nil, false, errTruncated
		}
		return out, true, nil
	}
	size := int(n &^ lz4Raw)
	if size > f.blockMax {
		return nil, false, errClaim
	}
	data := f.take(size)
	if data == nil || f.flags&lz4BlockChecksum != 0 && f.take(4) == nil {
		return nil, false, errTruncated
	}
	if n&lz4Raw == 0 {
		out, err = f.unpack(out, data, limit)
		return out, false, err
	}
	if size > limit-len(out) {
		return nil, false, ErrLimit
	}
	return append(grow(out, size, limit), data...), false, nil
}

// unpack appends what a compressed block holds. How much that is only the
// decoding tells, so it tries with little room first.
func (f *lz4Frame) unpack(out, data []byte, limit int) ([]byte, error) {
	possible := min(f.blockMax, lz4Expansion*len(data))
	room := min(possible, 4*len(data)+512)
	for {
		room = min(room, limit-len(out))
		if room == 0 {
			return nil, ErrLimit // the library must not be given a buffer of nothing: it writes there
		}
		out = grow(out, room, limit)
		var dict []byte
		if f.flags&lz4Independent == 0 {
			dict = out[max(f.start, len(out)-lz4Window):]
		}
		n, err := lz4.UncompressBlockWithDict(data, out[len(out):len(out)+room], dict)
		switch {
		case err == nil:
			return out[:len(out)+n], nil
		case room == possible:
			return nil, err
		case room == limit-len(out):
			return nil, ErrLimit
		}
		room = min(possible, 4*room)
	}
}
