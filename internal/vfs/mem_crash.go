package vfs

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
)

// CrashClone returns a file system that the machine could find after a loss of
// power at this moment, chosen by rng:
//
//   - What Sync and Datasync made durable is there, byte for byte.
//   - Of each page of 4 KiB written since, the disk holds the content of some
//     moment between the last sync and now, chosen page by page whatever the order of
//     the writes; often it is torn, each sector of 512 bytes from one of two moments.
//   - The length is that of some moment since the last sync. Within it, pages
//     that never reached the disk are zeros, or garbage. A truncation goes with the
//     length: beyond it, content of before and after does not mix.
//   - A directory entry is what SyncDir made durable, or later changes survive,
//     each by coin, in order for each name, independently of other names and of
//     what the files hold. A rename survives whole or not at all.
//
// The clone has nothing unsynced and no lock held, and shares nothing with m that
// is ever written. After Crash, m may be asked again: other outcomes of the same crash.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.crashed(rng)
}

// Crash is CrashClone at the moment at which m itself stops: whatever is called
// on it afterwards fails with ErrCrashed, so nothing that happens later can be acknowledged.
func (m *Mem) Crash(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	clone := m.crashed(rng)
	m.dead = ErrCrashed
	return clone
}

// Kill ends the process that uses m, not the machine, as kill -9 does: the
// returned Mem holds all that was written, and what was unsynced still is; the
// locks are free. The disk is now that Mem's alone: every call on m fails with ErrCrashed.
func (m *Mem) Kill() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	heir := &Mem{
		root: m.root, locks: make(map[*memFile]bool), changes: m.changes,
		capacity: m.capacity, maxFiles: m.maxFiles, used: m.used, files: m.files, dead: m.dead,
	}
	m.root, m.dead = nil, ErrCrashed
	return heir
}

// crash is one crash in the making.
type crash struct {
	rng    *rand.Rand
	states map[*memDir]map[string]memNode // entries of the directories with changes that survived
	built  map[memNode]memNode            // what has been copied
	clone  *Mem
}

func (m *Mem) crashed(rng *rand.Rand) *Mem {
	clone := NewMem()
	clone.capacity, clone.maxFiles = m.capacity, m.maxFiles
	if m.root == nil {
		clone.dead = m.dead
		return clone
	}
	c := &crash{
		rng: rng, clone: clone,
		states: make(map[*memDir]map[string]memNode), built: make(map[memNode]memNode),
	}
	c.chooseChanges(m.root)
	clone.root = c.build(m.root).(*memDir)
	return clone
}

// chooseChanges decides which changes of directory entries survive. After one of
// a name that does not, no later one of that name does; with a rename, of both its names.
func (c *crash) chooseChanges(root *memDir) {
	type entry struct {
		dir  *memDir
		name string
	}
	lost := make(map[entry]bool)
	share := c.share()
	for _, change := range changesBelow(root) {
		survives := c.rng.Float64() < share
		for _, e := range change.effects {
			survives = survives && !lost[entry{e.dir, e.name}]
		}
		for _, e := range change.effects {
			if !survives {
				lost[entry{e.dir, e.name}] = true
				continue
			}
			if c.states[e.dir] == nil {
				c.states[e.dir] = maps.Clone(e.dir.durable)
			}
			e.applyTo(c.states[e.dir])
		}
	}
}

// share returns what part of the changes survives: now and then none or all.
func (c *crash) share() float64 {
	switch c.rng.IntN(6) {
	case 0:
		return 0
	case 1:
		return 1
	default:
		return c.rng.Float64()
	}
}

// changesBelow returns the pending changes of all directories that can be there after a crash, in order.
func changesBelow(root *memDir) []*memChange {
	seen := make(map[*memDir]bool)
	var all []*memChange
	var visit func(n memNode)
	visit = func(n memNode) {
		d, ok := n.(*memDir)
		if !ok || seen[d] {
			return
		}
		seen[d] = true
		all = append(all, d.pending...)
		for _, n := range d.durable {
			visit(n)
		}
		for _, change := range d.pending {
			for _, e := range change.effects {
				visit(e.node)
				visit(e.dir)
			}
		}
	}
	visit(root)
	slices.SortFunc(all, func(a, b *memChange) int { return cmp.Compare(a.seq, b.seq) })
	return slices.Compact(all)
}

