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

var (
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	path       = regexp.MustCompile("(?:^|[\\s`(\"'])((?:\\./)?(?:cmd|internal|proto|test|tools|docs|deploy|\\.ci)/[A-Za-z0-9_./-]+)")
	makeTarget = regexp.MustCompile("(?m)(?:`make ([a-z -]+)`|^make ([a-z -]+)$)")
	notWord    = regexp.MustCompile(`[^\pL\pN _-]`)
)

// What the documents link to, the paths that they name and the targets of make are there.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(top, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	documents := documents(t)
	links, paths := 0, 0
	for file, text := range documents {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue // nothing of the network is looked at
			}
			at := file
			if target != "" {
				at = filepath.Join(filepath.Dir(file), filepath.FromSlash(target))
			}
			links++
			if _, err := os.Stat(at); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			} else if anchor != "" && !hasAnchor(documents[at], anchor) {
				t.Errorf("%s links to %s, and there is no such heading", file, m[1])
			}
		}
		for _, m := range path.FindAllStringSubmatch(text, -1) {
			name := strings.TrimRight(strings.TrimSuffix(m[1], "..."), "./")
			paths++
			if _, err := os.Stat(filepath.Join(top, filepath.FromSlash(name))); err != nil {
				t.Errorf("%s names %s, which is not there", file, m[1])
			}
		}
		for _, m := range makeTarget.FindAllStringSubmatch(text, -1) {
			for _, target := range strings.Fields(m[1] + m[2]) {
				if !regexp.MustCompile(`(?m)^` + target + `:`).Match(makefile) {
					t.Errorf("%s says make %s, and the Makefile has no such target", file, target)
				}
			}
		}
	}
	if links < 10 || paths < 20 {
		t.Fatalf("%d links and %d paths were found: are the documents read in the right way?", links, paths)
	}
}

// documents are the texts of all there are, by name.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "deploy/*.md", "deploy/*/*.md", "test/*/*.md", "proto/*.md"} {
		files, err := filepath.Glob(filepath.Join(top, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = string(text)
		}
	}
	return texts
}

// hasAnchor tells whether a heading of the text has the anchor that GitHub gives it.
func hasAnchor(text, anchor string) bool {
	for _, line := range strings.Split(text, "\n") {
		if title := strings.TrimLeft(line, "#"); title != line {
			title = notWord.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			if strings.ReplaceAll(title, " ", "-") == anchor {
				return true
			}
		}
	}
	return false
}
