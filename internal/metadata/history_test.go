package metadata_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/controller"
	"github.com/chronik-stream/chronik/internal/metadata"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// entry is one entry of a history.
type entry struct {
	index uint64
	env   *metadatav1.Envelope
}

// history makes entries as a controller would: random commands decided one after
// another, a few to an entry.
type history struct {
	rnd      *rand.Rand
	img      *metadata.Image
	entries  []entry
	images   []*metadata.Image
	deltas   []*metadata.Delta
	sequence uint64
	names    int
}

// newHistory makes n entries from a seed.
func newHistory(tb testing.TB, seed uint64, n int) *history {
	tb.Helper()
	h := &history{rnd: rand.New(rand.NewPCG(seed, 1)), img: metadata.Empty()}
	h.commit(tb, h.decide(nil, &clusterv1.Command{Kind: &clusterv1.Command_FormCluster{FormCluster: &clusterv1.FormCluster{
		ClusterId: "cluster", Generation: 1,
		Founders: []*clusterv1.Founder{{NodeId: 1, DirectoryId: h.id()}, {NodeId: 2, DirectoryId: h.id()}},
	}}}))
	for len(h.entries) < n {
		draft := metadata.NewDraft(h.img)
		var recs []*metadatav1.Record
		for range 1 + h.rnd.IntN(4) {
			recs = append(recs, h.decide(draft, h.command(draft.Image()))...)
		}
		if len(recs) > 0 {
			h.commit(tb, recs)
		}
	}
	return h
}

func (h *history) decide(draft *metadata.Draft, cmd *clusterv1.Command) []*metadatav1.Record {
	img := h.img
	if draft != nil {
		img = draft.Image()
	}
	recs, _ := controller.Decide(img, cmd, controller.Env{
		NewID:      func() metadata.ID { return metadata.ID(h.id()) },
		Intn:       h.rnd.IntN,
		Partitions: 3,
	})
	if draft != nil {
		draft.Apply(recs)
	}
	return recs
}

func (h *history) commit(tb testing.TB, recs []*metadatav1.Record) {
	tb.Helper()
	e := &metadatav1.Envelope{Term: 1, NowMs: int64(1000 + h.rnd.IntN(1000)), Records: recs}
	data, err := metadata.Encode(e)
	if err != nil {
		tb.Fatal(err)
	}
	if e, err = metadata.Decode(data); err != nil {
		tb.Fatal(err)
	}
	index := h.img.Index() + 1 + uint64(h.rnd.IntN(3))
	img, delta := h.img.ApplyEntry(index, e)
	h.img = img
	h.entries = append(h.entries, entry{index, e})
	h.images = append(h.images, img)
	h.deltas = append(h.deltas, delta)
}

func (h *history) id() []byte {
	id := make([]byte, 16)
	for i := range id {
		id[i] = byte(h.rnd.Uint32())
	}
	return id
}

func (h *history) broker(img *metadata.Image) (id int32, epoch int64) {
	if brokers := img.Brokers(); len(brokers) > 0 {
		b := brokers[h.rnd.IntN(len(brokers))]
		return b.ID, b.Epoch
	}
	return 1, 0
}

func (h *history) topic(img *metadata.Image) *metadata.Topic {
	topics := slices.Collect(img.Topics())
	if len(topics) == 0 {
		return &metadata.Topic{Name: "none"}
	}
	return topics[h.rnd.IntN(len(topics))]
}

