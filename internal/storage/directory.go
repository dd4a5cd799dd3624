package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// Directory is one data directory: its logs, their committer, and the background work.
//
// Life: OpenDirectory, Recover once, Run in a goroutine; after Run has returned, Close. Logs may
// be created, appended to and read between Recover and Close, but nothing is flushed without Run.
type Directory struct {
	fs      vfs.FS
	path    string
	clock   clock.Clock
	logger  *slog.Logger
	metrics *metrics
	onFlush func(moved []*Log)
	onFail  func(*Log, error)
	opened  time.Time // monotonic zero of flushWish

	clean    bool
	bootID   string
	defaults LogOptions
	loaded   *checkpoint // as it was found; nil if there was none
	distrust bool        // there is data, but no readable checkpoint

	// recovered: Recover has come to its end. Before that the recovery points are not this process's
	// to write: those of the logs that it has not reached stand in the file alone.
	recovered bool

	recoveryThreads int
	flushThreads    int
	retentionEvery  time.Duration
	expiration      atomic.Int64 // ms after which silent producers are forgotten
	cleanerOptions  atomic.Pointer[CleanerOptions]
	strayDelay      time.Duration

	committer   committer
	checkpoints checkpointer
	janitor     janitor
	cleaner     cleaner
	files       fileCache

	mu        sync.RWMutex
	logs      map[logKey]*Log
	sorted    []*Log // cached order of names; nil when it has to be made
	missing   map[string]checkpointEntry
	deleted   map[string]uint64 // names whose line may still stand in the recovery-point file, by the number of their deletion
	deletions uint64
}

type logKey struct {
	topic     string
	partition int32
}

func (id LogID) key() logKey { return logKey{id.Topic, id.Partition} }

// SetProducerExpiration changes after what silence producer ids are forgotten.
func (d *Directory) SetProducerExpiration(after time.Duration) {
	d.expiration.Store(after.Milliseconds())
}

// OpenDirectory reads the recovery points of a data directory and writes them anew in a fresh one.
// It starts nothing and opens no log. That nobody else uses the directory is LockDirectory's business.
func OpenDirectory(o DirectoryOptions) (*Directory, error) {
	d := &Directory{
		fs: o.FS, path: o.Path, clock: o.Clock, logger: o.Logger, onFlush: o.OnFlush, onFail: o.OnFail,
		opened: time.Now(), clean: o.Clean, bootID: o.BootID, defaults: o.Defaults,
		recoveryThreads: cmp.Or(o.RecoveryThreads, 8), flushThreads: cmp.Or(o.FlushThreads, 8),
		retentionEvery: cmp.Or(o.RetentionInterval, 5*time.Minute),
		strayDelay:     cmp.Or(o.StrayDelay, 10*time.Minute),
		logs:           map[logKey]*Log{}, missing: map[string]checkpointEntry{}, deleted: map[string]uint64{},
	}
	d.SetProducerExpiration(cmp.Or(o.ProducerExpiration, 24*time.Hour))
	if d.clock == nil {
		d.clock = clock.Wall{}
	}
	if d.logger == nil {
		d.logger = slog.New(slog.DiscardHandler)
	}
	d.files.max = cmp.Or(o.MaxOpenFiles, 4096)
	d.committer = committer{dir: d, threads: d.flushThreads, wake: make(chan struct{}, 1), round: make(chan struct{}, 1)}
	d.checkpoints = checkpointer{dir: d, interval: cmp.Or(o.CheckpointInterval, time.Second), wake: make(chan struct{}, 1), writing: make(chan struct{}, 1)}
	d.janitor = janitor{dir: d, wake: make(chan struct{}, 1)}
	d.cleaner = newCleaner(d, o.Cleaner)
	d.metrics = newMetrics(o.Registerer, d)
	return d, d.loadCheckpoint()
}

// loadCheckpoint reads the recovery points. Without them recovery has to take any damage for
// damage, so a fresh directory gets a file before its first log.
func (d *Directory) loadCheckpoint() error {
	var err error
	if d.loaded, err = loadCheckpoint(d.fs, d.path); errors.Is(err, ErrCorrupt) {
		d.logger.Warn("recovery points are damaged; all data will be read", "error", err)
		d.clean, d.distrust = false, true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(d.path, checkpointName), err)
	}
	if d.loaded != nil {
		return nil
	}
	infos, err := d.fs.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	for _, info := range infos {
		if _, _, ok := parseLogDir(info.Name); ok && info.IsDir {
			d.clean, d.distrust = false, true
			return nil
		}
	}
	if err := d.checkpoints.save(true); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(d.path, checkpointName), err)
	}
	return nil
}

// Run does the rounds of flushes, checkpoints, retention, compaction and the deletion of files until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	for _, run := range []func(context.Context){d.committer.run, d.checkpoints.run, d.runRetention, d.janitor.run, d.cleaner.run} {
		parts.Go(func() { run(ctx) })
	}
	parts.Wait()
	return nil
}

