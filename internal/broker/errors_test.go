package broker

import (
	"errors"
	"fmt"
	"testing"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/storage"
)

// What a read or an append of a log can return has a code that clients know what to do with.
func TestCodesOfLogErrors(t *testing.T) {
	damage := &storage.CorruptionError{Path: "t-0/0.log", Err: record.ErrCorrupt}
	for _, c := range []struct {
		err  error
		want int16
	}{
		{damage, codeCorruptMessage},
		{&storage.CorruptionError{Err: errors.New("the file is too short")}, codeCorruptMessage},
		{&storage.FailedError{Log: "t-0", Op: "open", Err: damage}, codeKafkaStorageError},
		{&storage.FailedError{Log: "t-0", Op: "flush", Err: errors.New("input/output error")}, codeKafkaStorageError},
		{fmt.Errorf("read: %w", storage.ErrTruncating), codeNotLeaderOrFollower},
		{storage.ErrClosed, codeNotLeaderOrFollower},
		{storage.ErrFencedEpoch, codeNotLeaderOrFollower},
		{&storage.OutOfRangeError{}, codeOffsetOutOfRange},
		{&metadata.Error{Code: codeInvalidTopic}, codeInvalidTopic},
		{errors.New("of another kind"), codeUnknownServerError},
	} {
		if got := code(c.err); got != c.want {
			t.Errorf("%v: code %d, want %d", c.err, got, c.want)
		}
	}
}
