package group

import "time"

// Client is who sent a request.
type Client struct {
	ID   string // client.id
	Host string // the address it came from, as Kafka writes it: "/127.0.0.1"
}

// Protocol is an assignment strategy that a member supports, with its metadata for it.
type Protocol struct {
	Name     string
	Metadata []byte
}

// JoinRequest asks to become, or remain, a member of a group.
type JoinRequest struct {
	Group        string
	MemberID     string  // empty: a new member
	InstanceID   *string // a static member's group.instance.id
	Client       Client
	ProtocolType string
	Protocols    []Protocol // in the order of the member's preference
	// SessionTimeout and RebalanceTimeout are the member's.
	SessionTimeout, RebalanceTimeout time.Duration
	// RequireMemberID: a new dynamic member is sent back with an id first (version 4).
	RequireMemberID bool
	// CanSkipAssignment: the answer may tell a leader not to assign (version 9).
	CanSkipAssignment bool
	// Reason is why the client says it joins; for the log.
	Reason string
}

// JoinMember is one member as the leader of the group is told of it.
type JoinMember struct {
	ID         string
	InstanceID *string
	Metadata   []byte
}

// JoinAnswer answers a JoinRequest.
type JoinAnswer struct {
	Err            error
	MemberID       string
	Generation     int32 // -1 with an error
	ProtocolType   string
	Protocol       string
	Leader         string
	SkipAssignment bool
	Members        []JoinMember // for the leader alone
}

// SyncRequest asks for the member's assignment; the leader's brings all of them.
type SyncRequest struct {
	Group, MemberID        string
	InstanceID             *string
	Generation             int32
	ProtocolType, Protocol *string // nil before version 5
	Assignments            map[string][]byte
}

// SyncAnswer answers a SyncRequest.
type SyncAnswer struct {
	Err                    error
	ProtocolType, Protocol string
	Assignment             []byte
}

// HeartbeatRequest keeps a member's session alive.
type HeartbeatRequest struct {
	Group, MemberID string
	InstanceID      *string
	Generation      int32
}

// Leaver is a member that leaves, or is removed by an admin (by InstanceID alone).
type Leaver struct {
	MemberID   string
	InstanceID *string
	Reason     string
}

// LeaveAnswer answers the leavers in their order.
type LeaveAnswer struct {
	Err  error
	Errs []error
}

// Offset is an offset to be committed.
type Offset struct {
	Topic       string
	TopicID     [16]byte // zero: not known
	Partition   int32
	Offset      int64
	LeaderEpoch int32 // -1: not known
	Metadata    string
}

// CommitRequest commits offsets for a member (Generation ≥ 0) or for whoever
// keeps offsets without being a member (Generation -1, MemberID empty).
type CommitRequest struct {
	Group, MemberID string
	InstanceID      *string
	Generation      int32
	// RetentionMillis is how long the offsets are kept from now; -1: as the broker is configured.
	RetentionMillis int64
	Offsets         []Offset
}

// CommitAnswer answers a commit, or a deletion, of offsets: Err for all of it, else Errs in the order of the offsets.
type CommitAnswer struct {
	Err  error
	Errs []error
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Committed is an offset as it was committed. Offset is -1 if none was.
type Committed struct {
	TopicPartition
	TopicID      [16]byte // of the topic when it was committed; zero: not known
	Offset       int64
	LeaderEpoch  int32
	Metadata     string
	CommitMillis int64
	ExpireMillis int64 // -1: by the broker's retention
}

// FetchRequest asks for committed offsets.
type FetchRequest struct {
	Group      string
	All        bool // everything the group has committed; Partitions is not looked at
	Partitions []TopicPartition
}

// FetchAnswer answers a FetchRequest: in the order asked, or with All sorted by topic and partition.
type FetchAnswer struct {
	Err     error
	Offsets []Committed
}

// Member is a member as an admin client is told of it.
type Member struct {
	ID                   string
	InstanceID           *string
	Client               Client
	Metadata, Assignment []byte // of a Stable group only
}

// Description answers a question for one group.
type Description struct {
	Err          error
	Group        string
	State        State
	ProtocolType string
	Protocol     string // of a Stable group only
	Members      []Member
}

// Listed is a group in a list.
type Listed struct {
	Group, ProtocolType string
	State               State
}

// ListAnswer answers a request for all groups of a shard, sorted by name.
type ListAnswer struct {
	Err    error
	Groups []Listed
}

// State of a group.
type State uint8

// The states of a group.
const (
	Empty State = iota
	PreparingRebalance
	CompletingRebalance
	Stable
	Dead
)

// String returns Kafka's name of the state.
func (s State) String() string {
	switch s {
	case Empty:
		return "Empty"
	case PreparingRebalance:
		return "PreparingRebalance"
	case CompletingRebalance:
		return "CompletingRebalance"
	case Stable:
		return "Stable"
	default:
		return "Dead"
	}
}
