package storage

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// Limits of what a log with write caching may have unflushed before it asks for a flush.
const (
	cachingBytes  = 256 << 10
	cachingMillis = 100
)

// committer makes appends durable, in rounds: it takes all logs that asked for a flush, syncs
// their files, several at once, publishes the flushed offsets, and tells OnFlush which logs have
// moved. What is appended during a round waits for the next one, so that rounds batch by
// themselves: there is no timer for those who wait for a flush.
//
// Two obvious designs lost to this one when they were measured: a sync in each append (a half to
// a fifth of the throughput) and workers without rounds (more syncs with less in each). A write-ahead
// log shared by all logs could take the place of this part; nothing else knows how bytes become durable.
//
// Logs with write caching ask when they have much, or after a while: those wait in lazy for a timer.
type committer struct {
	dir     *Directory
	threads int
	wake    chan struct{} // capacity 1: a round is due, or lazy has changed

	// round is held, by sending, by whoever does a round: Run's goroutine, Flush or Close.
	round chan struct{}
	jobs  []flushJob // of the round
	moved []*Log

	mu    sync.Mutex
	queue []*Log // asked for a flush
	spare []*Log // the other of two buffers
	lazy  []*Log // ask when flushState.due has come
}

// flushState is a log's part in the committer.
type flushState struct {
	queued atomic.Bool
	lazy   atomic.Bool
	due    atomic.Int64 // when the lazy log asks: nanoseconds since the directory was opened
}

// flushWish is what an append wants of the committer.
type flushWish int64 // 0 nothing, 1 a flush, above: a flush at that time since the directory was opened

const (
	flushNothing flushWish = 0
	flushNow     flushWish = 1
)

// flushWishLocked tells when the log wants to be flushed.
func (l *Log) flushWishLocked() flushWish {
	if l.unflushed == 0 {
		return flushNothing
	}
	o := l.options.Load()
	if !o.WriteCaching || l.unflushed >= cachingBytes || l.records >= o.FlushMessages {
		return flushNow
	}
	if l.flush.lazy.Load() || l.flush.queued.Load() {
		return flushNothing
	}
	wait := time.Duration(min(cachingMillis, o.FlushMillis)) * time.Millisecond
	return max(flushNow, flushWish(time.Since(l.dir.opened)+wait))
}

// askFlush passes the wish on; no lock is held.
func (l *Log) askFlush(w flushWish) {
	switch w {
	case flushNothing:
	case flushNow:
		l.dir.committer.now(l)
	default:
		l.dir.committer.later(l, time.Duration(w))
	}
}

// now puts the log into the next round.
func (c *committer) now(l *Log) {
	if l.flush.queued.Swap(true) {
		return
	}
	c.mu.Lock()
	c.queue = append(c.queue, l)
	c.mu.Unlock()
	c.signal()
}

// later puts the log into a round after the given time since the directory was opened.
func (c *committer) later(l *Log, due time.Duration) {
	l.flush.due.Store(int64(due))
	if l.flush.lazy.Swap(true) {
		return
	}
	c.mu.Lock()
	c.lazy = append(c.lazy, l)
	first := len(c.lazy) == 1
	c.mu.Unlock()
	if first {
		c.signal()
	}
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run does rounds until ctx ends.
func (c *committer) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if c.takeDue() {
			c.signal()
		}
		if next, ok := c.nextDue(); ok {
			timer.Reset(next)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
			c.takeDue()
		}
		c.round <- struct{}{}
		c.doRound()
		<-c.round
	}
}

// takeDue moves the lazy logs whose time has come into the next round and tells whether there were any.
func (c *committer) takeDue() (moved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lazy) == 0 {
		return false
	}
	now := int64(time.Since(c.dir.opened))
	kept := c.lazy[:0]
	for _, l := range c.lazy {
		switch {
		case l.flush.due.Load() > now:
			kept = append(kept, l)
		default:
			l.flush.lazy.Store(false)
			if !l.flush.queued.Swap(true) {
				c.queue, moved = append(c.queue, l), true
			}
		}
	}
	clear(c.lazy[len(kept):])
	c.lazy = kept
	return moved
}

