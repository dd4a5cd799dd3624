package broker

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/group"
)

func deleteGroups(c *rawConn, version int16, groups ...string) (codes []int16) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = groups
	resp := do[*kmsg.DeleteGroupsResponse](c, req, version)
	for i, g := range resp.Groups {
		wantEqual(c.t, "group", g.Group, groups[i])
		wantEqual(c.t, fmt.Sprintf("a message in version %d with code %d", version, g.ErrorCode), g.ErrorMessage != nil, version >= 3 && g.ErrorCode != 0)
		codes = append(codes, g.ErrorCode)
	}
	return codes
}

// deleteOffsets asks to forget partitions 0 and 7 of topics.
func deleteOffsets(c *rawConn, groupID string, topics ...string) (top int16, codes []int16) {
	c.t.Helper()
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = groupID
	for _, name := range topics {
		rt := kmsg.NewOffsetDeleteRequestTopic()
		rt.Topic = name
		rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: 0}, kmsg.OffsetDeleteRequestTopicPartition{Partition: 7})
		req.Topics = append(req.Topics, rt)
	}
	resp := do[*kmsg.OffsetDeleteResponse](c, req, 0)
	for _, rt := range resp.Topics {
		for _, p := range rt.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	return resp.ErrorCode, codes
}

// subscription is a consumer's metadata that names topics.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, topics
	return m.AppendTo(nil)
}

// TestDeleteGroups: every version, every verdict a group of its own, and nothing is left of what was deleted, before and after a restart.
func TestDeleteGroups(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		j := joinUntil(c, 9, consumerJoin("busy", ""))
		syncAs(c, 5, "busy", j.MemberID, 1, map[string]string{j.MemberID: "share"})
		for v := int16(0); v <= 3; v++ {
			b.commitAndFetch(c, 9, "idle", "", -1)
			b.commitAndFetch(c, 9, "", "", -1) // group "" keeps offsets too
			wantEqual(t, fmt.Sprint("version ", v), deleteGroups(c, v, "idle", "busy", "not-there", "", "idle"),
				[]int16{0, codeNonEmptyGroup, codeGroupIDNotFound, 0, codeGroupIDNotFound})
		}
		wantEqual(t, "no groups", len(deleteGroups(c, 3)), 0)
		b.describeAndList(c, 9, "busy", "Stable", 1)

		// Whoever commits to a deleted group with a generation is not of it any more; without one he makes it anew.
		lv := kmsg.NewPtrLeaveGroupRequest()
		lv.Group, lv.MemberID = "busy", j.MemberID
		wantEqual(t, "left", do[*kmsg.LeaveGroupResponse](c, lv, 1).ErrorCode, 0)
		wantEqual(t, "without members", deleteGroups(c, 3, "busy"), []int16{0})
		hb := kmsg.NewPtrHeartbeatRequest()
		hb.Group, hb.MemberID, hb.Generation = "busy", j.MemberID, 1
		wantEqual(t, "a member of before", do[*kmsg.HeartbeatResponse](c, hb, 4).ErrorCode, codeUnknownMemberID)

		b.stop()
		b.start()
		c = b.dial()
		wantEqual(t, "groups", len(do[*kmsg.ListGroupsResponse](c, kmsg.NewPtrListGroupsRequest(), 5).Groups), 0)
		again := joinUntil(c, 9, consumerJoin("busy", ""))
		wantEqual(t, "made again", []any{again.ErrorCode, again.Generation}, []any{0, 1})
	})
}

// TestTrap06_OffsetDeleteIsNeverFlexible: its headers have no tags; do fails on one byte too many or too few.
func TestTrap06_OffsetDeleteIsNeverFlexible(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.topic("y", 1)
		b.groupTopic()
		c := b.dial()
		offsetDelete := func(g string, topics ...string) []any {
			top, codes := deleteOffsets(c, g, topics...)
			return []any{top, fmt.Sprint(codes)}
		}
		unknown := codeUnknownTopicOrPartition
		wantEqual(t, "not there", offsetDelete("g", "x"), []any{codeGroupIDNotFound, "[]"})
		wantEqual(t, "no name", offsetDelete("", "x"), []any{codeInvalidGroupID, "[]"})
		b.commitAndFetch(c, 9, "g", "", -1)
		wantEqual(t, "each", offsetDelete("g", "x", "unknown", "y"), []any{0, fmt.Sprint([]int16{0, unknown, unknown, unknown, 0, unknown})})
		wantEqual(t, "nothing is left", offsetDelete("g", "x"), []any{codeGroupIDNotFound, "[]"})

		join := consumerJoin("s", "")
		join.Protocols[0].Metadata = subscription("x")
		j := joinUntil(c, 9, join)
		syncAs(c, 5, "s", j.MemberID, 1, nil)
		b.commitAndFetch(c, 9, "s", j.MemberID, 1)
		wantEqual(t, "subscribed", offsetDelete("s", "x", "y"), []any{0, fmt.Sprint([]int16{codeGroupSubscribedToTopic, unknown, 0, unknown})})

		connect := consumerJoin("w", "")
		connect.ProtocolType = "connect"
		wantEqual(t, "joined", joinUntil(c, 9, connect).ErrorCode, 0)
		wantEqual(t, "not consumers", offsetDelete("w", "x"), []any{codeNonEmptyGroup, "[]"})
	})
}

