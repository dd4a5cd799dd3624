package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftrpc"
	"github.com/chronik-stream/chronik/internal/rpc"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// A cluster is founded once, by the nodes that name each other in --peers. Each
// waits until it has met all others, so that all know the same founding set F:
// the pairs of node id and directory id. From F alone follow the cluster's id and
// the first entry of the log, the Raft configuration at (index 1, term 0), which
// every founder writes by itself, byte for byte the same. There is no vote about
// it and no coordinator, so a founder may stop between any two steps and go on
// when it is back.
//
// Term 0, because the first leader then has term 1, and because "no entry is
// newer than the current term" holds. Any two founders compare (1, 0) with (1, 0)
// when they vote; the entry is committed by the first leader's own entry (2, 1).
//
// The entry is written before meta.properties gets the cluster's id. So a
// directory that has the id and no log has lost its log, and with it its vote:
// it is refused. One with the log and no id stopped in between, and reads F from
// the entry.

const (
	// pollEvery is how often a founder asks another one that has not answered as
	// it should; greetWait bounds one question.
	pollEvery = 20 * time.Millisecond
	greetWait = 500 * time.Millisecond
	// maxVoters of the founders vote, those with the lowest ids.
	maxVoters = 5
	// stragglers is how long the founding campaign waits for voters beyond the
	// majority, so that they too take part in the first election; well below the
	// timeout after which another one would campaign.
	stragglers = 100 * time.Millisecond
)

