package broker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/logging"
	"github.com/chronik-stream/chronik/internal/metadata"
)

const (
	topicResource   = kmsg.ConfigResourceTypeTopic
	brokerResource  = kmsg.ConfigResourceTypeBroker
	loggerResource  = kmsg.ConfigResourceTypeBrokerLogger
	groupResource   = kmsg.ConfigResourceTypeGroupConfig
	metricsResource = kmsg.ConfigResourceTypeClientMetrics
)

// describe asks for a resource; names nil asks for all.
func describe(c *rawConn, version int16, kind kmsg.ConfigResourceType, name string, names ...string) kmsg.DescribeConfigsResponseResource {
	c.t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, names
	req.Resources = append(req.Resources, r)
	return do[*kmsg.DescribeConfigsResponse](c, req, version).Resources[0]
}

// shown writes a property of a description as value, source and synonyms.
func shown(r kmsg.DescribeConfigsResponseResource, name string) string {
	for _, c := range r.Configs {
		if c.Name != name {
			continue
		}
		s := fmt.Sprintf("%s %d", orNullText(c.Value), c.Source)
		for _, y := range c.ConfigSynonyms {
			s += fmt.Sprintf("; %s=%s %d", y.Name, orNullText(y.Value), y.Source)
		}
		return s
	}
	return "none"
}

func orNullText(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// ops are changes for IncrementalAlterConfigs: "name=value" sets, "name" deletes, "+name=value" appends, "-name=value" subtracts.
func ops(kind kmsg.ConfigResourceType, name string, changes ...string) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, change := range changes {
		e := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		n, v, ok := strings.Cut(change, "=")
		e.Name = strings.TrimLeft(n, "+-")
		if ok {
			e.Value = &v
		}
		switch {
		case n[0] == '+':
			e.Op = kmsg.IncrementalAlterConfigOpAppend
		case n[0] == '-':
			e.Op = kmsg.IncrementalAlterConfigOpSubtract
		case !ok:
			e.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		r.Configs = append(r.Configs, e)
	}
	return r
}

// alterIn sends changes and returns the codes.
func alterIn(c *rawConn, version int16, resources ...kmsg.IncrementalAlterConfigsRequestResource) []int16 {
	c.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = resources
	var codes []int16
	for i, r := range do[*kmsg.IncrementalAlterConfigsResponse](c, req, version).Resources {
		if r.ResourceName != resources[i].ResourceName || r.ResourceType != resources[i].ResourceType {
			c.t.Errorf("answer %d is for %v %s", i, r.ResourceType, r.ResourceName)
		}
		if (r.ErrorCode != 0) != (r.ErrorMessage != nil && *r.ErrorMessage != "") {
			c.t.Errorf("code %d with the message %v", r.ErrorCode, r.ErrorMessage)
		}
		codes = append(codes, r.ErrorCode)
	}
	return codes
}

// TestTrap48_DescribeConfigs: every property with value, source, type, synonyms and documentation, in every version.
func TestTrap48_DescribeConfigs(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1, "retention.ms=5000")
		c := b.dial()
		for v := int16(1); v <= 4; v++ {
			topic := describe(c, v, topicResource, "x")
			wantEqual(t, "topic", []any{topic.ErrorCode, topic.ResourceType, topic.ResourceName, len(topic.Configs)}, []any{0, topicResource, "x", len(config.TopicProperties())})
			for name, want := range map[string]string{
				"retention.ms":                          "5000 1; retention.ms=5000 1; log.retention.hours=168 5",
				"flush.ms":                              "9223372036854775807 5; log.flush.scheduler.interval.ms=9223372036854775807 5",
				"max.message.bytes":                     "1048588 5; message.max.bytes=1048588 5",
				"min.insync.replicas":                   "1 5",
				"remote.storage.enable":                 "false 5",
				"leader.replication.throttled.replicas": " 5",
			} {
				wantEqual(t, name, shown(topic, name), want)
			}
			own := describe(c, v, brokerResource, "1")
			wantEqual(t, "broker", []any{own.ErrorCode, len(own.Configs)}, []any{0, len(config.KindBroker.Properties())})
			for name, want := range map[string]string{
				"default.replication.factor": "1 5; default.replication.factor=1 5",
				"num.partitions":             "1 5; num.partitions=1 5",
				"broker.rack":                "null 5",
				"broker.id":                  "1 4; broker.id=1 4",
				"process.roles":              "broker,controller 4; process.roles=broker,controller 4",
			} {
				wantEqual(t, name, shown(own, name), want)
			}
			for _, r := range []kmsg.DescribeConfigsResponseResource{topic, own} {
				for _, e := range r.Configs {
					if v >= 3 && (e.ConfigType == 0 || e.Documentation == nil || *e.Documentation == "") || v < 3 && e.Documentation != nil {
						t.Errorf("version %d: %s has the type %d and the documentation %v", v, e.Name, e.ConfigType, e.Documentation)
					}
					p := config.KindBroker.Lookup(e.Name)
					if want := r.ResourceType == brokerResource && p.Change == config.ReadOnly; e.ReadOnly != want {
						t.Errorf("%s is read-only: %t", e.Name, e.ReadOnly)
					}
				}
			}
		}
		for _, bad := range []struct {
			kind kmsg.ConfigResourceType
			name string
			code int16
		}{
			{topicResource, "unknown", codeUnknownTopicOrPartition},
			{topicResource, "a b", codeInvalidTopic},
			{brokerResource, "2", codeInvalidRequest},
			{brokerResource, "x", codeInvalidRequest},
			{loggerResource, "2", codeInvalidRequest},
			{groupResource, "", codeInvalidRequest},
			{metricsResource, "", codeInvalidRequest},
			{7, "x", codeInvalidRequest},
		} {
			r := describe(c, 4, bad.kind, bad.name)
			wantEqual(t, fmt.Sprint(bad), []any{r.ErrorCode, len(r.Configs), r.ErrorMessage != nil}, []any{bad.code, 0, true})
		}
		// What was not asked for is not there.
		req := kmsg.NewPtrDescribeConfigsRequest()
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = topicResource, "x"
		req.Resources = append(req.Resources, r)
		for _, e := range do[*kmsg.DescribeConfigsResponse](c, req, 4).Resources[0].Configs {
			if len(e.ConfigSynonyms) > 0 || e.Documentation != nil {
				t.Errorf("%s has synonyms or documentation", e.Name)
			}
		}
	})
}

