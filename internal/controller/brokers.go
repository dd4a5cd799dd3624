package controller

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// registerBroker makes a process of a broker known, fenced; the broker's epoch is
// the index of the entry. Who is refused: another process while one of the same id
// lives; a node of another cluster; a directory of another node. What follows for
// partitions stands in the same entry: the broker's leaderships end, replicas on
// directories that are gone are lost, and after an unclean stop the broker leaves
// the in-sync sets that have other members.
//
// If all that does not fit one entry, the entries before the last fence the broker
// and begin with the partitions, and only the last one registers it: as long as
// it is not registered, it is known that its stop was unclean.
func (d *decision) registerBroker(c *clusterv1.RegisterBroker) (*clusterv1.Answer, *metadata.Error) {
	req := c.GetRequest()
	b, err := d.registration(req)
	if err != nil {
		return nil, err
	}
	old := d.img.Broker(b.ID)
	if old != nil && old.Incarnation == b.Incarnation {
		return d.amendRegistration(old, b)
	}
	if old != nil && c.GetSessionAlive() {
		return nil, metadata.Errorf(metadata.CodeDuplicateBrokerRegistration,
			"node id %d is in use by another process, at %s, which is alive: stop it, or give this one another --node-id", b.ID, old.RaftAddr)
	}
	clean := old == nil || req.GetPreviousBrokerEpoch() == old.Epoch || old.BootID != "" && old.BootID == b.BootID
	dropped := int32(0)
	if !clean {
		dropped = b.ID
	}
	d.record(metadata.BrokerRecord(b))
	lost, done := d.settle(b, dropped)
	if !done {
		return d.registerLater(old)
	}
	return &clusterv1.Answer{Kind: &clusterv1.Answer_RegisterBroker{
		RegisterBroker: &clusterv1.RegisterBrokerAnswer{Clean: clean, LostReplicas: lost},
	}}, nil
}

// settle records what b, which the draft has, means for its partitions. It counts
// b's replicas on directories that are gone, and reports whether the entry had
// room for all changes.
func (d *decision) settle(b *metadata.Broker, dropped int32) (lost int32, done bool) {
	done = true
	for t, p := range d.img.BrokerPartitions(b.ID, metadata.RoleReplica) {
		if dir, _ := p.Directory(b.ID); !b.Online(dir) {
			lost++
		}
		if done {
			done = d.elect(t, p, dropped)
		}
	}
	return lost, done
}

// registerLater turns the records of a registration that did not fit into a first
// part: the broker that was there is fenced, and the same partitions change as far
// as there is room.
func (d *decision) registerLater(old *metadata.Broker) (*clusterv1.Answer, *metadata.Error) {
	d.records = d.records[1:]
	if old != nil && !old.Fenced {
		d.records = slices.Insert(d.records, 0, fenceRecord(old.ID, true))
	}
	return d.ok(), nil
}

// amendRegistration takes what a process says again about itself: its first answer
// was lost, or an address has changed. Its epoch and its state stay.
func (d *decision) amendRegistration(old, b *metadata.Broker) (*clusterv1.Answer, *metadata.Error) {
	b.Epoch, b.Fenced, b.InControlledShutdown = old.Epoch, old.Fenced, old.InControlledShutdown
	if !sameRegistration(old, b) {
		d.record(metadata.BrokerRecord(b))
	}
	lost, _ := d.settle(b, 0)
	return &clusterv1.Answer{More: d.more, Kind: &clusterv1.Answer_RegisterBroker{
		RegisterBroker: &clusterv1.RegisterBrokerAnswer{BrokerEpoch: old.Epoch, Clean: true, LostReplicas: lost},
	}}, nil
}

func sameRegistration(a, b *metadata.Broker) bool {
	return slices.Equal(a.Directories, b.Directories) && slices.Equal(a.Listeners, b.Listeners) &&
		slices.Equal(a.Features, b.Features) && a.RaftAddr == b.RaftAddr && a.Rack == b.Rack && a.BootID == b.BootID
}

