package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
)

// DeleteGroups (key 42), versions 0 to 3, at the groups' coordinator: each group goes with all its
// offsets, if it has no members; else it is NON_EMPTY_GROUP. Each has an answer of its own, and is gone when its tombstones are in the log.
//
//   - 1: throttle time in the answer.
//   - 2: flexible.
//   - 3: an error message for each group.
func (b *Broker) deleteGroups(_ *call, req *kmsg.DeleteGroupsRequest, r *reply) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(req.Groups))
	g := pendingAnswers{left: len(req.Groups) + 1, done: func() { r.send(resp) }}
	for i, id := range req.Groups {
		answer := func(err error) {
			deleted := kmsg.NewDeleteGroupsResponseGroup()
			deleted.Group, deleted.ErrorCode, deleted.ErrorMessage = id, code(err), message(err)
			g.one(func() { resp.Groups[i] = deleted })
		}
		b.o.Groups.submit(id,
			func(m *group.Machine, now shards.Now) shards.Result { return m.Delete(now, id, answer) }, answer)
	}
	g.one(func() {})
}
