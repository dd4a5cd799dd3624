package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
)

// SyncGroup (key 14), versions 0 to 5, at the group's coordinator. The leader brings the
// assignment of all members, each gets its own; the answer comes when the assignment is in the log.
//
//   - 1: throttle time in the answer. 2: the same.
//   - 3: group.instance.id (KIP-345).
//   - 4: flexible.
//   - 5: protocol type and protocol, which must be there and fit the group (KIP-559).
//
// While the coordinator loads, the answer is REBALANCE_IN_PROGRESS and not
// COORDINATOR_LOAD_IN_PROGRESS: clients take the one as a call to join again, and fail for good at the other.
func (b *Broker) syncGroup(c *call, req *kmsg.SyncGroupRequest, r *reply) {
	answer := func(a group.SyncAnswer) { r.send(syncResponse(a)) }
	if c.version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		answer(group.SyncAnswer{Err: group.ErrInconsistentProtocol})
		return
	}
	sync := group.SyncRequest{
		Group: req.Group, MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation,
		ProtocolType: req.ProtocolType, Protocol: req.Protocol, Assignments: make(map[string][]byte, len(req.GroupAssignment)),
	}
	for _, a := range req.GroupAssignment {
		sync.Assignments[a.MemberID] = a.MemberAssignment
	}
	b.o.Groups.submit(req.Group,
		func(m *group.Machine, now shards.Now) shards.Result { return m.Sync(now, sync, answer) },
		func(err error) {
			if errors.Is(err, shards.ErrLoading) {
				err = group.ErrRebalanceInProgress
			}
			answer(group.SyncAnswer{Err: err})
		})
}

func syncResponse(a group.SyncAnswer) kmsg.Response {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.MemberAssignment = []byte{} // never null
	if a.Err != nil {
		resp.ErrorCode = code(a.Err)
		return resp
	}
	resp.ProtocolType, resp.Protocol = &a.ProtocolType, &a.Protocol
	if a.Assignment != nil {
		resp.MemberAssignment = a.Assignment
	}
	return resp
}
