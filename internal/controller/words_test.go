package controller

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// words are the words of a script's line: a verb, bare words, key=value.
type words struct {
	verb   string
	fields []string
}

// newWords reads a line. \xff stands for a byte that is no UTF-8.
func newWords(line string) words {
	f := strings.Fields(strings.ReplaceAll(line, `\xff`, "\xff"))
	return words{verb: f[0], fields: f[1:]}
}

// get returns the value of key; the key "1" is the first word.
func (w words) get(key, otherwise string) string {
	if key == "1" && len(w.fields) > 0 {
		return w.fields[0]
	}
	if all := w.all(key); len(all) > 0 {
		return all[0]
	}
	return otherwise
}

func (w words) all(key string) []string {
	var list []string
	for _, f := range w.fields {
		if k, v, ok := strings.Cut(f, "="); ok && k == key {
			list = append(list, strings.ReplaceAll(v, "~", " "))
		}
	}
	return list
}

func (w words) has(word string) bool { return slices.Contains(w.fields, word) }

func (w words) int(key string, otherwise int32) int32 {
	n, err := strconv.Atoi(w.get(key, strconv.Itoa(int(otherwise))))
	if err != nil {
		panic(err)
	}
	return int32(n)
}

func (w words) list(key string) []string {
	if s := w.get(key, ""); s != "" {
		return strings.Split(s, ",")
	}
	return nil
}

func (w words) split() []words {
	list := []words{{verb: w.verb}}
	for _, f := range w.fields {
		if f == "|" {
			list = append(list, words{verb: w.verb})
			continue
		}
		last := &list[len(list)-1]
		last.fields = append(last.fields, f)
	}
	return list
}

// assignments reads 1,2/2,3 as partition 0 on 1 and 2, partition 1 on 2 and 3; a
// partition may be named: 1:2,3.
func (w words) assignments(key string) []*clusterv1.ReplicaAssignment {
	s := w.get(key, "")
	if s == "" {
		return nil
	}
	var list []*clusterv1.ReplicaAssignment
	for i, part := range strings.Split(s, "/") {
		a := &clusterv1.ReplicaAssignment{Partition: int32(i)}
		if n, rest, ok := strings.Cut(part, ":"); ok {
			v, _ := strconv.Atoi(n)
			a.Partition, part = int32(v), rest
		}
		for _, b := range strings.FieldsFunc(part, func(r rune) bool { return r == ',' }) {
			v, _ := strconv.Atoi(b)
			a.BrokerIds = append(a.BrokerIds, int32(v))
		}
		list = append(list, a)
	}
	return list
}

// word makes an id that recordText shows as s.
func word(s string) metadata.ID {
	var id metadata.ID
	copy(id[:], s)
	return id
}

// wordBytes is word, but "short" is not 16 bytes long and "none" is absent.
func wordBytes(s string) []byte {
	switch s {
	case "short":
		return []byte{1}
	case "none":
		return nil
	case "zero":
		return make([]byte, 16)
	}
	id := word(s)
	return id[:]
}

func idText(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	if s := strings.TrimRight(string(b), "\x00"); s != "" {
		return s
	}
	return "0"
}

func idTexts(list [][]byte) string {
	var s []string
	for _, b := range list {
		s = append(s, idText(b))
	}
	return "[" + strings.Join(s, " ") + "]"
}

func recordText(r *metadatav1.Record) string {
	switch k := r.GetKind().(type) {
	case *metadatav1.Record_ClusterFormed:
		return fmt.Sprintf("ClusterFormed %s generation=%d founders=%d", k.ClusterFormed.GetClusterId(), k.ClusterFormed.GetGeneration(), len(k.ClusterFormed.GetFounders()))
	case *metadatav1.Record_ControllerActive:
		return fmt.Sprintf("ControllerActive node=%d term=%d", k.ControllerActive.GetNode(), k.ControllerActive.GetTerm())
	case *metadatav1.Record_Broker:
		b := k.Broker
		l := b.GetListeners()[0]
		return fmt.Sprintf("Broker %d inc=%s epoch=%d dirs=%s at %s:%d fenced=%t shutdown=%t", b.GetId(), idText(b.GetIncarnation()), b.GetEpoch(),
			idTexts(b.GetDirectories()), l.GetHost(), l.GetPort(), b.GetFenced(), b.GetInControlledShutdown())
	case *metadatav1.Record_BrokerChange:
		s := fmt.Sprintf("BrokerChange %d", k.BrokerChange.GetId())
		if k.BrokerChange.Fenced != nil {
			s += fmt.Sprintf(" fenced=%t", k.BrokerChange.GetFenced())
		}
		if k.BrokerChange.InControlledShutdown != nil {
			s += fmt.Sprintf(" shutdown=%t", k.BrokerChange.GetInControlledShutdown())
		}
		return s
	case *metadatav1.Record_Topic:
		return fmt.Sprintf("Topic %s id=%s", k.Topic.GetName(), idText(k.Topic.GetId()))
	case *metadatav1.Record_TopicRemoved:
		return fmt.Sprintf("TopicRemoved id=%s", idText(k.TopicRemoved.GetId()))
	case *metadatav1.Record_Partition:
		p := k.Partition
		return fmt.Sprintf("Partition %s/%d leader=%d epoch=%d version=%d replicas=%v isr=%v", idText(p.GetTopicId()), p.GetIndex(), p.GetLeader(),
			p.GetLeaderEpoch(), p.GetPartitionEpoch(), p.GetReplicas(), p.GetIsr())
	case *metadatav1.Record_PartitionChange:
		return changeText(k.PartitionChange)
	case *metadatav1.Record_Config:
		s := "Config " + k.Config.GetName()
		if k.Config.GetType() != metadatav1.ConfigType_CONFIG_TYPE_TOPIC {
			s = fmt.Sprintf("Config %d/%s", k.Config.GetType(), k.Config.GetName())
		}
		for _, e := range k.Config.GetEntries() {
			if s += " " + e.GetName(); e.Value != nil {
				s += "=" + e.GetValue()
			}
		}
		return s
	case *metadatav1.Record_ProducerIds:
		return fmt.Sprintf("ProducerIds next=%d", k.ProducerIds.GetNext())
	case *metadatav1.Record_CommandResult:
		id := k.CommandResult.GetRequestId()
		return fmt.Sprintf("CommandResult %d/%s/%d", id.GetNode(), idText(id.GetIncarnation()), id.GetSequence())
	}
	return "?"
}

