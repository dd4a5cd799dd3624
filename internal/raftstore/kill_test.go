package raftstore

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// What a process was told is durable is there after kill -9, and the log has no
// hole, whatever it was doing: appending, voting, deleting a prefix or a suffix.
func TestBoltSurvivesKill(t *testing.T) {
	if dir := os.Getenv("CHRONIK_TEST_VICTIM"); dir != "" {
		victim(t, dir)
		return
	}
	rounds := 8
	if testing.Short() {
		rounds = 1
	}
	dir := filepath.Join(t.TempDir(), "m")
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		c := exec.Command(os.Args[0], "-test.run=^TestBoltSurvivesKill$")
		c.Env = append(os.Environ(), "CHRONIK_TEST_VICTIM="+dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var last, term uint64
		for k, stop := 0, 20+rng.IntN(100); lines.Scan(); k++ {
			_, _ = fmt.Sscanf(lines.Text(), "last %d", &last)
			_, _ = fmt.Sscanf(lines.Text(), "term %d", &term)
			if k == stop {
				if err := c.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = c.Wait()
		afterKill(t, round, dir, last, term)
	}
}

// victim writes until it is killed, and says what is durable. A line stands
// before each delete, for what follows may undo it.
func victim(t *testing.T, dir string) {
	s, err := OpenBolt(Options{FS: vfs.OS{}, Dir: dir, WriteDeadline: time.Minute, HardDeadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	first, err := s.Log.FirstIndex()
	must(err)
	last, err := s.Log.LastIndex()
	must(err)
	term, _ := s.Stable.GetUint64([]byte(keyCurrentTerm))
	for {
		switch n := uint64(1 + rng.IntN(64)); rng.IntN(8) {
		case 0:
			if last-first > 2000 {
				first += 1500
				must(s.Snapshots.(*snapshots).save(first+10, 1))
				must(s.Log.DeleteRange(first-1500, first))
				first++
			}
		case 1:
			if last-first > 100 {
				fmt.Println("last", last-n)
				must(s.Log.DeleteRange(last-n+1, last))
				last -= n
			}
		case 2:
			term++
			must(s.Stable.SetUint64([]byte(keyCurrentTerm), term))
			must(s.Stable.SetUint64([]byte(keyVoteTerm), term))
			must(s.Stable.Set([]byte(keyVoteCand), binary.BigEndian.AppendUint64(nil, term)))
			fmt.Println("term", term)
		default:
			must(s.Log.StoreLogs(entries(last+1, last+n, 1)))
			last += n
			first = max(first, 1)
			fmt.Println("last", last)
		}
	}
}

// save takes an empty snapshot.
func (s *snapshots) save(index, term uint64) error {
	k, err := s.Create(1, index, term, raft.Configuration{}, 1, nil)
	if err != nil {
		return err
	}
	return k.Close()
}

func afterKill(t *testing.T, round int, dir string, durable, term uint64) {
	t.Helper()
	s, err := OpenBolt(Options{FS: vfs.OS{}, Dir: dir, WriteDeadline: time.Minute, HardDeadline: time.Minute})
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	defer s.Close()
	first, _ := s.Log.FirstIndex()
	last, _ := s.Log.LastIndex()
	if last < durable {
		t.Errorf("round %d: entry %d was durable, the log ends at %d", round, durable, last)
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := s.Log.GetLog(i, &l); err != nil || string(l.Data) != string(entry(i, 1).Data) {
			t.Fatalf("round %d: entry %d of %d-%d: %q, %v", round, i, first, last, l.Data, err)
		}
	}
	vote, _ := s.Stable.GetUint64([]byte(keyVoteTerm))
	cand, _ := s.Stable.Get([]byte(keyVoteCand))
	if vote < term || vote > 0 && binary.BigEndian.Uint64(cand) != vote {
		t.Errorf("round %d: the vote of term %d was durable; found term %d for %x", round, term, vote, cand)
	}
	t.Logf("round %d: entries %d-%d (%d was durable), vote in term %d", round, first, last, durable, vote)
}
