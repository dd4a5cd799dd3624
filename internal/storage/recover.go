package storage

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// progressEvery is how often a long recovery says how far it is.
const progressEvery = 5 * time.Second

// recoveryProgress counts, for the log lines of a long recovery.
type recoveryProgress struct {
	total   int
	began   time.Time
	logs    atomic.Int64
	scanned atomic.Int64 // logs that were not opened as a clean stop has left them
	bytes   atomic.Int64
}

// Recover opens every log that the directory holds, several at once. It is called once, before Run.
//
// After a clean stop no data is read. After any other the data above the recovery points is, and
// what was torn is cut off. A log that cannot be recovered is opened all the same, with the reason
// as its Err: it takes no appends, and is read as far as it is intact. The error returned concerns
// the directory as a whole.
func (d *Directory) Recover(ctx context.Context) error {
	names, aside, err := d.sweep()
	if err != nil {
		return fmt.Errorf("recover %s: %w", d.path, err)
	}
	if err := d.cleaner.load(); err != nil {
		return fmt.Errorf("recover %s: %w", d.path, err)
	}
	if !d.clean {
		// What is seen need not be durable, if the process alone has died. Recovery acts upon it
		// (it removes what lies below a start offset), so it has to be made so first.
		if err := d.fs.SyncDir(d.path); err != nil {
			return fmt.Errorf("recover %s: %w", d.path, err)
		}
	}
	p := &recoveryProgress{total: len(names), began: time.Now()}
	done := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() { d.report(p, done) })
	forEach(ctx, d.recoveryThreads, names, func(name string) {
		d.recoverLog(name, p)
		p.logs.Add(1)
	})
	close(done)
	reporter.Wait()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("recover %s: %w", d.path, err)
	}
	d.findMissing(aside)
	if !d.clean || p.scanned.Load() > 0 {
		if err := d.checkpoints.save(true); err != nil { // which syncs the data directory, too
			return fmt.Errorf("recover %s: write recovery points: %w", d.path, err)
		}
	}
	if err := d.cleaner.save(); err != nil {
		return fmt.Errorf("recover %s: %w", d.path, err)
	}
	d.recovered = true
	took := time.Since(p.began)
	d.metrics.recoverySeconds.Set(took.Seconds())
	d.logger.Info("logs are open", "logs", d.count(), "clean", d.clean, "scanned_bytes", p.bytes.Load(), "took", took.Round(time.Millisecond))
	return nil
}

// sweep lists the logs of the directory and disposes of what earlier runs have left. It returns the
// former names of the logs that were taken out, too.
func (d *Directory) sweep() (names []string, aside map[string]bool, err error) {
	infos, err := d.fs.ReadDir(d.path)
	if err != nil {
		return nil, nil, err
	}
	aside = map[string]bool{}
	for _, info := range infos {
		path := filepath.Join(d.path, info.Name)
		if asideKind(info.Name) != "" {
			aside[info.Name[:strings.LastIndexByte(info.Name, '.')]] = true
		}
		switch {
		case !info.IsDir:
			if strings.HasSuffix(info.Name, tmpSuffix) {
				_ = d.fs.Remove(path)
			}
		case asideKind(info.Name) == deleteDirSuffix:
			d.janitor.add(0, true, path)
		case asideKind(info.Name) == strayDirSuffix:
			d.janitor.add(d.strayDelay, true, path)
		default:
			if topic, _, ok := parseLogDir(info.Name); ok && topic != "__raft_metadata" {
				names = append(names, info.Name)
			}
		}
	}
	return names, aside, nil
}

// report logs progress every few seconds until done.
func (d *Directory) report(p *recoveryProgress, done <-chan struct{}) {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		n, elapsed := p.logs.Load(), time.Since(p.began)
		attrs := []any{"logs", n, "of", p.total, "scanned_bytes", p.bytes.Load(), "elapsed", elapsed.Round(time.Second)}
		if n > 0 {
			left := time.Duration(float64(elapsed) / float64(n) * float64(int64(p.total)-n))
			attrs = append(attrs, "left", left.Round(time.Second))
		}
		d.logger.Info("recovering logs", attrs...)
	}
}

// recoverLog opens one log.
func (d *Directory) recoverLog(name string, p *recoveryProgress) {
	topic, partition, _ := parseLogDir(name)
	l := newLog(d, LogID{Topic: topic, Partition: partition}, filepath.Join(d.path, name), d.defaults)
	l.cleanPoint.Store(d.cleaner.point(name))
	r := &recovery{log: l}
	if d.loaded != nil {
		r.entry, r.known = d.loaded.entries[name]
	}
	sameBoot := d.loaded != nil && d.bootID != "" && d.loaded.boot == d.bootID
	r.warm = sameBoot
	r.strict = d.distrust || sameBoot && !r.entry.failed || r.entry.corrupt
	opened, err := r.run(d.clean)
	p.bytes.Add(r.scanned)
	d.metrics.recoveryScanned.Add(float64(r.scanned))
	if !opened {
		if err != nil {
			d.logger.Error("what a log has left cannot be removed", "directory", l.dirPath(), "error", err)
		}
		return
	}
	if err != nil {
		f := &FailedError{Log: l.id.String(), Op: "recovery", Err: err}
		l.failure.Store(f)
		l.announced.Store(true) // who asks for the logs sees it
		r.how = recoveredOffline
		d.logger.Error("log is offline: it could not be recovered; restore its files from a replica or a backup, or move its directory away to begin it empty",
			"log", name, "directory", l.dirPath(), "error", err, "readable_to", l.End())
	}
	if l.cleanPoint.Load() > l.End() { // a truncation was under way
		l.cleanPoint.Store(l.End())
	}
	if r.how != recoveredClean {
		p.scanned.Add(1)
	}
	d.metrics.recovered.WithLabelValues(r.how).Inc()
	d.register(l)
}

// findMissing notes the logs that had records and are not there any more.
func (d *Directory) findMissing(aside map[string]bool) {
	if d.loaded == nil {
		return
	}
	for name, e := range d.loaded.entries {
		if d.Log(e.id.Topic, e.id.Partition) != nil || e.point.offset <= e.start || aside[name] {
			continue
		}
		d.mu.Lock()
		d.missing[name] = e
		d.mu.Unlock()
		d.logger.Error("the directory of a log is gone: is another disk mounted, was it moved?", "log", name, "had_records_to", e.point.offset)
	}
}
