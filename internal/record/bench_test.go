package record_test

import (
	"fmt"
	"testing"

	"github.com/chronik-stream/chronik/internal/record"
)

// sized returns an uncompressed batch of n bytes of one record.
func sized(b *testing.B, n int) record.Batch {
	builder := record.NewBuilder()
	value := make([]byte, n-record.HeaderSize-12)
	builder.Add(0, nil, value)
	batch, err := builder.Build()
	if err != nil {
		b.Fatal(err)
	}
	return batch
}

var sizes = []int{170, 1 << 10, 16 << 10, 1 << 20}

func BenchmarkCheckProduced(b *testing.B) {
	limits := record.Limits{MaxBytes: 2 << 20, MinTimestamp: -1 << 60, MaxTimestamp: 1 << 60}
	for _, n := range sizes {
		batch := sized(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				if err := batch.CheckProduced(limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCRC(b *testing.B) {
	for _, n := range sizes {
		batch := sized(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				if batch.ComputeCRC() != batch.CRC() {
					b.Fatal("CRC")
				}
			}
		})
	}
}

func BenchmarkRecords(b *testing.B) {
	for _, codec := range codecs {
		builder := record.NewBuilder()
		builder.Codec = codec
		for i := range 150 {
			builder.Add(int64(i), fmt.Appendf(nil, "key-%d", i), halfRandom(100))
		}
		batch, err := builder.Build()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(codec.String(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(builder.Size()))
			for b.Loop() {
				for _, err := range batch.Records(1 << 20) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	value := make([]byte, 100)
	builder := record.NewBuilder()
	b.ReportAllocs()
	for b.Loop() {
		builder.Reset()
		for i := range 100 {
			builder.Add(int64(i), value[:10], value)
		}
		if _, err := builder.Build(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkValidation is what it costs to check a batch by its header, to check each record, and to
// compress it anew as zstd. docs/adr/0005 has the figures.
func BenchmarkValidation(b *testing.B) {
	for _, shape := range []struct{ records, size int }{{16, 1000}, {150, 85}, {1000, 1000}} {
		values := halfRandom(shape.records * shape.size)
		for _, codec := range codecs {
			builder := record.NewBuilder()
			builder.Codec = codec
			for i := range shape.records {
				builder.Add(int64(i), fmt.Appendf(nil, "key-%d", i), values[i*shape.size:][:shape.size])
			}
			batch, err := builder.Build()
			if err != nil {
				b.Fatal(err)
			}
			name := fmt.Sprintf("%dx%d/%s/", shape.records, shape.size, codec)
			checked := func(b *testing.B) []byte {
				p, err := batch.Open(2 << 20)
				if err == nil {
					_, err = batch.CheckRecords(p, record.Limits{}, false)
				}
				if err != nil {
					b.Fatal(err)
				}
				return p
			}
			b.Run(name+"header", func(b *testing.B) {
				for b.Loop() {
					if err := batch.CheckProduced(record.Limits{}); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(name+"records", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					checked(b)
				}
			})
			b.Run(name+"recompress", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := batch.Recompressed(checked(b), record.Zstd, record.DefaultLevel); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
