package listener

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/internal/vnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Keys of the requests that the test's session knows.
const (
	keyEcho  = 1 // answers what it was sent, at once
	keyLater = 2 // leaves its slot to the test
	keyAlone = 3 // blocks until the test lets it go
	keyFile  = 4 // answers with the handler's file
	keyBad   = 5 // is an error
	keyPut   = 6 // an echo that is put off until Settle
)

// handler is a test's handler. Its sessions record what they see.
type handler struct {
	file vfs.File
	n    int // of the file's bytes

	later  chan *Slot
	gate   chan struct{}
	closed chan struct{}

	mu       sync.Mutex
	served   []string
	settled  int
	released int
	answered []Timing
	took     []time.Duration
}

func newHandler() *handler {
	return &handler{later: make(chan *Slot, 100), gate: make(chan struct{}), closed: make(chan struct{}, 100)}
}

type session struct {
	h   *handler
	c   *Client
	off [][]byte
}

func (h *handler) Connect(c *Client) Session { return &session{h: h, c: c} }

func (h *handler) Answered(t *Timing, took time.Duration) {
	h.mu.Lock()
	h.answered = append(h.answered, *t)
	h.took = append(h.took, took)
	h.mu.Unlock()
}

func (s *session) FrameLimit(key, _ int16) int {
	if key > keyPut || key < 0 {
		return 0
	}
	return 8 << 20
}

func (s *session) Serve(frame []byte) (func(), error) {
	key := binary.BigEndian.Uint16(frame)
	s.h.mu.Lock()
	s.h.served = append(s.h.served, string(frame[4:min(len(frame), 20)]))
	s.h.mu.Unlock()
	if key != keyPut {
		s.answerPut()
	}
	switch key {
	case keyEcho:
		s.echo(frame)
	case keyPut:
		s.off = append(s.off, frame)
	case keyLater:
		slot := s.c.Defer()
		slot.Buf = append(slot.Buf, sized(frame[4:])...)
		s.h.later <- slot
	case keyAlone:
		kept := bytes.Clone(frame)
		return func() {
			<-s.h.gate
			s.echo(kept)
		}, nil
	case keyFile:
		slot := s.c.Defer()
		slot.Buf = binary.BigEndian.AppendUint32(slot.Buf, uint32(s.h.n+2))
		slot.Buf = append(slot.Buf, 'a')
		slot.AddFile(FileRange{File: s.h.file, N: s.h.n, Release: func() {
			s.h.mu.Lock()
			s.h.released++
			s.h.mu.Unlock()
		}})
		slot.Buf = append(slot.Buf, 'z')
		slot.Done()
	default:
		return nil, errors.New("a bad request")
	}
	return nil, nil
}

func (s *session) echo(frame []byte) { s.c.SetOut(append(s.c.Out(), sized(frame[4:])...)) }

func (s *session) answerPut() {
	for _, frame := range s.off {
		s.echo(frame)
	}
	s.off = s.off[:0]
}

func (s *session) Settle() {
	s.answerPut()
	s.h.mu.Lock()
	s.h.settled++
	s.h.mu.Unlock()
}

func (s *session) Written() {}
func (s *session) Close()   { s.h.closed <- struct{}{} }

func sized(p []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

// request is a frame with its size: key, version 0, and what is to be echoed.
func request(key int, payload string) []byte {
	p := binary.BigEndian.AppendUint16(nil, uint16(key))
	p = append(p, 0, 0)
	for len(payload) < 4 {
		payload += " "
	}
	return sized(append(p, payload...))
}

// fixture is a running listener.
type fixture struct {
	t    *testing.T
	h    *handler
	l    *Listener
	log  *lockedBuffer
	dial func() net.Conn
	stop func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// overTCP and inBubble are the two ways to run a test: real sockets, or a virtual network in fake time.
func overTCP(t *testing.T, change func(*Options)) *fixture {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, ln, change, func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) })
}

