package clients

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/test/proctest"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// record is what goes in and must come out.
type record struct{ key, value string }

// produceOptions of one run.
type produceOptions struct {
	codec      string // none, gzip, snappy, lz4, zstd
	acks       int    // 0, 1, -1
	idempotent bool
}

func (o produceOptions) String() string {
	return fmt.Sprintf("%s/acks=%d/idempotent=%v", o.codec, o.acks, o.idempotent)
}

// client is one family of Kafka clients.
type client interface {
	// createTopic makes a topic; a client without an admin API lets the broker create it on first use.
	createTopic(ctx context.Context, topic string, partitions int) error
	// produce sends recs in order and returns when all are acknowledged (acks=0: sent).
	produce(ctx context.Context, topic string, recs []record, o produceOptions) error
	// join starts a member of a consumer group that reads topic from the earliest
	// offset, gives every record to got, and commits what it gave.
	join(ctx context.Context, group, topic string, got func(record)) (member, error)
}

// member is a running member of a group.
type member interface {
	// leave commits what was given and leaves the group.
	leave() error
}

// family is a client and what it can do.
type family struct {
	name   string
	new    func(t *testing.T, bootstrap []string) client
	codecs []string
	idem   bool
}

func families() []family {
	all := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	return []family{
		{"franz-go", newFranz, all, true},
		{"sarama", newSarama, all, true},
		{"kafka-go", newKafkaGo, all, false}, // kafka-go has no idempotent producer
		{"kcat", newKcat, all, true},
		{"librdkafka", newRdkafka, all, true},
		{"java-4.3.1", newJava(javaKafka), all, true},
		{"java-4.4.0", newJava(javaClientNext), all, true},
	}
}

func TestClients(t *testing.T) {
	cl := proctest.Run(t, proctest.Config{Nodes: 3})
	for _, f := range families() {
		t.Run(f.name, func(t *testing.T) {
			c := f.new(t, cl.Bootstrap())
			t.Run("produce", func(t *testing.T) { testProduce(t, cl, f, c) })
			t.Run("group", func(t *testing.T) { testGroup(t, cl, f, c) })
		})
	}
}

// testProduce sends through every codec, acks and idempotence, and reads all back by content.
func testProduce(t *testing.T, cl *proctest.Cluster, f family, c client) {
	var options []produceOptions
	for _, codec := range f.codecs {
		for _, acks := range []int{0, 1, -1} {
			options = append(options, produceOptions{codec: codec, acks: acks})
		}
		if f.idem {
			options = append(options, produceOptions{codec: codec, acks: -1, idempotent: true})
		}
	}
	ctx := patient(t)
	topic := "produce-" + f.name
	if err := c.createTopic(ctx, topic, 3); err != nil {
		t.Fatalf("create topic: %v", err)
	}
	awaitLeaders(ctx, t, cl.Bootstrap(), topic)
	var want []string
	for _, o := range options {
		recs := records(o.String(), 50)
		if err := c.produce(ctx, topic, recs, o); err != nil {
			t.Fatalf("%v: %v", o, err)
		}
		for _, r := range recs {
			want = append(want, r.key+"="+r.value)
		}
	}
	got := readBack(ctx, t, cl, topic, len(want))
	sort.Strings(want)
	if d := difference(want, got); d != "" {
		t.Fatal(d)
	}
}

// awaitLeaders waits until the leader of every partition answers for it. With acks=0 nobody
// tells a client that the leader does not know a new topic yet: the records are gone.
func awaitLeaders(ctx context.Context, t *testing.T, bootstrap []string, topic string) {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for {
		ends, err := kadm.NewClient(k).ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("no leaders of %s: %v", topic, err)
		}
	}
}

