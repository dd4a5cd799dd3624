package raftstore

import (
	"math/rand/v2"
	"testing"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// A process that died between the making of the directory and its sync leaves a name that is there and
// not durable; a vote below it would go with the power.
func TestTheDirectoryIsDurableAlsoIfItWasThere(t *testing.T) {
	for seed := range uint64(50) {
		f := vfs.NewMem()
		if err := f.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		if err := f.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
		const dir = "/data/__raft_metadata-0"
		if err := f.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
		if err := makeDir(Options{FS: f, Dir: dir}); err != nil {
			t.Fatal(err)
		}
		if there, err := vfs.Exists(f.Crash(rand.New(rand.NewPCG(seed, 1))), dir); err != nil || !there {
			t.Fatalf("seed %d: it is there after a loss of power: %t, %v", seed, there, err)
		}
	}
}
