package raftstore

import (
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// events records what an owner is told.
type events struct {
	mu  sync.Mutex
	all []string
	err error
}

func (e *events) add(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, s)
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.all, " ")
}

func (e *events) cause() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// watched opens an in-memory store in a bubble.
func watched(t *testing.T) (*Memory, *Stores, *events) {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	e := &events{}
	m := NewMemory()
	s, err := m.Open(Options{
		FS: fs, Dir: "/data/m",
		OnStall:   func() { e.add("stall") },
		OnSettled: func() { e.add("settled") },
		OnFail: func(err error) {
			e.mu.Lock()
			e.err = err
			e.mu.Unlock()
			e.add("fail")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, s, e
}

func TestStallPoisonsAndSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, e := watched(t)
		defer s.Close()
		if err := s.Log.StoreLogs(entries(1, 3, 1)); err != nil {
			t.Fatal(err)
		}
		m.SetHook(func(w Write) error {
			time.Sleep(2 * time.Second)
			return nil
		})
		start := time.Now()
		if err := s.Log.StoreLogs(entries(4, 5, 1)); !errors.Is(err, ErrStalled) {
			t.Errorf("a write on a stalling disk: %v", err)
		}
		if got := time.Since(start); got != 300*time.Millisecond {
			t.Errorf("it took %v", got)
		}
		m.SetHook(nil)
		if err := s.Log.StoreLog(entry(6, 1)); !errors.Is(err, ErrStalled) {
			t.Errorf("the next write: %v", err)
		}
		if err := s.Log.DeleteRange(1, 1); !errors.Is(err, ErrStalled) {
			t.Errorf("a delete: %v", err)
		}
		if err := s.Stable.Set([]byte(keyVoteCand), []byte("node:1/a")); !errors.Is(err, ErrStalled) {
			t.Errorf("a vote: %v", err)
		}
		if err := s.Stable.SetUint64([]byte(keyCurrentTerm), 0); err != nil {
			t.Errorf("the term that stands there already: %v", err)
		}
		if err := s.Log.GetLog(3, &raft.Log{}); err != nil {
			t.Errorf("a read: %v; raft panics when it cannot read what it applies", err)
		}
		if err := s.Reset(); !errors.Is(err, ErrStalled) {
			t.Errorf("reset before the late write has returned: %v", err)
		}
		if got := e.String(); got != "stall" {
			t.Errorf("told %q", got)
		}
		time.Sleep(2 * time.Second)
		if got := e.String(); got != "stall settled" {
			t.Errorf("told %q", got)
		}
		if err := s.Log.StoreLog(entry(6, 1)); !errors.Is(err, ErrStalled) {
			t.Errorf("a write before the reset: %v", err)
		}
		if err := s.Reset(); err != nil {
			t.Fatal(err)
		}
		if got := bounds(t, s.Log); got != "1-5" {
			t.Errorf("the late write did not land: %s", got)
		}
		if err := s.Log.StoreLog(entry(6, 1)); err != nil {
			t.Errorf("a write after the reset: %v", err)
		}
	})
}

// raft would panic on an error, and campaign on a log it does not know without
// one: its goroutine ends, and its deferred functions run.
func TestTermOnAPoisonedStoreEndsTheGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, _ := watched(t)
		defer s.Close()
		m.SetHook(func(Write) error { time.Sleep(time.Second); return nil })
		if err := s.Log.StoreLog(entry(1, 1)); !errors.Is(err, ErrStalled) {
			t.Fatal(err)
		}
		answered := false
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { answered = true }()
			err := s.Stable.SetUint64([]byte(keyCurrentTerm), 9)
			t.Errorf("returned %v", err)
		}()
		<-done
		if !answered {
			t.Error("deferred functions did not run")
		}
		time.Sleep(time.Second)
		if err := s.Reset(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stable.GetUint64([]byte(keyCurrentTerm)); err == nil {
			t.Error("the term was stored")
		}
	})
}

func TestHangingWriteIsTheEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(s *Stores) error
		told string
	}{
		{"store", func(s *Stores) error { return s.Log.StoreLog(entry(1, 1)) }, "stall fail"},
		{"vote", func(s *Stores) error { return s.Stable.Set([]byte(keyVoteCand), []byte("x")) }, "fail"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, s, e := watched(t)
				hang := make(chan struct{})
				m.SetHook(func(Write) error { <-hang; return nil })
				if err := c.do(s); err == nil {
					t.Error("a write that hangs succeeded")
				}
				time.Sleep(10 * time.Second)
				if got := e.String(); got != c.told {
					t.Errorf("told %q, want %q", got, c.told)
				}
				if err := s.Log.StoreLog(entry(2, 1)); !errors.Is(err, ErrFailed) {
					t.Errorf("the next write: %v", err)
				}
				if err := s.Reset(); !errors.Is(err, ErrFailed) {
					t.Errorf("reset: %v", err)
				}
				if err := s.Close(); !errors.Is(err, ErrFailed) {
					t.Errorf("close while the write hangs: %v", err)
				}
				close(hang)
			})
		})
	}
}

// After a failed flush nothing is tried again.
func TestFailedWriteIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, e := watched(t)
		m.SetHook(func(Write) error { return syscall.EIO })
		if err := s.Log.StoreLog(entry(1, 1)); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("got %v", err)
		}
		m.SetHook(func(Write) error { t.Error("tried again"); return nil })
		if err := s.Log.StoreLog(entry(1, 1)); !errors.Is(err, ErrFailed) {
			t.Errorf("the next write: %v", err)
		}
		if got := e.String(); got != "fail" {
			t.Errorf("told %q", got)
		}
		synctest.Wait() // the write's goroutine has ended, not only told
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestSlowDeleteDoesNotPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, e := watched(t)
		defer s.Close()
		if err := s.Log.StoreLogs(entries(1, 10, 1)); err != nil {
			t.Fatal(err)
		}
		m.SetHook(func(Write) error { time.Sleep(5 * time.Second); return nil })
		if err := s.Log.DeleteRange(1, 5); err != nil {
			t.Errorf("got %v", err)
		}
		if got := e.String(); got != "" {
			t.Errorf("told %q", got)
		}
	})
}

func TestFailedFlushOfASnapshotIsTheEnd(t *testing.T) {
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	faults := vfs.NewFaults(mem)
	failed := make(chan error, 1)
	s, err := NewMemory().Open(Options{FS: faults, Dir: "/data/m", OnFail: func(err error) { failed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	faults.Inject(vfs.Rule{Ops: vfs.OpWrite, Path: stateFile, Err: syscall.ENOSPC, Times: 1})
	k, err := s.Snapshots.Create(1, 5, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(k, "content"); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	if err := s.Log.StoreLog(entry(1, 1)); err != nil {
		t.Errorf("a snapshot that finds no room is no reason to stop the log: %v", err)
	}
	faults.Inject(vfs.Rule{Ops: vfs.OpSync, Path: stateFile, Err: syscall.EIO})
	k, err = s.Snapshots.Create(1, 5, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
	if err := <-failed; !errors.Is(err, syscall.EIO) {
		t.Errorf("OnFail got %v", err)
	}
	if all, err := s.Snapshots.List(); err != nil || len(all) != 0 {
		t.Errorf("a snapshot that was not flushed is listed: %v, %v", all, err)
	}
}
