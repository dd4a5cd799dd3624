package listener

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/memory"
)

// Handler makes a Session for each connection.
type Handler interface {
	Connect(c *Client) Session
	// Answered is told of requests whose responses have been written, or cannot be because the connection has ended: it
	// took them that long from Timing.Read on. It may be called from any goroutine, with a lock held, and keeps nothing of t.
	Answered(t *Timing, took time.Duration)
}

// Session serves the requests of one connection. All its methods are called by the
// connection's reader, one after another.
type Session interface {
	// FrameLimit returns the longest frame, without its size, that a request of this key and
	// version may have. A longer one closes the connection.
	FrameLimit(key, version int16) int
	// Serve starts a request. frame, which lacks the size, stays as it is until Settle has
	// returned. The response is appended to c.Out, or promised with c.Defer, by the end of the
	// next Settle, so that requests and responses are in the same order. A function that is
	// returned may block: the reader calls it when it has settled, written what is ready and
	// given its buffer back; no later request starts before it has returned. An error closes
	// the connection once the requests before this one are settled.
	Serve(frame []byte) (alone func(), err error)
	// Settle does what Serve has put off; it is called when no whole request is left in what
	// has been read, and before alone.
	Settle()
	// Written is called after what a Settle has answered was written, or queued behind what is not
	// ready: the time to do what must not hold up the client's answers.
	Written()
	// Close is called once, when the connection has ended or is being drained: no more
	// requests will come, and what waits for events should complete its slots soon.
	Close()
}

// Options are what a Listener needs. Zero values stand for the defaults.
type Options struct {
	Handler    Handler
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	IdleTimeout  time.Duration   // connections.max.idle.ms; default 10 min
	FirstRequest time.Duration   // how long a new connection may take to its first request; default 10 s
	Limits       Limits          // of the connections, to begin with
	Memory       *memory.Account // of what clients make the server hold; default DefaultMemory bytes
	DrainGrace   time.Duration   // how long responses that are owed may take when the server stops; default 1 s
}

// DefaultMemory is the size of the account that a listener makes itself.
const DefaultMemory = 64 << 20

// Listener serves the connections that a net.Listener accepts.
type Listener struct {
	o       Options
	ln      net.Listener
	pool    *pool
	account *memory.Account
	m       *metrics
	tick    atomic.Int64 // of the sweep
	wg      sync.WaitGroup
	wake    chan struct{} // tells the accept loop that a connection has ended or the limits have changed

	mu       sync.Mutex
	limits   Limits
	rate     rate
	clients  map[*Client]struct{}
	perIP    map[string]int
	lastID   uint64
	draining bool
	garbled  time.Time // when garbage was last logged
	silent   int       // garbage since then
}

// tickTime is how often the sweep looks at the connections; deadlines are this exact.
const tickTime = time.Second

func ticks(d time.Duration) int64 { return int64((d + tickTime - 1) / tickTime) }

// New makes a listener on ln, which is bound already: clients that connect before Run wait
// in the system's queue. It starts nothing.
func New(ln net.Listener, o Options) (*Listener, error) {
	if o.Handler == nil || o.Logger == nil || o.Registerer == nil {
		return nil, errors.New("listener: Handler, Logger and Registerer must be given")
	}
	setDefault(&o.IdleTimeout, 10*time.Minute)
	setDefault(&o.FirstRequest, 10*time.Second)
	setDefault(&o.DrainGrace, time.Second)
	if o.Memory == nil {
		o.Memory = memory.New(DefaultMemory)
	}
	l := &Listener{
		o: o, ln: ln, pool: newPool(o.Memory), account: o.Memory, m: newMetrics(o.Registerer, o.Memory),
		wake: make(chan struct{}, 1), clients: map[*Client]struct{}{}, perIP: map[string]int{},
	}
	l.SetLimits(o.Limits)
	return l, nil
}

func setDefault(p *time.Duration, v time.Duration) {
	if *p <= 0 {
		*p = v
	}
}

// Addr returns the address that is listened on.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Run accepts and serves connections until ctx ends. Then it takes no more requests, lets
// those under way finish within DrainGrace, and returns when every connection is closed. It
// closes the net.Listener. A handler that blocks is waited for: end what it waits for before.
func (l *Listener) Run(ctx context.Context) error {
	sweepCtx, stopSweep := context.WithCancel(context.Background())
	l.wg.Go(func() { l.sweep(sweepCtx) })
	stop := context.AfterFunc(ctx, func() { l.ln.Close() })
	err := l.accept(ctx)
	stop()
	l.ln.Close()
	l.drain()
	stopSweep()
	l.wg.Wait()
	return err
}