func (h *history) command(img *metadata.Image) *clusterv1.Command {
	c := &clusterv1.Command{}
	id, epoch := h.broker(img)
	h.sequence += 1 + uint64(h.rnd.IntN(40))
	if b := img.Broker(id); b != nil && h.rnd.IntN(4) > 0 {
		incarnation := b.Incarnation
		c.RequestId = &clusterv1.RequestId{Node: id, Incarnation: incarnation[:], Sequence: h.sequence}
	}
	switch h.rnd.IntN(13) {
	case 0:
		c.Kind = &clusterv1.Command_RegisterBroker{RegisterBroker: h.registration(img)}
	case 1:
		c.Kind = &clusterv1.Command_FenceBroker{FenceBroker: &clusterv1.FenceBroker{BrokerId: id, BrokerEpoch: epoch}}
	case 2, 3, 4:
		c.Kind = &clusterv1.Command_UnfenceBroker{UnfenceBroker: &clusterv1.UnfenceBroker{BrokerId: id, BrokerEpoch: epoch}}
	case 5:
		c.Kind = &clusterv1.Command_ShutdownBroker{ShutdownBroker: &clusterv1.ShutdownBroker{BrokerId: id, BrokerEpoch: epoch}}
	case 6, 7, 8:
		h.names++
		t := &clusterv1.CreateTopics_Topic{Name: fmt.Sprintf("topic-%d", h.names), NumPartitions: int32(1 + h.rnd.IntN(5)), ReplicationFactor: -1}
		if h.rnd.IntN(2) == 0 {
			t.Configs = []*clusterv1.ConfigEntry{{Name: "retention.ms", Value: "1000"}, {Name: "segment.bytes", Value: "1048576"}}
		}
		c.Kind = &clusterv1.Command_CreateTopics{CreateTopics: &clusterv1.CreateTopics{Topics: []*clusterv1.CreateTopics_Topic{t}}}
	case 9:
		t := h.topic(img)
		c.Kind = &clusterv1.Command_DeleteTopics{DeleteTopics: &clusterv1.DeleteTopics{Topics: []*clusterv1.DeleteTopics_Topic{{Name: t.Name}}}}
	case 10:
		t := h.topic(img)
		c.Kind = &clusterv1.Command_CreatePartitions{CreatePartitions: &clusterv1.CreatePartitions{
			Topics: []*clusterv1.CreatePartitions_Topic{{Name: t.Name, Count: int32(len(t.Partitions) + h.rnd.IntN(3))}},
		}}
	case 11:
		if h.rnd.IntN(2) == 0 {
			c.Kind = &clusterv1.Command_AllocateProducerIds{AllocateProducerIds: &clusterv1.AllocateProducerIds{BrokerId: id, BrokerEpoch: epoch}}
		} else {
			c.Kind = &clusterv1.Command_AssignDirectories{AssignDirectories: h.assignments(img, id, epoch)}
		}
	case 12:
		c.Kind = &clusterv1.Command_AlterConfigs{AlterConfigs: h.alteration(img)}
	}
	return c
}

// alteration sets or takes away a setting of a topic, a broker, the default of brokers, or a group.
func (h *history) alteration(img *metadata.Image) *clusterv1.AlterConfigs {
	id, _ := h.broker(img)
	r := []*clusterv1.AlterConfigs_Resource{
		{Type: int32(metadata.ResourceTopic), Name: h.topic(img).Name, Changes: []*clusterv1.AlterConfigs_Change{{Name: "retention.ms"}}},
		{Type: int32(metadata.ResourceBroker), Name: fmt.Sprint(id), Changes: []*clusterv1.AlterConfigs_Change{{Name: "log.retention.ms"}}},
		{Type: int32(metadata.ResourceBroker), Changes: []*clusterv1.AlterConfigs_Change{{Name: "message.max.bytes"}}},
		{Type: int32(metadata.ResourceGroup), Name: "g", Changes: []*clusterv1.AlterConfigs_Change{{Name: "consumer.assignment.interval.ms"}}},
	}[h.rnd.IntN(4)]
	if r.Changes[0].Op = clusterv1.ConfigOp_CONFIG_OP_DELETE; h.rnd.IntN(3) > 0 {
		r.Changes[0].Op, r.Changes[0].Value = clusterv1.ConfigOp_CONFIG_OP_SET, fmt.Sprint(1+h.rnd.IntN(9))
	}
	return &clusterv1.AlterConfigs{Resources: []*clusterv1.AlterConfigs_Resource{r}}
}

