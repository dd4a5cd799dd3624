package vfs

import (
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Op is a set of operation kinds.
type Op uint32

// The kinds of operations that Faults tells apart.
const (
	OpCreate Op = 1 << iota
	OpOpen      // Open and OpenReadWrite
	OpRead      // ReadAt
	OpWrite     // WriteAt and WritevAt
	OpSync      // Sync and Datasync
	OpTruncate
	OpPreallocate
	OpSize
	OpClose
	OpMkdir  // Mkdir and MkdirAll
	OpRemove // Remove and RemoveAll
	OpRename
	OpReadDir
	OpStat
	OpSyncDir
	OpLock
	OpUsage

	opEnd

	// OpAny is every kind.
	OpAny = opEnd - 1
)

// Rule says which calls fail, when and how. A rule without an action does
// nothing but count.
type Rule struct {
	// Ops are the kinds of calls that match; none means any.
	Ops Op
	// Path is a pattern of path/filepath.Match. Its elements are compared with as many last elements of the name:
	// "*.log" is any such file, "orders-0/*.log" one of that directory. Empty matches every
	// name. A rename matches by either of its names.
	Path string

	// Of the calls that match, numbered from 1, these fire: those after After,
	// only the Nth if set, each Every-th if set, by chance if Probability is
	// set (seeded by Seed), no more than Times if set.
	After       int
	Nth         int
	Every       int
	Probability float64
	Seed        uint64
	Times       int

	// Delay holds the call up. Stall holds it up until the rule is healed. Both come before what follows.
	Delay time.Duration
	Stall bool
	// Err is returned instead of doing what was asked. An error of Sync or
	// Datasync does to a Mem what it does to Linux: the pages count as clean, so that
	// the next sync is successful, and a crash loses them.
	Err error
	// Short, with Err, is how many bytes a write writes, and a read reads, before the error; -1 is a random part.
	Short int
	// Lost reports success and does nothing: a lost write, a disk that lies about a sync.
	Lost bool
	// Flip makes a read return one bit wrong.
	Flip bool
}

// Faults wraps a file system and makes its calls fail, by rules that may be added and
// healed at any time. It counts calls by kind. A call is counted, and meets the
// rules, when it is made: rules that fire add their delays, in the order in which they were
// added, and the first with an error, Lost or Flip decides the rest.
//
// Its files have no descriptor (SyscallConn is not supported), so that no byte goes past it.
type Faults struct {
	fs FS

	mu     sync.Mutex
	rules  []*Injection
	counts map[Op]int64
	usage  *[2]uint64
}

var _ FS = (*Faults)(nil)

// NewFaults wraps fs. Without rules it is transparent.
func NewFaults(fs FS) *Faults {
	return &Faults{fs: fs, counts: make(map[Op]int64)}
}

// Injection is a rule at work.
type Injection struct {
	f       *Faults
	rule    Rule
	rng     *rand.Rand
	matched int
	fired   int
	waiting int
	first   chan struct{} // closed when the rule fires first
	healed  chan struct{} // closed by Heal
}

// Inject adds a rule.
func (f *Faults) Inject(r Rule) *Injection {
	if r.Ops == 0 {
		r.Ops = OpAny
	}
	i := &Injection{
		f: f, rule: r, rng: rand.New(rand.NewPCG(r.Seed, 0)),
		first: make(chan struct{}), healed: make(chan struct{}),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, i)
	return i
}

// Heal takes the rule away. Calls that it stalls go on: with its Err if it has one.
func (i *Injection) Heal() {
	i.f.mu.Lock()
	defer i.f.mu.Unlock()
	before := len(i.f.rules)
	i.f.rules = slices.DeleteFunc(i.f.rules, func(r *Injection) bool { return r == i })
	if len(i.f.rules) < before {
		close(i.healed)
	}
}

// Fired returns how many calls the rule has met.
func (i *Injection) Fired() int {
	i.f.mu.Lock()
	defer i.f.mu.Unlock()
	return i.fired
}

// Waiting returns how many calls the rule stalls now.
func (i *Injection) Waiting() int {
	i.f.mu.Lock()
	defer i.f.mu.Unlock()
	return i.waiting
}

// First returns a channel that is closed when the rule has met a call.
func (i *Injection) First() <-chan struct{} { return i.first }

// Heal takes all rules away and forgets what SetUsage said.
func (f *Faults) Heal() {
	f.mu.Lock()
	rules := slices.Clone(f.rules)
	f.usage = nil
	f.mu.Unlock()
	for _, i := range rules {
		i.Heal()
	}
}

// Count returns how many calls of these kinds were made, whatever came of them.
func (f *Faults) Count(ops Op) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var n int64
	for op, c := range f.counts {
		if op&ops != 0 {
			n += c
		}
	}
	return n
}

// SetUsage makes Usage answer total and free bytes.
func (f *Faults) SetUsage(total, free uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.usage = &[2]uint64{total, free}
}

// matchPath reports whether the last elements of name match pattern.
func matchPath(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	pattern, name = filepath.ToSlash(pattern), filepath.ToSlash(filepath.Clean(name))
	elements := strings.Split(name, "/")
	keep := min(len(elements), strings.Count(pattern, "/")+1)
	ok, err := filepath.Match(filepath.FromSlash(pattern), filepath.Join(elements[len(elements)-keep:]...))
	return err == nil && ok
}

