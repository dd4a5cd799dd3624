package listener

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/vfs"
	"github.com/chronik-stream/chronik/internal/vnet"
)

// pair is a Conn under test and the client at its other end.
type pair struct {
	conn   Conn
	client net.Conn
}

// implementations are all kinds of Conn; each passes the same tests.
var implementations = map[string]func(*testing.T) pair{
	"tcp": func(t *testing.T) pair {
		server, client := tcpPair(t)
		return pair{newConn(server), client}
	},
	"net.Conn": func(t *testing.T) pair {
		server, client := tcpPair(t)
		return pair{newNetConn(server), client}
	},
	"virtual network": func(t *testing.T) pair {
		n := vnet.New(nil)
		t.Cleanup(n.Close)
		ln, err := n.Host("server").Listen(t.Context(), "tcp", ":9092")
		if err != nil {
			t.Fatal(err)
		}
		client, err := n.Host("client").DialContext(t.Context(), "tcp", "server:9092")
		if err != nil {
			t.Fatal(err)
		}
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return pair{newConn(server), client}
	},
}

func tcpPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// pattern is n bytes with a period that no power of two divides.
func pattern(n int) []byte {
	one := make([]byte, 9973)
	for i := range one {
		one[i] = byte(i ^ i>>8*7)
	}
	return bytes.Repeat(one, n/len(one)+1)[:n]
}

func conform(t *testing.T, test func(t *testing.T, p pair)) {
	for name, open := range implementations {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			defer p.conn.Close()
			defer p.client.Close()
			test(t, p)
		})
	}
}

// buffer is a taker that keeps all it is given.
type buffer struct {
	b     []byte
	n     int
	size  int
	until int  // took ends Serve when this much is there
	dry   bool // room has nothing to give
	gave  int  // times room was asked
	taken int  // times idle took the buffer back
}

var errEnough = errors.New("enough")

func (b *buffer) took(n int) error {
	if b.n += n; b.until > 0 && b.n >= b.until {
		return errEnough
	}
	return nil
}

func (b *buffer) room() []byte {
	b.gave++
	if b.dry {
		return nil
	}
	if len(b.b)-b.n < 1 {
		b.b = append(b.b, make([]byte, b.size)...)
	}
	return b.b[b.n:]
}

func (b *buffer) idle() bool {
	if b.n == 0 {
		b.b = nil
		b.taken++
		return true
	}
	return false
}

func TestConnReads(t *testing.T) {
	conform(t, func(t *testing.T, p pair) {
		want := pattern(300_000)
		go func() {
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(50_000))
				p.client.Write(rest[:n])
				rest = rest[n:]
			}
			p.client.Close()
		}()
		in := &buffer{size: 10_000}
		if err := p.conn.Serve(in); !errors.Is(err, io.EOF) {
			t.Fatalf("at the end: %v", err)
		}
		if !bytes.Equal(in.b[:in.n], want) {
			t.Fatal("read something else")
		}
	})
}

// TestConnHoldsNoBufferWhileItWaits: an empty buffer is taken back before anything blocks.
func TestConnHoldsNoBufferWhileItWaits(t *testing.T) {
	conform(t, func(t *testing.T, p pair) {
		in := &buffer{size: 100, until: 1}
		done := make(chan error, 1)
		go func() { done <- p.conn.Serve(in) }()
		p.client.Write([]byte("x"))
		if err := <-done; err != errEnough || in.n != 1 || in.taken > in.gave {
			t.Fatalf("%v, read %d, room %d times, idle %d times", err, in.n, in.gave, in.taken)
		}
	})
}

func TestConnReadWithoutRoomLosesNothing(t *testing.T) {
	conform(t, func(t *testing.T, p pair) {
		p.client.Write([]byte("request"))
		in := &buffer{size: 100, until: 7, dry: true}
		if err := p.conn.Serve(in); !errors.Is(err, errNoRoom) {
			t.Fatal(err)
		}
		in.dry = false
		if err := p.conn.Serve(in); err != errEnough {
			t.Fatal(err)
		}
		if string(in.b[:in.n]) != "request" {
			t.Fatalf("%q", in.b[:in.n])
		}
	})
}

