package raftrpc

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/rpc"
)

// ServerID is the name of a node in the Raft configuration: its decimal id.
func ServerID(node int32) raft.ServerID {
	return raft.ServerID(strconv.Itoa(int(node)))
}

// ParseServerID reads what ServerID wrote.
func ParseServerID(id raft.ServerID) (int32, error) {
	n, err := strconv.ParseInt(string(id), 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("raftrpc: %q is not a node id", id)
	}
	return int32(n), nil
}

// Address is the address of a node in the Raft configuration. It is a name and
// never dialled: a voter is a node on one data directory, so that a wiped disk
// under the same node id is nobody.
func Address(node int32, directory [16]byte) raft.ServerAddress {
	return raft.ServerAddress("node:" + strconv.Itoa(int(node)) + "/" + rpc.FormatUUID(directory))
}

// ParseAddress reads what Address wrote.
func ParseAddress(a raft.ServerAddress) (node int32, directory [16]byte, err error) {
	rest, ok := strings.CutPrefix(string(a), "node:")
	id, uuid, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return 0, directory, fmt.Errorf("raftrpc: %q is not of the form node:<id>/<directory id>", a)
	}
	if node, err = ParseServerID(raft.ServerID(id)); err != nil {
		return 0, directory, err
	}
	if directory, err = rpc.ParseUUID(uuid); err != nil {
		return 0, directory, fmt.Errorf("raftrpc: address %q: %w", a, err)
	}
	return node, directory, nil
}