func inBubble(t *testing.T, change func(*Options)) *fixture {
	n := vnet.New(nil)
	ln, err := n.Host("server").Listen(t.Context(), "tcp", ":9092")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return start(t, ln, change, func() (net.Conn, error) {
		return n.Host("client").DialContext(t.Context(), "tcp", "server:9092")
	})
}

func start(t *testing.T, ln net.Listener, change func(*Options), dial func() (net.Conn, error)) *fixture {
	t.Helper()
	f := &fixture{t: t, h: newHandler(), log: &lockedBuffer{}}
	o := Options{Handler: f.h, Logger: slog.New(slog.NewTextHandler(f.log, nil)), Registerer: prometheus.NewRegistry()}
	if change != nil {
		change(&o)
	}
	l, err := New(ln, o)
	if err != nil {
		t.Fatal(err)
	}
	f.l = l
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	f.dial = func() net.Conn {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return f
}

// both runs a test over TCP and in a bubble.
func both(t *testing.T, change func(*Options), test func(t *testing.T, f *fixture)) {
	t.Run("tcp", func(t *testing.T) {
		f := overTCP(t, change)
		defer f.stop()
		test(t, f)
	})
	t.Run("bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := inBubble(t, change)
			defer f.stop()
			test(t, f)
		})
	})
}

func send(t *testing.T, c net.Conn, frames ...[]byte) {
	t.Helper()
	if _, err := c.Write(bytes.Join(frames, nil)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn) string {
	t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		t.Fatalf("no response: %v", err)
	}
	p := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, p); err != nil {
		t.Fatalf("a response that ends early: %v", err)
	}
	return strings.TrimSpace(string(p))
}

func expect(t *testing.T, c net.Conn, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := receive(t, c); got != w {
			t.Fatalf("response %.40q, want %.40q", got, w)
		}
	}
}

func expectClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal("the connection is still open and has something to say")
	}
}

func TestResponsesKeepTheOrderOfRequests(t *testing.T) {
	both(t, nil, func(t *testing.T, f *fixture) {
		c := f.dial()
		defer c.Close()
		send(t, c, request(keyEcho, "one"), request(keyLater, "two"), request(keyPut, "three"), request(keyLater, "four"), request(keyEcho, "five"))
		two, four := <-f.h.later, <-f.h.later
		expect(t, c, "one")
		four.Done() // trap 10: the later one is complete first
		c2 := four.Client()
		c2.Flush()
		two.Done()
		c2.Flush()
		expect(t, c, "two", "three", "four", "five")
	})
}

func TestCompletionsFromManyGoroutines(t *testing.T) {
	both(t, nil, func(t *testing.T, f *fixture) {
		c := f.dial()
		defer c.Close()
		const n = 2000
		var wg sync.WaitGroup
		defer wg.Wait()
		end := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case s := <-f.h.later:
						c := s.Client()
						s.Done()
						c.Flush()
					case <-end:
						return
					}
				}
			})
		}
		defer close(end)
		wg.Go(func() {
			for i := range n {
				c.Write(request([]int{keyLater, keyEcho, keyPut}[i%3], fmt.Sprintf("request %d", i)))
			}
		})
		for i := range n {
			expect(t, c, fmt.Sprintf("request %d", i))
		}
	})
}

func TestInFlightRequestsAreBounded(t *testing.T) {
	both(t, nil, func(t *testing.T, f *fixture) {
		c := f.dial()
		defer c.Close()
		for i := range 2 * maxInFlight {
			send(t, c, request(keyLater, fmt.Sprintf("request %d", i)))
		}
		var slots []*Slot
		for range maxInFlight {
			slots = append(slots, <-f.h.later)
		}
		select {
		case <-f.h.later:
			t.Fatal("a request more than the bound was served")
		default:
		}
		for i, s := range slots {
			cl := s.Client()
			s.Done()
			cl.Flush()
			expect(t, c, fmt.Sprintf("request %d", i))
		}
		for i := range maxInFlight {
			s := <-f.h.later
			cl := s.Client()
			s.Done()
			cl.Flush()
			expect(t, c, fmt.Sprintf("request %d", maxInFlight+i))
		}
	})
}

