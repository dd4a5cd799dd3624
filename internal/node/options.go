package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"github.com/chronik-stream/chronik/internal/admin"
	"github.com/chronik-stream/chronik/internal/broker"
	"github.com/chronik-stream/chronik/internal/cluster"
	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/listener"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/storage"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// What each part is told of the configuration. No part sees the configuration itself.

func (n *Node) clusterOptions() cluster.Options {
	c := n.cfg
	o := cluster.Options{
		NodeID:       c.NodeID,
		DirectoryID:  n.dir.id,
		Incarnation:  newID(),
		Identity:     n.dir.identity(),
		SaveIdentity: n.dir.saveIdentity,
		RaftListen:   c.RaftListenAddr(),
		Network:      n.env.Network,
		Version:      n.env.Version,
		FS:           n.env.FS,
		Path:         filepath.Join(c.DataDir, metadataLog),
		OpenStores:   n.env.Stores,
		Clock:        n.env.Clock,
		Logger:       n.loggers.Logger("cluster"),
		Registerer:   n.env.Registry,
		Health:       n.health,
		Timing: cluster.Timing{
			Heartbeat:        c.RaftHeartbeatTimeout,
			Election:         c.RaftElectionTimeout,
			Lease:            c.RaftLeaderLeaseTimeout,
			Commit:           c.RaftCommitTimeout,
			SnapshotInterval: c.RaftSnapshotInterval,
			Beat:             c.BrokerHeartbeatInterval,
			Session:          c.BrokerSessionTimeout,
			StorageStall:     c.RaftStorageStallTimeout,
			DiskStall:        c.DiskStallTimeout,
			Registration:     c.InitialRegistrationTimeout,
		},
		Limits: cluster.Limits{
			SnapshotEntries:   uint64(c.RaftSnapshotThreshold),
			SnapshotBytes:     c.MetadataBytesBetweenSnapshots,
			TrailingEntries:   uint64(c.RaftTrailingLogs),
			DefaultPartitions: c.NumPartitions,
		},
	}
	if o.RaftListen != "" {
		o.RaftAddr = net.JoinHostPort(n.advertised.Host, strconv.Itoa(int(c.RaftPort())))
	}
	for _, p := range c.Peers {
		o.Peers = append(o.Peers, cluster.Peer{ID: p.ID, Address: p.Addr()})
	}
	return o
}

// metadataLog is the directory of __raft_metadata's files below the data directory.
const metadataLog = "__raft_metadata-0"

func (n *Node) storageOptions() storage.DirectoryOptions {
	c := n.cfg
	return storage.DirectoryOptions{
		FS:                 n.env.FS,
		Path:               n.dir.path,
		Clock:              n.env.Clock,
		Logger:             n.loggers.Logger("storage"),
		Registerer:         n.env.Registry,
		OnFlush:            n.replicas.OnFlush,
		OnFail:             n.logFailed,
		Clean:              n.dir.clean,
		BootID:             n.dir.bootID,
		RecoveryThreads:    int(c.RecoveryThreadsPerDir),
		RetentionInterval:  c.LogRetentionCheck,
		ProducerExpiration: c.ProducerIDExpiration,
		Cleaner:            cleanerOptions(c),
	}
}

func cleanerOptions(c *config.Config) storage.CleanerOptions {
	return storage.CleanerOptions{
		Disabled: !c.CleanerEnable, Backoff: max(c.CleanerBackoff, time.Millisecond), DedupeBytes: c.CleanerDedupeBytes, LoadFactor: c.CleanerLoadFactor,
		BufferBytes: int(c.CleanerBufferBytes), BytesPerSecond: c.CleanerBytesPerSecond,
	}
}

func (n *Node) replicaOptions() replica.Options {
	return replica.Options{
		NodeID:      n.cfg.NodeID,
		DirectoryID: n.dir.id,
		Resolve:     n.live.Topic,
		Created:     n.assignDirectories,
		Logger:      n.loggers.Logger("replica"),
		Registerer:  n.env.Registry,
	}
}

// assignDirectories reports partitions whose logs are durable in this node's
// directory: from then on a missing log is a lost one.
func (n *Node) assignDirectories(ctx context.Context, created []replica.Created) error {
	b := n.cluster.Image().Broker(n.cfg.NodeID)
	if b == nil {
		return errors.New("this broker is not registered")
	}
	cmd := &clusterv1.AssignDirectories{BrokerId: b.ID, BrokerEpoch: b.Epoch}
	for _, c := range created {
		cmd.Assignments = append(cmd.Assignments, &clusterv1.AssignDirectories_Assignment{
			TopicId: c.TopicID[:], Partition: c.Partition, DirectoryId: n.dir.id[:],
		})
	}
	answer, err := n.cluster.Submit(ctx, &clusterv1.Command{Kind: &clusterv1.Command_AssignDirectories{AssignDirectories: cmd}})
	if err != nil {
		return err
	}
	if answer.Code != 0 {
		return &metadata.Error{Code: int16(answer.Code), Message: answer.Message}
	}
	return nil
}

