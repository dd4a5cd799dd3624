package storage

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// A start that is broken off while the logs are recovered must leave the recovery points of those
// that it has not reached: without them the next start takes a trimmed log's start for 0.
func TestCloseAfterABrokenRecoveryKeepsTheRecoveryPoints(t *testing.T) {
	for _, boot := range []string{"same", "another"} {
		t.Run(boot, func(t *testing.T) {
			fsys := vfs.NewMem()
			d := memDirectory(t, fsys, func(o *DirectoryOptions) { o.BootID = "same" })
			l := createLog(t, d, "orders", LogOptions{SegmentBytes: 1000})
			for range 20 {
				mustAppend(t, l, 1, simpleBatch(2, 100))
			}
			mustFlush(t, d)
			if err := l.TrimBefore(20); err != nil {
				t.Fatal(err)
			}
			end := l.End()
			d.sweepUp()
			fsys = fsys.Kill()

			d, err := OpenDirectory(DirectoryOptions{FS: fsys, Path: dataDir, BootID: "same"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := d.Recover(ctx); err == nil {
				t.Fatal("the recovery was not broken off")
			}
			if err := d.Close(context.Background()); err == nil {
				t.Error("the close says that the stop was clean")
			}
			fsys = fsys.Kill()

			d = memDirectory(t, fsys, func(o *DirectoryOptions) { o.BootID = boot })
			l = d.Log("orders", 0)
			if l == nil || l.Err() != nil || l.Start() != 20 || l.End() != end {
				t.Fatalf("the log is there: %t, error %v, from %d to %d, want 20 to %d", l != nil, l.Err(), l.Start(), l.End(), end)
			}
			if _, err := readAll(l, 20); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Of two logs with write caching the second falls due while the first is flushed, and nobody appends any more.
func TestALogThatFallsDueDuringARoundIsFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewFaults(vfs.NewMem())
		d := memDirectory(t, fsys)
		first := createLog(t, d, "first", LogOptions{WriteCaching: true})
		second := createLog(t, d, "second", LogOptions{WriteCaching: true})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go d.committer.run(ctx)
		slow := fsys.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "first-0/*.log", Delay: 50 * time.Millisecond})
		mustAppend(t, first, 1, simpleBatch(1, 100))
		time.Sleep(20 * time.Millisecond)
		mustAppend(t, second, 1, simpleBatch(1, 100))
		time.Sleep(time.Second)
		if slow.Fired() == 0 || first.Flushed() < first.End() || second.Flushed() < second.End() {
			t.Fatalf("flushed %d of %d and %d of %d", first.Flushed(), first.End(), second.Flushed(), second.End())
		}
	})
}

// A call of which a part was written, and whose second segment could not be begun, returns no error; the
// failure must be told all the same, or who waits for the first part waits for ever.
func TestAFailureInTheMiddleOfACallIsTold(t *testing.T) {
	fsys := vfs.NewFaults(vfs.NewMem())
	var told []*Log
	d := memDirectory(t, fsys, func(o *DirectoryOptions) { o.OnFail = func(l *Log, _ error) { told = append(told, l) } })
	l := createLog(t, d, "orders", LogOptions{SegmentBytes: 1000})
	fsys.Inject(vfs.Rule{Ops: vfs.OpCreate, Path: "orders-0/*.log", Nth: 2, Err: errors.New("I/O error")})
	in := make([]Append, 12)
	for i := range in {
		in[i].Batch = simpleBatch(1, 150)
	}
	if err := l.Append(1, in); err != nil || in[0].Err != nil || in[11].Err == nil {
		t.Fatalf("append: %v, first %v, last %v", err, in[0].Err, in[11].Err)
	}
	if l.Err() == nil || len(told) != 1 {
		t.Fatalf("the log's error is %v, told %d times", l.Err(), len(told))
	}
}

// Two may set the same log aside: the one that looks for strays, and the one that opens the new topic of its name.
func TestTheSecondToSetALogAsideFindsItDone(t *testing.T) {
	d := memDirectory(t, vfs.NewMem())
	l := createLog(t, d, "orders", LogOptions{})
	for range 2 {
		if err := d.Stray(l); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Create(LogID{Topic: "orders", TopicID: [16]byte{9}}, LogOptions{}); err != nil {
		t.Fatal(err)
	}
}

// While one sets a log aside, another that wants its name for a new log must wait until the directory has gone.
func TestANameIsFreeWhenItsDirectoryHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewFaults(vfs.NewMem())
		d := memDirectory(t, fsys)
		l := createLog(t, d, "orders", LogOptions{})
		stall := fsys.Inject(vfs.Rule{Ops: vfs.OpRename, Path: "orders-0", Stall: true})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := d.Stray(l); err != nil {
				t.Error(err)
			}
		})
		<-stall.First()
		wg.Go(func() {
			if old := d.Log("orders", 0); old != nil {
				if err := d.Stray(old); err != nil {
					t.Error(err)
				}
			}
			if _, err := d.Create(LogID{Topic: "orders", TopicID: [16]byte{9}}, LogOptions{}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		stall.Heal()
		wg.Wait()
	})
}

// An append for which there is no space cuts the file back while it is being flushed: the flush has covered the
// bytes, not the cut. Until the next one has, the bytes could come back behind the end of a segment that is sealed by then.
func TestACutDuringAFlushIsFlushed(t *testing.T) {
	fsys := vfs.NewFaults(vfs.NewMem())
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{})
	mustAppend(t, l, 1, simpleBatch(1, 100))
	stall := fsys.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "orders-0/*.log", Stall: true})
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		d.round()
	}()
	<-stall.First()
	full := fsys.Inject(vfs.Rule{Ops: vfs.OpWrite, Path: "orders-0/*.log", Err: syscall.ENOSPC, Short: 80})
	if err := l.Append(1, []Append{{Batch: simpleBatch(1, 100)}}); !errors.Is(err, ErrStorage) || l.Err() != nil {
		t.Fatalf("append without space: %v, the log: %v", err, l.Err())
	}
	full.Heal()
	stall.Heal()
	<-flushed
	syncs := fsys.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "orders-0/*.log"})
	mustFlush(t, d)
	if syncs.Fired() == 0 {
		t.Error("nothing has flushed the cut")
	}
	mustFlush(t, d)
	if syncs.Fired() > 1 {
		t.Errorf("%d flushes of it", syncs.Fired())
	}
}
