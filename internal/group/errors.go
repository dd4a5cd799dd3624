package group

import "errors"

// Refusals of the state machine. The broker maps them to Kafka's error codes.
var (
	// ErrInvalidGroupID refuses an empty group id where a group with members is meant.
	ErrInvalidGroupID = errors.New("the group id is empty")
	// ErrGroupNotFound says that there is no such group.
	ErrGroupNotFound = errors.New("the group does not exist")
	// ErrUnknownMember says that the member is not, or no longer, in the group: it must join again.
	ErrUnknownMember = errors.New("the member is not in the group")
	// ErrMemberIDRequired carries a member id that a first-time member must join again with.
	ErrMemberIDRequired = errors.New("the member must join again with the id that it was given")
	// ErrFencedInstance says that another process has joined with the same group instance id since.
	ErrFencedInstance = errors.New("another member with this group instance id has joined since")
	// ErrIllegalGeneration says that the generation is not the group's current one.
	ErrIllegalGeneration = errors.New("the generation is not the group's current one")
	// ErrInconsistentProtocol says that the member has no protocol in common with the group.
	ErrInconsistentProtocol = errors.New("the member shares no protocol with the group")
	// ErrRebalanceInProgress says that the group rebalances: the member must join again.
	ErrRebalanceInProgress = errors.New("the group rebalances")
	// ErrInvalidSessionTimeout says that the session timeout lies outside group.min.session.timeout.ms and group.max.session.timeout.ms.
	ErrInvalidSessionTimeout = errors.New("the session timeout lies outside the limits of the broker")
	// ErrGroupFull says that the group has group.max.size members already.
	ErrGroupFull = errors.New("the group has as many members as the broker allows")
	// ErrNoRoom says that the broker holds as much for the members of all groups as it may: the member may try again later.
	ErrNoRoom = errors.New("the coordinator holds as many first-time members, or as much of its members' metadata, as it may: try again later")
	// ErrMetadataTooLarge says that the metadata of a committed offset exceeds offset.metadata.max.bytes.
	ErrMetadataTooLarge = errors.New("the metadata of the committed offset is too large")
	// ErrGroupTooLarge says that the group's members do not fit into one record.
	ErrGroupTooLarge = errors.New("the group's members and assignments do not fit into one record of the offsets topic")
	// ErrNonEmptyGroup says that what was asked for needs a group without members.
	ErrNonEmptyGroup = errors.New("the group has members: stop its consumers, or wait until their sessions have ended")
	// ErrSubscribed says that the offsets of a topic stay because the group's members read it.
	ErrSubscribed = errors.New("members of the group are subscribed to the topic: its offsets stay until they are not")
	// ErrDeletionUnfinished says that a group has more offsets than one batch can delete: some are deleted, the rest goes when the request is repeated.
	ErrDeletionUnfinished = errors.New("the group has more offsets than can be deleted at once: repeat the request to delete the rest")
)