func TestAloneHoldsUpWhatFollowsAndNothingElse(t *testing.T) {
	both(t, nil, func(t *testing.T, f *fixture) {
		c, other := f.dial(), f.dial()
		defer c.Close()
		defer other.Close()
		send(t, c, request(keyEcho, "before"), request(keyAlone, "alone"), request(keyEcho, "after"))
		expect(t, c, "before")
		send(t, other, request(keyEcho, "other"))
		expect(t, other, "other")
		f.h.mu.Lock()
		served := strings.Join(f.h.served, ",")
		f.h.mu.Unlock()
		if strings.Contains(served, "after") {
			t.Fatal("a request was served before the answer of the one that runs alone")
		}
		f.h.gate <- struct{}{}
		expect(t, c, "alone", "after")
	})
}

func TestFramesOfEverySizeAndCut(t *testing.T) {
	both(t, nil, func(t *testing.T, f *fixture) {
		c := f.dial()
		defer c.Close()
		var want []string
		var all []byte
		sizes := []int{4, 100, 5000, readBuffer - 12, readBuffer - 8, readBuffer, 3 * readBuffer, 7, 5 << 20, 9, 100_000, 1 << 20, 1 << 20}
		if testing.Short() {
			sizes = sizes[:8]
		}
		for _, n := range sizes {
			s := strings.Repeat(string(rune('a'+len(want))), n)
			want = append(want, s)
			all = append(all, request(keyEcho, s)...)
		}
		go func() {
			for step := 1; len(all) > 0; step = step*3 + 1 {
				n := min(len(all), step)
				c.Write(all[:n])
				all = all[n:]
			}
		}()
		expect(t, c, want...)
	})
}

func TestFileRangesBetweenBytes(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	for kind, file := range files(t, content) {
		t.Run(kind, func(t *testing.T) {
			f := overTCP(t, func(o *Options) {
				h := o.Handler.(*handler)
				h.file, h.n = file, len(content)
			})
			defer f.stop()
			c := f.dial()
			defer c.Close()
			send(t, c, request(keyEcho, "before"), request(keyFile, "file"), request(keyFile, "file"), request(keyEcho, "after"))
			want := "a" + string(content) + "z"
			expect(t, c, "before", want, want, "after")
			f.h.mu.Lock()
			defer f.h.mu.Unlock()
			if f.h.released != 2 {
				t.Errorf("%d files released", f.h.released)
			}
		})
	}
}

// TestSlowReaderHoldsNobodyUp: the one who completes a response for a client that does not read goes on.
func TestSlowReaderHoldsNobodyUp(t *testing.T) {
	both(t, nil, func(t *testing.T, f *fixture) {
		slow, quick := f.dial(), f.dial()
		defer slow.Close()
		defer quick.Close()
		big := strings.Repeat("x", 6<<20)
		send(t, slow, request(keyLater, "big"), request(keyLater, "small"))
		a, b := <-f.h.later, <-f.h.later
		a.Buf = sized([]byte(big))
		c := a.Client()
		a.Done()
		c.Flush() // returns though nobody reads
		b.Done()
		c.Flush()
		send(t, quick, request(keyEcho, "quick"))
		expect(t, quick, "quick")
		expect(t, slow, big, "small")
		send(t, slow, request(keyEcho, "again"))
		expect(t, slow, "again")
	})
}

func TestClientThatTakesNothingIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inBubble(t, nil)
		defer f.stop()
		c := f.dial()
		send(t, c, request(keyLater, "big"))
		s := <-f.h.later
		s.Buf = sized(make([]byte, 6<<20))
		cl := s.Client()
		s.Done()
		cl.Flush()
		begin := time.Now()
		<-f.h.closed
		if d := time.Since(begin); d < frameGrace || d > frameGrace+3*time.Minute {
			t.Errorf("closed after %v", d)
		}
		c.Close()
	})
}

func TestGarbageEndsItsConnectionAlone(t *testing.T) {
	both(t, nil, func(t *testing.T, f *fixture) {
		good := f.dial()
		defer good.Close()
		send(t, good, request(keyLater, "waits"))
		waits := <-f.h.later
		for name, p := range map[string][]byte{
			"http":          []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
			"tls":           {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc},
			"negative size": {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
			"small size":    {0, 0, 0, 7, 0, 1, 0, 0, 0, 0, 0},
			"unknown key":   sized([]byte{0, 99, 0, 0, 0, 0, 0, 0}),
			"too large":     {0x7f, 0xff, 0xff, 0xff, 0, 1, 0, 0},
			"bad request":   request(keyBad, "bad"),
		} {
			c := f.dial()
			send(t, c, p)
			expectClosed(t, c)
			c.Close()
			send(t, good, request(keyEcho, name))
		}
		cl := waits.Client()
		waits.Done()
		cl.Flush()
		expect(t, good, "waits")
		for range 7 {
			receive(t, good)
		}
		if n := strings.Count(f.log.String(), "closing a connection"); n != 1 {
			t.Errorf("%d log lines about garbage in a moment, want 1:\n%s", n, f.log)
		}
	})
}

// TestTrap12_WhatAFrameClaimsCostsNothing: other protocols begin with what is a length of hundreds of megabytes here, and are
// closed; a length that may be is believed as far as the bytes have come.
func TestTrap12_WhatAFrameClaimsCostsNothing(t *testing.T) {
	f := overTCP(t, nil)
	defer f.stop()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, p := range map[string]string{
		"HTTP": "GET / HTTP/1.1\r\n\r\n", "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01", "text": "5.0\x00 and more", "2 GiB": "\x7f\xff\xff\xff\x00\x01\x00\x00",
	} {
		c := f.dial()
		send(t, c, []byte(p))
		expectClosed(t, c)
		c.Close()
		if t.Failed() {
			t.Fatal(name)
		}
	}
	half := f.dial()
	defer half.Close()
	send(t, half, append([]byte{0x05, 0xff, 0xff, 0xff}, request(keyEcho, "the begin of 100 MB")[4:]...))
	other := f.dial()
	defer other.Close()
	send(t, other, request(keyEcho, "meanwhile"))
	expect(t, other, "meanwhile")
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("%d bytes were allocated for claims", n)
	}
}

