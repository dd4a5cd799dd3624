// Package replica holds the partitions of which this broker has a replica: what may be
// appended and read now, how far the high watermark is, who waits for it, and how all of that
// follows the cluster's metadata.
//
// # Reconciling
//
// Nobody commands a Manager. It is given every metadata image, compares what it should have
// with what it has, and works until they agree: a log is created, opened, handed a new
// leader epoch, deleted. What must hold at once (a leadership that is over) is done while the
// image is handed over; what touches the disk is done by Run, for the newest image, so a
// merged or skipped image does no harm. Between the two a partition is opening, and who needs
// it can Wait.
//
// A partition whose directory is not assigned yet is new: its log is created, made durable,
// and reported. One that is assigned to a directory and has no log there is lost, and so is one
// whose log had records at the last stop. It is never created in silence: it would be an empty log
// under the name of a full one.
//
// A log that cannot be made takes its partition offline until it can: Run tries again, with pauses that double up to half
// a minute. A log that is there and has failed stays offline until a start has recovered it.
//
// # The high watermark
//
// It is the least of what the in-sync replicas hold: of the leader what is flushed, or with
// write.caching what is appended; of the others what they have fetched. It never falls while
// this broker leads. Waiters (produce) are completed, and subscriptions (fetch) marked, by the
// goroutine that moves it: the committer of the log directory, or the one that appends.
// Completions are gathered in a Round: first every slot is marked, then each connection is
// flushed once, and only then are the readers woken that wait for data. So the producer's ack
// never waits for a consumer.
//
// # Locks and goroutines
//
// A Manager has one mutex for its table, a Partition one for its state. Order: manager,
// partition, then what a Reader or Waiter locks in Moved (never in Reached or Wake, which are called with
// no lock held). No lock is held while a log is written, created or deleted; Log.Append has its own. The
// only goroutine is Run's.
package replica
