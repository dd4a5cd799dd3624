package controller

import (
	"slices"
	"strings"
	"unicode/utf8"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// maxTopicName is the longest name: with "-" and a partition number it is the name
// of a directory.
const maxTopicName = 249

// CheckTopicName returns why name is no name for a topic: CodeInvalidTopic.
func CheckTopicName(name string) *metadata.Error {
	invalid := func(format string, args ...any) *metadata.Error {
		return metadata.Errorf(metadata.CodeInvalidTopic, format, args...)
	}
	switch {
	case name == "":
		return invalid("a topic needs a name")
	case name == "." || name == "..":
		return invalid("a topic cannot be named %q", name)
	case len(name) > maxTopicName:
		return invalid("a topic's name has at most %d characters and this one has %d", maxTopicName, len(name))
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return invalid("the topic name %q has %q: only ASCII letters and digits, '.', '_' and '-' are allowed", name, c)
		}
	}
	return nil
}

// reserved are the names of logs that are not topics.
var reserved = []string{"__raft_metadata", "__cluster_metadata"}

// createTopics creates each topic with all of its partitions, or refuses it alone.
func (d *decision) createTopics(c *clusterv1.CreateTopics) (*clusterv1.Answer, *metadata.Error) {
	names := map[string]int{}
	total := 0
	for _, t := range c.GetTopics() {
		names[t.GetName()]++
		total += d.partitionsAskedFor(t)
	}
	if total > d.env.Limits.Partitions {
		return nil, tooManyPartitions(total, d.env.Limits.Partitions)
	}
	answer := &clusterv1.CreateTopicsAnswer{}
	for _, t := range c.GetTopics() {
		result := &clusterv1.CreateTopicsAnswer_Topic{Name: text(t.GetName())}
		switch times := names[t.GetName()]; {
		case times < 0:
			continue
		case times > 1:
			names[t.GetName()] = -1
			result.Code, result.Message = int32(metadata.CodeInvalidRequest), "the request names the topic more than once"
		default:
			if err := d.createTopic(t, c.GetValidateOnly(), len(c.GetTopics()) == 1, result); err != nil {
				result.Code, result.Message = int32(err.Code), err.Message
			}
		}
		answer.Topics = append(answer.Topics, result)
	}
	return &clusterv1.Answer{Kind: &clusterv1.Answer_CreateTopics{CreateTopics: answer}}, nil
}

// partitionsAskedFor counts at least one, so that the number of topics is bounded too.
func (d *decision) partitionsAskedFor(t *clusterv1.CreateTopics_Topic) int {
	n := int(t.GetNumPartitions())
	if n == -1 {
		n = int(d.env.Partitions)
	}
	return max(n, len(t.GetAssignments()), 1)
}

func tooManyPartitions(asked, limit int) *metadata.Error {
	return metadata.Errorf(metadata.CodePolicyViolation,
		"the request asks for %d partitions and one request may create %d: ask in smaller requests", asked, limit)
}

// createTopic fills in result. alone: no other topic of the request is to see this one.
func (d *decision) createTopic(t *clusterv1.CreateTopics_Topic, validateOnly, alone bool, result *clusterv1.CreateTopicsAnswer_Topic) *metadata.Error {
	if err := d.checkNewName(t.GetName()); err != nil {
		return err
	}
	configs, err := checkConfigs(t)
	if err != nil {
		return err
	}
	replicas, err := d.newReplicas(t)
	if err != nil {
		return err
	}
	result.NumPartitions, result.ReplicationFactor = int32(len(replicas)), int32(len(replicas[0]))
	id := d.newTopicID()
	recs := []*metadatav1.Record{metadata.TopicRecord(id, t.GetName())}
	if r := metadata.ConfigRecord(t.GetName(), configs); r != nil {
		recs = append(recs, r)
	}
	for n, brokers := range replicas {
		p, err := d.newPartition(int32(n), brokers)
		if err != nil {
			return err
		}
		recs = append(recs, metadata.PartitionRecord(id, p))
	}
	if !alone {
		d.see(recs...)
	}
	if !validateOnly {
		d.note(recs...)
		result.TopicId = id[:]
	}
	return nil
}

