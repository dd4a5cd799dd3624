// Package admin is the HTTP server for people and machines that watch a node:
// health (/livez, /readyz, /healthz), metrics (/metrics) and profiles
// (/debug/pprof/). It answers from checks and a gatherer that it is given, and
// knows no other part of the broker.
//
// What the three endpoints mean is kept apart, for they are asked by different
// judges: /livez, whether this process should be restarted; /readyz, whether
// this node can serve; /healthz, how the cluster is, for people and alerts. A
// node must not be taken out of service because another one is down, so /readyz
// has checks of this node alone.
//
// State: a Server owns its listener and is otherwise immutable. Run starts one
// goroutine that serves (and net/http's, one a connection), and returns when
// all have ended.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	readTimeout = 10 * time.Second // a request's header and body
	idleTimeout = 2 * time.Minute  // a connection between requests
	stopTimeout = 2 * time.Second  // running requests at a stop
	checkLimit  = 5 * time.Second  // one health check
)

// Options is everything a Server is made from.
type Options struct {
	// Addr is host:port to listen on.
	Addr string
	// Fallback allows a free port on the same host if the port of Addr is taken.
	Fallback bool
	// Listen opens the listener; net.Listen if nil.
	Listen func(network, addr string) (net.Listener, error)

	// Live, Ready and Health are the checks of the three endpoints, shown in this order.
	Live, Ready, Health []Check
	// Status, if not nil, returns what /healthz adds to its JSON: an overview that can be marshalled.
	Status func() any
	// Gatherer is what /metrics shows.
	Gatherer prometheus.Gatherer
	// Logger gets what goes wrong while serving.
	Logger *slog.Logger
}

// Server is the admin server of one node.
type Server struct {
	listener net.Listener
	http     *http.Server
	taken    bool
}

// New binds the address, so that a port in use is known before anything runs; that is its only error, as Listen
// returns it. The server answers when Run is called.
func New(o Options) (*Server, error) {
	listen := o.Listen
	if listen == nil {
		listen = net.Listen
	}
	s := &Server{}
	var err error
	s.listener, err = listen("tcp", o.Addr)
	if err != nil && o.Fallback {
		if host, _, e := net.SplitHostPort(o.Addr); e == nil {
			s.taken = true
			s.listener, err = listen("tcp", net.JoinHostPort(host, "0"))
		}
	}
	if err != nil {
		return nil, err
	}
	s.http = &http.Server{
		Handler:           handler(o),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	return s, nil
}

// Addr returns the address the server is bound to.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// FellBack reports whether the port asked for was taken, so that the server has a free one.
func (s *Server) FellBack() bool { return s.taken }

// Run serves until ctx ends, then lets running requests finish for a moment.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("admin: serving %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := s.http.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close() // a profile may take 30 s: it is cut off
	}
	<-served
	return err
}

// Close releases the address of a server that was never run.
func (s *Server) Close() error { return s.listener.Close() }

func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", endpoint{name: "livez", checks: o.Live})
	mux.Handle("GET /readyz", endpoint{name: "readyz", checks: o.Ready})
	mux.Handle("GET /healthz", endpoint{name: "healthz", checks: o.Health, status: o.Status})
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{
		ErrorLog:      gatherLog{o.Logger},
		ErrorHandling: promhttp.ContinueOnError, // one failing collector must not hide all others
	}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /{$}", index)
	return mux
}

// gatherLog logs which metrics could not be gathered. A client that goes away while it is sent metrics, as
// `curl | head` does, is no concern of anybody's, and promhttp would tell of it once for every metric that is left.
type gatherLog struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (g gatherLog) Println(v ...any) {
	for _, x := range v {
		var gone *net.OpError
		if err, ok := x.(error); ok && errors.As(err, &gone) {
			return
		}
	}
	g.log.Warn("metrics are missing from what was asked for", "error", strings.TrimSpace(fmt.Sprintln(v...)))
}

func index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, "/livez          is the process alive\n"+
		"/readyz         can this node serve\n"+
		"/healthz        how is the cluster\n"+
		"                each with ?verbose, ?format=json, ?exclude=CHECK\n"+
		"/metrics        for Prometheus\n"+
		"/debug/pprof/   profiles\n")
}
