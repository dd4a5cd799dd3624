package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/vfs"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

// metadataDir is the directory of the metadata log below a data directory.
const metadataDir = "__raft_metadata-0"

// raft dumps the metadata log of a stopped node, and its snapshots.
func (d *dump) raft(path string, from uint64) error {
	dir := path
	if below := filepath.Join(path, metadataDir); filepath.Base(path) != metadataDir {
		if there, err := vfs.Exists(d.fs, below); err != nil || there {
			dir = below
		}
	}
	r, err := raftstore.OpenReader(d.fs, dir)
	if errors.Is(err, raftstore.ErrLocked) {
		return fmt.Errorf("%w: stop the node whose data this is, and try again", err)
	}
	if err != nil {
		return err
	}
	defer r.Close()
	err = d.show(item{kind: "store", fields: []field{
		{"dir", dir}, {"term", r.Term}, {"voteTerm", r.Vote}, {"candidate", r.Candidate}, {"first", r.First}, {"last", r.Last},
	}})
	if err == nil {
		err = d.snapshots(r, dir)
	}
	if err != nil {
		return err
	}
	for e, err := range r.Entries(from) {
		if err != nil {
			err = d.problem(fmt.Sprintf("%s, entry %d", dir, e.Index), err)
		} else {
			err = d.entry(dir, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// snapshots dumps the snapshots, each read to its end and checked.
func (d *dump) snapshots(r *raftstore.Reader, dir string) error {
	list, err := r.Snapshots()
	if err != nil {
		if err := d.problem(dir, err); err != nil {
			return err
		}
	}
	for _, s := range list {
		err := d.show(item{kind: "snapshot", name: s.ID, fields: []field{
			{"id", s.ID}, {"index", s.Index}, {"term", s.Term}, {"bytes", s.Size}, {"servers", serverTexts(s.Servers)},
		}})
		if err != nil {
			return err
		}
		if err := d.snapshot(r, s.ID); err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) snapshot(r *raftstore.Reader, id string) error {
	_, content, err := r.OpenSnapshot(id)
	if err != nil {
		return d.problem("snapshot "+id, err)
	}
	defer content.Close()
	var output error
	info, err := metadata.WalkSnapshot(content, func(rec *metadata.Record) error {
		if d.records {
			output = d.show(metadataRecord(rec))
		}
		return output
	})
	if output != nil {
		return output
	}
	if err != nil {
		return d.problem("snapshot "+id, err)
	}
	return d.show(item{kind: "snapshot-end", indent: "  ", fields: []field{
		{"index", info.Index}, {"records", info.Records}, {"now", timeText(info.NowMillis)}, {"digest", fmt.Sprintf("%016x", info.Digest)},
	}})
}

// entry dumps one entry of the log.
func (d *dump) entry(dir string, e raftstore.Entry) error {
	fields := []field{{"index", e.Index}, {"term", e.Term}, {"bytes", len(e.Data)}}
	if !e.AppendedAt.IsZero() {
		fields = append(fields, field{"appendedAt", timeText(e.AppendedAt.UnixMilli())})
	}
	if e.Type == "configuration" {
		fields = append(fields, field{"servers", serverTexts(e.Servers)})
	}
	i := item{kind: e.Type, name: fmt.Sprint(e.Index), fields: fields}
	if e.Type != "command" {
		return d.show(i)
	}
	envelope, err := metadata.Decode(e.Data)
	if err != nil {
		if err := d.show(i); err != nil {
			return err
		}
		return d.problem(fmt.Sprintf("%s, entry %d", dir, e.Index), err)
	}
	i.fields = append(i.fields, field{"decidedInTerm", envelope.GetTerm()}, field{"now", timeText(envelope.GetNowMs())}, field{"records", len(envelope.GetRecords())})
	if err := d.show(i); err != nil {
		return err
	}
	if !d.records {
		return nil
	}
	for _, rec := range envelope.GetRecords() {
		if err := d.show(metadataRecord(rec)); err != nil {
			return err
		}
	}
	return nil
}

func serverTexts(servers []raftstore.Server) []string {
	list := []string{}
	for _, s := range servers {
		list = append(list, fmt.Sprintf("%s(%s)", s.Address, strings.ToLower(s.Suffrage)))
	}
	return list
}

// metadataRecord shows a record of the metadata log.
func metadataRecord(rec *metadata.Record) item {
	i := item{indent: "  "}
	switch k := rec.GetKind().(type) {
	case *metadatav1.Record_ClusterFormed:
		r := k.ClusterFormed
		founders := []string{}
		for _, f := range r.GetFounders() {
			founders = append(founders, fmt.Sprintf("%d@%s", f.GetNodeId(), uuidText(f.GetDirectoryId())))
		}
		i.kind, i.fields = "cluster-formed", []field{{"cluster", r.GetClusterId()}, {"generation", r.GetGeneration()}, {"founders", founders}}
	case *metadatav1.Record_ControllerActive:
		r := k.ControllerActive
		i.kind, i.fields = "controller-active", []field{{"node", r.GetNode()}, {"term", r.GetTerm()}}
	case *metadatav1.Record_Broker:
		i.kind, i.fields = "broker", brokerFields(k.Broker)
	case *metadatav1.Record_BrokerChange:
		r := k.BrokerChange
		i.kind, i.fields = "broker-change", []field{{"id", r.GetId()}}
		if r.Fenced != nil {
			i.fields = append(i.fields, field{"fenced", r.GetFenced()})
		}
		if r.InControlledShutdown != nil {
			i.fields = append(i.fields, field{"inControlledShutdown", r.GetInControlledShutdown()})
		}
	case *metadatav1.Record_Topic:
		i.kind, i.fields = "topic", []field{{"name", k.Topic.GetName()}, {"id", uuidText(k.Topic.GetId())}}
	case *metadatav1.Record_TopicRemoved:
		i.kind, i.fields = "topic-removed", []field{{"id", uuidText(k.TopicRemoved.GetId())}}
	case *metadatav1.Record_Partition:
		i.kind, i.fields = "partition", partitionFields(k.Partition)
	case *metadatav1.Record_PartitionChange:
		i.kind, i.fields = "partition-change", changeFields(k.PartitionChange)
	case *metadatav1.Record_Config:
		i.kind, i.fields = "config", []field{{"type", strings.ToLower(strings.TrimPrefix(k.Config.GetType().String(), "CONFIG_TYPE_"))}, {"of", k.Config.GetName()}}
		for _, e := range k.Config.GetEntries() {
			i.fields = append(i.fields, field{e.GetName(), e.Value})
		}
	case *metadatav1.Record_ProducerIds:
		i.kind, i.fields = "producer-ids", []field{{"next", k.ProducerIds.GetNext()}}
	case *metadatav1.Record_CommandResult:
		r := k.CommandResult
		i.kind, i.fields = "command-result", []field{
			{"node", r.GetRequestId().GetNode()}, {"sequence", r.GetRequestId().GetSequence()}, {"code", r.GetAnswer().GetCode()},
		}
		if r.GetIndex() != 0 { // in a snapshot; in the log it is that of the record's own entry
			i.fields = append(i.fields, field{"index", r.GetIndex()})
		}
	default:
		i.kind, i.fields = "unknown", []field{{"type", fmt.Sprintf("%T", k)}}
	}
	return i
}

func brokerFields(r *metadatav1.Broker) []field {
	listeners := []string{}
	for _, l := range r.GetListeners() {
		listeners = append(listeners, fmt.Sprintf("%s:%d", l.GetHost(), l.GetPort()))
	}
	return []field{
		{"id", r.GetId()},
		{"epoch", r.GetEpoch()},
		{"listeners", listeners},
		{"raft", r.GetRaftAddress()},
		{"rack", r.GetRack()},
		{"fenced", r.GetFenced()},
		{"incarnation", uuidText(r.GetIncarnation())},
		{"directories", uuidTexts(r.GetDirectories())},
	}
}

func partitionFields(r *metadatav1.Partition) []field {
	return []field{
		{"topic", uuidText(r.GetTopicId())},
		{"index", r.GetIndex()},
		{"leader", r.GetLeader()},
		{"leaderEpoch", r.GetLeaderEpoch()},
		{"partitionEpoch", r.GetPartitionEpoch()},
		{"replicas", nonNil(r.GetReplicas())},
		{"isr", nonNil(r.GetIsr())},
	}
}

// changeFields shows what a change sets.
func changeFields(r *metadatav1.PartitionChange) []field {
	fields := []field{{"topic", uuidText(r.GetTopicId())}, {"index", r.GetIndex()}}
	if r.Leader != nil {
		fields = append(fields, field{"leader", r.GetLeader()})
	}
	if r.LeaderEpoch != nil {
		fields = append(fields, field{"leaderEpoch", r.GetLeaderEpoch()})
	}
	if r.PartitionEpoch != nil {
		fields = append(fields, field{"partitionEpoch", r.GetPartitionEpoch()})
	}
	if r.Replicas != nil {
		fields = append(fields, field{"replicas", nonNil(r.GetReplicas().GetIds())})
	}
	if r.Directories != nil {
		fields = append(fields, field{"directories", uuidTexts(r.GetDirectories().GetIds())})
	}
	if r.Isr != nil {
		fields = append(fields, field{"isr", nonNil(r.GetIsr().GetIds())})
	}
	if r.LastKnownElr != nil {
		fields = append(fields, field{"lastKnownElr", nonNil(r.GetLastKnownElr().GetIds())})
	}
	return fields
}

// uuidText writes an id of 16 bytes as Kafka's tools do.
func uuidText(id []byte) string {
	if len(id) != 16 {
		return fmt.Sprintf("%x", id)
	}
	return metadata.FormatID(metadata.ID(id))
}

func uuidTexts(list [][]byte) []string {
	texts := []string{}
	for _, id := range list {
		texts = append(texts, uuidText(id))
	}
	return texts
}
