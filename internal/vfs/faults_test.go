package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
)

var errBroken = errors.New("broken")

// TestEveryCallCanFail fails each call of FS and File by its kind and by no other.
func TestEveryCallCanFail(t *testing.T) {
	f := vfs.NewFaults(vfs.NewMem())
	ok(t, f.Mkdir("dir"))
	file := create(t, f, "dir/file", "content")
	calls := []struct {
		op   vfs.Op
		call func() error
	}{
		{vfs.OpCreate, func() error { _, err := f.Create("dir/new"); return err }},
		{vfs.OpOpen, func() error { _, err := f.Open("dir/file"); return err }},
		{vfs.OpOpen, func() error { _, err := f.OpenReadWrite("dir/file"); return err }},
		{vfs.OpRead, func() error { _, err := file.ReadAt(make([]byte, 1), 0); return err }},
		{vfs.OpWrite, func() error { _, err := file.WriteAt([]byte("x"), 0); return err }},
		{vfs.OpWrite, func() error { _, err := file.WritevAt([][]byte{[]byte("x")}, 0); return err }},
		{vfs.OpSync, func() error { return file.Sync() }},
		{vfs.OpSync, func() error { return file.Datasync() }},
		{vfs.OpTruncate, func() error { return file.Truncate(7) }},
		{vfs.OpPreallocate, func() error { return file.Preallocate(0, 1) }},
		{vfs.OpSize, func() error { _, err := file.Size(); return err }},
		{vfs.OpMkdir, func() error { return f.Mkdir("dir/sub") }},
		{vfs.OpMkdir, func() error { return f.MkdirAll("dir/sub") }},
		{vfs.OpRename, func() error { return f.Rename("dir/sub", "dir/sub2") }},
		{vfs.OpRemove, func() error { return f.Remove("dir/sub2") }},
		{vfs.OpRemove, func() error { return f.RemoveAll("dir/sub2") }},
		{vfs.OpReadDir, func() error { _, err := f.ReadDir("dir"); return err }},
		{vfs.OpStat, func() error { _, err := f.Stat("dir/file"); return err }},
		{vfs.OpSyncDir, func() error { return f.SyncDir("dir") }},
		{vfs.OpUsage, func() error { _, _, err := f.Usage("dir"); return err }},
		{vfs.OpLock, func() error { _, err := f.Lock("dir/lock"); return err }},
		{vfs.OpClose, func() error { return file.Close() }},
	}
	var all vfs.Op
	for i, c := range calls {
		all |= c.op
		if c.op != vfs.OpClose { // which cannot be tried twice
			broken := f.Inject(vfs.Rule{Ops: c.op, Err: errBroken})
			if err := c.call(); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "dir") {
				t.Errorf("call %d: %v", i, err)
			}
			broken.Heal()
		}
		other := f.Inject(vfs.Rule{Ops: vfs.OpAny &^ c.op, Err: errBroken})
		before := f.Count(c.op)
		if err := c.call(); err != nil {
			t.Errorf("call %d, when others fail: %v", i, err)
		}
		if f.Count(c.op) != before+1 {
			t.Errorf("call %d was not counted", i)
		}
		other.Heal()
	}
	if bits.OnesCount32(uint32(vfs.OpAny)) != 17 || all != vfs.OpAny {
		t.Errorf("kinds %b, tried %b", vfs.OpAny, all)
	}
	if got := names(t, f, "dir"); fmt.Sprint(got) != "[file lock new]" {
		t.Errorf("what failed was done all the same: %v", got)
	}
	file = must(f.Open("dir/file"))(t)
	f.Inject(vfs.Rule{Ops: vfs.OpClose, Err: errBroken})
	wantErr(t, file.Close(), errBroken)
	f.Heal()
	_, err := file.ReadAt(make([]byte, 1), 0)
	if err == nil {
		t.Error("the file is open after a Close that failed")
	}
	_, err = file.SyscallConn()
	wantErr(t, err, vfs.ErrNotSupported)
}

