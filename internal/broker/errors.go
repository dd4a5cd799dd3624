package broker

import (
	"context"
	"errors"

	shards "github.com/chronik-stream/chronik/internal/coordinator"
	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/storage"
)

// Kafka's error codes, as far as the broker gives them.
const (
	codeUnknownServerError          int16 = -1
	codeNone                        int16 = 0
	codeOffsetOutOfRange            int16 = 1
	codeCorruptMessage              int16 = 2
	codeUnknownTopicOrPartition     int16 = 3
	codeLeaderNotAvailable          int16 = 5
	codeNotLeaderOrFollower         int16 = 6
	codeRequestTimedOut             int16 = 7
	codeReplicaNotAvailable         int16 = 9
	codeMessageTooLarge             int16 = 10
	codeOffsetMetadataTooLarge      int16 = 12
	codeNetworkException            int16 = 13
	codeCoordinatorLoadInProgress   int16 = 14
	codeCoordinatorNotAvailable     int16 = 15
	codeNotCoordinator              int16 = 16
	codeInvalidTopic                int16 = 17
	codeRecordListTooLarge          int16 = 18
	codeNotEnoughReplicas           int16 = 19
	codeNotEnoughReplicasAfter      int16 = 20
	codeInvalidRequiredAcks         int16 = 21
	codeIllegalGeneration           int16 = 22
	codeInconsistentGroupProtocol   int16 = 23
	codeInvalidGroupID              int16 = 24
	codeUnknownMemberID             int16 = 25
	codeInvalidSessionTimeout       int16 = 26
	codeRebalanceInProgress         int16 = 27
	codeInvalidCommitOffsetSize     int16 = 28
	codeInvalidTimestamp            int16 = 32
	codeUnsupportedVersion          int16 = 35
	codeTopicAlreadyExists          int16 = 36
	codeInvalidReplicationFactor    int16 = 38
	codeNotController               int16 = 41
	codeInvalidRequest              int16 = 42
	codeUnsupportedForMessageFormat int16 = 43
	codePolicyViolation             int16 = 44
	codeOutOfOrderSequence          int16 = 45
	codeDuplicateSequence           int16 = 46
	codeInvalidProducerEpoch        int16 = 47
	codeInvalidTransactionTimeout   int16 = 50
	codeKafkaStorageError           int16 = 56
	codeUnknownProducerID           int16 = 59
	codeNonEmptyGroup               int16 = 68
	codeGroupIDNotFound             int16 = 69
	codeFetchSessionIDNotFound      int16 = 70
	codeInvalidFetchSessionEpoch    int16 = 71
	codeTopicDeletionDisabled       int16 = 73
	codeFencedLeaderEpoch           int16 = 74
	codeUnknownLeaderEpoch          int16 = 75
	codeUnsupportedCompressionType  int16 = 76
	codeOffsetNotAvailable          int16 = 78
	codeMemberIDRequired            int16 = 79
	codeGroupMaxSizeReached         int16 = 81
	codeFencedInstanceID            int16 = 82
	codeGroupSubscribedToTopic      int16 = 86
	codeInvalidRecord               int16 = 87
	codeThrottlingQuotaExceeded     int16 = 89
	codeUnknownTopicID              int16 = 100
	codeInconsistentTopicID         int16 = 103
	codeFetchSessionTopicIDError    int16 = 106
	codeMismatchedEndpointType      int16 = 114
	codeUnsupportedEndpointType     int16 = 115
	codeRebootstrapRequired         int16 = 129
)

// errClosedByHandler ends a connection whose request cannot be answered in its protocol.
var errClosedByHandler = errors.New("broker: the request has no answer in its version of the protocol")

