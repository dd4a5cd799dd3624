package broker

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
	decisions "github.com/chronik-stream/chronik/internal/controller"
	"github.com/chronik-stream/chronik/internal/logging"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// Configs is this node's configuration as requests show and change it. config.Live is one.
type Configs interface {
	// DescribeTopic, DescribeGroup and DescribeBroker list every property in force, of a topic and a group with
	// their own settings over the broker's.
	DescribeTopic(overrides map[string]string, replicationFactor int) []config.Entry
	DescribeGroup(overrides map[string]string) []config.Entry
	DescribeBroker() []config.Entry
	// CheckBroker tells why this broker could not run with what is set at run time.
	CheckBroker(config.Dynamic) error
}

var _ Configs = (*config.Live)(nil)

// maxDescribed is how many bytes of configurations one answer holds, about. A request of 1 MiB can name a hundred
// thousand resources, and a broker's description is a hundred times longer than its name.
const (
	maxDescribed = 32 << 20
	// lookedAt is what a property counts that is not in the answer, because the request names others: to go through all of
	// them takes a processor as long as it does to encode so many bytes.
	lookedAt = 32
)

var errDescribed = metadata.Errorf(codePolicyViolation, "the answer would exceed %d bytes: ask for fewer resources in one request", maxDescribed)

// DescribeConfigs (key 32), versions 1 to 4, at any broker; a broker's own configuration and its loggers at that
// broker. Null or no names: every property of the resource. A name that does not exist is left out.
//
//   - 1: sources and synonyms (KIP-226). 2: the same.
//   - 3: types and documentation (KIP-569).
//   - 4: flexible.
//
// The broker with an empty name is the default of all brokers: what was set for it, nothing else.
func (b *Broker) describeConfigs(c *call, req *kmsg.DescribeConfigsRequest) kmsg.Response {
	if len(req.Resources) > fewTopics { // each may be a tenth of a megabyte
		if b.answers.Take(c.ctx, 1, 0, memory.Small) != nil {
			return nil
		}
		defer b.answers.Give(1)
	}
	resp := kmsg.NewPtrDescribeConfigsResponse()
	img, size := b.ctl.Image(), 0
	for i := range req.Resources {
		r := &req.Resources[i]
		d := kmsg.NewDescribeConfigsResponseResource()
		d.ResourceType, d.ResourceName, d.Configs = r.ResourceType, text(r.ResourceName), []kmsg.DescribeConfigsResponseResourceConfig{}
		var entries []config.Entry
		err := errDescribed
		if size < maxDescribed {
			entries, err = b.describeResource(img, config.Kind(r.ResourceType), r.ResourceName)
		}
		if err != nil {
			d.ErrorCode, d.ErrorMessage = err.Code, &err.Message
		}
		size += len(entries) * lookedAt
		for j := range entries {
			e := &entries[j]
			if len(r.ConfigNames) == 0 || slices.Contains(r.ConfigNames, e.Property.Name) {
				d.Configs = append(d.Configs, describedConfig(e, req))
				size += describedSize(&d.Configs[len(d.Configs)-1])
			}
		}
		resp.Resources = append(resp.Resources, d)
	}
	return resp
}

// describeResource lists what a resource has.
func (b *Broker) describeResource(img *metadata.Image, kind config.Kind, name string) ([]config.Entry, *metadata.Error) {
	own := img.Config(metadata.ResourceType(kind), name)
	switch kind {
	case config.KindTopic:
		if err := decisions.CheckTopicName(name); err != nil {
			return nil, err
		}
		t := img.TopicByName(name)
		if t == nil {
			return nil, metadata.Errorf(codeUnknownTopicOrPartition, "there is no topic %q", name)
		}
		return b.o.Configs.DescribeTopic(own, len(t.Partitions[0].Replicas)), nil
	case config.KindBroker:
		if name == "" {
			return config.DescribeClusterDefault(own), nil
		}
		if err := b.isThisBroker(name); err != nil {
			return nil, err
		}
		return b.o.Configs.DescribeBroker(), nil
	case config.KindBrokerLogger:
		if err := b.isThisBroker(name); err != nil {
			return nil, err
		}
		return describeLoggers(b.o.Loggers), nil
	case config.KindGroup, config.KindClientMetrics:
		if name == "" {
			return nil, metadata.Errorf(codeInvalidRequest, "a %s has a name: there are no settings for all of them", kind)
		}
		if kind == config.KindGroup {
			return b.o.Configs.DescribeGroup(own), nil
		}
		return config.DescribeClientMetrics(own), nil
	default:
		return nil, metadata.Errorf(codeInvalidRequest, "a resource of type %d has no configuration", int8(kind))
	}
}

// isThisBroker refuses the name of another broker: only the broker itself knows what it runs with.
func (b *Broker) isThisBroker(name string) *metadata.Error {
	if own := strconv.Itoa(int(b.o.NodeID)); name != own {
		return metadata.Errorf(codeInvalidRequest, "this is broker %s and not %q: a broker's configuration is asked for at, and changed at, that broker", own, name)
	}
	return nil
}

// describeLoggers shows each logger as a property whose value is its level.
func describeLoggers(l *logging.Loggers) []config.Entry {
	var entries []config.Entry
	for _, lv := range l.Levels() {
		entries = append(entries, config.Entry{
			Property: &config.Property{Name: lv.Logger, Type: config.String}, Value: lv.Level, Source: config.SourceBrokerLogger,
		})
	}
	return entries
}

func describedConfig(e *config.Entry, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.ReadOnly, c.IsSensitive = e.Property.Name, e.ReadOnly, e.Property.Sensitive()
	c.Source, c.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Property.Type)
	c.IsDefault = e.Source == config.SourceDefault
	c.Value = orNull(e.Value, e.Null)
	c.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{}
	if req.IncludeSynonyms {
		for _, s := range e.Synonyms {
			synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			synonym.Name, synonym.Value, synonym.Source = s.Name, orNull(s.Value, s.Null), kmsg.ConfigSource(s.Source)
			c.ConfigSynonyms = append(c.ConfigSynonyms, synonym)
		}
	}
	if req.IncludeDocumentation {
		c.Documentation = kmsg.StringPtr(e.Property.Documentation())
	}
	return c
}

func orNull(s string, null bool) *string {
	if null {
		return nil
	}
	return &s
}

// describedSize is what an entry takes in the answer, about.
func describedSize(c *kmsg.DescribeConfigsResponseResourceConfig) int {
	length := func(s *string) int {
		if s == nil {
			return 0
		}
		return len(*s)
	}
	n := 24 + len(c.Name) + length(c.Value) + length(c.Documentation)
	for i := range c.ConfigSynonyms {
		n += 8 + len(c.ConfigSynonyms[i].Name) + length(c.ConfigSynonyms[i].Value)
	}
	return n
}