func TestGarbageIsNamed(t *testing.T) {
	for want, p := range map[string]string{
		"HTTP": "GET / HTTP/1.1\r\n", "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01",
	} {
		f := overTCP(t, nil)
		c := f.dial()
		send(t, c, []byte(p))
		expectClosed(t, c)
		c.Close()
		f.stop()
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, f.log)
		}
	}
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inBubble(t, func(o *Options) { o.IdleTimeout = 5 * time.Minute })
		defer f.stop()
		within := func(what string, least, most time.Duration, do func(c net.Conn)) {
			t.Helper()
			c := f.dial()
			defer c.Close()
			begin := time.Now()
			do(c)
			expectClosed(t, c)
			if d := time.Since(begin); d < least || d > most {
				t.Errorf("%s: closed after %v", what, d)
			}
		}
		within("silent from the start", 10*time.Second, 13*time.Second, func(net.Conn) {})
		within("idle", 5*time.Minute, 5*time.Minute+3*time.Second, func(c net.Conn) {
			send(t, c, request(keyEcho, "hello"))
			receive(t, c)
		})
		within("half a frame", 30*time.Second, 34*time.Second, func(c net.Conn) {
			send(t, c, request(keyEcho, "hello"))
			receive(t, c)
			send(t, c, request(keyEcho, "half")[:9])
		})
		within("half a large frame", 46*time.Second, 50*time.Second, func(c net.Conn) {
			send(t, c, request(keyEcho, "hello"))
			receive(t, c)
			send(t, c, request(keyEcho, strings.Repeat("x", 1<<20))[:70_000])
		})
		// A response that is owed keeps a connection open.
		c := f.dial()
		defer c.Close()
		send(t, c, request(keyLater, "later"))
		s := <-f.h.later
		time.Sleep(20 * time.Minute)
		cl := s.Client()
		s.Done()
		cl.Flush()
		expect(t, c, "later")
	})
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	both(t, func(o *Options) { o.DrainGrace = 10 * time.Second }, func(t *testing.T, f *fixture) {
		c, idle := f.dial(), f.dial()
		defer c.Close()
		defer idle.Close()
		send(t, c, request(keyLater, "owed"))
		s := <-f.h.later
		send(t, idle, request(keyEcho, "accepted")) // else the stop may come before its session
		expect(t, idle, "accepted")
		go f.stop()
		<-f.h.closed // of one of the two sessions
		<-f.h.closed
		cl := s.Client()
		s.Done()
		cl.Flush()
		expect(t, c, "owed")
		expectClosed(t, c)
		expectClosed(t, idle)
		f.stop()
	})
}

// A client that never stops sending is drained as well: what it was owed is answered, and it
// is not served until the grace ends and then cut off.
func TestDrainStopsABusyClient(t *testing.T) {
	both(t, func(o *Options) { o.DrainGrace = time.Hour }, func(t *testing.T, f *fixture) {
		c := f.dial()
		defer c.Close()
		send(t, c, request(keyEcho, "first"))
		expect(t, c, "first")
		var busy sync.WaitGroup
		busy.Go(func() {
			for {
				if _, err := c.Write(request(keyEcho, "more")); err != nil {
					return
				}
			}
		})
		busy.Go(func() { _, _ = io.Copy(io.Discard, c) })
		f.stop()
		busy.Wait()
	})
}

func TestDrainDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inBubble(t, nil)
		c := f.dial()
		send(t, c, request(keyLater, "never"))
		s := <-f.h.later
		begin := time.Now()
		f.stop()
		if d := time.Since(begin); d != time.Second {
			t.Errorf("stopped after %v", d)
		}
		c.Close()
		// Whoever comes late with an answer finds nothing to do.
		cl := s.Client()
		s.Done()
		cl.Flush()
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	both(t, func(o *Options) { o.Limits = Limits{Connections: 3, PerIP: 2} }, func(t *testing.T, f *fixture) {
		a, b := f.dial(), f.dial()
		defer b.Close()
		for _, c := range []net.Conn{a, b} {
			send(t, c, request(keyEcho, "hello"))
			expect(t, c, "hello")
		}
		third := f.dial()
		expectClosed(t, third)
		third.Close()
		a.Close()
		<-f.h.closed
		for { // until the listener has forgotten a
			c := f.dial()
			_, err := c.Write(request(keyEcho, "hello"))
			if err == nil {
				if _, err = c.Read(make([]byte, 4)); err == nil {
					c.Close()
					return
				}
			}
			c.Close()
		}
	})
}

// TestReadMemoryIsBounded: connections that hold half-sent frames do not get more than the bound, and
// what waits goes on when they are gone.
func TestReadMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inBubble(t, func(o *Options) { o.Memory = memory.New(4 * readBuffer) })
		defer f.stop()
		half := request(keyEcho, strings.Repeat("x", 100_000))
		var held []net.Conn
		for range 6 {
			c := f.dial()
			send(t, c, half[:60_000])
			held = append(held, c)
		}
		synctest.Wait()
		n := f.l.account.Used()
		if n > 4*readBuffer {
			t.Errorf("%d bytes are held", n)
		}
		var wg sync.WaitGroup
		for _, c := range held {
			wg.Go(func() {
				c.Write(half[60_000:])
				receive(t, c)
				c.Close()
			})
		}
		wg.Wait()
		synctest.Wait()
		if f.l.account.Used() != 0 {
			t.Errorf("%d bytes are held by nobody", f.l.account.Used())
		}
	})
}