// registration checks a request and makes the broker that it describes, fenced.
func (d *decision) registration(req *clusterv1.RegisterRequest) (*metadata.Broker, *metadata.Error) {
	invalid := func(format string, args ...any) (*metadata.Broker, *metadata.Error) {
		return nil, metadata.Errorf(metadata.CodeInvalidRegistration, "broker %d cannot register: "+format, append([]any{req.GetNodeId()}, args...)...)
	}
	if req.GetNodeId() < 1 {
		return invalid("node ids begin at 1")
	}
	incarnation, ok := toID(req.GetIncarnation())
	if !ok || incarnation == (metadata.ID{}) {
		return invalid("its incarnation is not an id of 16 bytes")
	}
	if d.img.ClusterID() == "" {
		return nil, metadata.Errorf(metadata.CodeInconsistentClusterID, "broker %d cannot register: the cluster is not formed yet", req.GetNodeId())
	}
	if id := d.img.ClusterID(); req.GetClusterId() != id {
		return nil, metadata.Errorf(metadata.CodeInconsistentClusterID,
			"broker %d belongs to the cluster %q and this is %q: point it to its own cluster, or give it an empty data directory", req.GetNodeId(), req.GetClusterId(), id)
	}
	if g := d.img.Generation(); req.GetGeneration() != g {
		return nil, metadata.Errorf(metadata.CodeInconsistentClusterID,
			"broker %d is of generation %d of the cluster and this is generation %d: a node that was given up must join anew, with an empty data directory",
			req.GetNodeId(), req.GetGeneration(), g)
	}
	if !validTexts(req) {
		return invalid("an address, a name or the rack is not UTF-8")
	}
	b := &metadata.Broker{
		ID: req.GetNodeId(), Incarnation: incarnation, BootID: req.GetBootId(),
		RaftAddr: req.GetRaftAddress(), Rack: req.GetRack(), Fenced: true,
	}
	for _, l := range req.GetListeners() {
		if l.GetHost() == "" || l.GetPort() < 1 || l.GetPort() > 65535 || l.GetSecurityProtocol() < 0 || l.GetSecurityProtocol() > 3 {
			return invalid("its listener %q at %q port %d, security protocol %d, cannot be given to clients", l.GetName(), l.GetHost(), l.GetPort(), l.GetSecurityProtocol())
		}
		b.Listeners = append(b.Listeners, metadata.Listener{
			Name: l.GetName(), Host: l.GetHost(), Port: l.GetPort(), SecurityProtocol: int16(l.GetSecurityProtocol()),
		})
	}
	if len(b.Listeners) == 0 {
		return invalid("it names no listener that clients could use")
	}
	for _, f := range req.GetFeatures() {
		b.Features = append(b.Features, metadata.FeatureRange{Name: f.GetName(), Min: f.GetMin(), Max: f.GetMax()})
	}
	dirs, why := d.directories(req)
	if why != "" {
		return invalid("%s", why)
	}
	b.Directories = dirs
	return b, nil
}

func validTexts(req *clusterv1.RegisterRequest) bool {
	texts := []string{req.GetBootId(), req.GetRaftAddress(), req.GetRack()}
	for _, l := range req.GetListeners() {
		texts = append(texts, l.GetName(), l.GetHost())
	}
	for _, f := range req.GetFeatures() {
		texts = append(texts, f.GetName())
	}
	return !slices.ContainsFunc(texts, func(s string) bool { return !utf8.ValidString(s) })
}

