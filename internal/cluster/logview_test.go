package cluster

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/vfs"
)

func entries(term uint64, from, to uint64) (all []*raft.Log) {
	for i := from; i <= to; i++ {
		all = append(all, &raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: []byte(fmt.Sprint(i))})
	}
	return all
}

func viewOf(t *testing.T) (logView, func(index, term uint64)) {
	t.Helper()
	stores, err := raftstore.NewMemory().Open(raftstore.Options{FS: vfs.NewMem(), Dir: "data/log"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stores.Close() })
	cache, err := raft.NewLogCache(logCache, stores.Log)
	if err != nil {
		t.Fatal(err)
	}
	return logView{cache, stores.Snapshots}, func(index, term uint64) {
		t.Helper()
		sink, err := stores.Snapshots.Create(1, index, term, raft.Configuration{}, 1, nil)
		if err == nil {
			_, err = sink.Write([]byte("state"))
		}
		if err = errors.Join(err, sink.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// termAt is what raft finds at an index; 0 for nothing.
func (v logView) termAt(t *testing.T, index uint64) uint64 {
	t.Helper()
	var l raft.Log
	switch err := v.GetLog(index, &l); {
	case errors.Is(err, raft.ErrLogNotFound):
		return 0
	case err != nil:
		t.Fatal(err)
	}
	return l.Term
}

func TestLogBehindAnInstalledSnapshot(t *testing.T) {
	v, snapshot := viewOf(t)
	// 1 to 6 in term 1, then the tail of a deposed leader.
	if err := errors.Join(v.StoreLogs(entries(1, 1, 6)), v.StoreLogs(entries(2, 7, 14))); err != nil {
		t.Fatal(err)
	}
	snapshot(20, 3)
	if err := v.StoreLogs(entries(3, 21, 24)); err != nil {
		t.Fatal(err)
	}
	for index := uint64(1); index < 20; index++ {
		if term := v.termAt(t, index); term != 0 {
			t.Errorf("entry %d of term %d from before the snapshot would be sent to a follower", index, term)
		}
	}
	if v.termAt(t, 20) != 3 || v.termAt(t, 21) != 3 {
		t.Errorf("terms %d and %d where the snapshot ends and behind it, want 3", v.termAt(t, 20), v.termAt(t, 21))
	}
	// All behind the snapshot conflicts with the next leader; the logs meet at 20.
	if err := v.DeleteRange(21, 24); err != nil {
		t.Fatal(err)
	}
	if last, err := v.LastIndex(); err != nil || last != 20 || v.termAt(t, 20) != 3 {
		t.Errorf("the log ends at %d (%v), want 20", last, err)
	}
	if err := v.StoreLogs(entries(4, 21, 40)); err != nil {
		t.Fatal(err)
	}
	// A snapshot of this node's own, and raft cuts up to where it ends.
	snapshot(30, 4)
	if err := v.DeleteRange(20, 30); err != nil {
		t.Fatal(err)
	}
	if first, err := v.FirstIndex(); err != nil || first != 30 || v.termAt(t, 30) != 4 {
		t.Errorf("the log begins at %d (%v), want where the snapshot ends", first, err)
	}
	if err := v.DeleteRange(30, 35); err != nil {
		t.Fatal(err)
	}
	if first, err := v.FirstIndex(); err != nil || first != 36 {
		t.Errorf("the log begins at %d (%v), want 36", first, err)
	}
	if err := v.StoreLogs(entries(4, 50, 51)); err == nil {
		t.Error("a hole that no snapshot fills")
	}
}

func TestEmptyLogBehindASnapshot(t *testing.T) {
	v, snapshot := viewOf(t)
	snapshot(20, 3)
	if err := v.StoreLogs(entries(3, 21, 21)); err != nil {
		t.Fatal(err)
	}
	if v.termAt(t, 20) != 3 || v.termAt(t, 21) != 3 {
		t.Error("the log does not begin where the snapshot ends")
	}
}