// registration is of an old or a new process, on old or new directories.
func (h *history) registration(img *metadata.Image) *clusterv1.RegisterBroker {
	r := &clusterv1.RegisterRequest{
		NodeId: int32(1 + h.rnd.IntN(5)), Incarnation: h.id(), ClusterId: "cluster", Generation: 1,
		PreviousBrokerEpoch: -1, RaftAddress: "h:5001", Rack: "r1", BootId: fmt.Sprint(h.rnd.IntN(3)),
		Listeners: []*clusterv1.Listener{{Name: "PLAINTEXT", Host: "h", Port: int32(9000 + h.rnd.IntN(100))}},
		Features:  []*clusterv1.FeatureRange{{Name: "metadata.version", Min: 1, Max: 2}},
	}
	old := img.Broker(r.NodeId)
	if old != nil && h.rnd.IntN(4) > 0 {
		for _, d := range old.Directories {
			r.Directories = append(r.Directories, d[:])
		}
		r.PreviousBrokerEpoch = old.Epoch
	} else {
		for range 1 + h.rnd.IntN(6) {
			r.Directories = append(r.Directories, h.id())
		}
	}
	if old != nil && h.rnd.IntN(4) == 0 {
		incarnation := old.Incarnation
		r.Incarnation = incarnation[:]
	}
	return &clusterv1.RegisterBroker{Request: r}
}

func (h *history) assignments(img *metadata.Image, id int32, epoch int64) *clusterv1.AssignDirectories {
	c := &clusterv1.AssignDirectories{BrokerId: id, BrokerEpoch: epoch}
	b := img.Broker(id)
	if b == nil {
		return c
	}
	for t, p := range img.BrokerPartitions(id, metadata.RoleReplica) {
		if h.rnd.IntN(2) == 0 {
			topic, dir := t.ID, b.Directories[h.rnd.IntN(len(b.Directories))]
			c.Assignments = append(c.Assignments, &clusterv1.AssignDirectories_Assignment{TopicId: topic[:], Partition: p.Index, DirectoryId: dir[:]})
		}
	}
	return c
}

// flat is the history as a list of records that do not depend on the entry they
// stand in: epochs and indexes are written out, as in a snapshot.
func (h *history) flat() []*metadatav1.Record {
	var all []*metadatav1.Record
	for _, e := range h.entries {
		for _, r := range e.env.GetRecords() {
			switch k := r.GetKind().(type) {
			case *metadatav1.Record_Broker:
				if k.Broker.GetEpoch() == 0 {
					k.Broker.Epoch = int64(e.index)
				}
			case *metadatav1.Record_CommandResult:
				k.CommandResult.Index = e.index
			}
			all = append(all, r)
		}
	}
	return all
}

// facts shows all of an image by key, so that two images can be compared key by
// key without the code that compares them in the product.
func facts(img *metadata.Image) map[string]string {
	m := map[string]string{}
	put := func(key, format string, args ...any) { m[key] = fmt.Sprintf(format, args...) }
	node, term := img.Controller()
	put("cluster", "%s %v %d", img.ClusterID(), img.Founders(), img.Generation())
	put("controller", "%d %d", node, term)
	put("producer-ids", "%d", img.NextProducerID())
	put("counts", "%d %d", img.TopicCount(), img.PartitionCount())
	for _, b := range img.Brokers() {
		put(fmt.Sprintf("broker %d", b.ID), "%x %d %x %s %v %s %s %v %t %t", b.Incarnation, b.Epoch, b.Directories, b.BootID, b.Listeners,
			b.RaftAddr, b.Rack, b.Features, b.Fenced, b.InControlledShutdown)
	}
	for _, r := range img.Resources() {
		put(fmt.Sprintf("resource %d %s", r.Type, r.Name), "%v", r.Configs)
	}
	for t := range img.Topics() {
		put(fmt.Sprintf("topic %x", t.ID), "%s", t.Name)
		put(fmt.Sprintf("config %x", t.ID), "%v", t.Configs)
		for _, p := range t.Partitions {
			put(fmt.Sprintf("partition %x %d", t.ID, p.Index), "%d %d %d %d %v %x %v %v %t", p.Index, p.Leader, p.LeaderEpoch, p.PartitionEpoch,
				p.Replicas, p.Directories, p.ISR, p.LastKnownELR, p.Recovering)
		}
	}
	return m
}

