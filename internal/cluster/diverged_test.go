package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/vfs"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

// flip changes one record of a node's image, as bad memory would.
func (n *node) flip() {
	f := n.c.member.current.Load().fsm
	img := f.image.Load()
	bad, _ := img.Apply(img.Index(), []*metadata.Record{{Kind: &metadatav1.Record_ProducerIds{
		ProducerIds: &metadatav1.ProducerIds{Next: img.NextProducerID() + 7},
	}}})
	f.image.Store(bad)
	i := n.c.images
	i.mu.Lock()
	defer i.mu.Unlock()
	i.newest = bad
	i.digests[bad.Index()%digestRing] = digests{bad.Index(), bad.Digest(), bad.ShardDigests()}
	i.signal()
}

// Scenario 15: the node whose image differs stops, whichever it is, with both
// sides' digests, and the others go on.
func TestFlippedRecord(t *testing.T) {
	for _, who := range []string{"follower", "leader"} {
		t.Run(who, func(t *testing.T) {
			if who == "leader" {
				long(t)
			}
			trio(t, func(t *testing.T, w *world, leader *node) {
				if _, err := leader.create("t"); err != nil {
					t.Fatal(err)
				}
				w.agree(time.Second)
				n := leader
				if who == "follower" {
					n = w.followers(leader)[0]
				}
				n.flip()
				took := w.within(time.Second, "the odd node ends", n.ended)
				t.Logf("ended after %v", took)
				f := n.fatal()
				var d *Divergence
				if f.Reason != ReasonDiverged || !errors.As(f, &d) {
					t.Fatalf("ended with %v (%v)", f, f.Reason)
				}
				if len(d.Shards) == 0 || len(d.OtherShards) != len(d.Shards) || d.Digest == d.OtherDigest {
					t.Errorf("the error lacks the digests of both sides: %v", f)
				}
				if !strings.Contains(f.Error(), "cluster and controller: ") || strings.Contains(f.Error(), "topic shard") {
					t.Errorf("the error does not say where the images differ: %v", f)
				}
				if ok, err := vfs.Exists(n.fs, d.DumpFile); err != nil || !ok {
					t.Errorf("no dump %q: %v", d.DumpFile, err)
				}
				n.broker.Wait()
				n.c = nil
				for _, other := range w.followers(n) {
					if other.ended() {
						t.Errorf("node %d ended too: %v", other.id, other.err)
					}
				}
				if _, err := w.followers(n)[0].create("after"); err != nil {
					t.Error(err)
				}
				// Its files are sound: what was flipped was memory.
				n.start()
				w.awaitReady(3 * time.Second)
				w.agree(time.Second)
			})
		})
	}
}
