package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/vnet"
)

// TestSchedules lets three nodes live through seeded faults: links cut in one
// direction or both, resets, crashes and restarts, disks that stall. Meanwhile
// topics are created through all nodes. At the end everything is healed, and
// every topic whose creation was acknowledged is there on every node, under the
// id that was told, made once; all images are equal; no term had two leaders.
//
// CHRONIK_SEEDS=from-to runs other seeds than the usual ones.
func TestSchedules(t *testing.T) {
	long(t)
	from, to := 1, 6
	if s := os.Getenv("CHRONIK_SEEDS"); s != "" {
		a, b, _ := strings.Cut(s, "-")
		from, _ = strconv.Atoi(a)
		to, _ = strconv.Atoi(b)
	}
	for seed := from; seed <= to; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, []int32{1, 2, 3}, func(t *testing.T, w *world) { schedule(t, w, uint64(seed)) })
		})
	}
}

type ledger struct {
	mu      sync.Mutex
	acked   map[string][16]byte
	asked   int
	unknown int
}

func schedule(t *testing.T, w *world, seed uint64) {
	w.rng = rand.New(rand.NewPCG(seed, 7))
	for _, n := range w.nodes {
		n.adjust = func(o *Options) {
			o.Limits.SnapshotEntries, o.Limits.TrailingEntries = 60, 20
			o.Timing.SnapshotInterval = time.Second
		}
	}
	w.startAll()
	w.awaitReady(3 * time.Second)
	l := &ledger{acked: map[string][16]byte{}}
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for c := range 4 {
		clients.Go(func() { w.client(t, l, c, stop) })
	}
	w.trouble(12 * time.Second)
	w.net.Heal()
	for _, id := range w.ids() {
		n := w.nodes[id]
		n.disk.SetHook(nil)
		if n.c != nil && n.ended() {
			n.wait()
		}
		if n.c == nil {
			n.start()
		}
	}
	w.awaitReady(8 * time.Second)
	time.Sleep(500 * time.Millisecond)
	close(stop)
	clients.Wait()
	w.agree(3 * time.Second)
	for name, id := range l.acked {
		for _, n := range w.nodes {
			if topic := n.c.Image().TopicByName(name); topic == nil || topic.ID != id {
				t.Errorf("node %d does not have the acknowledged topic %s under its id", n.id, name)
			}
		}
	}
	t.Logf("%d asked, %d acknowledged, %d without an answer; term %d, index %d", l.asked, len(l.acked), l.unknown, termOf(w), w.leader().c.Image().Index())
	if len(l.acked) < 20 {
		t.Errorf("only %d topics were acknowledged", len(l.acked))
	}
	leaders := map[string]int32{}
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	for _, x := range w.log.lines {
		if strings.HasPrefix(x.text, "became leader at term ") {
			if other, ok := leaders[x.text]; ok && other != x.node {
				t.Errorf("nodes %d and %d both %s", other, x.node, x.text)
			}
			leaders[x.text] = x.node
		}
	}
}

func termOf(w *world) uint64 {
	_, term := w.leader().c.Leader()
	return term
}

// client creates topics through one node after another.
func (w *world) client(t *testing.T, l *ledger, c int, stop chan struct{}) {
	for k := 0; ; k++ {
		select {
		case <-stop:
			return
		case <-time.After(30 * time.Millisecond):
		}
		n := w.nodes[int32((c+k)%len(w.nodes)+1)]
		up := n.running.Load()
		if up == nil {
			continue
		}
		name := fmt.Sprintf("t-%d-%d", c, k)
		id, err := createOn(up, name)
		l.mu.Lock()
		l.asked++
		var refusal *metadata.Error
		switch {
		case err == nil:
			l.acked[name] = id
		case errors.As(err, &refusal) && refusal.Code == metadata.CodeTopicAlreadyExists:
			t.Errorf("%s was created twice", name) // each name is asked for once
		default:
			l.unknown++
		}
		l.mu.Unlock()
	}
}

// trouble makes faults for d.
func (w *world) trouble(d time.Duration) {
	pick := func() *node { return w.nodes[int32(w.rng.IntN(len(w.nodes))+1)] }
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Duration(w.rng.IntN(700)) * time.Millisecond) {
		a, b := pick(), pick()
		switch w.rng.IntN(9) {
		case 0:
			w.net.Isolate(hostName(a.id))
		case 1:
			w.net.SetLink(hostName(a.id), hostName(b.id), vnet.Cut)
		case 2:
			w.net.Between(hostName(a.id), hostName(b.id), vnet.Reset)
		case 3:
			if a.c != nil {
				a.crash()
			}
		case 4:
			if a.c != nil && !a.ended() {
				a.stop()
			}
		case 5:
			stall := time.Duration(w.rng.IntN(600)) * time.Millisecond
			a.disk.SetHook(func(raftstore.Write) error { time.Sleep(stall); return nil })
		case 6:
			a.disk.SetHook(nil)
		default:
			w.net.Heal()
			for _, id := range w.ids() {
				n := w.nodes[id]
				if n.c != nil && n.ended() {
					w.t.Errorf("node %d ended by itself: %v", n.id, n.err)
					n.wait()
				}
				if n.c == nil {
					n.start()
				}
			}
		}
	}
}
