package raftstore

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// nothing is an FSM without state.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error       { return r.Close() }
func (nothing) Persist(k raft.SnapshotSink) error   { return k.Close() }
func (nothing) Release()                            {}

// Scenario 4: a crash between any two writes of the stable store leads to no
// second vote in a term, and to no vote without a comparison of the logs.
//
// A voter whose log ends at (10, term 4) votes for B in term 4, is then asked by
// C in term 5, and dies at the n-th write. After the restart B, whose log is
// empty, asks for term 5: had the term of C's vote been stored beside B's name,
// raft would take B's request for a repeated one.
func TestVoteSurvivesACrashBetweenAnyTwoWrites(t *testing.T) {
	for crashAt := 1; crashAt <= 6; crashAt++ {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("write %d, coin %d", crashAt, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { crashWhileVoting(t, crashAt, seed) })
			})
		}
	}
}

func crashWhileVoting(t *testing.T, crashAt int, seed uint64) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	o := Options{FS: fs, Dir: "/data/m", WriteDeadline: time.Minute}
	m := NewMemory()
	rng := rand.New(rand.NewPCG(seed, seed))

	v := startVoter(t, m, o, func(s *Stores) {
		c := raft.Configuration{}
		for _, id := range []string{"A", "B", "C"} {
			c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
		}
		first := &raft.Log{Index: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}
		if err := s.Log.StoreLogs(append([]*raft.Log{first}, entries(2, 10, 4)...)); err != nil {
			t.Fatal(err)
		}
		if err := s.Stable.SetUint64([]byte(keyCurrentTerm), 3); err != nil {
			t.Fatal(err)
		}
	})
	writes := 0
	m.SetHook(func(Write) error {
		if writes++; writes == crashAt {
			m.Crash(rng)
		}
		return nil
	})
	granted := map[uint64]string{}
	ask := func(candidate string, term uint64, last raft.Log) {
		t.Helper()
		if v.ask(candidate, term, last) {
			if other := granted[term]; other != "" && other != candidate {
				t.Errorf("two votes in term %d: %s and %s", term, other, candidate)
			}
			granted[term] = candidate
		}
	}
	ask("B", 4, raft.Log{Index: 10, Term: 4}) // writes the term, then the vote
	ask("C", 5, raft.Log{Index: 10, Term: 4}) // the same
	v.stop()
	m.Crash(rng)
	m.SetHook(nil)

	v = startVoter(t, m, o, nil)
	if v.ask("B", 5, raft.Log{Index: 1, Term: 0}) {
		t.Error("voted for a log that lacks entries 2 to 10")
	}
	ask("C", 5, raft.Log{Index: 10, Term: 4})
	ask("B", 5, raft.Log{Index: 10, Term: 4})
	ask("B", 4, raft.Log{Index: 10, Term: 4})
	v.stop()
	if err := v.stores.Close(); err != nil {
		t.Error(err)
	}
}

// voter is one raft that others ask by hand.
type voter struct {
	stores *Stores
	r      *raft.Raft
	trans  *raft.InmemTransport
	asking *raft.InmemTransport
}

func startVoter(t *testing.T, m *Memory, o Options, prepare func(*Stores)) *voter {
	t.Helper()
	s, err := m.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(s)
	}
	v := &voter{stores: s}
	_, v.trans = raft.NewInmemTransportWithTimeout("A", time.Second)
	_, v.asking = raft.NewInmemTransportWithTimeout("B", time.Second)
	v.asking.Connect("A", v.trans)
	c := raft.DefaultConfig()
	c.LocalID = "A"
	c.Logger = hclog.NewNullLogger()
	c.HeartbeatTimeout, c.ElectionTimeout = time.Hour, time.Hour // it only answers
	if v.r, err = raft.NewRaft(c, nothing{}, s.Log, s.Stable, s.Snapshots, v.trans); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *voter) ask(candidate string, term uint64, last raft.Log) bool {
	var resp raft.RequestVoteResponse
	err := v.asking.RequestVote("A", "A", &raft.RequestVoteRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte(candidate), Addr: []byte(candidate)},
		Term:      term, LastLogIndex: last.Index, LastLogTerm: last.Term,
	}, &resp)
	return err == nil && resp.Granted
}