func text(img *metadata.Image) string {
	var lines []string
	for k, v := range facts(img) {
		lines = append(lines, k+": "+v)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func snapshotOf(tb testing.TB, img *metadata.Image) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := metadata.WriteSnapshot(&b, img); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// same fails unless a and b are equal in every way there is to look.
func same(tb testing.TB, what string, a, b *metadata.Image) {
	tb.Helper()
	if x, y := text(a), text(b); x != y {
		tb.Fatalf("%s: images differ:\n%s", what, firstDifference(x, y))
	}
	if a.Digest() != b.Digest() {
		tb.Fatalf("%s: digests differ: %016x %016x", what, a.Digest(), b.Digest())
	}
	if !bytes.Equal(snapshotOf(tb, a), snapshotOf(tb, b)) {
		tb.Fatalf("%s: snapshots of equal images differ", what)
	}
	checkIndex(tb, what, a)
	checkIndex(tb, what, b)
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] + "\n" + y[i]
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

// part is a role of a broker in a partition.
type part struct {
	broker    int32
	role      metadata.Role
	topic     string
	partition int32
}

// checkIndex holds the look-ups of an image against a walk through its topics.
func checkIndex(tb testing.TB, what string, img *metadata.Image) {
	tb.Helper()
	want := map[part]int{}
	topics, partitions := 0, 0
	for t := range img.Topics() {
		topics++
		if img.TopicByName(t.Name) != t || img.TopicByID(t.ID) != t {
			tb.Fatalf("%s: topic %s is not found", what, t.Name)
		}
		for i, p := range t.Partitions {
			partitions++
			if int(p.Index) != i || len(p.Directories) != len(p.Replicas) {
				tb.Fatalf("%s: partition %d of %s stands at %d: %+v", what, p.Index, t.Name, i, p)
			}
			for _, b := range p.Replicas {
				want[part{b, metadata.RoleReplica, t.Name, p.Index}]++
			}
			for _, b := range p.ISR {
				want[part{b, metadata.RoleISR, t.Name, p.Index}]++
			}
			if p.Leader != metadata.NoLeader {
				want[part{p.Leader, metadata.RoleLeader, t.Name, p.Index}]++
			}
		}
	}
	if topics != img.TopicCount() || partitions != img.PartitionCount() {
		tb.Fatalf("%s: %d topics and %d partitions, counted %d and %d", what, topics, partitions, img.TopicCount(), img.PartitionCount())
	}
	for broker := int32(0); broker < 8; broker++ {
		for _, role := range []metadata.Role{metadata.RoleReplica, metadata.RoleISR, metadata.RoleLeader} {
			n := 0
			for t, p := range img.BrokerPartitions(broker, role) {
				n++
				key := part{broker, role, t.Name, p.Index}
				if want[key] != 1 {
					tb.Fatalf("%s: the index has %+v, which is not so", what, key)
				}
				delete(want, key)
			}
			if n != img.BrokerPartitionCount(broker, role) {
				tb.Fatalf("%s: %d partitions of broker %d in role %d, counted %d", what, n, broker, role, img.BrokerPartitionCount(broker, role))
			}
		}
	}
	if len(want) > 0 {
		tb.Fatalf("%s: the index lacks %v", what, want)
	}
}
