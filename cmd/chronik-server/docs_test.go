package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/config"
)

// dotted is a name in backticks that may be a property.
var dotted = regexp.MustCompile("`(-o )?([a-z]+(\\.[a-z]+)+)(=[^`]*)?`")

// Properties that the documents name exist.
func TestDocumentsNameRealProperties(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, filepath.Join(top, "README.md"), filepath.Join(top, "deploy", "README.md"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range dotted.FindAllStringSubmatch(string(text), -1) {
			name := m[2]
			if !isProperty(name) && !isFileOrCode(name) {
				t.Errorf("%s names %s, which is no property; did it mean %q?", file, m[0], config.Nearest(name, names()))
			}
		}
	}
}

func isProperty(name string) bool {
	for _, k := range []config.Kind{config.KindTopic, config.KindBroker, config.KindGroup, config.KindClientMetrics} {
		if k.Lookup(name) != nil {
			return true
		}
	}
	return false
}

// isFileOrCode tells what has dots too: files, packages, fields of meta.properties, members of Go's.
func isFileOrCode(name string) bool {
	for _, end := range []string{".md", ".go", ".db", ".bin", ".json", ".log", ".yaml", ".proto", ".properties", ".txtar", ".tsv", ".metadata", ".index", ".timeindex", ".snapshot"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	first, _, _ := strings.Cut(name, ".")
	for _, code := range []string{"vfs", "clock", "node", "config", "metadata", "controller", "testing", "raft", "record", "storage", "broker", "go", "kmsg"} {
		if first == code && config.Nearest(name, names()) == "" {
			return true
		}
	}
	return name == "cluster.id" || name == "directory.id"
}

func names() []string {
	var list []string
	for _, p := range config.Properties() {
		list = append(list, p.Name)
	}
	for _, p := range config.TopicProperties() {
		list = append(list, p.Name)
	}
	return list
}

// The configurations in deploy/ are valid.
func TestDeployedConfigurationsAreValid(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(top, "deploy", "*", "*.yaml"))
	if err != nil || len(files) < 4 {
		t.Fatalf("configurations in deploy/: %v, %v", files, err)
	}
	for _, file := range files {
		if _, err := config.Load(config.Sources{Mode: config.ByPeers, File: file}); err != nil {
			t.Errorf("%v", err)
		}
	}
	env, err := os.ReadFile(filepath.Join(top, "deploy", "systemd", "chronik.env"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Sources{
		Mode: config.RaftCluster, File: filepath.Join(top, "deploy", "systemd", "chronik.yaml"), Environ: strings.Split(string(env), "\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeID != 1 || len(c.Peers) != 2 || c.AdvertisedAddr != "node-1.example.com" {
		t.Errorf("chronik.env makes node %d, peers %v, advertised %s", c.NodeID, c.Peers, c.AdvertisedAddr)
	}
	unit, err := os.ReadFile(filepath.Join(top, "deploy", "systemd", "chronik.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--config /etc/chronik/chronik.yaml", "Environment=MODE=standalone", "RestartPreventExitStatus=2"} {
		if !strings.Contains(string(unit), want) {
			t.Errorf("the unit has no %q", want)
		}
	}
}
