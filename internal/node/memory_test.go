package node

import "testing"

func TestClientMemory(t *testing.T) {
	for _, x := range []struct{ bytes, limit, want int64 }{
		{-1, 0, 64 << 20},         // neither is set
		{-1, 1 << 30, 64 << 20},   // a quarter of the limit is more
		{-1, 128 << 20, 32 << 20}, // and less
		{200 << 20, 400 << 20, 100 << 20},
		{200 << 20, 0, 200 << 20},
		{-1, 16 << 20, 8 << 20}, // what a handful of clients needs
		{0, 0, 8 << 20},
	} {
		if got := clientMemory(x.bytes, x.limit).Limit(); got != x.want {
			t.Errorf("queued.max.request.bytes=%d, memory.limit=%d: %d, want %d", x.bytes, x.limit, got, x.want)
		}
	}
}
