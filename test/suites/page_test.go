//go:build linux

package suites

import (
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"
	"testing"
)

const pageFile = "../../COMPATIBILITY.md"

// TestCompatibilityPage holds COMPATIBILITY.md against what it is made of.
func TestCompatibilityPage(t *testing.T) {
	page := compatibility(t)
	if *update {
		writeFile(t, pageFile, page)
		return
	}
	if data, err := os.ReadFile(pageFile); err != nil || string(data) != page {
		t.Fatalf("COMPATIBILITY.md is out of date (%v); run go test -run TestCompatibilityPage -update in test/suites", err)
	}
}

func compatibility(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Compatibility

What other people's programs do with Chronik, as its tests show it. The page is made by
` + "`go test -run TestCompatibilityPage -update`" + ` in test/suites. Which APIs are served, and what each leaves out, is in
[docs/PROTOCOL.md](docs/PROTOCOL.md).

## Clients

` + "`make clients`" + ` runs each of these against three nodes: it creates topics, produces with every compression, with acks 0, 1 and all
and as an idempotent producer, consumes in a group whose members come and go while every node is killed and started again, commits, and
what was produced is read back and compared.

| client | version |
|---|---|
`)
	goMod, pom := readFile(t, "../clients/go.mod"), readFile(t, "../clients/java/pom.xml")
	version := func(text, pattern string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no version matches %s", pattern)
		}
		return m[1]
	}
	kafka := version(pom, `(?s)<artifactId>kafka-tools</artifactId>\s*<version>([^<]+)`)
	for _, c := range [][2]string{
		{"franz-go (Go)", version(goMod, `twmb/franz-go v(\S+)`)},
		{"sarama (Go)", version(goMod, `IBM/sarama v(\S+)`)},
		{"kafka-go (Go), which has no idempotent producer", version(goMod, `segmentio/kafka-go v(\S+)`)},
		{"librdkafka (C), in confluent-kafka-go", version(goMod, `confluent-kafka-go/v2 v(\S+)`)},
		{"librdkafka (C), in kcat", "of the system"},
		{"Kafka's own client (Java)", kafka},
		{"Kafka's own client (Java)", version(pom, `(?s)<artifactId>kafka-clients</artifactId>\s*<version>([^<]+)`)},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", c[0], c[1])
	}
	b.WriteString(`
librdkafka and both Java clients also produce as idempotent producers while every node is killed in turn, after which each record is there
once and in order, and read a topic that was compacted: the last value of every key, no deleted one. Java's ` + "`Admin`" + ` is asked by every method
whose API is served, and what its producer and consumer do beside the plain way is checked call by call
([AdminChecks.java](test/clients/java/AdminChecks.java), [ClientChecks.java](test/clients/java/ClientChecks.java)).
`)
	fmt.Fprintf(&b, `
## Kafka's tools and Kafka itself

The same target types the tools of Kafka %s against three nodes, as users type them, and checks what they print:

| tool | command lines |
|---|---|
`, kafka)
	uses := map[string]int{}
	for _, m := range regexp.MustCompile(`line:\s+"(kafka-[a-z0-9-]+) `).FindAllStringSubmatch(readFile(t, "../clients/tools_test.go"), -1) {
		uses[m[1]]++
	}
	var tools []string
	for name := range uses {
		tools = append(tools, name)
	}
	sort.Strings(tools)
	for _, name := range tools {
		fmt.Fprintf(&b, "| %s | %d |\n", name, uses[name])
	}
	b.WriteString(`
` + "`kafka-dump-log`" + ` reads our segments, offset and time indexes, producer snapshots and offsets topic without a complaint. A real Kafka that is
given our segments in place of its own serves every record, to a consumer with ` + "`check.crcs=true`" + `, both after it rebuilt the indexes and
with ours, and finds the same offsets at a timestamp.

## The clients' own tests

` + "`make suites`" + ` runs the tests that the clients' modules ship. A test in a list of those that pass never leaves it.

| suite | version | where | tests in the list |
|---|---|---|---|
`)
	own := readFile(t, "go.mod")
	for _, s := range suites {
		fmt.Fprintf(&b, "| %s | %s | %s | [%d](test/suites/%s) |\n", s.name, version(own, regexp.QuoteMeta(s.module)+` v(\S+)`), s.how, len(s.list(t)), s.file("passes"))
	}
	b.WriteString("\nLeft out, as patterns of `go test -skip`:\n\n| suite | tests | why |\n|---|---|---|\n")
	for _, s := range suites {
		for _, l := range s.leftOut(t) {
			fmt.Fprintf(&b, "| %s | `%s` | %s |\n", s.name, strings.ReplaceAll(l.pattern, "|", "\\|"), l.why)
		}
	}
	b.WriteString("\nPatches of fixtures:\n\n| suite | file | from | to | why |\n|---|---|---|---|---|\n")
	for _, s := range suites {
		for _, p := range s.patch {
			fmt.Fprintf(&b, "| %s | %s | `%s` | `%s` | %s |\n", s.name, p.file, strings.TrimSpace(p.old), strings.TrimSpace(p.new), p.why)
		}
	}
	return b.String()
}
