package config

import (
	"maps"
	"sync/atomic"
)

// Dynamic is what was set of brokers' properties at run time, by name.
type Dynamic struct {
	ClusterDefault map[string]string // for all brokers
	Broker         map[string]string // for this one, over it
}

// With returns the configuration that c becomes with d, in place of what was set at run time before. A name or a
// value that is not known here (written by a newer version, say) is left out. The error, of type Errors,
// says what does not fit the rest; c stays as it is.
func (c *Config) With(d Dynamic) (*Config, error) {
	l := &loader{found: maps.Clone(c.found), memoryGranted: c.memoryGranted}
	lay := func(values map[string]string, o Origin) {
		for name, text := range values {
			p := Lookup(name)
			if p == nil || p.ChangeableAt(o.Kind == FromCluster) != nil {
				continue
			}
			if _, err := p.parse(text); err == nil {
				l.found[name] = raw{text, o}
			}
		}
	}
	lay(d.ClusterDefault, Origin{FromCluster, "the cluster's default"})
	lay(d.Broker, Origin{FromBroker, "the broker's dynamic configuration"})
	n, err := l.assemble(c.mode)
	if err != nil {
		return nil, err
	}
	n.found, n.dynamic = c.found, d
	return n, nil
}

// Live is the configuration of a node that runs: what it was started with, and over it what is set at run
// time. Config may be called by any goroutine, Set by one at a time.
type Live struct {
	started *Config
	now     atomic.Pointer[Config]
}

// NewLive begins with what the node was started with.
func NewLive(c *Config) *Live {
	l := &Live{started: c}
	l.now.Store(c)
	return l
}

// Config is the configuration in force.
func (l *Live) Config() *Config { return l.now.Load() }

// Set puts d in force. With an error the configuration before stays.
func (l *Live) Set(d Dynamic) error {
	c, err := l.started.With(d)
	if err == nil {
		l.now.Store(c)
	}
	return err
}

// Topic resolves a topic's configuration with the values in force.
func (l *Live) Topic(overrides map[string]string) Topic { return l.Config().Topic(overrides) }

// DescribeTopic is Config.DescribeTopic with the values in force.
func (l *Live) DescribeTopic(overrides map[string]string, replicationFactor int) []Entry {
	return l.Config().DescribeTopic(overrides, replicationFactor)
}

// DescribeGroup is Config.DescribeGroup with the values in force.
func (l *Live) DescribeGroup(overrides map[string]string) []Entry {
	return l.Config().DescribeGroup(overrides)
}

// DescribeBroker is Config.DescribeBroker with the values in force.
func (l *Live) DescribeBroker() []Entry { return l.Config().DescribeBroker() }

// CheckBroker tells why this broker could not run with d.
func (l *Live) CheckBroker(d Dynamic) error {
	_, err := l.started.With(d)
	return err
}
