package clients

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/test/proctest"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kept is a record as a consumer is given it, with where it lies.
type kept struct {
	partition int32
	offset    int64
	key       string
	value     string
	tombstone bool // the value is null
}

// positionReader is a client that reads a topic from start to end with checksums checked.
type positionReader interface {
	readKept(ctx context.Context, topic string, got func(kept)) error
}

const compactedTopic = "profiles"

// TestCompactedTopic overwrites and deletes keys over several segments, has the cleaner run by
// settings made at run time, and reads what is left.
func TestCompactedTopic(t *testing.T) {
	cl := proctest.Run(t, proctest.Config{Nodes: 3})
	ctx := patient(t)
	createTopic(ctx, t, cl.Bootstrap(), compactedTopic, map[string]*string{"segment.bytes": kadm.StringPtr("1048576")})
	k, err := kgo.NewClient(kgo.SeedBrokers(cl.Bootstrap()...), kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	w := profiles{bootstrap: cl.Bootstrap(), k: k, adm: kadm.NewClient(k), random: rand.New(rand.NewPCG(1, 2)), last: map[string]string{}}
	for range 3 {
		w.round(ctx, t, 0)
	}
	for i := range profileKeys / 3 {
		w.write(ctx, t, i, true)
	}
	for range 2 { // tombstones, too, are cleaned only in segments that are full
		w.round(ctx, t, profileKeys/3)
	}
	full := w.size(ctx, t)
	w.compact(ctx, t)
	for w.size(ctx, t) > full/2 {
		if time.Sleep(20 * time.Millisecond); ctx.Err() != nil {
			t.Fatalf("the log had %d bytes and still has %d", full, w.size(ctx, t))
		}
	}
	// The first pass keeps tombstones and notes when it met them; one over a later, longer log removes them.
	for w.tombstones(ctx, t) > 0 {
		if ctx.Err() != nil {
			t.Fatalf("%d tombstones are still there", w.tombstones(ctx, t))
		}
		w.round(ctx, t, profileKeys/3)
	}

	for _, f := range families() {
		if f.name != "librdkafka" && !strings.HasPrefix(f.name, "java-") {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			c := f.new(t, cl.Bootstrap()).(positionReader)
			last, at, n := map[string]string{}, map[int32]int64{}, 0
			err := c.readKept(ctx, compactedTopic, func(r kept) {
				if before, ok := at[r.partition]; ok && r.offset <= before {
					t.Errorf("partition %d: offset %d after %d", r.partition, r.offset, before)
				}
				at[r.partition] = r.offset
				if r.tombstone {
					t.Errorf("a tombstone of %s is still there", r.key)
				}
				last[r.key] = r.value
				n++
			})
			if err != nil {
				t.Fatal(err)
			}
			for key, value := range w.last {
				if last[key] != value {
					t.Errorf("%s: %.20q, want %.20q", key, last[key], value)
				}
			}
			for key := range last {
				if _, ok := w.last[key]; !ok {
					t.Errorf("%s was deleted and is there", key)
				}
			}
			if n >= w.written {
				t.Errorf("%d records read of %d written: nothing is compacted", n, w.written)
			}
		})
	}
}

const profileKeys = 300

// profiles writes the topic and knows the last value of every key that was not deleted.
type profiles struct {
	bootstrap []string
	k         *kgo.Client
	adm       *kadm.Client
	random    *rand.Rand
	last      map[string]string
	written   int
}

// round writes a new value of 8 KiB for every key from the given one on: about a segment a partition.
func (w *profiles) round(ctx context.Context, t *testing.T, from int) {
	t.Helper()
	for i := from; i < profileKeys; i++ {
		w.write(ctx, t, i, false)
	}
	if err := w.k.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func (w *profiles) write(ctx context.Context, t *testing.T, i int, tombstone bool) {
	r := &kgo.Record{Topic: compactedTopic, Key: fmt.Appendf(nil, "user-%d", i)}
	delete(w.last, string(r.Key))
	if !tombstone {
		r.Value = fmt.Appendf(nil, "%d ", w.written)
		for len(r.Value) < 8<<10 {
			r.Value = append(r.Value, byte('a'+w.random.IntN(26)))
		}
		w.last[string(r.Key)] = string(r.Value)
	}
	w.written++
	w.k.Produce(ctx, r, func(_ *kgo.Record, err error) {
		if err != nil {
			t.Error(err)
		}
	})
}

// compact makes the topic a compacted one and the cleaner eager.
func (w *profiles) compact(ctx context.Context, t *testing.T) {
	t.Helper()
	set := func(name, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
	}
	refused := func(r *kadm.AlterConfigsResponse) error { return r.Err }
	brokers, err := w.adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{set("log.cleaner.backoff.ms", "50")})
	if err == nil {
		_, err = brokers.On("", refused)
	}
	if err != nil {
		t.Fatal(err)
	}
	topics, err := w.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{
		set("cleanup.policy", "compact"), set("min.cleanable.dirty.ratio", "0.01"), set("delete.retention.ms", "0"), set("file.delete.delay.ms", "0"),
	}, compactedTopic)
	if err == nil {
		_, err = topics.On(compactedTopic, refused)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// size is what the topic's logs have on disk, by DescribeLogDirs.
func (w *profiles) size(ctx context.Context, t *testing.T) int64 {
	t.Helper()
	all, err := w.adm.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, dirs := range all {
		for _, d := range dirs {
			for _, p := range d.Topics[compactedTopic] {
				size += p.Size
			}
		}
	}
	return size
}

// tombstones counts the records without a value.
func (w *profiles) tombstones(ctx context.Context, t *testing.T) int {
	t.Helper()
	ends, err := w.adm.ListEndOffsets(ctx, compactedTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	starts := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) { starts[o.Partition] = kgo.NewOffset().AtStart() })
	k, err := kgo.NewClient(kgo.SeedBrokers(w.bootstrap...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{compactedTopic: starts}))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	n := 0
	for len(starts) > 0 {
		fs := k.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if r.Value == nil {
				n++
			}
			if end, _ := ends.Lookup(r.Topic, r.Partition); r.Offset+1 >= end.Offset {
				delete(starts, r.Partition)
			}
		})
	}
	return n
}
