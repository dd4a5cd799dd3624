// Package config declares every property of the broker once, in one table, and
// makes from it all that knows properties: flags, environment variables, the
// YAML file, the checks, the typed settings, the reference.
//
// A value comes from the first of: a flag (--kafka-port 9092 or -o
// kafka.port=9092), the environment (CHRONIK_KAFKA_PORT), the file, the default.
// One rule makes the names: dots become dashes in a flag and underscores in a
// variable. An unknown name is an error with a suggestion, wherever it stands.
//
// State: a Config is immutable after Load and may be read by any goroutine; the
// package starts none. The composition root (node) and the command line read
// it; parts of the broker get options of their own and never see a Config. What
// the controller and the request handlers need of topics stands apart: Topic,
// CheckTopicConfig, TopicProperties.
package config

//go:generate go test -count=1 -run TestReferenceIsUpToDate . -update

import (
	"fmt"
	"math"
	"net"
	"strconv"
)

// Mode is how the server was started; a few defaults depend on it.
type Mode int8

// The modes. The bare command is Standalone.
const (
	Standalone  Mode = iota // one node, its own only voter, on loopback
	RaftCluster             // a founder or member of a cluster of several nodes
	ByPeers                 // for a look at a configuration: RaftCluster if it names peers, else Standalone
)

// String returns the name of the command that starts the mode.
func (m Mode) String() string {
	if m == RaftCluster {
		return "raft-cluster"
	}
	return "standalone"
}

// OriginKind tells where a value comes from; a higher one wins.
type OriginKind int8

// Origins in rising precedence.
const (
	FromDefault OriginKind = iota
	FromFile
	FromEnvironment
	FromFlag
	FromCluster // set at run time for all brokers
	FromBroker  // set at run time for this broker
)

// Origin is where a value comes from: its kind, and the place as a person would name it
// (chronik.yaml:3, CHRONIK_NODE_ID, --node-id).
type Origin struct {
	Kind  OriginKind
	Place string
}

// String returns the place, or "default".
func (o Origin) String() string {
	if o.Kind == FromDefault {
		return "default"
	}
	return o.Place
}

// Value is one property of a loaded configuration: its effective text and its origin.
type Value struct {
	Property *Property
	Text     string // what is in force; "" if the property is not set and has no default
	Origin   Origin

	followed bool // the value and its origin are those of another property
}

// Config is a complete, checked configuration of one node.
type Config struct {
	// Settings holds the typed values in force.
	Settings

	mode   Mode
	values []Value // in the table's order
	index  map[string]int
	topic  Topic // the defaults of topics on this broker

	found map[string]raw // what was given at the start

	memoryGranted int64   // as Sources has it
	dynamic       Dynamic // and over it
}

// Mode returns how the server was started.
func (c *Config) Mode() Mode { return c.mode }

// Values lists every broker property in the table's order, with its value and origin.
func (c *Config) Values() []Value { return append([]Value(nil), c.values...) }

// Lookup returns the value of a broker property by name.
func (c *Config) Lookup(name string) (Value, bool) {
	i, ok := c.index[name]
	if !ok {
		return Value{}, false
	}
	return c.values[i], true
}

// Given reports whether a property was set by a person rather than by default.
func (c *Config) Given(name string) bool {
	v, ok := c.Lookup(name)
	return ok && v.Origin.Kind != FromDefault
}

// WithoutEffect lists the properties that a person has set and that change nothing, in the table's order.
func (c *Config) WithoutEffect() []string {
	var list []string
	for _, v := range c.values {
		if v.Property.NoEffect != "" && v.Origin.Kind != FromDefault && !v.followed {
			list = append(list, v.Property.Name)
		}
	}
	return list
}

// KafkaListenAddr returns the address the Kafka port is bound to, for net.Listen.
func (c *Config) KafkaListenAddr() string {
	host := c.BindAddr
	if host == "*" {
		host = ""
	}
	return net.JoinHostPort(host, strconv.Itoa(int(c.KafkaPort)))
}

// RaftListenAddr returns the address of Raft's gRPC server, for net.Listen, or "" when the node
// has none: a standalone node opens the port only when raft.addr is given.
func (c *Config) RaftListenAddr() string {
	if c.RaftAddr == "" {
		return ""
	}
	host, port, _ := net.SplitHostPort(c.RaftAddr)
	if host == "*" {
		host = ""
	}
	return net.JoinHostPort(host, port)
}

// RaftPort returns the port of Raft's gRPC server, 0 when the node has none.
func (c *Config) RaftPort() int32 {
	_, port, err := net.SplitHostPort(c.RaftAddr)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(port, 10, 32)
	return int32(n)
}

// AdminFallback reports whether the admin server may take a free port on the same host when the
// port of AdminAddr is taken: so it is while the address is the default, Kafka's port + 552.
func (c *Config) AdminFallback() bool { return !c.Given("admin.addr") }

// Peer is another founder of the cluster: its node id and the address of its Raft port.
type Peer struct {
	ID   int32
	Host string
	Port int32
}

// Addr returns host:port.
func (p Peer) Addr() string { return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))) }

// String returns the peer as --peers takes it: id@host:port.
func (p Peer) String() string { return fmt.Sprintf("%d@%s", p.ID, p.Addr()) }

// NoLimit is the value of a limit that never applies (Long.MAX_VALUE in Kafka's tables).
const NoLimit = math.MaxInt64
