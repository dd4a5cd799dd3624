package storage

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// filledLog is a log with many batches and segments, and what is in it.
func filledLog(t testing.TB, fsys vfs.FS, d *Directory, n int) (*Log, *mlog) {
	t.Helper()
	o := LogOptions{SegmentBytes: int32(n) * 160, IndexIntervalBytes: testInterval}
	l := createLog(t, d, "orders", o)
	m := &mlog{id: l.ID(), options: o, producers: naiveProducers{}, ghosts: map[int64][]mbatch{}}
	rng := rand.New(rand.NewPCG(uint64(n), 9))
	for i := range n {
		b := makeBatch(batchSpec{records: 1 + rng.IntN(4), valueSize: 8 << rng.IntN(6), timestamp: 1_700_000_000_000 + int64(i*10-rng.IntN(50)), fill: uint64(i)})
		base := mustAppend(t, l, int32(i/100), b)
		m.history = append(m.history, mbatch{base: base, last: b.LastOffset(), bytes: b})
		m.end = b.LastOffset() + 1
	}
	return l, m
}

// Every read, whatever its place and limits, is compared with the list of batches: at the tail,
// which is remembered, by the index in memory, by the index file, in sealed segments, and after a clean start.
func TestReadsEqualAScan(t *testing.T) {
	n := 3000
	if testing.Short() {
		n = 300
	}
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys, func(o *DirectoryOptions) { o.MaxOpenFiles = 3 })
	l, m := filledLog(t, fsys, d, n)
	look := func(l *Log) {
		t.Helper()
		w := &world{rng: rand.New(rand.NewPCG(1, 2)), faults: vfs.NewFaults(fsys)}
		for range n {
			if err := w.lookOnce(l, m.history); err != nil {
				t.Fatal(err)
			}
		}
		for range n / 10 {
			if err := w.look(m, l); err != nil {
				t.Fatal(err)
			}
		}
		if max, err := l.MaxTimestampOffset(); err != nil || max.Timestamp != greatest(m) || firstAtOrAfter(m.history, max.Timestamp, 0) != max.Offset {
			t.Fatalf("greatest timestamp: %+v, %v, want %d", max, err, greatest(m))
		}
	}
	mustFlush(t, d)
	look(l)
	if open := d.files.len(); open > 3 {
		t.Errorf("%d files are kept open", open)
	}
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads := vfs.NewFaults(fsys)
	d = memDirectory(t, reads, func(o *DirectoryOptions) { o.Clean, o.Defaults.IndexIntervalBytes = true, testInterval })
	data := reads.Inject(vfs.Rule{Ops: vfs.OpRead, Path: "*.log"})
	l = d.Log("orders", 0)
	if data.Fired() > 0 {
		t.Errorf("a clean start has read data %d times", data.Fired())
	}
	look(l)
	mustAppend(t, l, 99, simpleBatch(1, 10))
	if err := indexesEqualScan(l); err != nil {
		t.Error(err)
	}
}

// Consumers that go through a log find the place where their last read ended without reading the file for it, until a
// truncation: what stands there then is something else.
func TestConsumersGoOnWhereTheyEnded(t *testing.T) {
	fsys := vfs.NewFaults(vfs.NewMem())
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{IndexIntervalBytes: 1})
	fill := func(from, to, payload int) {
		for i := from; i < to; i++ {
			mustAppend(t, l, 1, simpleBatch(3, payload))
		}
		mustFlush(t, d)
	}
	const batches = 400
	fill(0, batches, 5000)
	read := func(at int64, maxBytes int) (next int64) {
		s, err := l.Read(at, l.End(), maxBytes, true)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.ReadBytes(nil)
		s.Release()
		if err != nil || len(p) == 0 {
			t.Fatalf("%d bytes from %d: %v", len(p), at, err)
		}
		for len(p) > 0 {
			b, rest, err := record.Next(p)
			if err != nil || b.BaseOffset() != at {
				t.Fatalf("from %d: a batch at %d, %v", at, b.BaseOffset(), err)
			}
			at, p = b.LastOffset()+1, rest
		}
		return at
	}
	consume := func(at *int64, maxBytes int) (reads int) {
		for ; *at < l.End()-3*tailLen; reads++ {
			*at = read(*at, maxBytes)
		}
		return reads
	}
	searches := fsys.Inject(vfs.Rule{Ops: vfs.OpRead, Path: "*.log"})
	var a, b int64
	b = 30
	n := consume(&a, 30_000) + consume(&b, 18_000)
	if got := searches.Fired() - n; got > n+10 { // n reads are the slices' own
		t.Errorf("%d reads of the file to find the places of %d slices", got, n)
	}
	if err := l.TruncateTo(b - 30); err != nil {
		t.Fatal(err)
	}
	fill(0, 2*batches, 4000)
	for back := range int64(5) { // one of them is where a read ended before
		read(b-3*back, 30_000)
	}
	a, b = 0, 3
	consume(&a, 9000)
	consume(&b, 30_000)
}

