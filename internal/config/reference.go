package config

import (
	"fmt"
	"io"
	"strings"
)

// WriteReference writes the reference of every property as Markdown: docs/CONFIGURATION.md.
func WriteReference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, section := range []struct {
		title string
		rows  []Property
	}{
		{"The node", nodeProperties()},
		{"Raft and the cluster", clusterProperties()},
		{"Clients, topics, groups", requestProperties()},
		{"Logs", logProperties()},
		{"What Kafka has and has no effect here", keptProperties()},
	} {
		fmt.Fprintf(&b, "\n## %s\n", section.title)
		for i := range section.rows {
			writeProperty(&b, &section.rows[i])
		}
	}
	b.WriteString(referenceTopics)
	for _, p := range TopicProperties() {
		writeProperty(&b, p)
	}
	b.WriteString(referenceGroups)
	for _, p := range KindGroup.Properties() {
		writeProperty(&b, p)
	}
	b.WriteString(referenceMetrics)
	for _, p := range KindClientMetrics.Properties() {
		writeProperty(&b, p)
	}
	b.WriteString(referenceShown)
	for _, p := range KindBroker.Properties() {
		if p.Instead != "" {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.Name, p.Doc, p.Instead)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeProperty(b *strings.Builder, p *Property) {
	fmt.Fprintf(b, "\n### `%s`\n\n%s\n", p.Name, p.Doc)
	if p.NoEffect != "" {
		fmt.Fprintf(b, "*%s*\n", p.NoEffect)
	}
	facts := []string{p.Type.String()}
	switch {
	case p.Default != "":
		facts = append(facts, "default `"+p.Default+"`")
	default:
		facts = append(facts, "no default")
	}
	switch {
	case p.Kafka != "":
		facts = append(facts, "Kafka's default `"+p.Kafka+"`")
	case p.Own:
		facts = append(facts, "not a property of Kafka")
	}
	if p.Limit.Text != "" {
		facts = append(facts, p.Limit.Text)
	}
	if p.Change >= PerTopic {
		for i, s := range p.Synonyms {
			if i == 0 {
				facts = append(facts, "the broker's default: `"+s+"`")
			} else {
				facts = append(facts, "else `"+s+"`")
			}
		}
	} else {
		facts = append(facts, p.Change.String())
		if p.Flag != "" {
			facts = append(facts, "flag `--"+p.FlagName()+"`")
		}
		facts = append(facts, "`"+p.EnvName()+"`")
	}
	fmt.Fprintf(b, "\n%s\n", strings.Join(facts, " · "))
}

const referenceHead = `# Configuration

<!-- Made by "chronik-server config reference" from the table in internal/config. Do not edit: make generate. -->

A value comes from the first of these that has it:

1. a flag: ` + "`--kafka-port 9092`, or `-o num.partitions=3`" + ` for any property
2. the environment: the name in upper case, dots as underscores, ` + "`CHRONIK_`" + ` before it: ` + "`CHRONIK_NUM_PARTITIONS=3`" + `
3. the YAML file that ` + "`--config` or `CHRONIK_CONFIG`" + ` names: ` + "`num.partitions: 3`" + `
4. the default

An unknown name is an error in each of them. ` + "`chronik-server config show --origin`" + ` prints what is in force and where it comes from,
` + "`chronik-server config validate`" + ` checks without starting anything.

Names, types and defaults are those of Apache Kafka 4.4 unless a property says otherwise. *read-only* properties are read at a start;
*cluster-wide* ones can be changed while brokers run, for one broker or for all of them, and *per-broker* ones for one broker only:
by kafka-configs, or any client that sends IncrementalAlterConfigs. What is set that way is kept by the cluster, survives restarts and goes
before flags, environment and file; of the two, a broker's own value goes before that of all. Times end in ` + "`.ms`" + ` and are milliseconds.
`

const referenceTopics = `
## Topics

Set when a topic is created or later: ` + "`chronik-server topic create orders -c retention.ms=3600000`" + `, or by any Kafka client. Every configuration
of Kafka's topics is known, checked, kept and shown; where one changes nothing yet, it says so.
`

const referenceGroups = `
## Groups

Set for a group, which need not exist yet: ` + "`kafka-configs --alter --group orders --add-config consumer.session.timeout.ms=50000`" + `.
`

const referenceMetrics = `
## Client metrics

Set for a subscription of client metrics: ` + "`kafka-configs --alter --client-metrics all --add-config metrics=*`" + `.
`

const referenceShown = `
## Properties of Kafka that have another form

They are shown to clients, because tools read them, and cannot be set: each follows from properties of this page.

| property | what it shows | to change it |
|---|---|---|
`