// TestWhichCallsFail tells by their numbers which of 20 writes fail.
func TestWhichCallsFail(t *testing.T) {
	for _, c := range []struct {
		rule vfs.Rule
		want string
	}{
		{vfs.Rule{}, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"},
		{vfs.Rule{Nth: 3}, "3"},
		{vfs.Rule{After: 17}, "18 19 20"},
		{vfs.Rule{Every: 6}, "6 12 18"},
		{vfs.Rule{After: 5, Every: 6}, "11 17"},
		{vfs.Rule{Times: 2}, "1 2"},
		{vfs.Rule{After: 3, Times: 2}, "4 5"},
		{vfs.Rule{Ops: vfs.OpSync}, ""},
		{vfs.Rule{Ops: vfs.OpWrite | vfs.OpSync, Nth: 20}, "20"},
		{vfs.Rule{Path: "log"}, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"},
		{vfs.Rule{Path: "*og", Nth: 1}, "1"},
		{vfs.Rule{Path: "dir-?/log", Nth: 1}, "1"},
		{vfs.Rule{Path: "dir-1/*", Nth: 1}, "1"},
		{vfs.Rule{Path: "dir-2/log"}, ""},
		{vfs.Rule{Path: "dir-1"}, ""},
		{vfs.Rule{Path: "a/b/c/dir-1/log"}, ""},
		{vfs.Rule{Path: "[malformed"}, ""},
	} {
		f := vfs.NewFaults(vfs.NewMem())
		ok(t, f.Mkdir("dir-1"))
		file := create(t, f, "dir-1/log", "")
		c.rule.Err = errBroken
		rule := f.Inject(c.rule)
		var failed []string
		for i := range 20 {
			if _, err := file.WriteAt([]byte("x"), int64(i)); err != nil {
				failed = append(failed, fmt.Sprint(i+1))
			}
		}
		if got := strings.Join(failed, " "); got != c.want || rule.Fired() != len(failed) {
			t.Errorf("%+v: writes %q failed, want %q; fired %d", c.rule, got, c.want, rule.Fired())
		}
	}
}

func TestProbability(t *testing.T) {
	run := func(seed uint64) (s string) {
		f := vfs.NewFaults(vfs.NewMem())
		file := create(t, f, "log", "")
		f.Inject(vfs.Rule{Ops: vfs.OpWrite, Probability: 0.3, Seed: seed, Err: errBroken})
		for range 1000 {
			if _, err := file.WriteAt([]byte("x"), 0); err != nil {
				s += "x"
			} else {
				s += "."
			}
		}
		return s
	}
	if n := strings.Count(run(1), "x"); n < 250 || n > 350 {
		t.Errorf("%d of 1000 failed, want about 300", n)
	}
	if once, again := run(1), run(1); once != again || once == run(2) {
		t.Error("what fails does not follow from the seed")
	}
}

func TestRenameMatchesEitherName(t *testing.T) {
	f := vfs.NewFaults(vfs.NewMem())
	save(t, f, "a", "")
	for _, path := range []string{"a", "b"} {
		rule := f.Inject(vfs.Rule{Ops: vfs.OpRename, Path: path, Err: errBroken})
		wantErr(t, f.Rename("a", "b"), errBroken)
		rule.Heal()
	}
	ok(t, f.Rename("a", "b"))
}

func TestShortWritesAndReads(t *testing.T) {
	f := vfs.NewFaults(vfs.NewMem())
	file := create(t, f, "log", "0123456789")
	rule := f.Inject(vfs.Rule{Ops: vfs.OpWrite, Err: syscall.ENOSPC, Short: 3})
	if n, err := file.WriteAt([]byte("abcdef"), 0); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WriteAt: %d, %v", n, err)
	}
	if n, err := file.WritevAt([][]byte{[]byte("AB"), []byte("CD")}, 6); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WritevAt: %d, %v", n, err)
	}
	rule.Heal()
	wantContent(t, f, "log", "abc345ABC9")

	rule = f.Inject(vfs.Rule{Ops: vfs.OpWrite | vfs.OpRead, Err: syscall.EIO, Short: -1, Seed: 7})
	seen := make(map[int]bool)
	for range 100 {
		n, err := file.WriteAt([]byte("abc"), 0)
		wantErr(t, err, syscall.EIO)
		p := make([]byte, 3)
		m, err := file.ReadAt(p, 0)
		wantErr(t, err, syscall.EIO)
		if string(p[:m]) != "abc"[:m] {
			t.Errorf("read %q", p[:m])
		}
		seen[n], seen[10+m] = true, true
	}
	if len(seen) != 8 {
		t.Errorf("lengths %v", seen)
	}
	rule.Heal()
	f.Inject(vfs.Rule{Ops: vfs.OpWrite, Err: syscall.ENOSPC, Short: 100})
	if n, err := file.WriteAt([]byte("xyz"), 0); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("longer than the write: %d, %v", n, err)
	}
	f.Heal()
	f.Inject(vfs.Rule{Ops: vfs.OpRead, Err: syscall.EIO, Short: 5})
	if n, err := file.ReadAt(make([]byte, 10), 8); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Errorf("short read at the end: %d, %v", n, err)
	}
}