// testGroup runs members that join and leave, kills every node in turn with
// SIGKILL and starts it again, and checks that every record was given at least
// once and that a committed record is never given to a later member.
func testGroup(t *testing.T, cl *proctest.Cluster, f family, c client) {
	ctx := patient(t)
	topic, group := "group-"+f.name, "g-"+f.name
	if err := c.createTopic(ctx, topic, 6); err != nil {
		t.Fatalf("create topic: %v", err)
	}
	var s seen
	produced := 0
	produce := func(n int) {
		t.Helper()
		recs := records(fmt.Sprintf("%s-%d", topic, produced), n)
		if err := c.produce(ctx, topic, recs, produceOptions{codec: "none", acks: -1}); err != nil {
			t.Fatalf("produce: %v", err)
		}
		produced += n
	}
	join := func() member {
		t.Helper()
		m, err := c.join(ctx, group, topic, s.add)
		if err != nil {
			t.Fatalf("join: %v", err)
		}
		return m
	}

	a := join()
	produce(100)
	s.wait(ctx, t, produced)
	b := join() // a second member: the partitions move
	produce(100)
	s.wait(ctx, t, produced)

	for _, n := range cl.Nodes {
		n.Kill9()
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		if err := n.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	produce(100)
	s.wait(ctx, t, produced)
	if err := a.leave(); err != nil {
		t.Fatalf("leave: %v", err)
	}
	produce(100)
	s.wait(ctx, t, produced)
	if err := b.leave(); err != nil {
		t.Fatalf("leave: %v", err)
	}
	checkCommitted(ctx, t, cl, group, topic, produced)

	// Everything is committed: a new member is given only what comes from here on.
	before := s.count()
	d := join()
	produce(20)
	s.wait(ctx, t, produced)
	if err := d.leave(); err != nil {
		t.Fatalf("leave: %v", err)
	}
	if extra := s.count() - before; extra != 20 {
		t.Errorf("a member that came after the commit was given %d records, want the 20 new ones", extra)
	}
}

// checkCommitted waits until the group's committed offsets sum up to n records.
func checkCommitted(ctx context.Context, t *testing.T, cl *proctest.Cluster, group, topic string, n int) {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(cl.Bootstrap()...))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	adm := kadm.NewClient(k)
	for {
		sum := int64(0)
		offsets, err := adm.FetchOffsets(ctx, group)
		if err == nil {
			offsets.Each(func(o kadm.OffsetResponse) {
				if o.Topic == topic && o.At > 0 {
					sum += o.At
				}
			})
			if sum == int64(n) {
				return
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("group %s has committed %d of %d records (%v)", group, sum, n, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// seen counts what members were given.
type seen struct {
	mu    sync.Mutex
	all   map[record]int
	total int
}

func (s *seen) add(r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[record]int{}
	}
	s.all[r]++
	s.total++
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

func (s *seen) distinct() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

func (s *seen) wait(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for s.distinct() < n {
		if ctx.Err() != nil {
			t.Fatalf("the group was given %d of %d records", s.distinct(), n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func records(name string, n int) []record {
	var recs []record
	for i := range n {
		recs = append(recs, record{fmt.Sprintf("key-%d", i), fmt.Sprintf("%s-%d-%s", name, i, strings.Repeat("x", i%40))})
	}
	return recs
}

// readBack reads a topic from the start with franz-go until n records are there, sorted as key=value.
func readBack(ctx context.Context, t *testing.T, cl *proctest.Cluster, topic string, n int) []string {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(cl.Bootstrap()...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var got []string
	for len(got) < n {
		fs := k.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("read back: %d of %d records: %v", len(got), n, err)
		}
		fs.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Key)+"="+string(r.Value)) })
	}
	sort.Strings(got)
	return got
}

func difference(want, got []string) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d records sent, %d read back", len(want), len(got))
	}
	for i := range want {
		if want[i] != got[i] {
			return fmt.Sprintf("sent %q, read back %q", want[i], got[i])
		}
	}
	return ""
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*proctest.Patience)
	t.Cleanup(cancel)
	return ctx
}

func requireOrSkip(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("TEST_CLIENTS_REQUIRED") == "1" {
		t.Fatalf("%s is not installed, and TEST_CLIENTS_REQUIRED=1", what)
	}
	t.Skipf("%s is not installed: this client is NOT tested", what)
}
