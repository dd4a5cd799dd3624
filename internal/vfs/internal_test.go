package vfs

import "testing"

// TestWhatIsRememberedIsBounded writes to files that nobody syncs.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	for name, step := range map[string]int64{"appends": 100, "overwrites": 0, "pages apart": 2 * pageSize} {
		f := &memFile{}
		bytes, off := 0, int64(0)
		for range 3 * opsMax {
			f.writeAt(make([]byte, 100), off)
			off += step
		}
		for _, op := range f.ops {
			bytes += len(op.data)
		}
		pages := 0
		for _, p := range f.pages {
			if p != nil {
				pages++
			}
		}
		if most := opsMax + 2*pages; len(f.ops) > most || bytes > 100*opsMax+3*pages*pageSize {
			t.Errorf("%s: %d operations of %d bytes are remembered of a file of %d pages", name, len(f.ops), bytes, pages)
		}
	}
}
