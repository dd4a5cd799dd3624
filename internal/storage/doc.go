// Package storage keeps the logs of partitions on disk: bytes and offsets. It knows no Kafka
// request, no Raft, and no high watermark.
//
// # State
//
// A Directory is a data directory with its logs. A Log is a directory of its own in Kafka's layout:
// segment files of record batches, as the producers sent them, each with an offset index and a time
// index; the leader epochs; the topic id; snapshots of the producer state. The pages in docs/formats
// draw every file. What the indexes, epochs and snapshots say can be found in the data as well; they
// may be lost or wrong, and nothing is read from them that is not checked against the data.
//
// An append is one write under the log's lock: base offset and leader epoch are patched into the
// batches, the producers' sequences are checked, and the bytes go to the page cache with one
// pwritev. Readers take no lock of an append: the list of segments, the epochs and the offsets are
// immutable values behind atomics, and a Slice keeps its file open whatever becomes of the log.
//
// # What is durable
//
// Three offsets of a log rise one behind the other: End, behind what was appended; Flushed, behind
// what a round of the committer has synced, names of files included, and what a client may be told;
// and the recovery point, behind what recovery need not look at: there indexes, epochs and producer
// state are durable as well. The recovery points of all logs stand in one file, which is written and
// synced once a second while logs grow.
//
// Recovery believes what lies below the recovery point and reads what lies above, batch by batch. The
// first place that is not intact, or does not continue the log, is where it ends; unless intact
// batches follow and a loss of power cannot explain that, or records are missing that were durable:
// then the data is damaged, and the log is opened offline rather than cut. After a clean stop the
// recovery point is the end, and no data is read.
//
// A failed sync is final: the kernel takes the lost pages for clean, so that another sync would be
// successful. The log that saw it is fenced in the same critical section; others go on. Lack of space
// leaves the log as it was before the append.
//
// # Goroutines
//
// Run starts five and returns when they have ended:
//
//   - committer: rounds of flushes (committer.go); it alone raises flushed offsets, truncation aside,
//     and it calls OnFlush. During a round up to FlushThreads-1 helpers sync files beside it.
//   - checkpointer: recovery points and what has to be written before them (checkpointer.go).
//   - retention: deletes old segments, forgets silent producers (retention.go).
//   - janitor: unlinks what was renamed out of the way (remove.go).
//   - cleaner: compacts logs (cleaner.go, cleaning_plan.go, cleaning.go, replace.go).
//
// Recover uses up to RecoveryThreads goroutines while it runs, and one that reports progress.
//
// # Locks
//
// In this order: a log's maint (a channel: it is held across I/O), the log's mu (across the write of
// an append, never across a sync), a segment's mu (never across I/O); and apart from those the small
// ones of the committer, the checkpointer, the janitor and the file cache, under which nothing else
// is taken.
//
// # Tests
//
// TestPowerLoss runs random operations on a file system that loses what was not synced, and faults of
// the disk, and looks for what was acknowledged. TestCompaction does it with compacted logs, and compares
// them with a plain map. mutants_test.go lists the deliberate bugs that they have to see (build tag mutant).
package storage