// build copies a node and what is below it, in name order so that a seed means one crash.
func (c *crash) build(n memNode) memNode {
	if done, ok := c.built[n]; ok {
		return done
	}
	switch n := n.(type) {
	case *memFile:
		f := c.file(n)
		c.built[n] = f
		c.clone.files++
		c.clone.used += f.space()
		return f
	case *memDir:
		d := newMemDir()
		d.mod = n.mod
		c.built[n] = d
		entries, ok := c.states[n]
		if !ok {
			entries = n.durable
		}
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			d.entries[name] = c.build(entries[name])
		}
		d.durable = maps.Clone(d.entries)
		return d
	default:
		return n
	}
}

// file returns f as the disk holds it.
func (c *crash) file(f *memFile) *memFile {
	size, meta := f.durableSize, 0
	if len(f.ops) > 0 {
		meta = c.moment(0, len(f.ops))
		if meta > 0 {
			size = f.ops[meta-1].size
		}
	}
	pages := make([]*page, pagesFor(size))
	copy(pages, f.durable)
	garbage := c.rng.IntN(4) == 0
	for i, ops := range f.opsOfPages(len(pages)) {
		if len(ops) > 0 {
			pages[i] = c.page(f, i, ops, meta, garbage)
		} else if pages[i] == nil && garbage && int64(i)*pageSize >= f.durableSize {
			pages[i] = c.garbage()
		}
	}
	if last, at := len(pages)-1, size%pageSize; at > 0 && pages[last] != nil {
		p := *pages[last]
		clear(p[at:])
		pages[last] = &p
	}
	return &memFile{
		pages: pages, size: size, durable: slices.Clone(pages), durableSize: size,
		linked: true, mod: f.mod,
	}
}

// opsOfPages returns for each of n pages the operations that change it.
func (f *memFile) opsOfPages(n int) [][]int {
	ops := make([][]int, n)
	for k, op := range f.ops {
		for i, last := op.pages(n); i < last; i++ {
			ops[i] = append(ops[i], k)
		}
	}
	return ops
}

// moment chooses a number between lo and hi, the ends more often than the rest.
func (c *crash) moment(lo, hi int) int {
	switch c.rng.IntN(4) {
	case 0:
		return lo
	case 1:
		return hi
	default:
		return lo + c.rng.IntN(hi-lo+1)
	}
}

// page returns page i of f, changed by ops, when the length of f is that after the first meta operations.
func (c *crash) page(f *memFile, i int, ops []int, meta int, garbage bool) *page {
	lo, hi := 0, len(ops)
	for k, op := range ops {
		if f.ops[op].kind != memTruncate {
			continue
		}
		if op < meta {
			lo = k + 1
		} else {
			hi = k
			break
		}
	}
	moment := c.moment(lo, hi)
	p := c.pageAfter(f, i, ops[:moment], garbage)
	if c.rng.IntN(2) == 0 {
		return p
	}
	other := c.pageAfter(f, i, ops[:c.moment(lo, hi)], garbage)
	for at := 0; at < pageSize; at += sectorSize {
		if c.rng.IntN(2) == 0 {
			copy(p[at:at+sectorSize], other[at:])
		}
	}
	return p
}

// pageAfter returns what page i holds after ops.
func (c *crash) pageAfter(f *memFile, i int, ops []int, garbage bool) *page {
	start := int64(i) * pageSize
	p := new(page)
	switch {
	case i < len(f.durable) && f.durable[i] != nil:
		*p = *f.durable[i]
	case len(ops) == 0 && garbage && start >= f.durableSize:
		return c.garbage()
	}
	for _, k := range ops {
		op := &f.ops[k]
		switch {
		case op.kind == memTruncate:
			clear(p[max(0, op.off-start):])
		case op.off >= start:
			copy(p[op.off-start:], op.data)
		default:
			copy(p[:], op.data[start-op.off:])
		}
	}
	return p
}

// garbage returns a page of what an old owner left on the disk.
func (c *crash) garbage() *page {
	p := new(page)
	for at := 0; at < pageSize; at += 8 {
		binary.LittleEndian.PutUint64(p[at:], c.rng.Uint64())
	}
	return p
}
