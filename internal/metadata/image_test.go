package metadata_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// entries is the length of a history: n, or less of it in a short run.
func entries(n int) int {
	if testing.Short() {
		return n / 4
	}
	return n
}

// seeds runs f for a number of histories; the seed stands in the name of the test.
func seeds(t *testing.T, f func(t *testing.T, seed uint64)) {
	n := uint64(6)
	if testing.Short() {
		n = 1
	}
	for seed := range n {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { f(t, seed) })
	}
}

// A list of records ends in the same state however it is cut into entries, and
// every prefix of it does.
func TestSplits(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		h := newHistory(t, seed, entries(40))
		recs := h.flat()
		rnd := rand.New(rand.NewPCG(seed, 2))
		one := metadata.Empty()
		for n, r := range recs {
			one, _ = one.Apply(1000, []*metadatav1.Record{r})
			if n%7 != 0 && n != len(recs)-1 {
				continue // whole comparisons are dear
			}
			all, _ := metadata.Empty().Apply(1000, recs[:n+1])
			same(t, fmt.Sprintf("%d records at once", n+1), one, all)
			cut, pieces := metadata.Empty(), 0
			for at := 0; at <= n; pieces++ {
				to := min(n+1, at+1+rnd.IntN(20))
				cut, _ = cut.Apply(1000, recs[at:to])
				at = to
			}
			same(t, fmt.Sprintf("%d records in %d pieces", n+1, pieces), one, cut)
		}
	})
}

// Live, replayed from the log, and restored from a snapshot with the log's rest:
// one state, one digest at each index.
func TestReplay(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		h := newHistory(t, seed, entries(60))
		replayed := metadata.Empty()
		restored := metadata.Empty()
		rnd := rand.New(rand.NewPCG(seed, 3))
		for n, e := range h.entries {
			replayed, _ = replayed.ApplyEntry(e.index, e.env)
			restored, _ = restored.ApplyEntry(e.index, e.env)
			if replayed.Digest() != h.images[n].Digest() || restored.Digest() != h.images[n].Digest() {
				t.Fatalf("digests at index %d differ: live %016x, replayed %016x, restored %016x", e.index, h.images[n].Digest(), replayed.Digest(), restored.Digest())
			}
			if rnd.IntN(4) == 0 {
				before := snapshotOf(t, restored)
				img, err := metadata.ReadSnapshot(bytes.NewReader(before))
				if err != nil {
					t.Fatal(err)
				}
				same(t, fmt.Sprintf("a snapshot of index %d", e.index), restored, img)
				if img.Index() != e.index || img.NowMillis() != restored.NowMillis() {
					t.Fatalf("a snapshot of index %d at %d gives %d at %d", e.index, restored.NowMillis(), img.Index(), img.NowMillis())
				}
				restored = img
			}
		}
	})
}

// An image never changes, whatever is applied to it, and whatever a draft of it does.
func TestImagesDoNotChange(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		h := newHistory(t, seed, entries(40))
		var before [][]byte
		for _, img := range h.images {
			before = append(before, snapshotOf(t, img))
		}
		for n := range h.images {
			draft := metadata.NewDraft(h.images[n])
			for _, e := range h.entries[n+1:] {
				draft.Apply(e.env.GetRecords())
			}
			if n%5 == 0 {
				checkIndex(t, "draft", draft.Image())
			}
		}
		for n, img := range h.images {
			if !bytes.Equal(before[n], snapshotOf(t, img)) {
				t.Fatalf("image %d of %d has changed", n, len(h.images))
			}
			checkIndex(t, "image", img)
		}
	})
}

// A merged delta has every key that differs, and so has a diff, which has no other.
func TestDelta(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		h := newHistory(t, seed, entries(60))
		rnd := rand.New(rand.NewPCG(seed, 4))
		for range 30 {
			from := rnd.IntN(len(h.images))
			to := from + rnd.IntN(len(h.images)-from)
			merged := &metadata.Delta{}
			for _, d := range h.deltas[from+1 : to+1] {
				merged.Merge(d)
			}
			a, b := h.images[from], h.images[to]
			diff := metadata.Diff(a, b)
			differ := differingKeys(a, b)
			inMerged, inDiff := keysOf(merged, a, b), keysOf(diff, a, b)
			for key := range differ {
				if !inMerged[key] {
					t.Fatalf("entries %d to %d: the merged delta lacks %s", from, to, key)
				}
				if !inDiff[key] {
					t.Fatalf("entries %d to %d: the diff lacks %s", from, to, key)
				}
			}
			for key := range inDiff {
				if !differ[key] {
					t.Fatalf("entries %d to %d: the diff has %s, which is equal", from, to, key)
				}
			}
			// A restored image shares nothing with a: its diff is the same.
			img, err := metadata.ReadSnapshot(bytes.NewReader(snapshotOf(t, b)))
			if err != nil {
				t.Fatal(err)
			}
			if got := keysOf(metadata.Diff(a, img), a, img); fmt.Sprint(got) != fmt.Sprint(inDiff) {
				t.Fatalf("entries %d to %d: the diff to a restored image is %v instead of %v", from, to, got, inDiff)
			}
			if !metadata.Diff(b, img).Empty() {
				t.Fatalf("entries %d to %d: an image differs from its own snapshot", from, to)
			}
		}
	})
}

