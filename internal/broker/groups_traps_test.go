package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchAll asks for the offsets of one group with topics as given, and returns how many topics the answer has.
func fetchAll(c *rawConn, version int16, groupID string, topics []string, null bool) int {
	c.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = groupID
	fg := kmsg.NewOffsetFetchRequestGroup()
	fg.Group = groupID
	if !null {
		req.Topics, fg.Topics = []kmsg.OffsetFetchRequestTopic{}, []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for _, name := range topics {
		one, of := kmsg.NewOffsetFetchRequestTopic(), kmsg.NewOffsetFetchRequestGroupTopic()
		one.Topic, one.Partitions, of.Topic, of.Partitions = name, []int32{0}, name, []int32{0}
		req.Topics, fg.Topics = append(req.Topics, one), append(fg.Topics, of)
	}
	req.Groups = append(req.Groups, fg)
	resp := do[*kmsg.OffsetFetchResponse](c, req, version)
	if version < 8 {
		wantEqual(c.t, "code", resp.ErrorCode, 0)
		return len(resp.Topics)
	}
	wantEqual(c.t, "code", resp.Groups[0].ErrorCode, 0)
	return len(resp.Groups[0].Topics)
}

// TestTrap09_OffsetFetchOfNullIsAllAndOfEmptyIsNone: the two differ by one byte.
func TestTrap09_OffsetFetchOfNullIsAllAndOfEmptyIsNone(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		b.commitAndFetch(c, 9, "g", "", -1)
		for v := int16(2); v <= 10; v++ {
			wantEqual(t, fmt.Sprint("null in version ", v), fetchAll(c, v, "g", nil, true), 1)
			wantEqual(t, fmt.Sprint("empty in version ", v), fetchAll(c, v, "g", nil, false), 0)
			wantEqual(t, fmt.Sprint("null of a group without offsets in version ", v), fetchAll(c, v, "h", nil, true), 0)
		}
		wantEqual(t, "empty in version 1, which has no null", fetchAll(c, 1, "g", nil, false), 0)
		wantEqual(t, "one", fetchAll(c, 1, "g", []string{"x"}, false), 1)

		// DeleteGroups and OffsetDelete of nothing are answered with nothing.
		wantEqual(t, "no groups", len(deleteGroups(c, 2)), 0)
		top, codes := deleteOffsets(c, "g")
		wantEqual(t, "no topics", []any{top, len(codes)}, []any{0, 0})
	})
}

// TestTrap10_WhatFollowsAWaitingJoinGroupIsAnsweredBehindIt: a JoinGroup waits for a rebalance, and responses keep the order
// of the requests whatever is ready first.
func TestTrap10_WhatFollowsAWaitingJoinGroupIsAnsweredBehindIt(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		began := time.Now()
		join := c.send(consumerJoin("g", ""), 3)
		list := c.send(kmsg.NewPtrListGroupsRequest(), 5)
		versions := c.send(kmsg.NewPtrApiVersionsRequest(), 2)
		del := kmsg.NewPtrDeleteGroupsRequest()
		del.Groups = []string{"g"}
		deleted := c.send(del, 3)

		j := join().(*kmsg.JoinGroupResponse)
		wantEqual(t, "join", []any{j.ErrorCode, j.Generation, time.Since(began) >= b.group.InitialRebalanceDelay}, []any{0, 1, true})
		wantEqual(t, "groups while it waited", len(list().(*kmsg.ListGroupsResponse).Groups), 1)
		wantEqual(t, "versions", versions().(*kmsg.ApiVersionsResponse).ErrorCode, 0)
		wantEqual(t, "deletion while it waited", deleted().(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode, codeNonEmptyGroup)
	})
}

// TestTrap43_AStaticLeaderThatComesBack: from version 9 on it is told to skip the assignment, and of the members; before, it is
// told that its former self leads, so that it does not assign.
func TestTrap43_AStaticLeaderThatComesBack(t *testing.T) {
	for v := int16(5); v <= 9; v++ {
		inBox(t, func(t *testing.T, b *box) {
			b.groupTopic()
			c := b.dial()
			join := consumerJoin("g", "")
			join.InstanceID = kmsg.StringPtr("i")
			first := do[*kmsg.JoinGroupResponse](c, join, v)
			syncAs(c, 5, "g", first.MemberID, 1, map[string]string{first.MemberID: "share"})
			back := do[*kmsg.JoinGroupResponse](c, join, v)
			wantEqual(t, fmt.Sprint("back in version ", v), []any{back.ErrorCode, back.Generation, back.MemberID != first.MemberID}, []any{0, 1, true})
			leader, members := first.MemberID, 0
			if v >= 9 {
				leader, members = back.MemberID, 1
			}
			wantEqual(t, "leads", []any{back.SkipAssignment, back.LeaderID, len(back.Members)}, []any{v >= 9, leader, members})
			wantEqual(t, "share", string(syncAs(c, 5, "g", back.MemberID, 1, nil).MemberAssignment), "share")

			hb := kmsg.NewPtrHeartbeatRequest()
			hb.Group, hb.MemberID, hb.Generation, hb.InstanceID = "g", first.MemberID, 1, join.InstanceID
			wantEqual(t, "its former self", do[*kmsg.HeartbeatResponse](c, hb, 3).ErrorCode, codeFencedInstanceID)

			// An admin removes it by its instance id alone; then the group can be deleted.
			lv := kmsg.NewPtrLeaveGroupRequest()
			m := kmsg.NewLeaveGroupRequestMember()
			m.InstanceID = join.InstanceID
			lv.Group, lv.Members = "g", append(lv.Members, m)
			wantEqual(t, "before", deleteGroups(c, 3, "g"), []int16{codeNonEmptyGroup})
			wantEqual(t, "removed", do[*kmsg.LeaveGroupResponse](c, lv, 5).Members[0].ErrorCode, 0)
			wantEqual(t, "after", deleteGroups(c, 3, "g"), []int16{0})
		})
	}
}
