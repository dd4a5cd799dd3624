package controller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// randomCluster has four brokers and partitions of one to three replicas.
type randomCluster struct {
	t   *testing.T
	rnd *rand.Rand
	img *metadata.Image
}

func newRandomCluster(t *testing.T, seed uint64) *randomCluster {
	c := &randomCluster{t: t, rnd: rand.New(rand.NewPCG(seed, 7))}
	recs := []*metadatav1.Record{{Kind: &metadatav1.Record_ClusterFormed{ClusterFormed: &metadatav1.ClusterFormed{ClusterId: "c1", Generation: 1}}}}
	for b := range int32(4) {
		recs = append(recs, metadata.BrokerRecord(&metadata.Broker{
			ID: b + 1, Incarnation: c.id(), Directories: []metadata.ID{c.id(), c.id()}, Listeners: []metadata.Listener{{Host: "h", Port: 1}},
		}))
	}
	c.img, _ = metadata.Empty().Apply(1, recs)
	recs = nil
	for n := range 12 {
		id := c.id()
		recs = append(recs, metadata.TopicRecord(id, fmt.Sprint("t", n)))
		if n%4 == 0 {
			recs = append(recs, metadata.ConfigRecord(fmt.Sprint("t", n), map[string]string{"unclean.leader.election.enable": "true"}))
		}
		for i := range int32(3) {
			replicas := make([]int32, 0, 3)
			for _, b := range c.rnd.Perm(4)[:1+c.rnd.IntN(3)] {
				replicas = append(replicas, int32(b+1))
			}
			p := &metadata.Partition{Index: i, Leader: replicas[0], Replicas: replicas, ISR: slices.Clone(replicas), Directories: make([]metadata.ID, len(replicas))}
			for r, b := range replicas {
				if c.rnd.IntN(3) > 0 {
					p.Directories[r] = c.img.Broker(b).Directories[c.rnd.IntN(2)]
				}
			}
			recs = append(recs, metadata.PartitionRecord(id, p))
		}
	}
	c.img, _ = c.img.Apply(2, recs)
	return c
}

func (c *randomCluster) id() (id metadata.ID) {
	for i := range id {
		id[i] = byte(1 + c.rnd.IntN(255))
	}
	return id
}

func (c *randomCluster) command() *clusterv1.Command {
	b := c.img.Brokers()[c.rnd.IntN(4)]
	switch c.rnd.IntN(8) {
	case 0:
		return &clusterv1.Command{Kind: &clusterv1.Command_ShutdownBroker{ShutdownBroker: &clusterv1.ShutdownBroker{BrokerId: b.ID, BrokerEpoch: b.Epoch}}}
	case 1, 2:
		return &clusterv1.Command{Kind: &clusterv1.Command_FenceBroker{FenceBroker: &clusterv1.FenceBroker{BrokerId: b.ID, BrokerEpoch: b.Epoch}}}
	case 3, 4, 5:
		return &clusterv1.Command{Kind: &clusterv1.Command_UnfenceBroker{UnfenceBroker: &clusterv1.UnfenceBroker{BrokerId: b.ID, BrokerEpoch: b.Epoch}}}
	case 6:
		return &clusterv1.Command{Kind: &clusterv1.Command_RepairPartitions{RepairPartitions: &clusterv1.RepairPartitions{}}}
	}
	inc := c.id()
	req := &clusterv1.RegisterRequest{
		NodeId: b.ID, Incarnation: inc[:], ClusterId: "c1", Generation: 1, PreviousBrokerEpoch: -1,
		Listeners: []*clusterv1.Listener{{Host: "h", Port: 1}},
	}
	if c.rnd.IntN(2) == 0 {
		req.PreviousBrokerEpoch = b.Epoch
	}
	if c.rnd.IntN(4) == 0 {
		same := b.Incarnation
		req.Incarnation = same[:]
	}
	for _, dir := range b.Directories {
		if c.rnd.IntN(6) > 0 {
			req.Directories = append(req.Directories, dir[:])
		}
	}
	if dir := c.id(); len(req.Directories) < 2 {
		req.Directories = append(req.Directories, dir[:])
	}
	return &clusterv1.Command{Kind: &clusterv1.Command_RegisterBroker{RegisterBroker: &clusterv1.RegisterBroker{Request: req}}}
}

// carryOut decides cmd, with entries of the given size, until there is no more.
func (c *randomCluster) carryOut(cmd *clusterv1.Command, entryBytes int) *metadata.Image {
	img := c.img
	for entries := 0; ; entries++ {
		recs, answer := Decide(img, cmd, Env{Limits: Limits{EntryBytes: entryBytes}})
		if n := metadata.RecordsSize(recs); n > entryBytes {
			c.t.Fatalf("an entry of %d bytes, the limit is %d: %v", n, entryBytes, cmd)
		}
		img, _ = img.Apply(c.img.Index()+1, recs)
		if !answer.GetMore() {
			return img
		}
		if entries > 1000 || len(recs) == 0 {
			c.t.Fatalf("no end of %v", cmd)
		}
	}
}

