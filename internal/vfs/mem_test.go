package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
)

const (
	sector = 512
	page   = 4096
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// crashes returns how many crashes a test tries.
func crashes() uint64 {
	if testing.Short() {
		return 30
	}
	return 1000
}

// fileModel is what a crash may leave of a file.
type fileModel struct {
	name     string
	file     vfs.File
	now      []byte
	versions [][]byte // since the last sync, that state first
}

func (m *fileModel) changed() { m.versions = append(m.versions, bytes.Clone(m.now)) }

func (m *fileModel) step(t testing.TB, rng *rand.Rand) {
	switch rng.IntN(10) {
	case 0: // truncate, longer now and then
		size := rng.IntN(len(m.now) + 1)
		if rng.IntN(4) == 0 {
			size += rng.IntN(2 * page)
		}
		ok(t, m.file.Truncate(int64(size)))
		m.now = append(m.now, make([]byte, 2*page)...)[:size]
		m.changed()
	case 1:
		ok(t, m.file.Datasync())
		m.versions = [][]byte{bytes.Clone(m.now)}
	case 2, 3: // somewhere, beyond the end too
		off := rng.IntN(len(m.now) + page)
		m.write(t, rng, off, 1+rng.IntN(2*page))
	default: // as a log does
		m.write(t, rng, len(m.now), 1+rng.IntN(3000))
	}
}

func (m *fileModel) write(t testing.TB, rng *rand.Rand, off, n int) {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.IntN(255) + 1) // zeros are for what was never written
	}
	if _, err := m.file.WritevAt([][]byte{p[:n/2], p[n/2:]}, int64(off)); err != nil {
		t.Fatal(err)
	}
	for _, half := range [][]byte{p[:n/2], p[n/2:]} { // a vector is not atomic
		if grow := off + len(half) - len(m.now); grow > 0 && len(half) > 0 {
			m.now = append(m.now, make([]byte, grow)...)
		}
		off += copy(m.now[min(off, len(m.now)):], half)
		m.changed()
	}
}

// check compares what a crash left with what it may leave.
func (m *fileModel) check(t testing.TB, left []byte) {
	t.Helper()
	if !slices.ContainsFunc(m.versions, func(v []byte) bool { return len(v) == len(left) }) {
		t.Fatalf("%s has %d bytes, which it never had since the last sync", m.name, len(left))
	}
	if len(m.versions) == 1 && !bytes.Equal(left, m.now) {
		t.Fatalf("%s was synced and is not what it was", m.name)
	}
	synced := len(m.versions[0])
	for at := 0; at < len(left); at += sector {
		got := left[at:min(at+sector, len(left))]
		known := slices.ContainsFunc(m.versions, func(v []byte) bool {
			padded := append(slices.Clone(v[min(at, len(v)):min(at+len(got), len(v))]), make([]byte, len(got))...)
			return bytes.Equal(got, padded[:len(got)])
		})
		if garbage := at/page*page >= synced; !known && !garbage {
			t.Fatalf("%s: sector at %d of %d (%d synced) never held that", m.name, at, len(left), synced)
		}
	}
}

// TestCrashKeepsWhatWasSynced writes, truncates and syncs files at random,
// crashes, and checks every sector that is left against all that it has held.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	for seed := range crashes() {
		r := rng(seed)
		m := vfs.NewMem()
		var files []*fileModel
		for i := range 3 {
			name := fmt.Sprintf("file-%d", i)
			files = append(files, &fileModel{name: name, file: create(t, m, name, ""), versions: [][]byte{{}}})
		}
		ok(t, m.SyncDir("."))
		for range r.IntN(70) {
			files[r.IntN(len(files))].step(t, r)
		}
		clone := m.CrashClone(r)
		for _, f := range files {
			f.check(t, must(vfs.ReadFile(clone, f.name))(t))
		}
		for _, f := range files { // nobody's writes reach the other
			before := content(t, clone, f.name)
			f.write(t, r, 0, 3*page)
			wantContent(t, clone, f.name, before)
			ok(t, must(clone.Create(f.name))(t).Close())
			wantContent(t, m, f.name, string(f.now))
		}
	}
}

