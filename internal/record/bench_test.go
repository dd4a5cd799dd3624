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
