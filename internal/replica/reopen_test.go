package replica

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/storage"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// A disk that refuses a new log is asked again, ever more seldom; when it takes it the partition is there.
func TestALogThatCouldNotBeMadeIsMadeLater(t *testing.T) {
	for _, rule := range []vfs.Rule{
		{Ops: vfs.OpMkdir, Path: "t-0", Err: syscall.ENOSPC},
		{Ops: vfs.OpCreate, Path: "t-0/*", Err: syscall.EIO},
	} {
		inBed(t, func(t *testing.T, b *bed) {
			full := b.disk.Inject(rule)
			b.topic("t")
			b.topic("other")
			b.settle()
			p := b.partition("t")
			b.expectErr(p.Leading(-1), storage.ErrStorage)
			if p.Opening() {
				t.Error("it says that waiting helps")
			}
			b.must(b.partition("other").Leading(-1))
			w := &waiter{}
			if p.Await(1, true, w) || len(w.got) != 1 || !errors.Is(w.got[0], syscall.ENOSPC) && !errors.Is(w.got[0], syscall.EIO) {
				t.Errorf("who waits is told %v", w.got)
			}
			time.Sleep(10 * time.Minute)
			b.fence(1) // an image that concerns the partition is an attempt, too
			b.unfence(1)
			synctest.Wait()
			b.expectErr(p.Leading(-1), storage.ErrStorage)
			if n := full.Fired(); n < 15 || n > 40 {
				t.Errorf("%d attempts in ten minutes", n)
			}
			full.Heal()
			time.Sleep(lastRetry)
			b.settle()
			b.must(p.Leading(-1))
			target := b.append(p, "x")
			synctest.Wait()
			if !p.Acknowledged(target, true) {
				t.Error("what is appended is not acknowledged")
			}
			if n := strings.Count(b.log.String(), "cannot make the log"); n != 1 {
				t.Errorf("the reason is logged %d times:\n%s", n, b.log)
			}
			if len(b.reported) != 2 {
				t.Errorf("reported %v", b.reported)
			}
			if len(b.m.unopened) != 0 {
				t.Error("it is tried again although it is there")
			}
		})
	}
}

// A topic that is deleted while its log cannot be made is not made any more.
func TestALogThatCouldNotBeMadeIsForgotten(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		full := b.disk.Inject(vfs.Rule{Ops: vfs.OpMkdir, Path: "t-0", Err: syscall.ENOSPC})
		b.topic("t")
		b.settle()
		b.deleteTopic("t")
		b.settle()
		before := full.Fired()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := full.Fired() - before; n != 0 || len(b.m.unopened) != 0 {
			t.Errorf("%d attempts after the deletion", n)
		}
		full.Heal()
		b.topic("t")
		b.settle()
		b.must(b.partition("t").Leading(-1))
	})
}
