package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/metadata"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

// FuzzFSM commits arbitrary entries. Two nodes that apply them, and a third that begins with a snapshot, come to the same image; or all end
// at the same entry, for a reason, and apply nothing behind it. An entry is a byte, its term; two bytes, its length; and its data.
func FuzzFSM(f *testing.F) {
	id, broker := append(make([]byte, 15), 7), metadata.BrokerRecord(&metadata.Broker{ID: 1, Incarnation: metadata.ID{1}, Directories: []metadata.ID{{2}}, Listeners: []metadata.Listener{{Host: "h", Port: 9092}}})
	topic := &metadata.Record{Kind: &metadatav1.Record_Topic{Topic: &metadatav1.Topic{Id: id, Name: "t"}}}
	var good []byte
	for n, recs := range [][]*metadata.Record{{producerIDs(5)}, {broker, topic}, {metadata.ConfigRecord("t", map[string]string{"retention.ms": "1"})}} {
		data, err := metadata.Encode(&metadatav1.Envelope{Term: 3, NowMs: int64(n), Records: recs})
		if err != nil {
			f.Fatal(err)
		}
		good = append(binary.BigEndian.AppendUint16(append(good, 3), uint16(len(data))), data...)
		f.Add(good, byte(n))
	}
	f.Add(append(bytes.Clone(good), 4, 0, 2, 8, 3), byte(2))    // decided in term 3 and stored in term 4
	f.Add(append(bytes.Clone(good), 3, 0, 2, 8, 9), byte(1))    // of a newer version
	f.Add(append(bytes.Clone(good), 3, 0, 2, 0xff, 1), byte(3)) // damaged
	f.Fuzz(func(t *testing.T, input []byte, at byte) {
		a, b := newFuzzFSM(), newFuzzFSM()
		var late *fuzzFSM
		for index := uint64(1); len(input) >= 3; index++ {
			if index == uint64(at%8)+1 {
				if late = a.snapshot(t); late == nil {
					return
				}
			}
			size := min(int(binary.BigEndian.Uint16(input[1:])), len(input)-3)
			l := &raft.Log{Index: index, Term: uint64(input[0]), Data: input[3 : 3+size]}
			input = input[3+size:]
			nodes := []*fuzzFSM{a, b}
			if late != nil {
				nodes = append(nodes, late)
			}
			if !applyAtAll(t, l, nodes) {
				return
			}
		}
	})
}

// applyAtAll applies an entry at all nodes, and tells whether they can go on.
func applyAtAll(t *testing.T, l *raft.Log, nodes []*fuzzFSM) bool {
	t.Helper()
	first := ""
	for i, n := range nodes {
		now := n.apply(t, l)
		if first == "" {
			first = now
		}
		if now != first {
			t.Fatalf("entry %d, %x: node 0 %s, node %d %s", l.Index, l.Data, first, i, now)
		}
	}
	for _, n := range nodes {
		if n.failed == nil {
			continue
		}
		before := n.image.Load()
		if a := n.Apply(&raft.Log{Index: l.Index + 1, Term: l.Term}).(applied); !errors.Is(a.err, n.failed) || n.image.Load() != before {
			t.Fatalf("an entry was applied behind entry %d: %v", l.Index, a.err)
		}
		if _, err := n.Snapshot(); err == nil {
			t.Fatalf("a snapshot was taken of an image that lacks entry %d", l.Index)
		}
		return false
	}
	return nodes[0].broken == ""
}

// fuzzFSM is an fsm that keeps what it ended with.
type fuzzFSM struct {
	*fsm
	ended  []error
	broken string // an invariant of test builds
}

func newFuzzFSM() *fuzzFSM {
	n := &fuzzFSM{}
	n.fsm = newFSM(newImages(), newMetrics(prometheus.NewRegistry()), func(err error) { n.ended = append(n.ended, err) })
	return n
}

// apply applies an entry and says what has come of it.
func (n *fuzzFSM) apply(t *testing.T, l *raft.Log) (what string) {
	defer func() { // only states that no controller makes trip an invariant
		if p := recover(); p != nil {
			n.broken = fmt.Sprint(p)
			what = n.broken
			if !bytes.HasPrefix([]byte(what), []byte("invariant ")) {
				panic(p)
			}
		}
	}()
	before := n.image.Load()
	a := n.Apply(l).(applied)
	if a.err != nil && n.image.Load() != before {
		t.Fatalf("entry %d is refused, and has changed the image: %v", l.Index, a.err)
	}
	var fatal *FatalError
	if failed := n.failed != nil; len(n.ended) > 1 || failed != (len(n.ended) == 1) || failed && !errors.As(n.ended[0], &fatal) {
		t.Fatalf("entry %d: failed with %v, told %v", l.Index, n.failed, n.ended)
	}
	return fmt.Sprintf("digest %x, index %d, %v", n.image.Load().Digest(), n.image.Load().Index(), a.err)
}

// snapshot starts a node from a snapshot of n.
func (n *fuzzFSM) snapshot(t *testing.T) *fuzzFSM {
	var sink memorySink
	s, err := n.Snapshot()
	if err == nil {
		err = s.Persist(&sink)
	}
	late := newFuzzFSM()
	if err == nil {
		err = late.Restore(io.NopCloser(&sink))
	}
	if err != nil {
		t.Fatal(err)
	}
	if have, want := late.image.Load(), n.image.Load(); have.Digest() != want.Digest() || have.Index() != want.Index() {
		t.Fatalf("the snapshot of %d is restored as one of %d", want.Index(), have.Index())
	}
	return late
}

// memorySink is a raft.SnapshotSink in memory.
type memorySink struct{ bytes.Buffer }

func (*memorySink) ID() string    { return "memory" }
func (*memorySink) Cancel() error { return nil }
func (*memorySink) Close() error  { return nil }