func (d *decision) checkNewName(name string) *metadata.Error {
	if err := CheckTopicName(name); err != nil {
		return err
	}
	if slices.Contains(reserved, name) {
		return metadata.Errorf(metadata.CodeInvalidTopic, "%s is the cluster's own log and cannot be a topic", name)
	}
	if d.img.TopicByName(name) != nil {
		return metadata.Errorf(metadata.CodeTopicAlreadyExists, "the topic %q exists already", name)
	}
	if other := d.img.CollidingTopic(name); other != "" {
		return metadata.Errorf(metadata.CodeInvalidTopic,
			"the topic %q differs from %q only in '.' for '_', and names of metrics do not tell these apart", name, other)
	}
	return nil
}

// checkConfigs returns the settings of a new topic.
func checkConfigs(t *clusterv1.CreateTopics_Topic) (map[string]string, *metadata.Error) {
	all := map[string]string{}
	for _, e := range t.GetConfigs() {
		if !utf8.ValidString(e.GetName()) || !utf8.ValidString(e.GetValue()) {
			return nil, metadata.Errorf(metadata.CodeInvalidConfig, "the setting %q=%q is not UTF-8", e.GetName(), e.GetValue())
		}
		if _, twice := all[e.GetName()]; twice {
			return nil, metadata.Errorf(metadata.CodeInvalidConfig, "the request sets %s twice", e.GetName())
		}
		all[e.GetName()] = e.GetValue()
	}
	if err := config.CheckTopicConfigs(all); err != nil {
		return nil, metadata.Errorf(metadata.CodeInvalidConfig, "%s", err)
	}
	return all, nil
}

// text makes a client's string one that an answer can hold.
func text(s string) string { return strings.ToValidUTF8(s, "?") }

// newTopicID draws until the id is free: the draw may be poor, as in a test.
func (d *decision) newTopicID() metadata.ID {
	for {
		id := d.env.NewID()
		if !metadata.ReservedID(id) && d.img.TopicByID(id) == nil {
			return id
		}
	}
}

// deleteTopics removes topics named by name or by id.
func (d *decision) deleteTopics(c *clusterv1.DeleteTopics) (*clusterv1.Answer, *metadata.Error) {
	if n := len(c.GetTopics()); n > d.env.Limits.Partitions {
		return nil, metadata.Errorf(metadata.CodePolicyViolation,
			"the request deletes %d topics and one request may delete %d: ask in smaller requests", n, d.env.Limits.Partitions)
	}
	asked := map[metadata.ID]int{}
	for _, t := range c.GetTopics() {
		if topic, err := d.findTopic(t); err == nil {
			asked[topic.ID]++
		}
	}
	answer := &clusterv1.DeleteTopicsAnswer{}
	for _, t := range c.GetTopics() {
		result := &clusterv1.DeleteTopicsAnswer_Topic{Name: text(t.GetName()), TopicId: t.GetTopicId()}
		topic, err := d.findTopic(t)
		switch {
		case err != nil:
		case asked[topic.ID] > 1:
			err = metadata.Errorf(metadata.CodeInvalidRequest, "the request names the topic %q more than once", topic.Name)
		default:
			id := topic.ID
			result.Name, result.TopicId = topic.Name, id[:]
			d.note(&metadatav1.Record{Kind: &metadatav1.Record_TopicRemoved{TopicRemoved: &metadatav1.TopicRemoved{Id: id[:]}}})
		}
		if err != nil {
			result.Code, result.Message = int32(err.Code), err.Message
		}
		answer.Topics = append(answer.Topics, result)
	}
	return &clusterv1.Answer{Kind: &clusterv1.Answer_DeleteTopics{DeleteTopics: answer}}, nil
}

func (d *decision) findTopic(t *clusterv1.DeleteTopics_Topic) (*metadata.Topic, *metadata.Error) {
	id, byID := toID(t.GetTopicId())
	byID = byID && id != metadata.ID{}
	switch {
	case byID == (t.GetName() != ""):
		return nil, metadata.Errorf(metadata.CodeInvalidRequest, "a topic to delete is named either by its name or by its id")
	case byID:
		if topic := d.img.TopicByID(id); topic != nil {
			return topic, nil
		}
		return nil, metadata.Errorf(metadata.CodeUnknownTopicID, "there is no topic with the id %s", metadata.FormatID(id))
	}
	if topic := d.img.TopicByName(t.GetName()); topic != nil {
		return topic, nil
	}
	return nil, metadata.Errorf(metadata.CodeUnknownTopicOrPartition, "there is no topic %q", t.GetName())
}
