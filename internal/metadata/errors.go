package metadata

import (
	"errors"
	"fmt"
	"strings"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// Error is a refusal: Kafka's error code, and what is wrong and what to do.
type Error struct {
	Code    int16
	Message string
}

// maxMessage bounds the message of an Error, which may quote what a client has sent: in the older versions of most
// answers a string has at most 32,767 bytes, and nobody reads that much.
const maxMessage = 2000

// Errorf makes an Error. Its message is valid UTF-8 whatever is quoted in it, since
// answers stand in protobuf strings, and not long.
func Errorf(code int16, format string, args ...any) *Error {
	return &Error{Code: code, Message: Clip(fmt.Sprintf(format, args...))}
}

// Clip makes a text valid UTF-8, and short enough for a message.
func Clip(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// AnswerError is the refusal that an answer stands for; nil if it is none.
func AnswerError(a *clusterv1.Answer) error {
	if a.GetCode() == 0 {
		return nil
	}
	return &Error{Code: int16(a.GetCode()), Message: a.GetMessage()}
}

// Kafka's error codes that the controller answers with.
const (
	CodeUnknownServerError          int16 = -1
	CodeNone                        int16 = 0
	CodeUnknownTopicOrPartition     int16 = 3
	CodeNotLeaderOrFollower         int16 = 6
	CodeRequestTimedOut             int16 = 7
	CodeInvalidTopic                int16 = 17
	CodeUnsupportedVersion          int16 = 35
	CodeTopicAlreadyExists          int16 = 36
	CodeInvalidPartitions           int16 = 37
	CodeInvalidReplicationFactor    int16 = 38
	CodeInvalidReplicaAssignment    int16 = 39
	CodeInvalidConfig               int16 = 40
	CodeNotController               int16 = 41
	CodeInvalidRequest              int16 = 42
	CodePolicyViolation             int16 = 44
	CodeStaleBrokerEpoch            int16 = 77
	CodeThrottlingQuotaExceeded     int16 = 89
	CodeUnknownTopicID              int16 = 100
	CodeDuplicateBrokerRegistration int16 = 101
	CodeBrokerIDNotRegistered       int16 = 102
	CodeInconsistentClusterID       int16 = 104
	CodeInvalidRegistration         int16 = 119
)

// ErrCorrupt marks bytes that cannot have been written as they stand: damage.
var ErrCorrupt = errors.New("damaged metadata")

// ErrUnknown marks a record kind or a field that a newer version wrote.
var ErrUnknown = errors.New("metadata of a newer version")
