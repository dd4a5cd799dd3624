package broker

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// OffsetFetch (key 9), versions 1 to 10, at the group's coordinator. A partition that the group has
// committed nothing for is no error: offset -1, leader epoch -1, empty metadata.
//
//   - 2: topics may be null: all that the group has committed. An error code of the whole answer.
//   - 3: throttle time in the answer. 4: the same.
//   - 5: the leader epoch of the offset (KIP-320).
//   - 6: flexible.
//   - 7: RequireStable (KIP-447).
//   - 8: several groups (KIP-709).
//   - 9: member id and epoch of the consumer protocol (KIP-848).
//   - 10: topics by their ids.
//
// A group, or a partition of it, that is asked for again in the same request is INVALID_REQUEST there.
//
// RequireStable changes nothing: an answer always waits for the commits that are on their way, and
// offsets of open transactions there are none. Left out: checks of member epochs (KIP-848).
func (b *Broker) offsetFetch(c *call, req *kmsg.OffsetFetchRequest, r *reply) {
	if c.version < 8 {
		b.offsetFetchOne(c.version, req, r)
		return
	}
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Groups = make([]kmsg.OffsetFetchResponseGroup, len(req.Groups))
	g := pendingAnswers{left: len(req.Groups), done: func() { r.send(resp) }}
	if len(req.Groups) == 0 {
		g.done()
		return
	}
	seen := map[string]struct{}{}
	for i := range req.Groups {
		asked := &req.Groups[i]
		f := b.newFetch(c.version, asked.Topics)
		answer := func(a group.FetchAnswer) {
			answered := f.group(asked, a)
			g.one(func() { resp.Groups[i] = answered })
		}
		if twice(seen, asked.Group) {
			answer(group.FetchAnswer{Err: errTwice})
			continue
		}
		b.fetchOffsets(asked.Group, f, answer)
	}
}

// offsetFetchOne serves the versions of one group.
func (b *Broker) offsetFetchOne(version int16, req *kmsg.OffsetFetchRequest, r *reply) {
	var topics []kmsg.OffsetFetchRequestGroupTopic
	if req.Topics != nil || version < 2 {
		topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(req.Topics))
	}
	for i, t := range req.Topics {
		topics[i].Topic, topics[i].Partitions = t.Topic, t.Partitions
	}
	f := b.newFetch(version, topics)
	b.fetchOffsets(req.Group, f, func(a group.FetchAnswer) { r.send(f.single(a)) })
}

func (b *Broker) fetchOffsets(groupID string, f *offsetFetch, answer func(group.FetchAnswer)) {
	b.o.Groups.submit(groupID,
		func(m *group.Machine, now shards.Now) shards.Result {
			return m.Fetch(now, group.FetchRequest{Group: groupID, All: f.all, Partitions: f.partitions}, answer)
		},
		func(err error) { answer(group.FetchAnswer{Err: err}) })
}

// offsetFetch is the question for one group, taken apart.
type offsetFetch struct {
	version    int16
	img        *metadata.Image
	all        bool
	asked      []kmsg.OffsetFetchRequestGroupTopic
	partitions []group.TopicPartition // of asked, in order, without those of unknown ids
	again      []bool                 // of partitions: it was asked for before
}

func (b *Broker) newFetch(version int16, topics []kmsg.OffsetFetchRequestGroupTopic) *offsetFetch {
	f := &offsetFetch{version: version, img: b.ctl.Image(), all: topics == nil, asked: topics}
	seen := map[group.TopicPartition]struct{}{}
	for _, t := range topics {
		name, ok := f.name(t)
		if !ok {
			continue
		}
		for _, p := range t.Partitions {
			tp := group.TopicPartition{Topic: name, Partition: p}
			f.partitions = append(f.partitions, tp)
			f.again = append(f.again, twice(seen, tp))
		}
	}
	return f
}

// name is the name of a topic that was asked for; false for an id that no topic has.
func (f *offsetFetch) name(t kmsg.OffsetFetchRequestGroupTopic) (string, bool) {
	if f.version < 10 {
		return t.Topic, true
	}
	known := f.img.TopicByID(t.TopicID)
	if known == nil {
		return "", false
	}
	return known.Name, true
}

