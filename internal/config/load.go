package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const envPrefix = "CHRONIK_"

// notProperties are the environment variables of the command line itself.
var notProperties = []string{"CHRONIK_CONFIG", "CHRONIK_BOOTSTRAP_SERVER"}

// serviceLink matches what Kubernetes puts into the environment of every container beside a
// Service whose name begins with "chronik". It is none of ours, and not an error.
var serviceLink = regexp.MustCompile(`^CHRONIK_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.*)?)?)$`)

// Setting is a property set by a flag.
type Setting struct {
	Name  string
	Value string
	Flag  string // as it was given: --kafka-port, -o
}

// Sources is everything a configuration is made from.
type Sources struct {
	Mode    Mode
	Flags   []Setting
	Environ []string // as os.Environ returns it
	File    string   // path of the YAML file, "" for none

	MemoryGranted int64 // what the machine lets the process have, from which memory.limit follows; 0 if all
}

// Load makes a configuration. What is wrong with it comes back as Errors, all of it at once.
func Load(src Sources) (*Config, error) {
	l := &loader{found: map[string]raw{}}
	if src.File != "" {
		l.file(src.File)
	}
	l.environ(src.Environ)
	l.flags(src.Flags)
	l.memoryGranted = src.MemoryGranted
	return l.assemble(src.Mode)
}

// assemble makes a configuration of what was found.
func (l *loader) assemble(mode Mode) (*Config, error) {
	c := &Config{mode: mode, index: map[string]int{}, found: l.found, memoryGranted: l.memoryGranted}
	for i, p := range table().broker {
		c.index[p.Name] = i
		c.values = append(c.values, l.value(c, p))
	}
	if c.mode == ByPeers {
		c.mode = Standalone
		if len(c.Peers) > 0 {
			c.mode = RaftCluster
		}
	}
	if len(l.errs) == 0 {
		l.errs = append(l.errs, c.complete()...)
	}
	if len(l.errs) == 0 {
		if err := c.resolveTopicDefaults(); err != nil {
			l.errs = append(l.errs, err)
		}
	}
	if len(l.errs) > 0 {
		return nil, l.errs
	}
	return c, nil
}

// raw is a value as it was found.
type raw struct {
	text   string
	origin Origin
}

type loader struct {
	found         map[string]raw
	errs          Errors
	memoryGranted int64
}

func (l *loader) fail(e *Error, place string) {
	e.Place = place
	l.errs = append(l.errs, e)
}

// set keeps a value; sources are read in rising precedence, so the last one stands.
func (l *loader) set(name, text string, o Origin) {
	if Lookup(name) == nil {
		l.fail(unknownBroker(name), o.Place)
		return
	}
	l.found[name] = raw{text, o}
}

// value takes the property's value from what was found, or its default, into the settings.
func (l *loader) value(c *Config, p *Property) Value {
	r, ok := l.found[p.Name]
	if !ok {
		r = raw{text: p.Default}
	}
	var v any
	var err error
	if ok || p.Default != "" {
		if v, err = p.parse(r.text); err == nil {
			err = p.keep(c, v)
		}
	}
	if err != nil {
		l.fail(&Error{Name: p.Name, Value: p.shown(r.text), Why: err.Error()}, r.origin.String())
	}
	if v == nil {
		return Value{Property: p, Origin: r.origin}
	}
	if p.field == nil {
		return Value{Property: p, Text: strings.TrimSpace(r.text), Origin: r.origin}
	}
	return Value{Property: p, Text: p.format(p.field(&c.Settings)), Origin: r.origin}
}

// keep puts a parsed value into the settings, if it has a place there.
func (p *Property) keep(c *Config, v any) error {
	if p.field == nil {
		return nil
	}
	return p.store(p.field(&c.Settings), v)
}

func (l *loader) flags(settings []Setting) {
	first := map[string]Setting{}
	for _, s := range settings {
		if f, twice := first[s.Name]; twice && f.Value != s.Value {
			l.fail(&Error{Name: s.Name, Why: fmt.Sprintf("is given twice, as %q by %s and as %q by %s", f.Value, f.Flag, s.Value, s.Flag), Hint: "give it once"}, "")
			continue
		}
		first[s.Name] = s
		if s.Value == "" && strings.HasPrefix(s.Flag, "--") {
			// A script whose variable is not set; the default of --data-dir would be another node's directory.
			l.fail(&Error{Name: s.Name, Why: "is empty", Hint: "give it a value, or leave it out for the default"}, s.Flag)
			continue
		}
		l.set(s.Name, s.Value, Origin{FromFlag, s.Flag})
	}
}