func TestLostAndFlipped(t *testing.T) {
	m := vfs.NewMem()
	f := vfs.NewFaults(m)
	file := create(t, f, "log", "content")
	rule := f.Inject(vfs.Rule{Lost: true})
	if n, err := file.WriteAt([]byte("xyz"), 0); n != 3 || err != nil {
		t.Errorf("lost write: %d, %v", n, err)
	}
	if n, err := file.WritevAt([][]byte{[]byte("x"), []byte("yz")}, 0); n != 3 || err != nil {
		t.Errorf("lost vector: %d, %v", n, err)
	}
	ok(t, file.Sync())
	ok(t, file.Datasync())
	ok(t, file.Truncate(0))
	ok(t, f.SyncDir("."))
	ok(t, f.Rename("log", "other"))
	ok(t, f.Remove("log"))
	rule.Heal()
	wantContent(t, f, "log", "content")
	if seen := outcomes(m, func(m *vfs.Mem) string { return fmt.Sprint(len(names(t, m, "."))) }); seen["0"] == 0 {
		t.Error("a lost SyncDir made a name durable")
	}

	f.Inject(vfs.Rule{Ops: vfs.OpRead, Flip: true})
	p := make([]byte, 7)
	for range 50 {
		if _, err := file.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		wrong := 0
		for i := range p {
			wrong += bits.OnesCount8(p[i] ^ "content"[i])
		}
		if wrong != 1 {
			t.Fatalf("%d bits wrong in %q", wrong, p)
		}
	}
	if n, err := file.ReadAt(make([]byte, 100), 6); n > 1 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

func TestDelaysAndStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := vfs.NewFaults(vfs.NewMem())
		file := create(t, f, "log", "content")
		f.Inject(vfs.Rule{Ops: vfs.OpSync, Delay: time.Second})
		f.Inject(vfs.Rule{Ops: vfs.OpSync, Delay: 2 * time.Second, Times: 1})
		start := time.Now()
		ok(t, file.Sync())
		ok(t, file.Sync())
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("two syncs took %v", took)
		}
		f.Heal()

		hung := f.Inject(vfs.Rule{Ops: vfs.OpSync, Stall: true})
		failing := f.Inject(vfs.Rule{Ops: vfs.OpSync, Stall: true, Err: errBroken, Nth: 2})
		select {
		case <-hung.First():
			t.Error("met before any call")
		default:
		}
		var errs [3]error
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = file.Sync() })
		}
		<-hung.First()
		synctest.Wait()
		if hung.Waiting() != 3 || hung.Fired() != 3 || failing.Fired() != 1 {
			t.Errorf("%d waiting, fired %d and %d", hung.Waiting(), hung.Fired(), failing.Fired())
		}
		if _, err := file.WriteAt([]byte("C"), 0); err != nil {
			t.Error(err) // others go on
		}
		hung.Heal()
		hung.Heal()
		synctest.Wait()
		if hung.Waiting() != 0 || failing.Waiting() != 1 {
			t.Errorf("%d and %d waiting after the first was healed", hung.Waiting(), failing.Waiting())
		}
		f.Heal()
		wg.Wait()
		if failed := errors.Join(errs[:]...); !errors.Is(failed, errBroken) || strings.Count(failed.Error(), "broken") != 1 {
			t.Errorf("errors of the stalled: %v", failed)
		}
		ok(t, file.Sync())
	})
}

