package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/chronik-stream/chronik/"

// levels holds the floor of every package: a package imports only lower floors.
var levels = map[string]int{
	"proto/raft/v1": 0, "proto/cluster/v1": 0, "proto/metadata/v1": 0,
	"internal/vfs": 0, "internal/clock": 0, "internal/invariant": 0, "internal/logging": 0, "internal/memory": 0, "internal/vnet": 0,

	"internal/rpc": 1, "internal/metadata": 1, "internal/record": 1, "internal/wire": 1, "internal/config": 1,

	"internal/coordinator": 2, "internal/controller": 2, "internal/storage": 2, "internal/listener": 2,
	"internal/raftrpc": 2, "internal/raftstore": 2,

	"internal/replica": 3, "internal/group": 3,

	"internal/cluster": 4,

	"internal/admin": 5, "internal/broker": 5,

	"internal/node": 6, "internal/cli": 6, "internal/testcluster": 7,

	"cmd/chronik-server": 8,
}

// testOnly packages may be imported by test files and by each other alone.
var testOnly = []string{"internal/testcluster", "internal/vnet"}

// same lists the few imports within one floor, each with its reason.
var same = map[string]string{
	"proto/cluster/v1 -> proto/metadata/v1": "an answer may carry a record",
	"proto/metadata/v1 -> proto/cluster/v1": "a stored result of a command is the answer that was given",
}

// rooms holds where an outside import may stand: in these packages and nowhere else.
var rooms = []struct {
	path string // import path, or its prefix with a trailing slash
	in   []string
}{
	{"github.com/hashicorp/raft-boltdb/", []string{"internal/raftstore"}},
	{"github.com/hashicorp/raft", []string{"internal/cluster", "internal/raftrpc", "internal/raftstore"}},
	{"github.com/hashicorp/go-hclog", []string{"internal/raftstore"}},
	{"go.etcd.io/bbolt", []string{"internal/raftstore"}},
	{"google.golang.org/grpc", []string{"proto/", "internal/rpc", "internal/raftrpc", "internal/cluster"}},
	{"google.golang.org/grpc/", []string{"proto/", "internal/rpc", "internal/raftrpc", "internal/cluster"}},
	{"google.golang.org/protobuf/", []string{"proto/", "internal/metadata", "internal/cluster"}},
	{"github.com/twmb/franz-go/pkg/kmsg", []string{"internal/wire", "internal/listener", "internal/broker", "internal/group", "internal/cli"}},
	{"github.com/twmb/franz-go/pkg/kgo", []string{"internal/cli", "internal/testcluster"}},
	{"github.com/twmb/franz-go/pkg/kadm", []string{"internal/cli"}},
	{"github.com/twmb/franz-go/pkg/kerr", []string{"internal/cli"}},
	{"github.com/spf13/", []string{"internal/cli", "cmd/"}},
	{"go.yaml.in/yaml/", []string{"internal/config", "internal/cli"}},
	{"github.com/klauspost/compress/", []string{"internal/record", "internal/metadata"}},
	{"github.com/pierrec/lz4/", []string{"internal/record"}},
	{"golang.org/x/sys/", []string{"internal/vfs", "internal/listener", "internal/rpc"}},
	{"testing", []string{"internal/testcluster"}},
}

// osFiles are the calls of package os that touch files; they belong to vfs.
var osFiles = []string{
	"Open", "OpenFile", "Create", "CreateTemp", "Mkdir", "MkdirAll", "MkdirTemp", "Remove", "RemoveAll", "Rename",
	"ReadFile", "WriteFile", "ReadDir", "Stat", "Lstat", "Truncate", "Chmod", "Link", "Symlink", "DirFS",
}

// osAllowed may call them: vfs itself, the command line and the configuration, which read what a person names.
var osAllowed = []string{"internal/vfs", "internal/cli", "internal/config", "cmd/", "internal/testcluster"}

const (
	maxFile = 600 // lines
	maxFunc = 80  // lines
	// reasonMark, in a comment in the first 20 lines of a file or in a function's doc, gives the reason for a longer one.
	reasonMark = "house: long because "
)

