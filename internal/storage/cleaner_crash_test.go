package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// TestCompaction runs random appends, cleanings, truncations, trims and restarts on compacted logs that
// crash, as those of TestPowerLoss do, at any call to the file system. What is left must be, by itself,
// what a plain map of all records is: the last value of every key, and none of a key that was deleted;
// every record at the offset that it was given, and no other there; and the producers' windows.
func TestCompaction(t *testing.T) {
	if *oneSeed != 0 {
		if err := runCompaction(*oneSeed, true); err != nil {
			t.Fatal(err)
		}
		return
	}
	seeds := 500
	switch {
	case testing.Short() && raceEnabled:
		seeds = 10
	case testing.Short():
		seeds = 40
	case raceEnabled:
		seeds = 100
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
				if err := runCompaction(seed, false); err != nil {
					failures.Add(1)
					t.Errorf("seed %d: %v\nrepeat with: go test -tags invariant ./internal/storage -run 'TestCompaction$' -seed=%d -v", seed, err, seed)
				}
			}
		})
	}
	workers.Wait()
}

// keyed is a record as it was appended.
type keyed struct {
	offset    int64
	key       string
	value     []byte // nil: a tombstone
	timestamp int64
}

func (k *keyed) equal(o *keyed) bool {
	return k.offset == o.offset && k.key == o.key && (k.value == nil) == (o.value == nil) && bytes.Equal(k.value, o.value) && k.timestamp == o.timestamp
}

// compacted is a run of TestCompaction, and what it knows of its one log.
type compacted struct {
	rng    *rand.Rand
	mem    *vfs.Mem
	faults *vfs.Faults
	clock  *clock.Manual
	logger *slog.Logger
	dir    *Directory
	log    *Log
	boot   int
	clean  bool // the last stop
	codec  record.Codec

	options   LogOptions
	cleaner   CleanerOptions
	records   []keyed  // by offset
	batches   []mbatch // of producers, by offset
	ghosts    []keyed  // an append that a crash has cut short
	ghost     []mbatch
	acked     int64
	bound     int64
	start     int64
	maxStart  int64
	touched   int64 // below it passes may have removed records
	fill      uint64
	crashed   atomic.Bool
	trace     []string
	verbose   bool
	truncated bool // a truncation may have been cut short
}

func runCompaction(seed uint64, verbose bool) error {
	rng := rand.New(rand.NewPCG(seed, 11))
	w := &compacted{
		rng: rng, mem: vfs.NewMem(), clock: clock.NewManual(1_700_000_000_000), verbose: verbose, boot: 1,
		codec: record.Codec(max(0, rng.IntN(8)-3)), logger: slog.New(slog.DiscardHandler),
		options: LogOptions{
			Compacted: true, SegmentBytes: 1 << (10 + rng.IntN(4)), IndexIntervalBytes: testInterval, SegmentIndexBytes: 32 << rng.IntN(6),
			DeleteRetentionMillis: []int64{0, 60_000, 900_000}[rng.IntN(3)], MinCompactionLagMillis: int64(rng.IntN(2)) * int64(rng.IntN(60_000)),
			MaxCompactionLagMillis: int64(rng.IntN(2)) * 200_000, MinCleanableDirtyRatio: float64(rng.IntN(3)) * .25,
		},
		cleaner: CleanerOptions{DedupeBytes: mapSlotSize * int64(2+rng.IntN(20)), BufferBytes: 512 << rng.IntN(8)},
	}
	if verbose {
		w.logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	err := errors.Join(w.mem.MkdirAll(dataDir), w.mem.SyncDir("."))
	for life := 0; life < 3+rng.IntN(4) && err == nil; life++ {
		w.note("--- life %d", life)
		if err = w.live(); err != nil {
			err = fmt.Errorf("life %d: %w\n%s", life, err, strings.Join(w.trace[max(0, len(w.trace)-40):], "\n"))
		}
	}
	return err
}

func (w *compacted) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	w.trace = append(w.trace, s)
	if w.verbose {
		fmt.Fprintln(os.Stderr, s)
	}
}