// meets reports whether the rule fires for a call; f.mu is held.
func (i *Injection) meets(op Op, names []string) bool {
	r := &i.rule
	if r.Ops&op == 0 || !slices.ContainsFunc(names, func(n string) bool { return matchPath(r.Path, n) }) {
		return false
	}
	i.matched++
	switch {
	case i.matched <= r.After,
		r.Nth > 0 && i.matched != r.Nth,
		r.Every > 0 && (i.matched-r.After)%r.Every != 0,
		r.Times > 0 && i.fired >= r.Times,
		r.Probability > 0 && i.rng.Float64() >= r.Probability:
		return false
	}
	i.fired++
	if i.fired == 1 {
		close(i.first)
	}
	return true
}

// verdict is what the rules make of one call.
type verdict struct {
	err   error
	short int // bytes of size before err
	lost  bool
	flip  int // bit to flip, of those read; -1 is none
}

// call counts a call of size bytes, asks the rules, and waits if they say so.
func (f *Faults) call(op Op, size int, names ...string) verdict {
	f.mu.Lock()
	f.counts[op]++
	v := verdict{flip: -1}
	decided := false
	var waits []*Injection
	for _, i := range f.rules {
		if !i.meets(op, names) {
			continue
		}
		r := &i.rule
		if r.Delay > 0 || r.Stall {
			waits = append(waits, i)
			i.waiting++
		}
		if decided || r.Err == nil && !r.Lost && !r.Flip {
			continue
		}
		decided = true
		v.err, v.lost, v.short = r.Err, r.Lost, min(max(r.Short, 0), size)
		if r.Short < 0 {
			v.short = i.rng.IntN(size + 1)
		}
		if r.Flip && size > 0 {
			v.flip = i.rng.IntN(size * 8)
		}
	}
	f.mu.Unlock()
	for _, i := range waits {
		i.wait()
	}
	return v
}

// wait holds a call up.
func (i *Injection) wait() {
	if i.rule.Delay > 0 {
		time.Sleep(i.rule.Delay)
	}
	if i.rule.Stall {
		<-i.healed
	}
	i.f.mu.Lock()
	defer i.f.mu.Unlock()
	i.waiting--
}

// Create implements FS.
func (f *Faults) Create(name string) (File, error) {
	return f.open(OpCreate, "create", name, f.fs.Create)
}

// OpenReadWrite implements FS.
func (f *Faults) OpenReadWrite(name string) (File, error) {
	return f.open(OpOpen, "open", name, f.fs.OpenReadWrite)
}

// Open implements FS.
func (f *Faults) Open(name string) (File, error) { return f.open(OpOpen, "open", name, f.fs.Open) }

func (f *Faults) open(op Op, verb, name string, open func(string) (File, error)) (File, error) {
	if v := f.call(op, 0, name); v.err != nil {
		return nil, pathError(verb, name, v.err)
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, f: f}, nil
}

// do runs a call on a name unless the rules have it otherwise.
func (f *Faults) do(op Op, verb, name string, call func(string) error) error {
	v := f.call(op, 0, name)
	switch {
	case v.err != nil:
		return pathError(verb, name, v.err)
	case v.lost:
		return nil
	}
	return call(name)
}

// Mkdir implements FS.
func (f *Faults) Mkdir(name string) error { return f.do(OpMkdir, "mkdir", name, f.fs.Mkdir) }

// MkdirAll implements FS.
func (f *Faults) MkdirAll(name string) error { return f.do(OpMkdir, "mkdir", name, f.fs.MkdirAll) }

// Remove implements FS.
func (f *Faults) Remove(name string) error { return f.do(OpRemove, "remove", name, f.fs.Remove) }

// RemoveAll implements FS.
func (f *Faults) RemoveAll(name string) error {
	return f.do(OpRemove, "removeall", name, f.fs.RemoveAll)
}

// SyncDir implements FS.
func (f *Faults) SyncDir(name string) error { return f.do(OpSyncDir, "syncdir", name, f.fs.SyncDir) }

// Rename implements FS.
func (f *Faults) Rename(oldname, newname string) error {
	v := f.call(OpRename, 0, oldname, newname)
	switch {
	case v.err != nil:
		return pathError("rename", oldname+" to "+newname, v.err)
	case v.lost:
		return nil
	}
	return f.fs.Rename(oldname, newname)
}

// ReadDir implements FS.
func (f *Faults) ReadDir(name string) ([]FileInfo, error) {
	if v := f.call(OpReadDir, 0, name); v.err != nil {
		return nil, pathError("readdir", name, v.err)
	}
	return f.fs.ReadDir(name)
}

// Stat implements FS.
func (f *Faults) Stat(name string) (FileInfo, error) {
	if v := f.call(OpStat, 0, name); v.err != nil {
		return FileInfo{}, pathError("stat", name, v.err)
	}
	return f.fs.Stat(name)
}

// Lock implements FS.
func (f *Faults) Lock(name string) (io.Closer, error) {
	if v := f.call(OpLock, 0, name); v.err != nil {
		return nil, pathError("lock", name, v.err)
	}
	return f.fs.Lock(name)
}

// Usage implements FS.
func (f *Faults) Usage(name string) (total, free uint64, err error) {
	if v := f.call(OpUsage, 0, name); v.err != nil {
		return 0, 0, pathError("usage", name, v.err)
	}
	f.mu.Lock()
	said := f.usage
	f.mu.Unlock()
	if said != nil {
		return said[0], said[1], nil
	}
	return f.fs.Usage(name)
}
