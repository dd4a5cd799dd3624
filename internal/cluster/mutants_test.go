package cluster

import (
	"os"
	"os/exec"
	"testing"
)

// TestMutants switches deliberate bugs on, one at a time, in a process of its own
// in which the named tests have to fail. make mutants runs it.
func TestMutants(t *testing.T) {
	if os.Getenv("CHRONIK_MUTANTS") == "" {
		t.Skip("run by make mutants")
	}
	for _, m := range []struct{ name, tests string }{
		{"cluster-no-term-fence", "TestFSMDropsWhatWasDecidedInAnotherTerm"},
		{"cluster-no-window", "TestSequencesKeepAWindow"},
		{"cluster-image-goes-back", "TestImagesNeverGoBack"},
		{"cluster-pause-fences", "TestSessionWatch"},
		{"cluster-no-grace", "TestSessionWatch"},
		{"cluster-wiped-disk-votes", "TestWipedFounderHasNoVote|TestVerdictOfCouncil"},
		{"cluster-new-request-id", "TestRetryGetsTheSameTopicID"},
		{"cluster-two-registrations-at-once", "TestRegistrationsShareAnEntryWithNobodyElse"},
	} {
		t.Run(m.name, func(t *testing.T) {
			c := exec.Command(os.Args[0], "-test.run=^("+m.tests+")$", "-test.timeout=60s", "-test.count=3")
			c.Env = append(os.Environ(), "CHRONIK_MUTANT="+m.name, "CHRONIK_MUTANTS=")
			if out, err := c.CombinedOutput(); err == nil {
				t.Errorf("%s did not notice:\n%s", m.tests, out)
			}
		})
	}
}
