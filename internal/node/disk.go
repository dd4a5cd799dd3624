package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
)

const (
	// diskEvery is how often the space of the data directory is looked at, and diskSay how often a lack of it is told.
	diskEvery = 5 * time.Second
	diskSay   = time.Minute
)

// diskSpace watches the space of the data directory. A full disk fences nothing, for writes go on when there is space
// again; so it is here that a person finds out why producers are refused, and before they are.
type diskSpace struct {
	fs   vfs.FS
	path string
	log  *slog.Logger

	state atomic.Pointer[error] // why it is not well; points to nil while it is
	said  time.Time             // when the log told of a lack; zero while there is none
}

func newDiskSpace(fs vfs.FS, path string, log *slog.Logger) *diskSpace {
	d := &diskSpace{fs: fs, path: path, log: log}
	d.state.Store(new(error))
	return d
}

// Run looks again and again until ctx ends.
func (d *diskSpace) Run(ctx context.Context) error {
	t := time.NewTicker(diskEvery)
	defer t.Stop()
	for {
		d.look()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// look compares the free space with 5 % of the disk, or 5 GiB where that is less; a lack ends a fifth above that.
func (d *diskSpace) look() {
	total, free, err := d.fs.Usage(d.path)
	if err != nil || total == 0 {
		return // not known; an error of the disk is told by who reads and writes
	}
	least := min(total/20, 5<<30)
	if !d.said.IsZero() {
		least += least / 5
	}
	if free >= least {
		if !d.said.IsZero() {
			d.log.Info("the disk of the data directory has space again", "data_dir", d.path, "free", bytesText(free), "of", bytesText(total))
		}
		d.said = time.Time{}
		d.state.Store(new(error))
		return
	}
	lack := fmt.Errorf("the disk of %s has %s left of %s; once it is full, what producers send is refused: "+
		"give it space, delete topics, or keep records for a shorter time", d.path, bytesText(free), bytesText(total))
	d.state.Store(&lack)
	if d.said.IsZero() || time.Since(d.said) >= diskSay {
		d.said = time.Now()
		d.log.Warn("the disk of the data directory is nearly full: once it is, what producers send is refused; "+
			"give it space, delete topics, or keep records for a shorter time", "data_dir", d.path, "free", bytesText(free), "of", bytesText(total))
	}
}

// lack is what is not well with the space, nil while all is.
func (d *diskSpace) lack() error { return *d.state.Load() }

// bytesText writes a number of bytes for people.
func bytesText(n uint64) string {
	for _, u := range []struct {
		name string
		size uint64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
