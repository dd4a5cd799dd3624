// Package cluster drives __raft_metadata, the replicated log of everything small
// that the nodes must agree on, over hashicorp/raft. It makes this node a member
// of its cluster, runs the controller where this node leads, and keeps this node
// registered as a broker.
//
// # A metadata change
//
//	Submit (any node) -> leader's queue -> loop: Decide -> raft.Apply -> FSM of
//	every node -> images -> subscribers; Submit returns when its own node's
//	subscribers have seen the entry.
//
// What is promised, and by what:
//
//   - A command is applied once at most: its RequestId stays the same over all
//     tries, and the image keeps the answers of the last 256 commands of each
//     node, which have at most that many under way (sequence.go).
//   - A decision is never applied to another state than it was made on: the loop
//     has one entry under way, and an entry says in which Raft term it was decided.
//     The FSM drops it where it stands in another term (fsm.go).
//   - An answer, also a refusal, rests on committed state: it is given when the
//     entry it was decided with is applied, or after a barrier (loop.go).
//   - The image that a node shows never goes back, though raft's FSM may (images.go).
//   - A log that ends before an installed snapshot is discarded with all that may
//     never have been committed in it, as Raft's paper asks (logview.go).
//   - Every node is fenced that is silent, whose disk has failed, or that says that
//     it leaves; and none because the controller itself stood still (sessions.go).
//   - A node whose image differs from the majority's at one index stops (diverged.go).
//   - A directory has one vote for ever: the founders are pairs of node id and
//     directory id, and a wiped disk has another (founding.go).
//
// # State and who owns it
//
//	Cluster.id      immutable behind an atomic pointer; set once
//	images.told     immutable behind an atomic pointer; set by the publisher
//	images          own mutex: the newest image, the delta since the last telling, digests
//	fsm             raft's FSM goroutine; its image behind an atomic pointer
//	loop            the controller's goroutine; leadership and readers under a mutex
//	queue           own mutex: commands that wait, by class
//	sessions        own mutex: heartbeats of one term; forgotten with it
//	sequences       own mutex: numbers of this incarnation's commands
//	leaderView      own mutex: who leads, with a context that ends when that changes
//	member          its goroutine: stores, and the raft instance of the moment
//	agent           its goroutine: the session; what it says behind atomics
//	strangers       own mutex: peers that turned out to be of another cluster
//
// No mutex is held across a wait. Two are held together only in the order loop,
// sessions, and then queue or images.
//
// # Goroutines
//
// All are started by Run and have ended when it returns.
//
//	name           what it does                                  ends
//	publisher      images.run: calls the subscribers             last of all
//	server         rpc.Server.Run: gRPC; handlers of service.go  after raft
//	guard          waits for the first fatal error               with live
//	controller     loop.run: the only caller of raft.Apply       after raft
//	session watch  sessions.watch: ends sessions, every 25 ms    after raft
//	member         member.run: starts, restarts, stops raft      when told, after the three below
//	agent          agent.run: heartbeats to the leader           first, with a goodbye
//	introductions  introduce: calls on each node once            first
//	judge          waits for the verdict that this controller's
//	               image is the odd one                          first
//	polls          poll: one for each peer, while founding       with convene
//	watch          member.watch: drains raft's notifications     with the raft instance
//	snapshots      member.snapshots: snapshots by bytes          with the raft instance
//	stand          the founding campaign, and that of the only
//	               voter                                         when raft has taken it
//	future         loop.await: one for the entry under way       with raft's answer
//	transfer       waits for a hand-over of leadership           with raft's answer
//
// raft's own goroutines end with the instance.
//
// # Order of a stop
//
// Drain: heartbeats ask to leave, the controller moves what can be moved and
// fences this broker, and all active brokers learn of it. Then Run's context:
// whoever waits in Submit, Register or Quorum gets ErrStopped; the agent says
// goodbye; leadership is handed over; the controller gives its commands back; raft
// stops, the stores are closed, the port is closed, the publisher ends.
//
// A failed disk of the metadata log, damage in it, a record that this version
// does not know, or an image that is not the majority's end Run with a
// *FatalError. A disk that is merely slow costs this node its leadership: raft is
// restarted in place when the late write has returned.
package cluster
