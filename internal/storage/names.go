package storage

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Names of files; docs/formats/ tells what stands in them.
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	snapshotSuffix  = ".snapshot"
	deletedSuffix   = ".deleted" // a segment's file on its way out
	cleanedSuffix   = ".cleaned" // a segment's file that compaction is writing
	swapSuffix      = ".swap"    // one that it has written, about to get its name
	tmpSuffix       = ".tmp"     // a file that is not finished

	epochsName    = "leader-epoch-checkpoint"
	partitionName = "partition.metadata"

	deleteDirSuffix = "-delete"
	strayDirSuffix  = "-stray"
)

// maxName is the longest name of a file that file systems take.
const maxName = 255

// offsetName returns the name of a file that is named by an offset.
func offsetName(offset int64, suffix string) string { return fmt.Sprintf("%020d%s", offset, suffix) }

// parseOffsetName returns the offset in the name of a file with the given suffix.
func parseOffsetName(name, suffix string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	offset, err := strconv.ParseUint(digits, 10, 63)
	return int64(offset), err == nil
}

// parseLogDir returns topic and partition of a log's directory.
func parseLogDir(name string) (topic string, partition int32, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(name[i+1:], 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != name[i+1:] {
		return "", 0, false
	}
	return name[:i], int32(n), true
}

// asideName returns the name that a log's directory gets when it is taken out: unique, and with
// a suffix that tells what is to become of it. A long topic name is cut, as Kafka does.
func asideName(id LogID, suffix string) string {
	var unique [16]byte
	_, _ = rand.Read(unique[:]) // it never fails
	tail := fmt.Sprintf("-%d.%s%s", id.Partition, hex.EncodeToString(unique[:]), suffix)
	topic := id.Topic
	if len(topic)+len(tail) > maxName {
		topic = topic[:maxName-len(tail)]
	}
	return topic + tail
}

// asideKind returns the suffix of a directory that was taken out of use, "" of any other.
func asideKind(name string) string {
	for _, suffix := range []string{deleteDirSuffix, strayDirSuffix} {
		head, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		if i := strings.LastIndexByte(head, '.'); i > 0 && len(head)-i-1 == 32 {
			if _, err := hex.DecodeString(head[i+1:]); err == nil {
				return suffix
			}
		}
	}
	return ""
}

// file returns the path of one of the log's files.
func (l *Log) file(name string) string { return filepath.Join(l.dirPath(), name) }

// path returns the path of one of the segment's files.
func (s *segment) path(suffix string) string { return s.log.file(offsetName(s.base, suffix)) }
