package controller

import (
	"maps"
	"slices"
	"strconv"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/metadata"
)

const (
	// maxConfigValue is the longest value of a setting, as in Kafka.
	maxConfigValue = 1<<15 - 1
	// maxResourceName is the longest name of a subscription of client metrics or a group that has settings.
	maxResourceName = 249
)

// alterConfigs changes the settings of each resource, or refuses it alone. What is appended or subtracted is so on the
// image, not on what the client has seen, so that two clients do not undo each other.
func (d *decision) alterConfigs(c *clusterv1.AlterConfigs) (*clusterv1.Answer, *metadata.Error) {
	answer := &clusterv1.AlterConfigsAnswer{}
	for _, r := range c.GetResources() {
		result := &clusterv1.AlterConfigsAnswer_Resource{Type: r.GetType(), Name: text(r.GetName())}
		rec, err := d.alterResource(r)
		switch {
		case err != nil:
			result.Code, result.Message = int32(err.Code), err.Message
		case rec != nil && !c.GetValidateOnly():
			d.record(rec) // the next resource is counted with this one
		}
		answer.Resources = append(answer.Resources, result)
	}
	return &clusterv1.Answer{Kind: &clusterv1.Answer_AlterConfigs{AlterConfigs: answer}}, nil
}

// alterResource returns the record of what changes; nil if nothing does.
func (d *decision) alterResource(r *clusterv1.AlterConfigs_Resource) (*metadatav1.Record, *metadata.Error) {
	kind := config.Kind(r.GetType())
	if int32(kind) != r.GetType() || kind.Properties() == nil {
		return nil, metadata.Errorf(metadata.CodeInvalidRequest, "a resource of type %d has no settings that are kept", r.GetType())
	}
	if err := d.checkResource(kind, r.GetName()); err != nil {
		return nil, err
	}
	before := d.img.Config(metadata.ResourceType(kind), r.GetName())
	after, err := AlteredConfigs(before, r)
	if err != nil {
		return nil, err
	}
	return changedSettings(kind, r.GetName(), before, after), nil
}

// AlteredConfigs returns the settings of a resource as r makes them of those before, or why they cannot be.
func AlteredConfigs(before map[string]string, r *clusterv1.AlterConfigs_Resource) (map[string]string, *metadata.Error) {
	kind := config.Kind(r.GetType())
	after := maps.Clone(before)
	if after == nil || r.GetReplace() {
		after = map[string]string{}
	}
	seen := map[string]bool{}
	for _, c := range r.GetChanges() {
		if seen[c.GetName()] {
			return nil, metadata.Errorf(metadata.CodeInvalidRequest, "the request names %s twice for the same %s: name it once", c.GetName(), kind)
		}
		seen[c.GetName()] = true
		if err := alterEntry(kind, r.GetName(), after, c); err != nil {
			return nil, err
		}
	}
	if err := kind.CheckTogether(after); err != nil {
		return nil, metadata.Errorf(metadata.CodeInvalidConfig, "%s", err)
	}
	return after, nil
}

// checkResource tells why a resource cannot have settings.
func (d *decision) checkResource(kind config.Kind, name string) *metadata.Error {
	invalid := func(format string, args ...any) *metadata.Error {
		return metadata.Errorf(metadata.CodeInvalidRequest, format, args...)
	}
	switch kind {
	case config.KindTopic:
		if d.img.TopicByName(name) == nil {
			return metadata.Errorf(metadata.CodeUnknownTopicOrPartition, "there is no topic %q", name)
		}
		return nil
	case config.KindBroker:
		if name == "" {
			return nil
		}
		id, err := strconv.ParseInt(name, 10, 32)
		switch {
		case err != nil || strconv.FormatInt(id, 10) != name:
			return invalid("a broker is named by its node id, not by %q; an empty name stands for all brokers", name)
		case d.img.Broker(int32(id)) == nil:
			return metadata.Errorf(metadata.CodeBrokerIDNotRegistered, "there is no broker %d", id)
		}
		return nil
	}
	switch {
	case name == "":
		return invalid("a %s has a name: there are no settings for all of them", kind)
	case len(name) > maxResourceName:
		return invalid("the name of a %s that has settings has at most %d bytes and this one has %d", kind, maxResourceName, len(name))
	case d.img.Config(metadata.ResourceType(kind), name) == nil && len(d.img.Resources()) >= d.env.Limits.Resources:
		return metadata.Errorf(metadata.CodePolicyViolation,
			"%d groups, subscriptions and brokers have settings and no more may: delete those of some", d.env.Limits.Resources)
	}
	return nil
}

// alterEntry changes one setting in after.
func alterEntry(kind config.Kind, resource string, after map[string]string, c *clusterv1.AlterConfigs_Change) *metadata.Error {
	name := c.GetName()
	p := kind.Lookup(name)
	if c.GetOp() == clusterv1.ConfigOp_CONFIG_OP_DELETE {
		if _, set := after[name]; p == nil && !set {
			return metadata.Errorf(metadata.CodeInvalidConfig, "%s", kind.Unknown(name))
		}
		delete(after, name)
		return nil
	}
	if p == nil {
		return metadata.Errorf(metadata.CodeInvalidConfig, "%s", kind.Unknown(name))
	}
	if kind == config.KindBroker {
		if err := p.ChangeableAt(resource == ""); err != nil {
			return metadata.Errorf(metadata.CodeInvalidRequest, "%s", err)
		}
	}
	value, err := c.GetValue(), error(nil)
	current, set := after[name]
	switch c.GetOp() {
	case clusterv1.ConfigOp_CONFIG_OP_SET:
	case clusterv1.ConfigOp_CONFIG_OP_APPEND:
		value, err = p.Append(current, !set, value)
	case clusterv1.ConfigOp_CONFIG_OP_SUBTRACT:
		value, err = p.Subtract(current, !set, value)
	default:
		return metadata.Errorf(metadata.CodeInvalidRequest, "%s: there is no operation of the number %d", name, int32(c.GetOp())-1)
	}
	if err == nil && len(value) > maxConfigValue {
		err = &config.Error{Name: name, Why: "the value has " + strconv.Itoa(len(value)) + " bytes and may have " + strconv.Itoa(maxConfigValue)}
	}
	if err == nil {
		err = kind.Check(name, value)
	}
	if err != nil {
		return metadata.Errorf(metadata.CodeInvalidConfig, "%s", err)
	}
	after[name] = value
	return nil
}

// changedSettings is the record that leads from before to after; nil if they are equal.
func changedSettings(kind config.Kind, resource string, before, after map[string]string) *metadatav1.Record {
	c := &metadatav1.Config{Type: metadatav1.ConfigType(kind), Name: resource}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, stays := after[name]; !stays {
			c.Entries = append(c.Entries, &metadatav1.Config_Entry{Name: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		value := after[name]
		if old, set := before[name]; !set || old != value {
			c.Entries = append(c.Entries, &metadatav1.Config_Entry{Name: name, Value: &value})
		}
	}
	if len(c.Entries) == 0 {
		return nil
	}
	return &metadatav1.Record{Kind: &metadatav1.Record_Config{Config: c}}
}
