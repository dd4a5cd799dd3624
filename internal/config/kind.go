package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind is a kind of resource that has properties, numbered as Kafka's ConfigResource.
type Kind int8

// The kinds. A BrokerLogger's properties are its loggers; they stand in no table.
const (
	KindTopic         Kind = 2
	KindBroker        Kind = 4
	KindBrokerLogger  Kind = 8
	KindClientMetrics Kind = 16
	KindGroup         Kind = 32
)

// String returns the words that messages use.
func (k Kind) String() string {
	switch k {
	case KindTopic:
		return "topic"
	case KindBroker:
		return "broker"
	case KindBrokerLogger:
		return "broker logger"
	case KindClientMetrics:
		return "client metrics"
	case KindGroup:
		return "group"
	default:
		return fmt.Sprintf("resource type %d", int8(k))
	}
}

// Lookup returns the kind's property of a name, nil if there is none.
func (k Kind) Lookup(name string) *Property {
	switch k {
	case KindTopic:
		return table().topic[name]
	case KindBroker:
		return table().described[name]
	case KindClientMetrics:
		return table().metric[name]
	case KindGroup:
		return table().group[name]
	default:
		return nil
	}
}

// Properties lists the kind's properties: brokers' in the order of the reference, others' by name.
func (k Kind) Properties() []*Property {
	switch k {
	case KindTopic:
		return table().topics
	case KindBroker:
		return table().describe
	case KindClientMetrics:
		return table().metrics
	case KindGroup:
		return table().groups
	default:
		return nil
	}
}

// Unknown is the error of a name that the kind has no property of.
func (k Kind) Unknown(name string) error {
	switch k {
	case KindTopic:
		return unknown("topic config", name, names(k.Properties()), removedTopicConfigs[name])
	case KindBroker:
		return unknownBroker(name)
	default:
		return unknown(k.String()+" config", name, names(k.Properties()), "")
	}
}

// Check tells why a property of the kind may not have a value: an unknown name, a wrong type, out of
// range, or what this version does not have. The text of the error is fit for the user.
func (k Kind) Check(name, value string) error {
	if k == KindTopic {
		return CheckTopicConfig(name, value)
	}
	p := k.Lookup(name)
	if p == nil {
		return k.Unknown(name)
	}
	if _, err := p.parse(value); err != nil {
		return &Error{Name: name, Value: p.shown(value), Why: err.Error()}
	}
	return nil
}

// CheckTogether tells why values that are each right do not fit each other. Of a broker's only the broker
// itself can tell (Config.With).
func (k Kind) CheckTogether(values map[string]string) error {
	switch k {
	case KindTopic:
		return checkTopicTogether(values)
	case KindGroup:
		return checkGroupTogether(values)
	default:
		return nil
	}
}

// ChangeableAt tells why a property of a broker cannot be set at run time: for one broker, or for all of them
// as the cluster's default.
func (p *Property) ChangeableAt(clusterDefault bool) error {
	switch {
	case p.Change == ReadOnly && p.Instead != "":
		return &Error{Name: p.Name, Why: "shows what other properties make it, and is read at a start", Hint: p.Instead}
	case p.Change == ReadOnly:
		return &Error{Name: p.Name, Why: "is read at a start and cannot be changed while brokers run", Hint: "set it by a flag, the environment or the file, and start the node again"}
	case p.Change == PerBroker && clusterDefault:
		return &Error{Name: p.Name, Why: "cannot be set for all brokers at once", Hint: "set it for each broker"}
	default:
		return nil
	}
}

// Kept reports whether the broker does no more with the property's value than to keep and show it, and reads it nowhere.
func (p *Property) Kept() bool { return p.field == nil && p.Change < PerTopic }

// Sensitive reports whether the value is shown to nobody.
func (p *Property) Sensitive() bool { return p.Type == Password }

// shown is a value as it may be shown.
func (p *Property) shown(value string) string {
	if p.Sensitive() && value != "" {
		return "***"
	}
	return value
}

// Documentation is what clients are told of the property.
func (p *Property) Documentation() string {
	return strings.TrimSpace(p.Doc + " " + p.NoEffect)
}

// Append adds the items of value to the list current, and Subtract takes them out of it; unset tells that
// nothing is set, so that the list is the property's default. The error says that it is no list.
func (p *Property) Append(current string, unset bool, value string) (string, error) {
	list, err := p.list(current, unset)
	if err != nil {
		return "", err
	}
	for _, item := range splitList(value) {
		if !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	return strings.Join(list, ","), nil
}

// Subtract is told of at Append.
func (p *Property) Subtract(current string, unset bool, value string) (string, error) {
	list, err := p.list(current, unset)
	if err != nil {
		return "", err
	}
	gone := splitList(value)
	var left []string
	for _, item := range list {
		if !slices.Contains(gone, item) {
			left = append(left, item)
		}
	}
	return strings.Join(left, ","), nil
}

func (p *Property) list(current string, unset bool) ([]string, error) {
	if p.Type != List {
		return nil, &Error{Name: p.Name, Why: fmt.Sprintf("is a %s and not a list, so nothing can be appended or subtracted", p.Type), Hint: "set it"}
	}
	if unset {
		current = p.Default
	}
	return splitList(current), nil
}

// checkGroupTogether holds a group's values against the bounds that brokers have for all groups, and
// sessions against heartbeats.
func checkGroupTogether(values map[string]string) error {
	value := func(p *Property) int64 {
		text, ok := values[p.Name]
		if !ok {
			text = p.Default
		}
		n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		return n
	}
	for _, p := range table().groups {
		if len(p.Synonyms) == 0 {
			continue
		}
		kind, rest, _ := strings.Cut(p.Name, ".")
		low, high := Lookup("group."+kind+".min."+rest), Lookup("group."+kind+".max."+rest)
		if low != nil && value(p) < value(low) {
			return &Error{Name: p.Name, Value: values[p.Name], Why: fmt.Sprintf("is below %s=%s", low.Name, low.Default)}
		}
		if high != nil && value(p) > value(high) {
			return &Error{Name: p.Name, Value: values[p.Name], Why: fmt.Sprintf("exceeds %s=%s", high.Name, high.Default)}
		}
		if rest == "session.timeout.ms" {
			if beat := table().group[kind+".heartbeat.interval.ms"]; value(p) <= value(beat) {
				return &Error{Name: p.Name, Value: values[p.Name], Why: fmt.Sprintf("must exceed %s=%d", beat.Name, value(beat))}
			}
		}
	}
	return nil
}
