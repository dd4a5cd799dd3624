// Package raftrpc is hashicorp/raft's Transport over gRPC.
//
// A Transport stands for the process: it serves raft/v1 and outlives any raft
// instance. An Instance is what one raft gets: its consumer channel and its
// calls; closing it ends the calls and leaves the port alone, so that raft can be
// restarted in place.
//
// Raft's heartbeat fast path is never used: it runs appendEntries beside raft's
// main goroutine and breaks its invariants. Every call goes through the consumer
// channel; the gate answers heartbeats while raft's only goroutine is inside an
// AppendEntries or InstallSnapshot of the same leader and term.
//
// Goroutines: those of the gRPC server run the handlers; raft's own make the
// calls; a pipeline has one that receives; a snapshot being sent has one that
// receives and one timer. Constructors start none.
package raftrpc