// live is one start, operations, and an end.
func (w *compacted) live() error {
	w.faults = vfs.NewFaults(w.mem)
	w.crashed.Store(false)
	ending := w.rng.IntN(10)
	done := make(chan error, 1)
	rule := vfs.Rule{Nth: 1 + w.rng.IntN([]int{100, 400, 1500}[w.rng.IntN(3)]), Stall: true}
	if w.rng.IntN(2) == 0 { // while segments are being replaced
		rule = vfs.Rule{Nth: 1 + w.rng.IntN(30), Stall: true, Ops: vfs.OpRename | vfs.OpSyncDir | vfs.OpCreate}
	}
	if ending == 9 {
		if err := w.operate(); err != nil {
			return err
		}
		w.note("clean stop")
		w.clean = true
		if err := w.dir.Close(context.Background()); err != nil {
			return err
		}
		w.end(w.rng.IntN(2) == 0)
		return nil
	}
	at := w.faults.Inject(rule)
	go func() { done <- w.operate() }()
	var err error
	select {
	case <-at.First():
		w.end(ending < 3)
		w.crashed.Store(true)
		at.Heal()
		err = <-done
	case err = <-done:
		w.end(ending < 3)
	}
	return err
}

func (w *compacted) end(kill bool) {
	w.note("end, by a kill: %v", kill)
	if kill {
		w.mem = w.mem.Kill()
		return
	}
	w.mem = w.mem.Crash(w.rng)
	w.boot++
}

func (w *compacted) operate() error {
	d, err := OpenDirectory(DirectoryOptions{
		FS: w.faults, Path: dataDir, Clock: w.clock, Logger: w.logger, BootID: fmt.Sprintf("boot-%d", w.boot), Clean: w.clean,
		Defaults: LogOptions{IndexIntervalBytes: testInterval}, FlushThreads: 1, RecoveryThreads: 1, MaxOpenFiles: 1 + w.rng.IntN(4),
		Cleaner: w.cleaner,
		OnFlush: func(moved []*Log) {
			if !w.crashed.Load() {
				w.acked = max(w.acked, moved[0].Flushed())
			}
		},
	})
	if err == nil {
		w.dir, w.clean = d, false
		err = d.Recover(context.Background())
	}
	if err == nil {
		err = w.begin()
	}
	for i := 0; i < 20+w.rng.IntN(120) && err == nil && !w.crashed.Load(); i++ {
		err = w.step()
	}
	if err == nil && !w.crashed.Load() {
		err = w.verify()
	}
	if w.crashed.Load() {
		return nil
	}
	return err
}

// begin finds the log, or makes it, and looks at what is there.
func (w *compacted) begin() error {
	w.log = w.dir.Log("a", 0)
	if w.log == nil {
		if w.acked > 0 {
			return errors.New("the log is gone")
		}
		w.records, w.batches, w.ghosts, w.ghost = nil, nil, nil, nil
		w.start, w.maxStart, w.bound, w.touched = 0, 0, 0, 0
		var err error
		w.log, err = w.dir.Create(LogID{Topic: "a", TopicID: [16]byte{1}}, w.options)
		return err
	}
	if err := w.log.Err(); err != nil {
		return fmt.Errorf("does not open: %w", err)
	}
	if missing := w.dir.Missing(); len(missing) > 0 {
		return fmt.Errorf("recovery misses %v", missing)
	}
	end := w.log.End()
	if end < w.acked {
		return fmt.Errorf("end %d, acknowledged %d", end, w.acked)
	}
	if n := int64(len(w.records)); end > n && len(w.ghosts) > 0 && w.ghosts[0].offset <= n {
		w.records = append(w.records[:w.ghosts[0].offset], w.ghosts...)
		w.batches = append(w.batches, w.ghost...)
	}
	if end > int64(len(w.records)) {
		return fmt.Errorf("end %d, appended %d", end, len(w.records))
	}
	w.cut(end)
	w.acked, w.ghosts, w.ghost, w.truncated = end, nil, nil, false
	if s := w.log.Start(); s < w.start || s > w.maxStart {
		return fmt.Errorf("start %d, promised %d, asked for %d", s, w.start, w.maxStart)
	}
	w.start = w.log.Start()
	if w.start == end && len(w.log.Producers()) == 0 { // it was trimmed into records that were not flushed
		w.batches = nil
	}
	w.log.SetOptions(w.options)
	w.log.SetRetentionBound(w.bound)
	return w.verify()
}

