package clients

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/test/proctest"
)

// streamAhead is how many records a stream sends before the first of them is acknowledged.
const streamAhead = 500

// streamer is a client with an idempotent producer that goes on and on.
type streamer interface {
	positionReader
	// stream produces streamed(0), streamed(1) and so on, and counts in acked those that are acknowledged. stop
	// ends it, and tells of a record that was not.
	stream(ctx context.Context, topic string, acked *atomic.Int64) (stop func() error, err error)
}

// streamed is the n-th record of a stream.
func streamed(n int64) record {
	return record{fmt.Sprintf("key-%d", n%7), strconv.FormatInt(n, 10)}
}

// TestIdempotentProducersOutliveNodes kills every node in turn under an idempotent producer: each of its
// records is there once, and those of a key in the order in which they were sent.
func TestIdempotentProducersOutliveNodes(t *testing.T) {
	cl := proctest.Run(t, proctest.Config{Nodes: 3})
	for _, f := range families() {
		if f.name != "librdkafka" && !strings.HasPrefix(f.name, "java-") {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			ctx, topic := patient(t), "stream-"+f.name
			createTopic(ctx, t, cl.Bootstrap(), topic, nil)
			c := f.new(t, cl.Bootstrap()).(streamer)
			var acked atomic.Int64
			stop, err := c.stream(ctx, topic, &acked)
			if err != nil {
				t.Fatal(err)
			}
			more := func() {
				t.Helper()
				for want := acked.Load() + 4*streamAhead; acked.Load() < want; time.Sleep(5 * time.Millisecond) {
					if ctx.Err() != nil {
						t.Fatalf("%d records are acknowledged and no more", acked.Load())
					}
				}
			}
			for _, n := range cl.Nodes {
				more()
				n.Kill9()
				if err := n.Start(); err != nil {
					t.Fatal(err)
				}
				if err := n.WaitReady(ctx); err != nil {
					t.Fatal(err)
				}
			}
			more()
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			last, total := map[string]int64{}, int64(0)
			err = c.readKept(ctx, topic, func(r kept) {
				n, err := strconv.ParseInt(r.value, 10, 64)
				if before, ok := last[r.key]; err != nil || ok && n != before+7 || !ok && n >= 7 {
					t.Errorf("%s: %q after %d", r.key, r.value, before)
				}
				last[r.key] = n
				total++
			})
			if err != nil {
				t.Fatal(err)
			}
			if total != acked.Load() {
				t.Errorf("%d records are there and %d were acknowledged", total, acked.Load())
			}
		})
	}
}
