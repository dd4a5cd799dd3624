package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// phasesOf returns how many requests of an API were answered, and the sum of their time by phase. All are
// histograms of as many requests.
func (b *box) phasesOf(api string) (count uint64, sum map[string]time.Duration) {
	b.t.Helper()
	families, err := b.reg.Gather()
	b.must(err)
	sum, counts, total := map[string]time.Duration{}, []uint64{}, time.Duration(0)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["api"] != api || m.GetHistogram() == nil {
				continue
			}
			counts = append(counts, m.GetHistogram().GetSampleCount())
			took := time.Duration(m.GetHistogram().GetSampleSum()*1e6+0.5) * time.Microsecond
			switch phase := labels["phase"]; {
			case phase == "":
				total += took
			case took > 0:
				sum[phase] = took
				total -= took
			}
		}
	}
	wantEqual(b.t, "time in no phase", total, time.Duration(0))
	wantEqual(b.t, "different numbers of requests", len(slices.Compact(counts)), 1)
	return counts[0], sum
}

// TestRequestPhases: the time of a request is in the phase where it was spent.
func TestRequestPhases(t *testing.T) {
	const flush = 5 * time.Millisecond
	inBox(t, func(t *testing.T, b *box) {
		want := func(api string, requests int, phases map[string]time.Duration) {
			t.Helper()
			b.settle()
			n, sum := b.phasesOf(api)
			wantEqual(t, api, fmt.Sprint(n, sum), fmt.Sprint(requests, phases))
		}
		x, c := b.topicOf("x", 1), b.dial()
		batch := batchOf(t, nil, "x")
		b.settle()

		produceTo(c, 11, produceOf(x, acksLeader, batch))
		b.settle()
		n, sum := b.phasesOf("Produce")
		flushed := sum["remote"] // a round for something else may have been under way
		wantEqual(t, "Produce", fmt.Sprint(n, len(sum), flushed >= flush), "1 1 true")

		q := fetchOf(x, 1)
		q.MaxWaitMillis, q.MinBytes = 300, 1
		fetchFrom(c, 12, q)
		want("Fetch", 1, map[string]time.Duration{"remote": 300 * time.Millisecond})
		fetchFrom(c, 12, fetchOf(x, 0))
		want("Fetch", 2, map[string]time.Duration{"remote": 300 * time.Millisecond})

		latest := kmsg.NewPtrListOffsetsRequest()
		latest.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "x"}}
		// A response that is there waits behind an earlier one of its connection.
		fetched := c.send(q, 12)
		listed := c.send(latest, 7)
		fetched()
		listed()
		want("Fetch", 3, map[string]time.Duration{"remote": 600 * time.Millisecond})
		want("ListOffsets", 1, map[string]time.Duration{"response": 300 * time.Millisecond})

		// A request waits behind an earlier one that keeps its connection to itself, and that one for the controller.
		create := kmsg.NewPtrCreateTopicsRequest()
		create.TimeoutMillis, create.Topics = 200, []kmsg.CreateTopicsRequestTopic{newTopicOf("y", 1, 1)}
		b.ctl.setLost(errors.New("no quorum"))
		conn, both := c.conn, bytes.Buffer{}
		c.conn = &keptBack{Conn: conn, to: &both} // a request is known of, and waits, from when it has been read: with the earlier one
		created := c.send(create, 7)
		listed = c.send(latest, 7)
		c.conn = conn
		_, err := conn.Write(both.Bytes())
		b.must(err)
		created()
		listed()
		b.ctl.setLost(nil)
		want("CreateTopics", 1, map[string]time.Duration{"remote": 200 * time.Millisecond})
		n, sum = b.phasesOf("ListOffsets")
		wantEqual(t, "ListOffsets behind CreateTopics", fmt.Sprint(n, sum["queue"]+sum["response"]), fmt.Sprint(2, 500*time.Millisecond))

		// No response, no wait.
		silent := produceOf(x, acksNone, batch)
		silent.Version = 11
		_, err = c.conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, silent, 1))
		b.must(err)
		want("Produce", 2, map[string]time.Duration{"remote": flushed})
	}, func(b *box) {
		b.flush = flush
		b.mount(b.fs)
	})
}

// TestRequestPhasesOfGroups: the others of a group are waited for, and so is the log of what is committed.
func TestRequestPhasesOfGroups(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.groupTopic()
		c := b.dial()
		joinUntil(c, 9, consumerJoin("g", ""))
		synctest.Wait()
		_, sum := b.phasesOf("JoinGroup")
		wantEqual(t, "JoinGroup", fmt.Sprint(sum), fmt.Sprint(map[string]time.Duration{"remote": b.group.InitialRebalanceDelay}))
	})
}

// TestPhasesUnderLoad: what a scrape sees while requests come is whole, and in the end nothing is missing.
func TestPhasesUnderLoad(t *testing.T) {
	b := overTCP(t)
	b.topic("t", 2, "write.caching=true")
	cl := b.client(kgo.DefaultProduceTopic("t"), kgo.ProducerLinger(0))
	defer cl.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte("x"), Timestamp: time.UnixMilli(batchTime)}).FirstErr(); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for {
		if families, err := b.reg.Gather(); err != nil {
			t.Fatal(err)
		} else {
			for _, f := range families {
				for _, m := range f.GetMetric() {
					if h := m.GetHistogram(); h != nil && h.GetSampleCount() > 1<<40 {
						t.Fatalf("%s: %v", f.GetName(), h)
					}
				}
			}
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// TestRefusedApiVersionsKeepsItsPlace: the answer to a version that is not known does not overtake a produce before it.
func TestRefusedApiVersionsKeepsItsPlace(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		x, c := b.topicOf("x", 1, "write.caching=true"), b.dial()
		produce := produceOf(x, acksLeader, batchOf(t, nil, "x"))
		produce.Version = 11
		versions := kmsg.NewPtrApiVersionsRequest()
		f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw"))
		unknown := f.AppendRequest(nil, versions, 2)
		unknown[7] = 99 // the version
		_, err := c.conn.Write(append(f.AppendRequest(nil, produce, 1), unknown...))
		b.must(err)
		for id := int32(1); id <= 2; id++ {
			wantEqual(t, "correlation id", int32(binary.BigEndian.Uint32(c.readRaw())), id)
		}
	})
}
