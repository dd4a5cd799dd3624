package listener

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Limits bound the connections of clients. 0 is no limit, a negative value lets none in. Whatever they say, a fifth of
// the descriptors that the process may have is kept for the logs and the other nodes.
type Limits struct {
	Connections  int            // max.connections: one more waits until another has ended
	PerIP        int            // max.connections.per.ip: one more is closed
	PerIPOf      map[string]int // max.connections.per.ip.overrides: the same for single addresses
	CreationRate int            // max.connection.creation.rate: connections a second; more of them wait
}

// SetLimits changes the limits. Connections that are open stay so. It may be called at any time.
func (l *Listener) SetLimits(n Limits) {
	if most := maxFiles() / 5 * 4; most > 0 && (n.Connections == 0 || n.Connections > most) {
		n.Connections = most
	}
	l.mu.Lock()
	l.limits = n
	l.mu.Unlock()
	l.changed()
}

// changed wakes the accept loop if it waits: a connection has ended, or the limits are others.
func (l *Listener) changed() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Why a connection is refused or waits; a label of the metrics.
const (
	byStop  = "stopping"
	byIP    = "max.connections.per.ip"
	byTotal = "max.connections"
	byRate  = "max.connection.creation.rate"
)

// admit lets an accepted connection in, or closes it and reports false: at once if its address has too many, after the
// wait for a place or for the rate if the listener stops meanwhile. While one waits those behind it stay in the
// system's queue, so that a flood costs no more than its one connection.
func (l *Listener) admit(ctx context.Context, nc net.Conn) bool {
	host := hostOf(nc.RemoteAddr())
	for {
		l.mu.Lock()
		why, text, wait := l.refusalLocked(host, time.Now())
		if why == "" {
			l.addLocked(nc, host)
			l.mu.Unlock()
			return true
		}
		l.mu.Unlock()
		if why == byStop || why == byIP {
			nc.Close()
			l.m.refused.WithLabelValues(why).Inc()
			l.complain("connection refused", "client", nc.RemoteAddr().String(), "reason", text)
			return false
		}
		l.complain("connections wait to be accepted", "client", nc.RemoteAddr().String(), "reason", text)
		began := time.Now()
		l.awaitChange(ctx, wait)
		l.m.blocked.WithLabelValues(why).Add(time.Since(began).Seconds())
	}
}

// awaitChange waits until something has changed, at most for d if that is not 0.
func (l *Listener) awaitChange(ctx context.Context, d time.Duration) {
	var up <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		up = t.C
	}
	select {
	case <-l.wake:
	case <-up:
	case <-ctx.Done():
		l.mu.Lock()
		l.draining = true
		l.mu.Unlock()
	}
}

// refusalLocked returns why a connection from host is not let in, "" if it is, and for how long to wait where time
// alone helps.
func (l *Listener) refusalLocked(host string, now time.Time) (why, text string, wait time.Duration) {
	n := &l.limits
	perIP, own := n.PerIPOf[host]
	if !own {
		perIP = n.PerIP
	}
	switch {
	case l.draining:
		return byStop, "the server is stopping", 0
	case perIP != 0 && l.perIP[host] >= perIP:
		return byIP, fmt.Sprintf("%d connections from %s are open (%s)", l.perIP[host], host, byIP), 0
	case n.Connections != 0 && len(l.clients) >= n.Connections:
		return byTotal, fmt.Sprintf("%d connections are open (%s, or four fifths of the files that the process may open)", len(l.clients), byTotal), 0
	case n.CreationRate > 0:
		if wait := l.rate.wait(now, n.CreationRate); wait > 0 {
			return byRate, fmt.Sprintf("more than %d connections a second (%s)", n.CreationRate, byRate), wait
		}
	}
	return "", "", 0
}

// rate allows so many events a second, and as many at once after a second without.
type rate struct {
	left float64
	last time.Time
}

// wait counts an event and returns 0, or returns how long it must wait until it may be asked again.
func (r *rate) wait(now time.Time, perSecond int) time.Duration {
	most := float64(perSecond)
	if r.last.IsZero() {
		r.left = most
	}
	r.left = min(most, r.left+now.Sub(r.last).Seconds()*most)
	r.last = now
	if r.left < 1 {
		return time.Duration((1-r.left)/most*float64(time.Second)) + time.Millisecond
	}
	r.left--
	return 0
}
