package cluster

// QuorumInfo is the state of the metadata quorum as its leader sees it.
type QuorumInfo struct {
	Leader int32
	// Term is the Raft term of the leader: Kafka's leader epoch.
	Term uint64
	// HighWatermark is the index up to which the log is committed.
	HighWatermark uint64
	Voters        []QuorumReplica // sorted by node id
	Observers     []QuorumReplica
}

// QuorumReplica is one copy of the metadata log.
type QuorumReplica struct {
	Node      int32
	Directory [16]byte
	// LogEnd is the last index that the replica is known to have applied, plus one.
	LogEnd int64
	// LastFetch and LastCaughtUp are wall-clock milliseconds, -1 where unknown: when
	// the replica was last heard, and when it last had all that the leader had.
	LastFetch    int64
	LastCaughtUp int64
	// Address is where the replica's Raft port is reached; empty where unknown.
	Address string
}
