package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func well(context.Context) error { return nil }

func ill(context.Context) error { return errors.New("the disk is full; free some space") }

func options() Options {
	registry := prometheus.NewRegistry()
	prometheus.WrapRegistererWith(nil, registry).MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "chronik_answer", Help: "for a test"}, func() float64 { return 42 }))
	return Options{
		Addr:     "127.0.0.1:0",
		Live:     []Check{{"process", well}},
		Ready:    []Check{{"raft", well}, {"storage", ill}},
		Health:   []Check{{"brokers", well}},
		Status:   func() any { return map[string]int{"brokers": 3} },
		Gatherer: registry,
		Logger:   slog.New(slog.DiscardHandler),
	}
}

// start runs a server until the test ends.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	r, err := http.Get("http://" + s.Addr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestEndpoints(t *testing.T) {
	s := start(t, options())
	for _, tt := range []struct {
		path string
		code int
		body string
	}{
		{"/livez", 200, "ok\n"},
		{"/livez?verbose", 200, "[+] process ok\nlivez: ok\n"},
		{"/readyz", 503, "[+] raft ok\n[-] storage failed: the disk is full; free some space\nreadyz: failed\n"},
		{"/readyz?exclude=storage", 200, "ok\n"},
		{"/readyz?exclude=storage&verbose", 200, "[+] raft ok\nreadyz: ok\n"},
		{"/healthz", 200, "ok\n"},
		{"/nothing", 404, "404 page not found\n"},
	} {
		code, body := get(t, s, tt.path)
		if code != tt.code || body != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.path, code, body, tt.code, tt.body)
		}
	}
	for path, part := range map[string]string{
		"/":                              "/readyz",
		"/metrics":                       "chronik_answer 42",
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/goroutine?debug=1": "admin.(*Server).Run",
	} {
		if code, body := get(t, s, path); code != 200 || !strings.Contains(body, part) {
			t.Errorf("%s: %d, without %q", path, code, part)
		}
	}
}

func TestJSON(t *testing.T) {
	s := start(t, options())
	for path, want := range map[string]Report{
		"/healthz?format=json": {Endpoint: "healthz", OK: true, Checks: []Result{{Name: "brokers", OK: true}}, Status: map[string]any{"brokers": 3.0}},
		"/readyz?format=json": {Endpoint: "readyz", Checks: []Result{
			{Name: "raft", OK: true}, {Name: "storage", Error: "the disk is full; free some space"},
		}},
	} {
		_, body := get(t, s, path)
		var got Report
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %v in %s", path, err, body)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

func TestACheckThatHangsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint{name: "livez", checks: []Check{{"stuck", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}}}
		got := e.report(t.Context(), nil).text(false)
		if want := "[-] stuck failed: no answer in 5s: context deadline exceeded\nlivez: failed\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o := options()
	o.Addr = taken.Addr().String()
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), o.Addr) {
		t.Errorf("the error does not name the address: %v", err)
	}
	o.Fallback = true
	s := start(t, o)
	if !s.FellBack() || s.Addr() == o.Addr {
		t.Errorf("fell back: %v, to %s", s.FellBack(), s.Addr())
	}
	if code, _ := get(t, s, "/livez"); code != 200 {
		t.Errorf("/livez on the free port: %d", code)
	}
}

// goneWriter is the response to a client that has gone.
type goneWriter struct{ header http.Header }

func (g goneWriter) Header() http.Header { return g.header }
func (g goneWriter) WriteHeader(int)     {}
func (g goneWriter) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
}

// Metrics that a client does not wait for are not logged; those that cannot be gathered are.
func TestWhatIsLoggedOfMetrics(t *testing.T) {
	var out bytes.Buffer
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "a"}), prometheus.NewGauge(prometheus.GaugeOpts{Name: "b"}))
	o := options()
	o.Gatherer, o.Logger = registry, slog.New(slog.NewTextHandler(&out, nil))
	h := handler(o)
	ask := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	h.ServeHTTP(goneWriter{http.Header{}}, ask)
	if out.Len() > 0 {
		t.Errorf("of a client that has gone: %s", &out)
	}
	registry.MustRegister(prometheus.CollectorFunc(func(c chan<- prometheus.Metric) {
		c <- prometheus.NewInvalidMetric(prometheus.NewDesc("c", "", nil, nil), errors.New("the meter is broken"))
	}))
	h.ServeHTTP(httptest.NewRecorder(), ask)
	if !strings.Contains(out.String(), "the meter is broken") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("of a collector that fails: %s", &out)
	}
}

func TestCloseFreesTheAddress(t *testing.T) {
	s, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// A profile takes longer than a stop may: it is cut off, and Run returns.
func TestAStopCutsOffLongRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		pipe := newPipe()
		o.Listen = func(string, string) (net.Listener, error) { return pipe, nil }
		started := make(chan struct{})
		o.Live = []Check{{"slow", func(context.Context) error { close(started); <-t.Context().Done(); return nil }}}
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		client, server := net.Pipe()
		pipe.conns <- server
		go func() {
			_, _ = client.Write([]byte("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
			_, _ = io.Copy(io.Discard, client)
		}()
		<-started
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		client.Close()
	})
}

// pipe is a listener whose connections a test hands over.
type pipe struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipe() *pipe { return &pipe{make(chan net.Conn), make(chan struct{})} }

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipe) Addr() net.Addr { return &net.TCPAddr{} }
