package broker

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/internal/clock"
	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/replica"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// GroupsOptions are what the group coordinator needs. All fields must be given.
type GroupsOptions struct {
	NodeID     int32
	Replicas   *replica.Manager
	Clock      clock.Clock
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	// MemberBytes is how much memory the members of all groups may hold.
	MemberBytes int64

	Settings GroupSettings
}

// GroupSettings are the values of properties that groups depend on; node copies them from the configuration.
type GroupSettings struct {
	MinSessionTimeout      time.Duration // group.min.session.timeout.ms
	MaxSessionTimeout      time.Duration // group.max.session.timeout.ms
	InitialRebalanceDelay  time.Duration // group.initial.rebalance.delay.ms
	MaxSize                int32         // group.max.size
	MaxOffsetMetadata      int32         // offset.metadata.max.bytes
	OffsetsRetention       time.Duration // offsets.retention.minutes
	OffsetsRetentionCheck  time.Duration // offsets.retention.check.interval.ms
	CommitTimeout          time.Duration // offsets.commit.timeout.ms
	TopicPartitions        int32         // offsets.topic.num.partitions
	TopicReplicationFactor int16         // offsets.topic.replication.factor
	TopicSegmentBytes      int32         // offsets.topic.segment.bytes
}

// maxGroupRecord is the largest record of a group, and the most that one commit may write.
const maxGroupRecord = 8 << 20

// What clients can make a broker hold for members, however many groups they make them of.
const (
	maxGroupMembers   = 10_000 // of one group, whatever group.max.size says
	maxPendingMembers = 10_000 // of all groups
)

// Groups is the group coordinator of this broker: it owns the shards of the
// partitions of __consumer_offsets that this broker leads, follows that leadership through the
// metadata image, and hands requests to the shard of their group. It implements
// metadata.Subscriber, and must be subscribed after the replica.Manager, which opens the logs that shards are loaded from.
type Groups struct {
	o       GroupsOptions
	runtime *shards.Runtime[*group.Machine]
	img     atomic.Pointer[metadata.Image]

	// topic is the id of the topic whose partitions the shards stand for. It belongs to the goroutine that calls OnImage.
	topic metadata.ID
}

// NewGroups makes a coordinator without shards.
func NewGroups(o GroupsOptions) *Groups {
	g := &Groups{o: o}
	g.img.Store(metadata.Empty())
	machine := group.Options{
		MinSessionTimeout: o.Settings.MinSessionTimeout, MaxSessionTimeout: o.Settings.MaxSessionTimeout,
		InitialRebalanceDelay: o.Settings.InitialRebalanceDelay, MaxSize: min(int(o.Settings.MaxSize), maxGroupMembers),
		MaxMetadata: int(o.Settings.MaxOffsetMetadata), Account: group.NewAccount(maxPendingMembers, o.MemberBytes, o.Registerer),
		// OnImage is called before anybody else gets the image, and an image that makes this broker a leader is newer than those of the
		// leaders before. So commits were checked against this image or an older one: a topic that is not in it was deleted.
		Deleted:   func(id [16]byte) bool { return g.img.Load().TopicByID(id) == nil },
		Retention: o.Settings.OffsetsRetention, RetentionCheck: o.Settings.OffsetsRetentionCheck,
		MaxRecordBytes: maxGroupRecord, NewID: newMemberID, Logger: o.Logger, Metrics: group.NewMetrics(o.Registerer),
	}
	g.runtime = shards.New(shards.Options[*group.Machine]{
		Topic: group.Topic, Machine: func(int32) *group.Machine { return group.New(machine) },
		Clock: o.Clock, Logger: o.Logger, Registerer: o.Registerer,
		MaxBatchBytes: maxGroupRecord, WriteTimeout: o.Settings.CommitTimeout,
	})
	return g
}

// newMemberID returns a random UUID, the part of a member id that the coordinator adds.
func newMemberID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Run serves the shards until ctx ends, and returns when every request has been answered.
func (g *Groups) Run(ctx context.Context) error { return g.runtime.Run(ctx) }

// OnImage loads the shards of partitions that this broker leads now and unloads
// the others; both go on in the background. Committed offsets of topics that were deleted are removed.
func (g *Groups) OnImage(img *metadata.Image, d *metadata.Delta) {
	g.img.Store(img)
	t := img.TopicByName(group.Topic)
	id := metadata.ID{}
	if t != nil {
		id = t.ID
	}
	if id != g.topic {
		for _, p := range g.runtime.Partitions() {
			g.runtime.Unload(p, math.MaxInt32)
		}
		g.topic = id
	}
	if t != nil {
		if touched := d.Topic(t.ID); touched != nil {
			for p := range touched.Partitions(t) {
				g.follow(t, p)
			}
		}
	}
	for _, td := range d.Topics() {
		if td.Whole && img.TopicByID(td.ID) == nil && td.Name != group.Topic {
			g.topicDeleted(td.Name, td.ID)
		}
	}
}

func (g *Groups) follow(t *metadata.Topic, p *metadata.Partition) {
	if p.Leader == g.o.NodeID {
		g.runtime.Load(p.Index, p.LeaderEpoch, &groupLog{g.o.Replicas, t.ID, p.Index, g.o.Clock})
		return
	}
	g.runtime.Unload(p.Index, p.LeaderEpoch)
}

func (g *Groups) topicDeleted(name string, id metadata.ID) {
	for _, p := range g.runtime.Partitions() {
		g.runtime.Submit(p, shards.Event[*group.Machine]{
			Run: func(m *group.Machine, now shards.Now) shards.Result { return m.TopicDeleted(now, name, id) },
			// Offsets that stay carry the id of the deleted topic and are not served for another of its name.
			Fail: func(error) {},
		})
	}
}

// submit hands an event to the shard of a group. One of run and fail is called.
func (g *Groups) submit(groupID string, run func(*group.Machine, shards.Now) shards.Result, fail func(error)) {
	t := g.image().TopicByName(group.Topic)
	if t == nil {
		fail(shards.ErrNotCoordinator)
		return
	}
	g.runtime.Submit(group.PartitionFor(groupID, int32(len(t.Partitions))), shards.Event[*group.Machine]{Run: run, Fail: fail})
}

// awaitLoaded waits until the shard of a group has read its log, if it is this broker's, or until ctx ends.
func (g *Groups) awaitLoaded(ctx context.Context, groupID string) {
	if t := g.image().TopicByName(group.Topic); t != nil {
		_ = g.runtime.Await(ctx, group.PartitionFor(groupID, int32(len(t.Partitions))))
	}
}

// image is the newest image that the shards follow. A broker without a coordinator has none.
func (g *Groups) image() *metadata.Image {
	if g == nil {
		return metadata.Empty()
	}
	return g.img.Load()
}

// newTopic is how __consumer_offsets is created when a group is first looked for.
// It never caches writes, whatever the broker's default: a commit that was acknowledged is a promise.
func (g *Groups) newTopic() *clusterv1.CreateTopics_Topic {
	return &clusterv1.CreateTopics_Topic{
		Name: group.Topic, NumPartitions: g.o.Settings.TopicPartitions,
		ReplicationFactor: int32(g.o.Settings.TopicReplicationFactor), Internal: true,
		Configs: []*clusterv1.ConfigEntry{
			{Name: "cleanup.policy", Value: "compact"},
			{Name: "compression.type", Value: "producer"},
			{Name: "segment.bytes", Value: fmt.Sprint(g.o.Settings.TopicSegmentBytes)},
			{Name: "write.caching", Value: "false"},
		},
	}
}
