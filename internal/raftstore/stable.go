package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// Keys that raft uses, and the one that stands for two of them.
const (
	keyCurrentTerm = "CurrentTerm"
	keyVoteTerm    = "LastVoteTerm"
	keyVoteCand    = "LastVoteCand"
	keyVote        = "Vote"
)

// errNotFound has the text that raft compares with.
var errNotFound = errors.New("not found")

// vote is the one record behind LastVoteTerm and LastVoteCand.
//
// raft writes a vote as two values. A crash between them leaves the new term
// beside the candidate of an older vote; if that one asks in the new term, raft
// takes it for a repeated request and grants without comparing the logs, and a
// committed entry can be lost. So the term waits in memory for the candidate, and
// both are written as one value.
type vote struct {
	is        bool
	term      uint64
	candidate []byte
	next      uint64 // a term that waits for its candidate
}

// frame appends to a value its CRC-32C, which covers the key too.
func frame(key string, value []byte) []byte {
	p := append(make([]byte, 0, len(value)+4), value...)
	return binary.BigEndian.AppendUint32(p, valueCRC(key, value))
}

func valueCRC(key string, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, []byte(key)), castagnoli, value)
}

func unframe(key string, p []byte) ([]byte, error) {
	k := len(p) - 4
	if k < 0 || valueCRC(key, p[:k]) != binary.BigEndian.Uint32(p[k:]) {
		return nil, fmt.Errorf("%w: the checksum of %s does not match", ErrDamaged, key)
	}
	return p[:k:k], nil
}

// value reads a framed value; errNotFound if there is none.
func value(b raft.StableStore, key string) ([]byte, error) {
	p, err := b.Get([]byte(key))
	if err != nil {
		if err.Error() == errNotFound.Error() {
			return nil, errNotFound
		}
		return nil, err
	}
	return unframe(key, p)
}

// loadTerm reads CurrentTerm, loadVote the vote.
func loadTerm(b raft.StableStore) (term uint64, ok bool, err error) {
	p, err := value(b, keyCurrentTerm)
	switch {
	case errors.Is(err, errNotFound):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case len(p) != 8:
		return 0, false, fmt.Errorf("%w: the term has %d bytes", ErrDamaged, len(p))
	}
	return binary.BigEndian.Uint64(p), true, nil
}

func loadVote(b raft.StableStore) (v vote, err error) {
	p, err := value(b, keyVote)
	switch {
	case errors.Is(err, errNotFound):
		return vote{}, nil
	case err != nil:
		return vote{}, err
	case len(p) < 8:
		return vote{}, fmt.Errorf("%w: the vote has %d bytes", ErrDamaged, len(p))
	}
	return vote{is: true, term: binary.BigEndian.Uint64(p), candidate: p[8:]}, nil
}

// load reads term and vote into memory.
func (s *store) load() (err error) {
	if s.term, s.hasTerm, err = loadTerm(s.b); err != nil {
		return fmt.Errorf("%s: %w", s.o.Dir, err)
	}
	if s.vote, err = loadVote(s.b); err != nil {
		return fmt.Errorf("%s: %w", s.o.Dir, err)
	}
	return nil
}

// stableStore is the raft.StableStore.
type stableStore struct{ s *store }

var _ raft.StableStore = stableStore{}

// Set implements raft.StableStore.
func (t stableStore) Set(key, val []byte) error {
	s := t.s
	if string(key) != keyVoteCand {
		return s.set(string(key), val)
	}
	s.mu.Lock()
	v := vote{is: true, term: s.vote.next, candidate: append([]byte{}, val...)}
	if v.term == 0 {
		v.term = s.vote.term
	}
	s.mu.Unlock()
	if err := s.set(keyVote, append(binary.BigEndian.AppendUint64(nil, v.term), val...)); err != nil {
		return err
	}
	s.mu.Lock()
	s.vote = v
	s.mu.Unlock()
	return nil
}

// SetUint64 implements raft.StableStore.
//
// A new CurrentTerm that cannot be written ends the calling goroutine. raft
// panics when this method returns an error, which would end the process for a
// disk that is merely slow; if it returned nil, raft would stand for election on
// a log that it does not know. The goroutine is raft's main one: its deferred
// functions answer whoever waits, a leader among them steps down, and Shutdown
// works as ever, so that the owner can restart raft in place.
func (t stableStore) SetUint64(key []byte, val uint64) error {
	s := t.s
	switch string(key) {
	case keyVoteTerm:
		s.mu.Lock()
		s.vote.next = val
		old := s.vote.candidate
		s.mu.Unlock()
		if invariant.Mutant("raftstore-split-vote") {
			return s.set(keyVote, append(binary.BigEndian.AppendUint64(nil, val), old...))
		}
		return nil
	case keyCurrentTerm:
		s.mu.Lock()
		same := s.hasTerm && s.term == val || !s.hasTerm && val == 0
		s.mu.Unlock()
		if same {
			return nil // raft writes what it has read, at each start
		}
		if err := s.set(keyCurrentTerm, binary.BigEndian.AppendUint64(nil, val)); err != nil {
			s.o.Logger.Error("Raft stops: its term cannot be stored", "term", val, "error", err)
			runtime.Goexit()
		}
		s.mu.Lock()
		s.term, s.hasTerm = val, true
		s.mu.Unlock()
		return nil
	}
	return s.set(string(key), binary.BigEndian.AppendUint64(nil, val))
}

func (s *store) set(key string, val []byte) error {
	framed := frame(key, val)
	return s.write("set", 1, 0, func() error { return s.b.Set([]byte(key), framed) })
}

// Get implements raft.StableStore.
func (t stableStore) Get(key []byte) ([]byte, error) {
	s := t.s
	if err := s.beginRead(); err != nil {
		return nil, err
	}
	defer s.reading.Done()
	if string(key) == keyVoteCand {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.vote.is {
			return nil, errNotFound
		}
		return append([]byte{}, s.vote.candidate...), nil
	}
	p, err := value(s.b, string(key))
	if errors.Is(err, ErrDamaged) {
		s.fail(err)
	}
	return p, err
}

// GetUint64 implements raft.StableStore.
func (t stableStore) GetUint64(key []byte) (uint64, error) {
	s := t.s
	s.mu.Lock()
	v, term, hasTerm := s.vote, s.term, s.hasTerm
	s.mu.Unlock()
	switch string(key) {
	case keyVoteTerm:
		if !v.is {
			return 0, errNotFound
		}
		return v.term, nil
	case keyCurrentTerm:
		if !hasTerm {
			return 0, errNotFound
		}
		return term, nil
	}
	p, err := t.Get(key)
	if err != nil {
		return 0, err
	}
	if len(p) != 8 {
		return 0, fmt.Errorf("%w: %s has %d bytes, not 8", ErrDamaged, key, len(p))
	}
	return binary.BigEndian.Uint64(p), nil
}