func (n *Node) groupOptions() broker.GroupsOptions {
	c := n.cfg
	return broker.GroupsOptions{
		NodeID:      c.NodeID,
		Replicas:    n.replicas,
		Clock:       n.env.Clock,
		Logger:      n.loggers.Logger("group"),
		Registerer:  n.env.Registry,
		MemberBytes: n.memory.Limit() / 2,
		Settings: broker.GroupSettings{
			MinSessionTimeout:      c.GroupMinSessionTimeout,
			MaxSessionTimeout:      c.GroupMaxSessionTimeout,
			InitialRebalanceDelay:  c.GroupInitialRebalanceDelay,
			MaxSize:                c.GroupMaxSize,
			MaxOffsetMetadata:      c.OffsetMetadataMaxBytes,
			OffsetsRetention:       c.OffsetsRetention,
			OffsetsRetentionCheck:  c.OffsetsRetentionCheck,
			CommitTimeout:          c.OffsetsCommitTimeout,
			TopicPartitions:        c.OffsetsTopicPartitions,
			TopicReplicationFactor: c.OffsetsTopicReplicationFactor,
			TopicSegmentBytes:      c.OffsetsTopicSegmentBytes,
		},
	}
}

func (n *Node) brokerOptions() broker.Options {
	c := n.cfg
	return broker.Options{
		NodeID:     c.NodeID,
		Controller: controller{n.cluster},
		Groups:     n.groups,
		Replicas:   n.replicas,
		Clock:      n.env.Clock,
		Logger:     n.loggers.Logger("broker"),
		Registerer: n.env.Registry,
		Memory:     n.memory,
		Dial:       n.env.Network.DialContext,
		Configs:    n.live,
		Loggers:    n.loggers,
		Settings: broker.Settings{
			AutoCreateTopics:         c.AutoCreateTopics,
			DeleteTopics:             c.DeleteTopic,
			NumPartitions:            c.NumPartitions,
			DefaultReplicationFactor: c.DefaultReplicationFactor,
			RequestMaxBytes:          int(c.SocketRequestMaxBytes),
			FetchMaxBytes:            int(c.FetchMaxBytes),
			DescribedPartitions:      int(c.MaxRequestPartitions),
			FetchSessions:            int(c.FetchSessionCacheSlots),
			KafkaSeries:              int(c.MetricsKafkaSeries),
		},
	}
}

func (n *Node) listenerOptions(ctx context.Context) (listener.Options, error) {
	o := listener.Options{
		Handler:     n.broker,
		Logger:      n.loggers.Logger("listener"),
		Registerer:  n.env.Registry,
		Memory:      n.memory,
		IdleTimeout: n.cfg.ConnectionsMaxIdle,
	}
	if o.IdleTimeout < 0 {
		o.IdleTimeout = math.MaxInt64
	}
	var err error
	o.Limits, err = connectionLimits(ctx, n.cfg)
	return o, err
}

// connectionLimits may ask for the addresses of hosts.
func connectionLimits(ctx context.Context, c *config.Config) (listener.Limits, error) {
	l := listener.Limits{
		Connections:  limit(c.MaxConnections),
		PerIP:        limit(c.MaxConnectionsPerIP),
		PerIPOf:      map[string]int{},
		CreationRate: limit(c.MaxConnectionCreationRate),
	}
	overrides, err := config.ParseOverrides(c.MaxConnectionsPerIPOverrides)
	if err != nil {
		return l, err
	}
	for _, of := range overrides {
		addresses := []string{of.Host}
		if ip, err := netip.ParseAddr(of.Host); err == nil {
			addresses[0] = ip.String()
		} else if addresses, err = net.DefaultResolver.LookupHost(ctx, of.Host); err != nil {
			return l, fmt.Errorf("max.connections.per.ip.overrides names a host without an address: %w", err)
		}
		for _, a := range addresses {
			l.PerIPOf[a] = limit(of.Connections)
		}
	}
	return l, nil
}

// clientMemory makes the account of what clients can make the node hold.
func clientMemory(bytes, limit int64) *memory.Account {
	if bytes < 0 {
		bytes = listener.DefaultMemory
	}
	if limit > 0 {
		bytes = min(bytes, limit/4)
	}
	return memory.New(max(bytes, leastMemory))
}

// leastMemory is what the account must have for a handful of clients to get on at all.
const leastMemory = 8 << 20

// limit turns Kafka's largest integer, which stands for no limit, into 0, and 0 into -1.
func limit(v int32) int {
	switch v {
	case math.MaxInt32:
		return 0
	case 0:
		return -1
	}
	return int(v)
}

func (n *Node) adminOptions(ctx context.Context) admin.Options {
	return admin.Options{
		Addr:     n.cfg.AdminAddr,
		Fallback: n.cfg.AdminFallback(),
		Listen: func(network, addr string) (net.Listener, error) {
			return n.env.Network.Listen(ctx, network, addr)
		},
		Live:     []admin.Check{{Name: "process", Run: func(context.Context) error { return nil }}},
		Ready:    n.readiness(),
		Health:   n.clusterHealth(),
		Status:   n.status,
		Gatherer: n.env.Registry,
		Logger:   n.loggers.Logger("admin"),
	}
}
