package broker

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/wire"
)

// kmsg makes what a frame claims before it looks whether that can be there: up to decodeFactor bytes
// for each byte of the body. A small body is decoded as it comes; a larger one first takes that much of the
// account of all memory for clients, on its reader, which may wait.
const (
	decodeFactor = 104
	decodeFreely = 16 << 10
	// answerBytes is what each element of a request's arrays may take in the answer, with a message, before it is encoded.
	answerBytes = 320
	// decodeGarbage is how much decoding may leave to the collector before that is told to look: it would wait until the
	// heap has doubled, and a few megabytes of claims make that much in no time.
	decodeGarbage = 32 << 20
)

// errBody ends a connection whose request cannot be decoded though its shape is right: a string that must not be null is.
var errBody = errors.New("a field is null that must not be")

// decoded serves a request of kmsg's making. The body is copied first: kmsg's byte fields alias what
// they are read from, and the frame is gone when the reader goes on.
func (s *session) decoded(body []byte) (func(), error) {
	kept := append([]byte(nil), body...)
	if len(kept) <= decodeFreely {
		return s.decode(&s.call, kept)
	}
	c := s.call
	return func() { s.decodeLarge(&c, kept) }, nil
}

// decodeLarge decodes and serves a request on the connection's reader, within the account.
func (s *session) decodeLarge(c *call, body []byte) {
	account, n := s.b.o.Memory, int64(decodeFactor*len(body))
	account.Force(int64(len(body))) // it was in the listener's hand a moment ago
	defer account.Give(int64(len(body)))
	if err := account.Take(s.b.ctx, n, int64(len(body)), memory.Large); err != nil {
		s.client.Close(err)
		return
	}
	c.queue = time.Since(c.start)
	req, elements, err := c.parse(body)
	made := n // more cannot be told of what was not decoded to its end
	if err == nil {
		made = min(n, sizeOf(reflect.ValueOf(req))+int64(elements)*answerBytes)
	}
	account.Give(n - made)
	var then func()
	if err == nil {
		then, err = s.dispatch(c, req)
	}
	switch {
	case err != nil:
		s.client.Close(err)
	case then != nil:
		then()
	}
	account.Give(made)
	s.b.swept(made)
}

// sizeOf is how much memory the slices, strings and structs below v take.
func sizeOf(v reflect.Value) (n int64) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			n = int64(v.Elem().Type().Size()) + sizeOf(v.Elem())
		}
	case reflect.String:
		n = int64(v.Len())
	case reflect.Struct:
		for i := range v.NumField() {
			n += sizeOf(v.Field(i))
		}
	case reflect.Slice:
		n = int64(v.Cap()) * int64(v.Type().Elem().Size())
		if k := v.Type().Elem().Kind(); k == reflect.Struct || k == reflect.String || k == reflect.Slice {
			for i := range v.Len() {
				n += sizeOf(v.Index(i))
			}
		}
	}
	return n
}

// swept notes that n bytes are left to the collector, and has it run when they are many.
func (b *Broker) swept(n int64) {
	if b.garbage.Add(n) < decodeGarbage {
		return
	}
	b.garbage.Store(0)
	debug.FreeOSMemory() // it collects first; what it frees would stay with the process for minutes otherwise
}

// decode decodes a small body, which is the request's from then on, and serves it as its row says.
func (s *session) decode(c *call, body []byte) (func(), error) {
	req, _, err := c.parse(body)
	if err != nil {
		return nil, err
	}
	return s.dispatch(c, req)
}

// parse decodes a body, and counts the elements of its arrays.
func (c *call) parse(body []byte) (req kmsg.Request, elements int, err error) {
	if elements, err = wire.CheckBody(c.row.key, c.version, body); err != nil {
		return nil, 0, fmt.Errorf("broker: %s version %d: %w", c.row.name, c.version, err)
	}
	req = kmsg.RequestForKey(c.row.key)
	req.SetVersion(c.version)
	if req.ReadFrom(body) != nil { // kmsg has one error, which speaks of a response
		return nil, 0, fmt.Errorf("broker: %s version %d: %w", c.row.name, c.version, errBody)
	}
	return req, elements, nil
}

// dispatch serves a request as its row says.
func (s *session) dispatch(c *call, req kmsg.Request) (func(), error) {
	r := c.row
	switch {
	case r.now != nil:
		resp := r.now(s.b, c, req)
		if resp == nil {
			return nil, errClosedByHandler
		}
		s.respond(c, resp)
	case r.later != nil:
		re := &reply{
			b: s.b, slot: s.client.Defer(), row: r, version: c.version, correlationID: c.correlationID, start: c.start, queue: c.queue,
		}
		re.local.Store(-1)
		r.later(s.b, c, req, re)
		s.begun = time.Since(c.start)
		re.local.Store(int64(s.begun - c.queue))
	default:
		own := *c
		return func() { s.alone(&own, req) }, nil
	}
	return nil, nil
}