// TestTrap09_DescribeConfigsNames: null and no names ask for everything; names that do not exist are left out.
func TestTrap09_DescribeConfigsNames(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		c := b.dial()
		for v := int16(1); v <= 4; v++ {
			all := len(config.TopicProperties())
			wantEqual(t, "null", len(describe(c, v, topicResource, "x").Configs), all)
			wantEqual(t, "none", len(describe(c, v, topicResource, "x", []string{}...).Configs), all)
			some := describe(c, v, topicResource, "x", "segment.ms", "no.such", "flush.ms")
			wantEqual(t, "some", []any{some.ErrorCode, len(some.Configs)}, []any{0, 2})
		}
	})
}

// TestTrap06_IncrementalAlterConfigsHeaders: version 0 has no tags in its response's header, version 1 has.
func TestTrap06_IncrementalAlterConfigsHeaders(t *testing.T) {
	row := apis()[0]
	for _, r := range apis() {
		if r.key == 44 {
			row = r
		}
	}
	wantEqual(t, "row", []any{row.key, row.min, row.max}, []any{44, 0, 1})
	for v, want := range map[int16]string{0: "000000" + "0c" + "00000007" + "00000000" + "00000000", 1: "0000000b" + "00000007" + "00" + "00000000" + "01" + "00"} {
		resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
		resp.SetVersion(v)
		wantEqual(t, fmt.Sprint("version ", v), fmt.Sprintf("%x", encode(nil, 44, v, 7, resp)), want)
	}
}