func greatest(m *mlog) int64 {
	most := int64(-1)
	for _, b := range m.history {
		most = max(most, b.bytes.MaxTimestamp())
	}
	return most
}

func TestReadBounds(t *testing.T) {
	d := memDirectory(t, vfs.NewMem())
	l := createLog(t, d, "orders", LogOptions{})
	mustAppend(t, l, 0, simpleBatch(5, 10), simpleBatch(5, 10))
	if err := l.TrimBefore(3); err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{-1, 0, 2, 11} {
		var e *OutOfRangeError
		if _, err := l.Read(from, 10, 1000, true); !errors.As(err, &e) || e.Start != 3 || e.End != 10 {
			t.Errorf("read from %d: %v", from, err)
		}
	}
	for _, c := range []struct{ from, below, batches int64 }{{3, 10, 2}, {3, 9, 1}, {3, 5, 1}, {3, 4, 0}, {4, 4, 0}, {7, 99, 1}, {10, 99, 0}, {9, 2, 0}} {
		s, err := l.Read(c.from, c.below, 1000, true)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.ReadBytes([]byte("before"))
		s.Release()
		size := len(simpleBatch(5, 10))
		if err != nil || len(p) != 6+int(c.batches)*size || !bytes.HasPrefix(p, []byte("before")) {
			t.Errorf("from %d below %d: %d bytes, %v", c.from, c.below, len(p), err)
		}
	}
}

// A slice outlives what becomes of its log.
func TestSlicesKeepTheirFiles(t *testing.T) {
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys, func(o *DirectoryOptions) { o.MaxOpenFiles = 1 })
	l := createLog(t, d, "orders", LogOptions{SegmentBytes: 500, RetentionBytes: 1})
	for range 10 {
		mustAppend(t, l, 0, simpleBatch(1, 200))
	}
	mustFlush(t, d)
	var slices []Slice
	for from := range int64(10) {
		s, err := l.Read(from, 10, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		slices = append(slices, s)
	}
	l.SetRetentionBound(l.End())
	d.retain(t.Context(), d.clock.NowMillis())
	if l.Start() == 0 {
		t.Fatal("retention has deleted nothing")
	}
	if err := d.Delete(l); err != nil {
		t.Fatal(err)
	}
	d.sweepUp()
	if infos, _ := fsys.ReadDir(dataDir); len(infos) != 1 {
		t.Errorf("left: %v", infos)
	}
	for i, s := range slices {
		if p, err := s.ReadBytes(nil); err != nil || len(p) != s.Len || s.Stale() {
			t.Errorf("slice %d: %d bytes, %v", i, len(p), err)
		}
		s.Release()
	}
	if _, err := l.Read(l.Start(), 10, 1, true); !errors.Is(err, ErrClosed) {
		t.Errorf("read of a deleted log: %v", err)
	}
	if err := l.Append(0, []Append{{Batch: simpleBatch(1, 1)}}); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a deleted log: %v", err)
	}
}

