package cli

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestLayout(t *testing.T) {
	nothing := "(none)"
	r := &kgo.Record{
		Topic: "orders", Partition: 3, Offset: 47, LeaderEpoch: 2, Key: []byte("k"), Value: []byte("v\xff"),
		Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b"}},
	}
	null := &kgo.Record{Topic: "orders"}
	for _, c := range []struct {
		layout string
		shape  shape
		record *kgo.Record
		want   string
	}{
		{`%t[%p]@%o\t%k=%s\n`, shape{}, r, "orders[3]@47\tk=v\xff\n"},
		{`%K %S %R`, shape{}, r, "1 2 \x00\x00\x00\x02"},
		{`%K %V %R`, shape{}, null, "-1 -1 \xff\xff\xff\xff"},
		{`%h`, shape{}, r, "a=1,b=NULL"},
		{`%H %h{<%k|%s>}`, shape{}, r, "2 <a|1><b|>"},
		{`%T %T{strftime[%Y]}`, shape{}, &kgo.Record{}, "-62135596800000 0001"},
		{`%s{hex} %k{base64} %S{big16}`, shape{}, r, "76ff aw== \x00\x02"},
		{`%k %s %v`, shape{encoding: "hex"}, r, "6b 76ff 76ff"},
		{`%k,%s,%h`, shape{null: &nothing}, null, "(none),(none),"},
		{`%h`, shape{null: &nothing}, r, "a=1,b=(none)"},
		{`100%% %{%} \\ \x41 %e`, shape{}, r, "100% {} \\ A 2"},
		{``, shape{}, r, ""},
	} {
		form, err := parseLayout(c.layout, c.shape)
		if err != nil {
			t.Errorf("%s: %v", c.layout, err)
			continue
		}
		if got := string(form(nil, c.record)); got != c.want {
			t.Errorf("%s: %q, want %q", c.layout, got, c.want)
		}
	}
	for _, bad := range []string{"%", `\`, "%z", "%s{hex", "%s{octal}", `\xZZ`, "%h{%q}"} {
		if _, err := parseLayout(bad, shape{}); err == nil {
			t.Errorf("%s is taken for a layout", bad)
		}
	}
}

// Whatever a layout is, it is a form or an error.
func FuzzLayout(f *testing.F) {
	for _, seed := range []string{`%t %p\n`, "%s{hex}%h{%k=%v}", "%T{strftime[%F]}", "%", "%k{", "%v{unpack{<b}}"} {
		f.Add(seed)
	}
	r := &kgo.Record{Topic: "t", Key: []byte("key"), Value: []byte("value"), Headers: []kgo.RecordHeader{{Key: "h"}}}
	f.Fuzz(func(_ *testing.T, text string) {
		if form, err := parseLayout(text, shape{}); err == nil {
			form(nil, r)
		}
	})
}

func TestReadUntil(t *testing.T) {
	for _, c := range []struct {
		in, delimiter string
		want          []string
	}{
		{"", "\n", nil},
		{"a\n", "\n", []string{"a"}},
		{"a\n\nb", "\n", []string{"a", "", "b"}},
		{"a--b-c--", "--", []string{"a", "b-c"}},
		{"a-", "--", []string{"a-"}},
		{strings.Repeat("x", 5000) + ";y", ";", []string{strings.Repeat("x", 5000), "y"}},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader} {
			r := bufio.NewReaderSize(wrap(strings.NewReader(c.in)), 16)
			var got []string
			for {
				line, err := readUntil(r, c.delimiter)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(line))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%.20q by %q (%s): %s", c.in, c.delimiter, name, diff)
			}
		}
	}
}

// What the broker says about a write is told, also where it is an error that a client tries again, and at last
// gives up at: a disk that fails would else look like a cluster that does not answer.
func TestProduceTellsTheBrokersError(t *testing.T) {
	for _, want := range []*kerr.Error{kerr.KafkaStorageError, kerr.NotEnoughReplicas, kerr.InvalidRecord} {
		t.Run(want.Message, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			cluster.ControlKey(0, func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				resp := req.ResponseKind().(*kmsg.ProduceResponse)
				for _, rt := range req.(*kmsg.ProduceRequest).Topics {
					st := kmsg.NewProduceResponseTopic()
					st.Topic, st.TopicID = rt.Topic, rt.TopicID
					for _, rp := range rt.Partitions {
						sp := kmsg.NewProduceResponseTopicPartition()
						sp.Partition, sp.ErrorCode = rp.Partition, want.Code
						st.Partitions = append(st.Partitions, sp)
					}
					resp.Topics = append(resp.Topics, st)
				}
				return resp, nil, true
			})
			var out, log bytes.Buffer
			p := &Program{Version: "test", In: strings.NewReader(""), Out: &out, Err: &log}
			code := p.Main(t.Context(), []string{"produce", "orders", "x", "--timeout", "200ms", "-b", cluster.ListenAddrs()[0]})
			if code != exitFailed || !strings.Contains(log.String(), want.Message) {
				t.Errorf("exit code %d: %s%s", code, &out, &log)
			}
			if want == kerr.KafkaStorageError && !strings.Contains(log.String(), "'chronik-server cluster disk' tell more") {
				t.Errorf("it does not say what to do: %s", &log)
			}
		})
	}
}