// TestTrap48_IncrementalAlterConfigs: SET, DELETE, APPEND and SUBTRACT, each resource with a code of its own, in every version.
func TestTrap48_IncrementalAlterConfigs(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		b.topic("y", 1)
		c := b.dial()
		throttled := "leader.replication.throttled.replicas"
		for v := int16(0); v <= 1; v++ {
			ask := func(changes ...string) int16 { return alterIn(c, v, ops(topicResource, "x", changes...))[0] }
			// What tools write back after they have read it must be taken.
			wantEqual(t, "set", ask("flush.ms=9223372036854775807", "retention.ms=5", "+"+throttled+"=0:1,1:1"), 0)
			wantEqual(t, "value", b.ctl.Image().TopicByName("x").Configs,
				map[string]string{"flush.ms": "9223372036854775807", "retention.ms": "5", throttled: "0:1,1:1"})
			wantEqual(t, "subtract and delete", ask("-"+throttled+"=0:1", "flush.ms", "retention.ms"), 0)
			wantEqual(t, "left", b.ctl.Image().TopicByName("x").Configs, map[string]string{throttled: "1:1"})
			for _, bad := range []struct {
				code    int16
				changes []string
			}{
				{metadata.CodeInvalidConfig, []string{"retension.ms=5"}},
				{metadata.CodeInvalidConfig, []string{"retention.ms=soon"}},
				{metadata.CodeInvalidConfig, []string{"retention.ms="}},
				{metadata.CodeInvalidConfig, []string{"segment.ms=7", "segment.bytes=1"}},
				{metadata.CodeInvalidConfig, []string{"+retention.ms=5"}},
				{metadata.CodeInvalidConfig, []string{throttled + "=" + strings.Repeat("1:1,", 8191) + "12:1"}}, // 32,768 bytes
				{metadata.CodeInvalidConfig, []string{"retention.ms=\xff"}},
				{codeInvalidRequest, []string{"retention.ms=5", "retention.ms=6"}},
			} {
				if v == 0 && len(bad.changes[0]) > 1<<15 {
					continue // its strings are shorter
				}
				wantEqual(t, fmt.Sprint(bad.changes[0][:12]), ask(bad.changes...), bad.code)
			}
			wantEqual(t, "a resource is changed as a whole", b.ctl.Image().TopicByName("x").Configs, map[string]string{throttled: "1:1"})
			null := ops(topicResource, "x", "retention.ms")
			null.Configs[0].Op = kmsg.IncrementalAlterConfigOpSet
			wantEqual(t, "null", alterIn(c, v, null), []int16{codeInvalidRequest})
			null.Configs[0].Op, null.Configs[0].Value = 9, kmsg.StringPtr("1")
			wantEqual(t, "operation", alterIn(c, v, null), []int16{codeInvalidRequest})
			wantEqual(t, "each for itself", alterIn(c, v,
				ops(topicResource, "y", "segment.ms=7"), ops(topicResource, "nope", "segment.ms=7"), ops(7, "x"), ops(topicResource, "x", "segment.ms=x"),
				ops(brokerResource, "2", "log.retention.ms=1"), ops(brokerResource, "1", "num.partitions=3"), ops(brokerResource, "1", "num.partition=3"),
			), []int16{
				0, codeUnknownTopicOrPartition, codeInvalidRequest, metadata.CodeInvalidConfig,
				codeInvalidRequest, codeInvalidRequest, codeInvalidRequest,
			})
			wantEqual(t, "twice", alterIn(c, v, ops(topicResource, "y", "segment.ms=8"), ops(topicResource, "x", throttled), ops(topicResource, "y", "flush.ms=8")),
				[]int16{codeInvalidRequest, 0, codeInvalidRequest})
			wantEqual(t, "y", b.ctl.Image().TopicByName("y").Configs, map[string]string{"segment.ms": "7"})
		}
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.ValidateOnly = true
		req.Resources = append(req.Resources, ops(topicResource, "y", "segment.ms=9"), ops(topicResource, "x", "segment.ms=x"))
		dry := do[*kmsg.IncrementalAlterConfigsResponse](c, req, 1).Resources
		wantEqual(t, "validated", []any{dry[0].ErrorCode, dry[1].ErrorCode, b.ctl.Image().TopicByName("y").Configs["segment.ms"]}, []any{0, metadata.CodeInvalidConfig, "7"})
		req.ValidateOnly = false
		b.ctl.setLost(context.DeadlineExceeded)
		wantEqual(t, "lost", do[*kmsg.IncrementalAlterConfigsResponse](c, req, 1).Resources[0].ErrorCode, codeRequestTimedOut)
	})
}

