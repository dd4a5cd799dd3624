package broker

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/wire"
)

// traps are the ways in which brokers have got Kafka's protocol wrong: the trap at index i has the number i+1, and its tests
// are called TestTrap and that number. Keys are those that a trap is about and that are not served: once one of
// them is, the trap needs a test of it, and the key leaves this list.
var traps = [...]struct {
	what     string
	unserved []int16
	untested string // why there is no test of it at all
}{
	{what: "the response header of ApiVersions has no tags in any version"},
	{what: "an ApiVersions request that is too new is answered in version 0, with our range"},
	{what: "what has no legal answer ends its connection, before its body is read"},
	{what: "the throttle time of ApiVersions is its last field"},
	{what: "the client id is never compact, and tags follow it even when it is null"},
	{what: "response headers have tags by key and version"},
	{what: "no version is advertised that is not decoded and encoded", unserved: []int16{24, 25, 26, 28, 29, 30, 31}},
	{what: "unknown tags are skipped within bounds; none is written that a version lacks"},
	{what: "null is not empty", unserved: []int16{43}},
	{what: "responses leave in the order of the requests"},
	{what: "errors have the correlation id of their request"},
	{what: "lengths and counts are checked before memory is taken for them"},
	{what: "old clients need the minimums", unserved: []int16{17, 36}},
	{what: "only what is served is advertised"},
	{what: "versions with topic ids belong together"},
	{what: "features with a minimum of 0 break old clients; features are finalized or not claimed", unserved: []int16{57}},
	{what: "software names are checked; cluster id and node id come together and must be ours"},
	{what: "all topics, no topics, and auto-creation when the field is missing"},
	{what: "topics that are unknown or cannot be have an entry of their own"},
	{what: "a node that starts again answers nobody before it knows its metadata"},
	{what: "leaders are among the brokers of the answer, brokers have addresses"},
	{what: "leader epochs rise at every change and survive restarts"},
	{what: "a leader hint that is none says -1", unserved: []int16{78, 79}},
	{what: "acks=0 is never answered; an error ends its connection"},
	{what: "the CRC is Castagnoli's, big-endian, over all from the attributes on"},
	{what: "batches are kept byte for byte but for offset and epoch"},
	{what: "one batch a partition; control batches, keyless records of compacted topics and too large batches are refused"},
	{what: "message formats 0 and 1 are gone"},
	{what: "zstd by version; both framings of snappy"},
	{what: "LogAppendTime is in the batch, its CRC and the answer"},
	{what: "duplicates have their first offset; new producers may begin anywhere; old epochs are refused"},
	{what: "an append of unknown fate is a timeout, never UNKNOWN_SERVER_ERROR"},
	{what: "the first batch comes whole whatever the limits; the sum is bounded"},
	{what: "an offset inside a batch returns the batch, one in a gap the next"},
	{what: "records are empty, never null"},
	{what: "fetch sessions"},
	{what: "a fetch waits only while all its partitions are well"},
	{what: "read_committed ends at the last stable offset, with the aborted transactions", unserved: []int16{24, 26, 27}},
	{what: "the log start is real, and DeleteRecords moves it"},
	{what: "leader epochs are checked; OffsetForLeaderEpoch"},
	{what: "ListOffsets by time and by the special timestamps"},
	{what: "unknown and stale topic ids"},
	{what: "JoinGroup: member ids first, static members without a new generation, assignments of bytes"},
	{what: "OffsetFetch of what is not there; offsets of groups without members", unserved: []int16{28}},
	{what: "FindCoordinator answers every key"},
	{what: "control markers are not for clients, and out of the sequence check", unserved: []int16{27}},
	{what: "producer ids are unique and durable; transactional ids", unserved: []int16{24, 26}},
	{what: "DescribeConfigs has every property with source and synonyms; APPEND and SUBTRACT; Long.MAX_VALUE"},
	{what: "CreateTopics and CreatePartitions: defaults, names, codes, and every topic in the reply", unserved: []int16{29, 30, 31}},
	{what: "who is told of a throttle time is muted for it", unserved: []int16{48, 49}},
	{what: "SASL: handshakes, bad proofs, authenticating again, nonces", unserved: []int16{17, 36}, untested: "no listener asks for SASL, and neither key is served"},
}

var trapTest = regexp.MustCompile(`(?m)^func TestTrap(\d\d)_\w+\(t \*testing\.T\)`)

// TestEveryTrapHasATest holds the list against the tests there are.
func TestEveryTrapHasATest(t *testing.T) {
	tests := map[int]int{}
	for _, dir := range []string{"../../internal", "../../test/sim"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range trapTest.FindAllSubmatch(text, -1) {
				n, _ := strconv.Atoi(string(m[1]))
				if tests[n]++; n < 1 || n > len(traps) {
					t.Errorf("%s: trap %d is not in the list of %d", path, n, len(traps))
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, trap := range traps {
		switch n := i + 1; {
		case trap.untested == "" && tests[n] == 0:
			t.Errorf("trap %d has no test TestTrap%02d_...: %s", n, n, trap.what)
		case trap.untested != "" && (tests[n] > 0 || len(trap.unserved) == 0):
			t.Errorf("trap %d has %d tests and the keys %v that are not served, but is to have no test: %s", n, tests[n], trap.unserved, trap.untested)
		}
		for _, key := range trap.unserved {
			if slices.ContainsFunc(apis(), func(r row) bool { return r.key == key }) {
				api, _ := wire.LookupAPI(key)
				t.Errorf("%s is served now: test trap %d with it, and take it from the list: %s", api.Name, i+1, trap.what)
			}
		}
	}
}
