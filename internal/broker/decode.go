package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kmsg makes what a frame claims before it looks whether that can be there: up to decodeFactor bytes
// for each byte of the body. A small body is decoded as it comes; a larger one first takes that much of a
// budget that all connections share, on its reader, which may wait.
const (
	decodeFactor = 104
	decodeFreely = 16 << 10
	decodeBudget = 2 * decodeFactor * defaultFrame
)

// errBody ends a connection whose request cannot be decoded.
var errBody = errors.New("the body ends before its last field, or claims more than it holds")

// budget is bytes that decoding may take.
type budget struct {
	limit int

	mu    sync.Mutex
	taken int
	freed chan struct{} // closed and replaced when something is given back; nil while nobody waits
}

// take waits for n bytes. One who asks for more than there is gets it when nobody else has any.
func (b *budget) take(ctx context.Context, n int) error {
	for {
		b.mu.Lock()
		if b.taken == 0 || b.taken+n <= b.limit {
			b.taken += n
			b.mu.Unlock()
			return nil
		}
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *budget) give(n int) {
	b.mu.Lock()
	b.taken -= n
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
	b.mu.Unlock()
}

// decoded serves a request of kmsg's making. The body is copied first: kmsg's byte fields alias what
// they are read from, and the frame is gone when the reader goes on.
func (s *session) decoded(body []byte) (func(), error) {
	s.settleProduce() // requests of a connection start in order
	kept := append([]byte(nil), body...)
	if len(kept) <= decodeFreely {
		return s.decode(&s.call, kept)
	}
	c := s.call
	return func() { s.decodeLarge(&c, kept) }, nil
}

// decodeLarge decodes and serves a request on the connection's reader, within the budget.
func (s *session) decodeLarge(c *call, body []byte) {
	n := decodeFactor * len(body)
	if err := s.b.decodes.take(s.b.ctx, n); err != nil {
		s.client.Close(err)
		return
	}
	defer s.b.decodes.give(n)
	then, err := s.decode(c, body)
	if err != nil {
		s.client.Close(err)
		return
	}
	if then != nil {
		then()
	}
}

// decode decodes a body, which is the request's from then on, and serves it as its row says.
func (s *session) decode(c *call, body []byte) (func(), error) {
	r := c.row
	req := kmsg.RequestForKey(r.key)
	req.SetVersion(c.version)
	if req.ReadFrom(body) != nil { // kmsg has one error, which speaks of a response
		return nil, fmt.Errorf("broker: %s version %d: %w", r.name, c.version, errBody)
	}
	switch {
	case r.now != nil:
		resp := r.now(s.b, c, req)
		if resp == nil {
			return nil, errClosedByHandler
		}
		s.respond(c, resp)
	case r.later != nil:
		r.later(s.b, c, req, &reply{
			b: s.b, slot: s.client.Defer(), row: r, version: c.version, correlationID: c.correlationID, start: c.start,
		})
	default:
		own := *c
		return func() { s.alone(&own, req) }, nil
	}
	return nil, nil
}