func TestAlterConfigsReplacesAll(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		c := b.dial()
		for v := int16(0); v <= 2; v++ {
			ask := func(kind kmsg.ConfigResourceType, name string, pairs ...string) int16 {
				req := kmsg.NewPtrAlterConfigsRequest()
				r := kmsg.NewAlterConfigsRequestResource()
				r.ResourceType, r.ResourceName = kind, name
				for _, p := range pairs {
					e := kmsg.NewAlterConfigsRequestResourceConfig()
					n, value, ok := strings.Cut(p, "=")
					if e.Name = n; ok {
						e.Value = &value
					}
					r.Configs = append(r.Configs, e)
				}
				req.Resources = append(req.Resources, r)
				return do[*kmsg.AlterConfigsResponse](c, req, v).Resources[0].ErrorCode
			}
			wantEqual(t, "set", ask(topicResource, "x", "segment.ms=7", "flush.ms=8"), 0)
			wantEqual(t, "replace", ask(topicResource, "x", "retention.ms=9"), 0)
			wantEqual(t, "left", b.ctl.Image().TopicByName("x").Configs, map[string]string{"retention.ms": "9"})
			wantEqual(t, "null", ask(topicResource, "x", "retention.ms"), codeInvalidRequest)
			wantEqual(t, "logger", ask(loggerResource, "1", "ROOT=INFO"), codeInvalidRequest)
			wantEqual(t, "nothing", ask(topicResource, "x"), 0)
			if own := b.ctl.Image().TopicByName("x").Configs; own != nil {
				t.Errorf("left: %v", own)
			}
		}
	})
}

// TestTopicConfigsReachTheOpenLog: what is altered counts for the partition that is open, at once.
func TestTopicConfigsReachTheOpenLog(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		c := b.dial()
		cl := b.client(kgo.DefaultProduceTopic("x"), kgo.RecordRetries(3), kgo.ProducerBatchCompression(kgo.NoCompression()))
		defer cl.Close()
		put := func(n int) error {
			return cl.ProduceSync(t.Context(), &kgo.Record{Value: bytes.Repeat([]byte{1}, n)}).FirstErr()
		}
		b.must(put(5000))
		wantEqual(t, "codes", alterIn(c, 1, ops(topicResource, "x",
			"max.message.bytes=1000", "segment.bytes=1048576", "segment.ms=7", "retention.ms=8", "retention.bytes=9", "flush.messages=10", "flush.ms=11",
			"write.caching=true", "message.timestamp.type=LogAppendTime", "file.delete.delay.ms=12", "index.interval.bytes=13")), []int16{0})
		b.settle()
		p, err := b.broker.o.Replicas.ByName([]byte("x"), 0)
		b.must(err)
		log, err := p.Log()
		b.must(err)
		o := log.Options()
		wantEqual(t, "log", []any{o.SegmentBytes, o.SegmentMillis, o.RetentionMillis, o.RetentionBytes, o.FlushMessages, o.FlushMillis, o.WriteCaching, o.LogAppendTime, o.FileDeleteDelay.Milliseconds(), o.IndexIntervalBytes},
			[]any{1 << 20, 7, 8, 9, 10, 11, true, true, 12, 13})
		if err := put(5000); err == nil || !strings.Contains(err.Error(), "MESSAGE_TOO_LARGE") {
			t.Errorf("a batch above max.message.bytes: %v", err)
		}
		wantEqual(t, "back", alterIn(c, 1, ops(topicResource, "x", "max.message.bytes", "min.insync.replicas=2")), []int16{0})
		b.settle()
		wantEqual(t, "limits", []any{p.Config().MaxMessageBytes, p.Config().MinInsyncReplicas}, []any{1048588, 2})
		wantEqual(t, "back", alterIn(c, 1, ops(topicResource, "x", "min.insync.replicas")), []int16{0})
		b.settle()
		b.must(put(5000))
	})
}

