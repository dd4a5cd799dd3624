package raftstore

// Memory is the disk of an in-memory store: it keeps what was written across
// Open and Close, and can crash, stall and fail. For tests.
type Memory struct{}

// NewMemory returns an empty disk.
func NewMemory() *Memory { return &Memory{} }

// Open is an Opener.
func (m *Memory) Open(o Options) (*Stores, error) { return nil, nil }