// directories checks the directories of a registration and sorts them.
func (d *decision) directories(req *clusterv1.RegisterRequest) (dirs []metadata.ID, why string) {
	for _, raw := range req.GetDirectories() {
		dir, ok := toID(raw)
		if !ok || metadata.ReservedID(dir) {
			return nil, fmt.Sprintf("%x is no id of a data directory", raw)
		}
		if slices.Contains(dirs, dir) {
			return nil, fmt.Sprintf("it names the data directory %x twice", dir)
		}
		for _, b := range d.img.Brokers() {
			if b.ID != req.GetNodeId() && slices.Contains(b.Directories, dir) {
				return nil, fmt.Sprintf("the data directory %x is that of broker %d: each node needs its own, and a copy of a directory cannot be used", dir, b.ID)
			}
		}
		dirs = append(dirs, dir)
	}
	if len(dirs) == 0 {
		return nil, "it has no data directory that works"
	}
	slices.SortFunc(dirs, func(a, b metadata.ID) int { return bytes.Compare(a[:], b[:]) })
	return dirs, ""
}

// registered finds the broker whose process sends a command.
func (d *decision) registered(id int32, epoch int64) (*metadata.Broker, *metadata.Error) {
	b := d.img.Broker(id)
	if b == nil {
		return nil, metadata.Errorf(metadata.CodeBrokerIDNotRegistered, "broker %d is not registered", id)
	}
	// An epoch of 0 stands in a draft: nobody has been told of that registration.
	if b.Epoch != epoch || epoch == 0 {
		return nil, metadata.Errorf(metadata.CodeStaleBrokerEpoch,
			"broker %d is registered with epoch %d, the command is for epoch %d: another process has taken its place", id, b.Epoch, epoch)
	}
	return b, nil
}

// fenceBroker takes the broker out of leaderships and, where others remain, out of
// in-sync sets. Fencing a fenced broker ends what an entry before had no room for.
func (d *decision) fenceBroker(c *clusterv1.FenceBroker) (*clusterv1.Answer, *metadata.Error) {
	b, err := d.registered(c.GetBrokerId(), c.GetBrokerEpoch())
	if err != nil {
		return nil, err
	}
	if !b.Fenced {
		d.record(fenceRecord(b.ID, true))
	}
	d.electAll(b.ID, metadata.RoleLeader|metadata.RoleISR)
	return d.ok(), nil
}

// unfenceBroker lets the broker lead: at once where a partition has no leader.
func (d *decision) unfenceBroker(c *clusterv1.UnfenceBroker) (*clusterv1.Answer, *metadata.Error) {
	b, err := d.registered(c.GetBrokerId(), c.GetBrokerEpoch())
	if err != nil {
		return nil, err
	}
	if b.InControlledShutdown {
		return nil, metadata.Errorf(metadata.CodeInvalidRequest, "broker %d is shutting down: only its next start can be unfenced", b.ID)
	}
	if b.Fenced {
		d.record(fenceRecord(b.ID, false))
	}
	for t, p := range d.img.BrokerPartitions(b.ID, metadata.RoleReplica) {
		if p.Leader == metadata.NoLeader && !d.elect(t, p, 0) {
			break
		}
	}
	return d.ok(), nil
}

// shutdownBroker moves what the broker leads to others, as far as there are any.
func (d *decision) shutdownBroker(c *clusterv1.ShutdownBroker) (*clusterv1.Answer, *metadata.Error) {
	b, err := d.registered(c.GetBrokerId(), c.GetBrokerEpoch())
	if err != nil {
		return nil, err
	}
	if !b.InControlledShutdown {
		yes := true
		d.record(brokerChange(&metadatav1.BrokerChange{Id: b.ID, InControlledShutdown: &yes}))
	}
	d.electAll(b.ID, metadata.RoleLeader|metadata.RoleISR)
	return d.ok(), nil
}

// electAll looks again at the partitions in which broker has one of roles.
func (d *decision) electAll(broker int32, roles metadata.Role) {
	for t, p := range d.img.BrokerPartitions(broker, roles) {
		if !d.elect(t, p, 0) {
			return
		}
	}
}

func fenceRecord(id int32, fenced bool) *metadatav1.Record {
	return brokerChange(&metadatav1.BrokerChange{Id: id, Fenced: &fenced})
}

func brokerChange(c *metadatav1.BrokerChange) *metadatav1.Record {
	return &metadatav1.Record{Kind: &metadatav1.Record_BrokerChange{BrokerChange: c}}
}
