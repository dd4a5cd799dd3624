package storage

import (
	"fmt"
	"hash/crc32"
	"testing"
)

// FuzzSideFiles gives arbitrary bytes to all that reads the small files beside the segments, as they stand and, where a file has a
// checksum, behind a right one: nothing panics, and what is read is the same when it is written and read again.
func FuzzSideFiles(f *testing.F) {
	f.Add([]byte("0\n1\n0 0\n"))
	f.Add(encodePartitionMetadata([16]byte{1, 2, 3}))
	f.Add((&Meta{}).encode())
	f.Add((&checkpoint{}).encode(nil))
	f.Add([]byte("version: 1\nnode.id=1\ncluster.id=a\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if epochs, err := DecodeEpochs(p); err == nil {
			if again, err := DecodeEpochs(encodeEpochs(epochs)); err != nil || fmt.Sprint(again) != fmt.Sprint(epochs) {
				t.Errorf("epochs %v, then %v: %v", epochs, again, err)
			}
		}
		if id, err := DecodePartitionMetadata(p); err == nil {
			if again, err := DecodePartitionMetadata(encodePartitionMetadata(id)); err != nil || again != id {
				t.Errorf("topic id %x, then %x: %v", id, again, err)
			}
		}
		for _, body := range []string{string(p), fmt.Sprintf("%scrc32c=%08x\n", p, crc32.Checksum(p, castagnoli))} {
			if m, err := decodeMeta([]byte(body)); err == nil {
				if _, err := decodeMeta(m.encode()); err != nil {
					t.Errorf("meta.properties %q: %v", m.encode(), err)
				}
			}
		}
		for _, body := range []string{string(p), fmt.Sprintf("%scrc32c %08x\n", p, crc32.Checksum(p, castagnoli))} {
			_, _ = decodeCheckpoint([]byte(body))
		}
	})
}