// TestWhatIsAskedForTwice: a request of 1 MiB could have a large answer made a hundred thousand times.
func TestWhatIsAskedForTwice(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		b.commitAndFetch(c, 9, "g", "", -1)
		dr := kmsg.NewPtrDescribeGroupsRequest()
		dr.Groups = []string{"g", "h", "g"}
		for v := int16(0); v <= 6; v++ {
			groups := do[*kmsg.DescribeGroupsResponse](c, dr, v).Groups
			wantEqual(t, fmt.Sprint("described ", v), []any{groups[0].ErrorCode, groups[0].State, groups[2].ErrorCode, groups[2].Group}, []any{0, "Empty", codeInvalidRequest, "g"})
		}
		fr := kmsg.NewPtrOffsetFetchRequest()
		fr.Group = "g"
		for range 2 {
			one, fg, ft := kmsg.NewOffsetFetchRequestTopic(), kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic()
			one.Topic, one.Partitions = "x", []int32{0, 1}
			ft.Topic, ft.TopicID, ft.Partitions = "x", b.ctl.Image().TopicByName("x").ID, []int32{0, 1, 0}
			fg.Group, fg.Topics = "g", append(fg.Topics, ft)
			fr.Topics, fr.Groups = append(fr.Topics, one), append(fr.Groups, fg)
		}
		for v := int16(1); v <= 10; v++ {
			resp := do[*kmsg.OffsetFetchResponse](c, fr, v)
			var got, want []any
			if v < 8 {
				for _, rt := range resp.Topics {
					for _, p := range rt.Partitions {
						got = append(got, p.Offset, p.ErrorCode)
					}
				}
				want = []any{42, 0, -1, 0, -1, codeInvalidRequest, -1, codeInvalidRequest}
			} else {
				for _, p := range resp.Groups[0].Topics[0].Partitions {
					got = append(got, p.Offset, p.ErrorCode)
				}
				got = append(got, resp.Groups[1].ErrorCode, len(resp.Groups[1].Topics))
				want = []any{42, 0, -1, 0, -1, codeInvalidRequest, codeInvalidRequest, 0}
			}
			wantEqual(t, fmt.Sprint("fetched ", v), got, want)
		}
	})
}

// TestDeletionWhereThereIsNoState: another broker's group is NOT_COORDINATOR, and of one that loads nothing is deleted.
func TestDeletionWhereThereIsNoState(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		b.groupTopic()
		c := b.dial()
		b.commitAndFetch(c, 9, "g", "", -1)
		b.broker.o.Groups.runtime.Load(group.PartitionFor("g", 5), 99, stuckLog{})
		b.settle()
		other := ""
		for i := 0; group.PartitionFor(other, 5) == group.PartitionFor("g", 5); i++ {
			other = fmt.Sprint("other-", i)
		}
		b.commitAndFetch(c, 9, other, "", -1)
		wantEqual(t, "each by its shard", deleteGroups(c, 3, "g", other), []int16{codeCoordinatorLoadInProgress, 0})
		top, _ := deleteOffsets(c, "g", "x")
		wantEqual(t, "OffsetDelete", top, codeCoordinatorLoadInProgress)
		b.broker.o.Groups.runtime.Unload(group.PartitionFor("g", 5), 100)
		b.settle()
		wantEqual(t, "it has moved", deleteGroups(c, 3, "g"), []int16{codeNotCoordinator})
		top, _ = deleteOffsets(c, "g", "x")
		wantEqual(t, "OffsetDelete", top, codeNotCoordinator)
	})
}

// TestAdminClientDeletesGroups: as kadm, and the command line, do it.
func TestAdminClientDeletesGroups(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 2)
		cl := b.client()
		defer cl.Close()
		adm := kadm.NewClient(cl)
		var offsets kadm.Offsets
		offsets.AddOffset("x", 0, 5, -1)
		offsets.AddOffset("x", 1, 6, -1)
		b.must(adm.CommitAllOffsets(t.Context(), "g", offsets))
		var one kadm.TopicsSet
		one.Add("x", 1)
		deleted, err := adm.DeleteOffsets(t.Context(), "g", one)
		b.must(err)
		b.must(deleted.Error())
		left, err := adm.FetchOffsets(t.Context(), "g")
		b.must(err)
		wantEqual(t, "left", []any{len(left["x"]), left["x"][0].At}, []any{1, int64(5)})
		// One at a time: while the shard of one is being loaded the client repeats the whole request.
		gone, err := adm.DeleteGroups(t.Context(), "g")
		b.must(err)
		b.must(gone["g"].Err)
		if gone, err = adm.DeleteGroups(t.Context(), "h"); err == nil && gone["h"].Err == nil {
			t.Error("a group that does not exist was deleted")
		}
	})
}
