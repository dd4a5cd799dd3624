package config

import (
	"fmt"
	"slices"
	"strconv"
)

// TopicProperties lists every topic property in name order.
func TopicProperties() []*Property { return slices.Clone(table().topics) }

// TopicProperty returns the topic property of a name, nil if there is none.
func TopicProperty(name string) *Property { return table().topic[name] }

// CheckTopicConfig tells why a user may not set a topic's property to a value: an unknown name,
// a value of the wrong type or out of range, or a policy that this version does not have. The
// error is an *Error whose text is fit for the user.
func CheckTopicConfig(name, value string) error {
	p := TopicProperty(name)
	if p == nil {
		return KindTopic.Unknown(name)
	}
	v, err := p.parse(value)
	if err != nil {
		return &Error{Name: name, Value: value, Why: err.Error()}
	}
	if name == "remote.storage.enable" && v.(bool) {
		return &Error{Name: name, Value: value, Why: "tiered storage is not there yet", Hint: "leave remote.storage.enable out"}
	}
	return nil
}

// CheckTopicConfigs checks a topic's properties one by one, in name order, and then those that
// must fit each other.
func CheckTopicConfigs(configs map[string]string) error {
	names := make([]string, 0, len(configs))
	for name := range configs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := CheckTopicConfig(name, configs[name]); err != nil {
			return err
		}
	}
	return checkTopicTogether(configs)
}

func checkTopicTogether(configs map[string]string) error {
	low, haveLow := configs["min.compaction.lag.ms"]
	high, haveHigh := configs["max.compaction.lag.ms"]
	if haveLow && haveHigh {
		l, _ := strconv.ParseInt(low, 10, 64)
		h, _ := strconv.ParseInt(high, 10, 64)
		if l > h {
			return &Error{Name: "min.compaction.lag.ms", Value: low, Why: "exceeds max.compaction.lag.ms=" + high, Hint: "lower the one or raise the other"}
		}
	}
	return nil
}

// Topic resolves a topic's configuration on this broker: its own values over the broker's
// defaults. A value that cannot be read (written by a newer version, say) leaves the default.
func (c *Config) Topic(overrides map[string]string) Topic {
	t := c.topic
	for name, text := range overrides {
		p := TopicProperty(name)
		if p == nil {
			continue
		}
		if v, err := p.parse(text); err == nil && v != nil {
			_ = p.store(p.topic(&t), v) // of the property's own type
		}
	}
	return t
}

// resolveTopicDefaults fills the topic defaults of this broker.
func (c *Config) resolveTopicDefaults() error {
	for _, p := range table().topics {
		target := p.topic(&c.topic)
		if p.from == nil {
			v, err := p.parse(p.Default)
			if err == nil {
				err = p.store(target, v)
			}
			if err != nil {
				return fmt.Errorf("config: default of %s: %w", p.Name, err)
			}
			continue
		}
		copyField(target, p.from(&c.Settings))
	}
	return nil
}

// copyField copies what one pointer leads to where another of the same type leads.
func copyField(to, from any) {
	switch to := to.(type) {
	case *bool:
		*to = *from.(*bool)
	case *int32:
		*to = *from.(*int32)
	case *int64:
		*to = *from.(*int64)
	case *float64:
		*to = *from.(*float64)
	case *string:
		*to = *from.(*string)
	case *[]string:
		*to = *from.(*[]string)
	}
}

// removedTopicConfigs are those of older Kafkas, with what became of them.
var removedTopicConfigs = map[string]string{
	"message.format.version":              "Kafka removed it in 4.0: every batch has format 2; leave it out",
	"message.downconversion.enable":       "Kafka removed it in 4.0: batches are never converted; leave it out",
	"message.timestamp.difference.max.ms": "Kafka removed it in 4.0: use message.timestamp.before.max.ms and message.timestamp.after.max.ms",
}
