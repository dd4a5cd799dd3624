package config

import "strconv"

// Source tells where a value comes from, numbered as Kafka's ConfigSource.
type Source int8

// The sources.
const (
	SourceTopic          Source = 1 // set for the topic
	SourceDynamicBroker  Source = 2 // set at run time for the broker
	SourceDynamicDefault Source = 3 // set at run time for all brokers
	SourceBroker         Source = 4 // set at the broker's start: file, environment or flag
	SourceDefault        Source = 5
	SourceBrokerLogger   Source = 6 // a logger's level
	SourceClientMetrics  Source = 7 // set for the subscription
	SourceGroup          Source = 8 // set for the group
)

// Synonym is a value that is in force, or would be if those before it were not.
type Synonym struct {
	Name   string
	Value  string
	Null   bool // the value is not to be shown
	Source Source
}

// Entry is one property of a resource as CreateTopics and DescribeConfigs show it.
type Entry struct {
	Property *Property
	Value    string
	Null     bool // it has no value, or one that is not to be shown
	Source   Source
	ReadOnly bool
	Synonyms []Synonym
}

// DescribeTopic lists every property of a topic with the value in force, in name order.
// The replication factor tells what min.insync.replicas is where nobody has set it.
func (c *Config) DescribeTopic(overrides map[string]string, replicationFactor int) []Entry {
	t := c.Topic(overrides)
	entries := make([]Entry, 0, len(table().topics))
	for _, p := range table().topics {
		e := c.overridden(p, overrides, SourceTopic)
		e.Value = p.format(p.topic(&t))
		if p.Name == "min.insync.replicas" {
			e.Value = strconv.Itoa(int(t.MinISR(replicationFactor)))
		}
		entries = append(entries, e)
	}
	return entries
}

// DescribeGroup lists every property of a group with the value in force, in name order.
func (c *Config) DescribeGroup(overrides map[string]string) []Entry {
	entries := make([]Entry, 0, len(table().groups))
	for _, p := range table().groups {
		e := c.overridden(p, overrides, SourceGroup)
		if e.Value = p.Default; len(e.Synonyms) > 0 {
			e.Value = e.Synonyms[0].Value
		}
		entries = append(entries, e)
	}
	return entries
}

// overridden is the entry of a property that follows broker properties where it is not set itself.
func (c *Config) overridden(p *Property, overrides map[string]string, own Source) Entry {
	e := Entry{Property: p, Source: SourceDefault}
	if value, ok := overrides[p.Name]; ok {
		e.Synonyms = append(e.Synonyms, Synonym{Name: p.Name, Value: value, Source: own})
	}
	e.Synonyms = append(e.Synonyms, c.synonyms(p.Synonyms)...)
	if len(e.Synonyms) > 0 {
		e.Source = e.Synonyms[0].Source
	}
	return e
}

// synonyms lists what was set under the names and what their defaults are, what counts first.
func (c *Config) synonyms(names []string) []Synonym {
	var list []Synonym
	add := func(source Source, value func(p *Property) (string, bool)) {
		for _, name := range names {
			if p := Lookup(name); p != nil {
				if text, ok := value(p); ok {
					list = append(list, Synonym{Name: name, Value: p.shown(text), Null: p.Sensitive(), Source: source})
				}
			}
		}
	}
	in := func(m map[string]string) func(p *Property) (string, bool) {
		return func(p *Property) (string, bool) {
			text, ok := m[p.Name]
			return text, ok && p.Change != ReadOnly
		}
	}
	add(SourceDynamicBroker, in(c.dynamic.Broker))
	add(SourceDynamicDefault, in(c.dynamic.ClusterDefault))
	add(SourceBroker, func(p *Property) (string, bool) { r, ok := c.found[p.Name]; return r.text, ok })
	add(SourceDefault, func(p *Property) (string, bool) { return p.Default, p.Default != "" })
	return list
}

// DescribeBroker lists every property of this broker with the value in force, in the order of the reference.
func (c *Config) DescribeBroker() []Entry {
	entries := make([]Entry, 0, len(table().describe))
	for _, p := range table().describe {
		e := Entry{Property: p, Source: SourceDefault, ReadOnly: p.Change == ReadOnly}
		if p.Instead != "" {
			e.Value = p.derived(c)
			e.Source = SourceBroker
			e.Synonyms = []Synonym{{Name: p.Name, Value: e.Value, Source: e.Source}}
			entries = append(entries, e)
			continue
		}
		v := c.values[c.index[p.Name]]
		e.Value, e.Null = v.Text, v.Text == "" || p.Sensitive()
		e.Synonyms = c.synonyms(follows(p.Name))
		if len(e.Synonyms) > 0 {
			e.Source = e.Synonyms[0].Source
		}
		if e.Null {
			e.Value = ""
		}
		entries = append(entries, e)
	}
	return entries
}

// follows lists a broker property and those that it takes its value from where it is not set.
func follows(name string) []string {
	for _, p := range table().topics {
		for i, s := range p.Synonyms {
			if s == name {
				return p.Synonyms[i:]
			}
		}
	}
	return []string{name}
}

// DescribeClusterDefault lists what is set at run time for all brokers, in the order of the reference.
func DescribeClusterDefault(values map[string]string) []Entry {
	return describeSet(KindBroker, values, SourceDynamicDefault)
}

// DescribeClientMetrics lists the properties of a subscription of client metrics, in name order.
func DescribeClientMetrics(values map[string]string) []Entry {
	entries := make([]Entry, 0, len(table().metrics))
	for _, p := range table().metrics {
		e := Entry{Property: p, Value: p.Default, Source: SourceDefault}
		if value, ok := values[p.Name]; ok {
			e.Value, e.Source = value, SourceClientMetrics
			e.Synonyms = append(e.Synonyms, Synonym{Name: p.Name, Value: value, Source: SourceClientMetrics})
		}
		if p.Default != "" {
			e.Synonyms = append(e.Synonyms, Synonym{Name: p.Name, Value: p.Default, Source: SourceDefault})
		}
		entries = append(entries, e)
	}
	return entries
}

func describeSet(k Kind, values map[string]string, source Source) []Entry {
	var entries []Entry
	for _, p := range k.Properties() {
		if value, ok := values[p.Name]; ok {
			s := Synonym{Name: p.Name, Value: p.shown(value), Null: p.Sensitive(), Source: source}
			e := Entry{Property: p, Value: s.Value, Null: s.Null, Source: source, Synonyms: []Synonym{s}}
			entries = append(entries, e)
		}
	}
	return entries
}
