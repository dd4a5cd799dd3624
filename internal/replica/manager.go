package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/storage"
)

// Options are what a Manager needs. All fields must be given.
type Options struct {
	NodeID int32
	// DirectoryID is the id of the data directory, from its meta.properties.
	DirectoryID metadata.ID
	// Resolve gives a topic's settings: its own over the broker's defaults.
	Resolve func(overrides map[string]string) config.Topic
	// Created is called by Run with partitions whose logs are durable in DirectoryID and whose
	// records do not say so yet; they are to be reported (AssignDirectories). It may block. What it
	// returns an error for is tried again a second later.
	Created    func(ctx context.Context, created []Created) error
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Created names a partition whose log was created.
type Created struct {
	Topic     string
	TopicID   metadata.ID
	Partition int32
}

// Manager keeps the partitions of which this broker has a replica.
type Manager struct {
	o   Options
	dir *storage.Directory
	m   *metrics

	img  atomic.Pointer[metadata.Image] // the last one given
	busy atomic.Bool                    // done is not nil

	table sync.RWMutex
	names map[string]*topic
	ids   map[metadata.ID]*topic
	byLog map[*storage.Log]*Partition

	mu     sync.Mutex
	dirty  map[*Partition]struct{} // to be reconciled
	gone   []*Partition            // to be deleted
	unsaid map[*Partition]struct{} // created and not reported
	wake   chan struct{}           // for Run, of capacity 1
	said   chan struct{}           // for its reporter, of capacity 1
	done   chan struct{}           // closed when dirty and gone are empty; nil while they are

	flush Round // of OnFlush, which is called by one goroutine at a time

	// unopened holds the partitions whose logs could not be made, and why: Run, to which it belongs, tries again.
	unopened map[*Partition]string
}

// topic is what is here of one topic.
type topic struct {
	name       string
	id         metadata.ID
	partitions []*Partition // by index; nil where this broker has no replica
}

// New makes a manager. The directory is given to Open, since its callbacks lead here.
func New(o Options) (*Manager, error) {
	if o.Resolve == nil || o.Created == nil || o.Logger == nil || o.Registerer == nil {
		return nil, errors.New("replica: Resolve, Created, Logger and Registerer must be given")
	}
	m := &Manager{
		o:     o,
		names: map[string]*topic{}, ids: map[metadata.ID]*topic{}, byLog: map[*storage.Log]*Partition{},
		dirty: map[*Partition]struct{}{}, unsaid: map[*Partition]struct{}{},
		wake: make(chan struct{}, 1), said: make(chan struct{}, 1), unopened: map[*Partition]string{},
	}
	m.m = newMetrics(o.Registerer, m)
	m.img.Store(metadata.Empty())
	return m, nil
}

// Open gives the manager its directory, whose logs have been recovered. It must come before
// the first image. The directory's OnFlush and OnFail are the manager's.
func (m *Manager) Open(dir *storage.Directory) {
	m.dir = dir
}

// Directory returns the data directory that holds the logs.
func (m *Manager) Directory() *storage.Directory { return m.dir }

// maxTopicName is the longest name that a topic can have.
const maxTopicName = 249

// ByName returns a partition of which this broker has a replica. The error is
// ErrUnknownPartition, or ErrNotLeader if other brokers have it.
func (m *Manager) ByName(name []byte, index int32) (*Partition, error) {
	m.table.RLock()
	t := m.names[string(name)]
	p := t.at(index)
	m.table.RUnlock()
	if p != nil {
		return p, nil
	}
	if len(name) > maxTopicName {
		return nil, ErrUnknownPartition
	}
	known := m.img.Load().TopicByName(string(name))
	if known == nil || index < 0 || int(index) >= len(known.Partitions) {
		return nil, ErrUnknownPartition
	}
	return nil, ErrNotLeader
}

// ByID is ByName by the topic's id; an id that no topic has is ErrUnknownTopicID.
func (m *Manager) ByID(id metadata.ID, index int32) (*Partition, error) {
	m.table.RLock()
	t := m.ids[id]
	p := t.at(index)
	m.table.RUnlock()
	if p != nil {
		return p, nil
	}
	known := m.img.Load().TopicByID(id)
	switch {
	case known == nil:
		return nil, ErrUnknownTopicID
	case index < 0 || int(index) >= len(known.Partitions):
		return nil, ErrUnknownPartition
	default:
		return nil, ErrNotLeader
	}
}

func (t *topic) at(index int32) *Partition {
	if t == nil || index < 0 || int(index) >= len(t.partitions) {
		return nil
	}
	return t.partitions[index]
}

// Partitions calls f for every partition here, in no order, until it returns false.
func (m *Manager) Partitions(f func(*Partition) bool) {
	for _, p := range m.all() {
		if !f(p) {
			return
		}
	}
}

func (m *Manager) all() []*Partition {
	m.table.RLock()
	defer m.table.RUnlock()
	var all []*Partition
	for _, t := range m.ids {
		for _, p := range t.partitions {
			if p != nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// Busy reports whether something that the images so far ask for is still to be done.
func (m *Manager) Busy() bool { return m.busy.Load() }

// Wait returns when everything that the images so far ask for has been done, or with ctx's error.
func (m *Manager) Wait(ctx context.Context) error {
	m.mu.Lock()
	done := m.done
	m.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// OnFlush is the directory's callback: it moves the high watermarks of the logs, completes who waited
// for them, and wakes who reads.
func (m *Manager) OnFlush(moved []*storage.Log) {
	for _, l := range moved {
		m.table.RLock()
		p := m.byLog[l]
		m.table.RUnlock()
		if p != nil {
			p.advance(&m.flush)
		}
	}
	m.flush.Finish()
}

// OnFail is the directory's callback for a log that a disk failure has fenced: who waits for it is told.
func (m *Manager) OnFail(l *storage.Log, err error) {
	m.table.RLock()
	p := m.byLog[l]
	m.table.RUnlock()
	if p == nil {
		return
	}
	m.o.Logger.Error("the log of a partition has failed; the partition is offline here until a restart recovers it",
		"topic", p.Topic, "partition", p.Index, "error", err)
	r := new(Round)
	p.fail(r, err)
	r.Finish()
}
