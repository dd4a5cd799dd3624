package broker

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/listener"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/wire"
)

// session is the broker's part of one connection. It belongs to the connection's reader.
type session struct {
	b        *Broker
	client   *listener.Client
	host     string
	clientID string        // of the last request: clients do not change it, so it is made once
	call     call          // of the request that is being served, unless that is alone
	read     time.Time     // when what is being served was read
	begun    time.Duration // after that: when the next request begins to be served, if that is known; else negative
	wall     int64         // wall clock of what is settled together; 0 until it is needed
	waited   bool          // the request that is being served has waited for partitions to open
	took     int64         // what was taken of the account for the request that is being served

	producing producing
	fetching  wire.Fetch
	plain     *fetchSet // for fetches without a session

	mu      sync.Mutex
	waiting map[*fetchSet]struct{} // fetches of this connection that wait
	waits   []*produceWait         // that are over, to be used again
}

// Connect implements listener.Handler.
func (b *Broker) Connect(c *listener.Client) listener.Session {
	host, _, err := net.SplitHostPort(c.RemoteAddr())
	if err != nil {
		host = c.RemoteAddr()
	}
	return &session{b: b, client: c, host: host}
}

// FrameLimit implements listener.Session.
func (s *session) FrameLimit(key, version int16) int {
	if key < 0 || int(key) >= len(s.b.rows) || s.b.rows[key] == nil {
		if _, known := wire.LookupAPI(key); known {
			return defaultFrame // so that Serve can say what is wrong
		}
		return 0
	}
	if n := s.b.rows[key].frame; n > 0 {
		return min(n, s.b.s.RequestMaxBytes)
	}
	return s.b.s.RequestMaxBytes
}

// Serve implements listener.Session.
func (s *session) Serve(frame []byte) (func(), error) {
	h, err := wire.Prefix(frame)
	if err != nil {
		return nil, err
	}
	var r *row
	if h.Key >= 0 && int(h.Key) < len(s.b.rows) {
		r = s.b.rows[h.Key]
	}
	switch {
	case r == nil:
		name := "unknown"
		if api, known := wire.LookupAPI(h.Key); known {
			name = api.Name
		}
		return nil, fmt.Errorf("broker: API key %d (%s) is not served here, and ApiVersions does not list it", h.Key, name)
	case h.Version < r.min || h.Version > r.max:
		if h.Key == apiVersionsKey {
			s.refuseApiVersions(h)
			return nil, nil
		}
		return nil, fmt.Errorf("broker: %s version %d is not served here, only %d to %d", r.name, h.Version, r.min, r.max)
	}
	body, err := wire.ParseHeader(frame, &h)
	if err != nil {
		return nil, err
	}
	if h.Key != produceKey {
		s.settleProduce() // requests of a connection start in order
	}
	s.begin()
	if string(h.ClientID) != s.clientID {
		s.clientID = string(h.ClientID)
	}
	if h.Key != produceKey { // those are counted when they are settled
		s.b.m.arrived(r.key, len(frame))
	}
	s.call = call{row: r, version: h.Version, correlationID: h.CorrelationID, clientID: s.clientID, session: s, start: s.read, queue: s.begun}
	if r.raw != nil {
		return r.raw(s, &s.call, body)
	}
	return s.decoded(body)
}

// begin finds out when the request that is served next begins to be: the first of a read with it, another when the one
// before it was answered. Only where neither is known the clock is read for it.
func (s *session) begin() {
	switch at := s.client.ReadAt(); {
	case at != s.read:
		s.read, s.begun = at, 0
	case s.begun < 0:
		s.begun = time.Since(s.read)
	}
}

// alone runs a handler that may block, on the connection's reader.
func (s *session) alone(c *call, req kmsg.Request) {
	ctx, cancel := context.WithTimeout(s.b.ctx, s.b.s.AloneTimeout)
	defer cancel()
	c.ctx, c.queue = ctx, time.Since(c.start)
	resp := c.row.alone(s.b, c, req)
	if resp == nil {
		s.client.Close(errClosedByHandler)
		return
	}
	s.respond(c, resp)
}