// TestFailedSyncLies: after an error of a sync the next is successful, all is still read, and a crash has lost it.
func TestFailedSyncLies(t *testing.T) {
	m := vfs.NewMem()
	f := vfs.NewFaults(vfs.NewFaults(m)) // the hook goes through
	file := create(t, f, "log", strings.Repeat("a", page))
	ok(t, file.Sync())
	ok(t, f.SyncDir("."))
	_, err := file.WriteAt(bytes.Repeat([]byte("b"), page), page)
	ok(t, err)
	rule := f.Inject(vfs.Rule{Ops: vfs.OpSync, Err: syscall.EIO, Nth: 1})
	wantErr(t, file.Datasync(), syscall.EIO)
	rule.Heal()
	_, err = file.WriteAt(bytes.Repeat([]byte("c"), page), 2*page)
	ok(t, err)
	ok(t, file.Datasync())
	a, b, c, zeros := strings.Repeat("a", page), strings.Repeat("b", page), strings.Repeat("c", page), strings.Repeat("\x00", page)
	wantContent(t, f, "log", a+b+c)
	for seed := range uint64(20) {
		wantContent(t, m.CrashClone(rng(seed)), "log", a+zeros+c)
	}

	clone := m.CrashClone(rng(0))
	wantContent(t, clone, "log", a+zeros+c)
	ok(t, vfs.DropCache(file, 0, 3*page)) // the device tells the truth
	wantContent(t, f, "log", a+zeros+c)

	_, err = file.WriteAt([]byte("d"), page) // a page that is written again is whole again
	ok(t, err)
	ok(t, file.Sync())
	wantContent(t, m.CrashClone(rng(0)), "log", a+"d"+zeros[1:]+c)
}

func TestFailedSyncKeepsWhatIsWrittenLater(t *testing.T) {
	m := vfs.NewMem()
	f := vfs.NewFaults(m)
	file := create(t, f, "log", "lost")
	ok(t, f.SyncDir("."))
	f.Inject(vfs.Rule{Ops: vfs.OpSync, Err: syscall.EIO, Times: 1})
	wantErr(t, file.Sync(), syscall.EIO)
	_, err := file.WriteAt([]byte("kept"), 4)
	ok(t, err)
	ok(t, vfs.DropCache(file, 0, 0)) // a dirty page cannot be dropped
	wantContent(t, f, "log", "lostkept")
	ok(t, file.Sync())
	wantContent(t, m.CrashClone(rng(0)), "log", "lostkept") // of one page
}

func TestUsageSaysWhatItIsTold(t *testing.T) {
	f := vfs.NewFaults(vfs.NewMem())
	f.SetUsage(100, 5)
	if total, free, err := f.Usage("."); total != 100 || free != 5 || err != nil {
		t.Errorf("%d of %d, %v", free, total, err)
	}
	f.Heal()
	if total, _, err := f.Usage("."); total != 0 || err != nil {
		t.Errorf("healed: %d, %v", total, err)
	}
}

func TestFaultsOnTheRealFileSystem(t *testing.T) {
	f := vfs.NewFaults(vfs.OS{})
	file := create(t, f, t.TempDir()+"/log", "content")
	rule := f.Inject(vfs.Rule{Ops: vfs.OpSync, Err: syscall.EIO})
	wantErr(t, file.Datasync(), syscall.EIO)
	rule.Heal()
	ok(t, file.Datasync())
	ok(t, vfs.DropCache(file, 0, 0))
	ok(t, file.Close())
	if n := f.Count(vfs.OpSync); n != 2 {
		t.Errorf("%d syncs counted", n)
	}
}
