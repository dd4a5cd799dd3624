//go:build mutant

package storage

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// mutants are deliberate bugs of this package; the power-loss test, or that of compaction, must see each of them.
var mutants = []struct{ name, what string }{
	{"storage-skip-datasync", "a flush does not sync the segment files"},
	{"storage-publish-early", "the flushed offset is published before the sync"},
	{"storage-skip-syncdir", "a flush does not sync the directory that names the segment"},
	{"storage-ignore-sync-error", "a sync that has failed counts as one"},
	{"storage-skip-crc", "recovery trusts lengths and does not check the tail"},
	{"storage-forget-producers", "recovery does not bring the producers' windows back"},
	{"storage-truncate-unsynced", "a truncation is answered before it is durable"},
	{"storage-start-unsaved", "a log start is answered before it is durable"},
	{"cleaner-skip-sync-cleaned", "a cleaned segment replaces others before its bytes are durable"},
	{"cleaner-skip-sync-swap", "segments go before the one that replaces them has a durable name"},
	{"cleaner-skip-sync-replaced", "a cleaned segment gets its name before those it replaces have gone for sure"},
	{"cleaner-point-early", "a log counts as clean before it is"},
	{"cleaner-full-map", "a log counts as clean as far as it was dirty, though the map was full"},
	{"cleaner-tombstones-early", "tombstones go the first time they are met"},
	{"cleaner-forget-producers", "the batches that retries are told from go"},
}

// TestMutants runs the power-loss test of this binary against each mutant.
func TestMutants(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			test := "TestPowerLoss"
			if strings.HasPrefix(m.name, "cleaner-") {
				test = "TestCompaction"
			}
			cmd := exec.Command(self, "-test.run=^"+test+"$", "-seeds=1000")
			cmd.Env = append(os.Environ(), "CHRONIK_MUTANT="+m.name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("%s has not noticed that %s", test, m.what)
			}
			first, _, _ := strings.Cut(string(out[max(0, strings.Index(string(out), "seed ")):]), "\n")
			t.Logf("%s: %s", m.what, first)
		})
	}
}
