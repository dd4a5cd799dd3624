// Package group is the coordinator of consumer groups as a pure state machine:
// the classic protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup) with dynamic
// and static members, committed offsets, and what admin clients ask about them.
// It runs inside a shard of package coordinator, one Machine for each partition
// of __consumer_offsets, and knows neither Kafka requests nor codes, neither
// goroutines nor clocks: events come as values with the time they happened,
// timers and replies leave as values.
//
// # State
//
// What is in the log, in Kafka's own record formats (docs/formats/consumer-offsets.md),
// and changed by Apply alone:
//
//   - the committed offsets of a group: one record for each topic partition;
//   - the group's metadata: one record for the whole group, with generation,
//     protocol, leader and members.
//
// What is not in the log: who waits for a rebalance or an assignment, when
// sessions end, members that were given an id and have not come back with it.
//
// # When a group is written
//
//   - when a join phase ends: the new generation and its members, without
//     assignments, marked as awaiting them. A member learns of a generation only
//     after it is in the log, so a generation is never given twice, and a coordinator that
//     takes over goes on from there;
//   - when the leader's assignment has come: the group is Stable;
//   - when a static member comes back under a new member id;
//   - when the last member has gone;
//   - as a tombstone when an empty group has no offsets left, or is deleted.
//
// # States of a group
//
//	Empty ──join──> PreparingRebalance ──all joined, or timeout──> CompletingRebalance ──leader syncs──> Stable
//	  ^                │      ^                                         │                               │
//	  └──nobody left───┘      └──────── a member joins, leaves or is removed ────────────────────────────┘
//
// A group without members that only keeps offsets (a simple group) is Empty. A
// group that does not exist is described as Dead.
package group
