package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"
)

// adminOffset is added to the Kafka port for the admin port: 9644 for 9092.
const adminOffset = 552

// complete fills the defaults that depend on other values and checks what must fit together.
func (c *Config) complete() Errors {
	c.completeAddresses()
	c.completeLog()
	c.completeMemory()
	var errs Errors
	for _, check := range []func() *Error{c.checkMode, c.checkPeers, c.checkPorts, c.checkTimeouts, c.checkLog} {
		if e := check(); e != nil {
			v, _ := c.Lookup(e.Name)
			if e.Place == "" && v.Origin.Kind != FromDefault {
				e.Place = v.Origin.Place
			}
			errs = append(errs, e)
		}
	}
	return errs
}

// fill gives a property that nobody set a value that follows from another one, whose origin it takes.
func (c *Config) fill(name string, from string) {
	v := &c.values[c.index[name]]
	v.Text = v.Property.format(v.Property.field(&c.Settings))
	if from != "" {
		v.Origin, v.followed = c.values[c.index[from]].Origin, true
	}
}

func (c *Config) completeAddresses() {
	if c.BindAddr == "" {
		c.BindAddr = "127.0.0.1"
		if c.mode == RaftCluster {
			c.BindAddr = "*"
		}
		c.fill("bind.addr", "")
	}
	if c.AdminAddr == "" {
		port := int(c.KafkaPort) + adminOffset
		if c.KafkaPort == 0 || port > 65535 {
			port = 0 // a free one
		}
		c.AdminAddr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		c.fill("admin.addr", "")
	}
	if c.DataDir == "" {
		c.DataDir = filepath.Join("chronik-data", fmt.Sprintf("node-%d", c.NodeID))
		c.fill("data.dir", "")
	}
	if c.RaftAddr == "" && c.mode == RaftCluster {
		c.RaftAddr = "0.0.0.0:5001"
		c.fill("raft.addr", "")
	}
}

// completeMemory leaves a tenth of what is granted to what the collector does not know of: the system's buffers for sockets
// and files, stacks, the binary.
func (c *Config) completeMemory() {
	if c.MemoryLimit < 0 && c.memoryGranted > 0 {
		c.MemoryLimit = c.memoryGranted / 10 * 9
		c.fill("memory.limit", "")
	}
}

// isSet reports whether a property has a value, by a person or by default.
func (c *Config) isSet(name string) bool { return c.values[c.index[name]].Text != "" }

// first returns the first of the names that a person has set under that name, else the last.
func (c *Config) first(names ...string) string {
	for _, name := range names {
		if v := c.values[c.index[name]]; v.Origin.Kind != FromDefault && !v.followed {
			return name
		}
	}
	return names[len(names)-1]
}

func (c *Config) completeLog() {
	const hour, minute = int64(time.Hour / time.Millisecond), int64(time.Minute / time.Millisecond)
	scaled := func(n, unit int64) int64 {
		if n < 0 {
			return n
		}
		return n * unit // an int32 times an hour fits
	}
	if !c.isSet("log.roll.ms") {
		c.LogRollMillis = scaled(int64(c.LogRollHours), hour)
		c.fill("log.roll.ms", "log.roll.hours")
	}
	if !c.isSet("log.roll.jitter.ms") {
		c.LogRollJitterMillis = scaled(int64(c.LogRollJitterHours), hour)
		c.fill("log.roll.jitter.ms", "log.roll.jitter.hours")
	}
	switch {
	case c.isSet("log.retention.ms"):
	case c.isSet("log.retention.minutes"):
		c.LogRetentionMillis = scaled(int64(c.LogRetentionMinutes), minute)
		c.fill("log.retention.ms", "log.retention.minutes")
	default:
		c.LogRetentionMillis = scaled(int64(c.LogRetentionHours), hour)
		c.fill("log.retention.ms", "log.retention.hours")
	}
	if !c.isSet("log.flush.interval.ms") {
		c.LogFlushMillis = c.LogFlushSchedulerMillis
		c.fill("log.flush.interval.ms", "log.flush.scheduler.interval.ms")
	}
	if !c.isSet("offsets.topic.replication.factor") {
		c.OffsetsTopicReplicationFactor = c.DefaultReplicationFactor
		c.fill("offsets.topic.replication.factor", "default.replication.factor")
	}
}

func (c *Config) checkMode() *Error {
	switch {
	case c.mode == RaftCluster && !c.Given("node.id"):
		return &Error{Name: "node.id", Why: "raft-cluster needs an id of its own for every node", Hint: "give --node-id, as in --node-id 1"}
	case c.mode == RaftCluster && len(c.Peers) == 0:
		return &Error{Name: "peers", Why: "raft-cluster needs the other founders", Hint: `give --peers, as in --peers "2@localhost:5002,3@localhost:5003", or start a single node with standalone`}
	case c.mode == Standalone && len(c.Peers) > 0:
		return &Error{Name: "peers", Why: "a standalone node has none", Hint: "start it with raft-cluster, or leave peers out"}
	}
	return nil
}

