package proctest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

var (
	buildOnce sync.Once
	buildPath string
	buildErr  error
)

// Binary returns the chronik-server to test: the one that TEST_BIN names,
// else one built from the sources around the working directory, once a process.
func Binary() (string, error) {
	buildOnce.Do(func() {
		if buildPath = os.Getenv("TEST_BIN"); buildPath != "" {
			return
		}
		var top string
		if top, buildErr = Top(); buildErr != nil {
			return
		}
		buildPath = filepath.Join(top, "bin", "chronik-server-test")
		cmd := exec.Command("go", "build", "-o", buildPath, "./cmd/chronik-server")
		cmd.Dir = top
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	return buildPath, buildErr
}

// Top returns the top of the repository that holds the working directory.
func Top() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		p, err := os.ReadFile(filepath.Join(d, "go.mod"))
		if err == nil && strings.HasPrefix(string(p), "module github.com/chronik-stream/chronik\n") {
			return d, nil
		}
		if filepath.Dir(d) == d {
			return "", fmt.Errorf("%s lies in no clone of chronik", dir)
		}
	}
}
