// Package metadata is the state of the cluster as values: what every node must
// agree on, and nothing else.
//
//   - A Record (proto/metadata/v1) is one step of that state. Records stand in
//     the entries of __raft_metadata, inside an Envelope, and in snapshots.
//   - An Image is the state after an entry. It is immutable, so it is read
//     without locks, and whoever holds one sees one moment.
//   - Image.Apply makes the next image and a Delta, the keys that were touched.
//     It validates nothing, reads no clock, draws no random number and cannot
//     fail: all that was decided before, in package controller. So the live
//     path, a replay after a restart and a restored snapshot are one path.
//   - A Draft is an image that is still being changed: the controller decides
//     command after command on it, before the entry is proposed.
//
// # What can go wrong, and where it is refused
//
// Bytes come in through Decode and ReadSnapshot. Both refuse damage, a record
// kind or field that this version does not know, and a record of a wrong shape;
// Apply is given only what has passed. A node that meets an unknown record must
// stop: to skip it would be to have another state than the others.
//
// A record that names something which is not there (a change of a partition of a
// deleted topic) changes nothing. The controller never writes one; the rule is
// there so that all nodes do the same if it ever does.
//
// # Cost
//
// Topics stand in 256 shards by a hash of their id, names in 256 shards by a hash
// of the name. An entry clones the shards it touches and no other, so its cost
// follows what it changes, not the size of the cluster. Each shard has an index
// from a broker to the partitions it has a part in, and a digest: the sum of the
// hashes of what stands in it, kept up with each change. Two images of one index
// are compared by their Digest, and Diff skips shards with equal digests.
//
// The package starts no goroutine and holds no lock.
package metadata
