package cluster

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A node goes on while the peers of its own cluster can be a majority with it, and ends when they cannot.
func TestAmongStrangers(t *testing.T) {
	peers := []Peer{{ID: 2}, {ID: 3}}
	var s strangers
	step := func(what string, peer int32, its string, stranger bool, ends string) {
		t.Helper()
		if got := s.heard(peer, its, "own"); got != stranger {
			t.Errorf("%s: node %d is a stranger: %v", what, peer, got)
		}
		err := s.among("own", peers)
		var f *FatalError
		switch {
		case ends == "" && err != nil:
			t.Errorf("%s: %v", what, err)
		case ends != "" && (!errors.As(err, &f) || f.Reason != ReasonStranger || !strings.Contains(f.Error(), ends)):
			t.Errorf("%s: %v, want one about %s", what, err, ends)
		}
	}
	step("a friend", 2, "own", false, "")
	step("one of two", 3, "other", true, "")
	step("both", 2, "other", true, "node 2, 3 to another one, other")
	step("one has begun anew", 2, "", false, "")
	if err := s.among("own", nil); err != nil {
		t.Errorf("a single node: %v", err)
	}
}

func TestPlainErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("node 3 refuses: x"), "node 3 refuses: x"},
		{status.Error(codes.Unavailable, "node 3: Raft is starting or stopping"), "node 3: Raft is starting or stopping"},
		{
			status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:5002: connect: connection refused"`),
			"dial tcp 127.0.0.1:5002: connect: connection refused",
		},
	} {
		if got := plain(c.err); got != c.want {
			t.Errorf("%v: %s", c.err, got)
		}
	}
}
