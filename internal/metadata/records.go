package metadata

import (
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

// Format is that of the envelopes and snapshots this version writes and reads.
const Format = 1

// MaxEntryBytes is what the records of one entry may take.
const MaxEntryBytes = 1 << 20

// marshal writes fields in the order of their numbers; no message here has maps.
func marshal(m proto.Message) []byte {
	// The only errors are invalid UTF-8, which CheckRecords refuses, and sizes
	// above 2 GiB.
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return b
}

// Encode writes the data of an entry, and sets its format if that is 0. Equal
// envelopes give equal bytes. What it writes, Decode reads: records that
// CheckRecords refuses are an error here.
func Encode(e *metadatav1.Envelope) ([]byte, error) {
	if err := CheckRecords(e.GetRecords()); err != nil {
		return nil, err
	}
	if e.Format == 0 {
		e.Format = Format
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode an entry of %d records: %w", len(e.GetRecords()), err)
	}
	return b, nil
}

// Decode reads the data of an entry and checks its records. The error wraps
// ErrCorrupt or ErrUnknown; after either a node must stop.
func Decode(data []byte) (*metadatav1.Envelope, error) {
	e := &metadatav1.Envelope{}
	if err := proto.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("%w: an entry of %d bytes is no envelope: %w", ErrCorrupt, len(data), err)
	}
	if e.GetFormat() > Format {
		return nil, fmt.Errorf("%w: an entry has format %d, this version reads %d: upgrade this node", ErrUnknown, e.GetFormat(), Format)
	}
	if e.GetFormat() == 0 {
		return nil, fmt.Errorf("%w: an entry of %d bytes has no format", ErrCorrupt, len(data))
	}
	if u := e.ProtoReflect().GetUnknown(); len(u) > 0 {
		return nil, unknownField("envelope", u)
	}
	if err := CheckRecords(e.GetRecords()); err != nil {
		return nil, err
	}
	return e, nil
}

// RecordSize is what r takes in an entry.
func RecordSize(r *Record) int {
	n := proto.Size(r)
	return 1 + protowire.SizeBytes(n)
}

// RecordsSize is what recs take in an entry, to hold against MaxEntryBytes.
func RecordsSize(recs []*Record) int {
	n := 0
	for _, r := range recs {
		n += RecordSize(r)
	}
	return n
}

// CheckRecords refuses records that Apply cannot take: of a kind, or with a
// field, that this version does not know (ErrUnknown), or of a shape that no
// version writes (ErrCorrupt).
func CheckRecords(recs []*Record) error {
	for i, r := range recs {
		if err := checkRecord(r); err != nil {
			return fmt.Errorf("record %d of %d: %w", i+1, len(recs), err)
		}
	}
	return nil
}

func checkRecord(r *Record) error {
	if r.GetKind() == nil {
		if u := r.ProtoReflect().GetUnknown(); len(u) > 0 {
			n, _, _ := protowire.ConsumeTag(u)
			return fmt.Errorf("%w: record kind %d is not known here; the node that wrote it runs a newer version: upgrade this node", ErrUnknown, n)
		}
		return fmt.Errorf("%w: it has no kind", ErrCorrupt)
	}
	if err := checkKnown(r); err != nil {
		return err
	}
	if err := checkShape(r); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// checkKnown is checkUnknown of a record. The two kinds that come by the ten
// thousand are looked at field by field, which costs a third of a walk.
func checkKnown(r *Record) error {
	var m protoreflect.Message
	switch k := r.GetKind().(type) {
	case *metadatav1.Record_Partition:
		if k.Partition.GetRecovery() > metadatav1.Recovery_RECOVERY_RECOVERING || k.Partition.GetRecovery() < 0 {
			return checkUnknown(r.ProtoReflect())
		}
		m = k.Partition.ProtoReflect()
	case *metadatav1.Record_PartitionChange:
		c := k.PartitionChange
		if c.Recovery != nil || c.Replicas != nil || c.Directories != nil || c.Isr != nil || c.LastKnownElr != nil {
			return checkUnknown(r.ProtoReflect())
		}
		m = c.ProtoReflect()
	default:
		return checkUnknown(r.ProtoReflect())
	}
	if len(r.ProtoReflect().GetUnknown()) > 0 || len(m.GetUnknown()) > 0 {
		return checkUnknown(r.ProtoReflect())
	}
	return nil
}

// checkUnknown looks for fields that this version does not know, at any depth,
// and for values of enums that it does not know.
func checkUnknown(m protoreflect.Message) error {
	if u := m.GetUnknown(); len(u) > 0 {
		return unknownField(string(m.Descriptor().Name()), u)
	}
	var err error
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Kind() == protoreflect.EnumKind && !fd.IsList():
			if fd.Enum().Values().ByNumber(v.Enum()) == nil {
				err = fmt.Errorf("%w: %s of %s has the value %d, which is not known here: upgrade this node",
					ErrUnknown, fd.Name(), m.Descriptor().Name(), v.Enum())
			}
		case fd.Kind() != protoreflect.MessageKind:
		case fd.IsList():
			list := v.List()
			for i := 0; i < list.Len() && err == nil; i++ {
				err = checkUnknown(list.Get(i).Message())
			}
		default:
			err = checkUnknown(v.Message())
		}
		return err == nil
	})
	return err
}

func unknownField(where string, u []byte) error {
	n, _, _ := protowire.ConsumeTag(u)
	return fmt.Errorf("%w: field %d of %s is not known here; the node that wrote it runs a newer version: upgrade this node", ErrUnknown, n, where)
}