// TestCrashOfTheCrashed crashes again and again, going on with what is left.
func TestCrashOfTheCrashed(t *testing.T) {
	for seed := range crashes() / 10 {
		r := rng(seed)
		m := vfs.NewMem()
		f := &fileModel{name: "log", file: create(t, m, "log", ""), versions: [][]byte{{}}}
		ok(t, m.SyncDir("."))
		for range 10 {
			for range r.IntN(20) {
				f.step(t, r)
			}
			m = m.Crash(r)
			wantErr(t, f.file.Sync(), vfs.ErrCrashed)
			left := must(vfs.ReadFile(m, "log"))(t)
			f.check(t, left)
			f.file, f.now = must(m.OpenReadWrite("log"))(t), left
			f.versions = [][]byte{bytes.Clone(left)}
		}
	}
}

// outcomes crashes m many times and counts what describe says of what is left.
func outcomes(m *vfs.Mem, describe func(*vfs.Mem) string) map[string]int {
	seen := make(map[string]int)
	for seed := range uint64(400) {
		seen[describe(m.CrashClone(rng(seed)))]++
	}
	return seen
}

func wantOutcomes(t *testing.T, seen map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("never: %q", w)
		}
		delete(seen, w)
	}
	for s, n := range seen {
		t.Errorf("%d times: %q", n, s)
	}
}

// TestCrashOutcomes sees every way in which two unsynced pages can survive.
func TestCrashOutcomes(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "log", strings.Repeat("d", page))
	ok(t, f.Sync())
	ok(t, m.SyncDir("."))
	_, err := f.WriteAt(bytes.Repeat([]byte("n"), 2*page), page)
	ok(t, err)

	kind := func(p string) string {
		switch {
		case p == "":
			return "absent"
		case strings.Count(p, "n") == len(p):
			return "new"
		case strings.Count(p, "\x00") == len(p):
			return "zeros"
		case strings.Count(p, "n") >= sector:
			return "torn"
		default:
			return "garbage"
		}
	}
	seen := outcomes(m, func(m *vfs.Mem) string {
		s := content(t, m, "log")
		if s[:page] != strings.Repeat("d", page) {
			return "synced page changed"
		}
		if len(s) == page {
			return "short"
		}
		return kind(s[page:2*page]) + " " + kind(s[2*page:])
	})
	var want []string
	for _, a := range []string{"new", "zeros", "torn", "garbage"} {
		for _, b := range []string{"new", "zeros", "torn", "garbage"} {
			if a != b && a != "torn" && b != "torn" && a != "new" && b != "new" {
				continue // a file has zeros or garbage
			}
			want = append(want, a+" "+b)
		}
	}
	wantOutcomes(t, seen, append(want, "short")...)
}

// TestCrashChoosesAMoment sees each of several overwrites of one sector, in no page two that never were together.
func TestCrashChoosesAMoment(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "file", "0000")
	ok(t, f.Sync())
	ok(t, m.SyncDir("."))
	for _, s := range []string{"1111", "2222", "3333"} {
		_, err := f.WriteAt([]byte(s), 0)
		ok(t, err)
	}
	wantOutcomes(t, outcomes(m, func(m *vfs.Mem) string { return content(t, m, "file") }), "0000", "1111", "2222", "3333")
}

// TestCrashKeepsTruncationsInOrder writes anew what was cut off: after a crash
// the file is before the cut with the old bytes, or after it with none of them.
func TestCrashKeepsTruncationsInOrder(t *testing.T) {
	m := vfs.NewMem()
	old, young := strings.Repeat("o", page), strings.Repeat("y", page)
	f := create(t, m, "log", old+old)
	ok(t, f.Sync())
	ok(t, m.SyncDir("."))
	ok(t, f.Truncate(page))
	_, err := f.WriteAt([]byte(young), page)
	ok(t, err)
	for seed := range uint64(400) {
		s := content(t, m.CrashClone(rng(seed)), "log")
		tail := s[page:]
		switch {
		case tail == "", tail == old:
		case strings.Trim(tail, "y\x00") == "": // new or lost, by sector
		default:
			t.Fatalf("seed %d: %.20q... behind the cut", seed, tail)
		}
	}
}

