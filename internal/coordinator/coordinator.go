// Package coordinator runs replicated state machines over the partitions of an
// internal topic: consumer groups over __consumer_offsets today, transactions
// over __transaction_state in the same way.
//
// A partition of the topic, together with the state that its records fold to,
// is a shard. The broker that leads the partition owns the shard: one goroutine,
// one mailbox, one Machine. An event (a request, a timer) is handed to the
// machine, which answers with records, replies and timers (Result). The records
// are applied to the machine at once, by the same Apply that folds them when the
// shard is loaded, and are appended to the Log; a reply leaves only after the
// high watermark has passed every record it may have seen. So what a client was
// told is always in the log below the high watermark, and a shard that is loaded
// elsewhere says the same.
//
// # Group commit
//
// One append of a shard is on its way at a time. What events bring meanwhile
// gathers and goes as the next batch, so a shard costs one flush for all who
// wait, however many they are.
//
// # When an append fails
//
// The state is then ahead of the log by the records that failed. It is not
// rolled back piece by piece: every reply that waits is answered with the error,
// the machine is dropped, and a new one is loaded from the log. The same happens
// when leadership is lost, without the loading.
//
// # Who owns what
//
// Runtime holds the table of shards under one mutex. A shard's state belongs to
// the goroutine "coordinator shard", started by Load on behalf of Run and ended by
// Unload, by a newer Load, or with Run. Submit puts an event into the bounded mailbox and
// never blocks. Replies run on the shard's goroutine and must not block.
package coordinator

import (
	"context"
	"errors"
	"time"
)

// Errors that Runtime hands to Event.Fail and to replies. A Log wraps its own
// error in one of the first three to say what the shard must make of it.
var (
	// ErrNotCoordinator says that this broker does not lead the partition, or no longer.
	ErrNotCoordinator = errors.New("this broker does not coordinate the shard")
	// ErrLoading says that the shard still reads its log.
	ErrLoading = errors.New("the shard is loading its state from the log")
	// ErrUnavailable says that the shard cannot write now: its log refused the records and holds none of them.
	ErrUnavailable = errors.New("the shard cannot write to its log at the moment")
	// ErrTimedOut says that the records were not below the high watermark in time; they may get there later.
	ErrTimedOut = errors.New("the write of the shard was not committed in time")
	// ErrOverloaded says that the shard's mailbox is full.
	ErrOverloaded = errors.New("the shard has too many events waiting")
	// ErrTooLarge says that the records of one event exceed what one batch may hold; nothing was applied.
	ErrTooLarge = errors.New("the records of one event exceed the largest batch of the log")
)

// Record is one record of an internal topic. A nil Value is a tombstone.
type Record struct {
	Key, Value []byte
}

// recordOverhead bounds what a record takes in a batch beside key and value:
// length, attributes, deltas, two lengths and the header count.
const recordOverhead = 32

// Size bounds the bytes that records take in a batch, before compression.
func Size(records []Record) int {
	n := 0
	for _, r := range records {
		n += len(r.Key) + len(r.Value) + recordOverhead
	}
	return n
}

// Log is the log of one partition of the internal topic, as its leader sees it.
type Log interface {
	// Load calls apply with the records in the order of offsets, from the start
	// of the log to the end it had when this broker became the leader in epoch,
	// and returns once the high watermark has passed that end. Until then the
	// shard answers nothing, so state that might still be truncated is never told.
	// Records that a later one of their key follows may be left out, as compaction does.
	// It returns an error that wraps ErrNotCoordinator if this broker does not
	// lead the partition in epoch, and the error of apply as it is.
	Load(ctx context.Context, epoch int32, apply func(Record) error) error

	// Append appends records as one batch, as the leader of epoch, and arranges
	// for done to be called once: with nil when the high watermark has passed the
	// batch, else with an error. done may be called before Append returns, on
	// any goroutine, and does not block.
	Append(epoch int32, records []Record, done func(error))
}

// Now is the time as a machine sees it: as a value, so that it is pure.
type Now struct {
	// Time is monotonic: deadlines are measured with it.
	Time time.Time
	// Millis is the wall clock, in milliseconds since the Unix epoch: what is written into records.
	Millis int64
}

// Reply releases an answer. err is nil when all that the answer rests on is
// below the high watermark; else it is one of the errors above and the answer
// must not be given. A reply runs once, on the shard's goroutine, and does not block.
type Reply func(err error)

// Timer sets, moves or cancels a timer of the shard.
type Timer struct {
	// ID names the timer: any comparable value. Setting an id again moves its timer.
	ID any
	// After is when it fires, from now; negative cancels.
	After time.Duration
}

// Result is what a machine makes of an event.
type Result struct {
	// Key names what the event was about, a group for example. Replies without records
	// of their own wait only for the writes of the same key that are still on
	// their way, and for those without a key; with an empty Key they wait for all
	// writes of the shard.
	Key string
	// Records are appended in one batch, in this order, after they were applied.
	Records []Record
	// Replies are released in this order once Records, and what they wait for, are committed.
	Replies []Reply
	// Timers are set at once.
	Timers []Timer
}

// Machine is the state of one shard. All its methods run on the shard's
// goroutine. Its state has two parts: what is in the log, changed by Apply
// alone, and what is not (who waits for a rebalance, when sessions end),
// changed by events and lost with the shard.
type Machine interface {
	// Apply folds a record into the state: when the shard loads, the records of
	// the log, of each key the last at least, whose bytes are valid during the call only; live, each record of an
	// event right after the event returned it. What the last records of all keys
	// fold to is the state: the log is compacted. A
	// record of a kind it does not know is passed over; an error means that a
	// record of a known kind cannot be read, and ends the loading.
	Apply(Record) error
	// Loaded is called once, after the last record of the log and before the first event.
	Loaded(now Now) Result
	// Expire is called when a timer that a Result set has run out.
	Expire(now Now, id any) Result
	// Unload gives up the replies that the machine still holds back; the
	// runtime answers them with the reason, and does not use the machine again.
	Unload() []Reply
}

// Event is something that happens to a shard from outside.
type Event[M Machine] struct {
	// Run is called on the shard's goroutine with its machine.
	Run func(m M, now Now) Result
	// Fail is called instead of Run, once, when the shard cannot take the event:
	// by Submit itself or later by the shard. It does not block.
	Fail func(err error)
}
