package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
)

// Heartbeat (key 12), versions 0 to 4, at the group's coordinator: keeps the member's session, and
// tells it of a rebalance by REBALANCE_IN_PROGRESS.
//
//   - 1: throttle time in the answer. 2: the same.
//   - 3: group.instance.id (KIP-345).
//   - 4: flexible.
//
// While the coordinator loads, a heartbeat is a success: sessions begin anew when it has loaded,
// and clients fail for good at COORDINATOR_LOAD_IN_PROGRESS here.
func (b *Broker) heartbeat(_ *call, req *kmsg.HeartbeatRequest, r *reply) {
	answer := func(err error) {
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.ErrorCode = code(err)
		r.send(resp)
	}
	beat := group.HeartbeatRequest{Group: req.Group, MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation}
	b.o.Groups.submit(req.Group,
		func(m *group.Machine, now shards.Now) shards.Result { return m.Heartbeat(now, beat, answer) },
		func(err error) {
			if errors.Is(err, shards.ErrLoading) {
				err = nil
			}
			answer(err)
		})
}