func TestCrashOfNames(t *testing.T) {
	m := vfs.NewMem()
	ok(t, m.Mkdir("dir"))
	ok(t, m.SyncDir("."))
	for _, name := range []string{"dir/kept", "dir/removed", "dir/old", "dir/replaced"} {
		f := create(t, m, name, name)
		ok(t, f.Sync())
	}
	ok(t, m.SyncDir("dir"))
	f := create(t, m, "dir/new", "dir/new")
	ok(t, f.Sync()) // the file, not its name
	ok(t, m.Remove("dir/removed"))
	ok(t, m.Rename("dir/old", "dir/replaced"))

	seen := outcomes(m, func(m *vfs.Mem) string {
		var all []string
		for _, name := range names(t, m, "dir") {
			all = append(all, name+"="+strings.TrimPrefix(content(t, m, "dir/"+name), "dir/"))
		}
		return strings.Join(all, " ")
	})
	wantOutcomes(t, seen,
		"kept=kept old=old removed=removed replaced=replaced",
		"kept=kept new=new old=old removed=removed replaced=replaced",
		"kept=kept old=old replaced=replaced",
		"kept=kept new=new old=old replaced=replaced",
		"kept=kept removed=removed replaced=old",
		"kept=kept new=new removed=removed replaced=old",
		"kept=kept replaced=old",
		"kept=kept new=new replaced=old",
	)
}

// TestCrashOfReplacing follows the way in which checkpoints are written, and shows what each step is for.
func TestCrashOfReplacing(t *testing.T) {
	for _, c := range []struct {
		name       string
		sync, dirs bool
		want       []string
	}{
		{"sync, rename, sync of the directory", true, true, []string{"new"}},
		{"sync, rename", true, false, []string{"old", "new"}},
		{"rename", false, false, []string{"old", "", "new", "\x00\x00\x00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			f := create(t, m, "checkpoint", "old")
			ok(t, f.Sync())
			ok(t, m.SyncDir("."))
			f = create(t, m, "checkpoint.tmp", "new")
			if c.sync {
				ok(t, f.Sync())
			}
			ok(t, m.Rename("checkpoint.tmp", "checkpoint"))
			if c.dirs {
				ok(t, m.SyncDir("."))
			}
			seen := outcomes(m, func(m *vfs.Mem) string {
				p := content(t, m, "checkpoint")
				if p != "old" && p != "new" && strings.Trim(p, "\x00") != "" {
					return "\x00\x00\x00" // garbage is as good as zeros
				}
				return p
			})
			wantOutcomes(t, seen, c.want...)
		})
	}
}

// TestCrashOfTrees loses a directory with all that was synced in it, if its name was not.
func TestCrashOfTrees(t *testing.T) {
	m := vfs.NewMem()
	ok(t, m.Mkdir("a"))
	ok(t, m.Mkdir("b"))
	ok(t, m.SyncDir("."))
	ok(t, m.MkdirAll("a/new/deep"))
	f := create(t, m, "a/new/deep/file", "content")
	ok(t, f.Sync())
	ok(t, m.SyncDir("a/new/deep"))
	ok(t, m.SyncDir("a/new"))
	find := func(m *vfs.Mem) string {
		for _, p := range []string{"a/new/deep/file", "b/moved/deep/file"} {
			if there := must(vfs.Exists(m, p))(t); there {
				return p
			}
		}
		return "gone"
	}
	wantOutcomes(t, outcomes(m, find), "a/new/deep/file", "gone")
	ok(t, m.SyncDir("a"))
	wantOutcomes(t, outcomes(m, find), "a/new/deep/file")
	ok(t, m.Rename("a/new", "b/moved"))
	wantOutcomes(t, outcomes(m, find), "a/new/deep/file", "b/moved/deep/file")
	for _, dir := range []string{"a", "b"} { // either directory makes the rename durable
		n := m.CrashClone(rng(0))
		if find(n) != "a/new/deep/file" {
			ok(t, n.Rename("b/moved", "a/new"))
			ok(t, n.SyncDir("a"))
		}
		ok(t, n.Rename("a/new", "b/moved"))
		ok(t, n.SyncDir(dir))
		wantOutcomes(t, outcomes(n, find), "b/moved/deep/file")
	}
	ok(t, m.RemoveAll("b"))
	ok(t, m.SyncDir("."))
	wantOutcomes(t, outcomes(m, find), "a/new/deep/file", "gone")
}

// TestSyncDirKeepsTheOrderOfAName makes durable what one directory has got from another, with what came before.
func TestSyncDirKeepsTheOrderOfAName(t *testing.T) {
	m := vfs.NewMem()
	ok(t, m.Mkdir("a"))
	ok(t, m.Mkdir("b"))
	ok(t, m.SyncDir("."))
	f := create(t, m, "a/x", "1")
	ok(t, f.Sync())
	ok(t, m.Rename("a/x", "b/x"))
	f = create(t, m, "a/x", "2")
	ok(t, f.Sync())
	ok(t, m.SyncDir("b"))
	seen := outcomes(m, func(m *vfs.Mem) string {
		s := content(t, m, "b/x")
		if there := must(vfs.Exists(m, "a/x"))(t); there {
			s += " " + content(t, m, "a/x")
		}
		return s
	})
	wantOutcomes(t, seen, "1", "1 2")
}

