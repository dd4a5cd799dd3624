// Package rpc carries the gRPC calls between the nodes of a cluster: one server
// on --raft-addr for every service, one connection to each peer and a second one
// for bulk, so that a snapshot does not delay heartbeats.
//
// Who is who stands in the Book: node id -> directory id and address. An address
// is a hint and never an identity. Every call carries the caller's identity and
// the one it looks for; both ends check them, and a mismatch is answered
// FAILED_PRECONDITION with a raftv1.Refusal as its detail.
//
// Owners: a Server runs in Run, which binds nothing (Listen did) and returns when
// every handler has ended. Peers dials lazily and is closed by Close; the
// goroutines of its connections are gRPC's. Book is shared, under its own mutex.
package rpc