func (l *Listener) accept(ctx context.Context) error {
	for wait := time.Duration(0); ; {
		c, err := l.ln.Accept()
		switch {
		case err == nil:
			wait = 0
			l.admit(ctx, c)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listener: %s: %w", l.ln.Addr(), err)
		default: // out of descriptors, an aborted handshake: it passes
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			l.o.Logger.Warn("cannot accept a connection, trying again", "address", l.ln.Addr().String(), "error", err, "in", wait)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// addLocked starts the reader of a connection.
func (l *Listener) addLocked(nc net.Conn, host string) {
	l.lastID++
	c := newClient(l, newConn(nc), l.lastID)
	l.clients[c] = struct{}{}
	l.perIP[host]++
	l.m.accepted.Inc()
	l.m.open.Inc()
	l.wg.Go(c.serve)
}

// ended forgets a connection that is closed.
func (l *Listener) ended(c *Client, err error) {
	host := hostOf(c.conn.RemoteAddr())
	l.mu.Lock()
	delete(l.clients, c)
	if l.perIP[host]--; l.perIP[host] <= 0 {
		delete(l.perIP, host)
	}
	l.mu.Unlock()
	l.changed()
	l.m.open.Dec()
	if !errors.Is(err, io.EOF) && !errors.Is(err, errDraining) {
		l.o.Logger.Debug("connection closed", "client", c.remote, "reason", err)
	}
}

// drain lets every connection finish, and closes those that have not within the grace.
func (l *Listener) drain() {
	l.mu.Lock()
	l.draining = true
	all := l.snapshotLocked()
	l.mu.Unlock()
	for _, c := range all {
		c.drain()
	}
	timer := time.AfterFunc(l.o.DrainGrace, func() {
		l.mu.Lock()
		all := l.snapshotLocked()
		l.mu.Unlock()
		for _, c := range all {
			c.Close(errGrace)
		}
	})
	defer timer.Stop()
	l.waitForClients(all)
}

// waitForClients returns when the readers of all have ended.
func (l *Listener) waitForClients(all []*Client) {
	for _, c := range all {
		<-c.gone
	}
}

func (l *Listener) snapshotLocked() []*Client {
	all := make([]*Client, 0, len(l.clients))
	for c := range l.clients {
		all = append(all, c)
	}
	return all
}

// sweep closes connections whose time is up, and lets go of buffers that nobody needs.
func (l *Listener) sweep(ctx context.Context) {
	t := time.NewTicker(tickTime)
	defer t.Stop()
	starved := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := l.tick.Add(1)
		if now%10 == 0 {
			l.pool.trim()
		}
		l.mu.Lock()
		all := l.snapshotLocked()
		l.mu.Unlock()
		if starved++; l.account.Waiting() == 0 {
			starved = 0
		}
		l.sweepAll(all, now, starved)
	}
}

// sweepAll closes those of all whose time is up, and if others have waited for memory for so many ticks those that hold some and do
// not get on: the clients that are to blame, or if there is none a part of the requests that wait for each other. Without it a few dozen
// clients that send the first megabytes of large requests and then nothing, or do not take large responses, would keep
// everybody waiting for as long as one of those may take.
func (l *Listener) sweepAll(all []*Client, now int64, starved int) {
	var inNeed []*Client
	blamed := false
	for _, c := range all {
		stuck := c.stuck()
		switch err := c.overdue(now); {
		case err != nil:
			c.Close(err)
		case stuck == nil || starved == 0:
		case stuck == errInNeed:
			inNeed = append(inNeed, c)
		default:
			blamed = true
			l.giveWay(c, stuck)
		}
	}
	if blamed || starved < 2 {
		return
	}
	for _, i := range rand.Perm(len(inNeed))[:(len(inNeed)+oneInNeed-1)/oneInNeed] {
		l.giveWay(inNeed[i], errInNeed)
	}
}

// oneInNeed is the part of the requests that wait for each other, one in so many, that the sweep closes in each tick. Not all
// of them: the others go on.
const oneInNeed = 4

// giveWay closes a connection for the sake of those who wait for its memory.
func (l *Listener) giveWay(c *Client, why error) {
	l.complain("closing a connection that holds memory while others wait for it", "client", c.remote, "reason", why.Error())
	c.Close(why)
}

// overdue returns why a connection has no time left, nil if it has.
func (c *Client) overdue(now int64) error {
	last := c.lastRead.Load()
	due := c.due.Load()
	switch {
	case due != 0 && now > due:
		return errSlow
	case !c.served.Load() && now-last > ticks(c.l.o.FirstRequest):
		return errFirst
	case now-last > ticks(c.l.o.IdleTimeout) && c.queued.Load() == 0:
		return errIdle
	}
	return nil
}

// complaintTime is the least time between two log lines about what strangers send.
const complaintTime = 10 * time.Second

// complain logs what a stranger did, unless that was done a moment ago.
func (l *Listener) complain(msg string, args ...any) {
	l.mu.Lock()
	now := time.Now()
	if now.Sub(l.garbled) < complaintTime {
		l.silent++
		l.mu.Unlock()
		return
	}
	args = append(args, "more_not_logged", l.silent)
	l.garbled, l.silent = now, 0
	l.mu.Unlock()
	l.o.Logger.Warn(msg, args...)
}

// garbage makes the error for bytes that are no request, says what they look like, and logs it.
func (c *Client) garbage(have []byte, what error) error {
	hint := ""
	if !c.served.Load() {
		hint = guess(have)
	}
	c.l.m.garbage.Inc()
	c.l.complain("closing a connection that does not speak Kafka's protocol", "client", c.remote, "reason", what.Error(), "looks_like", hint)
	return fmt.Errorf("listener: %w", what)
}

// guess names what the first bytes of a connection look like.
func guess(have []byte) string {
	for _, verb := range []string{"GET ", "POST", "HEAD", "PUT ", "DELE", "OPTI", "PRI ", "CONN"} {
		if bytes.HasPrefix(have, []byte(verb)) {
			return "HTTP: this is Kafka's port, the admin port is another"
		}
	}
	if len(have) > 1 && have[0] == 0x16 && have[1] == 0x03 {
		return "TLS: this port is plaintext"
	}
	return "unknown"
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}