// nextDue returns how long it takes until a lazy log is due.
func (c *committer) nextDue() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lazy) == 0 {
		return 0, false
	}
	first := int64(math.MaxInt64)
	for _, l := range c.lazy {
		first = min(first, l.flush.due.Load())
	}
	return max(0, time.Duration(first)-time.Since(c.dir.opened)), true
}

// doRound flushes all that has asked; the caller holds round.
func (c *committer) doRound() {
	c.mu.Lock()
	logs := c.queue
	c.queue = c.spare[:0]
	c.mu.Unlock()
	c.flushAll(logs)
	clear(logs)
	c.mu.Lock()
	c.spare = logs[:0]
	c.mu.Unlock()
}

// flushAll flushes the given logs, and reports.
func (c *committer) flushAll(logs []*Log) {
	c.jobs = slices.Grow(c.jobs[:0], len(logs)) // jobs do not move: they point into themselves
	for _, l := range logs {
		l.flush.queued.Store(false) // before it is looked at: a later append asks again
		c.jobs = c.jobs[:len(c.jobs)+1]
		if !l.beginFlush(&c.jobs[len(c.jobs)-1]) {
			c.jobs = c.jobs[:len(c.jobs)-1]
		}
	}
	if len(c.jobs) == 0 {
		return
	}
	if invariant.Mutant("storage-publish-early") {
		c.publishEarly()
	}
	created := c.syncParent()
	c.syncJobs(created)
	for i := range c.jobs {
		job := &c.jobs[i]
		if job.log.endFlush(job) {
			c.moved = append(c.moved, job.log)
		}
		if job.err != nil {
			job.log.announce()
		}
	}
	c.dir.metrics.rounds.Inc()
	if len(c.moved) > 0 {
		c.dir.checkpoints.noteAll(c.moved)
		if c.dir.onFlush != nil {
			c.dir.onFlush(c.moved)
		}
	}
	clear(c.moved)
	clear(c.jobs)
	c.moved = c.moved[:0]
}

// publishEarly is a mutant: it says that the bytes are durable before they are.
func (c *committer) publishEarly() {
	for i := range c.jobs {
		if job := &c.jobs[i]; job.log.raiseFlushed(job.to.offset) {
			c.moved = append(c.moved, job.log)
		}
	}
	if c.dir.onFlush != nil && len(c.moved) > 0 {
		c.dir.onFlush(c.moved)
	}
	c.moved = c.moved[:0]
}

// syncParent makes the directories of new logs durable, all with one call.
func (c *committer) syncParent() error {
	for i := range c.jobs {
		if c.jobs[i].newLog {
			return c.dir.fs.SyncDir(c.dir.path)
		}
	}
	return nil
}

// syncJobs syncs the files of all jobs, at most threads at once.
func (c *committer) syncJobs(created error) {
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(c.jobs) {
				return
			}
			job := &c.jobs[i]
			if job.newLog && created != nil {
				job.fail("sync the data directory", created)
				continue
			}
			job.sync()
		}
	}
	var helpers sync.WaitGroup
	for range min(len(c.jobs), c.threads) - 1 {
		helpers.Go(work)
	}
	work()
	helpers.Wait()
}

// flushJob is a log's part in a round: what was there when the round began.
type flushJob struct {
	log         *Log
	files       []flushFile
	one         [1]flushFile // the usual case, without allocation
	to          point
	bytes       int64
	records     int64
	truncations uint64
	filesMade   uint64 // names that the sync of the directory covers
	newFiles    bool
	newLog      bool

	op  string
	err error
}

// flushFile is a file with bytes to sync.
type flushFile struct {
	segment *segment
	handle  *handle
	size    int64
	cuts    int // a cut that came after may not be covered
}

