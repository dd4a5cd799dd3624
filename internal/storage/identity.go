package storage

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// Names of the files that tell whose a data directory is.
const (
	metaName  = "meta.properties"
	lockName  = ".lock"
	pidName   = ".pid"
	cleanName = "clean-shutdown"
)

// Founder is a node that founded the cluster, with the data directory it had.
type Founder struct {
	NodeID      int32
	DirectoryID [16]byte
}

// Meta is the identity of a data directory: the content of meta.properties.
type Meta struct {
	NodeID      int32
	ClusterID   string // empty until the cluster is founded
	DirectoryID [16]byte
	Founders    []Founder // empty until the cluster is founded
}

// encode writes Kafka's properties, the founders, and a checksum of all lines above it.
func (m *Meta) encode() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# whose data this is; do not edit\nversion=1\nnode.id=%d\ncluster.id=%s\ndirectory.id=%s\n", m.NodeID, m.ClusterID, encodeID(m.DirectoryID))
	founders := make([]string, len(m.Founders))
	for i, f := range m.Founders {
		founders[i] = fmt.Sprintf("%d@%s", f.NodeID, encodeID(f.DirectoryID))
	}
	fmt.Fprintf(&b, "founders=%s\n", strings.Join(founders, ","))
	body := b.String()
	return fmt.Appendf([]byte(body), "crc32c=%08x\n", crc32.Checksum([]byte(body), castagnoli))
}

func decodeMeta(p []byte) (*Meta, error) {
	text := string(p)
	body, sum, ok := strings.Cut(text, "crc32c=")
	if want := fmt.Sprintf("%08x\n", crc32.Checksum([]byte(body), castagnoli)); !ok || sum != want {
		return nil, errors.New("its checksum does not match: it was edited or damaged")
	}
	fields := map[string]string{}
	for line := range strings.Lines(body) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			fields[name] = value
		}
	}
	if v := fields["version"]; v != "1" {
		return nil, fmt.Errorf("it has version %q, this program reads 1", v)
	}
	m := &Meta{ClusterID: fields["cluster.id"]}
	var err error
	if m.NodeID, err = decodeNodeID(fields["node.id"]); err != nil {
		return nil, err
	}
	if m.DirectoryID, err = decodeID(fields["directory.id"]); err != nil {
		return nil, err
	}
	for founder := range strings.SplitSeq(fields["founders"], ",") {
		if founder == "" {
			continue
		}
		node, directory, _ := strings.Cut(founder, "@")
		var f Founder
		if f.NodeID, err = decodeNodeID(node); err != nil {
			return nil, err
		}
		if f.DirectoryID, err = decodeID(directory); err != nil {
			return nil, err
		}
		m.Founders = append(m.Founders, f)
	}
	return m, nil
}

func encodeID(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func decodeID(text string) (id [16]byte, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("%q is no id", text)
	}
	copy(id[:], raw)
	return id, nil
}

func decodeNodeID(text string) (int32, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no node id", text)
	}
	return int32(n), nil
}

// LoadMeta reads meta.properties: an error that wraps ErrNoMeta if the directory is fresh, or not
// there; ErrIdentity if it holds data that nobody knows the owner of, or the file is damaged.
func LoadMeta(fsys vfs.FS, dir string) (*Meta, error) {
	path := filepath.Join(dir, metaName)
	p, err := vfs.ReadFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noMeta(fsys, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read the identity of the data directory: %w", err)
	}
	m, err := decodeMeta(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %s cannot be read: %w; restore it from a backup, or begin with an empty data directory", ErrIdentity, path, err)
	}
	return m, nil
}

// noMeta is the error of a directory without meta.properties.
func noMeta(fsys vfs.FS, dir string) error {
	infos, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the data directory: %w", err)
	}
	i := slices.IndexFunc(infos, func(info vfs.FileInfo) bool {
		if info.IsDir {
			_, _, ok := parseLogDir(info.Name)
			return ok
		}
		return info.Name == cleanName
	})
	if i >= 0 {
		return fmt.Errorf("%w: %s has data (%s) but no %s, so it is not known whose it is; restore that file, or name another data directory (--data-dir)",
			ErrIdentity, dir, infos[i].Name, metaName)
	}
	return fmt.Errorf("%w in %s", ErrNoMeta, dir)
}

// SaveMeta writes meta.properties, durably.
func SaveMeta(fsys vfs.FS, dir string, m *Meta) error {
	if err := replaceFileDurably(fsys, filepath.Join(dir, metaName), m.encode()); err != nil {
		return fmt.Errorf("write the identity of the data directory: %w", err)
	}
	return nil
}