type source struct {
	pkg  string // directory below the top, with slashes
	name string
	ast  *ast.File
	fset *token.FileSet
	text string
}

// parsed reads and parses everything once for all tests.
var parsed = sync.OnceValues(func() ([]source, error) {
	top, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	var all []source
	for _, dir := range []string{"cmd", "internal", "proto"} {
		err := filepath.WalkDir(filepath.Join(top, dir), func(p string, d fs.DirEntry, err error) error {
			// The rules are for the product's files; what is generated is long by nature.
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") || strings.HasSuffix(p, ".pb.go") {
				return err
			}
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, p, text, parser.ParseComments)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(top, p)
			if err != nil {
				return err
			}
			all = append(all, source{pkg: filepath.ToSlash(filepath.Dir(rel)), name: filepath.ToSlash(rel), ast: f, fset: fset, text: string(text)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
})

func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no sources found: the test looks in the wrong place")
	}
	return all
}

func in(pkg string, list []string) bool {
	for _, p := range list {
		if pkg == p || strings.HasSuffix(p, "/") && strings.HasPrefix(pkg, p) {
			return true
		}
	}
	return false
}

func TestImportsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		if s.pkg == "internal/arch" {
			continue
		}
		from, ok := levels[s.pkg]
		if !ok {
			t.Errorf("%s: package %s has no floor in levels: give it one, and a line in docs/ARCHITECTURE.md", s.name, s.pkg)
			continue
		}
		for _, imp := range s.ast.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			to, own := strings.CutPrefix(path, module)
			if !own {
				continue
			}
			level, ok := levels[to]
			if !ok {
				t.Errorf("%s imports %s, which has no floor in levels", s.name, to)
				continue
			}
			if slices.Contains(testOnly, to) && !slices.Contains(testOnly, s.pkg) {
				t.Errorf("%s: product code imports %s, which is for tests", s.name, to)
			}
			if _, excused := same[s.pkg+" -> "+to]; level > from || level == from && !excused {
				t.Errorf("%s: %s (floor %d) imports %s (floor %d)", s.name, s.pkg, from, to, level)
			}
		}
	}
}

func TestOutsideImportsStayInTheirRooms(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.ast.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			for _, r := range rooms {
				match := path == r.path || strings.HasSuffix(r.path, "/") && strings.HasPrefix(path, r.path)
				if match && !in(s.pkg, r.in) {
					t.Errorf("%s imports %s, which may be used in %v only", s.name, path, r.in)
				}
			}
		}
	}
}

func TestFilesAndClocksOnlyThroughTheirDoors(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "os" && x.Obj == nil &&
				slices.Contains(osFiles, sel.Sel.Name) && !in(s.pkg, osAllowed) {
				t.Errorf("%s: os.%s: files are reached through vfs", s.fset.Position(n.Pos()), sel.Sel.Name)
			}
			if strings.HasPrefix(sel.Sel.Name, "Unix") && s.pkg != "internal/clock" {
				if call, ok := sel.X.(*ast.CallExpr); ok {
					if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Now" {
						if x, ok := f.X.(*ast.Ident); ok && x.Name == "time" {
							t.Errorf("%s: the wall clock is read through package clock", s.fset.Position(n.Pos()))
						}
					}
				}
			}
			return true
		})
	}
}

func TestNothingGrowsWithoutAReason(t *testing.T) {
	for _, s := range sources(t) {
		lines := strings.Split(s.text, "\n")
		if n := len(lines); n > maxFile && !strings.Contains(strings.Join(lines[:20], "\n"), reasonMark) {
			t.Errorf("%s has %d lines, more than %d: is a room missing in the house?", s.name, n, maxFile)
		}
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
			if n > maxFunc && !strings.Contains(f.Doc.Text(), reasonMark) {
				t.Errorf("%s: %s has %d lines, more than %d", s.fset.Position(f.Pos()), f.Name.Name, n, maxFunc)
			}
		}
	}
}