// respond appends a response that is there at once.
func (s *session) respond(c *call, resp kmsg.Response) {
	resp.SetVersion(c.version)
	out := s.client.Out()
	n := len(out)
	out = encode(out, c.row.key, c.version, c.correlationID, resp)
	s.client.SetOut(out)
	s.begun = time.Since(c.start)
	s.client.Time(listener.Timing{
		Key: c.row.key, Requests: 1, Bytes: len(out) - n, Read: c.start, Queue: c.queue, Local: s.begun - c.queue - c.remote, Remote: c.remote,
	})
}

// openWait is how long a request waits for partitions that are being opened.
const openWait = time.Second

// again serves a raw request once the partitions that it needs are open. It waits on the
// connection's reader, so it needs the frame for longer than that keeps it.
func (s *session) again(c *call, body []byte, serve func(*session, *call, []byte) (func(), error)) func() {
	again, kept := *c, append([]byte(nil), body...)
	return func() {
		ctx, cancel := context.WithTimeout(s.b.ctx, openWait)
		defer cancel()
		_ = s.b.o.Replicas.Wait(ctx) // if it is in vain the client is told to ask again
		s.waited, s.begun = true, time.Since(again.start)
		again.queue = s.begun
		defer func() { s.waited = false }()
		if _, err := serve(s, &again, kept); err != nil {
			s.client.Close(err)
		}
		s.settleProduce() // its records are in kept
	}
}

const (
	// manyPartitions is the number of partitions of a Produce or Fetch above which memory is taken of the account for them,
	// partitionBytes for each: with its verdict or its place in a fetch, and its part of the answer.
	manyPartitions = 1000
	partitionBytes = 768
	// manyWait is how long such a Fetch may wait for records: others may wait for its memory.
	manyWait = time.Second
)

// within serves a raw request of n partitions, which are many, within the account of all memory for clients. It may wait for that
// on the connection's reader, so it needs the frame for longer than that keeps it. What serve does not pass on is given back.
func (s *session) within(c *call, body []byte, n int, serve func(*session, *call, []byte) (func(), error)) func() {
	again, kept := *c, append([]byte(nil), body...)
	return func() {
		account, own := s.b.o.Memory, int64(len(kept))
		account.Force(own) // it was in the listener's hand a moment ago
		defer account.Give(own)
		if err := account.Take(s.b.ctx, int64(n)*partitionBytes, own, memory.Large); err != nil {
			s.client.Close(err)
			return
		}
		s.took, s.begun = int64(n)*partitionBytes, time.Since(again.start)
		again.queue = s.begun
		then, err := serve(s, &again, kept)
		if err != nil {
			s.client.Close(err)
		}
		s.settleProduce() // its records are in kept
		account.Give(s.took)
		s.took = 0
		s.b.swept(int64(n) * partitionBytes)
		if then != nil {
			then()
		}
	}
}

// Settle implements listener.Session.
func (s *session) Settle() {
	s.settleProduce()
	s.begun, s.wall = -1, 0
}

// Written implements listener.Session: who waits for what was appended is told after the producer.
func (s *session) Written() { s.producing.round.Finish() }

// Close implements listener.Session: fetches that wait are answered with what there is.
func (s *session) Close() {
	s.mu.Lock()
	sets := slices.Collect(maps.Keys(s.waiting))
	s.mu.Unlock()
	for _, set := range sets {
		set.force()
	}
}

// beginWait notes that a fetch of this connection waits on set.
func (s *session) beginWait(set *fetchSet) {
	s.mu.Lock()
	if s.waiting == nil {
		s.waiting = map[*fetchSet]struct{}{}
	}
	s.waiting[set] = struct{}{}
	s.mu.Unlock()
}

// endWait notes that it has been answered.
func (s *session) endWait(set *fetchSet) {
	s.mu.Lock()
	delete(s.waiting, set)
	s.mu.Unlock()
}
