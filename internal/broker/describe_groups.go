package broker

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
)

// DescribeGroups (key 15), versions 0 to 6, at the groups' coordinator: state, protocol and members.
// Metadata and assignments are shown while the group is stable. A group that is asked for again in the same request is
// INVALID_REQUEST there.
//
//   - 1: throttle time in the answer. 2: the same.
//   - 3: what the client is authorized to do with the group, if it asks (KIP-430).
//   - 4: group.instance.id (KIP-345).
//   - 5: flexible.
//   - 6: an error message, and GROUP_ID_NOT_FOUND for a group that does not exist; before, it is Dead without an error (KIP-1043).
func (b *Broker) describeGroups(c *call, req *kmsg.DescribeGroupsRequest, r *reply) {
	version := c.version
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	g := pendingAnswers{left: len(req.Groups) + 1, done: func() { r.send(resp) }}
	seen := map[string]struct{}{}
	for i, id := range req.Groups {
		answer := func(d group.Description) {
			described := describedGroup(version, req.IncludeAuthorizedOperations, d)
			g.one(func() { resp.Groups[i] = described })
		}
		if twice(seen, id) {
			answer(group.Description{Err: errTwice, Group: id})
			continue
		}
		b.o.Groups.submit(id,
			func(m *group.Machine, now shards.Now) shards.Result { return m.Describe(now, id, answer) },
			func(err error) { answer(group.Description{Err: err, Group: id}) })
	}
	g.one(func() {})
}

// errTwice refuses what a request asks for again: a large answer would cost a few bytes each time.
var errTwice = fmt.Errorf("%w: it was asked for before in the same request", errInvalidRequest)

// topicPartition is the key of a partition that a request names.
type topicPartition struct {
	topic string
	index int32
}

// twice tells whether key was seen, and notes it.
func twice[K comparable](seen map[K]struct{}, key K) bool {
	_, again := seen[key]
	seen[key] = struct{}{}
	return again
}

func describedGroup(version int16, authorized bool, d group.Description) kmsg.DescribeGroupsResponseGroup {
	dg := kmsg.NewDescribeGroupsResponseGroup()
	dg.Group = d.Group
	switch {
	case errors.Is(d.Err, group.ErrGroupNotFound) && version < 6:
		dg.State = group.Dead.String()
	case errors.Is(d.Err, group.ErrGroupNotFound):
		dg.State, dg.ErrorCode, dg.ErrorMessage = group.Dead.String(), code(d.Err), message(d.Err)
		return dg
	case d.Err != nil:
		dg.ErrorCode, dg.ErrorMessage = code(d.Err), message(d.Err)
		return dg
	default:
		dg.State, dg.ProtocolType, dg.Protocol = d.State.String(), d.ProtocolType, d.Protocol
	}
	if authorized {
		dg.AuthorizedOperations = groupOperations
	}
	for _, m := range d.Members {
		member := kmsg.NewDescribeGroupsResponseGroupMember()
		member.MemberID, member.InstanceID, member.ClientID, member.ClientHost = m.ID, m.InstanceID, m.Client.ID, m.Client.Host
		member.ProtocolMetadata, member.MemberAssignment = m.Metadata, m.Assignment
		dg.Members = append(dg.Members, member)
	}
	return dg
}
