package cluster

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/vfs"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
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

// A follower got a snapshot, and entries behind it that were never committed. The
// next leader's log meets its own where the snapshot ends, and nowhere else.
func TestFollowerMeetsTheLeaderWhereItsSnapshotEnds(t *testing.T) {
	long(t)
	bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) {
		var founders []metadata.Founder
		for _, id := range w.ids() {
			founders = append(founders, metadata.Founder{Node: id, Directory: w.nodes[id].directory})
		}
		cluster := clusterID(founders)
		conf := configurationOf(founders)
		// 2 to 20 in term 3: what the cluster has committed.
		history := []*raft.Log{{Index: 1, Term: 0, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(conf)}}
		img := metadata.Empty()
		var at18 *metadata.Image
		for i := uint64(2); i <= 20; i++ {
			recs := []*metadata.Record{producerIDs(int64(i) * 1000)}
			if i == 2 {
				recs = append(recs, &metadata.Record{Kind: &metadatav1.Record_ClusterFormed{ClusterFormed: &metadatav1.ClusterFormed{
					ClusterId: cluster, Founders: founderMessages(founders), Generation: 1,
				}}})
			}
			history = append(history, entry(t, i, 3, 3, recs...))
			img, _ = img.ApplyEntry(i, &metadatav1.Envelope{NowMs: 1, Records: recs})
			if i == 18 {
				at18 = img
			}
		}
		for _, id := range w.ids() {
			n := w.nodes[id]
			n.identity = Identity{ClusterID: cluster, Founders: founders, Generation: 1}
			stores, err := n.disk.Open(raftstore.Options{FS: n.fs, Dir: "data/__raft_metadata-0"})
			if err != nil {
				t.Fatal(err)
			}
			v := logView{stores.Log, stores.Snapshots}
			check := func(errs ...error) {
				t.Helper()
				if err := errors.Join(errs...); err != nil {
					t.Fatal(err)
				}
			}
			if id == 1 {
				// The log of another time, the snapshot, and the tail of a deposed leader.
				check(v.StoreLogs(history[:10]))
				var wrong []*raft.Log
				for i := uint64(11); i <= 14; i++ {
					wrong = append(wrong, entry(t, i, 2, 2, producerIDs(666)))
				}
				check(v.StoreLogs(wrong))
				sink, err := stores.Snapshots.Create(1, 20, 3, conf, 1, nil)
				check(err)
				check(metadata.WriteSnapshot(sink, img), sink.Close())
				var tail []*raft.Log
				for i := uint64(21); i <= 24; i++ {
					tail = append(tail, entry(t, i, 3, 3, producerIDs(777)))
				}
				check(v.StoreLogs(tail), stores.Stable.SetUint64([]byte("CurrentTerm"), 3))
			} else {
				// They have cut their logs, so that there is no way further back.
				sink, err := stores.Snapshots.Create(1, 18, 3, conf, 1, nil)
				check(err)
				check(metadata.WriteSnapshot(sink, at18), sink.Close())
				check(v.StoreLogs(history), v.StoreLogs([]*raft.Log{{Index: 21, Term: 4, Type: raft.LogNoop}}),
					v.DeleteRange(1, 16), stores.Stable.SetUint64([]byte("CurrentTerm"), 4))
			}
			check(stores.Close())
		}
		w.startAll()
		w.awaitReady(5 * time.Second)
		w.agree(time.Second)
		if next := w.nodes[1].c.Image().NextProducerID(); next != 20_000 {
			t.Errorf("the next producer id is %d, want 20000", next)
		}
		if n := w.log.count("Received a snapshot"); n > 0 {
			t.Errorf("%d snapshots were sent to a node that has one", n)
		}
	})
}