func TestATruncatedSliceSaysSo(t *testing.T) {
	d := memDirectory(t, vfs.NewMem())
	l := createLog(t, d, "orders", LogOptions{})
	mustAppend(t, l, 0, simpleBatch(1, 100), simpleBatch(1, 100))
	s, err := l.Read(0, 2, 1000, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	if err := l.TruncateTo(1); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 1, simpleBatch(1, 50))
	if _, err := s.ReadBytes(nil); !s.Stale() || !errors.Is(err, ErrTruncating) {
		t.Errorf("stale: %v, %v", s.Stale(), err)
	}
}

// Damage is met by reads of what is damaged, and by them alone. It does not stop appends.
func TestDamageIsAnError(t *testing.T) {
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys)
	l, m := filledLog(t, fsys, d, 600)
	mustFlush(t, d)
	hurt := m.history[100]
	segment := (*l.segments.Load())[0]
	f, err := fsys.OpenReadWrite(segment.path(logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	pos, err := segment.positionOf(hurt.base)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, pos+magicAt); err != nil {
		t.Fatal(err)
	}
	var damage *CorruptionError
	if _, err := l.Read(hurt.base, m.end, 1, true); !errors.Is(err, ErrCorrupt) || !errors.As(err, &damage) || damage.Position != pos {
		t.Errorf("read of the damaged batch: %v", err)
	}
	for _, b := range []mbatch{m.history[50], m.history[len(m.history)-1]} {
		s, err := l.Read(b.base, b.last+1, 1, true)
		if err != nil || s.Len != len(b.bytes) {
			t.Errorf("read of an intact batch: %v", err)
		}
		s.Release()
	}
	mustAppend(t, l, 99, simpleBatch(1, 1))
}

