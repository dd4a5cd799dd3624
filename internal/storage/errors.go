package storage

import (
	"errors"
	"fmt"
)

// What can be wrong, by kind. Errors that are returned wrap one of these and say more.
var (
	// ErrOutOfRange: an offset below the log's start or above its end; see OutOfRangeError.
	ErrOutOfRange = errors.New("storage: offset out of range")
	// ErrStorage: the disk failed the log, now or before. The log is fenced: it takes no
	// append any more until it has been recovered by the next start. The cause is wrapped.
	ErrStorage = errors.New("storage: disk failure")
	// ErrCorrupt: stored bytes are not what was written. It comes with ErrStorage when it has fenced the log.
	ErrCorrupt = errors.New("storage: corrupt log")
	// ErrClosed: the log was closed, deleted or set aside.
	ErrClosed = errors.New("storage: log is closed")
	// ErrTruncating: an append met a truncation of the same log, which its caller should have kept apart.
	ErrTruncating = errors.New("storage: log is being truncated")

	// ErrOutOfOrderSequence: a producer's batch does not follow its last one.
	ErrOutOfOrderSequence = errors.New("storage: out of order sequence number")
	// ErrDuplicateSequence: the records of a producer's batch are in the log, but in batches with
	// other bounds, so that no base offset can be given.
	ErrDuplicateSequence = errors.New("storage: duplicate sequence number")
	// ErrInvalidProducerEpoch: the producer was fenced by a newer epoch of its id.
	ErrInvalidProducerEpoch = errors.New("storage: invalid producer epoch")
	// ErrFencedEpoch: the append carries an older leader epoch than the log has seen.
	ErrFencedEpoch = errors.New("storage: fenced leader epoch")
	// ErrRecordTooLarge: the batch does not fit into a segment.
	ErrRecordTooLarge = errors.New("storage: batch larger than a segment")
	// ErrNotContiguous: a replicated batch does not continue the log.
	ErrNotContiguous = errors.New("storage: batch does not continue the log")

	// ErrNotRecovered: the directory was closed before its logs were recovered; nothing was written.
	ErrNotRecovered = errors.New("storage: the logs have not been recovered")
	// ErrExists: there is a log of that name.
	ErrExists = errors.New("storage: log exists")
	// ErrNoMeta: the directory has no meta.properties and no data.
	ErrNoMeta = errors.New("storage: no meta.properties")
	// ErrIdentity: the data directory is not the one that was meant.
	ErrIdentity = errors.New("storage: wrong data directory")
)

// OutOfRangeError tells which offset was asked for and which there are.
type OutOfRangeError struct {
	Offset     int64
	Start, End int64
}

// Error implements error.
func (e *OutOfRangeError) Error() string {
	return fmt.Sprintf("storage: offset %d out of range: the log holds %d to %d (exclusive)", e.Offset, e.Start, e.End)
}

// Is makes it an ErrOutOfRange.
func (e *OutOfRangeError) Is(target error) bool { return target == ErrOutOfRange }

// FailedError is what a log that was fenced answers: which call failed on which file, and why.
type FailedError struct {
	Log string // topic-partition
	Op  string // what was tried
	Err error
}

// Error implements error.
func (e *FailedError) Error() string {
	return fmt.Sprintf("storage: %s: %s failed, the log takes no more appends until the next start recovers it: %v", e.Log, e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *FailedError) Unwrap() error { return e.Err }

// Is makes it an ErrStorage.
func (e *FailedError) Is(target error) bool { return target == ErrStorage }

// CorruptionError tells where stored bytes are damaged.
type CorruptionError struct {
	Path     string // of the segment file
	Position int64  // in it
	Offset   int64  // of the first record that cannot be read
	Err      error  // what is wrong there
}

// Error implements error.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("storage: corrupt data in %s at position %d (offset %d): %v", e.Path, e.Position, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *CorruptionError) Unwrap() error { return e.Err }

// Is makes it an ErrCorrupt.
func (e *CorruptionError) Is(target error) bool { return target == ErrCorrupt }