// Check tells why a directory with this identity may not be used by a node, of a cluster if that is
// known already (else clusterID is empty). The error wraps ErrIdentity.
func (m *Meta) Check(dir string, nodeID int32, clusterID string) error {
	switch {
	case m.NodeID != nodeID:
		return fmt.Errorf("%w: %s belongs to node %d, this is node %d; name this node's own (--data-dir), or start it as node %d (--node-id)",
			ErrIdentity, dir, m.NodeID, nodeID, m.NodeID)
	case clusterID != "" && m.ClusterID != "" && m.ClusterID != clusterID:
		return fmt.Errorf("%w: %s belongs to cluster %s, the peers are of cluster %s; check --peers and --data-dir",
			ErrIdentity, dir, m.ClusterID, clusterID)
	}
	return nil
}

// directoryLock is a lock that tells others who holds it.
type directoryLock struct {
	io.Closer
	fs  vfs.FS
	pid string
}

// Close gives the directory back.
func (l *directoryLock) Close() error {
	_ = l.fs.Remove(l.pid) // before others may take the lock and write theirs
	return l.Closer.Close()
}

// LockDirectory takes the directory for this process until Close, or the end of the process. The
// error wraps vfs.ErrLocked if another one has it, and says which, if that can be told.
func LockDirectory(fsys vfs.FS, dir string) (io.Closer, error) {
	pid := filepath.Join(dir, pidName)
	lock, err := fsys.Lock(filepath.Join(dir, lockName))
	if errors.Is(err, vfs.ErrLocked) {
		who := "a running process"
		if p, err := vfs.ReadFile(fsys, pid); err == nil {
			if n, err := strconv.Atoi(strings.TrimSpace(string(p))); err == nil {
				who = fmt.Sprintf("process %d", n)
			}
		}
		return nil, fmt.Errorf("%w: the data directory %s is in use by %s; stop that, or name another one (--data-dir)", vfs.ErrLocked, dir, who)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if f, err := fsys.Create(pid); err == nil { // a help for people, no more
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
		_ = f.Close()
	}
	return &directoryLock{Closer: lock, fs: fsys, pid: pid}, nil
}

// LoadCleanShutdown returns the broker epoch of the last stop if that was clean. A marker that
// cannot be understood is none.
func LoadCleanShutdown(fsys vfs.FS, dir string) (brokerEpoch int64, clean bool, err error) {
	p, err := vfs.ReadFile(fsys, filepath.Join(dir, cleanName))
	if errors.Is(err, fs.ErrNotExist) {
		return -1, false, nil
	}
	if err != nil {
		return -1, false, fmt.Errorf("read the marker of the last stop: %w", err)
	}
	body, sum, _ := strings.Cut(string(p), "crc32c=")
	if sum != fmt.Sprintf("%08x\n", crc32.Checksum([]byte(body), castagnoli)) {
		return -1, false, nil
	}
	if _, err := fmt.Sscanf(body, "version=1\nbroker.epoch=%d\n", &brokerEpoch); err != nil {
		return -1, false, nil
	}
	return brokerEpoch, true, nil
}

// RemoveCleanShutdown removes the marker, durably. It comes before the first write of a start.
func RemoveCleanShutdown(fsys vfs.FS, dir string) error {
	err := fsys.Remove(filepath.Join(dir, cleanName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("remove the marker of the last stop: %w", err)
	}
	return nil
}

// WriteCleanShutdown writes the marker, durably: the last thing of a stop, after Directory.Close
// has returned without an error, and by nobody who has not come so far as to open the logs.
func WriteCleanShutdown(fsys vfs.FS, dir string, brokerEpoch int64) error {
	body := fmt.Sprintf("version=1\nbroker.epoch=%d\n", brokerEpoch)
	p := fmt.Appendf([]byte(body), "crc32c=%08x\n", crc32.Checksum([]byte(body), castagnoli))
	if err := replaceFileDurably(fsys, filepath.Join(dir, cleanName), p); err != nil {
		return fmt.Errorf("write the marker of a clean stop: %w", err)
	}
	return nil
}

// bootIDFile is where Linux tells one boot from another.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// BootID returns what tells this boot of the machine from others, empty where the system does not say.
func BootID(fsys vfs.FS) string {
	f, err := fsys.Open(bootIDFile)
	if err != nil {
		return ""
	}
	defer f.Close()
	var p [64]byte // files of /proc have no size
	n, _ := f.ReadAt(p[:], 0)
	id := strings.TrimSpace(string(p[:n]))
	if strings.ContainsAny(id, " \n") {
		return ""
	}
	return id
}
