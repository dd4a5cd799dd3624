package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// deleteChunk is how many entries one transaction deletes: an append waits for
// bolt's only write lock as long as that takes (2 ms for 512, 17 ms for 10,000).
const deleteChunk = 512

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The trailer of an entry stands at the end of its Extensions, which raft offers
// to layers such as this one: a byte of format, and the CRC-32C of the entry.
const (
	trailerFormat = 1
	trailerBytes  = 5
)

// entryCRC covers what raft relies on: a page of an old state of the file must
// not pass for an entry at another index.
func entryCRC(l *raft.Log, extensions []byte) uint32 {
	var p [8*4 + 1 + 12]byte
	binary.BigEndian.PutUint64(p[0:], l.Index)
	binary.BigEndian.PutUint64(p[8:], l.Term)
	binary.BigEndian.PutUint64(p[16:], uint64(len(l.Data)))
	binary.BigEndian.PutUint64(p[24:], uint64(len(extensions)))
	p[32] = byte(l.Type)
	binary.BigEndian.PutUint64(p[33:], uint64(l.AppendedAt.Unix()))
	binary.BigEndian.PutUint32(p[41:], uint32(l.AppendedAt.Nanosecond()))
	crc := crc32.Update(0, castagnoli, p[:])
	crc = crc32.Update(crc, castagnoli, l.Data)
	return crc32.Update(crc, castagnoli, extensions)
}

// seal returns a copy of l with the trailer. raft keeps using l.
func seal(l *raft.Log) *raft.Log {
	c := *l
	c.Extensions = make([]byte, 0, len(l.Extensions)+trailerBytes)
	c.Extensions = append(append(c.Extensions, l.Extensions...), trailerFormat)
	c.Extensions = binary.BigEndian.AppendUint32(c.Extensions, entryCRC(l, l.Extensions))
	return &c
}

// unseal checks the trailer of the entry at index and takes it off.
func unseal(index uint64, l *raft.Log) error {
	k := len(l.Extensions) - trailerBytes
	if k < 0 || l.Extensions[k] != trailerFormat {
		return fmt.Errorf("%w: entry %d has no checksum of a known format", ErrDamaged, index)
	}
	want := binary.BigEndian.Uint32(l.Extensions[k+1:])
	if (l.Index != index || entryCRC(l, l.Extensions[:k]) != want) && !invariant.Mutant("raftstore-no-crc") {
		return fmt.Errorf("%w: the checksum of entry %d does not match", ErrDamaged, index)
	}
	l.Extensions = l.Extensions[:k:k]
	if k == 0 {
		l.Extensions = nil
	}
	return nil
}

// logStore is the raft.LogStore.
type logStore struct{ s *store }

var _ raft.LogStore = logStore{}

// FirstIndex implements raft.LogStore.
func (l logStore) FirstIndex() (uint64, error) { return l.s.index(l.s.b.FirstIndex) }

// LastIndex implements raft.LogStore.
func (l logStore) LastIndex() (uint64, error) { return l.s.index(l.s.b.LastIndex) }

func (s *store) index(read func() (uint64, error)) (uint64, error) {
	if err := s.beginRead(); err != nil {
		return 0, err
	}
	defer s.reading.Done()
	return read()
}

// GetLog implements raft.LogStore. A damaged entry is the end of the store: raft
// panics if it was about to apply it, and OnFail has been called before.
func (l logStore) GetLog(index uint64, entry *raft.Log) error {
	if err := l.s.beginRead(); err != nil {
		return err
	}
	defer l.s.reading.Done()
	*entry = raft.Log{}
	if err := l.s.b.GetLog(index, entry); err != nil {
		if !errors.Is(err, raft.ErrLogNotFound) {
			l.s.fail(fmt.Errorf("entry %d cannot be read: %w", index, err))
		}
		return err
	}
	if err := unseal(index, entry); err != nil {
		l.s.fail(err)
		return err
	}
	return nil
}

// StoreLog implements raft.LogStore.
func (l logStore) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. It gives up at the deadline, so that a
// leader with a hanging disk steps down: raft's own timers would keep it leader.
func (l logStore) StoreLogs(entries []*raft.Log) error {
	sealed := make([]*raft.Log, len(entries))
	for i, e := range entries {
		sealed[i] = seal(e)
	}
	return l.s.write("store", len(entries), l.s.o.WriteDeadline, func() error { return l.s.b.StoreLogs(sealed) })
}

// DeleteRange implements raft.LogStore, in pieces: a prefix (after a snapshot)
// from its start, a suffix (a conflict) from its end, so that a crash between
// two of them leaves no hole in the middle. Gaps in the log, legal after a
// snapshot was installed, are skipped.
func (l logStore) DeleteRange(low, high uint64) error {
	first, err := l.FirstIndex()
	if err != nil || first == 0 || high < low {
		return err
	}
	if low <= first || invariant.Mutant("raftstore-delete-ascending") {
		return l.deletePrefix(low, high)
	}
	return l.deleteSuffix(low, high)
}

func (l logStore) deletePrefix(low, high uint64) error {
	for {
		first, err := l.FirstIndex()
		if err != nil || first == 0 {
			return err
		}
		if low = max(low, first); low > high {
			return nil
		}
		end := min(high, low+deleteChunk-1)
		if err := l.deleteChunk(low, end); err != nil {
			return err
		}
		low = end + 1
	}
}

func (l logStore) deleteSuffix(low, high uint64) error {
	for high >= low {
		start := low
		if high-low >= deleteChunk {
			start = high - deleteChunk + 1
		}
		if err := l.deleteChunk(start, high); err != nil {
			return err
		}
		last, err := l.LastIndex()
		if err != nil {
			return err
		}
		high = min(start-1, last)
	}
	return nil
}

func (l logStore) deleteChunk(low, high uint64) error {
	return l.s.write("delete", int(high-low+1), 0, func() error { return l.s.b.DeleteRange(low, high) })
}
