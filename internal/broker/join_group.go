package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
)

// JoinGroup (key 11), versions 0 to 9, at the group's coordinator. The answer comes when the join
// phase of the rebalance has ended: with the generation, the chosen protocol and the leader,
// and to the leader with all members.
//
//   - 0: a session timeout, which is the rebalance timeout too.
//   - 1: a rebalance timeout (KIP-62).
//   - 2: throttle time in the answer. 3: the same.
//   - 4: a new member gets MEMBER_ID_REQUIRED and an id, and joins with that (KIP-394).
//   - 5: group.instance.id, static members (KIP-345).
//   - 6: flexible.
//   - 7: protocol type in the answer, protocol may be null (KIP-559).
//   - 8: the client's reason (KIP-800).
//   - 9: SkipAssignment, for a static leader that comes back (KIP-814).
//
// Left out: groups of the consumer protocol (KIP-848).
func (b *Broker) joinGroup(c *call, req *kmsg.JoinGroupRequest, r *reply) {
	join := group.JoinRequest{
		Group: req.Group, MemberID: req.MemberID, InstanceID: req.InstanceID, Client: c.groupClient(), ProtocolType: req.ProtocolType,
		SessionTimeout: millis(req.SessionTimeoutMillis), RebalanceTimeout: millis(req.RebalanceTimeoutMillis),
		RequireMemberID: c.version >= 4, CanSkipAssignment: c.version >= 9, Reason: orEmpty(req.Reason),
	}
	if c.version < 1 {
		join.RebalanceTimeout = join.SessionTimeout
	}
	for _, p := range req.Protocols {
		join.Protocols = append(join.Protocols, group.Protocol{Name: p.Name, Metadata: p.Metadata})
	}
	answer := func(a group.JoinAnswer) { r.send(joinResponse(a)) }
	b.o.Groups.submit(req.Group,
		func(m *group.Machine, now shards.Now) shards.Result { return m.Join(now, join, answer) },
		func(err error) { answer(group.JoinAnswer{Err: err, MemberID: join.MemberID, Generation: -1}) })
}

func joinResponse(a group.JoinAnswer) kmsg.Response {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID = a.MemberID
	if a.Err != nil {
		resp.ErrorCode = code(a.Err)
		return resp
	}
	resp.Generation, resp.LeaderID, resp.SkipAssignment = a.Generation, a.Leader, a.SkipAssignment
	resp.ProtocolType, resp.Protocol = &a.ProtocolType, &a.Protocol
	for _, m := range a.Members {
		member := kmsg.NewJoinGroupResponseMember()
		member.MemberID, member.InstanceID, member.ProtocolMetadata = m.ID, m.InstanceID, m.Metadata
		resp.Members = append(resp.Members, member)
	}
	return resp
}

// groupClient is the sender as groups remember it.
func (c *call) groupClient() group.Client { return group.Client{ID: c.clientID, Host: "/" + c.host()} }

func millis(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
