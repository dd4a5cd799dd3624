package storage

import (
	"testing"

	"github.com/chronik-stream/chronik/internal/vfs"
)

func TestAppendAndReadBack(t *testing.T) {
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{SegmentBytes: 1000})
	for i := range 20 {
		if base := mustAppend(t, l, 1, simpleBatch(2, 100)); base != int64(2*i) {
			t.Fatalf("base offset %d, want %d", base, 2*i)
		}
	}
	if l.Flushed() != 0 {
		t.Fatalf("flushed %d before any flush", l.Flushed())
	}
	mustFlush(t, d)
	if l.Flushed() != 40 || l.End() != 40 {
		t.Fatalf("flushed %d, end %d, want 40", l.Flushed(), l.End())
	}
	if l.Segments() < 3 {
		t.Fatalf("%d segments", l.Segments())
	}
	all, err := readAll(l, 0)
	if err != nil || len(all) != 20 {
		t.Fatalf("%d batches, %v", len(all), err)
	}
	if err := indexesEqualScan(l); err != nil {
		t.Fatal(err)
	}
}
