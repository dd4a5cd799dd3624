package storage

import (
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// Append is one batch on its way into a log, and the answer.
type Append struct {
	// Batch is checked (record.Batch.CheckProduced) and the caller's until Append returns. Base
	// offset, leader epoch and, if the topic says so, the timestamp are written into it.
	Batch record.Batch

	BaseOffset    int64 // of the batch in the log; of a duplicate, where it already was
	LogStart      int64 // the log's start offset at the append
	LogAppendTime int64 // record.NoTimestamp unless the topic has LogAppendTime
	Duplicate     bool  // the batch was in the log already, nothing was appended
	Err           error // this batch alone was refused
}

// Log is the log of one partition.
type Log struct{}

// Slice is a range of a segment file that holds whole batches. It keeps the file open until
// Release, whatever becomes of the log meanwhile. The zero Slice is empty.
type Slice struct {
	File vfs.File
	Off  int64
	Len  int
}

// Release gives the file back. A Slice is released once.
func (s Slice) Release() {}

// Stale reports whether the log was truncated below the end of the slice since it was made: the
// file may then hold other batches there, or none.
func (s Slice) Stale() bool { return false }

// ReadBytes appends the bytes of the slice to dst. It does not release it.
func (s Slice) ReadBytes(dst []byte) ([]byte, error) { return dst, nil }

// TimestampOffset is a record found by its timestamp; Offset is -1 if there is none.
type TimestampOffset struct {
	Offset      int64
	Timestamp   int64
	LeaderEpoch int32
}

// ProducerState is what DescribeProducers tells of a producer id.
type ProducerState struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32
	LastTimestamp    int64
	CoordinatorEpoch int32 // of the last transaction marker, -1 if none
	TxnStartOffset   int64 // first offset of the open transaction, -1 if none
}

// ID returns what the log was created as.
func (l *Log) ID() LogID { return LogID{} }

// Options returns the options in force.
func (l *Log) Options() LogOptions { return LogOptions{} }

// SetOptions changes the options; a segment that is being written takes what applies to it.
func (l *Log) SetOptions(LogOptions) {}

// Start returns the first offset of the log.
func (l *Log) Start() int64 { return 0 }

// End returns the offset that the next record will get.
func (l *Log) End() int64 { return 0 }

// Flushed returns the offset up to which everything is on the disk.
func (l *Log) Flushed() int64 { return 0 }

// Size returns the bytes of all segments.
func (l *Log) Size() int64 { return 0 }

// Err returns why the log takes no appends: nil, a FailedError or ErrClosed.
func (l *Log) Err() error { return nil }

// Append appends batches as the leader of epoch, in one write. Each batch has its own verdict
// (Append.Err, Append.Duplicate); the error that is returned concerns all that have none, and
// nothing of them was appended: ErrStorage, ErrClosed, ErrFencedEpoch. Append does not wait for a flush.
func (l *Log) Append(epoch int32, batches []Append) error { return ErrClosed }

// AppendReplicated appends batches as a follower: offsets and epochs are those of the leader.
func (l *Log) AppendReplicated(batches []record.Batch) error { return ErrClosed }

// Read returns the whole batches from the one that holds from, as far as they lie below the
// offset below, within one segment file and maxBytes; with minOne the first batch comes whole even
// if it is larger. Empty if from is at or above below or at the end; OutOfRangeError outside of the log.
func (l *Log) Read(from, below int64, maxBytes int, minOne bool) (Slice, error) {
	return Slice{}, ErrClosed
}

// OffsetForTime returns the first record whose timestamp is ts or later.
func (l *Log) OffsetForTime(ts int64) (TimestampOffset, error) {
	return TimestampOffset{Offset: -1}, nil
}

// MaxTimestampOffset returns the first record with the greatest timestamp of the log.
func (l *Log) MaxTimestampOffset() (TimestampOffset, error) { return TimestampOffset{Offset: -1}, nil }

// LatestEpoch returns the newest leader epoch of the log, -1 if there is none.
func (l *Log) LatestEpoch() int32 { return -1 }

// EpochEnd returns the largest epoch of the log that is not above epoch, and where it ends: the
// start of the next one, or the end of the log. -1, -1 if there is none.
func (l *Log) EpochEnd(epoch int32) (int32, int64) { return -1, -1 }

// EpochAt returns the leader epoch of the record at offset, -1 if it is not known.
func (l *Log) EpochAt(offset int64) int32 { return -1 }

// BeginEpoch notes that epoch begins at the end of the log.
func (l *Log) BeginEpoch(epoch int32) error { return nil }

// TruncateTo removes all records at and above offset and returns when that is durable. No append
// may run beside it.
func (l *Log) TruncateTo(offset int64) error { return nil }

// TruncateFullyAndStartAt empties the log and lets it go on at offset.
func (l *Log) TruncateFullyAndStartAt(offset int64) error { return nil }

// TrimBefore raises the start of the log to offset, which may lie inside a batch, and returns when
// that is durable. Segments that lie below it go later.
func (l *Log) TrimBefore(offset int64) error { return nil }

// SetRetentionBound tells retention that records at and above offset must stay: the high watermark.
func (l *Log) SetRetentionBound(offset int64) {}

// Producers returns the state of every producer id, in order of the ids.
func (l *Log) Producers() []ProducerState { return nil }
