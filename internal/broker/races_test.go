package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/storage"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// What a shard has in memory is the fold of its partition: nobody else may write there.
func TestClientsDoNotProduceToInternalTopics(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		b.groupTopic()
		topic := topicRef{group.Topic, b.ctl.Image().TopicByName(group.Topic).ID}
		c := b.dial()
		for v := int16(3); v <= 13; v++ {
			for _, r := range produceTo(c, v, produceOf(topic, acksAll, batchOf(t, nil, "a"), batchOf(t, nil, "b"))) {
				wantEqual(t, "code", r.ErrorCode, codeInvalidTopic)
			}
		}
		for i := range int32(5) {
			p, err := b.broker.o.Replicas.ByName([]byte(group.Topic), i)
			b.must(err)
			log, err := p.Log()
			b.must(err)
			wantEqual(t, "end of the log", log.End(), 0)
		}
	})
}

// A shard's append that meets a newer leadership of the same broker must leave the log alone: the shard of that one
// may have been loaded before.
func TestAShardOfAnOlderEpochDoesNotAppend(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.groupTopic()
		l := &groupLog{b.broker.o.Replicas, b.ctl.Image().TopicByName(group.Topic).ID, 0, b.clock}
		p, err := l.replicas.ByID(l.topic, l.index)
		b.must(err)
		_, epoch := p.LeaderEpoch()
		b.ctl.fence(1)
		b.ctl.unfence(1)
		b.settle()
		b.must(p.Leading(-1))
		log, err := p.Log()
		b.must(err)
		end := log.End()
		if _, err := l.append(p, epoch, []shards.Record{{Key: []byte("k")}}); err == nil || log.End() != end {
			t.Fatalf("%v; the log ended at %d and ends at %d", err, end, log.End())
		}
	})
}

// blocker is a waiter that holds up the round that has reached it.
type blocker chan struct{}

func (b blocker) Reached(*replica.Partition, int64, error) replica.Flusher {
	<-b
	return nil
}

// A partition may be reached while the timeout of the produce is answering; see it with -race.
func TestAPartitionIsReachedAfterTheTimeout(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		slow, first, second := b.topicOf("slow", 1), b.topicOf("first", 1), b.topicOf("second", 1)
		c := b.dial()
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "slow-0/*.log", Stall: true})
		c.send(produceOf(slow, acksNone, batchOf(t, nil, "x")), 9)
		<-stall.First()

		p, err := b.broker.o.Replicas.ByName([]byte(first.name), 0)
		b.must(err)
		var round replica.Round
		b.must(p.AppendLeader([]storage.Append{{Batch: record.Batch(batchOf(t, nil, "x"))}}, &round))
		held := make(blocker)
		if p.Await(1, true, held) {
			t.Fatal("acknowledged before it is flushed")
		}
		req := produceOf(second, acksAll, batchOf(t, nil, "x"))
		req.TimeoutMillis = 100
		read := c.send(req, 9)
		synctest.Wait()
		stall.Heal()
		time.Sleep(time.Second)
		close(held)
		synctest.Wait()
		wantEqual(t, "code", read().(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode, codeRequestTimedOut)
	})
}

// A session may leave the cache between the moment it is found for a request and the one it is made busy for it.
func TestASessionThatHasEndedIsNotResumed(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		topic := b.topicOf("t", 2)
		c := b.dial()
		open := fetchOf(topic, 0)
		open.SessionEpoch = 0
		id := do[*kmsg.FetchResponse](c, open, 16).SessionID
		set := b.broker.sessions.byID[id]
		if id == 0 || set == nil {
			t.Fatal("no session")
		}
		set.end()
		next := fetchOf(topic, 0)
		addPart(next, topic, 1, 0)
		next.SessionID, next.SessionEpoch = id, 1
		wantEqual(t, "code", do[*kmsg.FetchResponse](c, next, 16).ErrorCode, codeInvalidFetchSessionEpoch)
	})
}
