package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/chronik-stream/chronik/internal/record"
)

func compressed(t testing.TB, codec record.Codec, p []byte) []byte {
	t.Helper()
	out, err := record.AppendCompressed(nil, codec, p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// halfRandom is content that compresses to about a half.
func halfRandom(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 0))
	p := make([]byte, n)
	for i := 0; i < n; i += 2 {
		p[i] = byte(rng.IntN(256))
	}
	return p
}

func TestTheLimitIsExact(t *testing.T) {
	sizes := []int{1, 511, 512, 513, 4 << 10, 65 << 10, 128 << 10, 200 << 10, 1 << 20, 3<<20 + 1}
	if testing.Short() {
		sizes = sizes[:6]
	}
	for _, codec := range codecs[1:] {
		for _, n := range sizes {
			for kind, content := range map[string][]byte{"zeros": make([]byte, n), "half random": halfRandom(n)} {
				p := compressed(t, codec, content)
				for _, limit := range []int{n, n + 1, 2*n + 1000, record.MaxDecompressed} {
					if out, err := record.Decompress(codec, p, limit); err != nil || !bytes.Equal(out, content) {
						t.Errorf("%s, %d %s, limit %d: %d bytes, %v", codec, n, kind, limit, len(out), err)
					}
				}
				for _, limit := range []int{-1, 0, 1, n / 2, n - 1} {
					if out, err := record.Decompress(codec, p, limit); limit < n && (!errors.Is(err, record.ErrLimit) || out != nil) {
						t.Errorf("%s, %d %s, limit %d: %d bytes, %v", codec, n, kind, limit, len(out), err)
					}
				}
			}
		}
	}
}

func TestNothing(t *testing.T) {
	for _, codec := range codecs {
		out, err := record.Decompress(codec, compressed(t, codec, nil), 100)
		if err != nil || len(out) != 0 {
			t.Errorf("%s: %d bytes, %v", codec, len(out), err)
		}
	}
	for _, codec := range []record.Codec{5, 7, -1} {
		if _, err := record.Decompress(codec, nil, 1); !errors.Is(err, record.ErrUnsupportedCodec) {
			t.Errorf("%s: %v", codec, err)
		}
		if _, err := record.AppendCompressed(nil, codec, nil); !errors.Is(err, record.ErrUnsupportedCodec) {
			t.Errorf("%s: %v", codec, err)
		}
	}
}

// TestBombs decompresses what holds more than any limit: it must stop at the limit, not at the end.
func TestBombs(t *testing.T) {
	size, limits := 128<<20, []int{64 << 10, 1 << 20, 1 << 40}
	if testing.Short() {
		size, limits = 2<<20, limits[:2]
	}
	zeros := make([]byte, size)
	for _, codec := range codecs[1:] {
		p := compressed(t, codec, zeros)
		for _, limit := range limits {
			var err error
			n := allocated(func() { _, err = record.Decompress(codec, p, limit) })
			if !errors.Is(err, record.ErrLimit) {
				t.Errorf("%s, limit %d: %v", codec, limit, err)
			}
			if most := uint64(4*min(limit, record.MaxDecompressed) + 512<<10); n > most {
				t.Errorf("%s, limit %d: %d bytes allocated, at most %d", codec, limit, n, most)
			}
		}
	}
}

