package storage

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// emptyDir is a data directory without anything in it.
func emptyDir(t *testing.T) *vfs.Mem {
	t.Helper()
	fsys := vfs.NewMem()
	if err := fsys.MkdirAll(dataDir); err != nil {
		t.Fatal(err)
	}
	return fsys
}

func TestMetaRoundTrip(t *testing.T) {
	fsys := emptyDir(t)
	if _, err := LoadMeta(fsys, dataDir); !errors.Is(err, ErrNoMeta) {
		t.Errorf("a fresh directory: %v", err)
	}
	if _, err := LoadMeta(fsys, "nowhere"); !errors.Is(err, ErrNoMeta) {
		t.Errorf("no directory: %v", err)
	}
	for _, m := range []*Meta{
		{NodeID: 7, DirectoryID: [16]byte{1, 2, 3}},
		{NodeID: 7, ClusterID: "abc", DirectoryID: [16]byte{255}, Founders: []Founder{{1, [16]byte{4}}, {7, [16]byte{255}}}},
	} {
		if err := SaveMeta(fsys, dataDir, m); err != nil {
			t.Fatal(err)
		}
		back, err := LoadMeta(fsys, dataDir)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%+v came back as %+v, %v", m, back, err)
		}
	}
	p := fileContent(t, fsys, "data/meta.properties")
	for i := range p {
		bad := append([]byte(nil), p...)
		bad[i] ^= 1
		if err := replaceFile(fsys, "data/meta.properties", bad); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadMeta(fsys, dataDir); !errors.Is(err, ErrIdentity) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

// A node that is shown another's data, or nobody's, says so in one line.
func TestWrongDirectories(t *testing.T) {
	m := &Meta{NodeID: 1, ClusterID: "ours", DirectoryID: [16]byte{1}}
	if err := m.Check("/data", 1, "ours"); err != nil {
		t.Error(err)
	}
	if err := m.Check("/data", 1, ""); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		err  error
		says []string
	}{
		{m.Check("/data", 2, "ours"), []string{"/data", "node 1", "node 2", "--node-id"}},
		{m.Check("/data", 1, "theirs"), []string{"/data", "ours", "theirs", "--peers"}},
		{func() error {
			fsys := emptyDir(t)
			if err := fsys.Mkdir("data/orders-0"); err != nil {
				return err
			}
			_, err := LoadMeta(fsys, dataDir)
			return err
		}(), []string{"data", "orders-0", "meta.properties", "--data-dir"}},
	} {
		if !errors.Is(c.err, ErrIdentity) || strings.Contains(c.err.Error(), "\n") {
			t.Errorf("%v", c.err)
		}
		for _, word := range c.says {
			if !strings.Contains(fmt.Sprint(c.err), word) {
				t.Errorf("%q does not say %q", c.err, word)
			}
		}
	}
}

func TestLockDirectory(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"memory": emptyDir(t), "os": vfs.OS{}} {
		t.Run(name, func(t *testing.T) {
			dir := dataDir
			if name == "os" {
				dir = t.TempDir()
			}
			lock, err := LockDirectory(fsys, dir)
			if err != nil {
				t.Fatal(err)
			}
			_, err = LockDirectory(fsys, dir)
			if !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
				t.Errorf("the second: %v", err)
			}
			if err := lock.Close(); err != nil {
				t.Fatal(err)
			}
			lock, err = LockDirectory(fsys, dir)
			if err != nil {
				t.Fatalf("after it was given back: %v", err)
			}
			_ = lock.Close()
		})
	}
}

func TestCleanShutdownMarker(t *testing.T) {
	fsys := emptyDir(t)
	load := func() string {
		epoch, clean, err := LoadCleanShutdown(fsys, dataDir)
		return fmt.Sprint(epoch, clean, err)
	}
	if s := load(); s != "-1 false <nil>" {
		t.Error(s)
	}
	if err := RemoveCleanShutdown(fsys, dataDir); err != nil {
		t.Error(err)
	}
	if err := WriteCleanShutdown(fsys, dataDir, 17); err != nil {
		t.Fatal(err)
	}
	if s := load(); s != "17 true <nil>" {
		t.Error(s)
	}
	flip(t, fsys, "data/clean-shutdown", 25)
	if s := load(); s != "-1 false <nil>" {
		t.Errorf("a damaged marker: %s", s)
	}
	if err := RemoveCleanShutdown(fsys, dataDir); err != nil {
		t.Error(err)
	}
	if s := load(); s != "-1 false <nil>" {
		t.Error(s)
	}
}

func TestBootID(t *testing.T) {
	id := BootID(vfs.OS{})
	if (id != "") != (runtime.GOOS == "linux") || len(id) > 0 && len(id) != 36 {
		t.Errorf("%q", id)
	}
	if id := BootID(vfs.NewMem()); id != "" {
		t.Errorf("in memory: %q", id)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"orders-0": "orders 0", "a.b_c-d-12": "a.b_c-d 12", "orders": "", "orders-": "", "-1": "", "orders-01": "", "orders-x": "",
		"orders-0.0123456789abcdef0123456789abcdef-delete": "",
	} {
		have := ""
		if topic, n, ok := parseLogDir(name); ok {
			have = fmt.Sprint(topic, " ", n)
		}
		if have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
	long := LogID{Topic: strings.Repeat("x", 249), Partition: 123}
	for _, suffix := range []string{deleteDirSuffix, strayDirSuffix} {
		if name := asideName(long, suffix); len(name) > maxName || asideKind(name) != suffix {
			t.Errorf("%s", name)
		}
	}
	if asideKind("orders-delete") != "" || asideKind("a.b-stray") != "" {
		t.Error("names that only look like it")
	}
	if o, ok := parseOffsetName("00000000000000000123.log", logSuffix); !ok || o != 123 {
		t.Error(o, ok)
	}
	for _, bad := range []string{"123.log", "0000000000000000012x.log", "00000000000000000123.index", "99999999999999999999.log"} {
		if _, ok := parseOffsetName(bad, logSuffix); ok {
			t.Errorf("%s is taken for a segment", bad)
		}
	}
}
