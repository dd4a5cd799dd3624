//go:build linux

package suites

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// proxies stand between sarama's tests and the brokers, and speak as much of toxiproxy's HTTP API as
// those tests do: proxies are disabled and enabled, resets and latency are added, and all is reset.
type proxies struct {
	mu     sync.Mutex
	byName map[string]*proxy
}

// proxy passes connections on. What the API tells of it is exported.
type proxy struct {
	Name     string `json:"name"`
	Listen   string `json:"listen"`
	Upstream string `json:"upstream"`
	Enabled  bool   `json:"enabled"`

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
	latency  time.Duration
	reset    bool
}

// serveProxies makes a proxy for every address and serves the API; all ends with the test.
func serveProxies(t *testing.T, upstream map[string][2]string) (api string) {
	t.Helper()
	ps := &proxies{byName: map[string]*proxy{}}
	for name, addr := range upstream {
		p := &proxy{Name: name, Listen: addr[0], Upstream: addr[1], conns: map[net.Conn]struct{}{}}
		if err := p.enable(true); err != nil {
			t.Fatal(err)
		}
		ps.byName[name] = p
		t.Cleanup(func() { _ = p.enable(false) })
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /proxies/{name}", ps.handle(func(*proxy, *http.Request) error { return nil }))
	mux.HandleFunc("POST /proxies/{name}", ps.handle((*proxy).set))
	mux.HandleFunc("POST /proxies/{name}/toxics", ps.handle((*proxy).toxic))
	mux.HandleFunc("POST /reset", ps.resetAll)
	s := &http.Server{Handler: mux}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String()
}

func (ps *proxies) handle(do func(*proxy, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		p := ps.byName[r.PathValue("name")]
		if p == nil {
			http.Error(w, "no such proxy", http.StatusNotFound)
			return
		}
		if err := do(p, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(p)
	}
}

func (ps *proxies) resetAll(w http.ResponseWriter, _ *http.Request) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.byName {
		p.mu.Lock()
		p.latency, p.reset = 0, false
		p.mu.Unlock()
		if err := p.enable(true); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (p *proxy) set(r *http.Request) error {
	var want struct {
		Enabled bool `json:"enabled"`
	}
	if err := json.NewDecoder(r.Body).Decode(&want); err != nil {
		return err
	}
	return p.enable(want.Enabled)
}

func (p *proxy) toxic(r *http.Request) error {
	var toxic struct {
		Type       string         `json:"type"`
		Attributes map[string]int `json:"attributes"`
	}
	if err := json.NewDecoder(r.Body).Decode(&toxic); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch toxic.Type {
	case "latency":
		p.latency = time.Duration(toxic.Attributes["latency"]) * time.Millisecond
	case "reset_peer":
		p.reset = true
		p.closeAll()
	}
	return nil
}

// enable listens, or stops listening and closes what is open.
func (p *proxy) enable(on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on == p.Enabled {
		return nil
	}
	if !on {
		p.Enabled = false
		p.closeAll()
		return p.listener.Close()
	}
	l, err := net.Listen("tcp", p.Listen)
	if err != nil {
		return err
	}
	p.Enabled, p.listener = true, l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(c)
		}
	}()
	return nil
}

// closeAll resets every connection; the caller holds the lock.
func (p *proxy) closeAll() {
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		c.Close()
	}
	clear(p.conns)
}

func (p *proxy) pass(client net.Conn) {
	broker, err := net.Dial("tcp", p.Upstream)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[broker] = struct{}{}, struct{}{}
	if !p.Enabled || p.reset {
		p.closeAll()
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.copy(broker, client, 0)
	}()
	p.mu.Lock()
	latency := p.latency
	p.mu.Unlock()
	p.copy(client, broker, latency)
	<-done
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, broker)
	p.mu.Unlock()
}

// copy passes one direction on until it ends, and ends the other.
func (p *proxy) copy(to, from net.Conn, latency time.Duration) {
	defer to.Close()
	defer from.Close()
	if latency == 0 {
		_, _ = io.Copy(to, from)
		return
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		time.Sleep(latency)
		if _, werr := to.Write(buf[:n]); werr != nil || err != nil {
			return
		}
	}
}
