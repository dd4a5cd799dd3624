package broker

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/wire"
)

var update = flag.Bool("update", false, "write docs/PROTOCOL.md anew")

// TestProtocolPage holds docs/PROTOCOL.md against the API table it is made from.
func TestProtocolPage(t *testing.T) {
	const path = "../../docs/PROTOCOL.md"
	want := protocolPage()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/PROTOCOL.md is not what the API table says (%v): go test ./internal/broker -run TestProtocolPage -update", err)
	}
}

func protocolPage() string {
	var b strings.Builder
	b.WriteString(`# The Kafka protocol as Chronik serves it

This page is made from the API table in internal/broker/apis.go:
` + "`go test ./internal/broker -run TestProtocolPage -update`" + `.

Every API is served in all versions of Kafka 4.4. What is not in the table is not advertised by ApiVersions, and a
request for it closes its connection, as Kafka does with what it does not know.

How a request ends: **now**, the response is there when the request has been looked at; **later**, it comes when something has
happened (a flush, a rebalance), and requests behind it go on meanwhile; **alone**, the request may wait for
the controller, and what follows on its connection waits for it. Responses leave a connection in the order of its requests.

| key | API | versions | who answers | ends | largest request | left out |
|---:|---|---|---|---|---|---|
`)
	for _, r := range apis() {
		ends := "now"
		switch {
		case r.later != nil, r.raw != nil:
			ends = "later"
		case r.alone != nil:
			ends = "alone"
		}
		frame := "socket.request.max.bytes"
		if r.frame > 0 {
			frame = fmt.Sprint(r.frame>>20, " MiB")
		}
		fmt.Fprintf(&b, "| %d | %s | %d-%d | %s | %s | %s | %s |\n", r.key, r.name, r.min, r.max, r.where, ends, frame, r.note)
	}
	b.WriteString("\nKafka 4.4's broker has these APIs too; they are to come:\n\n")
	served := map[int16]bool{}
	for _, r := range apis() {
		served[r.key] = true
	}
	var missing []string
	for key := int16(0); key <= wire.MaxKey; key++ {
		if api, ok := wire.LookupAPI(key); ok && !served[key] {
			missing = append(missing, fmt.Sprintf("%s (%d)", api.Name, key))
		}
	}
	b.WriteString(strings.Join(missing, ", ") + ".\n")
	b.WriteString(`
## Bounds

| what | bound |
|---|---|
| a frame | the row above, and socket.request.max.bytes; memory for it is taken as its bytes arrive |
| an array | as many elements as the bytes that are left can hold |
| responses that are owed on a connection | 16; then it is not read |
| read buffers of all connections together | a share of the memory limit; then connections wait |
| a frame's arrival, and a response in memory to be taken | 30 s and 64 KiB/s |
| the first request of a connection | 10 s |
| a connection without requests | connections.max.idle.ms |
| a client id | 1 KiB |
| members of a group | group.max.size, and 10,000 |
| member ids given out and not used yet | 10,000 in all groups of the broker, each for its session timeout; then COORDINATOR_NOT_AVAILABLE |
| memory for members | 256 MiB in all groups of the broker; then COORDINATOR_NOT_AVAILABLE for who brings more |
| a group with its assignments, a commit | 8 MiB |
| fetch sessions | max.incremental.fetch.session.cache.slots, 500,000 partitions together |
`)
	return b.String()
}