func (c *Config) checkPeers() *Error {
	advertisedHost, _, _ := advertised(c.AdvertisedAddr)
	for _, p := range c.Peers {
		if p.ID == c.NodeID {
			return &Error{Name: "peers", Why: fmt.Sprintf("the list names this node itself (%s)", p), Hint: "list the other nodes only"}
		}
		if advertisedHost != "" && p.Host == advertisedHost && p.Port == c.RaftPort() {
			return &Error{
				Name: "peers", Why: fmt.Sprintf("%s is this node's own Raft address, but node %d is another one", p.Addr(), p.ID),
				Hint: "give the address of node " + strconv.Itoa(int(p.ID)),
			}
		}
	}
	return nil
}

func (c *Config) checkPorts() *Error {
	if c.mode == RaftCluster && c.RaftPort() == 0 {
		return &Error{Name: "raft.addr", Value: c.RaftAddr, Why: "the other nodes cannot know a free port", Hint: "give a port between 1 and 65535"}
	}
	_, adminPort, _ := splitAddr(c.AdminAddr)
	type use struct {
		name string
		port int32
	}
	uses := []use{{"kafka.port", c.KafkaPort}, {"raft.addr", c.RaftPort()}, {"admin.addr", adminPort}}
	for i, a := range uses {
		for _, b := range uses[:i] {
			clash := a.port != 0 && a.port == b.port
			if clash && (a.name != "admin.addr" || !c.AdminFallback()) {
				return &Error{Name: a.name, Why: fmt.Sprintf("its port %d is that of %s too", a.port, b.name), Hint: "give each a port of its own"}
			}
		}
	}
	return nil
}

func (c *Config) checkTimeouts() *Error {
	switch {
	case c.RaftLeaderLeaseTimeout > c.RaftHeartbeatTimeout:
		return &Error{Name: "raft.leader.lease.timeout.ms", Why: fmt.Sprintf("%d exceeds raft.heartbeat.timeout.ms=%d: a leader that is cut off would go on beside its successor",
			c.RaftLeaderLeaseTimeout.Milliseconds(), c.RaftHeartbeatTimeout.Milliseconds()), Hint: "lower it to at most that"}
	case c.RaftElectionTimeout < c.RaftHeartbeatTimeout:
		return &Error{Name: "raft.election.timeout.ms", Why: fmt.Sprintf("%d is below raft.heartbeat.timeout.ms=%d",
			c.RaftElectionTimeout.Milliseconds(), c.RaftHeartbeatTimeout.Milliseconds()), Hint: "raise it to at least that"}
	case c.BrokerSessionTimeout < 3*c.BrokerHeartbeatInterval:
		return &Error{Name: "broker.session.timeout.ms", Why: fmt.Sprintf("%d is less than three times broker.heartbeat.interval.ms=%d: one late heartbeat would fence the broker",
			c.BrokerSessionTimeout.Milliseconds(), c.BrokerHeartbeatInterval.Milliseconds()), Hint: "raise it, or lower the interval"}
	case c.GroupMinSessionTimeout > c.GroupMaxSessionTimeout:
		return &Error{Name: "group.min.session.timeout.ms", Why: fmt.Sprintf("%d exceeds group.max.session.timeout.ms=%d",
			c.GroupMinSessionTimeout.Milliseconds(), c.GroupMaxSessionTimeout.Milliseconds()), Hint: "lower the one or raise the other"}
	case c.DiskStallTimeout < c.RaftStorageStallTimeout:
		return &Error{Name: "disk.stall.timeout.ms", Why: fmt.Sprintf("%d is below raft.storage.stall.timeout.ms=%d: the node would end before it could give up its leadership",
			c.DiskStallTimeout.Milliseconds(), c.RaftStorageStallTimeout.Milliseconds()), Hint: "raise it to at least that"}
	}
	return nil
}

func (c *Config) checkLog() *Error {
	switch {
	case c.DefaultReplicationFactor > 1:
		return noReplication("default.replication.factor", c.DefaultReplicationFactor)
	case c.OffsetsTopicReplicationFactor > 1:
		return noReplication("offsets.topic.replication.factor", c.OffsetsTopicReplicationFactor)
	case c.LogRetentionMillis == 0:
		return &Error{Name: c.first("log.retention.ms", "log.retention.minutes", "log.retention.hours"), Why: "0 would keep nothing at all", Hint: "give at least 1, or -1 to keep records for ever"}
	case c.CleanerLoadFactor <= 0:
		return &Error{Name: "log.cleaner.io.buffer.load.factor", Why: "0 would leave no room for a key", Hint: "give more than 0, and 1 at the most"}
	case c.LogRollJitterMillis > c.LogRollMillis:
		return &Error{Name: "log.roll.jitter.ms", Why: fmt.Sprintf("%d exceeds log.roll.ms=%d", c.LogRollJitterMillis, c.LogRollMillis), Hint: "lower it"}
	}
	return nil
}

// noReplication refuses at a start what would make every creation of a topic fail later.
func noReplication(name string, factor int16) *Error {
	return &Error{Name: name, Value: strconv.Itoa(int(factor)), Why: "replication of partitions is not there yet", Hint: "use 1"}
}
