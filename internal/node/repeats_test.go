package node

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRepeatedLinesAreLeftOut: the same warning each second, as of a disk that has become read-only, is a line a minute with a
// count; a flood of lines that differ in a value is twenty in ten seconds; what is below warn is not touched.
func TestRepeatedLinesAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		log := slog.New(withoutRepeats(slog.NewTextHandler(&out, nil)))
		lines := func() []string {
			defer out.Reset()
			return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		}
		for range 180 {
			log.Warn("writing failed", "error", errors.New("read-only file system"))
			time.Sleep(time.Second)
		}
		got := lines()
		if len(got) != 3 || strings.Contains(got[0], "not_logged") || !strings.Contains(got[1], "like_it_not_logged=59") {
			t.Errorf("%d lines: %q", len(got), got)
		}
		for i := range 1000 {
			log.Error("no sense in what a client sends", "client", i)
		}
		log.With("part", "b").Error("no sense in what a client sends", "client", 1) // another part's
		if got := lines(); len(got) != 21 {
			t.Errorf("%d lines of a flood", len(got))
		}
		time.Sleep(likeEvery)
		log.Error("no sense in what a client sends", "client", 5000)
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "like_it_not_logged=980") {
			t.Errorf("after a flood: %q", got)
		}
		for range 100 {
			log.Info("hello")
		}
		if got := lines(); len(got) != 100 {
			t.Errorf("%d lines of info", len(got))
		}
	})
}
