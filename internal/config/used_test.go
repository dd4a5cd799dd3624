package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// A property that the product reads nowhere does nothing, whatever its documentation promises: it
// must say so (NoEffect), and one that says so must not be read.
func TestWhatPropertiesPromiseIsRead(t *testing.T) {
	read := selectors(t)
	var s Settings
	var topic Topic
	names := func(v any) map[any]string {
		m := map[any]string{}
		e := reflect.ValueOf(v).Elem()
		for i := range e.NumField() {
			m[e.Field(i).Addr().Interface()] = e.Type().Field(i).Name
		}
		return m
	}
	settings, topics := names(&s), names(&topic)
	through := map[string][]*Property{} // the topic properties that take their default from a field
	for _, p := range TopicProperties() {
		if p.from != nil {
			name := settings[p.from(&s)]
			through[name] = append(through[name], p)
		}
		check(t, "topic config "+p.Name, p.NoEffect, read[topics[p.topic(&topic)]] || topicMethods[p.Name])
	}
	for _, p := range Properties() {
		if p.field == nil {
			check(t, p.Name, p.NoEffect, false)
			continue
		}
		name := settings[p.field(&s)]
		used := read[name] || brokerMethods[p.Name]
		for _, tp := range through[name] {
			used = used || read[topics[tp.topic(&topic)]] || topicMethods[tp.Name]
		}
		check(t, p.Name, p.NoEffect, used)
	}
}

func check(t *testing.T, what, noEffect string, used bool) {
	t.Helper()
	switch {
	case noEffect == "" && !used:
		t.Errorf("%s is read nowhere, but does not say that it has no effect", what)
	case noEffect != "" && used:
		t.Errorf("%s is read, but says: %s", what, noEffect)
	}
}

// What is read through methods of this package, or makes up another property.
var (
	topicMethods = map[string]bool{
		"cleanup.policy": true, "min.insync.replicas": true, "message.timestamp.type": true, "produce.validation": true, "write.caching": true, "remote.storage.enable": true,
	}
	brokerMethods = map[string]bool{
		"bind.addr": true, "advertised.addr": true, "raft.addr": true, // addresses: KafkaListenAddr, Advertised, RaftListenAddr
		"log.roll.hours": true, "log.roll.jitter.hours": true, "log.retention.minutes": true, "log.retention.hours": true,
		"log.flush.scheduler.interval.ms": true,
	}
)

// selectors returns every name behind a dot in the product outside this package.
func selectors(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	selector := regexp.MustCompile(`\.([A-Z][A-Za-z0-9]*)`)
	read := map[string]bool{}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") || filepath.Base(filepath.Dir(f)) == "config" {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range selector.FindAllStringSubmatch(string(text), -1) {
			read[m[1]] = true
		}
	}
	return read
}
