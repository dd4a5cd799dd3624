package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance runs the same test on every file system.
func TestConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (vfs.FS, string){
		"OS":     func(t *testing.T) (vfs.FS, string) { return vfs.OS{}, t.TempDir() },
		"Mem":    func(t *testing.T) (vfs.FS, string) { return vfs.NewMem(), "/" },
		"Faults": func(t *testing.T) (vfs.FS, string) { return vfs.NewFaults(vfs.NewMem()), "." },
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				name string
				test func(t *testing.T, f vfs.FS, dir string)
			}{
				{"ReadAndWrite", testReadAndWrite},
				{"WritevAt", testWritevAt},
				{"Truncate", testTruncate},
				{"Open", testOpen},
				{"Close", testClose},
				{"Directories", testDirectories},
				{"Remove", testRemove},
				{"Rename", testRename},
				{"OpenFilesOutliveTheirNames", testUnlinked},
				{"Durability", testDurability},
				{"Lock", testLock},
				{"Helpers", testHelpers},
				{"Concurrency", testConcurrency},
			} {
				t.Run(c.name, func(t *testing.T) {
					f, dir := open(t)
					c.test(t, f, dir)
				})
			}
		})
	}
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func create(t testing.TB, f vfs.FS, name, content string) vfs.File {
	t.Helper()
	file := must(f.Create(name))(t)
	if content != "" {
		n, err := file.WriteAt([]byte(content), 0)
		if err != nil || n != len(content) {
			t.Fatal(n, err)
		}
	}
	return file
}

// save is create and Close.
func save(t testing.TB, f vfs.FS, name, content string) {
	t.Helper()
	ok(t, create(t, f, name, content).Close())
}

func content(t testing.TB, f vfs.FS, name string) string {
	t.Helper()
	return string(must(vfs.ReadFile(f, name))(t))
}

func wantContent(t testing.TB, f vfs.FS, name, want string) {
	t.Helper()
	if got := content(t, f, name); got != want {
		t.Errorf("%s holds %.80q (%d bytes), want %.80q (%d)", name, got, len(got), want, len(want))
	}
}

func testReadAndWrite(t *testing.T, f vfs.FS, dir string) {
	name := filepath.Join(dir, "file")
	file := create(t, f, name, "")
	defer file.Close()
	if file.Name() != name {
		t.Errorf("Name is %q", file.Name())
	}
	p := make([]byte, 10)
	if n, err := file.ReadAt(p, 0); n != 0 || err != io.EOF {
		t.Errorf("empty file: %d, %v", n, err)
	}
	big := bytes.Repeat([]byte("0123456789"), 2000) // five pages
	if n, err := file.WriteAt(big, 100); n != len(big) || err != nil {
		t.Fatal(n, err)
	}
	if n, err := file.WriteAt([]byte("XY"), 4095); n != 2 || err != nil { // over the edge of a page
		t.Fatal(n, err)
	}
	want := append(make([]byte, 100), big...)
	copy(want[4095:], "XY")
	if size := must(file.Size())(t); size != int64(len(want)) {
		t.Errorf("size %d, want %d", size, len(want))
	}
	for _, c := range []struct {
		off     int64
		n, want int
		err     error
	}{
		{0, 10, 10, nil},
		{90, 20, 20, nil},
		{4090, 10, 10, nil},
		{0, len(want), len(want), nil},
		{0, len(want) + 1, len(want), io.EOF},
		{int64(len(want)) - 3, 10, 3, io.EOF},
		{int64(len(want)), 1, 0, io.EOF},
		{int64(len(want)) + 9000, 1, 0, io.EOF},
		{5, 0, 0, nil},
	} {
		p := bytes.Repeat([]byte{0xff}, c.n)
		n, err := file.ReadAt(p, c.off)
		if n != c.want || err != c.err || !bytes.Equal(p[:n], want[min(int(c.off), len(want)):min(int(c.off), len(want))+n]) {
			t.Errorf("ReadAt(%d bytes, %d): %d, %v; want %d, %v", c.n, c.off, n, err, c.want, c.err)
		}
	}
	if _, err := file.ReadAt(p, -1); err == nil {
		t.Error("read before the beginning")
	}
	if _, err := file.WriteAt(p, -1); err == nil {
		t.Error("write before the beginning")
	}
	if n, err := file.WriteAt([]byte("end"), 1<<20); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	hole := must(vfs.ReadFile(f, name))(t)
	if len(hole) != 1<<20+3 || !bytes.Equal(hole[len(want):1<<20], make([]byte, 1<<20-len(want))) || string(hole[1<<20:]) != "end" {
		t.Errorf("a hole of %d bytes is not zeros", len(hole))
	}
}

