package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// disk is where a kind of store keeps its bytes across openings.
type disk struct {
	open Opener
	o    Options
}

// kinds runs a test on every kind of store.
func kinds(t *testing.T, f func(t *testing.T, d disk)) {
	t.Run("bolt", func(t *testing.T) {
		f(t, disk{OpenBolt, Options{
			FS: vfs.OS{}, Dir: filepath.Join(t.TempDir(), "__raft_metadata-0"),
			WriteDeadline: time.Minute, // of real time, on a machine that may be busy
			HardDeadline:  time.Minute,
		}})
	})
	t.Run("memory", func(t *testing.T) {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		f(t, disk{NewMemory().Open, Options{FS: fs, Dir: "/data/__raft_metadata-0", WriteDeadline: time.Minute}})
	})
}

func (d disk) must(t *testing.T) *Stores {
	t.Helper()
	s, err := d.open(d.o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// reopen closes a store and opens it again, as a restart does.
func (d disk) reopen(t *testing.T, s *Stores) *Stores {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return d.must(t)
}

func entry(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "entry %d of term %d", index, term)}
}

func entries(from, to, term uint64) []*raft.Log {
	var all []*raft.Log
	for i := from; i <= to; i++ {
		all = append(all, entry(i, term))
	}
	return all
}

func bounds(t *testing.T, l raft.LogStore) string {
	t.Helper()
	first, err := l.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err := l.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func TestLog(t *testing.T) {
	kinds(t, func(t *testing.T, d disk) {
		s := d.must(t)
		if _, ok := s.Log.(raft.MonotonicLogStore); ok {
			t.Error("the log claims to be monotonic: raft would empty it when it installs a snapshot")
		}
		if got := bounds(t, s.Log); got != "0-0" {
			t.Errorf("empty: %s", got)
		}
		if err := s.Log.GetLog(1, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("missing entry: %v", err)
		}
		full := &raft.Log{
			Index: 1, Term: 0, Type: raft.LogConfiguration, Data: []byte{0, 1, 2},
			Extensions: []byte("of another layer"), AppendedAt: time.Unix(1e9, 123456789).UTC(),
		}
		if err := s.Log.StoreLog(full); err != nil {
			t.Fatal(err)
		}
		if string(full.Extensions) != "of another layer" {
			t.Errorf("StoreLog changed the entry of its caller: %q", full.Extensions)
		}
		if err := s.Log.StoreLogs(entries(2, 100, 1)); err != nil {
			t.Fatal(err)
		}
		s = d.reopen(t, s)
		if got := bounds(t, s.Log); got != "1-100" {
			t.Errorf("after a restart: %s", got)
		}
		got := raft.Log{Extensions: []byte("left over"), AppendedAt: time.Now()}
		if err := s.Log.GetLog(1, &got); err != nil {
			t.Fatal(err)
		}
		if got.Index != 1 || got.Term != 0 || got.Type != full.Type || !bytes.Equal(got.Data, full.Data) ||
			!bytes.Equal(got.Extensions, full.Extensions) || !got.AppendedAt.Equal(full.AppendedAt) {
			t.Errorf("got %+v", got)
		}
		for i := uint64(2); i <= 100; i++ {
			if err := s.Log.GetLog(i, &got); err != nil || string(got.Data) != string(entry(i, 1).Data) || got.Extensions != nil || !got.AppendedAt.IsZero() {
				t.Fatalf("entry %d: %+v, %v", i, got, err)
			}
		}
		// A gap, as after an installed snapshot.
		if err := s.Log.StoreLogs(entries(1<<40, 1<<40+3, 2)); err != nil {
			t.Fatal(err)
		}
		if got := bounds(t, s.Log); got != fmt.Sprintf("1-%d", 1<<40+3) {
			t.Errorf("with a gap: %s", got)
		}
		if err := s.Log.DeleteRange(1, 1<<40); err != nil {
			t.Fatal(err)
		}
		if got := bounds(t, s.Log); got != fmt.Sprintf("%d-%d", 1<<40+1, 1<<40+3) {
			t.Errorf("after a delete over the gap: %s", got)
		}
	})
}

func TestDeleteRange(t *testing.T) {
	for _, c := range []struct {
		low, high uint64
		want      string
	}{
		{1, 1, "2-1100"},
		{1, 512, "513-1100"},
		{1, 1099, "1100-1100"},
		{1, 1100, "0-0"},
		{1, 5000, "0-0"},
		{1100, 1100, "1-1099"},
		{589, 1100, "1-588"},
		{2, 1100, "1-1"},
		{5, 3, "1-1100"},
	} {
		kinds(t, func(t *testing.T, d disk) {
			s := d.must(t)
			if err := s.Log.StoreLogs(entries(1, 1100, 1)); err != nil {
				t.Fatal(err)
			}
			if err := s.Log.DeleteRange(c.low, c.high); err != nil {
				t.Fatal(err)
			}
			if got := bounds(t, s.Log); got != c.want {
				t.Errorf("after DeleteRange(%d, %d): %s, want %s", c.low, c.high, got, c.want)
			}
			for i := uint64(1); i <= 1100; i++ {
				err := s.Log.GetLog(i, &raft.Log{})
				if gone := c.low <= i && i <= c.high; gone != errors.Is(err, raft.ErrLogNotFound) {
					t.Fatalf("entry %d: %v", i, err)
				}
			}
		})
	}
}

func TestStable(t *testing.T) {
	kinds(t, func(t *testing.T, d disk) {
		s := d.must(t)
		for _, key := range []string{keyCurrentTerm, keyVoteTerm, "other"} {
			if _, err := s.Stable.GetUint64([]byte(key)); err == nil || err.Error() != "not found" {
				t.Errorf("%s: %v; raft compares the text", key, err)
			}
		}
		for _, key := range []string{keyVoteCand, "other"} {
			if _, err := s.Stable.Get([]byte(key)); err == nil || err.Error() != "not found" {
				t.Errorf("%s: %v; raft compares the text", key, err)
			}
		}
		set := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		set(s.Stable.SetUint64([]byte(keyCurrentTerm), 5))
		set(s.Stable.SetUint64([]byte(keyVoteTerm), 5))
		set(s.Stable.Set([]byte(keyVoteCand), []byte("node:1/a")))
		set(s.Stable.Set([]byte("other"), []byte("value")))
		set(s.Stable.SetUint64([]byte("number"), 7))
		set(s.Stable.SetUint64([]byte(keyVoteTerm), 6)) // and then the process dies
		s = d.reopen(t, s)
		for key, want := range map[string]uint64{keyCurrentTerm: 5, keyVoteTerm: 5, "number": 7} {
			if got, err := s.Stable.GetUint64([]byte(key)); err != nil || got != want {
				t.Errorf("%s: %d, %v, want %d", key, got, err, want)
			}
		}
		for key, want := range map[string]string{keyVoteCand: "node:1/a", "other": "value"} {
			if got, err := s.Stable.Get([]byte(key)); err != nil || string(got) != want {
				t.Errorf("%s: %q, %v, want %q", key, got, err, want)
			}
		}
	})
}

// raft has state exactly when something was written.
func TestPristine(t *testing.T) {
	kinds(t, func(t *testing.T, d disk) {
		s := d.must(t)
		check := func(want bool) {
			t.Helper()
			if got, err := raft.HasExistingState(s.Log, s.Stable, s.Snapshots); err != nil || got != want {
				t.Errorf("has state: %v, %v, want %v", got, err, want)
			}
		}
		check(false)
		if err := s.Stable.SetUint64([]byte(keyCurrentTerm), 0); err != nil {
			t.Fatal(err)
		}
		s = d.reopen(t, s)
		check(false)
		if err := s.Log.StoreLog(entry(1, 0)); err != nil {
			t.Fatal(err)
		}
		s = d.reopen(t, s)
		check(true)
	})
}

func TestSecondOpenIsRefused(t *testing.T) {
	kinds(t, func(t *testing.T, d disk) {
		synctest.Test(t, func(t *testing.T) { // the wait for the lock takes no real time
			s := d.must(t)
			if _, err := d.open(d.o); !errors.Is(err, ErrLocked) {
				t.Errorf("second open: %v", err)
			}
			d.reopen(t, s)
		})
	})
}

func TestClosed(t *testing.T) {
	kinds(t, func(t *testing.T, d disk) {
		s := d.must(t)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Log.LastIndex(); !errors.Is(err, ErrClosed) {
			t.Errorf("read: %v", err)
		}
		if err := s.Log.StoreLog(entry(1, 1)); !errors.Is(err, ErrClosed) {
			t.Errorf("write: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

func take(t *testing.T, s *Stores, index, term uint64, content []byte) string {
	t.Helper()
	c := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "1", Address: "node:1/x"}}}
	k, err := s.Snapshots.Create(1, index, term, c, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(k, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	return k.ID()
}

func TestSnapshots(t *testing.T) {
	kinds(t, func(t *testing.T, d disk) {
		s := d.must(t)
		r := rand.New(rand.NewPCG(1, 2))
		content := make([]byte, 600<<10)
		for i := range content {
			content[i] = byte(r.Uint32())
		}
		take(t, s, 100, 2, []byte("small"))
		take(t, s, 90, 3, nil) // a later term wins over a higher index
		id := take(t, s, 200, 3, content)
		k, err := s.Snapshots.Create(1, 300, 3, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		k.Write([]byte("abandoned"))
		if err := k.Cancel(); err != nil {
			t.Fatal(err)
		}
		s = d.reopen(t, s)
		all, err := s.Snapshots.List()
		if err != nil || len(all) != 2 || all[0].ID != id || all[1].Index != 90 {
			t.Fatalf("list: %+v, %v", all, err)
		}
		m, c, err := s.Snapshots.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		c.Close()
		if err != nil || !bytes.Equal(got, content) || m.Size != int64(len(content)) || len(m.Configuration.Servers) != 1 {
			t.Errorf("read %d bytes, %+v, %v", len(got), m, err)
		}
		if _, err := s.Snapshots.Create(0, 1, 1, raft.Configuration{}, 1, nil); err == nil {
			t.Error("version 0 was accepted")
		}
	})
}

// hashicorp's own store reads what ours wrote, and the other way round.
func TestSnapshotLayoutIsHashicorps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	d := disk{OpenBolt, Options{FS: vfs.OS{}, Dir: dir, WriteDeadline: time.Minute, HardDeadline: time.Minute}}
	s := d.must(t)
	take(t, s, 10, 1, []byte("ours"))
	theirs, err := raft.NewFileSnapshotStore(dir, 3, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	_, trans := raft.NewInmemTransport("x")
	defer trans.Close()
	k, err := theirs.Create(1, 20, 1, raft.Configuration{}, 1, trans)
	if err != nil {
		t.Fatal(err)
	}
	k.Write([]byte("theirs"))
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]raft.SnapshotStore{"ours": s.Snapshots, "theirs": theirs} {
		all, err := store.List()
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: %v, %v", name, all, err)
		}
		for i, want := range []string{"theirs", "ours"} {
			_, c, err := store.Open(all[i].ID)
			if err != nil {
				t.Fatalf("%s opens the snapshot of %s: %v", name, want, err)
			}
			got, _ := io.ReadAll(c)
			c.Close()
			if string(got) != want {
				t.Errorf("%s reads %q, want %q", name, got, want)
			}
		}
	}
}
