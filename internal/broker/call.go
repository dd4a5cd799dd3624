package broker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/listener"
	"github.com/chronik-stream/chronik/internal/wire"
)

// call is one request under way. Handlers of now and later rows may keep what they copy
// out of it, not the call itself.
type call struct {
	row           *row
	version       int16
	correlationID int32
	clientID      string // "" if it was null
	session       *session
	start         time.Time       // when it had been read
	queue, remote time.Duration   // so far: until it began to be served, and in which it has waited for other nodes
	ctx           context.Context // of alone rows: ends with the broker, or after Settings.AloneTimeout
}

// host returns the client's address without the port, as group descriptions show it.
func (c *call) host() string { return c.session.host }

// within returns c.ctx cut at the request's own timeout, if that is sooner and positive.
func (c *call) within(timeoutMillis int32) (context.Context, context.CancelFunc) {
	if timeoutMillis <= 0 {
		return c.ctx, func() {}
	}
	return context.WithTimeout(c.ctx, time.Duration(timeoutMillis)*time.Millisecond)
}

// awaited counts the time since began, in which the request waited for other nodes.
func (c *call) awaited(began time.Time) { c.remote += time.Since(began) }

// reply is the promise of a response, at its place in the connection's order.
type reply struct {
	b             *Broker
	slot          *listener.Slot
	row           *row
	version       int16
	correlationID int32
	start         time.Time
	queue         time.Duration
	local         atomic.Int64 // nanoseconds that the handler took; negative while it has not returned
}

// send completes the request with resp, whose version it sets, and writes it if its turn has come. It
// never blocks, may be called from any goroutine, and exactly once.
func (r *reply) send(resp kmsg.Response) {
	resp.SetVersion(r.version)
	r.slot.Buf = encode(r.slot.Buf, r.row.key, r.version, r.correlationID, resp)
	served := time.Since(r.start) - r.queue
	local := served
	if l := r.local.Load(); l >= 0 {
		local = min(time.Duration(l), served)
	}
	r.slot.Time(listener.Timing{
		Key: r.row.key, Requests: 1, Bytes: len(r.slot.Buf), Read: r.start, Queue: r.queue, Local: local, Remote: served - local,
	})
	c := r.slot.Client()
	r.slot.Done()
	c.Flush()
}

// encode appends a whole response.
func encode(dst []byte, key, version int16, correlationID int32, resp kmsg.Response) []byte {
	start := len(dst)
	dst = wire.BeginResponse(dst, key, version, correlationID)
	dst = resp.AppendTo(dst)
	wire.EndResponse(dst, start, 0)
	return dst
}