func testWritevAt(t *testing.T, f vfs.FS, dir string) {
	name := filepath.Join(dir, "file")
	file := create(t, f, name, "")
	defer file.Close()
	if n, err := file.WritevAt(nil, 0); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
	if n, err := file.WritevAt([][]byte{{}, nil}, 0); n != 0 || err != nil {
		t.Errorf("empty buffers: %d, %v", n, err)
	}
	for _, count := range []int{1, 2, 1023, 1024, 1025, 2048, 3000} { // around IOV_MAX
		var bufs [][]byte
		want := []byte("..")
		for i := range count {
			b := bytes.Repeat([]byte{byte(i)}, i%7) // some empty
			bufs, want = append(bufs, b), append(want, b...)
		}
		before := fmt.Sprint(bufs)
		ok(t, file.Truncate(0))
		if n, err := file.WritevAt([][]byte{[]byte("..")}, 0); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := file.WritevAt(bufs, 2); n != len(want)-2 || err != nil {
			t.Errorf("%d buffers: %d of %d bytes, %v", count, n, len(want)-2, err)
		}
		wantContent(t, f, name, string(want))
		if fmt.Sprint(bufs) != before {
			t.Error("the caller's buffers were changed")
		}
	}
}

func testTruncate(t *testing.T, f vfs.FS, dir string) {
	name := filepath.Join(dir, "file")
	file := create(t, f, name, string(bytes.Repeat([]byte("x"), 10000)))
	defer file.Close()
	ok(t, file.Sync())
	for _, size := range []int64{5000, 9000, 4096, 4097, 0, 3} {
		before := content(t, f, name)
		ok(t, file.Truncate(size))
		want := append([]byte(before), make([]byte, 10000)...)[:size]
		wantContent(t, f, name, string(want)) // what a shrunk file grows by is zeros
	}
	if err := file.Truncate(-1); err == nil {
		t.Error("truncated to -1")
	}
	ok(t, file.Preallocate(0, 1<<20))
	ok(t, file.Preallocate(3, 0))
	if size := must(file.Size())(t); size != 3 {
		t.Errorf("Preallocate changed the size to %d", size)
	}
}

func testOpen(t *testing.T, f vfs.FS, dir string) {
	name := filepath.Join(dir, "file")
	_, err := f.Open(name)
	wantErr(t, err, fs.ErrNotExist)
	_, err = f.OpenReadWrite(name)
	wantErr(t, err, fs.ErrNotExist)
	_, err = f.Create(filepath.Join(dir, "no", "file"))
	wantErr(t, err, fs.ErrNotExist)
	save(t, f, name, "content")

	read := must(f.Open(name))(t)
	if _, err := read.WriteAt([]byte("x"), 0); err == nil {
		t.Error("written through a file that is open for reading")
	}
	if err := read.Truncate(0); err == nil {
		t.Error("truncated through a file that is open for reading")
	}
	write := must(f.OpenReadWrite(name))(t)
	if _, err := write.WriteAt([]byte("C"), 0); err != nil {
		t.Error(err)
	}
	p := make([]byte, 7)
	if _, err := read.ReadAt(p, 0); err != nil || string(p) != "Content" {
		t.Errorf("one file, another handle: %q, %v", p, err)
	}
	ok(t, create(t, f, name, "").Close())
	if size := must(read.Size())(t); size != 0 {
		t.Errorf("Create left %d bytes of the old file", size)
	}
	ok(t, read.Close())
	ok(t, write.Close())
	if _, err := f.Create(dir); err == nil {
		t.Error("a directory was created as a file")
	}
	if _, err := f.OpenReadWrite(dir); err == nil {
		t.Error("a directory was opened for writing")
	}
	if _, err := f.Open(filepath.Join(name, "x")); err == nil {
		t.Error("a file was used as a directory")
	}
}

func testClose(t *testing.T, f vfs.FS, dir string) {
	file := create(t, f, filepath.Join(dir, "file"), "content")
	ok(t, file.Close())
	wantErr(t, file.Close(), fs.ErrClosed)
	_, err := file.ReadAt(make([]byte, 1), 0)
	wantErr(t, err, fs.ErrClosed)
	_, err = file.WriteAt([]byte("x"), 0)
	wantErr(t, err, fs.ErrClosed)
	_, err = file.WritevAt([][]byte{[]byte("x")}, 0)
	wantErr(t, err, fs.ErrClosed)
	_, err = file.Size()
	wantErr(t, err, fs.ErrClosed)
	wantErr(t, file.Truncate(0), fs.ErrClosed)
	wantErr(t, file.Sync(), fs.ErrClosed)
	wantErr(t, file.Datasync(), fs.ErrClosed)
}

func names(t testing.TB, f vfs.FS, dir string) []string {
	t.Helper()
	var all []string
	for _, info := range must(f.ReadDir(dir))(t) {
		all = append(all, info.Name)
	}
	return all
}

