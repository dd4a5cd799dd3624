package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
)

// MaxDecompressed is the most that Decompress ever returns.
const MaxDecompressed = 32 << 20

// Decompress returns what p holds, in memory of its own; for None, p itself.
// Memory is taken as output arrives, not because a header promises it. ErrLimit: it would be more than
// limit bytes, or than MaxDecompressed; ErrInvalidRecord: p is not what codec makes.
func Decompress(codec Codec, p []byte, limit int) ([]byte, error) {
	limit = max(0, min(limit, MaxDecompressed))
	var out []byte
	var err error
	switch codec {
	case None:
		return p, nil
	case Gzip:
		out, err = gunzip(p, limit)
	case Snappy:
		out, err = unsnappy(p, limit)
	case Lz4:
		out, err = unlz4(p, limit)
	case Zstd:
		out, err = unzstd(p, limit)
	default:
		return nil, fmt.Errorf("%w: codec %d", ErrUnsupportedCodec, codec)
	}
	switch {
	case errors.Is(err, ErrLimit):
		return nil, fmt.Errorf("%w: %s of %d bytes holds more than %d", ErrLimit, codec, len(p), limit)
	case err != nil:
		return nil, fmt.Errorf("%w: %s of %d bytes: %w", ErrInvalidRecord, codec, len(p), err)
	case len(out) < cap(out)/2:
		return slices.Clone(out), nil // who keeps a record need not keep the room
	}
	return out, nil
}

var (
	errClaim     = errors.New("a size that so few bytes cannot hold")
	errTruncated = errors.New("ends too early")
)

// grow returns out with room for n more bytes, twice as large if it must move,
// but not beyond limit for that alone.
func grow(out []byte, n, limit int) []byte {
	if n <= cap(out)-len(out) {
		return out
	}
	moved := make([]byte, len(out), max(len(out)+n, min(2*cap(out), limit)))
	copy(moved, out)
	return moved
}

var gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}

func gunzip(p []byte, limit int) ([]byte, error) {
	z := gzipReaders.Get().(*gzip.Reader)
	defer gzipReaders.Put(z)
	if err := z.Reset(bytes.NewReader(p)); err != nil {
		return nil, err
	}
	out := make([]byte, 0, min(limit, 4*len(p))+1)
	for {
		// One byte more than the limit tells a full output from one that goes on.
		out = grow(out, 1, limit+1)
		n, err := z.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case len(out) > limit:
			return nil, ErrLimit
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, err
		}
	}
}

// xerialMagic begins the framing of the Java library: then two versions of four
// bytes, then blocks, each behind its length. Others send one bare block.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const (
	xerialHeader = 16
	xerialBlock  = 32 << 10

	// snappyExpansion bounds what a block holds: a copy of 64 bytes takes 3.
	snappyExpansion = 22
)

func unsnappy(p []byte, limit int) ([]byte, error) {
	if len(p) < xerialHeader || !bytes.HasPrefix(p, xerialMagic) {
		return appendSnappy(nil, p, limit)
	}
	var out []byte
	for p = p[xerialHeader:]; len(p) > 0; {
		if len(p) < 4 {
			return nil, errTruncated
		}
		n := binary.BigEndian.Uint32(p)
		p = p[4:]
		if uint64(n) > uint64(len(p)) {
			return nil, errTruncated
		}
		var err error
		if out, err = appendSnappy(out, p[:n], limit); err != nil {
			return nil, err
		}
		p = p[n:]
	}
	return out, nil
}

// appendSnappy appends what one block holds to out.
func appendSnappy(out, block []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	switch {
	case err != nil:
		return nil, err
	case n > snappyExpansion*len(block):
		return nil, errClaim
	case n > limit-len(out):
		return nil, ErrLimit
	}
	out = grow(out, n, limit)
	if _, err = snappy.Decode(out[len(out):len(out)+n], block); err != nil {
		return nil, err
	}
	return out[:len(out)+n], nil
}
