package config

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// tables is the one table of properties with its look-ups.
type tables struct {
	broker []*Property          // in the order of the reference
	named  map[string]*Property // broker properties by name
	env    map[string]*Property // broker properties by environment variable
	topics []*Property          // in name order
	topic  map[string]*Property // topic properties by name

	describe  []*Property          // broker, and then those that only show what others make them
	described map[string]*Property // by name

	groups  []*Property // in name order
	group   map[string]*Property
	metrics []*Property // of client metrics, in name order
	metric  map[string]*Property
}

// table builds the table once; it never changes afterwards.
var table = sync.OnceValue(func() *tables {
	t := &tables{named: map[string]*Property{}, env: map[string]*Property{}}
	for _, rows := range [][]Property{nodeProperties(), clusterProperties(), requestProperties(), logProperties(), keptProperties()} {
		for i := range rows {
			p := &rows[i]
			t.broker = append(t.broker, p)
			t.named[p.Name] = p
			t.env[p.EnvName()] = p
		}
	}
	shown, _ := index(derivedProperties())
	t.describe = append(slices.Clone(t.broker), shown...)
	t.described = map[string]*Property{}
	for _, p := range t.describe {
		t.described[p.Name] = p
	}
	t.topics, t.topic = index(topicProperties())
	for _, p := range t.topics {
		p.Change = PerTopic
		if p.Default == "" && len(p.Synonyms) > 0 {
			p.Default = t.synonymDefault(p)
		}
	}
	t.groups, t.group = index(groupProperties())
	t.metrics, t.metric = index(metricsProperties())
	return t
})

// index returns rows in name order and by name.
func index(rows []Property) (sorted []*Property, named map[string]*Property) {
	named = map[string]*Property{}
	for i := range rows {
		sorted = append(sorted, &rows[i])
		named[rows[i].Name] = &rows[i]
	}
	slices.SortFunc(sorted, func(a, b *Property) int { return strings.Compare(a.Name, b.Name) })
	return sorted, named
}

// synonymDefault returns a topic property's default in its own unit: that of the first broker
// property it follows which has one.
func (t *tables) synonymDefault(p *Property) string {
	for _, name := range p.Synonyms {
		b := t.named[name]
		if b == nil || b.Default == "" {
			continue
		}
		if b.unit() == p.unit() {
			return b.Default
		}
		v, err := b.parse(b.Default)
		if n, ok := v.(int64); ok && err == nil {
			return fmt.Sprint(n * int64(b.unit()/p.unit()))
		}
	}
	return ""
}

func names(properties []*Property) []string {
	list := make([]string, 0, len(properties))
	for _, p := range properties {
		list = append(list, p.Name)
	}
	return list
}

// Properties lists every broker property in the order of the reference.
func Properties() []*Property { return slices.Clone(table().broker) }

// Lookup returns the broker property of a name, nil if there is none.
func Lookup(name string) *Property { return table().named[name] }
