package replica

import "errors"

// Errors of partitions. What the log itself refuses is an error of storage or record.
var (
	// ErrUnknownPartition: no such topic or partition in the newest image.
	ErrUnknownPartition = errors.New("replica: unknown topic or partition")
	// ErrUnknownTopicID: no topic has this id.
	ErrUnknownTopicID = errors.New("replica: unknown topic id")
	// ErrInconsistentTopicID: the topic of this name has another id now.
	ErrInconsistentTopicID = errors.New("replica: the topic has another id")
	// ErrOpening: this broker is to lead the partition and its log is not ready yet; see Manager.Wait.
	ErrOpening = errors.New("replica: the partition is being opened")
	// ErrNotLeader: this broker does not lead the partition, or its log is not ready.
	ErrNotLeader = errors.New("replica: not the leader of the partition")
	// ErrFencedLeaderEpoch: the caller knows an older leader epoch.
	ErrFencedLeaderEpoch = errors.New("replica: the leader epoch is older than the partition's")
	// ErrUnknownLeaderEpoch: the caller knows a newer leader epoch than this broker.
	ErrUnknownLeaderEpoch = errors.New("replica: the leader epoch is newer than this broker knows")
	// ErrNotEnoughReplicas: fewer in-sync replicas than min.insync.replicas; nothing was appended.
	ErrNotEnoughReplicas = errors.New("replica: fewer in-sync replicas than min.insync.replicas")
	// ErrTimedOut: what was appended was not as durable as asked in time. It may become so.
	ErrTimedOut = errors.New("replica: timed out before the append was acknowledged")
)