// TestClaims decompresses a few bytes that promise much: nothing is allocated on their word.
func TestClaims(t *testing.T) {
	u32 := binary.LittleEndian.AppendUint32
	gz := compressed(t, record.Gzip, []byte("x"))
	binary.LittleEndian.PutUint32(gz[len(gz)-4:], 1<<30)
	xerial := append([]byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"), 0x7f, 0xff, 0xff, 0xff)
	for name, c := range map[string]struct {
		codec record.Codec
		p     []byte
	}{
		"gzip that claims 1 GiB":                  {record.Gzip, gz},
		"snappy that claims 1 GiB":                {record.Snappy, append(binary.AppendUvarint(nil, 1<<30), make([]byte, 20)...)},
		"snappy that claims 32 MiB":               {record.Snappy, append(binary.AppendUvarint(nil, 32<<20), make([]byte, 20)...)},
		"snappy that claims 2^40":                 {record.Snappy, binary.AppendUvarint(nil, 1<<40)},
		"xerial block of 2 GiB":                   {record.Snappy, xerial},
		"xerial without a length":                 {record.Snappy, xerial[:18]},
		"lz4 with blocks of 4 MiB":                {record.Lz4, []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 9, 0, 0, 0, 0xf0, 255, 255, 255, 255, 255, 255, 0, 0}},
		"lz4 block of 4 MiB":                      {record.Lz4, []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 0, 0, 0x40, 0}},
		"lz4 block beyond its size":               {record.Lz4, []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82, 1, 0, 1, 0}},
		"lz4 with a dictionary":                   {record.Lz4, []byte{0x04, 0x22, 0x4d, 0x18, 0x61, 0x40, 0x82, 1, 2, 3, 4}},
		"lz4 of another version":                  {record.Lz4, []byte{0x04, 0x22, 0x4d, 0x18, 0xa0, 0x40, 0x82, 0, 0, 0, 0}},
		"lz4 header alone":                        {record.Lz4, []byte{0x04, 0x22, 0x4d, 0x18, 0x68, 0x40, 0x82}},
		"lz4 without an end":                      {record.Lz4, []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82}},
		"lz4 of nothing":                          {record.Lz4, nil},
		"zstd with a window of 512 MiB":           {record.Zstd, append(u32(nil, 0xfd2fb528), 0x00, 19<<3, 1, 0, 0)},
		"zstd that claims 1 GiB":                  {record.Zstd, append(u32(append(u32(nil, 0xfd2fb528), 0xa0), 1<<30), 1, 0, 0)},
		"zstd that claims 1 MiB":                  {record.Zstd, append(u32(append(u32(nil, 0xfd2fb528), 0xa0), 1<<20), 3, 0, 0x10, 0)},
		"zstd block of a type that is none":       {record.Zstd, append(u32(nil, 0xfd2fb528), 0x00, 1<<3, 7, 0, 0)},
		"zstd block beyond the end":               {record.Zstd, append(u32(nil, 0xfd2fb528), 0x00, 1<<3, 0x05, 0x10, 0)},
		"zstd block of 2 MiB":                     {record.Zstd, append(u32(nil, 0xfd2fb528), 0x00, 1<<3, 0xfd, 0xff, 0xff)},
		"zstd without its checksum":               {record.Zstd, append(u32(nil, 0xfd2fb528), 0x04, 1<<3, 1, 0, 0)},
		"zstd with a skippable frame and no more": {record.Zstd, u32(u32(nil, 0x184d2a50), 1<<31)},
	} {
		var err error
		n := allocated(func() { _, err = record.Decompress(c.codec, c.p, record.MaxDecompressed) })
		if !errors.Is(err, record.ErrInvalidRecord) {
			t.Errorf("%s: %v", name, err)
		}
		if n > 256<<10 { // a block of zstd, or a reader of gzip
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(c.p))
		}
	}
}

