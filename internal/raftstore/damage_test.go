package raftstore

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// damageable makes a store of 300 entries with a term, a vote and a snapshot,
// and returns its directory.
func damageable(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	s, err := OpenBolt(Options{FS: vfs.OS{}, Dir: dir, WriteDeadline: time.Minute, HardDeadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	c := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "1", Address: "node:1/x"}}}
	first := &raft.Log{Index: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}
	all := append([]*raft.Log{first}, entries(2, 300, 3)...)
	if err := s.Log.StoreLogs(all); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		s.Stable.SetUint64([]byte(keyCurrentTerm), 3),
		s.Stable.SetUint64([]byte(keyVoteTerm), 3),
		s.Stable.Set([]byte(keyVoteCand), []byte("node:1/x")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	take(t, s, 200, 3, []byte("state"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A damaged file is an error that says what to do, or no damage to what it
// holds; it is never a panic, nor another log, term or vote.
func TestDamagedFileIsRefused(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's shadow memory and faults in a mapping do not go together")
	}
	dir := damageable(t)
	whole, err := os.ReadFile(filepath.Join(dir, boltFile))
	if err != nil {
		t.Fatal(err)
	}
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	refused := 0
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		bad := damage(rng, whole)
		at := filepath.Join(t.TempDir(), "m")
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, boltFile), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := check(vfs.OS{}, filepath.Join(at, boltFile)); err != nil {
			refused++
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "join as a new node") {
				t.Errorf("seed %d: %v", seed, err)
			}
			continue
		}
		verifyDamageable(t, seed, at)
	}
	if refused < rounds/4 {
		t.Errorf("only %d of %d damaged files were refused: the damage does not hit", refused, rounds)
	}
}

// verifyDamageable opens a store that the check let pass.
func verifyDamageable(t *testing.T, seed uint64, dir string) {
	s, err := OpenBolt(Options{FS: vfs.OS{}, Dir: dir, WriteDeadline: time.Minute, HardDeadline: time.Minute})
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return
	}
	defer s.Close()
	term, err := s.Stable.GetUint64([]byte(keyCurrentTerm))
	cand, err2 := s.Stable.Get([]byte(keyVoteCand))
	if err != nil || err2 != nil || term != 3 || string(cand) != "node:1/x" {
		t.Errorf("seed %d: term %d, %v; vote %q, %v", seed, term, err, cand, err2)
	}
	for i := uint64(2); i <= 300; i++ {
		var l raft.Log
		if err := s.Log.GetLog(i, &l); err != nil || l.Term != 3 || string(l.Data) != string(entry(i, 3).Data) {
			t.Fatalf("seed %d: entry %d: %+v, %v", seed, i, l, err)
		}
	}
}

// damage returns a copy of a file with a flipped bit, a page of garbage or of
// another page, or a missing end.
func damage(rng *rand.Rand, whole []byte) []byte {
	p := append([]byte{}, whole...)
	page := func() []byte {
		k := rng.IntN(len(p)/4096) * 4096
		return p[k : k+4096]
	}
	switch rng.IntN(5) {
	case 0:
		p[rng.IntN(len(p))] ^= 1 << rng.IntN(8)
	case 1:
		b := page()
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
	case 2:
		clear(page())
	case 3:
		copy(page(), page())
	case 4:
		p = p[:rng.IntN(len(p))]
	}
	return p
}

// An entry that goes bad while the store is open ends it before raft sees it.
func TestDamagedEntryIsTheEnd(t *testing.T) {
	m, s, e := watched(t)
	defer s.Close()
	if err := s.Log.StoreLogs(entries(1, 3, 1)); err != nil {
		t.Fatal(err)
	}
	m.Damage(2)
	if err := s.Log.GetLog(2, &raft.Log{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if got := e.String(); got != "fail" || !errors.Is(e.cause(), ErrDamaged) {
		t.Errorf("told %q, %v", got, e.cause())
	}
}

// A log that begins after the newest readable snapshot is refused: raft would panic.
func TestMissingSnapshotIsRefused(t *testing.T) {
	kinds(t, func(t *testing.T, d disk) {
		s := d.must(t)
		if err := s.Log.StoreLogs(entries(1, 300, 1)); err != nil {
			t.Fatal(err)
		}
		id := take(t, s, 200, 1, []byte("state"))
		if err := s.Log.DeleteRange(1, 150); err != nil {
			t.Fatal(err)
		}
		s = d.reopen(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := d.o.FS.OpenReadWrite(filepath.Join(d.o.Dir, snapshotsDir, id, stateFile))
		if err != nil {
			t.Fatal(err)
		}
		f.WriteAt([]byte("X"), 2)
		f.Close()
		if _, err := d.open(d.o); !errors.Is(err, ErrDamaged) {
			t.Errorf("opened with entries from 151 on and no readable snapshot: %v", err)
		}
	})
}

func TestReader(t *testing.T) {
	dir := damageable(t)
	r, err := OpenReader(vfs.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Term != 3 || r.Vote != 3 || r.Candidate != "node:1/x" || r.First != 1 || r.Last != 300 {
		t.Errorf("got %+v", r)
	}
	next := uint64(1)
	for e, err := range r.Entries(0) {
		if err != nil || e.Index != next {
			t.Fatalf("entry %d: %+v, %v", next, e, err)
		}
		switch {
		case next == 1 && (e.Type != "configuration" || len(e.Servers) != 1 || e.Servers[0].Suffrage != "Voter"):
			t.Errorf("entry 1: %+v", e)
		case next > 1 && (e.Type != "command" || string(e.Data) != string(entry(next, 3).Data)):
			t.Errorf("entry %d: %+v", next, e)
		}
		next++
	}
	if next != 301 {
		t.Errorf("ended before %d", next)
	}
	for e := range r.Entries(299) {
		if e.Index != 299 {
			t.Errorf("from 299: %d", e.Index)
		}
		break
	}
	all, err := r.Snapshots()
	if err != nil || len(all) != 1 || all[0].Index != 200 || len(all[0].Servers) != 1 {
		t.Fatalf("snapshots: %+v, %v", all, err)
	}
	_, c, err := r.OpenSnapshot(all[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(c)
	c.Close()
	if string(got) != "state" {
		t.Errorf("snapshot: %q", got)
	}
	if _, err := OpenReader(vfs.OS{}, t.TempDir()); err == nil || !strings.Contains(err.Error(), "there is no raft.db") {
		t.Errorf("no store: %v", err)
	}
}

// What the reader shows of a damaged file is right, and it gets past a bad entry.
func TestReaderOnDamage(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's shadow memory and faults in a mapping do not go together")
	}
	dir := damageable(t)
	whole, err := os.ReadFile(filepath.Join(dir, boltFile))
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(100) {
		bad := damage(rand.New(rand.NewPCG(seed, 2)), whole)
		if err := os.WriteFile(filepath.Join(dir, boltFile), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenReader(vfs.OS{}, dir)
		if err != nil {
			continue
		}
		for e, err := range r.Entries(2) {
			if err == nil && (e.Term != 3 || string(e.Data) != string(entry(e.Index, 3).Data)) {
				t.Errorf("seed %d: %+v", seed, e)
			}
		}
		r.Close()
	}
}
