package coordinator

import "sync"

// mailbox is the bounded queue of a shard. It is a slice that grows with what
// waits and is given back when it has been drained, not a channel of its full
// capacity: a broker has a hundred shards and nearly all of them are idle.
type mailbox[M Machine] struct {
	limit int
	// ready holds a token whenever events wait, or the mailbox has been closed.
	ready chan struct{}

	mu     sync.Mutex
	events []Event[M]
	closed error // why nothing is taken any more

	// changed is closed, and another takes its place, when closed changes.
	changed chan struct{}
}

func newMailbox[M Machine](limit int) *mailbox[M] {
	return &mailbox[M]{limit: limit, ready: make(chan struct{}, 1), changed: make(chan struct{})}
}

// put adds an event, or says why not.
func (b *mailbox[M]) put(ev Event[M]) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed != nil:
		return b.closed
	case len(b.events) >= b.limit:
		return ErrOverloaded
	}
	b.events = append(b.events, ev)
	b.signal()
	return nil
}

// take returns all events that wait and leaves the mailbox empty.
func (b *mailbox[M]) take() []Event[M] {
	b.mu.Lock()
	defer b.mu.Unlock()
	events := b.events
	b.events = nil
	return events
}

// close refuses all later events with err and returns those that wait. It may
// be opened again: a shard is closed to events while it loads.
func (b *mailbox[M]) close(err error) []Event[M] {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setClosed(err)
	events := b.events
	b.events = nil
	return events
}

func (b *mailbox[M]) open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setClosed(nil)
}

// setClosed is called with the lock.
func (b *mailbox[M]) setClosed(err error) {
	b.closed = err
	close(b.changed)
	b.changed = make(chan struct{})
}

// state returns nil if events are taken, else why not, and what is closed when that changes.
func (b *mailbox[M]) state() (changed <-chan struct{}, closed error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed, b.closed
}

func (b *mailbox[M]) signal() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}
