package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/vfs"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// BenchmarkSubmit is the controller's throughput on one node without a disk: the
// decision, the entry, raft, the image and the answer. ns/op is a command's share.
func BenchmarkSubmit(b *testing.B) {
	for _, clients := range []int{1, 8, 128} {
		b.Run(fmt.Sprint("clients=", clients), func(b *testing.B) {
			c, epoch := benchNode(b)
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						a, err := c.Submit(context.Background(), &clusterv1.Command{Kind: &clusterv1.Command_AllocateProducerIds{
							AllocateProducerIds: &clusterv1.AllocateProducerIds{BrokerId: 1, BrokerEpoch: epoch},
						}})
						if err != nil || a.GetCode() != 0 {
							b.Errorf("%v %v", a, err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func benchNode(b *testing.B) (*Cluster, int64) {
	b.Helper()
	c, err := New(Options{
		NodeID: 1, DirectoryID: [16]byte{1, 15: 200}, Incarnation: [16]byte{1}, SaveIdentity: func(Identity) error { return nil },
		FS: vfs.NewMem(), Path: "data", OpenStores: raftstore.NewMemory().Open, Limits: Limits{SnapshotEntries: 1 << 40},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	reg, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	epoch, err := c.Register(reg, Broker{
		Directories: [][16]byte{{1, 15: 200}}, Listeners: []metadata.Listener{{Name: "P", Host: "h", Port: 1}}, PreviousEpoch: -1,
	})
	if err != nil {
		b.Fatal(err)
	}
	return c, epoch
}
