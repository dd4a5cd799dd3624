package group

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/coordinator"
)

// KeyKind tells what a record of __consumer_offsets is about.
type KeyKind uint8

// The kinds of keys. Records of consumer, share and streams groups (key
// versions from 3 on) are KeyOther: they are passed over.
const (
	KeyOther KeyKind = iota
	KeyOffset
	KeyGroup
)

// Key is the key of a record.
type Key struct {
	Kind      KeyKind
	Version   int16
	Group     string
	Topic     string // KeyOffset
	Partition int32  // KeyOffset
}

// Highest versions of values that can be read, and the ones that are written.
const (
	offsetKeyVersion, groupKeyVersion        = 1, 2
	maxOffsetValue, maxGroupValue            = 4, 4
	offsetValue, offsetValueExpiring         = 4, 1
	groupValue, groupValueAwaiting           = 3, 4
	tagAwaitsSync                     uint32 = 0x4348
)

// errShort refuses a key or value without a version.
var errShort = errors.New("shorter than its version")

// ParseKey reads the key of a record of __consumer_offsets.
func ParseKey(b []byte) (Key, error) {
	if len(b) < 2 {
		return Key{}, fmt.Errorf("key of a record of %s: %w", Topic, errShort)
	}
	switch version := int16(binary.BigEndian.Uint16(b)); version {
	case 0, offsetKeyVersion:
		var k kmsg.OffsetCommitKey
		if err := k.ReadFrom(b); err != nil {
			return Key{}, fmt.Errorf("key of a committed offset, version %d: %w", version, err)
		}
		return Key{KeyOffset, version, k.Group, k.Topic, k.Partition}, nil
	case groupKeyVersion:
		var k kmsg.GroupMetadataKey
		if err := k.ReadFrom(b); err != nil {
			return Key{}, fmt.Errorf("key of group metadata, version %d: %w", version, err)
		}
		return Key{Kind: KeyGroup, Version: version, Group: k.Group}, nil
	default:
		return Key{Kind: KeyOther, Version: version}, nil
	}
}

// ParseOffset reads the value of a committed offset. Topic and Partition stay empty: they are in the key.
func ParseOffset(b []byte) (Committed, error) {
	var v kmsg.OffsetCommitValue
	if err := readValue(b, maxOffsetValue, &v); err != nil {
		return Committed{}, fmt.Errorf("value of a committed offset: %w", err)
	}
	c := Committed{
		TopicID: v.TopicID, Offset: v.Offset, LeaderEpoch: v.LeaderEpoch, Metadata: v.Metadata,
		CommitMillis: v.CommitTimestamp, ExpireMillis: -1,
	}
	if v.Version < 3 {
		c.LeaderEpoch = -1
	}
	if v.Version == 1 {
		c.ExpireMillis = v.ExpireTimestamp
	}
	return c, nil
}

// Metadata is the state of a group as its record tells it.
type Metadata struct {
	ProtocolType string
	Generation   int32
	Protocol     string // empty: none
	Leader       string // empty: none
	StateMillis  int64  // when the group entered its state; -1: not known
	// AwaitsSync: the members of the generation are known, their assignments are not yet.
	AwaitsSync bool
	Members    []MetadataMember
}

// MetadataMember is a member in a group's record.
type MetadataMember struct {
	ID                             string
	InstanceID                     *string
	Client                         Client
	RebalanceMillis, SessionMillis int32
	Subscription, Assignment       []byte
}

// ParseMetadata reads the value of a group's record.
func ParseMetadata(b []byte) (Metadata, error) {
	var v kmsg.GroupMetadataValue
	if err := readValue(b, maxGroupValue, &v); err != nil {
		return Metadata{}, fmt.Errorf("value of group metadata: %w", err)
	}
	md := Metadata{
		ProtocolType: v.ProtocolType, Generation: v.Generation, Protocol: orEmpty(v.Protocol), Leader: orEmpty(v.Leader),
		StateMillis: -1,
	}
	if v.Version >= 2 {
		md.StateMillis = v.CurrentStateTimestamp
	}
	v.UnknownTags.Each(func(tag uint32, _ []byte) { md.AwaitsSync = md.AwaitsSync || tag == tagAwaitsSync })
	for _, m := range v.Members {
		mm := MetadataMember{
			ID: m.MemberID, InstanceID: m.InstanceID, Client: Client{m.ClientID, m.ClientHost},
			RebalanceMillis: m.RebalanceTimeoutMillis, SessionMillis: m.SessionTimeoutMillis,
			Subscription: m.Subscription, Assignment: m.Assignment,
		}
		if v.Version == 0 || mm.RebalanceMillis < 0 {
			mm.RebalanceMillis = mm.SessionMillis
		}
		md.Members = append(md.Members, mm)
	}
	return md, nil
}

// readValue reads a value whose version is in 0..highest.
func readValue(b []byte, highest int16, v interface{ ReadFrom([]byte) error }) error {
	if len(b) < 2 {
		return errShort
	}
	if version := int16(binary.BigEndian.Uint16(b)); version < 0 || version > highest {
		return fmt.Errorf("version %d is not one of 0 to %d: it was written by a newer release, whose data this one cannot read", version, highest)
	}
	return v.ReadFrom(b)
}

func offsetKey(group string, tp TopicPartition) []byte {
	k := kmsg.OffsetCommitKey{Version: offsetKeyVersion, Group: group, Topic: tp.Topic, Partition: tp.Partition}
	return k.AppendTo(nil)
}

func groupKey(group string) []byte {
	k := kmsg.GroupMetadataKey{Version: groupKeyVersion, Group: group}
	return k.AppendTo(nil)
}

// offsetRecord is the record of a committed offset. Only version 1 of the value has an expiry time.
func offsetRecord(group string, c Committed) coordinator.Record {
	v := kmsg.OffsetCommitValue{
		Version: offsetValue, Offset: c.Offset, LeaderEpoch: c.LeaderEpoch, Metadata: c.Metadata,
		CommitTimestamp: c.CommitMillis, TopicID: c.TopicID,
	}
	if c.ExpireMillis >= 0 {
		v.Version, v.ExpireTimestamp = offsetValueExpiring, c.ExpireMillis
	}
	return coordinator.Record{Key: offsetKey(group, c.TopicPartition), Value: v.AppendTo(nil)}
}

func offsetTombstone(group string, tp TopicPartition) coordinator.Record {
	return coordinator.Record{Key: offsetKey(group, tp)}
}

func groupTombstone(group string) coordinator.Record {
	return coordinator.Record{Key: groupKey(group)}
}

// groupRecord is the record of a group's metadata.
func groupRecord(group string, md Metadata) coordinator.Record {
	v := kmsg.GroupMetadataValue{
		Version: groupValue, ProtocolType: md.ProtocolType, Generation: md.Generation,
		Protocol: orNil(md.Protocol), Leader: orNil(md.Leader), CurrentStateTimestamp: md.StateMillis,
	}
	if md.AwaitsSync {
		v.Version = groupValueAwaiting
		v.UnknownTags.Set(tagAwaitsSync, []byte{})
	}
	for _, m := range md.Members {
		v.Members = append(v.Members, kmsg.GroupMetadataValueMember{
			MemberID: m.ID, InstanceID: m.InstanceID, ClientID: m.Client.ID, ClientHost: m.Client.Host,
			RebalanceTimeoutMillis: m.RebalanceMillis, SessionTimeoutMillis: m.SessionMillis,
			Subscription: m.Subscription, Assignment: m.Assignment,
		})
	}
	return coordinator.Record{Key: groupKey(group), Value: v.AppendTo(nil)}
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
