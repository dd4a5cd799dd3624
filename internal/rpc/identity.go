package rpc

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"google.golang.org/grpc/metadata"
)

// Range of the protocol between nodes that this program speaks.
const (
	ProtocolMin = 1
	ProtocolMax = 1
)

// Keys of the metadata that every call, and every answer's header, carries.
const (
	keyProtocol    = "chronik-protocol"
	keyCluster     = "chronik-cluster-id"
	keyNode        = "chronik-node-id"
	keyDirectory   = "chronik-directory-id"
	keyIncarnation = "chronik-incarnation"
	keyGeneration  = "chronik-generation"
	keyToNode      = "chronik-to-node-id"
	keyToDirectory = "chronik-to-directory-id"
)

// Identity is who a node is.
type Identity struct {
	ClusterID   string   // empty while the node has not founded or joined a cluster
	NodeID      int32    // --node-id
	DirectoryID [16]byte // made once per data directory
	Incarnation [16]byte // made once per start of the process
	Generation  uint64   // of the cluster; rises when a lost majority was given up for good
}

// FormatUUID writes an id in the usual form, 8-4-4-4-12 hexadecimal digits.
func FormatUUID(id [16]byte) string {
	var p [36]byte
	hex.Encode(p[0:8], id[0:4])
	hex.Encode(p[9:13], id[4:6])
	hex.Encode(p[14:18], id[6:8])
	hex.Encode(p[19:23], id[8:10])
	hex.Encode(p[24:36], id[10:16])
	p[8], p[13], p[18], p[23] = '-', '-', '-', '-'
	return string(p[:])
}

// ParseUUID reads what FormatUUID wrote.
func ParseUUID(s string) (id [16]byte, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("%q is not a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	digits := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return id, fmt.Errorf("%q is not a UUID: %w", s, err)
	}
	return id, nil
}

// metadata returns id as the metadata of a call to a node, or of an answer if to is 0.
func (id Identity) metadata(to int32, directory [16]byte) metadata.MD {
	md := metadata.MD{
		keyProtocol:    {strconv.Itoa(ProtocolMin) + "-" + strconv.Itoa(ProtocolMax)},
		keyNode:        {strconv.Itoa(int(id.NodeID))},
		keyDirectory:   {FormatUUID(id.DirectoryID)},
		keyIncarnation: {FormatUUID(id.Incarnation)},
		keyGeneration:  {strconv.FormatUint(id.Generation, 10)},
	}
	if id.ClusterID != "" {
		md[keyCluster] = []string{id.ClusterID}
	}
	if to != 0 {
		md[keyToNode] = []string{strconv.Itoa(int(to))}
		if directory != ([16]byte{}) {
			md[keyToDirectory] = []string{FormatUUID(directory)}
		}
	}
	return md
}

// first returns the first value of key, empty if there is none.
func first(md metadata.MD, key string) string {
	if v := md[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// parseIdentity reads what metadata wrote.
func parseIdentity(md metadata.MD) (id Identity, err error) {
	node, err := parseNode(first(md, keyNode))
	if err != nil {
		return id, fmt.Errorf("%s: %w", keyNode, err)
	}
	id.NodeID = node
	id.ClusterID = first(md, keyCluster)
	if id.DirectoryID, err = ParseUUID(first(md, keyDirectory)); err != nil {
		return id, fmt.Errorf("%s: %w", keyDirectory, err)
	}
	if id.Incarnation, err = ParseUUID(first(md, keyIncarnation)); err != nil {
		return id, fmt.Errorf("%s: %w", keyIncarnation, err)
	}
	if id.Generation, err = strconv.ParseUint(first(md, keyGeneration), 10, 64); err != nil {
		return id, fmt.Errorf("%s: %w", keyGeneration, err)
	}
	return id, nil
}

func parseNode(s string) (int32, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a node id (1 to 2147483647)", s)
	}
	return int32(n), nil
}

// speaks reports whether a range "min-max" meets ours.
func speaks(s string) bool {
	var lo, hi int
	if n, err := fmt.Sscanf(s, "%d-%d", &lo, &hi); n != 2 || err != nil {
		return false
	}
	return lo <= ProtocolMax && hi >= ProtocolMin
}
