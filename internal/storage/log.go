package storage

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Log is the log of one partition: segments in a directory of its own.
//
// What readers need (segments, offsets, epochs, options) is immutable behind atomic pointers, so
// that a fetch never waits for an append. mu guards what belongs to the end of the log; it is held
// over the write of an append, which goes to the page cache, and never over a sync. Work that
// waits for the disk (truncation, retention, checkpoints, close) is kept apart by maint.
// Order of locks: maint, mu, segment.mu.
type Log struct {
	id  LogID
	dir *Directory

	path     atomic.Pointer[string] // changes when the log is deleted
	options  atomic.Pointer[LogOptions]
	segments atomic.Pointer[[]*segment] // never empty; ascending; the last is active
	epochs   atomic.Pointer[[]Epoch]

	start   atomic.Int64
	end     atomic.Int64
	flushed atomic.Int64
	bound   atomic.Int64 // retention leaves what is at and above it
	size    atomic.Int64

	truncations atomic.Uint64 // counts them, for readers that met one
	cleanPoint  atomic.Int64  // below it compaction has been everywhere; -1: it has never been here
	uncleanable atomic.Bool   // it has failed
	failure     atomic.Pointer[FailedError]
	announced   atomic.Bool // OnFail has been called
	closed      atomic.Bool // closed, deleted or set aside

	flush   flushState
	changed atomic.Bool // in the checkpointer's list
	broken  atomic.Bool // some segment's index waits to be made anew

	// maint is held, by sending, by the one goroutine that changes files other than the end of the
	// active segment.
	maint chan struct{}
	// Guarded by maint:
	renamed      bool  // side files have got their names, which no sync has covered
	durableStart int64 // up to where the log start in the recovery points is durable for sure

	mu         sync.Mutex
	stopped    bool // the directory is closing: no more appends
	truncating bool
	producers  producers
	write      writeBuffers

	// What a flush has to cover.
	unsynced    []*segment // segments with bytes that none has covered, oldest first
	unflushed   int64      // bytes since the last one
	records     int64      // and records
	filesMade   uint64     // names made in the log's directory, ever
	filesSynced uint64     // how many of them are durable
	newLog      bool       // the log's directory and partition.metadata are not durable
	durable     point      // the flushed offset and its place

	// When the active segment was begun (wall clock, 0 if not known), and this segment's share of segment.jitter.ms.
	begun     int64
	jitter    float64
	firstTime int64 // the greatest timestamp of its first batch; with begun, known from the first append on

	// What a checkpoint has to do.
	recovery     point    // everything below is durable, with all that recovery needs
	sealed       []sealed // segments whose side files are not written, oldest first
	savedEpoch   int32    // the newest in leader-epoch-checkpoint
	epochsCut    bool     // that has epochs which the log has not
	snapshots    []int64  // offsets of the producer snapshots
	noProducers  int64    // an offset at which there was no producer state
	grown        int64    // bytes appended by this process
	snapshotMark int64    // of these, before the last snapshot
}

// point is a place in the log: an offset between two batches, and where that is.
type point struct {
	offset int64
	base   int64 // of the segment
	pos    int64
}

// sealed is a finished segment, and the producer state at its end: at the offset at.
type sealed struct {
	segment  *segment
	at       int64
	snapshot []byte
}

func newLog(d *Directory, id LogID, path string, o LogOptions) *Log {
	l := &Log{id: id, dir: d, maint: make(chan struct{}, 1), savedEpoch: -1}
	l.path.Store(&path)
	l.cleanPoint.Store(-1)
	o = o.withDefaults()
	l.options.Store(&o)
	l.epochs.Store(&[]Epoch{})
	l.producers = newProducers()
	l.jitter = rand.Float64()
	return l
}

// ID returns what the log was created as.
func (l *Log) ID() LogID { return l.id }

// String returns topic-partition.
func (l *Log) String() string { return l.id.String() }

// Options returns the options in force.
func (l *Log) Options() LogOptions { return *l.options.Load() }