func TestConnReadDeadline(t *testing.T) {
	conform(t, func(t *testing.T, p pair) {
		p.conn.SetReadDeadline(time.Unix(1, 0))
		if err := p.conn.Serve(&buffer{size: 10}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

// TestConnTriesAndWaits writes more than fits, first as much as goes, then the rest while the client reads.
func TestConnTriesAndWaits(t *testing.T) {
	conform(t, func(t *testing.T, p pair) {
		want := pattern(12 << 20)
		sent, err := p.conn.Write(want, false, false)
		if err != nil || sent == len(want) {
			t.Fatalf("a try took %d, %v", sent, err)
		}
		got := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(p.client)
			got <- b
		}()
		for sent < len(want) {
			n, err := p.conn.Write(want[sent:], sent%2 == 0, true)
			if err != nil {
				t.Fatal(err)
			}
			sent += n
		}
		p.conn.Close()
		if !bytes.Equal(<-got, want) {
			t.Fatal("the client has something else")
		}
	})
}

func TestConnWriteDeadline(t *testing.T) {
	conform(t, func(t *testing.T, p pair) {
		p.conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := p.conn.Write(make([]byte, 16<<20), false, true); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

// files are a file on disk and one in memory, with the same content.
func files(t *testing.T, content []byte) map[string]vfs.File {
	t.Helper()
	out := map[string]vfs.File{}
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() (vfs.File, error){
		"disk":   func() (vfs.File, error) { return vfs.OS{}.Create(filepath.Join(t.TempDir(), "f")) },
		"memory": func() (vfs.File, error) { return mem.Create("/d/f") },
	} {
		f, err := open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := f.WriteAt(content, 0); err != nil {
			t.Fatal(err)
		}
		out[name] = f
	}
	return out
}

func TestConnSendsFiles(t *testing.T) {
	content := pattern(5 << 20)
	for kind, f := range files(t, content) {
		t.Run(kind, func(t *testing.T) {
			conform(t, func(t *testing.T, p pair) {
				const off = 12345
				r := FileRange{File: f, Off: off, N: len(content) - 2*off}
				sent, err := p.conn.SendFile(r, false)
				if err != nil {
					t.Fatal(err)
				}
				got := make(chan []byte)
				go func() {
					b, _ := io.ReadAll(p.client)
					got <- b
				}()
				for sent < r.N {
					n, err := p.conn.SendFile(FileRange{File: f, Off: off + int64(sent), N: r.N - sent}, true)
					if err != nil {
						t.Fatal(err)
					}
					sent += n
				}
				p.conn.Close()
				if !bytes.Equal(<-got, content[off:off+r.N]) {
					t.Fatal("the client has something else")
				}
				_, err = p.conn.SendFile(r, true)
				if err == nil {
					t.Fatal("sent on a closed connection")
				}
			})
		})
	}
}

func TestConnSendFileBeyondTheEnd(t *testing.T) {
	for kind, f := range files(t, make([]byte, 1000)) {
		t.Run(kind, func(t *testing.T) {
			conform(t, func(t *testing.T, p pair) {
				go io.Copy(io.Discard, p.client)
				if _, err := p.conn.SendFile(FileRange{File: f, Off: 500, N: 501}, true); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestConnAbortWakesTheReader(t *testing.T) {
	conform(t, func(t *testing.T, p pair) {
		done := make(chan error)
		go func() { done <- p.conn.Serve(&buffer{size: 10}) }()
		p.conn.Abort()
		if err := <-done; err == nil {
			t.Fatal("no error")
		}
		p.client.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := p.client.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the client has noticed nothing: %v", err)
		}
	})
}

// aborter aborts its connection from within Serve.
type aborter struct {
	buffer
	conn Conn
}

func (a *aborter) took(int) error {
	a.conn.Abort()
	return nil
}

func TestConnAbortFromWithinServe(t *testing.T) {
	conform(t, func(t *testing.T, p pair) {
		p.client.Write([]byte("x"))
		if err := p.conn.Serve(&aborter{buffer: buffer{size: 10}, conn: p.conn}); err == nil {
			t.Fatal("no error")
		}
	})
}

// TestConnMissesNothing: bytes that arrive while what came before is worked on are read without more to come.
func TestConnMissesNothing(t *testing.T) {
	conform(t, func(t *testing.T, p pair) {
		const n = 2000
		in := &echo{buffer: buffer{size: 64}, conn: p.conn}
		done := make(chan error)
		go func() { done <- p.conn.Serve(in) }()
		p.client.SetDeadline(time.Now().Add(20 * time.Second))
		one := make([]byte, 1)
		for range n { // one byte at a time: each must be noticed by itself
			if _, err := p.client.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(p.client, one); err != nil {
				t.Fatal(err)
			}
		}
		p.client.Close()
		<-done
	})
}

// echo writes back what it takes.
type echo struct {
	buffer
	conn Conn
}

func (e *echo) took(n int) error {
	e.buffer.n = 0
	_, err := e.conn.Write(e.buffer.b[:n], false, true)
	return err
}

// BenchmarkFileRange is beside the constant that says from which length on broker sends a range from its file:
// read and write, against a header and sendfile.
func BenchmarkFileRange(b *testing.B) {
	for _, size := range []int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
		for _, way := range []string{"copy", "sendfile"} {
			b.Run(fmt.Sprintf("%s/%dKiB", way, size>>10), func(b *testing.B) { benchFileRange(b, way == "copy", size) })
		}
	}
}

func benchFileRange(b *testing.B, copied bool, size int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	conn := newConn(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<20)
		for {
			if _, err := client.Read(buf); err != nil {
				return
			}
		}
	}()
	f, err := vfs.OS{}.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(pattern(size), 0); err != nil {
		b.Fatal(err)
	}
	const header = 100
	buf := make([]byte, header+size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if copied {
			if _, err = f.ReadAt(buf[header:], 0); err == nil {
				_, err = conn.Write(buf, false, true)
			}
		} else if _, err = conn.Write(buf[:header], true, true); err == nil {
			_, err = conn.SendFile(FileRange{File: f, N: size}, true)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	conn.Close()
	client.Close()
	<-done
}
