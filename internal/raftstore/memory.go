package raftstore

import (
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// ErrCrashed is returned by a store whose Memory has crashed.
var ErrCrashed = errors.New("raftstore: the memory of this store has crashed")

// Memory is the disk of an in-memory store: it keeps what was written across
// Open and Close, and can crash, stall and fail. For tests; it makes the same
// promises as the bolt file: a write is a transaction, durable when it returns,
// and a crash in the middle of one leaves all of it or nothing.
type Memory struct {
	lock chan struct{} // holds a token while a transaction runs, as bolt's write lock

	mu      sync.Mutex
	entries map[uint64]raft.Log
	values  map[string][]byte
	open    *handle // the store that uses this disk
	hook    func(Write) error
}

// Write is what a hook is told of a transaction: "store", "delete" or "set".
type Write struct {
	Operation string
	Key       string   // of a set
	Indexes   []uint64 // of a store or a delete
}

// NewMemory returns an empty disk.
func NewMemory() *Memory {
	return &Memory{lock: make(chan struct{}, 1), entries: map[uint64]raft.Log{}, values: map[string][]byte{}}
}

// Open is an Opener. As with a file, only one store can be open at a time.
func (m *Memory) Open(o Options) (*Stores, error) {
	o = o.withDefaults()
	if err := makeDir(o); err != nil {
		return nil, err
	}
	m.mu.Lock()
	if m.open != nil {
		m.mu.Unlock()
		return nil, ErrLocked
	}
	h := &handle{m: m}
	m.open = h
	run := m.run()
	m.mu.Unlock()
	return open(o, h, run)
}

// run returns the index from which on the entries stand without a gap up to the last one.
func (m *Memory) run() uint64 {
	indexes := slices.Sorted(maps.Keys(m.entries))
	run := uint64(0)
	for i, index := range indexes {
		if i == 0 || index != indexes[i-1]+1 {
			run = index
		}
	}
	return run
}

// SetHook sets a function that is called inside each transaction before it takes
// effect: it may wait, which stalls the disk, or fail the write. nil removes it.
func (m *Memory) SetHook(f func(Write) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = f
}

// Crash is the death of the process: the open store answers ErrCrashed from now
// on, and a transaction that is running is done or not, as r decides. The disk
// can be opened again.
func (m *Memory) Crash(r *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.open
	if h == nil {
		return
	}
	m.open = nil
	h.crashed = true
	if h.running != nil && r.IntN(2) == 0 {
		h.running()
	}
	h.running = nil
}

// Damage flips a bit of the entry at index, which must be there.
func (m *Memory) Damage(index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.entries[index]
	l.Data = append([]byte{}, l.Data...)
	if len(l.Data) == 0 {
		l.Term ^= 1
	} else {
		l.Data[0] ^= 1
	}
	m.entries[index] = l
}

// handle is an open store of a Memory.
type handle struct {
	m *Memory

	// Under m.mu.
	crashed bool
	running func() // what the running transaction will do
}

var _ backend = (*handle)(nil)

// do runs a transaction.
func (h *handle) do(w Write, apply func()) error {
	h.m.lock <- struct{}{}
	defer func() { <-h.m.lock }()
	h.m.mu.Lock()
	if h.crashed {
		h.m.mu.Unlock()
		return ErrCrashed
	}
	h.running = apply
	hook := h.m.hook
	h.m.mu.Unlock()
	var err error
	if hook != nil {
		err = hook(w)
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.crashed {
		return ErrCrashed // Crash has decided whether it was done
	}
	h.running = nil
	if err == nil {
		apply()
	}
	return err
}

// look runs f, which reads.
func (h *handle) look(f func() error) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.crashed {
		return ErrCrashed
	}
	return f()
}

// FirstIndex implements raft.LogStore.
func (h *handle) FirstIndex() (first uint64, err error) {
	err = h.look(func() error {
		for i := range h.m.entries {
			if first == 0 || i < first {
				first = i
			}
		}
		return nil
	})
	return first, err
}

// LastIndex implements raft.LogStore.
func (h *handle) LastIndex() (last uint64, err error) {
	err = h.look(func() error {
		for i := range h.m.entries {
			last = max(last, i)
		}
		return nil
	})
	return last, err
}

// GetLog implements raft.LogStore.
func (h *handle) GetLog(index uint64, l *raft.Log) error {
	return h.look(func() error {
		stored, ok := h.m.entries[index]
		if !ok {
			return raft.ErrLogNotFound
		}
		*l = copied(&stored)
		return nil
	})
}

// StoreLog implements raft.LogStore.
func (h *handle) StoreLog(l *raft.Log) error { return h.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (h *handle) StoreLogs(entries []*raft.Log) error {
	w := Write{Operation: "store"}
	copies := make([]raft.Log, len(entries))
	for i, l := range entries {
		copies[i] = copied(l)
		w.Indexes = append(w.Indexes, l.Index)
	}
	return h.do(w, func() {
		for _, l := range copies {
			h.m.entries[l.Index] = l
		}
	})
}

// DeleteRange implements raft.LogStore.
func (h *handle) DeleteRange(low, high uint64) error {
	h.m.mu.Lock()
	w := Write{Operation: "delete", Indexes: slices.DeleteFunc(slices.Sorted(maps.Keys(h.m.entries)), func(i uint64) bool { return i < low || i > high })}
	h.m.mu.Unlock()
	return h.do(w, func() {
		for _, i := range w.Indexes {
			delete(h.m.entries, i)
		}
	})
}

// Set implements raft.StableStore.
func (h *handle) Set(key, val []byte) error {
	val = append([]byte{}, val...)
	return h.do(Write{Operation: "set", Key: string(key)}, func() { h.m.values[string(key)] = val })
}

// Get implements raft.StableStore.
func (h *handle) Get(key []byte) (val []byte, err error) {
	err = h.look(func() error {
		v, ok := h.m.values[string(key)]
		if !ok {
			return errNotFound
		}
		val = append([]byte{}, v...)
		return nil
	})
	return val, err
}

// SetUint64 implements raft.StableStore.
func (h *handle) SetUint64(key []byte, val uint64) error {
	return h.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

// GetUint64 implements raft.StableStore.
func (h *handle) GetUint64(key []byte) (uint64, error) {
	p, err := h.Get(key)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(p), nil
}

// Close implements io.Closer.
func (h *handle) Close() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.m.open == h {
		h.m.open = nil
	}
	return nil
}

func copied(l *raft.Log) raft.Log {
	c := *l
	c.Data = slices.Clone(l.Data)
	c.Extensions = slices.Clone(l.Extensions)
	return c
}