// Whatever happens to brokers: a leader serves, a partition without one could not
// have one, nobody joins an ISR by an election that is not unclean, a lost replica
// is in none, and a decision in many entries ends where one in a single entry does.
func TestRandomFailures(t *testing.T) {
	seeds, steps := 30, 80
	if testing.Short() {
		seeds, steps = 3, 40
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			c := newRandomCluster(t, seed)
			for range steps {
				cmd := c.command()
				next := c.carryOut(cmd, 1<<20)
				if parts := c.carryOut(cmd, 180); describe(parts) != describe(next) {
					t.Fatalf("%v: in parts:\n%s\nat once:\n%s", cmd, describe(parts), describe(next))
				}
				checkPartitions(t, cmd, c.img, next)
				c.img = next
			}
		})
	}
}

func checkPartitions(t *testing.T, cmd *clusterv1.Command, before, after *metadata.Image) {
	t.Helper()
	for topic := range after.Topics() {
		for _, p := range topic.Partitions {
			old := before.Partition(topic.ID, p.Index)
			fail := func(what string) {
				t.Helper()
				t.Fatalf("%v: %s-%d: %s\nbefore %+v\nafter  %+v\n%s", cmd, topic.Name, p.Index, what, old, p, describe(after))
			}
			may := func(b int32) bool {
				dir, _ := p.Directory(b)
				return after.Broker(b).Active() && after.Broker(b).Online(dir)
			}
			if p.Leader == metadata.NoLeader {
				if slices.ContainsFunc(p.ISR, may) || len(p.ISR) == 0 && len(p.LastKnownELR) == 1 && may(p.LastKnownELR[0]) {
					fail("nobody leads, and somebody could")
				}
			} else if b := after.Broker(p.Leader); b.Fenced || b.InControlledShutdown && slices.ContainsFunc(p.ISR, may) {
				fail("a broker leads that should not")
			}
			if p.Leader != old.Leader && p.LeaderEpoch <= old.LeaderEpoch || p.LeaderEpoch < old.LeaderEpoch {
				fail("leader epoch")
			}
			for _, b := range p.ISR {
				if dir, _ := p.Directory(b); !after.Broker(b).Online(dir) {
					fail("a lost replica is in sync")
				}
				if !slices.Contains(old.ISR, b) && !(p.Recovering && len(p.ISR) == 1 && (topic.Configs != nil || slices.Equal(old.LastKnownELR, p.ISR))) {
					fail("a replica has joined the ISR")
				}
			}
			if len(p.ISR) == 0 && len(p.LastKnownELR) != 1 {
				fail("nobody is remembered")
			}
		}
	}
}

// FuzzDecide gives commands of any shape to an image with some of everything.
func FuzzDecide(f *testing.F) {
	s := newScript(nil)
	var recs []*metadatav1.Record
	draft := metadata.NewDraft(metadata.Empty())
	for _, line := range []string{
		"form c1", "register 1 dirs=d1", "register 2 dirs=d2 inc=i2", "unfence 1 epoch=9", "create name=a req=1/i1/1", "fence 1 epoch=9",
		"delete name=a", "partitions name=a count=9", "ids 1 epoch=9 req=1/i1/3", "assign 1 epoch=9 T1/0=d1", "repair", "shutdown 2 epoch=9",
		"activate 1", "create name=b assign=1/2 config=retention.ms:5",
	} {
		cmd := s.command(draft.Image(), newWords(line))
		data, _ := proto.Marshal(cmd)
		f.Add(data)
		r, _ := Decide(draft.Image(), cmd, s.env)
		draft.Apply(r)
		recs = append(recs, r...)
	}
	// A request id with a field of a newer version, which must not reach the log.
	f.Add([]byte("\n\x1600\x12\x10000000000000000000j\x04\b\x01\x10\t"))
	img, _ := metadata.Empty().Apply(9, recs)
	yes := false
	img, _ = img.Apply(10, []*metadatav1.Record{{Kind: &metadatav1.Record_BrokerChange{BrokerChange: &metadatav1.BrokerChange{Id: 1, Fenced: &yes}}}})
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd := &clusterv1.Command{}
		if proto.Unmarshal(data, cmd) != nil {
			return
		}
		s := newScript(t)
		s.draws = 50
		s.env.Limits = Limits{EntryBytes: 4000, Partitions: 40}
		recs, answer := Decide(img, cmd, s.env)
		if _, err := metadata.Encode(&metadatav1.Envelope{Records: recs}); err != nil {
			t.Fatalf("%v: records that no entry can hold: %v", cmd, err)
		}
		if _, err := proto.Marshal(answer); err != nil {
			t.Fatalf("%v: an answer that cannot be sent: %v", cmd, err)
		}
		if answer.GetCode() != 0 && len(recs) > 0 {
			t.Fatalf("%v: refused, with %d records", cmd, len(recs))
		}
		img.Apply(11, recs)
	})
}