// clusterID is the id of the cluster that founders found.
func clusterID(founders []metadata.Founder) string {
	h := sha256.New()
	for _, f := range founders {
		var node [4]byte
		binary.BigEndian.PutUint32(node[:], uint32(f.Node))
		h.Write(node[:])
		h.Write(f.Directory[:])
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// configurationOf is the Raft configuration that founders begin with: an odd
// number of voters where there are three or more.
func configurationOf(founders []metadata.Founder) raft.Configuration {
	voters := min(len(founders), maxVoters)
	if voters > 2 && voters%2 == 0 {
		voters--
	}
	var c raft.Configuration
	for n, f := range founders {
		s := raft.Server{Suffrage: raft.Voter, ID: raftrpc.ServerID(f.Node), Address: raftrpc.Address(f.Node, f.Directory)}
		if n >= voters {
			s.Suffrage = raft.Nonvoter
		}
		c.Servers = append(c.Servers, s)
	}
	return c
}

// foundersOf reads a founding set from the configuration of the founding entry.
func foundersOf(c raft.Configuration) ([]metadata.Founder, error) {
	var founders []metadata.Founder
	for _, s := range c.Servers {
		node, dir, err := raftrpc.ParseAddress(s.Address)
		if err != nil {
			return nil, err
		}
		founders = append(founders, metadata.Founder{Node: node, Directory: dir})
	}
	sortFounders(founders)
	return founders, nil
}

func sortFounders(f []metadata.Founder) {
	slices.SortFunc(f, func(a, b metadata.Founder) int { return int(a.Node) - int(b.Node) })
}

// council is what a pristine node knows of the other founders. It is a value of
// the founding goroutine.
type council struct {
	node      int32
	directory [16]byte
	founders  []int32                    // ids, sorted, this node's too
	heard     map[int32]*clusterv1.Hello // what each said last
	silent    map[int32]error            // why the others have not been heard
}

// verdict is what follows from what was heard: a founding set, or an error that
// ends the process, or neither and what is waited for.
func (c *council) verdict() (founders []metadata.Founder, err error) {
	all := []metadata.Founder{{Node: c.node, Directory: c.directory}}
	for _, id := range c.founders {
		h := c.heard[id]
		if id == c.node || h == nil {
			continue
		}
		if h.GetState() == clusterv1.NodeState_NODE_STATE_MEMBER {
			return c.join(h)
		}
		if !slices.Equal(h.GetFounders(), c.founders) {
			return nil, c.disagree(h)
		}
		f := metadata.Founder{Node: id}
		copy(f.Directory[:], h.GetDirectoryId())
		for _, other := range all {
			if other.Directory == f.Directory {
				return nil, fatalf(ReasonFounders, "nodes %d and %d have the same directory id %s: one data directory is a copy of the other; "+
					"delete the copy's and start it on an empty one", other.Node, f.Node, rpc.FormatUUID(f.Directory))
			}
		}
		all = append(all, f)
	}
	if len(all) < len(c.founders) {
		return nil, nil
	}
	sortFounders(all)
	return all, nil
}

// join is the verdict when a peer has founded already. If this directory is one
// of the founders, it has met them before and stopped, or they have been quicker:
// it does what they did. It has never voted, or it would not be pristine.
func (c *council) join(h *clusterv1.Hello) ([]metadata.Founder, error) {
	var founders []metadata.Founder
	for _, f := range h.GetFoundingSet() {
		x := metadata.Founder{Node: f.GetNodeId()}
		copy(x.Directory[:], f.GetDirectoryId())
		founders = append(founders, x)
	}
	sortFounders(founders)
	if id := clusterID(founders); id != h.GetClusterId() {
		return nil, fatalf(ReasonFounders, "node %d says that it belongs to the cluster %s, but its founders make the cluster %s", h.GetNodeId(), h.GetClusterId(), id)
	}
	at := slices.IndexFunc(founders, func(f metadata.Founder) bool { return f.Node == c.node })
	switch {
	case at < 0:
		return nil, fatalf(ReasonStranger, "node %d is no founder of the cluster %s that its peer, node %d, belongs to (founders: %s); "+
			"this version cannot add a node to a cluster that is formed: correct --node-id or --peers",
			c.node, h.GetClusterId(), h.GetNodeId(), idList(founderIDs(founders)))
	case founders[at].Directory != c.directory && !invariant.Mutant("cluster-wiped-disk-votes"):
		return nil, fatalf(ReasonStranger, "node %d founded the cluster %s with the data directory %s, and this one is %s, which is empty: "+
			"if the volume is not mounted, mount it; if the disk is lost, this node cannot come back under its id, for the others may rely on what it voted",
			c.node, h.GetClusterId(), rpc.FormatUUID(founders[at].Directory), rpc.FormatUUID(c.directory))
	}
	return founders, nil
}

// disagree is the error of two founders that name different sets.
func (c *council) disagree(h *clusterv1.Hello) error {
	var parts []string
	only := func(a, b []int32, who string) {
		if extra := without(a, b); len(extra) > 0 {
			parts = append(parts, fmt.Sprintf("only %s counts %s", who, idList(extra)))
		}
	}
	only(c.founders, h.GetFounders(), fmt.Sprintf("node %d", c.node))
	only(h.GetFounders(), c.founders, fmt.Sprintf("node %d", h.GetNodeId()))
	return fatalf(ReasonFounders, "nodes %d and %d do not agree about who founds the cluster: node %d says %s, node %d says %s (%s); "+
		"give every node the same set: its own --node-id and all others in --peers",
		c.node, h.GetNodeId(), c.node, idList(c.founders), h.GetNodeId(), idList(h.GetFounders()), strings.Join(parts, ", "))
}

// waiting tells whom the founding waits for, and why.
func (c *council) waiting() string {
	var parts []string
	for _, id := range c.founders {
		if id == c.node || c.heard[id] != nil {
			continue
		}
		why := "not asked yet"
		if err := c.silent[id]; err != nil {
			why = plain(err)
		}
		parts = append(parts, fmt.Sprintf("node %d (%s)", id, why))
	}
	return strings.Join(parts, ", ")
}

func without(a, b []int32) (rest []int32) {
	for _, id := range a {
		if !slices.Contains(b, id) {
			rest = append(rest, id)
		}
	}
	return rest
}

func idList(ids []int32) string {
	var s []string
	for _, id := range ids {
		s = append(s, fmt.Sprint(id))
	}
	return strings.Join(s, ", ")
}

func founderIDs(f []metadata.Founder) (ids []int32) {
	for _, x := range f {
		ids = append(ids, x.Node)
	}
	return ids
}

func founderMessages(f []metadata.Founder) (all []*clusterv1.Founder) {
	for _, x := range f {
		all = append(all, &clusterv1.Founder{NodeId: x.Node, DirectoryId: bytes.Clone(x.Directory[:])})
	}
	return all
}

// heardFrom is what one poll of a founder brought.
type heardFrom struct {
	id    int32
	hello *clusterv1.Hello
	err   error
}

// convene meets the other founders and returns the founding set.
func (c *Cluster) convene(ctx context.Context) ([]metadata.Founder, error) {
	k := &council{
		node: c.o.NodeID, directory: c.o.DirectoryID, founders: c.o.founders(),
		heard: make(map[int32]*clusterv1.Hello), silent: make(map[int32]error),
	}
	ctx, cancel := context.WithCancel(ctx)
	news := make(chan heardFrom)
	polls := 0
	for _, p := range c.o.Peers {
		polls++
		go func() {
			c.poll(ctx, p.ID, news)
			news <- heardFrom{id: 0}
		}()
	}
	defer func() {
		cancel()
		for polls > 0 {
			if n := <-news; n.id == 0 {
				polls--
			}
		}
	}()
	start := time.Now()
	say := time.NewTicker(sayEvery)
	defer say.Stop()
	for {
		founders, err := k.verdict()
		if err != nil || founders != nil {
			return founders, err
		}
		select {
		case n := <-news:
			switch {
			case n.id == 0:
				polls--
			case n.err != nil:
				k.silent[n.id] = n.err
				delete(k.heard, n.id)
			default:
				k.heard[n.id] = n.hello
			}
		case <-say.C:
			c.log.Info("Waiting for the other founders: a first start needs each of them once", "node", c.o.NodeID,
				"waiting_for", k.waiting(), "waited", time.Since(start).Round(time.Second))
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// poll asks one founder who it is, again and again: what it says may change until
// all have met.
func (c *Cluster) poll(ctx context.Context, id int32, news chan<- heardFrom) {
	for ctx.Err() == nil {
		h, err := c.greet(ctx, id)
		if ctx.Err() != nil {
			return
		}
		news <- heardFrom{id, h, err}
		_ = pause(ctx, pollEvery)
	}
}

// greet exchanges Hellos with a node.
func (c *Cluster) greet(ctx context.Context, id int32) (*clusterv1.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, greetWait)
	defer cancel()
	h, err := clusterv1.NewClusterClient(c.peers.Conn(id, [16]byte{})).Handshake(ctx, c.hello())
	if err != nil {
		return nil, err
	}
	c.meet(h)
	return h, nil
}

// found makes this node a member of the cluster of founders: entry first, then
// the identity.
func (c *Cluster) found(founders []metadata.Founder) error {
	entry := &raft.Log{Index: 1, Term: 0, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(configurationOf(founders))}
	if err := c.member.stores.Log.StoreLog(entry); err != nil {
		return fatalf(ReasonStorage, "write the founding entry: %w", err)
	}
	return c.settleIdentity(founders)
}

// settleIdentity keeps the cluster of founders as this node's.
func (c *Cluster) settleIdentity(founders []metadata.Founder) error {
	id := Identity{ClusterID: clusterID(founders), Founders: founders, Generation: 1}
	if err := c.o.SaveIdentity(id); err != nil {
		return fatalf(ReasonStorage, "keep the cluster's id: %w", err)
	}
	c.adopt(id)
	c.log.Info("Founded the cluster", "node", c.o.NodeID, "cluster_id", id.ClusterID, "founders", idList(founderIDs(founders)))
	if len(configurationOf(founders).Servers) == 2 {
		c.log.Warn("A cluster of two nodes tolerates no fault: the loss of either stops all changes of metadata")
	}
	return nil
}

// inherit reads F from the founding entry of a node that stopped before it kept
// its identity. It has done nothing else: a leader needs a majority that has.
func (c *Cluster) inherit() error {
	var entry raft.Log
	if err := c.member.stores.Log.GetLog(1, &entry); err != nil || entry.Type != raft.LogConfiguration || entry.Term != 0 {
		return fatalf(ReasonStranger, "the data directory has a metadata log and no cluster id, and the log does not begin with a founding entry: "+
			"meta.properties was lost, or the log was copied here from elsewhere; restore the directory as a whole (%v)", err)
	}
	founders, err := foundersOf(raft.DecodeConfiguration(entry.Data))
	if err != nil {
		return fatalf(ReasonStorage, "the founding entry of the metadata log: %w", err)
	}
	if !slices.Contains(founders, metadata.Founder{Node: c.o.NodeID, Directory: c.o.DirectoryID}) {
		return fatalf(ReasonStranger, "the metadata log in this directory belongs to another node: its founders are %s, and node %d on directory %s is none of them",
			idList(founderIDs(founders)), c.o.NodeID, rpc.FormatUUID(c.o.DirectoryID))
	}
	return c.settleIdentity(founders)
}

// stand makes a new raft instance a candidate at once where that is known to be
// right: the only voter always, and the lowest founder of a cluster without a
// term, as soon as a majority has founded. So the first election is neither late
// nor split.
func (c *Cluster) stand(inst *instance) {
	conf := inst.raft.GetConfiguration().Configuration()
	untouched := func() bool {
		leader, _ := inst.raft.LeaderWithID()
		return leader == "" && inst.raft.State() == raft.Follower
	}
	switch {
	case onlyVoter(conf, c.o.NodeID):
	case inst.raft.CurrentTerm() > 0 || conf.Servers[0].ID != raftrpc.ServerID(c.o.NodeID) || !c.majorityFounded(inst, conf):
		return
	default:
		quiet := untouched
		untouched = func() bool { return quiet() && inst.raft.CurrentTerm() == 0 }
	}
	if err := inst.rpc.Campaign(inst.ctx, raftrpc.CauseFounding, untouched); err != nil && inst.ctx.Err() == nil {
		c.log.Debug("No campaign at once; the election timers do it", "error", err)
	}
}

// majorityFounded waits until the voters have founded: all, or most and a moment
// has passed. It returns false when a term has begun without it.
func (c *Cluster) majorityFounded(inst *instance, conf raft.Configuration) bool {
	id := c.ClusterID()
	var enough time.Time // since when a majority has founded
	for inst.ctx.Err() == nil && inst.raft.CurrentTerm() == 0 {
		voters, ready := 0, 0
		for _, s := range conf.Servers {
			if s.Suffrage != raft.Voter {
				continue
			}
			voters++
			node, err := raftrpc.ParseServerID(s.ID)
			if err != nil {
				continue
			}
			if node == c.o.NodeID {
				ready++
				continue
			}
			h, err := c.greet(inst.ctx, node)
			if err == nil && h.GetState() == clusterv1.NodeState_NODE_STATE_MEMBER && h.GetClusterId() == id && !h.GetStarting() {
				ready++
			}
		}
		if ready > voters/2 && enough.IsZero() {
			enough = time.Now()
		}
		if ready == voters || !enough.IsZero() && time.Since(enough) >= min(stragglers, c.o.Timing.Heartbeat/2) {
			return true
		}
		_ = pause(inst.ctx, pollEvery)
	}
	return false
}

// form makes this node a member: of the cluster in its directory, or of the one
// that it founds with its peers.
func (c *Cluster) form(ctx context.Context) error {
	stores := c.member.stores
	has, err := raft.HasExistingState(stores.Log, stores.Stable, stores.Snapshots)
	if err != nil {
		return fatalf(ReasonStorage, "read the metadata log: %w", err)
	}
	switch known := c.ClusterID() != ""; {
	case has && known:
		return nil
	case has:
		return c.inherit()
	case known:
		return fatalf(ReasonStorage, "the data directory belongs to the cluster %s and its metadata log (%s) is gone: "+
			"if the volume is not mounted, mount it; a node that has lost what it voted may not come back under its id", c.ClusterID(), c.o.Path)
	}
	founders, err := c.convene(ctx)
	if err != nil {
		return err
	}
	return c.found(founders)
}

// adopt makes id this node's cluster.
func (c *Cluster) adopt(id Identity) {
	id.Generation = max(id.Generation, 1)
	c.id.Store(&id)
	c.book.SetCluster(id.ClusterID, id.Generation)
	close(c.formed)
}

// identity is that of the cluster, empty while this node is pristine.
func (c *Cluster) identity() Identity {
	if id := c.id.Load(); id != nil {
		return *id
	}
	return Identity{}
}

// hello is what this node says of itself.
func (c *Cluster) hello() *clusterv1.Hello {
	h := &clusterv1.Hello{
		ProtocolMin: rpc.ProtocolMin, ProtocolMax: rpc.ProtocolMax, NodeId: c.o.NodeID, DirectoryId: c.o.DirectoryID[:],
		Incarnation: c.o.Incarnation[:], Founders: c.o.founders(), State: clusterv1.NodeState_NODE_STATE_PRISTINE,
		RaftAddress: c.o.RaftAddr, Version: c.o.Version, Starting: c.member.current.Load() == nil,
	}
	if id := c.id.Load(); id != nil {
		h.State, h.ClusterId, h.Generation = clusterv1.NodeState_NODE_STATE_MEMBER, id.ClusterID, id.Generation
		h.FoundingSet = founderMessages(id.Founders)
	}
	return h
}

// meet takes what another node says of itself into the address book, unless it is
// of another cluster or on a directory that is not its own: such a node must not
// take the place of the real one.
func (c *Cluster) meet(h *clusterv1.Hello) {
	e := rpc.Entry{Address: h.GetRaftAddress()}
	copy(e.Directory[:], h.GetDirectoryId())
	own := c.ClusterID()
	want, known := c.book.Directory(h.GetNodeId())
	switch {
	case h.GetNodeId() == c.o.NodeID:
	case own != "" && h.GetClusterId() != "" && h.GetClusterId() != own:
		c.say.warn(fmt.Sprint("cluster of ", h.GetNodeId()), "A node of another cluster calls", "node", c.o.NodeID, "peer", h.GetNodeId(),
			"its_cluster", h.GetClusterId(), "cluster_id", own)
	case known && want != e.Directory:
		c.say.warn(fmt.Sprint("directory of ", h.GetNodeId()), "A node calls from another data directory than the one it is known by: "+
			"a volume that is not mounted, or two processes with one --node-id", "node", c.o.NodeID, "peer", h.GetNodeId(),
			"its_directory", rpc.FormatUUID(e.Directory), "known", rpc.FormatUUID(want))
	default:
		c.book.Meet(h.GetNodeId(), e)
		c.peers.Forget(h.GetNodeId())
	}
}

// introduceEvery is how often a member calls on a node that has not answered yet.
const introduceEvery = time.Second

// introduce calls on every known node once, so that both know where the other is
// now, whatever --peers says.
func (c *Cluster) introduce(ctx context.Context) {
	met := make(map[int32]bool)
	for ctx.Err() == nil {
		for _, id := range c.book.Known() {
			if met[id] {
				continue
			}
			if h, err := c.greet(ctx, id); err == nil {
				met[id] = !c.strangers.heard(id, h.GetClusterId(), c.ClusterID())
			}
		}
		_ = pause(ctx, introduceEvery)
	}
}