// current tells whether a commit is for the topic that has the name now, and not for a deleted one of the same name.
func (f *offsetFetch) current(c *group.Committed) bool {
	t := f.img.TopicByName(c.Topic)
	return t == nil || c.TopicID == metadata.ID{} || c.TopicID == t.ID
}

// topics makes the answer's topics: as asked, or all in the order of their names.
func (f *offsetFetch) topics(offsets []group.Committed) []kmsg.OffsetFetchResponseGroupTopic {
	if f.all {
		return f.allTopics(offsets)
	}
	answered := make([]kmsg.OffsetFetchResponseGroupTopic, len(f.asked))
	again := f.again
	for i, t := range f.asked {
		answered[i] = kmsg.NewOffsetFetchResponseGroupTopic()
		answered[i].Topic, answered[i].TopicID = t.Topic, t.TopicID
		_, known := f.name(t)
		for _, p := range t.Partitions {
			part := noCommit(p)
			switch {
			case !known:
				part.ErrorCode = codeUnknownTopicID
			case again[0]:
				part.ErrorCode = codeInvalidRequest
			case f.current(&offsets[0]):
				part = committedPartition(&offsets[0])
			}
			if known {
				offsets, again = offsets[1:], again[1:]
			}
			answered[i].Partitions = append(answered[i].Partitions, part)
		}
	}
	return answered
}

func (f *offsetFetch) allTopics(offsets []group.Committed) []kmsg.OffsetFetchResponseGroupTopic {
	var answered []kmsg.OffsetFetchResponseGroupTopic
	for i := range offsets {
		c := &offsets[i]
		known := f.img.TopicByName(c.Topic)
		if !f.current(c) || f.version >= 10 && known == nil {
			continue // it could not be named
		}
		if n := len(answered); n == 0 || answered[n-1].Topic != c.Topic {
			t := kmsg.NewOffsetFetchResponseGroupTopic()
			t.Topic = c.Topic
			if known != nil {
				t.TopicID = known.ID
			}
			answered = append(answered, t)
		}
		t := &answered[len(answered)-1]
		t.Partitions = append(t.Partitions, committedPartition(c))
	}
	return answered
}

func noCommit(partition int32) kmsg.OffsetFetchResponseGroupTopicPartition {
	part := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	part.Partition, part.Offset, part.Metadata = partition, -1, kmsg.StringPtr("")
	return part
}

func committedPartition(c *group.Committed) kmsg.OffsetFetchResponseGroupTopicPartition {
	part := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = c.Partition, c.Offset, c.LeaderEpoch, &c.Metadata
	return part
}

// group makes one group's part of the answer.
func (f *offsetFetch) group(asked *kmsg.OffsetFetchRequestGroup, a group.FetchAnswer) kmsg.OffsetFetchResponseGroup {
	answered := kmsg.NewOffsetFetchResponseGroup()
	answered.Group, answered.ErrorCode = asked.Group, code(a.Err)
	if a.Err == nil {
		answered.Topics = f.topics(a.Offsets)
	}
	return answered
}

// single makes the answer of the versions of one group. Version 1 has no place for an error but
// the partitions; the later ones have no partitions with an error.
func (f *offsetFetch) single(a group.FetchAnswer) kmsg.Response {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.ErrorCode = code(a.Err)
	if a.Err != nil {
		if f.version >= 2 {
			return resp
		}
		a.Offsets = make([]group.Committed, len(f.partitions))
		for i, tp := range f.partitions {
			a.Offsets[i] = group.Committed{TopicPartition: tp, Offset: -1, LeaderEpoch: -1}
		}
	}
	for _, t := range f.topics(a.Offsets) {
		topic := kmsg.NewOffsetFetchResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			part := kmsg.NewOffsetFetchResponseTopicPartition()
			part.Partition, part.Offset, part.LeaderEpoch, part.Metadata, part.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			if a.Err != nil {
				part.ErrorCode = resp.ErrorCode
			}
			topic.Partitions = append(topic.Partitions, part)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// pendingAnswers waits for the answers of several shards to one request.
type pendingAnswers struct {
	mu   sync.Mutex
	left int
	done func() // called once, when the last answer has come, without the mutex
}

// one notes an answer.
func (g *pendingAnswers) one(note func()) {
	g.mu.Lock()
	note()
	g.left--
	last := g.left == 0
	g.mu.Unlock()
	if last {
		g.done()
	}
}
