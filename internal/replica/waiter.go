package replica

// Flusher is a connection with responses that are complete and not yet written.
type Flusher interface {
	// Flush writes what is ready without blocking.
	Flush()
}

// Waiter is told when an offset of a partition is as durable as it asked for.
type Waiter interface {
	// Reached is called once for each registration that was not cancelled, with no lock held: err
	// is nil when the offset is reached, else it says why it never will be. It marks what is complete and
	// writes nothing; a connection that has something to write now is returned.
	Reached(p *Partition, target int64, err error) Flusher
}

// Reader waits for partitions to have more to read. A reader subscribes once and stays.
type Reader interface {
	// Moved is called, under the partition's lock, when there is more to read, or when what may
	// be read has changed in another way (then bytes is everything there can be). It marks the subscription and reports whether
	// the reader wants to be woken now.
	Moved(s *Subscription, bytes int64) (wake bool)
	// Wake is called with no lock held after a Moved that asked for it, once for all partitions
	// that moved together. It may complete a response and write it, but not block.
	Wake()
}

// Subscription is a reader's place in the list of a partition.
type Subscription struct {
	Partition *Partition
	Reader    Reader
	// Tag is the reader's own: which of its partitions this is.
	Tag any

	at int // in Partition.subs; guarded by its mu; -1 when not subscribed
}

// everything is more bytes than any reader waits for.
const everything = int64(1) << 62

// Round gathers what a movement of high watermarks completes, and does it in order: all slots
// are marked, each connection is written once, then readers are woken. It belongs to one goroutine. The zero
// value is ready.
type Round struct {
	due      []due
	flushers []Flusher
	readers  []Reader
}

// due is a registration that has come to its end.
type due struct {
	w      Waiter
	p      *Partition
	target int64
	err    error
}

// Finish completes all that was gathered and empties the round for its next use.
func (r *Round) Finish() {
	if len(r.due) == 0 && len(r.readers) == 0 {
		return
	}
	for i := range r.due {
		d := &r.due[i]
		if f := d.w.Reached(d.p, d.target, d.err); f != nil {
			r.addFlusher(f)
		}
	}
	for _, f := range r.flushers {
		f.Flush()
	}
	for _, w := range r.readers {
		w.Wake()
	}
	clear(r.due)
	clear(r.flushers)
	clear(r.readers)
	r.due, r.flushers, r.readers = r.due[:0], r.flushers[:0], r.readers[:0]
}

// addFlusher keeps one entry a connection as far as that is cheap: completions of one connection
// mostly follow each other, and a second Flush finds nothing to do.
func (r *Round) addFlusher(f Flusher) {
	for i := len(r.flushers) - 1; i >= 0 && i >= len(r.flushers)-8; i-- {
		if r.flushers[i] == f {
			return
		}
	}
	r.flushers = append(r.flushers, f)
}

func (r *Round) addReader(w Reader) {
	for i := len(r.readers) - 1; i >= 0 && i >= len(r.readers)-8; i-- {
		if r.readers[i] == w {
			return
		}
	}
	r.readers = append(r.readers, w)
}
