package config

import (
	"net"
	"strconv"
	"strings"
)

// derivedProperties are those of Kafka that Chronik has in another form. They are shown, because tools read
// them, and cannot be set.
func derivedProperties() []Property {
	listener := func(host string, port int32) string {
		return "PLAINTEXT://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	rows := []Property{
		{
			Name: "listeners", Type: List, Instead: "use kafka.port and bind.addr (--kafka-port, --bind-addr)",
			Doc:     "The address of Kafka's port, as kafka.port and bind.addr make it.",
			derived: func(c *Config) string { return listener(strings.TrimPrefix(c.BindAddr, "*"), c.KafkaPort) },
		},
		{
			Name: "advertised.listeners", Type: List, Instead: "use advertised.addr (--advertised-addr)",
			Doc: "The address that clients are told, as advertised.addr makes it; empty where the node finds it at its start.",
			derived: func(c *Config) string {
				host, port, err := advertised(c.AdvertisedAddr)
				if err != nil || host == "" {
					return ""
				}
				if port == 0 {
					port = c.KafkaPort
				}
				return listener(host, port)
			},
		},
		{
			Name: "broker.id", Type: Int, Instead: "use node.id (--node-id)", Doc: "The same as node.id.",
			derived: func(c *Config) string { return c.values[c.index["node.id"]].Text },
		},
		{
			Name: "process.roles", Type: List, Instead: "leave it out: every node is broker and voter", Doc: "What the node does: every one is both.",
			derived: func(*Config) string { return "broker,controller" },
		},
		{
			Name: "controller.listener.names", Type: List, Instead: "use raft.addr (--raft-addr)", Doc: "The name of the Raft port; it has no other.",
			derived: func(*Config) string { return "RAFT" },
		},
		{
			Name: "controller.quorum.voters", Type: List, Instead: "use peers (--peers), without this node", Doc: "The other founders, as peers names them.",
			derived: func(c *Config) string { return c.values[c.index["peers"]].Text },
		},
		{
			Name: "controller.quorum.bootstrap.servers", Type: List, Instead: "use peers (--peers), without this node", Doc: "The Raft ports of the other founders, as peers names them.",
			derived: func(c *Config) string {
				var list []string
				for _, p := range c.Peers {
					list = append(list, p.Addr())
				}
				return strings.Join(list, ",")
			},
		},
	}
	for name, doc := range map[string]string{
		"log.dir": "The same as data.dir.", "log.dirs": "The same as data.dir.", "metadata.log.dir": "The same as data.dir; the metadata log lies in it.",
	} {
		rows = append(rows, Property{
			Name: name, Type: String, Instead: "use data.dir (--data-dir); one directory for each node", Doc: doc,
			derived: func(c *Config) string { return c.DataDir },
		})
	}
	return rows
}
