package storage

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// partition.metadata tells the topic id of a log's directory, in Kafka's text format. It keeps a
// topic that was deleted and made again under its name from being served the old one's records.

// encodePartitionMetadata writes the file's content.
func encodePartitionMetadata(topicID [16]byte) []byte {
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s", base64.RawURLEncoding.EncodeToString(topicID[:]))
}

// DecodePartitionMetadata reads the topic id.
func DecodePartitionMetadata(p []byte) (topicID [16]byte, err error) {
	fields := map[string]string{}
	for line := range strings.Lines(string(p)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	if v := fields["version"]; v != "0" {
		return topicID, fmt.Errorf("%w: %s: version %q, want 0", ErrCorrupt, partitionName, v)
	}
	raw, err := base64.RawURLEncoding.DecodeString(fields["topic_id"])
	if err != nil || len(raw) != len(topicID) {
		return topicID, fmt.Errorf("%w: %s: topic id %q", ErrCorrupt, partitionName, fields["topic_id"])
	}
	copy(topicID[:], raw)
	return topicID, nil
}

// writePartitionMetadata makes the file; it is synced by the log's first flush.
func writePartitionMetadata(fsys vfs.FS, name string, topicID [16]byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(encodePartitionMetadata(topicID), 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
