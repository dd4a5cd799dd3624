package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzFile: whatever stands in a configuration file, errors that name the file come of it, or a configuration that is the same when what
// is in force is given by flags.
func FuzzFile(f *testing.F) {
	f.Add("node.id: 1\nkafka.port: 9092\n")
	f.Add("peers: [2@b:5001, 3@c:5001]\nmax.connections.per.ip.overrides: 10.0.0.1:5\n")
	f.Add("log.retention.ms: -1\nlog.retention.ms: 5\n")
	f.Add("- a\n- b\n")
	f.Add("a: &a [*a]\nb: *a\n")
	f.Add("write.caching: {x: y}\n? [node.id]\n: !!binary aGVsbG8=\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 64<<10 {
			return
		}
		l := &loader{found: map[string]raw{}}
		l.yaml("chronik.yaml", strings.NewReader(text))
		for _, err := range l.errs {
			if !strings.Contains(err.Error(), "chronik.yaml") {
				t.Errorf("an error that does not say where: %v", err)
			}
		}
		c, err := l.assemble(ByPeers)
		checkLoaded(t, c, err)
	})
}

// FuzzSettings: a property and its value as -o gives them, and as CHRONIK_NAME does.
func FuzzSettings(f *testing.F) {
	f.Add("kafka.port", "9092")
	f.Add("peers", "2@[::1]:5001, 3@c:5001")
	f.Add("max.connections.per.ip.overrides", "[::1]:5,127.0.0.1:6")
	f.Add("log.retention.hours", "-9223372036854775808")
	f.Add("bind.addr", "*")
	f.Add("min.cleanable.dirty.ratio", "NaN")
	f.Fuzz(func(t *testing.T, name, value string) {
		c, err := Load(Sources{Mode: ByPeers, Flags: []Setting{{Name: name, Value: value, Flag: "-o"}}})
		checkLoaded(t, c, err)
		p := Lookup(name)
		if p == nil || strings.TrimSpace(value) == "" || isServiceURL(value) {
			return // the environment knows other names, and takes these for values that are not set
		}
		d, derr := Load(Sources{Mode: ByPeers, Environ: []string{p.EnvName() + "=" + value}})
		if (derr == nil) != (err == nil) || err == nil && !maps.Equal(inForce(c), inForce(d)) {
			t.Errorf("%s=%q: by a flag %v, by the environment %v", name, value, err, derr)
		}
	})
}

// FuzzTopicSettings: a topic's, broker's, group's or subscription's setting as clients make it is refused with a reason, or in force
// as it was given.
func FuzzTopicSettings(f *testing.F) {
	f.Add("retention.ms", "1000", int8(KindTopic))
	f.Add("cleanup.policy", "compact,delete", int8(KindTopic))
	f.Add("leader.replication.throttled.replicas", "0:1,1:2", int8(KindTopic))
	f.Add("max.connections.per.ip.overrides", "1.2.3.4:5", int8(KindBroker))
	f.Add("consumer.session.timeout.ms", "45000", int8(KindGroup))
	f.Add("interval.ms", "5", int8(KindClientMetrics))
	base, err := Load(Sources{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, value string, kind int8) {
		k := Kind(kind)
		if err := k.Check(name, value); err != nil {
			if err.Error() == "" {
				t.Error("no reason is given")
			}
			return
		}
		p := k.Lookup(name)
		if p == nil {
			t.Fatalf("%s %q is not known and not refused", k, name)
		}
		if again, err := p.Append(value, false, value); err == nil {
			if _, err := p.Subtract(again, false, value); err != nil {
				t.Errorf("%s %s=%q appended and not subtracted: %v", k, name, value, err)
			}
		}
		switch k {
		case KindTopic:
			base.Topic(map[string]string{name: value})
			for _, e := range base.DescribeTopic(map[string]string{name: value}, 3) {
				if e.Property != p || e.Source != SourceTopic {
					continue
				}
				given, _ := p.parse(value)
				if shown, err := p.parse(e.Value); err != nil || !reflect.DeepEqual(shown, given) {
					t.Errorf("%s=%q is shown as %q: %v", name, value, e.Value, err)
				}
			}
		case KindBroker:
			if c, err := base.With(Dynamic{Broker: map[string]string{name: value}}); err == nil {
				checkLoaded(t, c, nil)
			}
		}
	})
}

// checkLoaded checks what Load returns.
func checkLoaded(t *testing.T, c *Config, err error) {
	t.Helper()
	if (c == nil) == (err == nil) || err != nil && err.Error() == "" {
		t.Fatalf("%v, %v", c, err)
	}
	if err != nil {
		return
	}
	have := inForce(c)
	var flags []Setting
	for _, name := range slices.Sorted(maps.Keys(have)) {
		flags = append(flags, Setting{Name: name, Value: have[name], Flag: "-o"})
	}
	again, err := Load(Sources{Mode: c.Mode(), Flags: flags})
	if err != nil {
		t.Fatalf("what is in force would be refused: %v", err)
	}
	if now := inForce(again); !maps.Equal(now, have) {
		for name := range have {
			if now[name] != have[name] {
				t.Errorf("%s is %q, given again %q", name, have[name], now[name])
			}
		}
	}
}

// inForce is the text of every property that has a value.
func inForce(c *Config) map[string]string {
	m := map[string]string{}
	for _, v := range c.Values() {
		if v.Text != "" && v.Property.Instead == "" {
			m[v.Property.Name] = v.Text
		}
	}
	return m
}
