package raftstore

import (
	"encoding/hex"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/vfs"
)

var update = flag.Bool("update", false, "write the golden files anew")

const golden = "testdata/v1" // raft.db and snapshots, as docs/formats/raft-store.md describes them

func goldenEntry() *raft.Log {
	return &raft.Log{Index: 2, Term: 1, Type: raft.LogCommand, Data: []byte("abc"), AppendedAt: time.Unix(1_700_000_000, 5).UTC()}
}

// A store of the first version is read by every later one.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	// bolt locks what it reads, and a checkout may be read-only.
	dir := filepath.Join(t.TempDir(), "m")
	if err := os.CopyFS(dir, os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(vfs.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Term != 7 || r.Vote != 7 || r.Candidate != "node:1/01000000-0000-0000-0000-000000000000" || r.First != 1 || r.Last != 2 {
		t.Errorf("got %+v", r)
	}
	var all []Entry
	for e, err := range r.Entries(0) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	want := goldenEntry()
	if len(all) != 2 || all[0].Type != "configuration" || len(all[0].Servers) != 1 || string(all[1].Data) != "abc" || !all[1].AppendedAt.Equal(want.AppendedAt) {
		t.Errorf("entries %+v", all)
	}
	snaps, err := r.Snapshots()
	if err != nil || len(snaps) != 1 || snaps[0].ID != "1-2-1700000000000" {
		t.Fatalf("snapshots %+v, %v", snaps, err)
	}
	_, c, err := r.OpenSnapshot(snaps[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	state, _ := io.ReadAll(c)
	c.Close()
	if string(state) != "state" {
		t.Errorf("state %q", state)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := OpenBolt(Options{FS: vfs.OS{}, Dir: dir, WriteDeadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Log.StoreLog(entry(3, 7)); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func writeGolden(t *testing.T) {
	if err := os.RemoveAll(golden); err != nil {
		t.Fatal(err)
	}
	s, err := OpenBolt(Options{FS: vfs.OS{}, Dir: golden, Clock: clock.NewManual(1_700_000_000_000), WriteDeadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	self := raft.Server{Suffrage: raft.Voter, ID: "1", Address: "node:1/01000000-0000-0000-0000-000000000000"}
	first := &raft.Log{Index: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{self}})}
	for _, err := range []error{
		s.Log.StoreLogs([]*raft.Log{first, goldenEntry()}),
		s.Stable.SetUint64([]byte(keyCurrentTerm), 7),
		s.Stable.SetUint64([]byte(keyVoteTerm), 7),
		s.Stable.Set([]byte(keyVoteCand), []byte(self.Address)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	take(t, s, 2, 1, []byte("state"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The bytes that docs/formats/raft-store.md shows.
func TestBytesInTheDocument(t *testing.T) {
	for what, c := range map[string]struct {
		got  []byte
		want string
	}{
		"trailer of an entry": {seal(goldenEntry()).Extensions, "01 7b5a0cd9"},
		"term":                {frame(keyCurrentTerm, []byte{7: 7}), "0000000000000007 d623682a"},
		"vote":                {frame(keyVote, append([]byte{7: 7}, "node:1/..."...)), "0000000000000007 6e6f64653a312f2e2e2e 27678d47"},
	} {
		if got := hex.EncodeToString(c.got); got != strings.ReplaceAll(c.want, " ", "") {
			t.Errorf("%s: %s, the document shows %s", what, got, c.want)
		}
	}
}