// TestHalfFramesStarveNobody: clients that send the first part of large requests and then nothing, but for a byte now and
// then, do not keep small requests waiting, and large ones not for long.
func TestHalfFramesStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inBubble(t, func(o *Options) { o.Memory = memory.New(32 * readBuffer) })
		defer f.stop()
		large := request(keyEcho, strings.Repeat("x", 2<<20))
		for range 20 {
			c := f.dial()
			defer c.Close()
			send(t, c, request(keyEcho, "hello"))
			expect(t, c, "hello")
			go func() {
				for sent := 0; sent < len(large); {
					n, err := c.Write(large[sent:min(sent+300_000, len(large))])
					if sent += n; err != nil {
						return
					}
				}
			}()
		}
		for range 3 {
			time.Sleep(300 * time.Millisecond)
			began := time.Now()
			c := f.dial()
			send(t, c, request(keyEcho, "small"))
			expect(t, c, "small")
			c.Close()
			if d := time.Since(began); d > 3*time.Second { // mostly none; while responses that nobody takes have used up all, a sweep or two
				t.Errorf("a small request waited %v", d)
			}
		}
		began := time.Now()
		for answered := false; !answered; { // it may be closed instead of one of them, as it too does not go on
			c := f.dial()
			go c.Write(large)
			answered = binary.Read(c, binary.BigEndian, new(uint32)) == nil
			c.Close()
		}
		if d := time.Since(began); d > 30*time.Second { // its turn comes after the twenty, none of which takes its response
			t.Errorf("a large request waited %v", d)
		}
	})
}

// TestSmallBuffersHaveAReserve: however much large requests take, small ones find room.
func TestSmallBuffersHaveAReserve(t *testing.T) {
	p := newPool(memory.New(16 * readBuffer))
	for k := 2; k > 0; k-- {
		for p.get(k, 0, memory.Large) != nil {
			continue
		}
	}
	if p.get(0, 0, memory.Small) == nil {
		t.Error("large buffers have taken everything")
	}
}

// TestBusyClientIsNotSlow: the time that a frame may take counts from its own first byte, also when
// a part of the next frame has been there at every moment.
func TestBusyClientIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inBubble(t, nil)
		defer f.stop()
		c := f.dial()
		defer c.Close()
		frame := request(keyEcho, "hello")
		send(t, c, frame[:5])
		for range 20 {
			time.Sleep(10 * time.Second)
			send(t, c, append(bytes.Clone(frame[5:]), frame[:5]...))
			expect(t, c, "hello")
		}
	})
}

func TestIdleConnectionsHoldNoBuffer(t *testing.T) {
	both(t, nil, func(t *testing.T, f *fixture) {
		var all []net.Conn
		for range 20 {
			c := f.dial()
			defer c.Close()
			send(t, c, request(keyEcho, "hello"))
			expect(t, c, "hello")
			all = append(all, c)
		}
		for held := int64(1); held != 0; { // the last reader may not have found its socket empty yet
			held = f.l.account.Used()
		}
		for _, c := range all {
			send(t, c, request(keyEcho, "again"))
			expect(t, c, "again")
		}
	})
}

func BenchmarkEcho(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	l, err := New(ln, Options{Handler: newHandler(), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	req, resp := request(keyEcho, strings.Repeat("x", 100)), make([]byte, 104)
	b.ReportAllocs()
	for b.Loop() {
		c.Write(req)
		io.ReadFull(c, resp)
	}
	c.Close()
	cancel()
	<-done
}
