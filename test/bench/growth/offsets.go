package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/test/proctest"
)

const (
	commits          = 10_000_000
	committingGroups = 10
	keysOfGroup      = 100
	mostSegments     = 3 // of a partition
	mostToLoad       = time.Second
	cleanedWithin    = time.Minute // the cleaner looks every 15 s
)

// offsets measures __consumer_offsets after ten million commits of a thousand keys: all groups on one partition of it,
// and on Kafka's fifty.
func (b *bench) offsets(ctx context.Context) error {
	for _, partitions := range []int{1, 50} {
		if err := b.offsetsOver(ctx, partitions); err != nil {
			return fmt.Errorf("%d partitions: %w", partitions, err)
		}
	}
	return nil
}

func (b *bench) offsetsOver(ctx context.Context, partitions int) error {
	n, k, err := b.node(ctx, fmt.Sprintf("offsets.topic.num.partitions=%d", partitions))
	if err != nil {
		return err
	}
	defer n.Kill9()
	defer k.Close()
	if err := createTopic(ctx, k, "consumed", keysOfGroup); err != nil {
		return err
	}
	began := time.Now()
	if err := commitAll(ctx, k); err != nil {
		return err
	}
	took := time.Since(began)
	most, bytes := 0, int64(0)
	for wait := time.Now(); ; {
		if most, bytes, err = segments(n.DataDir); err != nil {
			return err
		}
		if most <= mostSegments || time.Since(wait) > cleanedWithin {
			break
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	what := fmt.Sprintf("10 M commits of 1,000 keys in 10 groups, offsets.topic.num.partitions=%d: ", partitions)
	b.row(what+"segments, of the partition with the most", "<= 3", fmt.Sprint(most), most <= mostSegments,
		fmt.Sprintf("%d MB in all; %.0f commits/s", bytes/1e6, commits/took.Seconds()))

	if err := n.Stop(); err != nil {
		return err
	}
	began = time.Now()
	if err := restart(ctx, n); err != nil {
		return err
	}
	ready := time.Since(began)
	if err := fetchAll(ctx, k); err != nil {
		return err
	}
	loaded := time.Since(began)
	b.row(what+"every group loaded, from the start of the process", "<= 1 s", seconds(loaded), loaded <= mostToLoad, "ready after "+seconds(ready)+loadSeconds(ctx, n))
	return nil
}

func groupName(i int) string { return fmt.Sprintf("group-%d", i) }

// commitAll commits, a goroutine a group, all partitions of a group in a request.
func commitAll(ctx context.Context, k *kgo.Client) error {
	id, err := topicID(ctx, k, "consumed")
	if err != nil {
		return err
	}
	for i := range committingGroups { // makes the topic, and waits until the coordinators are there
		if err := again(ctx, func() error { return commit(ctx, k, id, groupName(i), 0) }); err != nil {
			return err
		}
	}
	ended := make(chan error)
	for i := range committingGroups {
		go func() {
			for j := 1; j < commits/committingGroups/keysOfGroup; j++ {
				if err := commit(ctx, k, id, groupName(i), int64(j)); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	for range committingGroups {
		err = errors.Join(err, <-ended)
	}
	return err
}

// again tries until there is no error that may pass.
func again(ctx context.Context, f func() error) error {
	for {
		err := f()
		var lost *net.OpError // a connection to the process before
		if err == nil || !kerr.IsRetriable(err) && !errors.Is(err, io.EOF) && !errors.As(err, &lost) {
			return err
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

func commit(ctx context.Context, k *kgo.Client, topic [16]byte, group string, offset int64) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = "consumed", topic
	for i := range int32(keysOfGroup) {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = i, offset, -1
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	find := kmsg.NewPtrFindCoordinatorRequest()
	if offset == 0 {
		find.CoordinatorKeys = []string{group}
		if _, err := k.Broker(1).Request(ctx, find); err != nil {
			return err
		}
	}
	r, err := k.Broker(1).Request(ctx, req)
	if err != nil {
		return err
	}
	for _, t := range r.(*kmsg.OffsetCommitResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetchAll waits until every group answers with the offsets that were committed last.
func fetchAll(ctx context.Context, k *kgo.Client) error {
	const last = commits/committingGroups/keysOfGroup - 1
	for i := range committingGroups {
		req := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = groupName(i)
		req.Groups = append(req.Groups, g)
		err := again(ctx, func() error {
			r, err := k.Broker(1).Request(ctx, req)
			if err != nil {
				return err
			}
			g := r.(*kmsg.OffsetFetchResponse).Groups[0]
			if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
				return err
			}
			if len(g.Topics) != 1 || len(g.Topics[0].Partitions) != keysOfGroup {
				return fmt.Errorf("%s has %d topics, want one of %d partitions", g.Group, len(g.Topics), keysOfGroup)
			}
			for _, p := range g.Topics[0].Partitions {
				if p.Offset != last {
					return fmt.Errorf("%s, partition %d: offset %d, the last that was committed is %d", g.Group, p.Partition, p.Offset, last)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// segments counts those of the partition of __consumer_offsets that has the most, and the bytes of all.
func segments(dir string) (most int, bytes int64, err error) {
	count := map[string]int{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		of := filepath.Base(filepath.Dir(path))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the cleaner has been there
		}
		if err != nil || !strings.HasPrefix(of, "__consumer_offsets-") || filepath.Ext(path) != ".log" {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		count[of]++
		most, bytes = max(most, count[of]), bytes+info.Size()
		return nil
	})
	return most, bytes, err
}

// loadSeconds says how long the shards took themselves, by their metric.
func loadSeconds(ctx context.Context, n *proctest.Node) string {
	text, err := n.Metrics(ctx)
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "chronik_coordinator_load_seconds_sum{"); ok {
			if _, sum, ok := strings.Cut(rest, " "); ok {
				return fmt.Sprintf(", the loads together %.5s s", sum)
			}
		}
	}
	return ""
}