// codes maps the errors of the packages below; the first that an error wraps counts.
var codes = []struct {
	err  error
	code int16
}{
	// Of a coordinator first: its errors wrap those of the log below it.
	{shards.ErrNotCoordinator, codeNotCoordinator},
	{shards.ErrLoading, codeCoordinatorLoadInProgress},
	{shards.ErrUnavailable, codeCoordinatorNotAvailable},
	{shards.ErrTimedOut, codeCoordinatorNotAvailable},
	{shards.ErrOverloaded, codeCoordinatorNotAvailable},
	{errNoCoordinator, codeCoordinatorNotAvailable},
	{group.ErrInvalidGroupID, codeInvalidGroupID},
	{group.ErrGroupNotFound, codeGroupIDNotFound},
	{group.ErrUnknownMember, codeUnknownMemberID},
	{group.ErrMemberIDRequired, codeMemberIDRequired},
	{group.ErrFencedInstance, codeFencedInstanceID},
	{group.ErrIllegalGeneration, codeIllegalGeneration},
	{group.ErrInconsistentProtocol, codeInconsistentGroupProtocol},
	{group.ErrRebalanceInProgress, codeRebalanceInProgress},
	{group.ErrInvalidSessionTimeout, codeInvalidSessionTimeout},
	{group.ErrGroupFull, codeGroupMaxSizeReached},
	{group.ErrNoRoom, codeCoordinatorNotAvailable}, // clients look for the coordinator again, and try again
	{group.ErrMetadataTooLarge, codeOffsetMetadataTooLarge},
	{group.ErrGroupTooLarge, codeUnknownServerError},
	{group.ErrNonEmptyGroup, codeNonEmptyGroup},
	{group.ErrSubscribed, codeGroupSubscribedToTopic},
	{group.ErrDeletionUnfinished, codeCoordinatorLoadInProgress}, // clients repeat the request at the same broker
	{errCommitTooLarge, codeInvalidCommitOffsetSize},
	{errInvalidRequest, codeInvalidRequest},
	{errNotCreatedYet, codeLeaderNotAvailable},

	{replica.ErrUnknownPartition, codeUnknownTopicOrPartition},
	{replica.ErrUnknownTopicID, codeUnknownTopicID},
	{replica.ErrInconsistentTopicID, codeInconsistentTopicID},
	{replica.ErrNotLeader, codeNotLeaderOrFollower},
	{replica.ErrFencedLeaderEpoch, codeFencedLeaderEpoch},
	{replica.ErrUnknownLeaderEpoch, codeUnknownLeaderEpoch},
	{replica.ErrNotEnoughReplicas, codeNotEnoughReplicas},
	{replica.ErrOpening, codeNotLeaderOrFollower},
	{replica.ErrTimedOut, codeRequestTimedOut},
	{errTransactions, codeInvalidRequest},
	{errAcks, codeInvalidRequiredAcks},
	{errInternal, codeInvalidTopic},
	{errCompactOnly, codePolicyViolation},
	{errZstdTopic, codeUnsupportedCompressionType},
	{storage.ErrOutOfRange, codeOffsetOutOfRange},
	{storage.ErrOutOfOrderSequence, codeOutOfOrderSequence},
	{storage.ErrDuplicateSequence, codeDuplicateSequence},
	{storage.ErrInvalidProducerEpoch, codeInvalidProducerEpoch},
	{storage.ErrFencedEpoch, codeNotLeaderOrFollower},
	{storage.ErrRecordTooLarge, codeRecordListTooLarge},
	{storage.ErrStorage, codeKafkaStorageError}, // also of a log that damage has fenced
	{storage.ErrCorrupt, codeCorruptMessage},
	{storage.ErrTruncating, codeNotLeaderOrFollower},
	{storage.ErrClosed, codeNotLeaderOrFollower},
	{record.ErrTooLarge, codeMessageTooLarge},
	{record.ErrCorrupt, codeCorruptMessage},
	{record.ErrIncomplete, codeCorruptMessage},
	{record.ErrUnsupportedMagic, codeUnsupportedForMessageFormat},
	{record.ErrUnsupportedCodec, codeUnsupportedCompressionType},
	{record.ErrInvalidRecord, codeInvalidRecord},
	{record.ErrInvalidTimestamp, codeInvalidTimestamp},
	{record.ErrLimit, codeMessageTooLarge}, // a producer that can splits the batch
	{context.DeadlineExceeded, codeRequestTimedOut},
	{context.Canceled, codeRequestTimedOut},
}

// code returns Kafka's code for an error of any package: of a refusal of the controller its own,
// of an unknown error UNKNOWN_SERVER_ERROR.
func code(err error) int16 {
	if err == nil {
		return codeNone
	}
	var refusal *metadata.Error
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return codeUnknownServerError
}

// submitCode is code for an error of Controller.Submit or Quorum: without an answer it is not known whether the
// command was carried out, which clients are told by REQUEST_TIMED_OUT.
func submitCode(err error) int16 {
	if c := code(err); c != codeUnknownServerError {
		return c
	}
	return codeRequestTimedOut
}

// message returns the text that goes to the client beside the code; nil for none.
func message(err error) *string {
	if err == nil {
		return nil
	}
	s := metadata.Clip(err.Error())
	return &s
}