func (v *voter) stop() {
	v.r.Shutdown().Error()
	v.trans.Close()
	v.asking.Close()
}

// A crash inside DeleteRange leaves no hole: what remains is one run of entries.
func TestDeleteRangeLeavesNoHole(t *testing.T) {
	for _, c := range []struct{ low, high uint64 }{{1, 2500}, {500, 3000}} {
		for crashAt := 1; crashAt <= 5; crashAt++ {
			fs := vfs.NewMem()
			if err := fs.MkdirAll("/data"); err != nil {
				t.Fatal(err)
			}
			o := Options{FS: fs, Dir: "/data/m", WriteDeadline: time.Minute}
			m := NewMemory()
			s, err := m.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Log.StoreLogs(entries(1, 3000, 1)); err != nil {
				t.Fatal(err)
			}
			writes, largest := 0, 0
			m.SetHook(func(w Write) error {
				largest = max(largest, len(w.Indexes))
				if writes++; writes == crashAt {
					m.Crash(rand.New(rand.NewPCG(uint64(crashAt), 1)))
				}
				return nil
			})
			if err := s.Log.DeleteRange(c.low, c.high); err == nil {
				t.Errorf("DeleteRange(%d, %d) made less than %d writes", c.low, c.high, crashAt)
			}
			if largest > 512 {
				t.Errorf("%d entries in one transaction", largest)
			}
			s.Close()
			m.SetHook(nil)
			if s, err = m.Open(o); err != nil {
				// A snapshot would have been there before a prefix is deleted.
				if c.low == 1 {
					continue
				}
				t.Fatal(err)
			}
			first, _ := s.Log.FirstIndex()
			last, _ := s.Log.LastIndex()
			for i := first; i <= last; i++ {
				if err := s.Log.GetLog(i, &raft.Log{}); err != nil {
					t.Fatalf("crash at write %d of DeleteRange(%d, %d): entry %d of %d-%d: %v", crashAt, c.low, c.high, i, first, last, err)
				}
			}
			if c.low > 1 && (first != 1 || last < c.low-1) {
				t.Errorf("crash at write %d of DeleteRange(%d, %d): %d-%d is left", crashAt, c.low, c.high, first, last)
			}
			s.Close()
		}
	}
}

// A crash of the file system while a snapshot is taken leaves the old one or
// both, and never one that passes for whole and is not.
func TestSnapshotSurvivesACrash(t *testing.T) {
	for seed := range uint64(50) {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		if err := mem.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(seed, 7))
		faults := vfs.NewFaults(mem)
		open := func(fs vfs.FS) *Stores {
			s, err := NewMemory().Open(Options{FS: fs, Dir: "/data/m", WriteDeadline: time.Minute})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			return s
		}
		s := open(faults)
		old := take(t, s, 10, 1, []byte("the old one"))
		stop := rng.IntN(16)
		faults.Inject(vfs.Rule{Ops: vfs.OpCreate | vfs.OpWrite | vfs.OpSync | vfs.OpSyncDir | vfs.OpRename | vfs.OpMkdir, After: stop, Err: io.ErrClosedPipe})
		done := false
		if k, err := s.Snapshots.Create(1, 20, 1, raft.Configuration{}, 1, nil); err == nil {
			k.Write([]byte("the new one"))
			done = k.Close() == nil
		}
		after := open(mem.CrashClone(rng))
		all, err := after.Snapshots.List()
		if err != nil || len(all) == 0 || done && len(all) != 2 {
			t.Fatalf("seed %d: %d snapshots (done %v), %v", seed, len(all), done, err)
		}
		for i, m := range all {
			want := "the new one"
			if i == len(all)-1 {
				want = "the old one"
			}
			_, c, err := after.Snapshots.Open(m.ID)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			got, _ := io.ReadAll(c)
			c.Close()
			if string(got) != want {
				t.Errorf("seed %d: %q", seed, got)
			}
		}
		if all[len(all)-1].ID != old {
			t.Errorf("seed %d: the old one is gone", seed)
		}
	}
}