// TestBrokerConfigsAtRunTime: a broker's own value goes before that of all brokers, that before what it was started with;
// both are defaults of topics, are described as such, and are there again after a restart.
func TestBrokerConfigsAtRunTime(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		c := b.dial()
		limit := func() int32 {
			b.settle()
			p, err := b.broker.o.Replicas.ByName([]byte("x"), 0)
			b.must(err)
			return p.Config().MaxMessageBytes
		}
		check := func(topic, broker string, all int) {
			t.Helper()
			wantEqual(t, "topic", shown(describe(c, 4, topicResource, "x"), "max.message.bytes"), topic)
			wantEqual(t, "broker", shown(describe(c, 4, brokerResource, "1"), "message.max.bytes"), broker)
			wantEqual(t, "all", len(describe(c, 4, brokerResource, "").Configs), all)
		}
		wantEqual(t, "at first", limit(), 1048588)
		wantEqual(t, "all brokers", alterIn(c, 1, ops(brokerResource, "", "message.max.bytes=2000")), []int16{0})
		wantEqual(t, "of all", limit(), 2000)
		check("2000 3; message.max.bytes=2000 3; message.max.bytes=1048588 5", "2000 3; message.max.bytes=2000 3; message.max.bytes=1048588 5", 1)
		wantEqual(t, "this one", alterIn(c, 1, ops(brokerResource, "1", "message.max.bytes=3000")), []int16{0})
		wantEqual(t, "its own", limit(), 3000)
		both := "3000 2; message.max.bytes=3000 2; message.max.bytes=2000 3; message.max.bytes=1048588 5"
		check(both, both, 1)
		made := create(c, 5, newTopicOf("y", 1, 1))[0]
		for _, e := range made.Configs {
			if e.Name == "max.message.bytes" {
				wantEqual(t, "created", []any{*e.Value, e.Source}, []any{"3000", 2})
			}
		}

		b.stop()
		b.start()
		c = b.dial()
		wantEqual(t, "after a restart", limit(), 3000)
		check(both, both, 1)
		wantEqual(t, "delete", alterIn(c, 1, ops(brokerResource, "1", "message.max.bytes"), ops(brokerResource, "", "message.max.bytes")), []int16{0, 0})
		wantEqual(t, "as at first", limit(), 1048588)
		check("1048588 5; message.max.bytes=1048588 5", "1048588 5; message.max.bytes=1048588 5", 0)

		// What does not fit the rest is refused by the broker that would have to run with it.
		wantEqual(t, "jitter", alterIn(c, 1, ops(brokerResource, "1", "log.roll.jitter.ms=9", "log.roll.ms=8"), ops(brokerResource, "", "log.retention.ms=0")),
			[]int16{metadata.CodeInvalidConfig, metadata.CodeInvalidConfig})
	})
}