// cut makes the model end at an offset.
func (w *compacted) cut(end int64) {
	w.records = w.records[:end]
	for len(w.batches) > 0 && w.batches[len(w.batches)-1].last >= end {
		w.batches = w.batches[:len(w.batches)-1]
	}
}

func (w *compacted) step() error {
	w.clock.Add(time.Duration(w.rng.IntN(20)) * time.Second)
	l := w.log
	switch n := w.rng.IntN(100); {
	case n < 50:
		return w.append()
	case n < 60:
		w.dir.round()
	case n < 70:
		w.dir.checkpoints.pass(context.Background())
	case n < 74:
		w.bound += int64(w.rng.IntN(int(max(w.bound, l.Flushed())-w.bound) + 1))
		l.SetRetentionBound(w.bound)
	case n < 77:
		w.bound = max(w.bound, l.Flushed())
		l.SetRetentionBound(w.bound)
	case n < 90:
		return w.compact()
	case n < 92:
		return w.truncate()
	case n < 93:
		return w.trim()
	case n < 95:
		w.dir.sweepUp()
	case n < 97:
		w.faults.Inject(vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate | vfs.OpRename, Path: "*.cleaned", Err: syscall.ENOSPC, Nth: 1 + w.rng.IntN(3)})
	default:
		return w.verify()
	}
	return nil
}

func (w *compacted) append() error {
	b := record.NewBuilder()
	b.Codec = w.codec
	now, base := w.clock.NowMillis(), w.log.End()
	if w.rng.IntN(3) == 0 {
		b.ProducerID, b.ProducerEpoch = int64(1+w.rng.IntN(3)), 0
		b.BaseSequence = 0
		for _, old := range w.batches {
			if old.bytes.ProducerID() == b.ProducerID {
				b.BaseSequence = record.AddSequence(old.bytes.LastSequence(), 1)
			}
		}
	}
	var records []keyed
	for i := range 1 + w.rng.IntN(4) {
		w.fill++
		r := keyed{offset: base + int64(i), key: fmt.Sprint("key ", w.rng.IntN(12)), timestamp: now - int64(w.rng.IntN(3000))}
		if w.rng.IntN(4) > 0 {
			r.value = bytes.Repeat(fmt.Append(nil, w.fill, " "), 1+w.rng.IntN(40))
		}
		records = append(records, r)
		b.Add(r.timestamp, []byte(r.key), r.value)
	}
	batch, err := b.Build()
	if err != nil {
		return err
	}
	in := []Append{{Batch: batch}}
	err = w.log.Append(0, in)
	w.note("append %d records at %d: %v", len(records), base, err)
	batch.SetBaseOffset(base)
	var producers []mbatch
	if batch.HasProducerID() {
		producers = []mbatch{{base: base, last: batch.LastOffset(), bytes: batch}}
	}
	if w.crashed.Load() {
		w.ghosts, w.ghost = records, producers
		return nil
	}
	if err != nil || in[0].Duplicate || in[0].BaseOffset != base {
		return fmt.Errorf("append at %d: %w, %+v", base, err, in[0])
	}
	w.records, w.batches = append(w.records, records...), append(w.batches, producers...)
	return nil
}

// compact lets the cleaner do what there is to do.
func (w *compacted) compact() error {
	if p := w.log.planCleaning(w.clock.NowMillis()); p != nil {
		w.touched = max(w.touched, p.to)
	}
	w.dir.cleaner.cleanAll(context.Background())
	w.note("cleaned to %d, flushed %d, end %d, %d segments", w.log.cleanPoint.Load(), w.log.Flushed(), w.log.End(), w.log.Segments())
	if w.crashed.Load() {
		return nil
	}
	if w.log.Uncleanable() {
		return errors.New("the log is not cleanable")
	}
	if w.log.Err() != nil {
		return w.log.Err()
	}
	return w.verify()
}

// truncate removes what is above the bound, as followers do.
func (w *compacted) truncate() error {
	to := w.log.End() - int64(w.rng.IntN(8))
	if to < w.bound || to < w.log.Start() {
		return nil
	}
	w.note("truncate to %d", to)
	w.acked = min(w.acked, to)
	err := w.log.TruncateTo(to)
	if errors.Is(err, ErrNotContiguous) || w.crashed.Load() {
		return nil
	}
	if err == nil {
		w.cut(to)
	}
	return err
}