func testDirectories(t *testing.T, f vfs.FS, dir string) {
	a := filepath.Join(dir, "a")
	wantErr(t, f.Mkdir(filepath.Join(a, "b")), fs.ErrNotExist)
	ok(t, f.Mkdir(a))
	wantErr(t, f.Mkdir(a), fs.ErrExist)
	ok(t, f.MkdirAll(filepath.Join(a, "b", "c")))
	ok(t, f.MkdirAll(filepath.Join(a, "b", "c")))
	ok(t, f.MkdirAll(dir))
	for _, name := range []string{"z", "10", "9", "A"} {
		save(t, f, filepath.Join(a, name), name)
	}
	if err := f.MkdirAll(filepath.Join(a, "z", "d")); err == nil {
		t.Error("a directory below a file")
	}
	if got := names(t, f, a); !slices.Equal(got, []string{"10", "9", "A", "b", "z"}) {
		t.Errorf("ReadDir: %v", got)
	}
	if got := names(t, f, filepath.Join(a, "b", "c")); len(got) != 0 {
		t.Errorf("ReadDir of an empty directory: %v", got)
	}
	_, err := f.ReadDir(filepath.Join(dir, "no"))
	wantErr(t, err, fs.ErrNotExist)
	if _, err := f.ReadDir(filepath.Join(a, "z")); err == nil {
		t.Error("ReadDir of a file")
	}
	for _, c := range []struct {
		path string
		dir  bool
		size int64
	}{{a, true, -1}, {filepath.Join(a, "10"), false, 2}} {
		info := must(f.Stat(c.path))(t)
		if info.Name != filepath.Base(c.path) || info.IsDir != c.dir || c.size >= 0 && info.Size != c.size || info.ModTime.IsZero() {
			t.Errorf("Stat(%s) = %+v", c.path, info)
		}
		for _, listed := range must(f.ReadDir(filepath.Dir(c.path)))(t) {
			if listed.Name == info.Name && (listed.IsDir != c.dir || c.size >= 0 && listed.Size != c.size) {
				t.Errorf("ReadDir says %+v", listed)
			}
		}
	}
	_, err = f.Stat(filepath.Join(dir, "no"))
	wantErr(t, err, fs.ErrNotExist)
}

func testRemove(t *testing.T, f vfs.FS, dir string) {
	a := filepath.Join(dir, "a")
	wantErr(t, f.Remove(a), fs.ErrNotExist)
	ok(t, f.RemoveAll(a))
	ok(t, f.RemoveAll(filepath.Join(a, "b")))
	ok(t, f.MkdirAll(filepath.Join(a, "b")))
	save(t, f, filepath.Join(a, "b", "file"), "x")
	if err := f.Remove(a); err == nil {
		t.Error("removed a directory that is not empty")
	}
	ok(t, f.Remove(filepath.Join(a, "b", "file")))
	_, err := f.Stat(filepath.Join(a, "b", "file"))
	wantErr(t, err, fs.ErrNotExist)
	ok(t, f.Remove(filepath.Join(a, "b")))
	ok(t, f.MkdirAll(filepath.Join(a, "c", "d")))
	save(t, f, filepath.Join(a, "c", "file"), "x")
	save(t, f, filepath.Join(a, "file"), "x")
	ok(t, f.RemoveAll(a))
	_, err = f.Stat(a)
	wantErr(t, err, fs.ErrNotExist)
}

func testRename(t *testing.T, f vfs.FS, dir string) {
	in := func(elements ...string) string { return filepath.Join(append([]string{dir}, elements...)...) }
	wantErr(t, f.Rename(in("no"), in("new")), fs.ErrNotExist)
	save(t, f, in("old"), "old")
	wantErr(t, f.Rename(in("old"), in("no", "new")), fs.ErrNotExist)
	ok(t, f.Rename(in("old"), in("old")))
	ok(t, f.Rename(in("old"), in("new")))
	wantContent(t, f, in("new"), "old")
	_, err := f.Stat(in("old"))
	wantErr(t, err, fs.ErrNotExist)
	save(t, f, in("tmp"), "over")
	ok(t, f.Rename(in("tmp"), in("new")))
	wantContent(t, f, in("new"), "over")

	ok(t, f.MkdirAll(in("topic-0")))
	save(t, f, in("topic-0", "log"), "log")
	ok(t, f.Rename(in("topic-0"), in("topic-0.deleted")))
	wantContent(t, f, in("topic-0.deleted", "log"), "log")
	ok(t, f.Mkdir(in("other")))
	ok(t, f.Rename(in("topic-0.deleted", "log"), in("other", "log")))
	wantContent(t, f, in("other", "log"), "log")
	wantErr(t, f.Rename(in("topic-0.deleted"), in("other")), fs.ErrExist)
	if err := f.Rename(in("other"), in("other", "below")); err == nil {
		t.Error("a directory was moved below itself")
	}
	if err := f.Rename(in("new"), in("other")); err == nil {
		t.Error("a file was renamed over a directory")
	}
	if got := names(t, f, dir); !slices.Equal(got, []string{"new", "other", "topic-0.deleted"}) {
		t.Errorf("names: %v", got)
	}
}

