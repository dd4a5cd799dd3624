package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// janitor unlinks what was renamed out of the way, one file at a time and in its own goroutine:
// large files take a file system long to free, and nobody waits for that.
type janitor struct {
	dir  *Directory
	wake chan struct{} // capacity 1: due has changed

	mu  sync.Mutex
	due []doomed
}

// doomed is a file, or a log's directory, to be unlinked.
type doomed struct {
	path string
	at   time.Time
	tree bool
}

func (j *janitor) add(after time.Duration, tree bool, paths ...string) {
	at := time.Now().Add(after)
	j.mu.Lock()
	for _, p := range paths {
		j.due = append(j.due, doomed{path: p, at: at, tree: tree})
	}
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// take returns what is due, and how long it takes until more is.
func (j *janitor) take() (now []doomed, wait time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := time.Now()
	wait = time.Hour
	j.due = slices.DeleteFunc(j.due, func(d doomed) bool {
		if after := d.at.Sub(t); after > 0 {
			wait = min(wait, after)
			return false
		}
		now = append(now, d)
		return true
	})
	return now, wait
}

func (j *janitor) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.wake:
		case <-timer.C:
		}
		due, wait := j.take()
		for _, d := range due {
			if ctx.Err() != nil {
				return // the next start removes what is left
			}
			j.remove(ctx, d)
		}
		timer.Reset(wait)
	}
}

func (j *janitor) remove(ctx context.Context, d doomed) {
	fsys := j.dir.fs
	if d.tree {
		// Until the recovery points have forgotten the log its absence would look like a loss.
		if err := j.dir.checkpoints.save(true); err != nil {
			j.dir.logger.Warn("recovery points not written; a deleted log's files stay until the next start", "path", d.path, "error", err)
			return
		}
		infos, _ := fsys.ReadDir(d.path)
		for _, info := range infos {
			if ctx.Err() != nil {
				return
			}
			_ = fsys.Remove(filepath.Join(d.path, info.Name))
		}
	}
	if err := fsys.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		j.dir.logger.Warn("cannot remove; remove it by hand, or restart", "path", d.path, "error", err)
	}
}

// Delete takes the log out of the directory at once and unlinks its files in the background,
// after the log's FileDeleteDelay. Readers keep what they hold.
func (d *Directory) Delete(l *Log) error {
	return d.setAside(l, deleteDirSuffix, l.Options().FileDeleteDelay)
}

// Stray takes a log that nobody knows out of the directory and keeps its files for StrayDelay, in
// a directory whose name ends with -stray: an operator may move it elsewhere and look.
func (d *Directory) Stray(l *Log) error { return d.setAside(l, strayDirSuffix, d.strayDelay) }

// setAside ends the log and renames its directory. That is not made durable: a log that comes back
// at a crash is still not known to anybody, and is set aside again.
func (d *Directory) setAside(l *Log, suffix string, keep time.Duration) error {
	l.beginMaint() // a checkpoint that is being written must not land in a log that takes the name
	defer l.endMaint()
	if d.Log(l.id.Topic, l.id.Partition) != l {
		return nil // somebody else was faster, and has finished
	}
	path := filepath.Join(d.path, asideName(l.id, suffix))
	l.mu.Lock() // an append that is under way comes to its end
	l.closed.Store(true)
	l.mu.Unlock()
	for _, s := range *l.segments.Load() {
		s.retire() // before the rename: some systems do not rename what is open
	}
	err := d.fs.Rename(l.dirPath(), path)
	if err == nil {
		l.path.Store(&path)
	}
	// Not before: who finds the name free makes a log of it, and its directory would be there yet.
	d.unregister(l)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else was faster
	}
	if err != nil {
		return fmt.Errorf("%w: set log %s aside: %w", ErrStorage, l.id, err)
	}
	d.janitor.add(keep, true, path)
	d.checkpoints.note(l)
	return nil
}

// dropSegments takes segments, which are out of the list already, out of use: their files are
// renamed at once, in the order given, and unlinked later. The renames are durable when the
// directory has been synced. After an error the rest stays, for the next start to drop: what is
// left must have no holes.
func (l *Log) dropSegments(segments []*segment, reason string) error {
	for _, s := range segments {
		size, _ := s.extent()
		l.size.Add(-size)
		s.retire()
	}
	for _, s := range segments {
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
			name := s.path(suffix)
			err := l.dir.fs.Rename(name, name+deletedSuffix)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			l.dir.janitor.add(l.Options().FileDeleteDelay, false, name+deletedSuffix)
		}
		l.dir.metrics.deleted.WithLabelValues(reason).Inc()
	}
	return nil
}

// dropSnapshots removes the producer snapshots for which drop holds, and tells whether there were any.
func (l *Log) dropSnapshots(drop func(at int64) bool) bool {
	l.mu.Lock()
	var gone []int64
	l.snapshots = slices.DeleteFunc(l.snapshots, func(at int64) bool {
		if drop(at) {
			gone = append(gone, at)
			return true
		}
		return false
	})
	l.mu.Unlock()
	for _, at := range gone {
		_ = l.dir.fs.Remove(l.file(offsetName(at, snapshotSuffix)))
	}
	return len(gone) > 0
}