func (j *flushJob) fail(op string, err error) {
	if j.err == nil {
		j.op, j.err = op, err
	}
}

// beginFlush notes in job what a flush has to cover. It reports false if there is nothing.
func (l *Log) beginFlush(job *flushJob) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Err() != nil || l.truncating || l.unflushed == 0 && len(l.unsynced) == 0 {
		return false
	}
	active := l.active()
	size, end := active.extent()
	*job = flushJob{
		log: l, to: point{offset: end, base: active.base, pos: size},
		bytes: l.unflushed, records: l.records, truncations: l.truncations.Load(),
		filesMade: l.filesMade, newFiles: l.filesMade != l.filesSynced, newLog: l.newLog,
	}
	job.files = job.one[:0]
	for _, s := range l.unsynced {
		f := flushFile{segment: s, cuts: s.cuts}
		f.size, _ = s.extent()
		job.files = append(job.files, f)
	}
	return true
}

// sync makes the job's bytes durable, and the names of the files that hold them: a flush that
// covered bytes in a file whose name is lost at a crash would have covered nothing.
func (j *flushJob) sync() {
	for i := range j.files {
		f := &j.files[i]
		h, err := f.segment.acquire()
		if err != nil {
			j.fail("open for flush", err)
			return
		}
		f.handle = h
		if invariant.Mutant("storage-skip-datasync") {
			continue
		}
		began := time.Now()
		err = h.Datasync()
		j.log.dir.metrics.fsync.Observe(time.Since(began).Seconds())
		if err != nil && !invariant.Mutant("storage-ignore-sync-error") {
			j.fail("flush", err)
			return
		}
	}
	if j.newLog {
		if err := j.log.syncFile(partitionName); err != nil {
			j.fail("flush "+partitionName, err)
			return
		}
	}
	if j.newFiles && !invariant.Mutant("storage-skip-syncdir") {
		if err := j.log.dir.fs.SyncDir(j.log.dirPath()); err != nil {
			j.fail("sync the log's directory", err)
		}
	}
}

// syncFile makes one of the log's files durable.
func (l *Log) syncFile(name string) error {
	f, err := l.dir.fs.OpenReadWrite(l.file(name))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Datasync()
}

// endFlush publishes what the flush has achieved and tells whether the flushed offset has moved. A
// failed flush is final: what the disk holds is not known any more, and another sync would not
// tell (the kernel takes the lost pages for clean), so the log is fenced before anybody can append.
func (l *Log) endFlush(j *flushJob) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range j.files {
		if f := &j.files[i]; f.handle != nil {
			f.handle.release()
		}
	}
	if j.err != nil {
		_ = l.fenceLocked(j.op, j.err) // not if it was deleted under the flush
		return false
	}
	if l.Err() != nil || l.truncations.Load() != j.truncations {
		return false // nothing is promised any more; or the truncation has flushed by itself
	}
	for i := range j.files {
		f := &j.files[i]
		f.segment.synced = f.size
		if size, _ := f.segment.extent(); size == f.size && f.segment.cuts == f.cuts {
			f.segment.dirty.Store(false)
		}
	}
	l.unsynced = stillUnsynced(l.unsynced)
	l.unflushed -= j.bytes
	l.records -= j.records
	l.filesSynced = j.filesMade
	l.newLog = l.newLog && !j.newLog
	l.durable = j.to
	return l.raiseFlushed(j.to.offset)
}

func stillUnsynced(all []*segment) []*segment {
	kept := all[:0]
	for _, s := range all {
		if s.dirty.Load() {
			kept = append(kept, s)
		}
	}
	clear(all[len(kept):])
	return kept
}

// raiseFlushed publishes a flushed offset; it never falls but by truncation.
func (l *Log) raiseFlushed(to int64) bool {
	if to <= l.flushed.Load() {
		return false
	}
	l.flushed.Store(to)
	return true
}
