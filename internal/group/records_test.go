package group

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/coordinator"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoldenRecords holds the bytes that docs/formats/consumer-offsets.md draws.
func TestGoldenRecords(t *testing.T) {
	instance := "i"
	for _, c := range []struct {
		name       string
		rec        coordinator.Record
		key, value string
	}{
		{
			"offset, value version 4",
			offsetRecord("g", Committed{
				TopicPartition: TopicPartition{"t", 3}, TopicID: [16]byte{0xaa, 15: 0xbb}, Offset: 42, LeaderEpoch: 7,
				Metadata: "m", CommitMillis: 1_700_000_000_000, ExpireMillis: -1,
			}),
			"0001 0001 67 0001 74 00000003",
			"0004 000000000000002a 00000007 02 6d 0000018bcfe56800 01 00 10 aa0000000000000000000000000000bb",
		},
		{
			"offset, value version 4, topic id not known",
			offsetRecord("g", Committed{TopicPartition: TopicPartition{"t", 3}, Offset: 42, LeaderEpoch: -1, CommitMillis: 1, ExpireMillis: -1}),
			"0001 0001 67 0001 74 00000003",
			"0004 000000000000002a ffffffff 01 0000000000000001 00",
		},
		{
			"offset that expires, value version 1",
			offsetRecord("g", Committed{TopicPartition: TopicPartition{"t", 3}, Offset: 42, LeaderEpoch: 7, Metadata: "m", CommitMillis: 1, ExpireMillis: 2}),
			"0001 0001 67 0001 74 00000003",
			"0001 000000000000002a 0001 6d 0000000000000001 0000000000000002",
		},
		{
			"group without members, value version 3",
			groupRecord("g", Metadata{ProtocolType: "consumer", Generation: 5, StateMillis: 9}),
			"0002 0001 67",
			"0003 0008 636f6e73756d6572 00000005 ffff ffff 0000000000000009 00000000",
		},
		{
			"stable group, value version 3",
			groupRecord("g", Metadata{
				ProtocolType: "c", Generation: 5, Protocol: "r", Leader: "m", StateMillis: 9,
				Members: []MetadataMember{{ID: "m", InstanceID: &instance, Client: Client{"x", "/h"}, RebalanceMillis: 2, SessionMillis: 1, Subscription: []byte("S"), Assignment: []byte("A")}},
			}),
			"0002 0001 67",
			"0003 0001 63 00000005 0001 72 0001 6d 0000000000000009 00000001" +
				"0001 6d 0001 69 0001 78 0002 2f68 00000002 00000001 00000001 53 00000001 41",
		},
		{
			"group that awaits its assignment, value version 4 with the tag of ours",
			groupRecord("g", Metadata{
				ProtocolType: "c", Generation: 5, Protocol: "r", Leader: "m", StateMillis: 9, AwaitsSync: true,
				Members: []MetadataMember{{ID: "m", Client: Client{"x", "/h"}, RebalanceMillis: 2, SessionMillis: 1, Subscription: []byte("S")}},
			}),
			"0002 0001 67",
			"0004 02 63 00000005 02 72 02 6d 0000000000000009 02" +
				"02 6d 00 02 78 03 2f68 00000002 00000001 02 53 01 00" + "01 c88601 00",
		},
	} {
		if want := unhex(t, c.key); !bytes.Equal(c.rec.Key, want) {
			t.Errorf("%s: key %x, want %x", c.name, c.rec.Key, want)
		}
		if want := unhex(t, c.value); !bytes.Equal(c.rec.Value, want) {
			t.Errorf("%s: value %x, want %x", c.name, c.rec.Value, want)
		}
	}
}

// TestValuesOfOlderVersions reads what other brokers, and older ones, have written.
func TestValuesOfOlderVersions(t *testing.T) {
	for _, c := range []struct {
		value string
		want  Committed
	}{
		{"0000 000000000000002a 0001 6d 0000000000000001", Committed{Offset: 42, LeaderEpoch: -1, Metadata: "m", CommitMillis: 1, ExpireMillis: -1}},
		{"0001 000000000000002a 0001 6d 0000000000000001 0000000000000002", Committed{Offset: 42, LeaderEpoch: -1, Metadata: "m", CommitMillis: 1, ExpireMillis: 2}},
		{"0002 000000000000002a 0001 6d 0000000000000001", Committed{Offset: 42, LeaderEpoch: -1, Metadata: "m", CommitMillis: 1, ExpireMillis: -1}},
		{"0003 000000000000002a 00000007 0001 6d 0000000000000001", Committed{Offset: 42, LeaderEpoch: 7, Metadata: "m", CommitMillis: 1, ExpireMillis: -1}},
	} {
		got, err := ParseOffset(unhex(t, c.value))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.value, got, err, c.want)
		}
	}
	member := MetadataMember{ID: "m", Client: Client{"x", "/h"}, RebalanceMillis: 1, SessionMillis: 1, Subscription: []byte("S"), Assignment: []byte("A")}
	for _, c := range []struct {
		value string
		since int64
	}{
		{"0000 0001 63 00000005 0001 72 0001 6d 00000001" + "0001 6d 0001 78 0002 2f68 00000001 00000001 53 00000001 41", -1},
		{"0001 0001 63 00000005 0001 72 0001 6d 00000001" + "0001 6d 0001 78 0002 2f68 ffffffff 00000001 00000001 53 00000001 41", -1},
		{"0002 0001 63 00000005 0001 72 0001 6d 0000000000000009 00000001" + "0001 6d 0001 78 0002 2f68 00000001 00000001 00000001 53 00000001 41", 9},
		{"0003 0001 63 00000005 0001 72 0001 6d 0000000000000009 00000001" + "0001 6d ffff 0001 78 0002 2f68 00000001 00000001 00000001 53 00000001 41", 9},
	} {
		want := Metadata{ProtocolType: "c", Generation: 5, Protocol: "r", Leader: "m", StateMillis: c.since, Members: []MetadataMember{member}}
		got, err := ParseMetadata(unhex(t, c.value))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", c.value, got, err, want)
		}
	}
}

