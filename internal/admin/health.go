package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Check is one thing that must be well.
type Check struct {
	// Name is short and fit for a URL: raft, storage, registered.
	Name string
	// Run returns nil if it is well, else what is wrong, why, and what to do. It is called for each
	// request, by many goroutines, and must return soon: it reads state and does not probe. A check that
	// outlives its context counts as failed.
	Run func(ctx context.Context) error
}

// Result is a check's outcome, and the JSON of it.
type Result struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// Report is the JSON of an endpoint.
type Report struct {
	Endpoint string   `json:"endpoint"`
	OK       bool     `json:"ok"`
	Checks   []Result `json:"checks"`
	Status   any      `json:"status,omitempty"`
}

// endpoint answers with the outcome of its checks: 200 if all are well, else 503 and which are not.
type endpoint struct {
	name   string
	checks []Check
	status func() any
}

func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	report := e.report(r.Context(), query["exclude"])
	code := http.StatusOK
	if !report.OK {
		code = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if query.Get("format") == "json" || strings.Contains(r.Header.Get("Accept"), "application/json") {
		if e.status != nil {
			report.Status = e.status()
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		_ = out.Encode(report) // the client may be gone
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprint(w, report.text(query.Has("verbose")))
}

func (e endpoint) report(ctx context.Context, exclude []string) Report {
	report := Report{Endpoint: e.name, OK: true, Checks: []Result{}}
	for _, c := range e.checks {
		if slices.Contains(exclude, c.Name) {
			continue
		}
		result := Result{Name: c.Name, OK: true}
		if err := run(ctx, c); err != nil {
			result.OK, result.Error = false, err.Error()
			report.OK = false
		}
		report.Checks = append(report.Checks, result)
	}
	return report
}

func run(ctx context.Context, c Check) error {
	limited, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	began := time.Now()
	err := c.Run(limited)
	if err == nil && limited.Err() != nil {
		return fmt.Errorf("took %v", time.Since(began).Round(time.Millisecond))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer in %v: %w", checkLimit, err)
	}
	return err
}

// text is "ok", or the checks one a line, [+] for well and [-] for not, and a last line that judges.
// A failure names its checks even when verbose was not asked for.
func (r Report) text(verbose bool) string {
	if r.OK && !verbose {
		return "ok\n"
	}
	var b strings.Builder
	for _, c := range r.Checks {
		if c.OK {
			fmt.Fprintf(&b, "[+] %s ok\n", c.Name)
		} else {
			fmt.Fprintf(&b, "[-] %s failed: %s\n", c.Name, c.Error)
		}
	}
	if r.OK {
		fmt.Fprintf(&b, "%s: ok\n", r.Endpoint)
	} else {
		fmt.Fprintf(&b, "%s: failed\n", r.Endpoint)
	}
	return b.String()
}
