package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// commitOf is an OffsetCommit of x-0 without a group generation.
func commitOf(groupID string, offset int64, metadata string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	rt := kmsg.NewOffsetCommitRequestTopic()
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.Metadata = offset, &metadata
	rt.Topic, rt.Partitions = "x", append(rt.Partitions, p)
	req.Group, req.Topics = groupID, append(req.Topics, rt)
	return req
}

func committedOffset(c *rawConn, groupID string) int64 {
	c.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic, rt.Partitions = "x", []int32{0}
	req.Group, req.Topics = groupID, append(req.Topics, rt)
	resp := do[*kmsg.OffsetFetchResponse](c, req, 7)
	if resp.ErrorCode != codeNone || resp.Topics[0].Partitions[0].ErrorCode != codeNone {
		c.t.Fatalf("group %s: %v", groupID, resp)
	}
	return resp.Topics[0].Partitions[0].Offset
}

// TestALongLogIsLoaded: several segments, and batches of many events.
func TestALongLogIsLoaded(t *testing.T) {
	if testing.Short() {
		t.Skip("a second under the race detector")
	}
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		b.groupTopic()
		c := b.dial()
		note := strings.Repeat("m", 4000)
		var reads []func() kmsg.Response
		for i := range 2000 {
			reads = append(reads, c.send(commitOf(fmt.Sprint("g", i%20), int64(i), note), 7))
			if len(reads) == 16 || i == 1999 {
				for _, read := range reads {
					wantEqual(t, "commit", read().(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, 0)
				}
				reads = nil
			}
		}
		segments := 0
		for p := range int32(5) {
			part, err := b.broker.o.Replicas.ByName([]byte(group.Topic), p)
			b.must(err)
			log, err := part.Log()
			b.must(err)
			segments += log.Segments()
		}
		if segments < 7 {
			t.Errorf("%d segments: the test is about more", segments)
		}
		b.stop()
		b.start()
		c = b.dial()
		for i := range 20 {
			wantEqual(t, "offset", committedOffset(c, fmt.Sprint("g", i)), 1980+i)
		}
	}, func(b *box) { b.group.TopicSegmentBytes = 1 << 20 })
}

// TestCommitsSurvivePowerLoss: what was acknowledged before the power went is committed after it has come back.
func TestCommitsSurvivePowerLoss(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		inBox(t, func(t *testing.T, b *box) {
			rnd := rand.New(rand.NewPCG(uint64(seed), 5))
			b.topic("x", 1)
			b.groupTopic()
			acked := map[string]int64{}
			next := int64(0)
			for range 4 {
				c := b.dial()
				for range rnd.IntN(30) {
					g := fmt.Sprint("g", rnd.IntN(8))
					next++
					if do[*kmsg.OffsetCommitResponse](c, commitOf(g, next, ""), 7).Topics[0].Partitions[0].ErrorCode == codeNone {
						acked[g] = next
					}
				}
				for range rnd.IntN(5) { // on their way when the power goes
					next++
					c.send(commitOf("g0", next, ""), 7)
				}
				b.powerLoss(rnd)
				c = b.dial()
				for g, offset := range acked {
					got := committedOffset(c, g)
					if got < offset || g != "g0" && got != offset {
						t.Errorf("seed %d: group %s is at %d, acknowledged was %d", seed, g, got, offset)
					}
					acked[g] = got
				}
			}
		}, func(b *box) {
			b.flush = 3 * time.Millisecond
			b.mount(b.fs)
		})
	}
}

// TestAFailedDiskEndsTheCoordinator: a commit whose flush fails is not acknowledged, and the group is not
// served from a memory that is ahead of the log.
func TestAFailedDiskEndsTheCoordinator(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		b.groupTopic()
		c := b.dial()
		wantEqual(t, "before", do[*kmsg.OffsetCommitResponse](c, commitOf("g", 1, ""), 7).Topics[0].Partitions[0].ErrorCode, 0)
		fault := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: fmt.Sprintf("%s-%d/*.log", group.Topic, group.PartitionFor("g", 5)), Err: errors.New("EIO")})
		wantEqual(t, "commit", do[*kmsg.OffsetCommitResponse](c, commitOf("g", 2, ""), 7).Topics[0].Partitions[0].ErrorCode, codeNotCoordinator)
		fault.Heal()
		time.Sleep(10 * time.Second)
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group = "g"
		wantEqual(t, "fetch", do[*kmsg.OffsetFetchResponse](c, req, 7).ErrorCode, codeNotCoordinator)
		other := "h"
		for group.PartitionFor(other, 5) == group.PartitionFor("g", 5) {
			other += "h"
		}
		wantEqual(t, "others", do[*kmsg.OffsetCommitResponse](c, commitOf(other, 3, ""), 7).Topics[0].Partitions[0].ErrorCode, 0)
		b.stop()
		b.start()
		c = b.dial()
		if got := committedOffset(c, "g"); got != 1 && got != 2 {
			t.Errorf("after a restart the group is at %d", got)
		}
	})
}

// powerLoss ends the process and starts it again on what the disk had kept at that moment.
func (b *box) powerLoss(rnd *rand.Rand) {
	b.t.Helper()
	kept := b.fs.CrashClone(rnd)
	b.stop()
	b.mount(kept)
	b.start()
}

// TestACoordinatorOfAnotherEpochNeitherLoadsNorAppends is I-38: of two coordinators only one has a write accepted.
func TestACoordinatorOfAnotherEpochNeitherLoadsNorAppends(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.groupTopic()
		topic := b.ctl.Image().TopicByName(group.Topic)
		log := &groupLog{b.broker.o.Replicas, topic.ID, 0, b.clock}
		p, err := log.replicas.ByID(topic.ID, 0)
		b.must(err)
		file, err := p.Log()
		b.must(err)
		end := file.End
		records := []shards.Record{{Key: []byte("k"), Value: []byte("v")}}
		attempt := func(epoch int32) error {
			result := make(chan error, 1)
			log.Append(epoch, records, func(err error) { result <- err })
			return <-result
		}
		epoch := topic.Partitions[0].LeaderEpoch
		for _, wrong := range []int32{epoch - 1, epoch + 1} {
			if wrong < 0 {
				continue
			}
			if err := log.Load(t.Context(), wrong, func(shards.Record) error { return nil }); !errors.Is(err, shards.ErrNotCoordinator) {
				t.Errorf("loading in epoch %d: %v", wrong, err)
			}
			if err := attempt(wrong); !errors.Is(err, shards.ErrNotCoordinator) || end() != 0 {
				t.Errorf("appending in epoch %d: %v, the log ends at %d", wrong, err, end())
			}
		}
		b.must(attempt(epoch))
		wantEqual(t, "log end", end(), 1)

		// Another leader: what waits for the watermark is told at once, and nothing is taken any more.
		b.ctl.fence(1)
		synctest.Wait()
		if err := attempt(epoch); !errors.Is(err, shards.ErrNotCoordinator) || end() != 1 {
			t.Errorf("appending without leadership: %v, the log ends at %d", err, end())
		}
		c := b.dial()
		hb := kmsg.NewPtrHeartbeatRequest()
		hb.Group = "g"
		wantEqual(t, "no longer the coordinator", do[*kmsg.HeartbeatResponse](c, hb, 4).ErrorCode, codeNotCoordinator)
		b.ctl.unfence(1)
		time.Sleep(time.Second)
		wantEqual(t, "again the coordinator", do[*kmsg.HeartbeatResponse](c, hb, 4).ErrorCode, codeUnknownMemberID)
	})
}
