package rpc

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Entry is what the book knows of a node: on which directory it stands, and
// where it is reached (host:port, resolved anew at each dial).
type Entry struct {
	Directory [16]byte // zero if not known
	Address   string
}

// Book is the address book of a node, and holds its own identity.
//
// An address comes from three places, a later one over an earlier: --peers, the
// registrations in the metadata image, and handshakes. The directory of a node
// is the one in the Raft configuration, else the registered one. Safe for
// concurrent use.
type Book struct {
	mu         sync.Mutex
	self       Identity
	peers      map[int32]string   // --peers
	registered map[int32]Entry    // from the image
	met        map[int32]Entry    // from handshakes, whatever directory they showed
	members    map[int32][16]byte // the Raft configuration
}

// NewBook returns the book of the node self.
func NewBook(self Identity) *Book {
	return &Book{
		self:       self,
		peers:      map[int32]string{},
		registered: map[int32]Entry{},
		met:        map[int32]Entry{},
		members:    map[int32][16]byte{},
	}
}

// Self returns this node's identity.
func (b *Book) Self() Identity {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.self
}

// SetCluster notes the cluster this node belongs to from now on.
func (b *Book) SetCluster(id string, generation uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.self.ClusterID, b.self.Generation = id, generation
}

// SetPeers notes the addresses of --peers.
func (b *Book) SetPeers(addresses map[int32]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peers = maps.Clone(addresses)
}

// SetMembers notes the directories in the Raft configuration: a call from a
// member that shows another one is refused.
func (b *Book) SetMembers(directories map[int32][16]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members = maps.Clone(directories)
}

// SetRegistered notes the registrations in the metadata image. An address that a
// handshake brought yields to a registration that has changed since.
func (b *Book) SetRegistered(entries map[int32]Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range entries {
		if b.registered[id] != e {
			delete(b.met, id)
		}
	}
	b.registered = maps.Clone(entries)
}

// Meet notes what a node's handshake said. An address of an unknown directory is
// not used, but the directory is remembered: calls that look for another one
// then fail before they leave.
func (b *Book) Meet(id int32, e Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.met[id] = e
}

// Directory returns the directory that a node must show, if one is known.
func (b *Book) Directory(id int32) (directory [16]byte, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.directory(id)
}

func (b *Book) directory(id int32) ([16]byte, bool) {
	if d, ok := b.members[id]; ok {
		return d, true
	}
	if e, ok := b.registered[id]; ok && e.Directory != ([16]byte{}) {
		return e.Directory, true
	}
	return [16]byte{}, false
}

// Met returns the directory that a node showed in its last handshake.
func (b *Book) Met(id int32) (directory [16]byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.met[id]
	return e.Directory, ok && e.Directory != ([16]byte{})
}

// Addresses returns where a node may be reached, the likeliest first. A dial
// that fails, or that finds another node, goes on to the next one: an
// advertised address need not be reachable from everywhere.
func (b *Book) Addresses(id int32) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	add := func(a string) {
		if a != "" && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	want, known := b.directory(id)
	if e, ok := b.met[id]; ok && (!known || e.Directory == want) {
		add(e.Address)
	}
	add(b.registered[id].Address)
	add(b.peers[id])
	if len(all) == 0 {
		return nil, fmt.Errorf("no address of node %d is known: it is neither in --peers nor registered, and has not introduced itself", id)
	}
	return all, nil
}

// Known returns the ids of all nodes that have an address, in order.
func (b *Book) Known() []int32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := map[int32]bool{}
	for id := range b.peers {
		seen[id] = true
	}
	for id := range b.registered {
		seen[id] = true
	}
	for id := range b.met {
		seen[id] = true
	}
	delete(seen, b.self.NodeID)
	return slices.Sorted(maps.Keys(seen))
}