func (l *loader) environ(environ []string) {
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) || slices.Contains(notProperties, name) {
			continue
		}
		p := table().env[name]
		switch {
		case p != nil && value == "":
			// As if it were not there: a composed environment often carries empty variables.
		case p != nil && !isServiceURL(value):
			l.set(p.Name, value, Origin{FromEnvironment, name})
		case p != nil || serviceLink.MatchString(name):
			// A Service named chronik-kafka makes CHRONIK_KAFKA_PORT=tcp://10.0.0.7:9092.
		default:
			l.fail(unknown("property", name, envNames(), ""), "")
		}
	}
}

func isServiceURL(value string) bool {
	for _, scheme := range []string{"tcp://", "udp://", "sctp://"} {
		if strings.HasPrefix(value, scheme) {
			return true
		}
	}
	return false
}

func envNames() []string {
	var names []string
	for _, p := range table().broker {
		names = append(names, p.EnvName())
	}
	return append(names, notProperties...)
}

// file reads a YAML file.
func (l *loader) file(path string) {
	f, err := os.Open(path)
	if err != nil {
		l.fail(&Error{Why: "cannot read the configuration file: " + reason(err), Hint: "check the path given by --config or CHRONIK_CONFIG"}, path)
		return
	}
	defer f.Close()
	l.yaml(path, f)
}

// yaml reads the text of the file at path: one mapping of property names to scalars, or lists of scalars.
func (l *loader) yaml(path string, text io.Reader) {
	var doc yaml.Node
	switch err := yaml.NewDecoder(text).Decode(&doc); {
	case errors.Is(err, io.EOF):
		return // an empty file sets nothing
	case err != nil:
		l.fail(&Error{Why: "is not valid YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}, path)
		return
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		l.fail(&Error{Why: "must hold lines of the form name: value"}, fmt.Sprintf("%s:%d", path, root.Line))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		place := fmt.Sprintf("%s:%d", path, key.Line)
		if line, twice := seen[key.Value]; twice {
			l.fail(&Error{Name: key.Value, Why: fmt.Sprintf("stands here for the second time, first in line %d", line), Hint: "remove one"}, place)
			continue
		}
		seen[key.Value] = key.Line
		text, e := yamlText(key.Value, value)
		if e != nil {
			l.fail(e, place)
			continue
		}
		l.set(key.Value, text, Origin{FromFile, place})
	}
}

func yamlText(name string, n *yaml.Node) (string, *Error) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", nil
		}
		return n.Value, nil
	case yaml.SequenceNode:
		var items []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return "", &Error{Name: name, Why: "its list must hold plain values only"}
			}
			items = append(items, item.Value)
		}
		return strings.Join(items, ","), nil
	case yaml.MappingNode:
		return "", &Error{Name: name, Why: "holds a mapping, but properties are written flat", Hint: "write num.partitions: 3, not num: {partitions: 3}"}
	default:
		return "", &Error{Name: name, Why: "must be a plain value or a list of them"}
	}
}

// reason strips the operation and path that os puts before an error.
func reason(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// unknownBroker reports an unknown broker property; names that Kafka has and Chronik replaces
// get the replacement.
func unknownBroker(name string) *Error {
	hint := removedBrokerConfigs[name]
	if p := table().described[name]; p != nil {
		hint = p.Instead
	}
	if hint == "" && TopicProperty(name) != nil {
		if s := TopicProperty(name).Synonyms; len(s) > 0 {
			hint = "it belongs to a topic; the broker's default for it is " + s[0]
		} else {
			hint = "it belongs to a topic and has no default on the broker"
		}
	}
	return unknown("property", name, names(table().broker), hint)
}

// removedBrokerConfigs are those of older Kafkas, with what became of them.
var removedBrokerConfigs = map[string]string{
	"port":                                    "use kafka.port",
	"zookeeper.connect":                       "leave it out: the metadata is kept by Raft inside the nodes",
	"inter.broker.protocol.version":           "Kafka removed it in 4.0: leave it out",
	"log.message.format.version":              "Kafka removed it in 4.0: every batch has format 2; leave it out",
	"log.message.downconversion.enable":       "Kafka removed it in 4.0: batches are never converted; leave it out",
	"log.message.timestamp.difference.max.ms": "Kafka removed it in 4.0: use log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms",
}
