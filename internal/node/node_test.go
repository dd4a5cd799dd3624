package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/storage"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// settings is a configuration on free ports and a fresh directory, as name, value pairs.
func settings(t *testing.T, pairs ...string) *config.Config {
	t.Helper()
	set := map[string]string{
		"node.id": "1", "kafka.port": "0", "admin.addr": "127.0.0.1:0", "data.dir": filepath.Join(t.TempDir(), "data"),
	}
	for i := 0; i < len(pairs); i += 2 {
		set[pairs[i]] = pairs[i+1]
	}
	src := config.Sources{Mode: config.Standalone}
	for name, value := range set {
		src.Flags = append(src.Flags, config.Setting{Name: name, Value: value, Flag: "-o"})
	}
	cfg, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// runUntilReady runs a node, calls then once it is ready, stops it, and returns how it ended.
func runUntilReady(t *testing.T, cfg *config.Config, then func(*Node)) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ready := false
	err := Run(ctx, cfg, Env{Registry: prometheus.NewRegistry(), Ready: func(n *Node) {
		ready = true
		if then != nil {
			then(n)
		}
		cancel()
	}})
	if err == nil && !ready {
		t.Fatal("the node ended before it was ready")
	}
	return err
}

func TestStartStopAndTheMarkerOfACleanStop(t *testing.T) {
	cfg := settings(t)
	for life := range 3 {
		epoch := int64(0)
		if err := runUntilReady(t, cfg, func(n *Node) { epoch = n.epoch }); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		marked, clean, err := storage.LoadCleanShutdown(vfs.OS{}, cfg.DataDir)
		if err != nil || !clean || marked != epoch {
			t.Fatalf("life %d: the marker holds epoch %d (clean %v, %v), want %d", life, marked, clean, err, epoch)
		}
	}
}

func TestWhatCannotStartSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())

	used := settings(t)
	if err := runUntilReady(t, used, nil); err != nil {
		t.Fatal(err)
	}
	notADirectory := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notADirectory, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  *config.Config
		want []string
	}{
		{"Kafka port taken", settings(t, "kafka.port", port), []string{"Kafka port", port, "--kafka-port"}},
		{"admin port taken", settings(t, "admin.addr", "127.0.0.1:"+port), []string{"admin port", port, "--admin-addr"}},
		{"Raft port taken", settings(t, "raft.addr", "127.0.0.1:"+port), []string{port, "raft-addr"}},
		{"another node's directory", settings(t, "data.dir", used.DataDir, "node.id", "2"), []string{"belongs to node 1", "--data-dir"}},
		{"no directory", settings(t, "data.dir", filepath.Join(notADirectory, "data")), []string{"data directory", "--data-dir"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := runUntilReady(t, c.cfg, nil)
			if err == nil {
				t.Fatal("it started")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error lacks %q: %v", w, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has more than one line: %v", err)
			}
		})
	}
}

func TestALockedDirectoryIsRefused(t *testing.T) {
	cfg := settings(t)
	var second error
	err := runUntilReady(t, cfg, func(*Node) {
		second = Run(context.Background(), settings(t, "data.dir", cfg.DataDir), Env{Registry: prometheus.NewRegistry()})
	})
	if err != nil {
		t.Fatal(err)
	}
	if second == nil || !strings.Contains(second.Error(), "lock") {
		t.Errorf("a second node on the same directory: %v", second)
	}
}

func TestPartsStopInReverse(t *testing.T) {
	p := newParts()
	var order []string
	for _, name := range []string{"low", "middle", "high"} {
		p.start(name, func(ctx context.Context) error {
			<-ctx.Done()
			order = append(order, name)
			return ctx.Err()
		})
	}
	if err := p.stopAbove("low"); err != nil {
		t.Fatal(err)
	}
	if err := p.stopAbove(""); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(order); got != "[high middle low]" {
		t.Errorf("stopped in the order %s", got)
	}
}

func TestAPartThatFailsIsToldOnce(t *testing.T) {
	p := newParts()
	cause := errors.New("the disk is gone")
	p.start("low", func(ctx context.Context) error { <-ctx.Done(); return nil })
	p.start("high", func(context.Context) error { return cause })
	<-p.failed
	if p.err != cause {
		t.Errorf("the failure is %v", p.err)
	}
	if err := p.stopAbove(""); err != nil {
		t.Errorf("told again by stop: %v", err)
	}
}
