package listener

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestConnectionsWaitForAPlace: beyond max.connections a connection is not refused, it waits until another ends.
func TestConnectionsWaitForAPlace(t *testing.T) {
	both(t, func(o *Options) { o.Limits.Connections = 2 }, func(t *testing.T, f *fixture) {
		var open []net.Conn
		for range 2 {
			c := f.dial()
			defer c.Close()
			send(t, c, request(keyEcho, "hello"))
			expect(t, c, "hello")
			open = append(open, c)
		}
		third, fourth := f.dial(), f.dial()
		defer third.Close()
		defer fourth.Close()
		for _, c := range []net.Conn{third, fourth} {
			send(t, c, request(keyEcho, "late"))
			c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Fatal("a connection beyond the limit was served")
			}
			c.SetReadDeadline(time.Time{})
		}
		open[0].Close()
		expect(t, third, "late")
		f.l.SetLimits(Limits{Connections: 3}) // by a change of the limit too
		expect(t, fourth, "late")
	})
}

// TestConnectionsOfAnAddress: single addresses have limits of their own, also none at all.
func TestConnectionsOfAnAddress(t *testing.T) {
	f := overTCP(t, func(o *Options) { o.Limits = Limits{PerIP: 1, PerIPOf: map[string]int{"127.0.0.1": 2}} })
	defer f.stop()
	served := func(c net.Conn) bool {
		_, err := c.Write(request(keyEcho, "hello"))
		if err == nil {
			_, err = c.Read(make([]byte, 4))
		}
		return err == nil
	}
	for i, want := range []bool{true, true, false} {
		c := f.dial()
		defer c.Close()
		if got := served(c); got != want {
			t.Errorf("connection %d is served: %v", i+1, got)
		}
	}
	f.l.SetLimits(Limits{PerIPOf: map[string]int{"127.0.0.1": -1}})
	c := f.dial()
	defer c.Close()
	if served(c) {
		t.Error("an address that may have no connection has one")
	}
}

// TestConnectionCreationRate: a burst of one second's worth is let in at once, then so many a second.
func TestConnectionCreationRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inBubble(t, func(o *Options) { o.Limits.CreationRate = 10 })
		defer f.stop()
		begin := time.Now()
		for range 30 {
			c := f.dial()
			defer c.Close()
			send(t, c, request(keyEcho, "hello"))
			expect(t, c, "hello")
		}
		if d := time.Since(begin); d < 1900*time.Millisecond || d > 2500*time.Millisecond {
			t.Errorf("30 connections at 10 a second took %v", d)
		}
	})
}

// TestStopEndsTheWaitForAPlace: a connection that waits to be accepted does not hold up a stop.
func TestStopEndsTheWaitForAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inBubble(t, func(o *Options) { o.Limits.Connections = -1 })
		c := f.dial()
		defer c.Close()
		synctest.Wait()
		f.stop()
		expectClosed(t, c)
	})
}
