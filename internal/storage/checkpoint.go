package storage

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// checkpointName is the file that tells recovery what it can rely on; docs/formats/recovery-point.md.
const checkpointName = "recovery-point"

const (
	checkpointTitle = "chronik recovery-point 1\n"
	checkpointHead  = "# topic partition topic-id start recovery-point segment position index-entries time-entries producers max-timestamp max-timestamp-offset state\n"
)

// checkpoint is the content of the file: for each log the point below which everything is durable
// and its indexes, epochs and producer state can be relied upon.
type checkpoint struct {
	boot    string // boot id of the machine when it was written
	entries map[string]checkpointEntry
}

// checkpointEntry is a log's line.
type checkpointEntry struct {
	id    LogID
	start int64
	point point // the recovery point and where it is
	// nOffset and nTime are how many entries of that segment's indexes are durable.
	nOffset, nTime int
	// producers is an offset at or below the point at which the producer state is known: that of
	// the snapshot file of this offset, or empty.
	producers int64
	snapshot  bool
	// max is the greatest timestamp of the point's segment; good for a clean start only.
	max     int64
	maxAt   int64
	failed  bool // the log was fenced by the disk
	corrupt bool // or could not be recovered because it is damaged
}

func (e *checkpointEntry) state() string {
	switch {
	case e.corrupt:
		return "corrupt"
	case e.failed:
		return "failed"
	default:
		return "ok"
	}
}

func (c *checkpoint) encode(order []string) []byte {
	var b strings.Builder
	b.Grow(len(order)*128 + 256)
	b.WriteString(checkpointTitle)
	boot := c.boot
	if boot == "" {
		boot = "-"
	}
	fmt.Fprintf(&b, "boot %s\n%s", boot, checkpointHead)
	for _, name := range order {
		e := c.entries[name]
		producers := "empty"
		if e.snapshot {
			producers = "snapshot"
		}
		fmt.Fprintf(&b, "%s %d %s %d %d %d %d %d %d %s@%d %d %d %s\n", e.id.Topic, e.id.Partition, hex.EncodeToString(e.id.TopicID[:]),
			e.start, e.point.offset, e.point.base, e.point.pos, e.nOffset, e.nTime, producers, e.producers, e.max, e.maxAt, e.state())
	}
	body := b.String()
	return fmt.Appendf([]byte(body), "crc32c %08x\n", crc32.Checksum([]byte(body), castagnoli))
}

func decodeCheckpoint(p []byte) (*checkpoint, error) {
	text := string(p)
	i := strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n") + 1
	var crc uint32
	if _, err := fmt.Sscanf(text[i:], "crc32c %08x\n", &crc); err != nil || crc32.Checksum(p[:i], castagnoli) != crc {
		return nil, fmt.Errorf("%w: %s: checksum does not match", ErrCorrupt, checkpointName)
	}
	lines := strings.Split(strings.TrimSuffix(text[:i], "\n"), "\n")
	if len(lines) < 3 || lines[0]+"\n" != checkpointTitle {
		return nil, fmt.Errorf("%w: %s: not of version 1: %q", ErrCorrupt, checkpointName, lines[0])
	}
	c := &checkpoint{entries: make(map[string]checkpointEntry, len(lines)-3)}
	if c.boot, _ = strings.CutPrefix(lines[1], "boot "); c.boot == "-" {
		c.boot = ""
	}
	for _, line := range lines[3:] {
		e, err := decodeCheckpointEntry(line)
		if err != nil {
			return nil, err
		}
		c.entries[e.id.String()] = e
	}
	return c, nil
}

func decodeCheckpointEntry(line string) (e checkpointEntry, err error) {
	var id, producers, state string
	n, err := fmt.Sscanf(strings.Replace(line, "@", " ", 1), "%s %d %s %d %d %d %d %d %d %s %d %d %d %s", &e.id.Topic, &e.id.Partition, &id,
		&e.start, &e.point.offset, &e.point.base, &e.point.pos, &e.nOffset, &e.nTime, &producers, &e.producers, &e.max, &e.maxAt, &state)
	if err != nil || n != 14 {
		return e, fmt.Errorf("%w: %s: line %q", ErrCorrupt, checkpointName, line)
	}
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != len(e.id.TopicID) {
		return e, fmt.Errorf("%w: %s: topic id %q", ErrCorrupt, checkpointName, id)
	}
	copy(e.id.TopicID[:], raw)
	e.snapshot, e.failed, e.corrupt = producers == "snapshot", state == "failed", state == "corrupt"
	return e, nil
}

// loadCheckpoint reads the file; nil if there is none.
func loadCheckpoint(fsys vfs.FS, dir string) (*checkpoint, error) {
	p, err := vfs.ReadFile(fsys, filepath.Join(dir, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeCheckpoint(p)
}

// replaceFile makes p the content of a file: whoever reads it, also after a crash, finds the old
// content or the new one, and the new one for sure once the directory has been synced.
func replaceFile(fsys vfs.FS, name string, p []byte) error {
	tmp := name + tmpSuffix
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(p, 0); err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		_ = fsys.Remove(tmp)
	}
	return err
}

// replaceFileDurably is replaceFile and the sync of the directory.
func replaceFileDurably(fsys vfs.FS, name string, p []byte) error {
	if err := replaceFile(fsys, name, p); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}
