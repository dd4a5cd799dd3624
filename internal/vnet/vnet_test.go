package vnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/chronik-stream/chronik/internal/vnet"
)

// pair returns both ends of a connection from host a to host b.
func pair(t *testing.T, n *vnet.Network) (a, b net.Conn) {
	t.Helper()
	l, err := n.Host("b").Listen(t.Context(), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	a, err = n.Host("a").DialContext(t.Context(), "tcp", "b:"+port)
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// The rules of net.Conn, in real time, by the suite of golang.org/x/net.
func TestConnConforms(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2 = pair(t, vnet.New(nil))
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

func TestLatencyDelaysEachWriteAndKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(vnet.Latency(5 * time.Millisecond))
		start := time.Now()
		a, b := pair(t, n)
		if got := time.Since(start); got != 10*time.Millisecond {
			t.Errorf("the handshake took %v, want a round trip of 10ms", got)
		}
		defer a.Close()
		defer b.Close()
		start = time.Now()
		for _, s := range []string{"one ", "two ", "three"} {
			if _, err := io.WriteString(a, s); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, 13)
		if _, err := io.ReadFull(b, got); err != nil || string(got) != "one two three" {
			t.Fatalf("read %q, %v", got, err)
		}
		if got := time.Since(start); got != 5*time.Millisecond {
			t.Errorf("arrived after %v, want 5ms", got)
		}
		a.Close()
		if _, err := b.Read(got); err != io.EOF {
			t.Errorf("after Close of the other end: %v, want EOF", err)
		}
	})
}

func TestWriterWaitsForTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, vnet.New(nil))
		defer a.Close()
		defer b.Close()
		sent := make(chan int, 1)
		go func() {
			k, _ := a.Write(make([]byte, 100<<10))
			sent <- k
		}()
		synctest.Wait()
		select {
		case k := <-sent:
			t.Fatalf("a write of 100 KiB returned %d with nobody reading", k)
		default:
		}
		if _, err := io.ReadFull(b, make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
		if k := <-sent; k != 100<<10 {
			t.Errorf("wrote %d", k)
		}
	})
}

// A writer that waits for room learns that the reader has closed; what the reader had sent can still be read.
func TestCloseOverUnreadBytesResetsTheWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, vnet.New(vnet.Latency(time.Millisecond)))
		defer a.Close()
		sent := make(chan error, 1)
		go func() {
			_, err := a.Write(make([]byte, 1<<20))
			sent <- err
		}()
		time.Sleep(10 * time.Millisecond)
		b.Write([]byte("last words"))
		b.Close()
		if got, err := io.ReadAll(a); string(got) != "last words" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if err := <-sent; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the write ended with %v", err)
		}
	})
}

func TestDeadlinesInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, vnet.New(nil))
		defer a.Close()
		defer b.Close()
		start := time.Now()
		a.SetReadDeadline(start.Add(3 * time.Second))
		var ne net.Error
		if _, err := a.Read(make([]byte, 1)); !errors.As(err, &ne) || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v, want a timeout", err)
		}
		a.SetWriteDeadline(start.Add(5 * time.Second))
		if k, err := a.Write(make([]byte, 100<<10)); !errors.Is(err, os.ErrDeadlineExceeded) || k != 64<<10 {
			t.Errorf("write: %d, %v, want 65536 and a timeout", k, err)
		}
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("took %v", got)
		}
	})
}

func TestCutSwallowsAndHealDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(nil)
		a, b := pair(t, n)
		defer a.Close()
		defer b.Close()
		n.SetLink("a", "b", vnet.Cut)
		if _, err := io.WriteString(a, "lost?"); err != nil {
			t.Fatalf("a write into a cut link: %v; a sender cannot know", err)
		}
		b.SetReadDeadline(time.Now().Add(time.Minute))
		got := make([]byte, 5)
		if _, err := b.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read over a cut link: %v", err)
		}
		if _, err := io.WriteString(b, "back!"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(a, got); err != nil || string(got) != "back!" {
			t.Fatalf("the other direction is up, but read %q, %v", got, err)
		}
		b.SetReadDeadline(time.Time{})
		n.Heal()
		if _, err := io.ReadFull(b, got); err != nil || string(got) != "lost?" {
			t.Fatalf("after the heal: %q, %v", got, err)
		}
	})
}

