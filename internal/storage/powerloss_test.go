package storage

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "run this seed of the power-loss test alone, with the log")
	seedCount = flag.Int("seeds", 0, "how many seeds of the power-loss test to run; 0: 1000, or 30 with -short")
)

// TestPowerLoss runs random operations on the logs of a directory on the memory file system that
// crashes: at any call to the file system, by loss of power, by the death of the process, or after a
// clean stop; and again, several times over, with faults of the disk in between. After each
// start everything that was acknowledged must be there, byte for byte, and everything that is
// there must be what was appended.
func TestPowerLoss(t *testing.T) {
	if *oneSeed != 0 {
		if err := runSeed(*oneSeed, true); err != nil {
			t.Fatal(err)
		}
		return
	}
	seeds := 1000
	switch {
	case testing.Short() && raceEnabled:
		seeds = 10
	case testing.Short():
		seeds = 30
	case raceEnabled:
		seeds = 200
	}
	if *seedCount > 0 {
		seeds = *seedCount
	}
	var next atomic.Uint64
	var failures atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				seed := next.Add(1)
				if seed > uint64(seeds) || failures.Load() > 3 {
					return
				}
				if err := runSeed(seed, false); err != nil {
					failures.Add(1)
					t.Errorf("seed %d: %v\nrepeat with: go test -tags invariant ./internal/storage -run 'TestPowerLoss$' -seed=%d -v", seed, err, seed)
				}
			}
		})
	}
	workers.Wait()
}

// world is one seed's run.
type world struct {
	rng    *rand.Rand
	mem    *vfs.Mem
	faults *vfs.Faults
	clock  *clock.Manual
	logger *slog.Logger
	dir    *Directory
	boot   int
	marker string // of a clean stop: "there", "gone", or "perhaps" after a crash under its removal
	lost   bool   // there was a loss of power since the logs were last verified

	logs   map[string]*mlog // as they should be there, by name
	gone   map[[16]byte]bool
	nextID byte
	fill   uint64

	crashed atomic.Bool
	trace   []string
	verbose bool
}

func runSeed(seed uint64, verbose bool) (err error) {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 7)), mem: vfs.NewMem(), clock: clock.NewManual(1_700_000_000_000),
		marker: "gone", logs: map[string]*mlog{}, gone: map[[16]byte]bool{}, verbose: verbose, boot: 1,
	}
	w.logger = slog.New(slog.DiscardHandler)
	if verbose {
		w.logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
	}
	if err := w.mem.MkdirAll(dataDir); err != nil {
		return err
	}
	if err := w.mem.SyncDir("."); err != nil {
		return err
	}
	lives := 2 + w.rng.IntN(4)
	for life := range lives {
		w.note("--- life %d", life)
		w.list()
		if err := w.live(life == lives-1); err != nil {
			return fmt.Errorf("life %d: %w\n%s", life, err, strings.Join(w.trace[max(0, len(w.trace)-30):], "\n"))
		}
	}
	return nil
}

// list shows the files, in a verbose run.
func (w *world) list() {
	if !w.verbose {
		return
	}
	infos, _ := w.mem.ReadDir(dataDir)
	for _, info := range infos {
		files, _ := w.mem.ReadDir(dataDir + "/" + info.Name)
		fmt.Fprint(os.Stderr, "  ", info.Name, ":")
		for _, f := range files {
			fmt.Fprintf(os.Stderr, " %s=%d", strings.TrimLeft(f.Name, "0"), f.Size)
		}
		fmt.Fprintln(os.Stderr)
	}
	if p, err := vfs.ReadFile(w.mem, dataDir+"/"+checkpointName); err == nil {
		fmt.Fprint(os.Stderr, string(p))
	}
}

func (w *world) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	w.trace = append(w.trace, s)
	if w.verbose {
		fmt.Fprintln(os.Stderr, s)
	}
}