// An index that does not fit the data is noticed by the look-up that meets it, which finds the batch all the
// same, and is made anew in the background.
func TestWrongIndexesAreMadeAnew(t *testing.T) {
	for name, hurt := range map[string]func(fsys vfs.FS, path string) error{
		"missing": func(fsys vfs.FS, path string) error { return fsys.Remove(path) },
		"zeros":   func(fsys vfs.FS, path string) error { return overwrite(fsys, path, func(p []byte) { clear(p) }) },
		"wrong positions": func(fsys vfs.FS, path string) error {
			return overwrite(fsys, path, func(p []byte) {
				for i := 7; i < len(p); i += 8 {
					p[i] ^= 1
				}
			})
		},
		"cut": func(fsys vfs.FS, path string) error {
			f, err := fsys.OpenReadWrite(path)
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Truncate(17)
		},
	} {
		for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
			if name == "wrong positions" && suffix == timeIndexSuffix || testing.Short() && name != "cut" && name != "wrong positions" {
				continue
			}
			t.Run(name+suffix, func(t *testing.T) {
				fsys := vfs.NewMem()
				d := memDirectory(t, fsys)
				l, m := filledLog(t, fsys, d, 2200)
				looks := 40
				if testing.Short() {
					looks = 8
				}
				if err := d.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, s := range *l.segments.Load() {
					if err := hurt(fsys, s.path(suffix)); err != nil {
						t.Fatal(err)
					}
				}
				d = memDirectory(t, fsys, func(o *DirectoryOptions) { o.Clean, o.Defaults.IndexIntervalBytes = true, testInterval })
				l = d.Log("orders", 0)
				w := &world{rng: rand.New(rand.NewPCG(1, 2)), faults: vfs.NewFaults(fsys)}
				check := func() {
					t.Helper()
					for range looks {
						if err := w.lookOnce(l, m.history); err != nil {
							t.Fatal(err)
						}
						b := m.history[w.rng.IntN(len(m.history))].bytes
						found, err := l.OffsetForTime(b.MaxTimestamp())
						if want := m.firstAt(b.MaxTimestamp()); err != nil || found.Offset != want {
							t.Fatalf("offset for timestamp %d: %d, %v, want %d", b.MaxTimestamp(), found.Offset, err, want)
						}
					}
				}
				check()
				for _, s := range *l.segments.Load() { // the last batch of each is as far from the begin as can be
					if slice, err := l.Read(s.end-1, s.end, 1, true); err != nil {
						t.Fatal(err)
					} else {
						slice.Release()
					}
				}
				mustAppend(t, l, 99, simpleBatch(1, 1)) // which loads the index of the active segment
				d.checkpoints.pass(t.Context())
				check()
				if err := indexesEqualScan(l); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A batch larger than the interval has no entry within it, and is no damage. Nor is one that follows it.
func TestAnIndexOfLargeBatchesIsWhole(t *testing.T) {
	fsys := vfs.NewMem()
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{})
	for _, size := range []int{1 << 20, 10, 300 << 10, 300 << 10, 10, 10, 1 << 20, 4000, 1 << 20, 1 << 20, 10} {
		mustAppend(t, l, 0, simpleBatch(10, size/10))
	}
	end := l.End()
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	d = memDirectory(t, fsys, func(o *DirectoryOptions) { o.Clean = true }) // which does not know the tail
	l = d.Log("orders", 0)
	for offset := range end {
		slice, err := l.Read(offset, end, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		slice.Release()
		if s := l.active(); s.index.broken {
			t.Fatalf("the index is put aside after a read at %d", offset)
		}
	}
}

// firstAt is firstAtOrAfter for the whole log, fast: batches that are too old are not opened.
func (m *mlog) firstAt(ts int64) int64 {
	for i, b := range m.history {
		if b.bytes.MaxTimestamp() >= ts {
			return firstAtOrAfter(m.history[i:], ts, 0)
		}
	}
	return -1
}

func overwrite(fsys vfs.FS, path string, change func(p []byte)) error {
	p, err := vfs.ReadFile(fsys, path)
	if err != nil {
		return err
	}
	f, err := fsys.OpenReadWrite(path)
	if err != nil {
		return err
	}
	defer f.Close()
	change(p)
	_, err = f.WriteAt(p, 0)
	return err
}

// A read that the disk fails does not fence the log.
func TestReadsThatFail(t *testing.T) {
	fsys := vfs.NewFaults(vfs.NewMem())
	d := memDirectory(t, fsys)
	l := createLog(t, d, "orders", LogOptions{})
	for range tailLen + 10 {
		mustAppend(t, l, 0, simpleBatch(1, 10))
	}
	bad := fsys.Inject(vfs.Rule{Ops: vfs.OpRead, Path: "*.log", Err: syscall.EIO})
	if _, err := l.Read(0, 5, 1000, true); !errors.Is(err, ErrStorage) || !errors.Is(err, syscall.EIO) {
		t.Errorf("read: %v", err)
	}
	bad.Heal()
	if l.Err() != nil {
		t.Errorf("the log is fenced: %v", l.Err())
	}
	if s, err := l.Read(0, 5, 1000, true); err != nil || s.Len == 0 {
		t.Errorf("read afterwards: %v", err)
	} else {
		s.Release()
	}
}

// The tail remembers the last batches, and gives the same ranges as a list of all.
func TestTail(t *testing.T) {
	var tl tail
	var all []mark
	at := mark{}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 300 {
		tl.add(at)
		all = append(all, at)
		at = mark{offset: at.offset + 1 + int64(rng.IntN(3)), pos: at.pos + 61 + int64(rng.IntN(100))}
		known := all[max(0, len(all)-tailLen):]
		offset := rng.Int64N(at.offset + 1)
		i := tl.holding(offset)
		if offset < known[0].offset {
			if i != -1 {
				t.Fatalf("offset %d is not remembered, but %d", offset, i)
			}
			continue
		}
		if m := tl.at(i); m.offset > offset || i+1 < len(known) && known[i+1].offset <= offset {
			t.Fatalf("offset %d in the batch at %d", offset, m.offset)
		}
		below, limit := rng.Int64N(at.offset+2), tl.at(i).pos+rng.Int64N(2000)
		want := tl.at(i)
		for _, m := range append(known[i+1:len(known):len(known)], at) {
			if m.offset <= below && m.pos <= limit {
				want = m
			}
		}
		if have := tl.cut(i, at, below, limit); have != want && want.offset <= below {
			t.Fatalf("cut from %+v below %d, limit %d: %+v, want %+v", tl.at(i), below, limit, have, want)
		}
	}
}