func changeText(c *metadatav1.PartitionChange) string {
	s := fmt.Sprintf("PartitionChange %s/%d", idText(c.GetTopicId()), c.GetIndex())
	if c.Leader != nil {
		s += fmt.Sprintf(" leader=%d", c.GetLeader())
	}
	if c.LeaderEpoch != nil {
		s += fmt.Sprintf(" epoch=%d", c.GetLeaderEpoch())
	}
	if c.PartitionEpoch != nil {
		s += fmt.Sprintf(" version=%d", c.GetPartitionEpoch())
	}
	if c.Isr != nil {
		s += fmt.Sprintf(" isr=%v", c.GetIsr().GetIds())
	}
	if c.LastKnownElr != nil {
		s += fmt.Sprintf(" last-known=%v", c.GetLastKnownElr().GetIds())
	}
	if c.Directories != nil {
		s += " dirs=" + idTexts(c.GetDirectories().GetIds())
	}
	if c.Recovery != nil {
		s += fmt.Sprintf(" recovering=%t", c.GetRecovery() == metadatav1.Recovery_RECOVERY_RECOVERING)
	}
	return s
}

func answerText(a *clusterv1.Answer) string {
	s := "-> " + status(a.GetCode(), a.GetMessage())
	if a.GetIndex() != 0 {
		s += fmt.Sprintf(" index=%d", a.GetIndex())
	}
	if a.GetMore() {
		s += " more"
	}
	switch k := a.GetKind().(type) {
	case *clusterv1.Answer_CreateTopics:
		for _, t := range k.CreateTopics.GetTopics() {
			s += fmt.Sprintf("\n   %s id=%s partitions=%d rf=%d %s", t.GetName(), idText(t.GetTopicId()), t.GetNumPartitions(), t.GetReplicationFactor(), status(t.GetCode(), t.GetMessage()))
		}
	case *clusterv1.Answer_DeleteTopics:
		for _, t := range k.DeleteTopics.GetTopics() {
			s += fmt.Sprintf("\n   %s id=%s %s", t.GetName(), idText(t.GetTopicId()), status(t.GetCode(), t.GetMessage()))
		}
	case *clusterv1.Answer_CreatePartitions:
		for _, t := range k.CreatePartitions.GetTopics() {
			s += fmt.Sprintf("\n   %s %s", t.GetName(), status(t.GetCode(), t.GetMessage()))
		}
	case *clusterv1.Answer_AlterConfigs:
		for _, r := range k.AlterConfigs.GetResources() {
			s += fmt.Sprintf("\n   %d/%s %s", r.GetType(), r.GetName(), status(r.GetCode(), r.GetMessage()))
		}
	case *clusterv1.Answer_AllocateProducerIds:
		s += fmt.Sprintf(" first=%d count=%d", k.AllocateProducerIds.GetFirst(), k.AllocateProducerIds.GetCount())
	case *clusterv1.Answer_RegisterBroker:
		s += fmt.Sprintf(" epoch=%d clean=%t lost=%d", k.RegisterBroker.GetBrokerEpoch(), k.RegisterBroker.GetClean(), k.RegisterBroker.GetLostReplicas())
	case *clusterv1.Answer_AssignDirectories:
		for _, r := range k.AssignDirectories.GetRefused() {
			s += fmt.Sprintf("\n   %s/%d %s", idText(r.GetTopicId()), r.GetPartition(), status(r.GetCode(), r.GetMessage()))
		}
	}
	return s
}

func status(code int32, message string) string {
	if code == 0 {
		return "ok"
	}
	return fmt.Sprintf("%d %s", code, message)
}

// describe shows an image.
func describe(img *metadata.Image) string {
	var s strings.Builder
	fmt.Fprintf(&s, "index=%d cluster=%s next-producer-id=%d\n", img.Index(), img.ClusterID(), img.NextProducerID())
	for _, b := range img.Brokers() {
		fmt.Fprintf(&s, "broker %d epoch=%d fenced=%t shutdown=%t leads=%d\n", b.ID, b.Epoch, b.Fenced, b.InControlledShutdown, img.BrokerPartitionCount(b.ID, metadata.RoleLeader))
	}
	for t := range img.Topics() {
		fmt.Fprintf(&s, "topic %s id=%s %v\n", t.Name, idText(t.ID[:]), t.Configs)
		for _, p := range t.Partitions {
			var dirs []string
			for _, d := range p.Directories {
				dirs = append(dirs, idText(d[:]))
			}
			fmt.Fprintf(&s, "  %d leader=%d epoch=%d version=%d replicas=%v dirs=%v isr=%v last-known=%v recovering=%t\n",
				p.Index, p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.Replicas, dirs, p.ISR, p.LastKnownELR, p.Recovering)
		}
	}
	return s.String()
}