// SetOptions changes the options from the next append on. If the log loses its write caching, what
// it has not flushed is flushed at once.
func (l *Log) SetOptions(o LogOptions) {
	o = o.withDefaults()
	l.options.Store(&o)
	if !o.WriteCaching && l.flushed.Load() < l.end.Load() {
		l.dir.committer.now(l)
	}
}

// Start returns the first offset of the log.
func (l *Log) Start() int64 { return l.start.Load() }

// End returns the offset that the next record will get.
func (l *Log) End() int64 { return l.end.Load() }

// Flushed returns the offset up to which everything is on the disk.
func (l *Log) Flushed() int64 { return l.flushed.Load() }

// Size returns the bytes of all segments.
func (l *Log) Size() int64 { return l.size.Load() }

// Segments returns the number of segments.
func (l *Log) Segments() int { return len(*l.segments.Load()) }

// Err returns why the log takes no appends: nil, a FailedError or ErrClosed.
func (l *Log) Err() error {
	if f := l.failure.Load(); f != nil {
		return f
	}
	if l.closed.Load() {
		return ErrClosed
	}
	return nil
}

// SetRetentionBound tells retention that records at and above offset must stay: the high
// watermark. Before the first call everything stays.
func (l *Log) SetRetentionBound(offset int64) { l.bound.Store(offset) }

func (l *Log) dirPath() string { return *l.path.Load() }

func (l *Log) active() *segment {
	s := *l.segments.Load()
	return s[len(s)-1]
}

func (l *Log) segmentsCopy() []*segment { return slices.Clone(*l.segments.Load()) }

func (l *Log) setSegments(all []*segment) { l.segments.Store(&all) }

// beginMaint waits until nobody else changes the log's files, endMaint lets the next one in.
func (l *Log) beginMaint() { l.maint <- struct{}{} }
func (l *Log) endMaint()   { <-l.maint }

// fenceLocked makes err the log's failure, unless it has one, and returns it. A closed log does
// not fail: its files may have gone under a flush.
func (l *Log) fenceLocked(op string, err error) error {
	if l.closed.Load() {
		return ErrClosed
	}
	f := &FailedError{Log: l.id.String(), Op: op, Err: err}
	if !l.failure.CompareAndSwap(nil, f) {
		return l.failure.Load()
	}
	return f
}

// fence is fenceLocked for those who do not hold mu, and tells the world.
func (l *Log) fence(op string, err error) error {
	l.mu.Lock()
	err = l.fenceLocked(op, err)
	l.mu.Unlock()
	l.announce()
	return err
}

// announce reports the log's failure, once; no lock is held.
func (l *Log) announce() {
	f := l.failure.Load()
	if f == nil || l.announced.Swap(true) {
		return
	}
	l.dir.metrics.failures.Inc()
	l.dir.logger.Error("log failed: it takes no more appends until the next start recovers it; check the disk",
		"log", l.id.String(), "op", f.Op, "error", f.Err, "flushed", l.Flushed(), "end", l.End())
	if l.dir.onFail != nil {
		l.dir.onFail(l, f)
	}
}

// withDefaults replaces zero values.
func (o LogOptions) withDefaults() LogOptions {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 1 << 30
	}
	if o.SegmentMillis <= 0 {
		o.SegmentMillis = 7 * 24 * time.Hour.Milliseconds()
	}
	if o.SegmentIndexBytes <= 0 {
		o.SegmentIndexBytes = 10 << 20
	}
	if o.IndexIntervalBytes <= 0 {
		o.IndexIntervalBytes = 4096
	}
	if o.RetentionMillis == 0 {
		o.RetentionMillis = -1
	}
	if o.RetentionBytes == 0 {
		o.RetentionBytes = -1
	}
	if o.FlushMessages <= 0 {
		o.FlushMessages = math.MaxInt64
	}
	if o.FlushMillis <= 0 {
		o.FlushMillis = math.MaxInt64
	}
	if o.MaxCompactionLagMillis <= 0 {
		o.MaxCompactionLagMillis = math.MaxInt64
	}
	if o.Compacted { // what is in the active segment is not cleaned
		o.SegmentMillis = min(o.SegmentMillis, o.MaxCompactionLagMillis)
	}
	return o
}
