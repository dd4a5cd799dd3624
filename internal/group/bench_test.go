package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/coordinator"
)

// benchGroup is a machine with one stable group of n members.
func benchGroup(b *testing.B, n int) (m *Machine, now coordinator.Now, ids []string) {
	b.Helper()
	id := 0
	m = New(Options{
		MaxSessionTimeout: time.Hour, MaxMetadata: 4096, MaxRecordBytes: 64 << 20,
		NewID: func() string { id++; return fmt.Sprint(id) },
	})
	now = coordinator.Now{Time: time.Now(), Millis: 1}
	m.Loaded(now)
	take := func(res coordinator.Result) {
		for _, r := range res.Records {
			if err := m.Apply(r); err != nil {
				b.Fatal(err)
			}
		}
		for _, reply := range res.Replies {
			reply(nil)
		}
	}
	for range n {
		take(m.Join(now, JoinRequest{
			Group: "g", Client: Client{"client", "/h"}, ProtocolType: "consumer", Protocols: []Protocol{{"range", make([]byte, 100)}},
			SessionTimeout: time.Minute, RebalanceTimeout: time.Minute,
		}, func(a JoinAnswer) { ids = append(ids, a.MemberID) }))
	}
	for range 2 { // members came while the first was waited for
		take(m.Expire(now, timerID{kind: joinTimer, group: "g"}))
	}
	take(m.Sync(now, SyncRequest{Group: "g", MemberID: m.groups["g"].leader, Generation: 1}, func(SyncAnswer) {}))
	if m.groups["g"].state != Stable || len(ids) != n {
		b.Fatal(m.groups["g"].state, len(ids))
	}
	return m, now, ids
}

// BenchmarkHeartbeat is one heartbeat in a group of 1,000 members.
func BenchmarkHeartbeat(b *testing.B) {
	m, now, ids := benchGroup(b, 1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for _, reply := range m.Heartbeat(now, HeartbeatRequest{Group: "g", MemberID: ids[i%len(ids)], Generation: 1}, func(error) {}).Replies {
			reply(nil)
		}
	}
}

// BenchmarkCommit is one commit of ten partitions.
func BenchmarkCommit(b *testing.B) {
	m, now, ids := benchGroup(b, 10)
	req := CommitRequest{Group: "g", MemberID: ids[0], Generation: 1, RetentionMillis: -1}
	for p := range int32(10) {
		req.Offsets = append(req.Offsets, Offset{Topic: "topic", Partition: p, Offset: 1, LeaderEpoch: -1})
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range m.Commit(now, req, func(CommitAnswer) {}).Records {
			if err := m.Apply(r); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkRebalance is a whole rebalance of 1,000 members: all join again, the leader assigns.
func BenchmarkRebalance(b *testing.B) {
	for b.Loop() {
		benchGroup(b, 1000)
	}
}

// BenchmarkLoad is the loading of a log with 100,000 commits of 1,000 groups.
func BenchmarkLoad(b *testing.B) {
	var log []coordinator.Record
	for i := range 100_000 {
		c := Committed{TopicPartition: TopicPartition{"topic", int32(i / 1000 % 20)}, Offset: int64(i), ExpireMillis: -1}
		log = append(log, offsetRecord(fmt.Sprint("group-", i%1000), c))
	}
	b.ReportAllocs()
	for b.Loop() {
		m := New(Options{})
		for _, r := range log {
			if err := m.Apply(r); err != nil {
				b.Fatal(err)
			}
		}
		m.Loaded(coordinator.Now{})
	}
}
