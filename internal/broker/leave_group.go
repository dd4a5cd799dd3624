package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
)

// LeaveGroup (key 13), versions 0 to 5, at the group's coordinator.
//
//   - 0: one member.
//   - 1: throttle time in the answer. 2: the same.
//   - 3: several members, each by its id or by its group.instance.id alone, as an admin removes static members (KIP-345).
//   - 4: flexible.
//   - 5: the reason (KIP-800).
func (b *Broker) leaveGroup(c *call, req *kmsg.LeaveGroupRequest, r *reply) {
	version := c.version
	if version < 3 {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = req.MemberID
		req.Members = []kmsg.LeaveGroupRequestMember{member}
	}
	leavers := make([]group.Leaver, len(req.Members))
	for i, m := range req.Members {
		leavers[i] = group.Leaver{MemberID: m.MemberID, InstanceID: m.InstanceID, Reason: orEmpty(m.Reason)}
	}
	answer := func(a group.LeaveAnswer) { r.send(leaveResponse(version, req, a)) }
	b.o.Groups.submit(req.Group,
		func(m *group.Machine, now shards.Now) shards.Result { return m.Leave(now, req.Group, leavers, answer) },
		func(err error) { answer(group.LeaveAnswer{Err: err}) })
}

func leaveResponse(version int16, req *kmsg.LeaveGroupRequest, a group.LeaveAnswer) kmsg.Response {
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.ErrorCode = code(a.Err)
	if a.Err != nil {
		return resp
	}
	if version < 3 {
		resp.ErrorCode = code(a.Errs[0])
		return resp
	}
	for i, m := range req.Members {
		member := kmsg.NewLeaveGroupResponseMember()
		member.MemberID, member.InstanceID, member.ErrorCode = m.MemberID, m.InstanceID, code(a.Errs[i])
		resp.Members = append(resp.Members, member)
	}
	return resp
}
