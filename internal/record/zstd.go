package record

import (
	"errors"

	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is the greatest window of a zstd frame that is accepted.
const maxZstdWindow = 8 << 20

// zstdBlock is the most that one block of a zstd frame holds.
const zstdBlock = 128 << 10

var errZstdBlock = errors.New("a block of a type that is none")

// zstdFrames decodes into the buffer it is given and no further. It is made here,
// not when first needed: it holds a channel, which must not belong to the
// testing/synctest bubble that happens to come first.
var zstdFrames = newZstd()

func newZstd() *zstd.Decoder {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0), // as many at once as there are processors
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow),
		zstd.WithDecoderMaxMemory(MaxDecompressed+zstdBlock),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("record: options of the zstd decoder: " + err.Error())
	}
	return d
}

// unzstd gives the decoder as much room as the blocks of p can fill, but not more
// than a block beyond limit: then a decoder that runs out of room has made more
// than limit bytes, which tells that case from damage.
func unzstd(p []byte, limit int) ([]byte, error) {
	most, least, err := zstdBound(p)
	if err != nil {
		return nil, err
	}
	if least > limit {
		return nil, ErrLimit
	}
	room := min(most, limit+zstdBlock)
	out, err := zstdFrames.DecodeAll(p, make([]byte, 0, room))
	switch {
	case len(out) > limit, errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, ErrLimit
	case err != nil:
		return nil, err
	}
	return out, nil
}

// zstdBound returns how much the frames of p can hold, by the headers of their
// blocks and by what the frames say of themselves, if that is possible; and how much they hold at least, if
// what they say is true.
func zstdBound(p []byte) (total, least int, err error) {
	for len(p) > 0 {
		var h zstd.Header
		if err := h.Decode(p); err != nil {
			return 0, 0, err
		}
		if h.Skippable {
			size := h.HeaderSize + int(h.SkippableSize)
			if size > len(p) {
				return 0, 0, errTruncated
			}
			p = p[size:]
			continue
		}
		most, rest, err := zstdBlocks(p[h.HeaderSize:])
		if err != nil {
			return 0, 0, err
		}
		if h.HasCheckSum {
			if len(rest) < 4 {
				return 0, 0, errTruncated
			}
			rest = rest[4:]
		}
		if h.HasFCS {
			if h.FrameContentSize > uint64(most) {
				return 0, 0, errClaim
			}
			most = int(h.FrameContentSize)
			least += most
		}
		total, p = total+most, rest
	}
	return total, least, nil
}

// zstdBlocks returns how much the blocks of a frame can hold, and what follows them.
func zstdBlocks(p []byte) (most int, rest []byte, err error) {
	const raw, rle, compressed = 0, 1, 2
	for last := false; !last; {
		if len(p) < 3 {
			return 0, nil, errTruncated
		}
		header := uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16
		p = p[3:]
		size := int(header >> 3)
		if size > zstdBlock {
			return 0, nil, errClaim
		}
		last = header&1 != 0
		switch header >> 1 & 3 {
		case raw:
			most += size
		case rle:
			most += size
			size = 1
		case compressed:
			most += zstdBlock
		default:
			return 0, nil, errZstdBlock
		}
		if size > len(p) {
			return 0, nil, errTruncated
		}
		p = p[size:]
	}
	return most, p, nil
}