func (w *compacted) trim() error {
	to := w.start + int64(w.rng.IntN(int(w.log.End()-w.start)+1))
	w.note("trim to %d", to)
	w.maxStart = max(w.maxStart, to)
	if err := w.log.TrimBefore(to); err != nil || w.crashed.Load() {
		return err
	}
	w.start = to
	return nil
}

// verify compares what is read with the model.
func (w *compacted) verify() error {
	l := w.log
	start, end := l.Start(), l.End()
	found, err := readAll(l, start)
	if err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	next := int64(-1)
	last := map[string]keyed{}
	below := map[string]int64{}
	there := map[int64]bool{}
	for _, b := range found {
		if b.BaseOffset() < next {
			return fmt.Errorf("batch at offset %d follows one that ends before %d", b.BaseOffset(), next)
		}
		next = b.LastOffset() + 1
		greatest := record.NoTimestamp
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				return err
			}
			k := keyed{offset: b.BaseOffset() + int64(r.OffsetDelta), key: string(r.Key), value: r.Value, timestamp: b.Timestamp(r)}
			if k.offset >= end || !k.equal(&w.records[k.offset]) {
				return fmt.Errorf("record at offset %d is not the one that was appended there: key %q, timestamp %d; batch %d to %d", k.offset, k.key, k.timestamp, b.BaseOffset(), b.LastOffset())
			}
			greatest = max(greatest, k.timestamp)
			if k.offset < start {
				continue
			}
			there[k.offset] = true
			last[k.key] = k
			if other, twice := below[k.key]; twice && k.offset < l.cleanPoint.Load() {
				return fmt.Errorf("%s is at %d and at %d, although the log is clean to %d", k.key, other, k.offset, l.cleanPoint.Load())
			}
			below[k.key] = k.offset
		}
		if b.Count() > 0 && b.MaxTimestamp() != greatest {
			return fmt.Errorf("batch at offset %d says %d is its greatest timestamp, its records %d", b.BaseOffset(), b.MaxTimestamp(), greatest)
		}
	}
	if len(found) > 0 && next != end {
		return fmt.Errorf("batches end at %d, the log at %d", next, end)
	}
	if err := w.compareMap(last, there, start, end); err != nil {
		return err
	}
	if err := w.compareProducers(found, start); err != nil {
		return err
	}
	return indexesEqualScan(l)
}

// compareMap compares what the log says of each key with a fold of all records.
func (w *compacted) compareMap(last map[string]keyed, there map[int64]bool, start, end int64) error {
	want := map[string]keyed{}
	for _, r := range w.records[start:end] {
		want[r.key] = r
		if r.offset >= max(w.touched, w.log.cleanPoint.Load()) && !there[r.offset] {
			return fmt.Errorf("offset %d is not there, nothing above %d was to be cleaned", r.offset, w.touched)
		}
	}
	for key, r := range want {
		have, found := last[key]
		switch {
		case found && !have.equal(&r):
			return fmt.Errorf("the last record of %s is at %d, it should be at %d", key, have.offset, r.offset)
		case !found && r.value != nil:
			return fmt.Errorf("%s, written at %d, is gone", key, r.offset)
		case !found && w.clock.NowMillis() < r.timestamp+w.options.DeleteRetentionMillis:
			return fmt.Errorf("the tombstone of %s, written at %d, is gone too early", key, r.offset)
		}
	}
	return nil
}

// compareProducers compares the state of the producers, and what a fold of the batches that are left gives, with the model.
func (w *compacted) compareProducers(found []record.Batch, start int64) error {
	m := mlog{producers: naiveProducers{}}
	for _, b := range w.batches {
		m.producers.add(b)
	}
	if err := m.equalProducers(w.log); err != nil {
		return err
	}
	if start > 0 {
		return nil
	}
	folded := newProducers()
	for _, b := range found {
		if b.HasProducerID() {
			folded.apply(b, txnMarker{}, 0)
		}
	}
	for id, p := range w.log.producers.byID {
		f := folded.byID[id]
		if f != nil {
			for i := range f.batches { // the greatest timestamp is that of the records that stay
				f.batches[i].timestamp = p.batches[i].timestamp
			}
		}
		if f == nil || f.n != p.n || f.batches != p.batches {
			return fmt.Errorf("producer %d: the batches that are left say %+v, it is %+v", id, f, p)
		}
	}
	return nil
}
