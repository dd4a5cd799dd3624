package record

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// AppendCompressed appends p, compressed as producers do, to dst.
func AppendCompressed(dst []byte, codec Codec, p []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	switch codec {
	case None:
		return append(dst, p...), nil
	case Snappy:
		return appendXerial(dst, p), nil
	case Gzip:
		z := gzip.NewWriter(out)
		if _, err := z.Write(p); err != nil {
			return nil, err
		}
		return closed(out, z.Close())
	case Lz4:
		z := lz4.NewWriter(out)
		if err := z.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1)); err != nil {
			return nil, err
		}
		if _, err := z.Write(p); err != nil {
			return nil, err
		}
		return closed(out, z.Close())
	case Zstd:
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, err
		}
		return z.EncodeAll(p, dst), nil
	default:
		return nil, fmt.Errorf("%w: codec %d", ErrUnsupportedCodec, codec)
	}
}

// closed returns what a compressor has written once it is closed.
func closed(out *bytes.Buffer, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// appendXerial appends p as the Java library frames it, which every client reads.
func appendXerial(dst, p []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, 1) // version
	dst = binary.BigEndian.AppendUint32(dst, 1) // the least that reads it
	for len(p) > 0 {
		n := min(len(p), xerialBlock)
		block := snappy.Encode(nil, p[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = append(dst, block...)
		p = p[n:]
	}
	return dst
}