func differingKeys(a, b *metadata.Image) map[string]bool {
	x, y := facts(a), facts(b)
	keys := map[string]bool{}
	for k, v := range x {
		if y[k] != v {
			keys[k] = true
		}
	}
	for k := range y {
		if _, ok := x[k]; !ok {
			keys[k] = true
		}
	}
	delete(keys, "counts")
	return keys
}

// keysOf spells a delta from a to b in the keys of facts.
func keysOf(d *metadata.Delta, a, b *metadata.Image) map[string]bool {
	keys := map[string]bool{}
	if d.Cluster {
		keys["cluster"] = true
	}
	if d.Controller {
		keys["controller"] = true
	}
	if d.ProducerIDs {
		keys["producer-ids"] = true
	}
	for _, id := range d.Brokers() {
		if d.HasBroker(id) {
			keys[fmt.Sprintf("broker %d", id)] = true
		}
	}
	for _, r := range d.Resources() {
		if d.HasResource(r.Type, r.Name) {
			keys[fmt.Sprintf("resource %d %s", r.Type, r.Name)] = true
		}
	}
	for _, t := range d.Topics() {
		if d.Topic(t.ID) != t {
			panic("a delta does not find its own topic")
		}
		if t.Configs || t.Whole {
			keys[fmt.Sprintf("config %x", t.ID)] = true
		}
		if t.Whole {
			keys[fmt.Sprintf("topic %x", t.ID)] = true
		}
		for _, img := range []*metadata.Image{a, b} {
			for p := range t.Partitions(img.TopicByID(t.ID)) {
				keys[fmt.Sprintf("partition %x %d", t.ID, p.Index)] = true
			}
		}
		// A topic of neither image came and went between them.
		if a.TopicByID(t.ID) == nil && b.TopicByID(t.ID) == nil {
			delete(keys, fmt.Sprintf("config %x", t.ID))
			delete(keys, fmt.Sprintf("topic %x", t.ID))
		}
	}
	return keys
}

// One record that is different on one node is seen at once, and where it is.
func TestDigestSeesOneFlippedRecord(t *testing.T) {
	h := newHistory(t, 1, 40)
	for n, e := range h.entries {
		for i, r := range e.env.GetRecords() {
			c := r.GetPartition()
			if c == nil {
				continue
			}
			c.Recovery = metadatav1.Recovery_RECOVERY_RECOVERING
			img, _ := h.images[n-1].ApplyEntry(e.index, e.env)
			c.Recovery = metadatav1.Recovery_RECOVERY_NONE
			topic := metadata.ID(c.GetTopicId())
			if img.TopicByID(topic) == nil {
				continue // it is deleted in the same entry
			}
			differ := 0
			a, b := img.ShardDigests(), h.images[n].ShardDigests()
			for s := range a {
				if a[s] != b[s] {
					differ++
				}
			}
			if img.Digest() == h.images[n].Digest() || differ != 1 {
				t.Fatalf("entry %d record %d: a flipped record changes %d shards, digests %016x %016x", n, i, differ, img.Digest(), h.images[n].Digest())
			}
		}
	}
}

func TestRing(t *testing.T) {
	incarnation := metadata.ID{1}
	img := metadata.Empty()
	put := func(incarnation metadata.ID, sequence, index uint64) {
		r := metadata.ResultRecord(7, incarnation, sequence, int32(sequence))
		img, _ = img.Apply(index, []*metadatav1.Record{r})
	}
	for s := uint64(1); s <= 300; s++ {
		put(incarnation, s, s+1000)
	}
	for s := uint64(1); s <= 301; s++ {
		r, overwritten := img.Result(7, incarnation, s)
		switch {
		case s <= 44 && (r != nil || !overwritten):
			t.Fatalf("answer %d, which 256 later ones have followed: %v %t", s, r, overwritten)
		case s > 44 && s <= 300 && (r == nil || r.Sequence != s || r.Index != s+1000 || r.Answer.GetCode() != int32(s)):
			t.Fatalf("answer %d is %+v", s, r)
		case s == 301 && (r != nil || overwritten):
			t.Fatalf("answer %d was never given: %v %t", s, r, overwritten)
		}
	}
	if r, overwritten := img.Result(7, metadata.ID{2}, 300); r != nil || overwritten {
		t.Fatal("another incarnation has another ring")
	}
	before := img.Digest()
	put(metadata.ID{2}, 300, 2000)
	if r, _ := img.Result(7, incarnation, 299); r != nil {
		t.Fatal("a new incarnation leaves the old one's answers")
	}
	if r, _ := img.Result(7, metadata.ID{2}, 300); r == nil || before == img.Digest() {
		t.Fatal("the new incarnation's answer is not kept")
	}
	restored, err := metadata.ReadSnapshot(bytes.NewReader(snapshotOf(t, img)))
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := restored.Result(7, metadata.ID{2}, 300); r == nil || r.Index != 2000 {
		t.Fatal("a snapshot loses an answer")
	}
}

