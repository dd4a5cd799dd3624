package replica

// Manager keeps the partitions of which this broker has a replica.
type Manager struct{}