func testUnlinked(t *testing.T, f vfs.FS, dir string) {
	if runtime.GOOS == "windows" {
		t.Skip("the system does not allow it")
	}
	name := filepath.Join(dir, "file")
	file := create(t, f, name, "content")
	ok(t, f.Rename(name, filepath.Join(dir, "moved")))
	if _, err := file.WriteAt([]byte("C"), 0); err != nil {
		t.Error(err)
	}
	wantContent(t, f, filepath.Join(dir, "moved"), "Content")
	ok(t, f.Remove(filepath.Join(dir, "moved")))
	save(t, f, name, "another")
	p := make([]byte, 7)
	if _, err := file.ReadAt(p, 0); err != nil || string(p) != "Content" {
		t.Errorf("%q, %v", p, err)
	}
	if _, err := file.WriteAt([]byte("x"), 7); err != nil {
		t.Error(err)
	}
	ok(t, file.Sync())
	ok(t, file.Close())
	wantContent(t, f, name, "another")
}

func testDurability(t *testing.T, f vfs.FS, dir string) {
	file := create(t, f, filepath.Join(dir, "file"), "content")
	ok(t, file.Datasync())
	ok(t, file.Sync())
	ok(t, vfs.DropCache(file, 0, 0))
	wantContent(t, f, file.Name(), "content")
	ok(t, file.Close())
	read := must(f.Open(file.Name()))(t)
	ok(t, read.Datasync())
	ok(t, read.Close())
	ok(t, f.SyncDir(dir))
	if err := f.SyncDir(filepath.Join(dir, "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir of nothing: %v", err)
	}
	total, free, err := f.Usage(dir)
	if err != nil || free > total {
		t.Errorf("Usage: %d of %d free, %v", free, total, err)
	}
	_, _, err = f.Usage(filepath.Join(dir, "no"))
	if err == nil {
		t.Error("Usage of nothing")
	}
}

func testLock(t *testing.T, f vfs.FS, dir string) {
	name := filepath.Join(dir, ".lock")
	lock := must(f.Lock(name))(t)
	_, err := f.Lock(name)
	wantErr(t, err, vfs.ErrLocked)
	other := must(f.Lock(filepath.Join(dir, ".other")))(t)
	ok(t, lock.Close())
	again := must(f.Lock(name))(t)
	wantErr(t, lock.Close(), fs.ErrClosed) // must not free what another holds
	_, err = f.Lock(name)
	wantErr(t, err, vfs.ErrLocked)
	ok(t, again.Close())
	ok(t, other.Close())
	_, err = f.Lock(filepath.Join(dir, "no", ".lock"))
	wantErr(t, err, fs.ErrNotExist)
}

func testHelpers(t *testing.T, f vfs.FS, dir string) {
	name := filepath.Join(dir, "file")
	_, err := vfs.ReadFile(f, name)
	wantErr(t, err, fs.ErrNotExist)
	if there := must(vfs.Exists(f, name))(t); there {
		t.Error("exists")
	}
	save(t, f, name, "")
	wantContent(t, f, name, "")
	if there := must(vfs.Exists(f, name))(t); !there {
		t.Error("does not exist")
	}
	if there := must(vfs.Exists(f, dir))(t); !there {
		t.Error("the directory does not exist")
	}
}

func testConcurrency(t *testing.T, f vfs.FS, dir string) {
	file := create(t, f, filepath.Join(dir, "file"), "")
	defer file.Close()
	const writers, each = 4, 100
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				block := bytes.Repeat([]byte{byte(w + 1)}, 100)
				if _, err := file.WritevAt([][]byte{block[:30], block[30:]}, int64((i*writers+w)*100)); err != nil {
					t.Error(err)
				}
				if i%20 == 0 {
					if err := file.Datasync(); err != nil {
						t.Error(err)
					}
				}
				p := make([]byte, 100)
				if _, err := file.ReadAt(p, int64((i*writers+w)*100)); err != nil || !bytes.Equal(p, block) {
					t.Errorf("writer %d reads %v, %v", w, p, err)
				}
			}
		})
		wg.Go(func() {
			for i := range each {
				name := filepath.Join(dir, fmt.Sprintf("%d-%d", w, i))
				save(t, f, name, name)
				if err := f.Rename(name, name+".new"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := names(t, f, dir); len(got) != writers*each+1 {
		t.Errorf("%d names", len(got))
	}
	if size := must(file.Size())(t); size != writers*each*100 {
		t.Errorf("size %d", size)
	}
}
