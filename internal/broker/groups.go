package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Member is who asks something of a group.
type Member struct {
	ClientID string
	Host     string // the client's address, without the port
}

// Groups coordinates consumer groups: the group coordinator of this broker. Requests are
// kmsg's, in the version the client sent, and own their bytes. done is called exactly once,
// from any goroutine, with a response for that request; neither the methods nor done block. What only the
// coordinator can know (not coordinator, loading, unknown member) is in the response's codes.
type Groups interface {
	// Coordinator returns the partition of __consumer_offsets that holds a group.
	Partition(group string, partitions int32) int32

	JoinGroup(m Member, req *kmsg.JoinGroupRequest, done func(*kmsg.JoinGroupResponse))
	SyncGroup(m Member, req *kmsg.SyncGroupRequest, done func(*kmsg.SyncGroupResponse))
	Heartbeat(m Member, req *kmsg.HeartbeatRequest, done func(*kmsg.HeartbeatResponse))
	LeaveGroup(m Member, req *kmsg.LeaveGroupRequest, done func(*kmsg.LeaveGroupResponse))
	OffsetCommit(m Member, req *kmsg.OffsetCommitRequest, done func(*kmsg.OffsetCommitResponse))
	OffsetFetch(m Member, req *kmsg.OffsetFetchRequest, done func(*kmsg.OffsetFetchResponse))
	ListGroups(req *kmsg.ListGroupsRequest, done func(*kmsg.ListGroupsResponse))
	DescribeGroups(req *kmsg.DescribeGroupsRequest, done func(*kmsg.DescribeGroupsResponse))
}
