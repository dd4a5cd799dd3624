package metadata

import (
	"maps"
	"slices"

	"github.com/chronik-stream/chronik/internal/invariant"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

// toID reads an id whose length CheckRecords has seen; absent is zero.
func toID(b []byte) ID {
	var id ID
	copy(id[:], b)
	return id
}

// toIDs reads n ids; those that are absent are zero.
func toIDs(list [][]byte, n int) []ID {
	ids := make([]ID, n)
	for i := range min(n, len(list)) {
		ids[i] = toID(list[i])
	}
	return ids
}

func idBytes(ids []ID) [][]byte {
	list := make([][]byte, len(ids))
	for i := range ids {
		list[i] = ids[i][:]
	}
	return list
}

// sortedIDs makes a set of ids.
func sortedIDs(list [][]byte) []ID {
	if invariant.Mutant("metadata-apply-iterates-map") {
		set := map[ID]struct{}{}
		for _, id := range list {
			set[toID(id)] = struct{}{}
		}
		return slices.Collect(maps.Keys(set))
	}
	ids := toIDs(list, len(list))
	slices.SortFunc(ids, compareID)
	return slices.Compact(ids)
}

func brokerOf(r *metadatav1.Broker) *Broker {
	b := &Broker{
		ID:                   r.GetId(),
		Incarnation:          toID(r.GetIncarnation()),
		Epoch:                r.GetEpoch(),
		Directories:          sortedIDs(r.GetDirectories()),
		BootID:               r.GetBootId(),
		RaftAddr:             r.GetRaftAddress(),
		Rack:                 r.GetRack(),
		Fenced:               r.GetFenced(),
		InControlledShutdown: r.GetInControlledShutdown(),
	}
	for _, l := range r.GetListeners() {
		b.Listeners = append(b.Listeners, Listener{
			Name: l.GetName(), Host: l.GetHost(), Port: l.GetPort(), SecurityProtocol: int16(l.GetSecurityProtocol()),
		})
	}
	for _, f := range r.GetFeatures() {
		b.Features = append(b.Features, FeatureRange{Name: f.GetName(), Min: f.GetMin(), Max: f.GetMax()})
	}
	return b
}

// BrokerRecord is the record of a registration. With epoch 0 in the log, the
// epoch becomes the index of its entry.
func BrokerRecord(b *Broker) *Record {
	r := &metadatav1.Broker{
		Id:                   b.ID,
		Incarnation:          b.Incarnation[:],
		Epoch:                b.Epoch,
		Directories:          idBytes(b.Directories),
		BootId:               b.BootID,
		RaftAddress:          b.RaftAddr,
		Rack:                 b.Rack,
		Fenced:               b.Fenced,
		InControlledShutdown: b.InControlledShutdown,
	}
	for _, l := range b.Listeners {
		r.Listeners = append(r.Listeners, &clusterv1.Listener{
			Name: l.Name, Host: l.Host, Port: l.Port, SecurityProtocol: int32(l.SecurityProtocol),
		})
	}
	for _, f := range b.Features {
		r.Features = append(r.Features, &clusterv1.FeatureRange{Name: f.Name, Min: f.Min, Max: f.Max})
	}
	return &Record{Kind: &metadatav1.Record_Broker{Broker: r}}
}

// TopicRecord is the record of a new topic; those of its partitions follow.
func TopicRecord(id ID, name string) *Record {
	return &Record{Kind: &metadatav1.Record_Topic{Topic: &metadatav1.Topic{Id: id[:], Name: name}}}
}

func partitionOf(r *metadatav1.Partition) *Partition {
	return &Partition{
		Index:          r.GetIndex(),
		Leader:         r.GetLeader(),
		LeaderEpoch:    r.GetLeaderEpoch(),
		PartitionEpoch: r.GetPartitionEpoch(),
		Replicas:       slices.Clone(r.GetReplicas()),
		Directories:    toIDs(r.GetDirectories(), len(r.GetReplicas())),
		ISR:            slices.Clone(r.GetIsr()),
		LastKnownELR:   slices.Clone(r.GetLastKnownElr()),
		Recovering:     r.GetRecovery() == metadatav1.Recovery_RECOVERY_RECOVERING,
	}
}

// PartitionRecord is the record of a whole partition.
func PartitionRecord(topic ID, p *Partition) *Record {
	r := &metadatav1.Partition{
		TopicId:        topic[:],
		Index:          p.Index,
		Leader:         p.Leader,
		LeaderEpoch:    p.LeaderEpoch,
		PartitionEpoch: p.PartitionEpoch,
		Replicas:       p.Replicas,
		Isr:            p.ISR,
		LastKnownElr:   p.LastKnownELR,
	}
	if slices.ContainsFunc(p.Directories, func(id ID) bool { return id != ID{} }) {
		r.Directories = idBytes(p.Directories)
	}
	if p.Recovering {
		r.Recovery = metadatav1.Recovery_RECOVERY_RECOVERING
	}
	return &Record{Kind: &metadatav1.Record_Partition{Partition: r}}
}

// ConfigRecord is the record that sets configs of a topic; nil if there are none.
func ConfigRecord(topic string, configs map[string]string) *Record {
	return configRecord(ResourceTopic, topic, configs)
}

func configRecord(kind ResourceType, resource string, configs map[string]string) *Record {
	if len(configs) == 0 {
		return nil
	}
	c := &metadatav1.Config{Type: metadatav1.ConfigType(kind), Name: resource}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		value := configs[name]
		c.Entries = append(c.Entries, &metadatav1.Config_Entry{Name: name, Value: &value})
	}
	return &Record{Kind: &metadatav1.Record_Config{Config: c}}
}

func resultRecord(r *Result) *Record {
	return &Record{Kind: &metadatav1.Record_CommandResult{CommandResult: &metadatav1.CommandResult{
		RequestId: &clusterv1.RequestId{Node: r.Node, Incarnation: r.Incarnation[:], Sequence: r.Sequence},
		Answer:    r.Answer,
		Index:     r.Index,
	}}}
}

func founderMessages(founders []Founder) []*clusterv1.Founder {
	var list []*clusterv1.Founder
	for _, f := range founders {
		list = append(list, &clusterv1.Founder{NodeId: f.Node, DirectoryId: f.Directory[:]})
	}
	return list
}

func sortedKeys[V any](m map[int32]V) []int32 { return slices.Sorted(maps.Keys(m)) }
