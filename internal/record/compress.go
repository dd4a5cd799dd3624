package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// DefaultLevel is the level of a codec where nobody has said another one.
const DefaultLevel = math.MinInt

// Kafka's default levels, and what compression.*.level allows.
const (
	defaultGzipLevel = gzip.DefaultCompression // -1
	defaultLz4Level  = 9
	defaultZstdLevel = 3

	maxGzipLevel = 9
)

// zstdWindow bounds how far back a zstd frame refers, and so what its readers need. Batches are
// seldom larger.
const zstdWindow = 1 << 20

// AppendCompressed appends p, compressed as producers do, to dst.
func AppendCompressed(dst []byte, codec Codec, p []byte) ([]byte, error) {
	return AppendCompressedLevel(dst, codec, DefaultLevel, p)
}

// AppendCompressedLevel is AppendCompressed at a level in the sense of Kafka's compression.gzip.level,
// compression.lz4.level and compression.zstd.level; one beyond those is the nearest. Codecs
// without levels take any.
func AppendCompressedLevel(dst []byte, codec Codec, level int, p []byte) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, p...), nil
	case Snappy:
		return appendXerial(dst, p), nil
	case Gzip:
		return appendGzip(dst, level, p)
	case Lz4:
		return appendLz4(dst, level, p)
	case Zstd:
		return appendZstd(dst, level, p)
	default:
		return nil, fmt.Errorf("%w: codec %d", ErrUnsupportedCodec, codec)
	}
}

// gzipWriters are compressors that are not in use, by their levels from -1 on.
var gzipWriters [maxGzipLevel + 2]sync.Pool

func appendGzip(dst []byte, level int, p []byte) ([]byte, error) {
	if level == DefaultLevel {
		level = defaultGzipLevel
	}
	level = min(max(level, -1), maxGzipLevel)
	pool := &gzipWriters[level+1]
	out := bytes.NewBuffer(dst)
	z, _ := pool.Get().(*gzip.Writer)
	if z == nil {
		var err error
		if z, err = gzip.NewWriterLevel(out, level); err != nil {
			return nil, err
		}
	} else {
		z.Reset(out)
	}
	_, err := z.Write(p)
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	z.Reset(nil)
	pool.Put(z)
	return out.Bytes(), err
}

// lz4Levels are the library's, from 1 on.
var lz4Levels = [...]lz4.CompressionLevel{lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5, lz4.Level6, lz4.Level7, lz4.Level8, lz4.Level9}

var lz4Writers = sync.Pool{New: func() any { return lz4.NewWriter(nil) }}

// appendLz4 takes Kafka's default level, 9, for the fast compressor, as Kafka does, and the
// others for the one that searches longer.
func appendLz4(dst []byte, level int, p []byte) ([]byte, error) {
	depth := lz4.Fast
	if level != DefaultLevel && level != defaultLz4Level {
		depth = lz4Levels[min(max(level, 1), len(lz4Levels))-1]
	}
	out := bytes.NewBuffer(dst)
	z := lz4Writers.Get().(*lz4.Writer)
	z.Reset(out)
	err := z.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1), lz4.CompressionLevelOption(depth))
	if err == nil {
		_, err = z.Write(p)
	}
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	z.Reset(nil)
	lz4Writers.Put(z)
	return out.Bytes(), err
}

// zstdWriters are compressors that are not in use, by the library's levels. They work on their caller's
// goroutine and hold no channel.
var zstdWriters [zstd.SpeedBestCompression + 1]sync.Pool

func appendZstd(dst []byte, level int, p []byte) ([]byte, error) {
	if level == DefaultLevel {
		level = defaultZstdLevel
	}
	speed := zstd.EncoderLevelFromZstd(level)
	pool := &zstdWriters[speed]
	z, _ := pool.Get().(*zstd.Encoder)
	if z == nil {
		var err error
		z, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderCRC(false))
		if err != nil {
			return nil, err
		}
	}
	out := bytes.NewBuffer(dst)
	z.ResetContentSize(out, int64(len(p)))
	_, err := z.Write(p)
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	z.Reset(nil)
	pool.Put(z)
	return out.Bytes(), err
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