func TestGroupAndClientMetricsConfigs(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		wantEqual(t, "codes", alterIn(c, 1, ops(groupResource, "g", "consumer.session.timeout.ms=50000"), ops(metricsResource, "s", "interval.ms=1000", "+match=client_id=a.*"),
			ops(groupResource, "", "consumer.session.timeout.ms=50000"), ops(groupResource, "h", "consumer.session.timeout.ms=1"), ops(metricsResource, "s2", "interval.ms=1")),
			[]int16{0, 0, codeInvalidRequest, metadata.CodeInvalidConfig, metadata.CodeInvalidConfig})
		g := describe(c, 4, groupResource, "g")
		wantEqual(t, "group", []any{shown(g, "consumer.session.timeout.ms"), len(g.Configs)},
			[]any{"50000 8; consumer.session.timeout.ms=50000 8; group.consumer.session.timeout.ms=45000 5", len(config.KindGroup.Properties())})
		s := describe(c, 4, metricsResource, "s")
		wantEqual(t, "subscription", []string{shown(s, "interval.ms"), shown(s, "match"), shown(s, "metrics")},
			[]string{"1000 7; interval.ms=1000 7; interval.ms=300000 5", "client_id=a.* 7; match=client_id=a.* 7", " 5"})
	})
}

// TestBrokerLoggers: a level changes what is logged, from the next line on.
func TestBrokerLoggers(t *testing.T) {
	var out bytes.Buffer
	inBox(t, func(t *testing.T, b *box) {
		storage := b.loggers.Logger("storage")
		c := b.dial()
		said := func() string {
			out.Reset()
			storage.Debug("line")
			return out.String()
		}
		levels := func() string {
			r := describe(c, 4, loggerResource, "1")
			return shown(r, "ROOT") + ", " + shown(r, "storage")
		}
		wantEqual(t, "at first", []string{levels(), said()}, []string{"INFO 6, INFO 6", ""})
		wantEqual(t, "set", alterIn(c, 0, ops(loggerResource, "1", "ROOT=DEBUG")), []int16{0})
		wantEqual(t, "root", []string{levels(), said()}, []string{"DEBUG 6, DEBUG 6", "level=DEBUG msg=line\n"})
		wantEqual(t, "set", alterIn(c, 1, ops(loggerResource, "1", "storage=ERROR")), []int16{0})
		wantEqual(t, "storage", []string{levels(), said()}, []string{"DEBUG 6, ERROR 6", ""})
		for _, bad := range []struct {
			change string
			code   int16
		}{
			{"ROOT=LOUD", metadata.CodeInvalidConfig},
			{"none=INFO", metadata.CodeInvalidConfig},
			{"none", metadata.CodeInvalidConfig},
			{"ROOT", codeInvalidRequest},
			{"+ROOT=INFO", codeInvalidRequest},
		} {
			wantEqual(t, bad.change, alterIn(c, 1, ops(loggerResource, "1", "storage=WARN", bad.change)), []int16{bad.code})
		}
		wantEqual(t, "another broker", alterIn(c, 1, ops(loggerResource, "2", "ROOT=INFO")), []int16{codeInvalidRequest})
		wantEqual(t, "nothing was changed", levels(), "DEBUG 6, ERROR 6")
		wantEqual(t, "delete", alterIn(c, 1, ops(loggerResource, "1", "storage")), []int16{0})
		wantEqual(t, "as root", levels(), "DEBUG 6, DEBUG 6")
	}, func(b *box) {
		b.loggers = logging.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: logging.Everything, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}), slog.LevelInfo)
	})
}

func TestListConfigResources(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		c := b.dial()
		alterIn(c, 1, ops(groupResource, "g", "consumer.session.timeout.ms=50000"), ops(metricsResource, "s", "interval.ms=1000"), ops(brokerResource, "", "log.retention.ms=7"))
		list := func(version int16, kinds ...int8) string {
			req := kmsg.NewPtrListConfigResourcesRequest()
			req.ResourceTypes = kinds
			resp := do[*kmsg.ListConfigResourcesResponse](c, req, version)
			s := fmt.Sprint(resp.ErrorCode)
			for _, r := range resp.ConfigResources {
				s += fmt.Sprintf(" %d/%s", r.Type, r.Name)
			}
			return s
		}
		wantEqual(t, "version 0", list(0), "0 16/s")
		wantEqual(t, "all", list(1), "0 2/x 4/1 8/1 16/s 32/g")
		wantEqual(t, "some", list(1, 32, 2, 32), "0 2/x 32/g")
		wantEqual(t, "unknown", list(1, 2, 3), "35")
	})
}

