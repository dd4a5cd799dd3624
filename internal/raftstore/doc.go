// Package raftstore keeps what Raft must not forget: its log, its term and vote,
// and its snapshots. docs/formats/raft-store.md has the layout.
//
// One wrapper gives raft its stores over two backends, raft-boltdb and an
// in-memory twin that can crash: one record for a vote, a CRC on every value,
// deletions in pieces, a deadline on appends. Snapshots lie beside it through
// package vfs.
//
// A write that misses its deadline poisons the store: raft steps down, and is
// restarted in place when the late write has returned. A write that fails, or
// that does not return within the hard deadline, is final: OnFail is called and
// the owner ends the process.
//
// Goroutines: one for each write, which ends with it. Constructors start none.
package raftstore
