package config

import (
	"fmt"
	"strings"
	"testing"
)

// described finds a property in a description.
func described(t *testing.T, entries []Entry, name string) string {
	t.Helper()
	for _, e := range entries {
		if e.Property.Name == name {
			s := fmt.Sprintf("%q null=%t from %d:", e.Value, e.Null, e.Source)
			for _, y := range e.Synonyms {
				s += fmt.Sprintf(" %s=%q/%d", y.Name, y.Value, y.Source)
			}
			return s
		}
	}
	return "none"
}

// A broker's own value goes before that of all, that before flags, environment and file, those before the default.
func TestDynamicPrecedence(t *testing.T) {
	c := load(t, Sources{Flags: set("log.retention.hours=2", "message.max.bytes=1000", "ssl.key.password=geheim")})
	n, err := c.With(Dynamic{
		ClusterDefault: map[string]string{"message.max.bytes": "2000", "log.retention.ms": "5", "num.partitions": "9", "no.such": "1", "log.roll.ms": "soon"},
		Broker:         map[string]string{"message.max.bytes": "3000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n.MessageMaxBytes != 3000 || n.LogRetentionMillis != 5 || n.NumPartitions != 1 || c.MessageMaxBytes != 1000 {
		t.Errorf("message.max.bytes=%d log.retention.ms=%d num.partitions=%d; before %d", n.MessageMaxBytes, n.LogRetentionMillis, n.NumPartitions, c.MessageMaxBytes)
	}
	for name, want := range map[string]string{
		"message.max.bytes":   `"3000" null=false from 2: message.max.bytes="3000"/2 message.max.bytes="2000"/3 message.max.bytes="1000"/4 message.max.bytes="1048588"/5`,
		"log.retention.ms":    `"5" null=false from 3: log.retention.ms="5"/3 log.retention.hours="2"/4 log.retention.hours="168"/5`,
		"log.retention.hours": `"2" null=false from 4: log.retention.hours="2"/4 log.retention.hours="168"/5`,
		"ssl.key.password":    `"" null=true from 4: ssl.key.password="***"/4`,
		"broker.rack":         `"" null=true from 5:`,
		"broker.id":           `"1" null=false from 4: broker.id="1"/4`,
	} {
		if got := described(t, n.DescribeBroker(), name); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
	if got, want := described(t, n.DescribeTopic(map[string]string{"retention.ms": "1"}, 1), "retention.ms"),
		`"1" null=false from 1: retention.ms="1"/1 log.retention.ms="5"/3 log.retention.hours="2"/4 log.retention.hours="168"/5`; got != want {
		t.Errorf("topic: %s\nwant %s", got, want)
	}
	if again, err := n.With(Dynamic{}); err != nil || again.MessageMaxBytes != 1000 {
		t.Errorf("taken back: %v", err)
	}
	if _, err := c.With(Dynamic{Broker: map[string]string{"log.roll.ms": "5", "log.roll.jitter.ms": "6"}}); err == nil {
		t.Error("a jitter above the age is taken")
	}
}

// No secret leaves the process: not in a description, not in an error.
func TestSecretsAreNotShown(t *testing.T) {
	c := load(t, Sources{Flags: set("ssl.keystore.password=geheim")})
	if s := fmt.Sprintf("%+v", c.DescribeBroker()); strings.Contains(s, "geheim") {
		t.Error("a password is described")
	}
	if s := fmt.Sprintf("%+v", DescribeClusterDefault(map[string]string{"ssl.keystore.password": "geheim"})); strings.Contains(s, "geheim") {
		t.Error("a password is described")
	}
}

// What Kafka has and has another form here is refused with what to set instead, and is still shown.
func TestOtherForms(t *testing.T) {
	for _, p := range KindBroker.Properties() {
		if p.Instead == "" {
			continue
		}
		if _, err := Load(Sources{Flags: set(p.Name + "=1")}); err == nil || !strings.Contains(err.Error(), p.Instead) {
			t.Errorf("%s: %v", p.Name, err)
		}
		if err := p.ChangeableAt(false); err == nil {
			t.Errorf("%s can be changed", p.Name)
		}
	}
}