// A record that names what is not there changes nothing but the index.
func TestStrayRecordsChangeNothing(t *testing.T) {
	h := newHistory(t, 3, 30)
	value := "1"
	yes := true
	id := make([]byte, 16)
	recs := []*metadatav1.Record{
		{Kind: &metadatav1.Record_BrokerChange{BrokerChange: &metadatav1.BrokerChange{Id: 99, Fenced: &yes}}},
		{Kind: &metadatav1.Record_TopicRemoved{TopicRemoved: &metadatav1.TopicRemoved{Id: id}}},
		{Kind: &metadatav1.Record_Partition{Partition: &metadatav1.Partition{TopicId: id}}},
		{Kind: &metadatav1.Record_PartitionChange{PartitionChange: &metadatav1.PartitionChange{TopicId: id}}},
		{Kind: &metadatav1.Record_Config{Config: &metadatav1.Config{
			Type: metadatav1.ConfigType_CONFIG_TYPE_TOPIC, Name: "nope", Entries: []*metadatav1.Config_Entry{{Name: "a", Value: &value}},
		}}},
	}
	if err := metadata.CheckRecords(recs); err != nil {
		t.Fatal(err)
	}
	a, delta := h.img.Apply(9999, recs)
	b, _ := h.img.Apply(9999, nil)
	same(t, "stray records", a, b)
	if !delta.Empty() {
		t.Fatalf("delta %+v", delta)
	}
}

func TestConfigRecords(t *testing.T) {
	id := metadata.ID{1}
	set := func(pairs ...string) *metadatav1.Record {
		c := &metadatav1.Config{Type: metadatav1.ConfigType_CONFIG_TYPE_TOPIC, Name: "a"}
		for i := 0; i < len(pairs); i += 2 {
			e := &metadatav1.Config_Entry{Name: pairs[i]}
			if pairs[i+1] != "-" {
				e.Value = &pairs[i+1]
			}
			c.Entries = append(c.Entries, e)
		}
		return &metadatav1.Record{Kind: &metadatav1.Record_Config{Config: c}}
	}
	img, _ := metadata.Empty().Apply(1, []*metadatav1.Record{metadata.TopicRecord(id, "a"), set("x", "1", "y", "")})
	plain, _ := metadata.Empty().Apply(1, []*metadatav1.Record{metadata.TopicRecord(id, "a")})
	if got := fmt.Sprint(img.Config(metadata.ResourceTopic, "a")); got != "map[x:1 y:]" {
		t.Fatal(got)
	}
	img, d := img.Apply(2, []*metadatav1.Record{set("x", "2", "y", "-", "z", "-")})
	if got := fmt.Sprint(img.Config(metadata.ResourceTopic, "a")); got != "map[x:2]" || !d.Topic(id).Configs || d.Topic(id).Whole {
		t.Fatal(got, d.Topic(id))
	}
	img, _ = img.Apply(1, []*metadatav1.Record{set("x", "-")})
	if img.Config(metadata.ResourceTopic, "a") != nil || img.Config(metadata.ResourceTopic, "b") != nil || img.Config(4, "a") != nil {
		t.Fatal("settings that are not there")
	}
	same(t, "no settings left", img, plain)
}

func TestOnlineDirectories(t *testing.T) {
	a, b, c := metadata.ID{1}, metadata.ID{2}, metadata.ID{3}
	broker := &metadata.Broker{Directories: []metadata.ID{a, c}}
	if !broker.Online(a) || broker.Online(b) || !broker.Online(c) || !broker.Online(metadata.ID{}) {
		t.Fatal("Online")
	}
	if !metadata.ReservedID(metadata.ID{}) || !metadata.ReservedID(metadata.ID{15: 99}) || metadata.ReservedID(metadata.ID{15: 100}) || metadata.ReservedID(a) {
		t.Fatal("ReservedID")
	}
}
