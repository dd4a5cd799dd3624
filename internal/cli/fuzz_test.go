package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// FuzzDump gives arbitrary files to dump-log. For machines every line it writes is an object; it shows the same places that cannot be
// read in every format, and ends.
func FuzzDump(f *testing.F) {
	names, err := filepath.Glob("../record/testdata/golden/*.batch")
	if err != nil || len(names) == 0 {
		f.Fatal(len(names), err)
	}
	for _, name := range names[:min(len(names), 6)] {
		p, err := vfs.ReadFile(vfs.OS{}, name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p, true)
		f.Add(p[:len(p)-1], false)
	}
	f.Fuzz(func(t *testing.T, p []byte, offsets bool) {
		fsys := vfs.NewMem()
		if err := fsys.MkdirAll("d"); err != nil {
			t.Fatal(err)
		}
		const path = "d/00000000000000000000.log"
		for _, name := range []string{path, "d/00000000000000000000.index", "d/00000000000000000000.timeindex"} {
			file, err := fsys.Create(name)
			if err == nil {
				_, err = file.WriteAt(p, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			file.Close()
		}
		var bad []int
		for _, format := range []string{"table", "json", "name"} {
			var out bytes.Buffer
			d := &dump{fs: fsys, out: &out, format: format, records: !offsets, offsets: offsets}
			if err := d.segment(path, 0); err != nil {
				t.Fatal(err)
			}
			bad = append(bad, d.bad)
			if format != "json" {
				continue
			}
			for line := range strings.Lines(out.String()) {
				if !json.Valid([]byte(line)) {
					t.Fatalf("no object: %q", line)
				}
			}
		}
		if bad[0] != bad[1] || bad[0] != bad[2] {
			t.Fatalf("places that cannot be read: %v", bad)
		}
		d := &dump{fs: fsys, out: io.Discard, format: "json"}
		if err := d.verify(path); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzWhere: a place in a log as a person writes it is one, and lies within the log, or an error.
func FuzzWhere(f *testing.F) {
	for _, text := range []string{"start", "end", "-5", "+7", "100", "@2026-01-02T03:04:05Z", "-1h", "@1700000000000", "end-3"} {
		f.Add(text)
	}
	now := time.UnixMilli(1_700_000_000_000)
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := parseWhere("--offset", text, now)
		if err != nil {
			if err.Error() == "" {
				t.Error("no reason is given")
			}
			return
		}
		if at := spec.resolve(10, 20, 15); at < 10 || at > 20 {
			t.Errorf("%q is offset %d of 10 to 20", text, at)
		}
	})
}
