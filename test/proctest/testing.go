package proctest

import (
	"context"
	"testing"
	"time"
)

// Patience bounds a wait in tests: generous, since a busy machine is no bug.
const Patience = 60 * time.Second

// Run starts a cluster for a test and waits until it is ready; it ends with the
// test, and a failed test prints the ends of the logs.
func Run(t testing.TB, c Config) *Cluster {
	t.Helper()
	if c.Bin == "" {
		bin, err := Binary()
		if err != nil {
			t.Fatal(err)
		}
		c.Bin = bin
	}
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	cl, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cl.Kill()
		if t.Failed() {
			for _, n := range cl.Nodes {
				t.Logf("node %d: the end of its log:\n%s", n.ID, n.LogTail(60))
			}
		}
	})
	if err := cl.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := cl.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return cl
}
