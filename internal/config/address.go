package config

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParsePeers reads the items of a peer list, id@host:port each, and returns them in id order.
func ParsePeers(items []string) ([]Peer, error) {
	var peers []Peer
	for _, item := range items {
		p, err := parsePeer(item)
		if err != nil {
			return nil, err
		}
		for _, other := range peers {
			switch {
			case other.ID == p.ID:
				return nil, fmt.Errorf("names node %d twice, as %s and as %s: every node has an id of its own", p.ID, other, p)
			case other.Addr() == p.Addr():
				return nil, fmt.Errorf("nodes %d and %d have the same address %s: every node has a Raft address of its own", other.ID, p.ID, p.Addr())
			}
		}
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
	return peers, nil
}

func parsePeer(item string) (Peer, error) {
	id, addr, ok := strings.Cut(item, "@")
	if !ok {
		return Peer{}, fmt.Errorf("%q is not a peer: write id@host:port, as in 2@localhost:5002", item)
	}
	n, err := strconv.ParseInt(id, 10, 32)
	if err != nil || n < 1 {
		return Peer{}, fmt.Errorf("%q is not a peer: %q is not a node id (1 to 2147483647)", item, id)
	}
	host, port, err := splitAddr(addr)
	if err != nil {
		return Peer{}, fmt.Errorf("%q is not a peer: %v", item, err)
	}
	if port == 0 {
		return Peer{}, fmt.Errorf("%q is not a peer: its port must lie between 1 and 65535", item)
	}
	if isWildcard(host) {
		return Peer{}, fmt.Errorf("%q is not a peer: %s is no address to connect to; give the host's name or address", item, hostText(host))
	}
	return Peer{ID: int32(n), Host: host, Port: port}, nil
}

func checkPeer(item string) error {
	_, err := parsePeer(item)
	return err
}

// splitAddr reads host:port; the host may be empty.
func splitAddr(addr string) (host string, port int32, err error) {
	if err := notURL(addr); err != nil {
		return "", 0, err
	}
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not host:port", addr)
	}
	n, err := strconv.ParseUint(p, 10, 32)
	if err != nil || n > 65535 {
		return "", 0, fmt.Errorf("port %q must lie between 0 and 65535", p)
	}
	if err := checkHost(host); err != nil {
		return "", 0, err
	}
	return host, int32(n), nil
}

func notURL(s string) error {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return fmt.Errorf("%q is a URL: leave out %s:// and write %s", s, scheme, strings.TrimSuffix(rest, "/"))
	}
	return nil
}

func checkHost(host string) error {
	if err := notURL(host); err != nil {
		return err
	}
	if strings.ContainsAny(host, "/@ ,[]") || strings.Contains(host, ":") && net.ParseIP(strings.Split(host, "%")[0]) == nil {
		return fmt.Errorf("%q is not a host name or address", host)
	}
	return nil
}

func checkBindAddr(s string) error {
	if s == "*" {
		return nil
	}
	if _, _, err := net.SplitHostPort(s); err == nil {
		return fmt.Errorf("takes no port: the port is kafka.port")
	}
	return checkHost(s)
}

func checkListenAddr(s string) error {
	_, _, err := splitAddr(s)
	return err
}

// checkAdvertisedAddr refuses what cannot be connected to.
func checkAdvertisedAddr(s string) error {
	host, port, err := advertised(s)
	switch {
	case err != nil:
		return err
	case isWildcard(host):
		return fmt.Errorf("clients cannot connect to %s: give the name or address by which they reach this node", hostText(host))
	case port == 0 && strings.HasSuffix(s, ":0"):
		return fmt.Errorf("clients cannot connect to port 0: leave the port out to advertise the Kafka port")
	}
	return nil
}

// advertised reads host or host:port; port 0 means that none is given.
func advertised(s string) (host string, port int32, err error) {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
	} else if strings.Count(s, ":") == 1 || strings.HasPrefix(s, "[") {
		return splitAddr(s)
	}
	return s, 0, checkHost(s)
}

func isWildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || host == "*" || ip != nil && ip.IsUnspecified()
}

func hostText(host string) string {
	if host == "" {
		return "an empty host"
	}
	return host
}

// Endpoint is where others reach this node, and why it is that.
type Endpoint struct {
	Host string
	Port int32
	Why  string // for the log: "given by --advertised-addr", "the machine's host name"
}

// Addr returns host:port.
func (e Endpoint) Addr() string { return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))) }

// Machine answers what the choice of an advertised address asks of the machine.
type Machine struct {
	Hostname   func() (string, error)
	Resolves   func(ctx context.Context, host string) bool
	Interfaces func() ([]net.Addr, error)
}

// ThisMachine asks the operating system.
func ThisMachine() Machine {
	return Machine{
		Hostname: os.Hostname,
		Resolves: func(ctx context.Context, host string) bool {
			addrs, err := net.DefaultResolver.LookupHost(ctx, host)
			return err == nil && len(addrs) > 0
		},
		Interfaces: net.InterfaceAddrs,
	}
}

// Advertised returns the address clients are told, and other nodes with the port of Raft.
// kafkaPort is the port that was bound, which differs from KafkaPort where that is 0.
func (c *Config) Advertised(ctx context.Context, m Machine, kafkaPort int32) Endpoint {
	if c.AdvertisedAddr != "" {
		v, _ := c.Lookup("advertised.addr")
		host, port, _ := advertised(c.AdvertisedAddr)
		return Endpoint{host, cmp.Or(port, kafkaPort), "given by " + v.Origin.String()}
	}
	ip := net.ParseIP(c.BindAddr)
	switch {
	case c.BindAddr == "127.0.0.1" || c.BindAddr == "::1" || c.BindAddr == "localhost":
		return Endpoint{"localhost", kafkaPort, "the Kafka port is bound to loopback"}
	case !isWildcard(c.BindAddr) && (ip != nil || c.BindAddr != ""):
		return Endpoint{c.BindAddr, kafkaPort, "the address the Kafka port is bound to"}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if name, err := m.Hostname(); err == nil && name != "" && m.Resolves(ctx, name) {
		return Endpoint{name, kafkaPort, "the machine's host name"}
	}
	if addrs, err := m.Interfaces(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				return Endpoint{n.IP.String(), kafkaPort, "the machine's first address that is not loopback"}
			}
		}
	}
	return Endpoint{"localhost", kafkaPort, "the machine has no name that resolves and no address but loopback"}
}

// Override is the number of connections that one host may have.
type Override struct {
	Host        string // an address or a host name
	Connections int32
}

// ParseOverrides reads max.connections.per.ip.overrides: host:connections,... The host of an IPv6 address may stand in brackets.
func ParseOverrides(text string) ([]Override, error) {
	var list []Override
	for _, item := range splitList(text) {
		at := strings.LastIndexByte(item, ':')
		if at <= 0 {
			return nil, fmt.Errorf("%q is not host:connections", item)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(item[at+1:]), 10, 32)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q does not end with a number of connections", item)
		}
		host := strings.Trim(strings.TrimSpace(item[:at]), "[]")
		if host == "" {
			return nil, fmt.Errorf("%q names no host", item)
		}
		list = append(list, Override{Host: host, Connections: int32(n)})
	}
	return list, nil
}

func checkOverrides(text string) error {
	_, err := ParseOverrides(text)
	return err
}