// Logs returns all logs, in order of their names. The slice is the caller's to read.
func (d *Directory) Logs() []*Log {
	d.mu.RLock()
	sorted := d.sorted
	d.mu.RUnlock()
	if sorted != nil {
		return sorted
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sorted == nil {
		d.sorted = make([]*Log, 0, len(d.logs))
		for _, l := range d.logs {
			d.sorted = append(d.sorted, l)
		}
		slices.SortFunc(d.sorted, func(a, b *Log) int {
			return cmp.Or(cmp.Compare(a.id.Topic, b.id.Topic), cmp.Compare(a.id.Partition, b.id.Partition))
		})
	}
	return d.sorted
}

// Log returns the log of a partition, nil if there is none.
func (d *Directory) Log(topic string, partition int32) *Log {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.logs[logKey{topic, partition}]
}

// Path returns the data directory.
func (d *Directory) Path() string { return d.path }

// Usage returns the total and the free bytes of the file system that holds the directory; zeros where unknown.
func (d *Directory) Usage() (total, free uint64, err error) { return d.fs.Usage(d.path) }

// Missing returns the logs that had data at the last checkpoint and whose directories were not
// there any more at Recover: somebody took them, or another disk is mounted. Such a log must not
// be created anew as if it had always been empty.
func (d *Directory) Missing() []LogID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	ids := make([]LogID, 0, len(d.missing))
	for _, e := range d.missing {
		ids = append(ids, e.id)
	}
	return ids
}

func (d *Directory) count() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.logs)
}

func (d *Directory) lost() map[string]checkpointEntry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := make(map[string]checkpointEntry, len(d.missing))
	for name, e := range d.missing {
		all[name] = e
	}
	return all
}

// register makes a log known; false if its name is taken.
func (d *Directory) register(l *Log) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, taken := d.logs[l.id.key()]; taken {
		return false
	}
	d.logs[l.id.key()] = l
	d.sorted = nil
	return true
}

func (d *Directory) unregister(l *Log) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.logs[l.id.key()] != l {
		return false
	}
	delete(d.logs, l.id.key())
	d.deletions++
	d.deleted[l.id.String()] = d.deletions
	d.sorted = nil
	return true
}

// deletedLogs returns the deletions of logs that the recovery-point file may still have.
func (d *Directory) deletedLogs() map[string]uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return maps.Clone(d.deleted)
}

// forgetDeleted is called when the file, durably, has them no more.
func (d *Directory) forgetDeleted(gone map[string]uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.deleted, func(name string, n uint64) bool { return gone[name] == n })
}

// Create makes an empty log: a directory and its partition.metadata; the first segment comes with
// the first append. It is durable after SyncCreated, or once something in it is flushed.
func (d *Directory) Create(id LogID, o LogOptions) (*Log, error) {
	path := filepath.Join(d.path, id.String())
	d.mu.RLock()
	_, again := d.deleted[id.String()]
	d.mu.RUnlock()
	if again { // else at a crash the new log could be taken for the old one, and found too short
		if err := d.checkpoints.save(true); err != nil {
			return nil, fmt.Errorf("%w: create log %s again: %w", ErrStorage, id, err)
		}
	}
	if err := d.cleaner.forget(id.String()); err != nil {
		return nil, fmt.Errorf("create log %s: %w", id, err)
	}
	l := newLog(d, id, path, o)
	l.newLog, l.filesMade = true, 1
	l.beginAt(0)
	if !d.register(l) {
		return nil, fmt.Errorf("%w: %s", ErrExists, id)
	}
	err := d.fs.Mkdir(path)
	if err == nil {
		err = writePartitionMetadata(d.fs, filepath.Join(path, partitionName), id.TopicID)
	}
	if err != nil {
		d.unregister(l)
		l.closed.Store(true)
		if !errors.Is(err, fs.ErrExist) {
			_ = d.fs.RemoveAll(path)
		}
		return nil, fmt.Errorf("%w: create log %s: %w", ErrStorage, id, err)
	}
	d.mu.Lock()
	delete(d.missing, id.String())
	d.mu.Unlock()
	d.checkpoints.note(l)
	return l, nil
}

// beginAt makes the log empty, with one segment whose file is not there yet.
func (l *Log) beginAt(offset int64) {
	s := newSegment(l, offset)
	s.missing = true
	l.setSegments([]*segment{s})
	l.start.Store(offset)
	l.end.Store(offset)
	l.flushed.Store(offset)
	l.bound.Store(offset)
	l.durable = point{offset: offset, base: offset}
	l.recovery = l.durable
	l.noProducers = offset
}

// SyncCreated makes all logs that were created so far durable, with two syncs for all of them: the
// topic ids stand in the recovery-point file too, and recovery writes a partition.metadata that
// was lost anew from there.
func (d *Directory) SyncCreated() error {
	if err := d.checkpoints.save(true); err != nil {
		return fmt.Errorf("%w: make new logs durable: %w", ErrStorage, err)
	}
	return nil
}

// Flush makes everything durable that was appended before the call, to all logs. A log that fails
// is reported as after any flush (Log.Err, OnFail), not here.
func (d *Directory) Flush(ctx context.Context) error {
	select {
	case d.committer.round <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.committer.round }()
	for _, l := range d.Logs() {
		d.committer.now(l)
	}
	d.committer.doRound()
	return nil
}

// forEach calls f for each item, up to threads at once, and returns when all are done; it begins
// no more of them when ctx has ended.
func forEach[T any](ctx context.Context, threads int, items []T, f func(T)) {
	var next atomic.Int64
	work := func() {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(items) {
				return
			}
			f(items[i])
		}
	}
	var helpers sync.WaitGroup
	for range min(threads, len(items)) - 1 {
		helpers.Go(work)
	}
	work()
	helpers.Wait()
}
