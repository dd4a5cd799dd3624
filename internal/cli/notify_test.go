//go:build unix

package cli

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/config"
)

// systemd hears that the node is ready, and that it stops.
func TestNotify(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	hear := func() string {
		p := make([]byte, 100)
		n, _, err := heard.ReadFrom(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(p[:n])
	}
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	p := &Program{
		Out: &log, Err: &log, In: strings.NewReader(""), Environ: []string{"NOTIFY_SOCKET=" + socket},
		Serve: func(ctx context.Context, _ *config.Config, _ *slog.Logger, ready func()) error {
			ready()
			<-ctx.Done()
			return nil
		},
	}
	done := make(chan int)
	go func() { done <- p.Main(ctx, nil) }()
	if got := hear(); got != "READY=1" {
		t.Errorf("systemd hears %q", got)
	}
	cancel()
	if got := hear(); got != "STOPPING=1" {
		t.Errorf("systemd hears %q", got)
	}
	if code := <-done; code != 0 {
		t.Errorf("exit code %d: %s", code, &log)
	}
}
