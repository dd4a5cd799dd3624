package vfs_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// child is this test again in a process of its own, told by its environment what to do.
func child(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), "VFS_TEST_CHILD="+name, "GORACE=atexit_sleep_ms=0") // which would wait a second for reports
	c.Stderr = os.Stderr
	return c
}

func childName() string { return os.Getenv("VFS_TEST_CHILD") }

// TestShortPwritev lets the kernel cut a vector short: at a limit of file size, within the second buffer.
func TestShortPwritev(t *testing.T) {
	if name := childName(); name != "" {
		signal.Ignore(syscall.SIGXFSZ)
		ok(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 5000, Max: 5000}))
		file := must(vfs.OS{}.Create(name))(t)
		bufs := [][]byte{bytes.Repeat([]byte("a"), 4000), bytes.Repeat([]byte("b"), 4000), []byte("c")}
		n, err := file.WritevAt(bufs, 0)
		if n != 5000 || !errors.Is(err, unix.EFBIG) {
			t.Errorf("%d, %v; want 5000 bytes and EFBIG", n, err)
		}
		ok(t, file.Close())
		return
	}
	name := filepath.Join(t.TempDir(), "file")
	if out, err := child(t, name).Output(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wantContent(t, vfs.OS{}, name, string(append(bytes.Repeat([]byte("a"), 4000), bytes.Repeat([]byte("b"), 1000)...)))
}

// TestLockAmongProcesses: a lock keeps other processes out and goes with its own, however that ends.
func TestLockAmongProcesses(t *testing.T) {
	if name := childName(); name != "" {
		must(vfs.OS{}.Lock(name))(t)
		fmt.Println("locked")
		io.Copy(io.Discard, os.Stdin) // until killed
		return
	}
	name := filepath.Join(t.TempDir(), ".lock")
	c := child(t, name)
	stdin := must(c.StdinPipe())(t)
	defer stdin.Close()
	out := bufio.NewReader(must(c.StdoutPipe())(t))
	ok(t, c.Start())
	if line, err := out.ReadString('\n'); line != "locked\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err := vfs.OS{}.Lock(name)
	wantErr(t, err, vfs.ErrLocked)
	ok(t, c.Process.Kill())
	if err := c.Wait(); err == nil {
		t.Error("the killed process ended well")
	}
	ok(t, must(vfs.OS{}.Lock(name))(t).Close())
}

func TestWritesDoNotAllocate(t *testing.T) {
	file := must(vfs.OS{}.Create(filepath.Join(t.TempDir(), "file")))(t)
	defer file.Close()
	bufs := [][]byte{make([]byte, 100), make([]byte, 100)}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := file.WritevAt(bufs, 0); err != nil {
			t.Fatal(err)
		}
	}); n > 0.5 { // a collection may empty the pool
		t.Errorf("%v allocations a write", n)
	}
}

func TestPreallocateTakesSpace(t *testing.T) {
	file := must(vfs.OS{}.Create(filepath.Join(t.TempDir(), "file")))(t)
	defer file.Close()
	ok(t, file.Preallocate(0, 1<<20))
	var s unix.Stat_t
	ok(t, unix.Stat(file.Name(), &s))
	if s.Size != 0 {
		t.Errorf("size %d", s.Size)
	}
	if s.Blocks == 0 {
		t.Skip("this file system does not preallocate")
	}
}

func TestSymbolicLinksAreFollowed(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	ok(t, os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "link")))
	ok(t, os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "broken")))
	infos := must(vfs.OS{}.ReadDir(dir))(t)
	if len(infos) != 2 || infos[0].Name != "link" || !infos[0].IsDir {
		t.Errorf("%+v", infos)
	}
}
