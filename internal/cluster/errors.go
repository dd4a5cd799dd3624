package cluster

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/status"
)

// Reason says why a node cannot go on as a member of its cluster. It is what a
// process's exit code and an operator's runbook are made from.
type Reason int

// The reasons for which Run ends with a FatalError.
const (
	// ReasonFounders: the peers do not agree about who founds the cluster.
	ReasonFounders Reason = iota + 1
	// ReasonStranger: this node or its directory is no member of the cluster that its peers form.
	ReasonStranger
	// ReasonStorage: a file of __raft_metadata failed; what it holds is no longer certain.
	ReasonStorage
	// ReasonDiverged: this node's image differs from the majority's at the same index.
	ReasonDiverged
	// ReasonDuplicate: another live process is registered under this node id.
	ReasonDuplicate
	// ReasonRecord: the log holds what this version cannot read.
	ReasonRecord
)

// String names the reason in a few words.
func (r Reason) String() string {
	switch r {
	case ReasonFounders:
		return "founders disagree"
	case ReasonStranger:
		return "not a member"
	case ReasonStorage:
		return "metadata storage failed"
	case ReasonDiverged:
		return "metadata image diverged"
	case ReasonDuplicate:
		return "node id in use"
	case ReasonRecord:
		return "metadata record not understood"
	default:
		return fmt.Sprintf("reason %d", int(r))
	}
}

// FatalError ends the process: Run returns it when going on could break a
// promise, or when only a person can help. Its text says what, why, what to do.
type FatalError struct {
	Reason Reason
	Err    error
}

// Error implements error.
func (e *FatalError) Error() string { return e.Err.Error() }

// Unwrap gives the cause to errors.Is and errors.As.
func (e *FatalError) Unwrap() error { return e.Err }

func fatalf(r Reason, format string, args ...any) error {
	return &FatalError{Reason: r, Err: fmt.Errorf(format, args...)}
}

// What Submit, Register and Quorum return beside a context's error.
var (
	// ErrStopped: the node is stopping and takes no further commands.
	ErrStopped = errors.New("cluster: the node is stopping")
	// ErrTimedOut: no controller answered within the caller's deadline. The
	// command may have been applied, or may still be.
	ErrTimedOut = errors.New("cluster: no answer from the controller in time")
	// ErrOverloaded: the controller's queue is full; the command was not proposed.
	ErrOverloaded = errors.New("cluster: the controller's queue is full")
)

// Outcomes inside the package: all of them make the submitter try again with the same RequestId.
var (
	// errNotController: this node does not lead; the command was not proposed.
	errNotController = errors.New("cluster: not the controller")
	// errUnknownOutcome: leadership went while the entry was in flight. It may
	// yet commit under the next leader, so nothing definite can be said of it.
	errUnknownOutcome = errors.New("cluster: leadership lost while the entry was in flight")
)

// plain is the text of an error of a call to another node without what gRPC puts around it.
func plain(err error) string {
	text := err.Error()
	const dialing = "transport: Error while dialing: "
	if i := strings.LastIndex(text, dialing); i >= 0 {
		return strings.TrimRight(text[i+len(dialing):], `\"`)
	}
	if s, ok := status.FromError(err); ok && strings.HasPrefix(text, "rpc error: ") {
		return s.Message()
	}
	return text
}
