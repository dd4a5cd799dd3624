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
}

// table builds the table once; it never changes afterwards.
var table = sync.OnceValue(func() *tables {
	t := &tables{named: map[string]*Property{}, env: map[string]*Property{}, topic: map[string]*Property{}}
	for _, rows := range [][]Property{nodeProperties(), clusterProperties(), requestProperties(), logProperties()} {
		for i := range rows {
			p := &rows[i]
			t.broker = append(t.broker, p)
			t.named[p.Name] = p
			t.env[p.EnvName()] = p
		}
	}
	rows := topicProperties()
	for i := range rows {
		p := &rows[i]
		p.Change = PerTopic
		if p.Default == "" && len(p.Synonyms) > 0 {
			p.Default = t.synonymDefault(p)
		}
		t.topics = append(t.topics, p)
		t.topic[p.Name] = p
	}
	slices.SortFunc(t.topics, func(a, b *Property) int { return strings.Compare(a.Name, b.Name) })
	return t
})

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

func (t *tables) topicNames() []string {
	names := make([]string, 0, len(t.topics))
	for _, p := range t.topics {
		names = append(names, p.Name)
	}
	return names
}

func (t *tables) brokerNames() []string {
	names := make([]string, 0, len(t.broker))
	for _, p := range t.broker {
		names = append(names, p.Name)
	}
	return names
}

// Properties lists every broker property in the order of the reference.
func Properties() []*Property { return slices.Clone(table().broker) }

// Lookup returns the broker property of a name, nil if there is none.
func Lookup(name string) *Property { return table().named[name] }