// Bytes arrive, their acknowledgements do not: the sender runs into its window.
func TestCutOfTheWayBackStopsTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(nil)
		a, b := pair(t, n)
		defer a.Close()
		defer b.Close()
		n.SetLink("b", "a", vnet.Cut)
		go io.Copy(io.Discard, b)
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if k, err := a.Write(make([]byte, 100<<10)); k != 64<<10 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("wrote %d, %v, want one window and a timeout", k, err)
		}
		a.SetWriteDeadline(time.Time{})
		n.Heal()
		if _, err := a.Write(make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
		a.Close()
	})
}

func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(nil)
		a, b := n.Host("a"), n.Host("b")
		dial := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c, err := a.DialContext(ctx, "tcp", "b:9")
			if err == nil {
				c.Close()
			}
			return err
		}
		check := func(what string, want error) {
			t.Helper()
			if err := dial(); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		check("nobody listens", syscall.ECONNREFUSED)
		l, err := b.Listen(t.Context(), "tcp", "0.0.0.0:9")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Listen(t.Context(), "tcp", ":9"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listener: %v", err)
		}
		check("up", nil)
		n.SetLink("a", "b", vnet.Refuse)
		check("refuse", syscall.ECONNREFUSED)
		n.SetLink("a", "b", vnet.Reset)
		check("reset", syscall.ECONNRESET)
		n.Heal()
		n.SetLink("b", "a", vnet.Cut)
		check("cut on the way back", os.ErrDeadlineExceeded)
		time.AfterFunc(500*time.Millisecond, n.Heal)
		check("healed in time", nil)
		b.Down()
		check("down", syscall.ECONNREFUSED)
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept on a host that is down: %v", err)
		}
		b.Up()
		check("up again, not listening yet", syscall.ECONNREFUSED)
		var dns *net.DNSError
		if _, err := a.DialContext(t.Context(), "tcp", "nobody:9"); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("unknown host: %v", err)
		}
	})
}

func TestDownResetsWhatTheLinksCarry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(nil)
		a, b := pair(t, n)
		defer a.Close()
		defer b.Close()
		n.Host("b").Down()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v, want a reset", err)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read at the host that is down: %v", err)
		}
	})
}

// A host that dies while it is cut off leaves a half-open connection; the first
// bytes that reach its successor are answered by a reset.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(nil)
		a, b := pair(t, n)
		defer a.Close()
		defer b.Close()
		n.Isolate("b")
		n.Host("b").Down()
		n.Host("b").Up()
		if _, err := a.Write([]byte("anyone?")); err != nil {
			t.Fatalf("write into a half-open connection: %v", err)
		}
		a.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read: %v", err)
		}
		a.SetReadDeadline(time.Time{})
		n.Heal()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after the heal: %v, want a reset", err)
		}
	})
}

func TestLinkReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(vnet.Latency(time.Millisecond))
		a, b := pair(t, n)
		defer a.Close()
		defer b.Close()
		go func() {
			time.Sleep(time.Second)
			n.Between("a", "b", vnet.Reset)
		}()
		if _, err := io.Copy(io.Discard, b); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v, want a reset", err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v, want a reset", err)
		}
	})
}

func TestMuchDataBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, vnet.New(vnet.Latency(time.Millisecond)))
		data := make([]byte, 1<<20)
		for i := range data {
			data[i] = byte(i * 7)
		}
		go func() { a.Write(data); a.Close() }()
		go io.Copy(b, bytes.NewReader(nil))
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		b.Close()
	})
}
