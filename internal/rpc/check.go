package rpc

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// introduces reports whether a method is how strangers get to know each other.
// It may be called by a node of another cluster, directory or generation: its
// own answer says what is wrong. It still has to be meant for this node.
func introduces(method string) bool {
	return method == clusterv1.Cluster_Handshake_FullMethodName
}

// Caller is who makes a call, as its metadata says; checked by the server.
type Caller struct {
	Identity
	RemoteAddr string // of the connection
}

type callerKey struct{}

// CallerFrom returns who makes the call that ctx belongs to.
func CallerFrom(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// admit checks the identity of a call to a method.
func (b *Book) admit(ctx context.Context, method string) (Caller, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	self := b.Self()
	refuse := func(node int32, reason raftv1.Refusal_Reason, want, got string) error {
		return &RefusedError{Peer: node, By: self.NodeID, Reason: reason, Want: want, Got: got}
	}
	id, err := parseIdentity(md)
	if err != nil {
		return Caller{}, refuse(0, raftv1.Refusal_REASON_NO_IDENTITY, "", err.Error())
	}
	c := Caller{Identity: id}
	if p, ok := peer.FromContext(ctx); ok {
		c.RemoteAddr = p.Addr.String()
	}
	switch protocol := first(md, keyProtocol); {
	case !speaks(protocol):
		return c, refuse(id.NodeID, raftv1.Refusal_REASON_PROTOCOL, fmt.Sprintf("%d-%d", ProtocolMin, ProtocolMax), protocol)
	case id.NodeID == self.NodeID:
		return c, refuse(id.NodeID, raftv1.Refusal_REASON_OWN_NODE_ID, "", fmt.Sprintf("%d, incarnation %s", id.NodeID, FormatUUID(id.Incarnation)))
	case first(md, keyToNode) != strconv.Itoa(int(self.NodeID)):
		return c, refuse(id.NodeID, raftv1.Refusal_REASON_WRONG_NODE, fmt.Sprintf("node %d", self.NodeID), "node "+first(md, keyToNode))
	case introduces(method):
		return c, nil
	case id.ClusterID != "" && self.ClusterID != "" && id.ClusterID != self.ClusterID:
		return c, refuse(id.NodeID, raftv1.Refusal_REASON_WRONG_CLUSTER, self.ClusterID, id.ClusterID)
	}
	if want, known := b.Directory(id.NodeID); known && want != id.DirectoryID {
		return c, refuse(id.NodeID, raftv1.Refusal_REASON_UNKNOWN_DIRECTORY, FormatUUID(want), FormatUUID(id.DirectoryID))
	}
	if to := first(md, keyToDirectory); to != "" && to != FormatUUID(self.DirectoryID) {
		return c, refuse(id.NodeID, raftv1.Refusal_REASON_WRONG_NODE, fmt.Sprintf("directory %s of node %d", FormatUUID(self.DirectoryID), self.NodeID), "directory "+to)
	}
	if id.Generation < self.Generation && id.ClusterID != "" {
		return c, refuse(id.NodeID, raftv1.Refusal_REASON_OLD_GENERATION, strconv.FormatUint(self.Generation, 10), strconv.FormatUint(id.Generation, 10))
	}
	return c, nil
}

// answered checks the identity in the header of an answer to a call to the node
// id on directory (zero: on any).
func answered(self Identity, id int32, directory [16]byte, header metadata.MD) error {
	refuse := func(want, got string) error {
		return &RefusedError{Peer: id, By: self.NodeID, Reason: raftv1.Refusal_REASON_WRONG_NODE, Want: got, Got: want}
	}
	got, err := parseIdentity(header)
	if err != nil {
		return refuse(fmt.Sprintf("node %d", id), "something that shows no identity of a node ("+err.Error()+")")
	}
	if got.NodeID != id {
		return refuse(fmt.Sprintf("node %d", id), fmt.Sprintf("node %d", got.NodeID))
	}
	if directory != ([16]byte{}) && got.DirectoryID != directory {
		return refuse("directory "+FormatUUID(directory), fmt.Sprintf("directory %s of node %d", FormatUUID(got.DirectoryID), id))
	}
	return nil
}
