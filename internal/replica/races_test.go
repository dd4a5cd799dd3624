package replica

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/storage"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// What was appended while the leadership went is refused, and in the log all the same. Readers of the next
// leadership are told of it when it is flushed.
func TestReadersAreToldOfWhatALostLeadershipAppended(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.settle()
		p := b.partition("t")
		b.append(p, "first")
		synctest.Wait()
		r := &reader{}
		p.Subscribe(&Subscription{Reader: r})

		write := b.disk.Inject(vfs.Rule{Ops: vfs.OpWrite, Path: "t-0/*.log", Stall: true})
		b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "t-0/*.log", Delay: time.Second})
		refused := make(chan error)
		go func() {
			var round Round
			err := p.AppendLeader([]storage.Append{{Batch: b.batch("second")}}, &round)
			round.Finish()
			refused <- err
		}()
		<-write.First()
		b.fence(1)
		write.Heal()
		b.expectErr(<-refused, ErrNotLeader)
		b.unfence(1)
		synctest.Wait()
		r.mu.Lock()
		r.bytes = 0
		r.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if p.HighWatermark() != 2 || r.bytes == 0 {
			t.Errorf("high watermark %d, and the reader was told of %d bytes", p.HighWatermark(), r.bytes)
		}
	})
}

// Who acts for one epoch must not append in another, neither an older nor a newer one.
func TestAppendInAnotherEpoch(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.settle()
		p := b.partition("t")
		b.append(p, "of the first epoch")
		_, before := p.LeaderEpoch()
		b.fence(1)
		b.unfence(1)
		b.settle()
		_, now := p.LeaderEpoch()
		for epoch, want := range map[int32]error{before: ErrFencedLeaderEpoch, now + 1: ErrUnknownLeaderEpoch, now: nil} {
			end := p.view.Load().log.End()
			var round Round
			a := []storage.Append{{Batch: b.batch("x")}}
			b.expectErr(p.AppendInEpoch(epoch, a, &round), want)
			round.Finish()
			if appended := p.view.Load().log.End() > end; appended != (want == nil) {
				t.Errorf("epoch %d in epoch %d: appended: %t", epoch, now, appended)
			}
		}
	})
}

// The records of a partition that could not be reported yet say nothing of its log. The recovery points do.
func TestUnassignedAndMissingWithRecordsIsLost(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.report = func([]Created) error { return errors.New("no controller") }
		b.topic("t")
		synctest.Wait()
		b.append(b.partition("t"), "acknowledged")
		b.stop()
		b.must(b.fs.RemoveAll("/data/t-0"))
		b.report = nil
		b.start()
		b.expectErr(b.partition("t").Leading(-1), storage.ErrStorage)
	})
}

// Another goroutine may have set the log of an earlier topic aside when the new one is opened.
func TestStraysAreSetAsideBesideTheReconciler(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.settle()
		b.append(b.partition("t"), "of the first")
		b.held = true
		b.deleteTopic("t")
		b.topic("t")
		b.held = false
		log := b.dir.Log("t", 0)
		b.m.OnImage(b.img, metadata.Diff(metadata.Empty(), b.img))
		b.must(b.dir.Stray(log))
		b.must(b.m.SetStraysAside(b.img))
		b.settle()
		b.must(b.partition("t").Leading(-1))
	})
}

// The disk may fail under a log that is being deleted. The partition stays deleted: who has it at hand must look for
// the topic that has its name now.
func TestADeletedPartitionDoesNotFail(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.settle()
		p := b.partition("t")
		b.deleteTopic("t")
		var round Round
		p.fail(&round, storage.ErrStorage)
		round.Finish()
		b.expectErr(p.Leading(-1), ErrUnknownPartition)
		if !p.Deleted() {
			t.Error("it does not say that it is deleted")
		}
	})
}