func TestUnknownAndUnreadableRecords(t *testing.T) {
	m := New(Options{})
	pass := []coordinator.Record{
		{Key: nil, Value: []byte("x")},                                                                                   // nobody writes records without a key
		{Key: unhex(t, "0003 0001 67"), Value: unhex(t, "0000")},                                                         // a consumer group's (KIP-848)
		{Key: unhex(t, "000b 0001 67"), Value: nil},                                                                      // a share group's
		{Key: unhex(t, "0001 0001 67 0001 74 00000003"), Value: nil},                                                     // a tombstone of nothing
		{Key: unhex(t, "0002 0001 67"), Value: nil},                                                                      // and of no group
		{Key: unhex(t, "0000 0001 67 0001 74 00000003"), Value: unhex(t, "0000 0000000000000001 0000 0000000000000001")}, // key version 0
	}
	for _, r := range pass {
		if err := m.Apply(r); err != nil {
			t.Errorf("%x: %v", r.Key, err)
		}
	}
	if want := "group \"g\"\n  offset t-3=1 epoch=-1 metadata=\"\" at=1 expires=-1 topic-id=00000000000000000000000000000000\n"; m.Dump() != want {
		t.Errorf("%s", m.Dump())
	}
	refused := []coordinator.Record{
		{Key: []byte{0}},
		{Key: unhex(t, "0001 0005 67")},
		{Key: unhex(t, "0001 0001 67 0001 74 00000003"), Value: []byte{0}},
		{Key: unhex(t, "0001 0001 67 0001 74 00000003"), Value: unhex(t, "0005 00")},
		{Key: unhex(t, "0001 0001 67 0001 74 00000003"), Value: unhex(t, "ffff 00")},
		{Key: unhex(t, "0002 0001 67"), Value: unhex(t, "0003 0001 63 00000005 0001")},
		{Key: unhex(t, "0002 0001 67"), Value: unhex(t, "0005")},
	}
	for _, r := range refused {
		if err := m.Apply(r); err == nil {
			t.Errorf("%x %x was not refused", r.Key, r.Value)
		}
	}
}

// TestPartitionFor has the hashes of java.lang.String.
func TestPartitionFor(t *testing.T) {
	for _, c := range []struct {
		group string
		hash  int32
		want  int32
	}{
		{"", 0, 0},
		{"abc", 96354, 96354 % 50},
		{"hello", 99162322, 99162322 % 50},
		{"polygenelubricants", -2147483648, 0},
		{"my-consumer-group", 1513705513, 13},
		{"orders", -1008770331, 31}, // the absolute value counts: with the sign bit cleared it would be 17
		{"Grüße", 69215351, 1},
		{"\U0001F600", 1772899, 1772899 % 50}, // two UTF-16 units, d83d de00
	} {
		if h := javaHash(c.group); h != c.hash {
			t.Errorf("hash of %q: %d, want %d", c.group, h, c.hash)
		}
		if p := PartitionFor(c.group, 50); p != c.want {
			t.Errorf("partition of %q: %d, want %d", c.group, p, c.want)
		}
	}
	if n := javaLength("a\U0001F600é"); n != 4 {
		t.Errorf("length %d", n)
	}
}

// FuzzApply applies arbitrary records and then lets the machine serve: no
// panic, and what it wrote out reads back the same.
func FuzzApply(f *testing.F) {
	for _, r := range []coordinator.Record{
		offsetRecord("g", Committed{TopicPartition: TopicPartition{"t", 3}, Metadata: "m"}),
		groupRecord("g", Metadata{ProtocolType: "consumer", Protocol: "r", Leader: "m", Members: []MetadataMember{{ID: "m"}, {ID: "n"}}}),
		groupRecord("g", Metadata{ProtocolType: "consumer", AwaitsSync: true, Members: []MetadataMember{{ID: "m"}}}),
	} {
		f.Add(r.Key, r.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		b := newBench(t)
		b.m = New(b.o)
		if b.m.Apply(coordinator.Record{Key: key, Value: value}) != nil {
			return
		}
		before := b.m.Dump()
		again := New(b.o)
		if err := again.Apply(coordinator.Record{Key: key, Value: value}); err != nil || again.Dump() != before {
			t.Fatalf("%v\n%s\n%s", err, before, again.Dump())
		}
		b.take(b.m.Loaded(b.when()))
		for _, id := range b.m.sorted() {
			b.run("join client=x v=3 group=" + strings.ReplaceAll(id, " ", ""))
			b.take(b.m.Describe(b.when(), id, func(Description) {}))
			b.take(b.m.Fetch(b.when(), FetchRequest{Group: id, All: true}, func(FetchAnswer) {}))
		}
		b.advance(100 * 24 * 60 * 60 * 1e9 / 50)
		b.m.Unload()
	})
}