// TestDurableFilesAreNeverLost renames files about at random: one whose name was
// durable is there once, under a name that it has had.
func TestDurableFilesAreNeverLost(t *testing.T) {
	for seed := range crashes() {
		r := rng(seed)
		m := vfs.NewMem()
		dirs := []string{"a", "b", "c"}
		for _, d := range dirs {
			ok(t, m.Mkdir(d))
		}
		ok(t, m.SyncDir("."))
		const files = 6
		had := make(map[string][]string) // file: its names since the last SyncDir of all
		for i := range files {
			name := fmt.Sprintf("%s/%d", dirs[i%3], i)
			f := create(t, m, name, fmt.Sprint(i))
			ok(t, f.Sync())
			ok(t, f.Close())
			had[fmt.Sprint(i)] = []string{name}
		}
		for _, d := range dirs {
			ok(t, m.SyncDir(d))
		}
		for range r.IntN(30) {
			id := fmt.Sprint(r.IntN(files))
			from := had[id][len(had[id])-1]
			to := fmt.Sprintf("%s/n%d", dirs[r.IntN(3)], r.IntN(8))
			if there := must(vfs.Exists(m, to))(t); there {
				continue
			}
			ok(t, m.Rename(from, to))
			had[id] = append(had[id], to)
			if r.IntN(6) == 0 {
				ok(t, m.SyncDir(dirs[r.IntN(3)]))
			}
		}
		clone := m.CrashClone(r)
		count := make(map[string]int)
		for _, d := range dirs {
			for _, name := range names(t, clone, d) {
				id := content(t, clone, d+"/"+name)
				count[id]++
				if !slices.Contains(had[id], d+"/"+name) {
					t.Fatalf("seed %d: file %s is at %s/%s, where it never was", seed, id, d, name)
				}
			}
		}
		for id := range had {
			if count[id] != 1 {
				t.Fatalf("seed %d: file %s is there %d times", seed, id, count[id])
			}
		}
	}
}

// tree describes a whole file system.
func tree(t testing.TB, f vfs.FS, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, info := range must(f.ReadDir(dir))(t) {
		p := filepath.Join(dir, info.Name)
		if info.IsDir {
			fmt.Fprintf(&b, "%s/\n%s", p, tree(t, f, p))
		} else {
			fmt.Fprintf(&b, "%s %x\n", p, content(t, f, p))
		}
	}
	return b.String()
}

// TestASeedIsOneCrash crashes equal file systems by equal seeds.
func TestASeedIsOneCrash(t *testing.T) {
	work := func(seed uint64) *vfs.Mem {
		r := rng(seed)
		m := vfs.NewMem()
		for i := range 10 {
			dir := fmt.Sprintf("dir-%d", r.IntN(4))
			ok(t, m.MkdirAll(dir))
			f := &fileModel{file: create(t, m, fmt.Sprintf("%s/%d", dir, i), "")}
			for range r.IntN(10) {
				f.step(t, r)
			}
		}
		return m
	}
	different := false
	for seed := range uint64(20) {
		a, b := tree(t, work(seed).CrashClone(rng(seed)), "."), tree(t, work(seed).CrashClone(rng(seed)), ".")
		if a != b {
			t.Fatalf("seed %d:\n%.2000s\nand\n%.2000s", seed, a, b)
		}
		different = different || a != tree(t, work(seed).CrashClone(rng(seed+1)), ".")
	}
	if !different {
		t.Error("the seed makes no difference")
	}
}

