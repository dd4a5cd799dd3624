package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// OffsetCommit (key 8), versions 2 to 10, at the group's coordinator. A generation of -1 without a
// member id commits for a group that has no members: the admin client, or a consumer that assigns itself.
//
//   - 2 to 4: a retention time for the offsets of the request, -1 for the broker's.
//   - 3: throttle time in the answer. 4: the same.
//   - 5: no retention time any more (KIP-211).
//   - 6: the leader epoch of the offset (KIP-320).
//   - 7: group.instance.id (KIP-345).
//   - 8: flexible.
//   - 9: a group that does not exist is GROUP_ID_NOT_FOUND, where it was ILLEGAL_GENERATION (KIP-848).
//   - 10: topics by their ids.
//
// Left out: member epochs of the consumer protocol (KIP-848).
func (b *Broker) offsetCommit(c *call, req *kmsg.OffsetCommitRequest, r *reply) {
	p := b.planCommit(c.version, req)
	if len(p.offsets) == 0 {
		r.send(p.resp)
		return
	}
	answer := func(a group.CommitAnswer) { r.send(p.answered(a)) }
	commit := group.CommitRequest{
		Group: req.Group, MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation,
		RetentionMillis: req.RetentionTimeMillis, Offsets: p.offsets,
	}
	b.o.Groups.submit(req.Group,
		func(m *group.Machine, now shards.Now) shards.Result { return m.Commit(now, commit, answer) },
		func(err error) { answer(group.CommitAnswer{Err: err}) })
}

// commitPlan is a request taken apart: what goes to the group, and the response as far as it is known.
type commitPlan struct {
	version int16
	resp    *kmsg.OffsetCommitResponse
	offsets []group.Offset
	// at says where the verdict on each offset goes: indexes of topic and partition in resp.
	at [][2]int
}

// planCommit refuses what names topics or partitions that do not exist.
func (b *Broker) planCommit(version int16, req *kmsg.OffsetCommitRequest) *commitPlan {
	img := b.ctl.Image()
	p := &commitPlan{version: version, resp: kmsg.NewPtrOffsetCommitResponse()}
	for i, rt := range req.Topics {
		topic := kmsg.NewOffsetCommitResponseTopic()
		topic.Topic, topic.TopicID = rt.Topic, rt.TopicID
		var known *metadata.Topic
		unknown := codeUnknownTopicOrPartition
		if version >= 10 {
			if known = img.TopicByID(rt.TopicID); known == nil {
				unknown = codeUnknownTopicID
			}
		} else {
			known = img.TopicByName(rt.Topic)
		}
		for j, rp := range rt.Partitions {
			part := kmsg.NewOffsetCommitResponseTopicPartition()
			part.Partition = rp.Partition
			if known == nil || rp.Partition < 0 || int(rp.Partition) >= len(known.Partitions) {
				part.ErrorCode = unknown
			} else {
				p.at = append(p.at, [2]int{i, j})
				p.offsets = append(p.offsets, group.Offset{
					Topic: known.Name, TopicID: known.ID, Partition: rp.Partition,
					Offset: rp.Offset, LeaderEpoch: rp.LeaderEpoch, Metadata: orEmpty(rp.Metadata),
				})
			}
			topic.Partitions = append(topic.Partitions, part)
		}
		p.resp.Topics = append(p.resp.Topics, topic)
	}
	return p
}

// answered completes the response.
func (p *commitPlan) answered(a group.CommitAnswer) kmsg.Response {
	if errors.Is(a.Err, group.ErrGroupNotFound) && p.version < 9 {
		a.Err = group.ErrIllegalGeneration
	}
	for i, at := range p.at {
		err := a.Err
		switch {
		case errors.Is(err, shards.ErrTooLarge):
			err = errCommitTooLarge
		case err == nil:
			err = a.Errs[i]
		}
		p.resp.Topics[at[0]].Partitions[at[1]].ErrorCode = code(err)
	}
	return p.resp
}

// errCommitTooLarge says that the offsets of one request do not fit into one batch.
var errCommitTooLarge = errors.New("broker: the commit is larger than a batch of the offsets topic: commit fewer partitions in one request")