// live is one start, operations, and an end.
func (w *world) live(last bool) error {
	w.faults = vfs.NewFaults(w.mem)
	w.crashed.Store(false)
	ending := w.rng.IntN(10)
	if last {
		ending = 9
	}
	done := make(chan error, 1)
	if ending < 6 { // at some call to the file system
		kill := ending >= 4
		at := w.faults.Inject(vfs.Rule{Nth: 1 + w.rng.IntN([]int{40, 400, 1500}[w.rng.IntN(3)]), Stall: true})
		go func() { done <- w.operate() }()
		select {
		case <-at.First():
			w.end(kill)
			w.crashed.Store(true)
			at.Heal()
			if err := <-done; err != nil {
				return err
			}
			return nil
		case err := <-done:
			if err != nil {
				return err
			}
		}
		w.end(kill)
		return nil
	}
	if err := w.operate(); err != nil {
		return err
	}
	if ending < 8 {
		w.end(ending == 7)
		return nil
	}
	return w.stop()
}

// end takes the power away, or the process.
func (w *world) end(kill bool) {
	if kill {
		w.mem = w.mem.Kill()
		return
	}
	w.mem = w.mem.Crash(w.rng)
	w.boot++
	w.lost = true
}

// stop is a clean stop, with the marker.
func (w *world) stop() error {
	w.note("clean stop")
	w.faults.Heal()
	err := w.dir.Close(context.Background())
	if err == nil {
		err = WriteCleanShutdown(w.mem, dataDir, 1)
	}
	if err != nil {
		return fmt.Errorf("clean stop: %w", err)
	}
	if w.rng.IntN(2) == 0 { // the power may go right after it
		w.end(false)
	} else {
		w.end(true)
	}
	w.marker = "there"
	return nil
}