func TestCrashStopsTheMachine(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "file", "content")
	lock := must(m.Lock("lock"))(t)
	ok(t, f.Sync())
	ok(t, m.SyncDir("."))
	after := m.Crash(rng(1))
	dead := map[string]error{
		"Sync": f.Sync(), "Datasync": f.Datasync(), "Truncate": f.Truncate(0), "Preallocate": f.Preallocate(0, 1),
		"Mkdir": m.Mkdir("d"), "MkdirAll": m.MkdirAll("d/e"), "MkdirAll of the root": m.MkdirAll("."),
		"Remove": m.Remove("file"), "RemoveAll": m.RemoveAll("file"), "Rename": m.Rename("file", "other"), "SyncDir": m.SyncDir("."),
		"DropCache": vfs.DropCache(f, 0, 0),
	}
	_, dead["ReadAt"] = f.ReadAt(make([]byte, 1), 0)
	_, dead["WriteAt"] = f.WriteAt([]byte("x"), 0)
	_, dead["Size"] = f.Size()
	_, dead["Create"] = m.Create("file")
	_, dead["Open"] = m.Open("file")
	_, dead["OpenReadWrite"] = m.OpenReadWrite("file")
	_, dead["Stat"] = m.Stat("file")
	_, dead["ReadDir"] = m.ReadDir(".")
	_, dead["Lock"] = m.Lock("other")
	_, _, dead["Usage"] = m.Usage(".")
	for call, err := range dead {
		if !errors.Is(err, vfs.ErrCrashed) {
			t.Errorf("%s after the crash: %v", call, err)
		}
	}
	ok(t, lock.Close())
	ok(t, f.Close())
	wantContent(t, after, "file", "content")
	ok(t, must(after.Lock("lock"))(t).Close())
	wantContent(t, m.CrashClone(rng(2)), "file", "content") // another outcome of the same crash
}

func TestKillKeepsThePageCache(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "file", "unsynced")
	must(m.Lock("lock"))(t)
	after := m.Kill()
	if _, err := f.WriteAt([]byte("late"), 0); !errors.Is(err, vfs.ErrCrashed) {
		t.Errorf("the killed process writes: %v", err)
	}
	wantErr(t, m.SyncDir("."), vfs.ErrCrashed)
	_, err := m.CrashClone(rng(0)).Stat("file")
	wantErr(t, err, vfs.ErrCrashed)
	wantErr(t, m.Kill().SyncDir("."), vfs.ErrCrashed)
	wantContent(t, after, "file", "unsynced")
	ok(t, must(after.Lock("lock"))(t).Close())
	lost := 0
	for seed := range uint64(50) {
		if there := must(vfs.Exists(after.CrashClone(rng(seed)), "file"))(t); !there {
			lost++
		}
	}
	if lost == 0 || lost == 50 {
		t.Errorf("after kill and loss of power the file was gone %d times in 50", lost)
	}
}

func TestCapacity(t *testing.T) {
	m := vfs.NewMem()
	if total, free, err := m.Usage("."); total != 0 || free != 0 || err != nil {
		t.Errorf("without a limit: %d, %d, %v", total, free, err)
	}
	m.SetCapacity(10*page, 2)
	f := create(t, m, "a", "x")
	n, err := f.WriteAt(make([]byte, 20*page), 100)
	if n != 10*page-100 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("short write of %d, %v", n, err)
	}
	if n, err := f.WriteAt(make([]byte, 10*page), 0); n != 10*page || err != nil {
		t.Errorf("an overwrite needs no space: %d, %v", n, err)
	}
	total, free, err := m.Usage(".")
	if total != 10*page || free != 0 || err != nil {
		t.Errorf("%d of %d free, %v", free, total, err)
	}
	g := create(t, m, "b", "")
	_, err = g.WriteAt([]byte("x"), 0)
	wantErr(t, err, syscall.ENOSPC)
	_, err = m.Create("c")
	wantErr(t, err, syscall.ENOSPC) // no inode
	ok(t, f.Truncate(page))
	_, err = g.WriteAt([]byte("x"), 0)
	ok(t, err)
	ok(t, m.SyncDir("."))
	ok(t, f.Sync())
	ok(t, g.Sync())
	clone := m.CrashClone(rng(0))
	for _, fs := range []*vfs.Mem{m, clone} {
		if _, free, _ := fs.Usage("."); free != 8*page {
			t.Errorf("%d bytes free, want %d", free, 8*page)
		}
		ok(t, fs.Rename("a", "b"))
		if _, free, _ := fs.Usage("."); free != 9*page {
			t.Errorf("%d bytes free after a rename over a file, want %d", free, 9*page)
		}
		ok(t, fs.Remove("b"))
		if _, free, _ := fs.Usage("."); free != 10*page {
			t.Errorf("%d bytes free after the last removal, want %d", free, 10*page)
		}
		save(t, fs, "c", "x")
		save(t, fs, "d", "x")
	}
}