// TestFramesOfOthers reads framings that our own compressors do not make.
func TestFramesOfOthers(t *testing.T) {
	content := append(halfRandom(100<<10), make([]byte, 100<<10)...)
	check := func(name string, codec record.Codec, p, want []byte) {
		t.Helper()
		if out, err := record.Decompress(codec, p, len(want)); err != nil || !bytes.Equal(out, want) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(out), len(want), err)
		}
		for _, n := range []int{len(p) - 1, len(p) / 3, 5} {
			if _, err := record.Decompress(codec, p[:n], len(want)); !errors.Is(err, record.ErrInvalidRecord) {
				t.Errorf("%s, %d of %d bytes: %v", name, n, len(p), err)
			}
		}
	}
	twice := append(bytes.Clone(content), content...)

	check("a bare snappy block", record.Snappy, snappy.Encode(nil, content), content)

	var gz bytes.Buffer
	for range 2 {
		z := gzip.NewWriter(&gz)
		z.Write(content)
		z.Close()
	}
	check("two gzip members", record.Gzip, gz.Bytes(), twice)

	for _, size := range []lz4.BlockSize{lz4.Block64Kb, lz4.Block256Kb, lz4.Block1Mb, lz4.Block4Mb} {
		for _, sums := range []bool{false, true} {
			var b bytes.Buffer
			z := lz4.NewWriter(&b)
			opts := []lz4.Option{lz4.ConcurrencyOption(1), lz4.BlockSizeOption(size), lz4.BlockChecksumOption(sums), lz4.ChecksumOption(sums)}
			if sums {
				opts = append(opts, lz4.SizeOption(uint64(len(content))))
			}
			if err := z.Apply(opts...); err != nil {
				t.Fatal(err)
			}
			z.Write(content)
			z.Close()
			check(fmt.Sprintf("lz4, blocks of %v, checksums %v", size, sums), record.Lz4, b.Bytes(), content)
		}
	}
	one := compressed(t, record.Lz4, content)
	check("two lz4 frames", record.Lz4, append(bytes.Clone(one), one...), twice)

	one = compressed(t, record.Zstd, content)
	check("two zstd frames", record.Zstd, append(bytes.Clone(one), one...), twice)
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedBetterCompression} {
		var b bytes.Buffer
		z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		z.Write(content[:1000])
		z.Flush()
		z.Write(content[1000:])
		z.Close()
		check(fmt.Sprintf("a zstd stream, %v", level), record.Zstd, b.Bytes(), content)
	}
}

// TestLinkedLz4Blocks reads blocks that refer to the ones before them.
func TestLinkedLz4Blocks(t *testing.T) {
	first := bytes.Repeat(halfRandom(1000), 66)[:64<<10]
	block := make([]byte, lz4.CompressBlockBound(len(first)))
	var c lz4.Compressor
	n, err := c.CompressBlock(first, block)
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	frame := []byte{0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0}
	frame = binary.LittleEndian.AppendUint32(frame, uint32(n))
	frame = append(frame, block[:n]...)
	// One literal, a match of 4+15+255+100 bytes from 64000 back, five literals.
	second := []byte{0x1f, 'x', 0x00, 0xfa, 255, 100, 0x50, 'a', 'b', 'c', 'd', 'e'}
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(second)))
	frame = append(frame, second...)
	frame = binary.LittleEndian.AppendUint32(frame, 0)

	want := append(bytes.Clone(first), 'x')
	from := len(want) - 64000
	want = append(want, want[from:from+4+15+255+100]...)
	want = append(want, "abcde"...)
	for _, limit := range []int{len(want), 1 << 20} {
		if out, err := record.Decompress(record.Lz4, frame, limit); err != nil || !bytes.Equal(out, want) {
			t.Errorf("limit %d: %d of %d bytes, %v", limit, len(out), len(want), err)
		}
	}
}

// TestInsideAndOutsideOfBubbles decompresses in two bubbles and outside: nothing
// that a bubble makes, a channel above all, may stay behind for others.
func TestInsideAndOutsideOfBubbles(t *testing.T) {
	content := halfRandom(10 << 10)
	all := func(t *testing.T) {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for _, codec := range codecs {
					p, err := record.AppendCompressed(nil, codec, content)
					if err != nil {
						t.Error(err)
					}
					if out, err := record.Decompress(codec, p, 1<<20); err != nil || !bytes.Equal(out, content) {
						t.Errorf("%s: %v", codec, err)
					}
				}
			})
		}
		wg.Wait()
	}
	synctest.Test(t, all)
	all(t)
	synctest.Test(t, all)
}
