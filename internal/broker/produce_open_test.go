package broker

import (
	"errors"
	"testing"

	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/record"
)

// TestBombsAreOpenedOneByOne: a batch that holds much is charged for it while it is open, and keeps the next such one
// waiting; small ones pass.
func TestBombsAreOpenedOneByOne(t *testing.T) {
	inBox(t, func(t *testing.T, x *box) {
		b := x.broker
		small, bomb := compressedBatch(t, 1000), compressedBatch(t, openFreely+1)
		p, done, err := b.open(bomb, 2*openFreely)
		x.must(err)
		if len(p) <= openFreely {
			t.Errorf("%d bytes", len(p))
		}
		wantEqual(t, "memory taken", b.o.Memory.Used(), 2*openFreely)
		if b.largeOpens.TryTake(1, 0, memory.Small) {
			t.Error("a second one would be opened beside it")
		}
		_, smallDone, err := b.open(small, 2*openFreely)
		x.must(err)
		smallDone()
		done()
		wantEqual(t, "memory taken", b.o.Memory.Used(), 0)
		if _, _, err := b.open(bomb, openFreely+1); !errors.Is(err, record.ErrLimit) {
			t.Errorf("beyond the limit: %v", err)
		}
		wantEqual(t, "memory taken", b.o.Memory.Used(), 0)
		wantEqual(t, "open", b.largeOpens.Used(), 0)
	})
}

// compressedBatch is a zstd batch of one record of n zeros.
func compressedBatch(t *testing.T, n int) record.Batch {
	t.Helper()
	r := record.NewBuilder()
	r.Codec = record.Zstd
	r.Add(0, nil, make([]byte, n))
	b, err := r.Build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
