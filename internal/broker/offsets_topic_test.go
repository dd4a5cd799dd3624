package broker

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/storage"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// However many offsets were committed, the topic that holds them is as small as those that count, and loads as fast.
// CHRONIK_COMMITS=10000000 makes it so many, on the disk, in segments of the size that they have there.
func TestOffsetsTopicStaysSmall(t *testing.T) {
	commits, segment, timed := 20_000, int32(64<<10), false
	var fs vfs.FS = vfs.NewMem()
	path := "data"
	if s := os.Getenv("CHRONIK_COMMITS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		commits, segment, timed, fs, path = n, 100<<20, true, vfs.OS{}, t.TempDir()
	} else if err := fs.MkdirAll(path); err != nil {
		t.Fatal(err)
	}
	d, err := storage.OpenDirectory(storage.DirectoryOptions{
		FS: fs, Path: path, CheckpointInterval: time.Millisecond, Cleaner: storage.CleanerOptions{Backoff: time.Millisecond},
	})
	if err == nil {
		err = d.Recover(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Create(storage.LogID{Topic: group.Topic, TopicID: [16]byte{1}}, storage.LogOptions{
		Compacted: true, SegmentBytes: segment, MinCleanableDirtyRatio: .5, DeleteRetentionMillis: 86_400_000, WriteCaching: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	commit(t, l, commits)
	for l.SetRetentionBound(l.End()); l.Segments() > 3 || l.Size() > int64(segment)+200<<10; time.Sleep(time.Millisecond) {
		if l.Err() != nil || l.Uncleanable() {
			t.Fatalf("failed: %v, uncleanable: %v", l.Err(), l.Uncleanable())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	records := 0
	m := group.New(group.Options{})
	began := time.Now()
	err = replay(t.Context(), l, l.End(), func(r shards.Record) error { records++; return m.Apply(r) })
	took := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d commits of 1000 keys: %d segments, %d bytes, %d records, loaded in %v", commits, l.Segments(), l.Size(), records, took)
	if timed && took > time.Second {
		t.Errorf("loading took %v", took)
	}
	m.Loaded(shards.Now{Time: time.Now()})
	for g := range 10 {
		m.Fetch(shards.Now{Time: time.Now()}, group.FetchRequest{Group: fmt.Sprint("group-", g), All: true}, func(a group.FetchAnswer) {
			if len(a.Offsets) != 100 {
				t.Errorf("group %d has %d offsets", g, len(a.Offsets))
			}
			for _, o := range a.Offsets {
				if want := int64(commits - 1000 + 100*g + int(o.Partition)); o.Offset != want {
					t.Errorf("group %d, partition %d: offset %d, the last that was committed is %d", g, o.Partition, o.Offset, want)
				}
			}
		})
	}
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// commit appends commits, of ten groups for a hundred partitions each, in turn; the offset is the number of the commit.
func commit(t testing.TB, l *storage.Log, commits int) {
	t.Helper()
	commitKeys(t, l, commits, 1000)
}

// commitKeys commits for so many keys, a hundred of a group.
func commitKeys(t testing.TB, l *storage.Log, commits, keys int) {
	t.Helper()
	b := record.NewBuilder()
	for i := range commits {
		key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
		key.Version, key.Group, key.Topic, key.Partition = 1, fmt.Sprint("group-", i%keys/100), "topic", int32(i%100)
		value.Version, value.Offset, value.LeaderEpoch, value.CommitTimestamp = 3, int64(i), -1, batchTime
		b.Add(batchTime, key.AppendTo(nil), value.AppendTo(nil))
		if b.Count() < 50 && i < commits-1 {
			continue
		}
		batch, err := b.Build()
		if err == nil {
			err = l.Append(0, []storage.Append{{Batch: batch}})
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Reset()
		if i%10_000 > 9900 {
			l.SetRetentionBound(l.End())
		}
	}
}

// BenchmarkOffsetsTopicLoads loads a million commits, as many as the active segment takes, of a thousand keys and of a million.
func BenchmarkOffsetsTopicLoads(b *testing.B) {
	const commits = 1_000_000
	for _, keys := range []int{1000, commits} {
		b.Run(fmt.Sprint(keys, "-keys"), func(b *testing.B) {
			d, err := storage.OpenDirectory(storage.DirectoryOptions{FS: vfs.OS{}, Path: b.TempDir()})
			if err == nil {
				err = d.Recover(b.Context())
			}
			if err != nil {
				b.Fatal(err)
			}
			l, err := d.Create(storage.LogID{Topic: group.Topic, TopicID: [16]byte{1}}, storage.LogOptions{SegmentBytes: 100 << 20})
			if err != nil {
				b.Fatal(err)
			}
			commitKeys(b, l, commits, keys)
			b.ReportAllocs()
			for b.Loop() {
				m := group.New(group.Options{})
				if err := replay(b.Context(), l, l.End(), m.Apply); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			if err := d.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