// operate starts the directory, checks it, and does random operations until it has enough or the
// machine goes down.
func (w *world) operate() error {
	_, clean, err := LoadCleanShutdown(w.faults, dataDir)
	if err == nil {
		if w.marker != "perhaps" && clean != (w.marker == "there") {
			return fmt.Errorf("marker of a clean stop: %v, it should be %s", clean, w.marker)
		}
		if clean {
			w.marker = "perhaps"
		}
		err = RemoveCleanShutdown(w.faults, dataDir)
	}
	if err == nil && !w.crashed.Load() {
		w.marker = "gone"
		err = w.open(clean)
	}
	if w.crashed.Load() {
		return nil
	}
	if err != nil {
		return err
	}
	if err := w.verifyAll(); err != nil || w.crashed.Load() {
		return w.unlessCrashed(err)
	}
	w.lost = false
	for range 5 + w.rng.IntN(60) {
		err := w.step()
		if w.crashed.Load() {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) unlessCrashed(err error) error {
	if w.crashed.Load() {
		return nil
	}
	return err
}

func (w *world) open(clean bool) error {
	d, err := OpenDirectory(DirectoryOptions{
		FS: w.faults, Path: dataDir, Clock: w.clock, Logger: w.logger, Clean: clean, BootID: fmt.Sprintf("boot-%d", w.boot),
		Defaults: LogOptions{IndexIntervalBytes: testInterval}, FlushThreads: 1, RecoveryThreads: 1, MaxOpenFiles: 1 + w.rng.IntN(8),
		OnFlush: w.acknowledge, OnFail: w.fenced,
	})
	if err != nil {
		return err
	}
	w.dir = d
	return d.Recover(context.Background())
}

// testInterval is the index interval of all logs: indexes are compared with a scan.
const testInterval = 300

// acknowledge is OnFlush: what it tells of has been promised to clients.
func (w *world) acknowledge(moved []*Log) {
	if w.crashed.Load() {
		return
	}
	for _, l := range moved {
		if m := w.logs[l.ID().String()]; m != nil && m.id == l.ID() {
			m.acked = max(m.acked, l.Flushed())
			m.durable = true
		}
	}
}

// fenced is OnFail.
func (w *world) fenced(l *Log, _ error) {
	if m := w.logs[l.ID().String()]; m != nil && m.id == l.ID() {
		m.failed = true
	}
}

// verifyAll checks every log after a start, and takes out those that nobody knows.
func (w *world) verifyAll() error {
	for _, l := range w.dir.Logs() {
		m := w.logs[l.ID().String()]
		if m != nil && m.id == l.ID() {
			continue
		}
		if !w.gone[l.ID().TopicID] {
			return fmt.Errorf("%s has topic id %v, which was never there", l, l.ID().TopicID)
		}
		if err := w.dir.Delete(l); err != nil {
			return fmt.Errorf("delete %s, which is back after a crash: %w", l, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.logs)) {
		m := w.logs[name]
		l := w.dir.Log(m.id.Topic, m.id.Partition)
		if l == nil {
			if m.durable {
				return fmt.Errorf("%s is gone; acknowledged up to %d", name, m.acked)
			}
			w.forget(m)
			continue
		}
		if err := m.verify(l, !w.lost); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if w.rng.IntN(2) == 0 { // not always: it loads the index, which an append or a roll has to do by itself
			if err := indexesEqualScan(l); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		l.SetOptions(m.options)
		l.SetRetentionBound(l.Flushed())
	}
	if missing := w.dir.Missing(); len(missing) > 0 {
		return fmt.Errorf("recovery misses %v", missing)
	}
	return nil
}

func (w *world) forget(m *mlog) {
	delete(w.logs, m.id.String())
	w.gone[m.id.TopicID] = true
}

// step is one random operation.
func (w *world) step() error {
	w.clock.Add(1 << w.rng.IntN(20) * 1_000_000)
	m := w.pick()
	if m == nil {
		return w.create()
	}
	l := w.dir.Log(m.id.Topic, m.id.Partition)
	if l == nil {
		return fmt.Errorf("%s is not there", m)
	}
	switch n := w.rng.IntN(100); {
	case n < 45:
		return w.append(m, l)
	case n < 50:
		return w.follow(m, l)
	case n < 62:
		w.note("round")
		w.dir.round()
	case n < 66:
		w.note("flush")
		return w.dir.Flush(context.Background())
	case n < 74:
		w.note("checkpoint")
		w.dir.checkpoints.pass(context.Background())
	case n < 78:
		return w.truncate(m, l)
	case n < 81:
		return w.trim(m, l)
	case n < 84:
		w.retain()
	case n < 87:
		return w.create()
	case n < 88:
		return w.remove(m, l)
	case n < 91:
		m.epoch += 1 + int32(w.rng.IntN(2))
		w.note("%s: epoch %d", m, m.epoch)
		if err := l.BeginEpoch(m.epoch); err != nil && !m.failed {
			return err
		}
	case n < 94:
		w.disturb()
	case n < 95:
		m.options.WriteCaching = !m.options.WriteCaching
		l.SetOptions(m.options)
	case n < 97:
		w.dir.sweepUp()
	default:
		return w.look(m, l)
	}
	return nil
}

// pick chooses a log, nil now and then, and seldom one that takes no appends.
func (w *world) pick() *mlog {
	names := w.dir.Logs()
	if len(names) == 0 {
		return nil
	}
	l := names[w.rng.IntN(len(names))]
	if l.Err() != nil && w.rng.IntN(10) > 0 {
		return nil
	}
	return w.logs[l.ID().String()]
}

func (w *world) create() error {
	if len(w.logs) >= 4 {
		return nil
	}
	w.nextID++
	id := LogID{Topic: string(rune('a' + w.rng.IntN(4))), Partition: int32(w.rng.IntN(2)), TopicID: [16]byte{w.nextID}}
	if w.logs[id.String()] != nil {
		return nil
	}
	m := &mlog{id: id, ghosts: map[int64][]mbatch{}, producers: naiveProducers{}, options: LogOptions{
		SegmentBytes: 1 << (9 + w.rng.IntN(6)), IndexIntervalBytes: testInterval, WriteCaching: w.rng.IntN(4) == 0,
		LogAppendTime: w.rng.IntN(5) == 0, RetentionBytes: 1 << (11 + w.rng.IntN(5)), SegmentIndexBytes: 16 << w.rng.IntN(6),
		RetentionMillis: 1 << (33 + w.rng.IntN(8)), SegmentMillis: 1 << (32 + w.rng.IntN(8)), Preallocate: w.rng.IntN(4) == 0,
	}}
	w.note("create %s %+v", id, m.options)
	w.logs[id.String()] = m
	_, err := w.dir.Create(id, m.options)
	if err != nil {
		w.forget(m)
		if w.faultsAt(err) || errors.Is(err, fs.ErrExist) { // a directory that could not be renamed away
			return nil
		}
		return err
	}
	if w.rng.IntN(2) == 0 {
		w.note("sync created")
		if err := w.dir.SyncCreated(); err != nil {
			if w.faultsAt(err) {
				return nil
			}
			return err
		}
		if !w.crashed.Load() {
			for _, m := range w.logs {
				m.durable = true
			}
		}
	}
	return nil
}

// faultsAt tells whether an error is one that was injected.
func (w *world) faultsAt(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC) || w.crashed.Load()
}

func (w *world) remove(m *mlog, l *Log) error {
	w.note("delete %s", m)
	w.forget(m)
	take := w.dir.Delete
	if w.rng.IntN(4) == 0 {
		take = w.dir.Stray
	}
	if err := take(l); err != nil && !w.faultsAt(err) {
		return err
	}
	return nil
}

// batch makes a batch for a log: plain, or of a producer that goes on, repeats itself, or errs.
func (w *world) batch(m *mlog) record.Batch {
	w.fill++
	spec := batchSpec{
		records: 1 + w.rng.IntN(4), valueSize: 8 << w.rng.IntN(6), fill: w.fill,
		timestamp: w.clock.NowMillis() - int64(w.rng.IntN(1000)),
	}
	if w.rng.IntN(20) == 0 {
		spec.valueSize = 6000
	}
	if w.rng.IntN(2) == 0 {
		return makeBatch(spec)
	}
	spec.pid = int64(1 + w.rng.IntN(3))
	p := m.producers[spec.pid]
	switch n := w.rng.IntN(12); {
	case p == nil:
		spec.seq = int32(w.rng.IntN(2)) * (1<<31 - 3)
	case n < 7:
		spec.epoch, spec.seq = p.epoch, record.AddSequence(p.batches[len(p.batches)-1].bytes.LastSequence(), 1)
	case n < 10: // one of the last ones again, or one too old
		old := p.batches[max(0, len(p.batches)-1-w.rng.IntN(7))].bytes
		return append(record.Batch(nil), old...)
	case n < 11:
		spec.epoch = p.epoch + 1
		spec.seq = int32(w.rng.IntN(8) / 7)
	default:
		spec.epoch, spec.seq = p.epoch-int16(w.rng.IntN(2)), int32(w.rng.IntN(10))
	}
	return makeBatch(spec)
}

func (w *world) append(m *mlog, l *Log) error {
	in := make([]Append, 1+w.rng.IntN(4))
	expected := make([]expectation, len(in))
	seen := naiveProducers{}
	for id, p := range m.producers {
		seen[id] = &naiveProducer{epoch: p.epoch, batches: append([]mbatch(nil), p.batches...)}
	}
	next := m.end
	for i := range in {
		in[i].Batch = w.batch(m)
		in[i].Batch.SetBaseOffset(-1)
		e := &expected[i]
		e.dup = -1
		if len(in[i].Batch) > int(m.options.SegmentBytes) {
			e.err = ErrRecordTooLarge
			continue
		}
		if e.dup, e.err = seen.verdict(in[i].Batch); e.err == nil && e.dup < 0 {
			b := mbatch{base: next, last: next + int64(in[i].Batch.LastOffsetDelta()), bytes: in[i].Batch}
			seen.add(b)
			next = b.last + 1
		}
	}
	err := l.Append(m.epoch, in)
	w.note("append %d batches to %s at %d: %v", len(in), m, m.end, err)
	if errors.Is(err, ErrStorage) || l.Err() != nil {
		m.failed = m.failed || l.Err() != nil
	}
	return m.answered(in, expected, w.crashed.Load())
}

// follow appends as a follower does.
func (w *world) follow(m *mlog, l *Log) error {
	var batches []record.Batch
	next := m.end
	m.epoch += int32(w.rng.IntN(2))
	for range 1 + w.rng.IntN(3) {
		b := w.batch(m)
		if _, err := m.producers.verdict(b); b.HasProducerID() && err != nil {
			continue // the leader has not taken it
		}
		if dup, _ := m.producers.verdict(b); b.HasProducerID() && dup >= 0 || len(batches) > 0 && b.HasProducerID() {
			continue
		}
		b.SetBaseOffset(next)
		b.SetLeaderEpoch(m.epoch)
		batches = append(batches, b)
		next = b.LastOffset() + 1
	}
	if len(batches) == 0 || l.LatestEpoch() > m.epoch {
		return nil
	}
	err := l.AppendReplicated(batches)
	w.note("follow %d batches to %s at %d: %v", len(batches), m, m.end, err)
	m.failed = m.failed || l.Err() != nil
	for _, b := range batches {
		mb := mbatch{base: b.BaseOffset(), last: b.LastOffset(), bytes: b}
		if w.crashed.Load() || err != nil && mb.last >= l.End() {
			m.ghosts[mb.base] = append(m.ghosts[mb.base], mb)
			continue
		}
		m.history = append(m.history, mb)
		m.end = mb.last + 1
		m.producers.add(mb)
	}
	if err != nil && !w.faultsAt(err) && !m.failed {
		return err
	}
	return nil
}

func (w *world) truncate(m *mlog, l *Log) error {
	if len(m.history) == 0 || m.failed {
		return nil
	}
	full := w.rng.IntN(8) == 0
	to := m.history[max(0, len(m.history)-1-w.rng.IntN(6))].base
	if full {
		to = m.end + int64(w.rng.IntN(50))
	} else if to < l.Start() {
		return nil
	}
	w.note("truncate %s to %d (fully: %v), end %d, acked %d", m, to, full, m.end, m.acked)
	m.acked, m.truncated = min(m.acked, to), true
	var err error
	if full {
		m.emptying, m.emptyAt, m.acked = true, to, 0
		err = l.TruncateFullyAndStartAt(to)
	} else {
		err = l.TruncateTo(to)
	}
	if w.crashed.Load() {
		return nil
	}
	if err != nil {
		if !w.faultsAt(err) {
			return err
		}
		m.failed = m.failed || l.Err() != nil
		if l.End() == m.end {
			m.truncated = m.truncated && l.Err() != nil
			m.emptying = m.emptying && l.Err() != nil
		}
		return nil
	}
	m.truncated, m.emptying = false, false
	m.ghosts = map[int64][]mbatch{}
	if full {
		m.history, m.start, m.maxStart = nil, to, to
	} else {
		for len(m.history) > 0 && m.history[len(m.history)-1].base >= to {
			m.history = m.history[:len(m.history)-1]
		}
	}
	m.end, m.acked = to, to
	m.fold()
	if err := m.equalProducers(l); err != nil {
		return fmt.Errorf("%s after a truncation: %w", m, err)
	}
	return w.look(m, l)
}

func (w *world) trim(m *mlog, l *Log) error {
	if m.failed || m.end == m.start {
		return nil
	}
	to := m.start + int64(w.rng.IntN(int(m.end-m.start)+1))
	w.note("trim %s to %d", m, to)
	m.maxStart = max(m.maxStart, to)
	err := l.TrimBefore(to)
	if w.crashed.Load() {
		return nil
	}
	if err != nil {
		if !w.faultsAt(err) {
			return err
		}
		return nil
	}
	m.start = to
	return nil
}

func (w *world) retain() {
	w.note("retention")
	for _, m := range w.logs {
		l := w.dir.Log(m.id.Topic, m.id.Partition)
		l.SetRetentionBound(l.Flushed())
		m.maxStart = max(m.maxStart, l.Flushed())
	}
	w.dir.retain(context.Background(), w.clock.NowMillis())
	if w.crashed.Load() {
		return
	}
	for _, m := range w.logs {
		if l := w.dir.Log(m.id.Topic, m.id.Partition); m.start < l.Start() {
			m.maxStart = max(m.maxStart, l.Start())
		}
	}
}

// disturb makes one of the coming calls fail.
func (w *world) disturb() {
	rules := []vfs.Rule{
		{Ops: vfs.OpSync, Err: syscall.EIO},
		{Ops: vfs.OpSync, Path: "*.log", Err: syscall.EIO},
		{Ops: vfs.OpWrite, Path: "*.log", Err: syscall.ENOSPC, Short: -1},
		{Ops: vfs.OpWrite, Path: "*.log", Err: syscall.EIO, Short: -1},
		{Ops: vfs.OpWrite, Err: syscall.ENOSPC, Short: -1},
		{Ops: vfs.OpCreate, Err: syscall.ENOSPC},
		{Ops: vfs.OpSyncDir, Err: syscall.EIO},
		{Ops: vfs.OpRename, Err: syscall.EIO},
		{Ops: vfs.OpTruncate, Err: syscall.EIO},
		{Ops: vfs.OpRead, Path: "*index", Err: syscall.EIO},
	}
	r := rules[w.rng.IntN(len(rules))]
	r.Nth = 1 + w.rng.IntN(5)
	w.note("fault %+v", r)
	w.faults.Inject(r)
}

// look compares what is read, at random places and with random limits, with the model.
func (w *world) look(m *mlog, l *Log) error {
	if l.Err() != nil || m.failed {
		return nil
	}
	w.faults.Heal()
	var there []mbatch
	for _, b := range m.history {
		if b.last >= l.Start() {
			there = append(there, b)
		}
	}
	for range 4 {
		if err := w.lookOnce(l, there); err != nil {
			return fmt.Errorf("%s: %w", m, w.unlessCrashed(err))
		}
	}
	if len(there) == 0 {
		return nil
	}
	b := there[w.rng.IntN(len(there))].bytes
	ts := b.MaxTimestamp() - int64(w.rng.IntN(3))
	found, err := l.OffsetForTime(ts)
	if want := firstAtOrAfter(there, ts, l.Start()); err == nil && found.Offset != want {
		err = fmt.Errorf("offset for timestamp %d is %d, a scan gives %d", ts, found.Offset, want)
	}
	if err != nil {
		return w.unlessCrashed(fmt.Errorf("%s: %w", m, err))
	}
	return w.unlessCrashed(m.equalEpochs(l))
}

func firstAtOrAfter(there []mbatch, ts, start int64) int64 {
	for _, b := range there {
		for r, err := range b.bytes.Records(1 << 20) {
			if o := b.base + int64(r.OffsetDelta); err == nil && o >= start && b.bytes.Timestamp(r) >= ts {
				return o
			}
		}
	}
	return -1
}

func (w *world) lookOnce(l *Log, there []mbatch) error {
	start, end := l.Start(), l.End()
	from := start + int64(w.rng.IntN(int(end-start)+1))
	below := from + int64(w.rng.IntN(20))
	if w.rng.IntN(3) == 0 {
		below = end
	}
	limit := 1 << w.rng.IntN(16)
	minOne := w.rng.IntN(2) == 0
	s, err := l.Read(from, below, limit, minOne)
	if err != nil {
		return err
	}
	p, err := s.ReadBytes(nil)
	s.Release()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("read from %d below %d, %d bytes, minOne %v of [%d, %d)", from, below, limit, minOne, start, end)
	i := 0
	for i < len(there) && there[i].last < from {
		i++
	}
	size := 0
	for ; size < len(p); i++ {
		if i == len(there) {
			return fmt.Errorf("%s: bytes behind the last batch", what)
		}
		want := there[i].bytes
		if len(p)-size < len(want) || string(p[size:size+len(want)]) != string(want) {
			return fmt.Errorf("%s: the batch at %d is not there whole", what, there[i].base)
		}
		if there[i].last >= below {
			return fmt.Errorf("%s: has the batch that ends with %d", what, there[i].last)
		}
		size += len(want)
		if size > limit && (!minOne || size > len(want)) {
			return fmt.Errorf("%s: %d bytes", what, size)
		}
	}
	if i < len(there) && there[i].last < below && (size+len(there[i].bytes) <= limit || size == 0 && minOne) && !l.begins(there[i].base) {
		return fmt.Errorf("%s: %d bytes, the batch at %d (%d bytes) would fit", what, size, there[i].base, len(there[i].bytes))
	}
	if size == 0 && i < len(there) && there[i].last < below && minOne {
		return fmt.Errorf("%s: nothing, although the batch at %d is there", what, there[i].base)
	}
	return nil
}

// begins tells whether a segment begins at offset.
func (l *Log) begins(offset int64) bool {
	for _, s := range *l.segments.Load() {
		if s.base == offset {
			return true
		}
	}
	return false
}
