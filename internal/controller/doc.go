// Package controller is what the controller decides, as a pure function: an image
// of the cluster and a command go in, records and an answer come out. It knows no
// Raft, no clock and no network; package cluster runs the loop around it, and
// replaying the records (package metadata) is how a decision takes effect.
//
// # Rules
//
//   - Decide changes nothing. Random draws come through Env, so that a decision can
//     be repeated; what was drawn stands in the records.
//   - A refusal is an answer with Kafka's error code and a sentence for a person.
//     A command that was refused as a whole has no records.
//   - What must not be done twice (topics created and deleted, partitions added,
//     producer ids given away) leaves a record with its answer. A command with the
//     same RequestId gets that answer again, word for word.
//   - Partition state changes in one place: next. Fencing, unfencing, registration,
//     shutdown and the repairs of a new controller differ only in which partitions
//     they hand to it.
//   - Records of one decision fit one entry. Only what follows from a broker's
//     state (its leaderships move) may need more entries; then the answer says
//     More, and the same command is decided again on the image that the first part
//     led to. Each partition's change stands alone, so a controller that dies in
//     between leaves nothing torn: RepairPartitions ends it.
package controller