// TestDescribeConfigsIsBounded: a request that names a resource ten thousand times does not get its description as often.
func TestDescribeConfigsIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long")
	}
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.IncludeSynonyms, req.IncludeDocumentation = true, true
		for range 10_000 {
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName = brokerResource, "1"
			req.Resources = append(req.Resources, r)
		}
		resp := do[*kmsg.DescribeConfigsResponse](c, req, 4)
		first, last := resp.Resources[0], resp.Resources[len(resp.Resources)-1]
		wantEqual(t, "codes", []any{len(resp.Resources), first.ErrorCode, last.ErrorCode, len(last.Configs)}, []any{10_000, 0, codePolicyViolation, 0})
		if n := len(resp.AppendTo(nil)); n > maxDescribed*5/4 {
			t.Errorf("the answer has %d bytes", n)
		}
	})
}

// TestConfigAdminClient goes through kadm what an operator does.
func TestConfigAdminClient(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		cl := b.client()
		defer cl.Close()
		adm := kadm.NewClient(cl)
		ctx := t.Context()
		value := func(rs kadm.ResourceConfigs, err error, name string) string {
			t.Helper()
			b.must(err)
			b.must(rs[0].Err)
			for _, c := range rs[0].Configs {
				if c.Key == name {
					return fmt.Sprint(c.MaybeValue(), " ", c.Source)
				}
			}
			return "none"
		}
		altered := func(rs kadm.AlterConfigsResponses, err error) {
			t.Helper()
			b.must(err)
			b.must(rs[0].Err)
		}
		altered(adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{
			{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("7")},
			{Op: kadm.AppendConfig, Name: "follower.replication.throttled.replicas", Value: kadm.StringPtr("0:1")},
		}, "x"))
		rs, err := adm.DescribeTopicConfigs(ctx, "x")
		wantEqual(t, "topic", value(rs, err, "retention.ms"), "7 DYNAMIC_TOPIC_CONFIG")
		wantEqual(t, "list", value(rs, err, "follower.replication.throttled.replicas"), "0:1 DYNAMIC_TOPIC_CONFIG")
		altered(adm.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "segment.ms", Value: kadm.StringPtr("8")}}, "x"))
		rs, err = adm.DescribeTopicConfigs(ctx, "x")
		wantEqual(t, "replaced", value(rs, err, "retention.ms"), "604800000 DEFAULT_CONFIG")
		altered(adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "log.retention.ms", Value: kadm.StringPtr("9")}}))
		altered(adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "log.retention.ms", Value: kadm.StringPtr("10")}}, 1))
		rs, err = adm.DescribeBrokerConfigs(ctx, 1)
		wantEqual(t, "broker", value(rs, err, "log.retention.ms"), "10 DYNAMIC_BROKER_CONFIG")
		rs, err = adm.DescribeBrokerConfigs(ctx)
		wantEqual(t, "all brokers", value(rs, err, "log.retention.ms"), "9 DYNAMIC_DEFAULT_BROKER_CONFIG")
		rs, err = adm.DescribeTopicConfigs(ctx, "x")
		wantEqual(t, "topic", value(rs, err, "retention.ms"), "10 DYNAMIC_BROKER_CONFIG")
		listed, err := adm.ListConfigResources(ctx)
		b.must(err)
		wantEqual(t, "resources", listed.Names(), []string{"1", "1", "x"})
	})
}