// TestUnsyncedForEver appends to a file that nobody syncs: what is remembered of
// it stays bounded, and a crash still loses any part.
func TestUnsyncedForEver(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "log", "")
	ok(t, m.SyncDir("."))
	model := &fileModel{name: "log", file: f, versions: [][]byte{{}}}
	for i := range 10000 {
		p := bytes.Repeat([]byte{byte(i%250 + 1)}, 100)
		_, err := f.WriteAt(p, int64(len(model.now)))
		ok(t, err)
		model.now = append(model.now, p...)
		if i == 5000 {
			ok(t, f.Truncate(400))
			model.now = model.now[:400]
		}
	}
	wantContent(t, m, "log", string(model.now))
	sizes := make(map[int]bool)
	for seed := range uint64(100) {
		sizes[len(content(t, m.CrashClone(rng(seed)), "log"))] = true
	}
	if len(sizes) < 10 || !sizes[0] || !sizes[len(model.now)] {
		t.Errorf("%d different lengths after a crash", len(sizes))
	}
	ok(t, f.Sync())
	wantContent(t, m.CrashClone(rng(1)), "log", string(model.now))
}

// TestUnsyncedTruncation writes much behind a cut that nobody syncs: after a crash
// what was cut off is there as a whole or not at all.
func TestUnsyncedTruncation(t *testing.T) {
	m := vfs.NewMem()
	f := create(t, m, "log", strings.Repeat("o", 3*page))
	ok(t, f.Sync())
	ok(t, m.SyncDir("."))
	ok(t, f.Truncate(100))
	for i := range 5000 {
		_, err := f.WriteAt([]byte("y"), int64(100+i))
		ok(t, err)
	}
	for seed := range uint64(100) {
		s := content(t, m.CrashClone(rng(seed)), "log")
		if len(s) < 3*page && strings.Contains(s[100:], "o") {
			t.Fatalf("seed %d: %d bytes, old ones among them", seed, len(s))
		}
		if len(s) == 3*page && strings.Trim(s[page:], "o") != "" {
			t.Fatalf("seed %d: uncut, but not as it was", seed)
		}
	}
}

func TestMemInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		f := create(t, m, "file", "content")
		start := time.Now()
		time.Sleep(time.Hour)
		_, err := f.WriteAt([]byte("C"), 0)
		ok(t, err)
		if age := must(m.Stat("file"))(t).ModTime.Sub(start); age != time.Hour {
			t.Errorf("written after %v of the bubble's time", age)
		}
		testConcurrency(t, m, ".")
	})
}

func TestMemFilesHaveNoDescriptor(t *testing.T) {
	f := create(t, vfs.NewMem(), "file", "")
	_, err := f.SyscallConn()
	wantErr(t, err, vfs.ErrNotSupported)
	read := must(vfs.OS{}.Create(filepath.Join(t.TempDir(), "file")))(t)
	defer read.Close()
	if _, err := read.SyscallConn(); err != nil {
		t.Error(err)
	}
	var pathErr *fs.PathError
	if _, err := vfs.NewMem().Open("no"); !errors.As(err, &pathErr) || pathErr.Path != "no" {
		t.Errorf("error without its path: %v", err)
	}
}

func BenchmarkCrash(b *testing.B) {
	for seed := uint64(0); b.Loop(); seed++ { // 200 operations and a crash, as storage's tests do
		r := rng(seed)
		m := vfs.NewMem()
		f := create(b, m, "log", "")
		batch := make([]byte, 170)
		for i := range 200 {
			if _, err := f.WriteAt(batch, int64(i*len(batch))); err != nil {
				b.Fatal(err)
			}
			if i%5 == 0 {
				ok(b, f.Datasync())
			}
		}
		m.CrashClone(r)
	}
}

func TestMkdirAllDurableSurvivesACrash(t *testing.T) {
	for seed := range uint64(50) {
		m := vfs.NewMem()
		if err := vfs.MkdirAllDurable(m, "/a/b/c"); err != nil {
			t.Fatal(err)
		}
		f, err := m.Create("/a/b/c/file")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), m.SyncDir("/a/b/c"), f.Close()); err != nil {
			t.Fatal(err)
		}
		after := m.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		if there, err := vfs.Exists(after, "/a/b/c/file"); err != nil || !there {
			t.Fatalf("seed %d: the file is there: %v (%v)", seed, there, err)
		}
	}
}