// checkShape returns what is wrong with a record of a known kind.
func checkShape(r *Record) error {
	switch k := r.GetKind().(type) {
	case *metadatav1.Record_ClusterFormed:
		for _, f := range k.ClusterFormed.GetFounders() {
			if err := checkID("directory of a founder", f.GetDirectoryId()); err != nil {
				return err
			}
		}
		return checkText("cluster id", k.ClusterFormed.GetClusterId())
	case *metadatav1.Record_Broker:
		return checkBroker(k.Broker)
	case *metadatav1.Record_Topic:
		if err := checkText("topic name", k.Topic.GetName()); err != nil {
			return err
		}
		return checkID("topic id", k.Topic.GetId())
	case *metadatav1.Record_TopicRemoved:
		return checkID("topic id", k.TopicRemoved.GetId())
	case *metadatav1.Record_Partition:
		return checkPartitionRecord(k.Partition)
	case *metadatav1.Record_PartitionChange:
		return checkPartitionChange(k.PartitionChange)
	case *metadatav1.Record_Config:
		return checkConfigRecord(k.Config)
	case *metadatav1.Record_ProducerIds:
		if k.ProducerIds.GetNext() < 0 {
			return fmt.Errorf("next producer id is %d", k.ProducerIds.GetNext())
		}
	case *metadatav1.Record_CommandResult:
		return checkResult(k.CommandResult)
	}
	return nil
}

func checkBroker(b *metadatav1.Broker) error {
	if b.GetEpoch() < 0 {
		return fmt.Errorf("broker %d has the epoch %d", b.GetId(), b.GetEpoch())
	}
	if len(b.GetListeners()) == 0 {
		return fmt.Errorf("broker %d has no listener", b.GetId())
	}
	for _, l := range b.GetListeners() {
		if l.GetSecurityProtocol() < 0 || l.GetSecurityProtocol() > math.MaxInt16 {
			return fmt.Errorf("listener %q of broker %d has the security protocol %d", l.GetName(), b.GetId(), l.GetSecurityProtocol())
		}
		if err := checkTexts(l.GetName(), l.GetHost()); err != nil {
			return err
		}
	}
	for _, f := range b.GetFeatures() {
		if err := checkTexts(f.GetName()); err != nil {
			return err
		}
	}
	for _, d := range b.GetDirectories() {
		if err := checkID("directory", d); err != nil {
			return err
		}
	}
	if err := checkID("incarnation", b.GetIncarnation()); err != nil {
		return err
	}
	return checkTexts(b.GetBootId(), b.GetRaftAddress(), b.GetRack())
}

func checkPartitionRecord(p *metadatav1.Partition) error {
	if n := len(p.GetDirectories()); n != 0 && n != len(p.GetReplicas()) {
		return fmt.Errorf("partition %d has %d replicas and %d directories", p.GetIndex(), len(p.GetReplicas()), n)
	}
	return checkPartitionKey(p.GetTopicId(), p.GetIndex(), p.GetDirectories())
}

func checkPartitionChange(p *metadatav1.PartitionChange) error {
	return checkPartitionKey(p.GetTopicId(), p.GetIndex(), p.GetDirectories().GetIds())
}

func checkPartitionKey(topic []byte, index int32, directories [][]byte) error {
	if index < 0 {
		return fmt.Errorf("partition index is %d", index)
	}
	for _, d := range directories {
		if err := checkID("directory", d); err != nil {
			return err
		}
	}
	return checkID("topic id", topic)
}

func checkConfigRecord(c *metadatav1.Config) error {
	switch c.GetType() {
	case metadatav1.ConfigType_CONFIG_TYPE_TOPIC, metadatav1.ConfigType_CONFIG_TYPE_BROKER,
		metadatav1.ConfigType_CONFIG_TYPE_CLIENT_METRICS, metadatav1.ConfigType_CONFIG_TYPE_GROUP:
	default:
		return fmt.Errorf("settings of a resource of type %v", c.GetType())
	}
	for _, e := range c.GetEntries() {
		if err := checkTexts(e.GetName(), e.GetValue()); err != nil {
			return err
		}
	}
	if c.GetName() == "" && c.GetType() == metadatav1.ConfigType_CONFIG_TYPE_BROKER {
		return nil // the default of all brokers
	}
	return checkText("name of a resource", c.GetName())
}

func checkResult(r *metadatav1.CommandResult) error {
	if r.GetAnswer() == nil {
		return fmt.Errorf("a kept answer is missing")
	}
	return checkID("incarnation", r.GetRequestId().GetIncarnation())
}

func checkID(what string, b []byte) error {
	if len(b) != len(ID{}) {
		return fmt.Errorf("%s has %d bytes instead of %d", what, len(b), len(ID{}))
	}
	return nil
}

func checkText(what, s string) error {
	if s == "" {
		return fmt.Errorf("%s is empty", what)
	}
	return checkTexts(s)
}

// checkTexts refuses what protobuf would refuse to write or to read.
func checkTexts(list ...string) error {
	for _, s := range list {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%q is not UTF-8", s)
		}
	}
	return nil
}

// NewResult is the record that keeps answer for retries of id. The id is written
// anew: one that came from a newer version may have fields that must not get into
// the log.
func NewResult(id *clusterv1.RequestId, answer *clusterv1.Answer) *Record {
	own := &clusterv1.RequestId{Node: id.GetNode(), Incarnation: id.GetIncarnation(), Sequence: id.GetSequence()}
	return &Record{Kind: &metadatav1.Record_CommandResult{CommandResult: &metadatav1.CommandResult{RequestId: own, Answer: answer}}}
}
