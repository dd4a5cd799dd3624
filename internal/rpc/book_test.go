package rpc

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestAddressesInTheirOrder(t *testing.T) {
	b := NewBook(identity(1))
	check := func(what string, want ...string) {
		t.Helper()
		got, err := b.Addresses(2)
		if !slices.Equal(got, want) || (err == nil) != (len(want) > 0) {
			t.Errorf("%s: %v, %v, want %v", what, got, err, want)
		}
	}
	check("nothing known")
	b.SetPeers(map[int32]string{2: "flag:1"})
	check("from --peers", "flag:1")
	b.SetRegistered(map[int32]Entry{2: {dir(2), "registered:1"}})
	check("registered", "registered:1", "flag:1")
	b.Meet(2, Entry{dir(2), "met:1"})
	check("met", "met:1", "registered:1", "flag:1")
	b.SetRegistered(map[int32]Entry{2: {dir(2), "registered:1"}})
	check("the same registration again", "met:1", "registered:1", "flag:1")
	b.SetRegistered(map[int32]Entry{2: {dir(2), "registered:2"}})
	check("a newer registration", "registered:2", "flag:1")
	b.Meet(2, Entry{dir(9), "impostor:1"})
	check("met on another directory", "registered:2", "flag:1")
	if d, ok := b.Met(2); !ok || d != dir(9) {
		t.Errorf("met %x, %v", d, ok)
	}
	b.SetMembers(map[int32][16]byte{2: dir(9)})
	check("whose directory has become the right one", "impostor:1", "registered:2", "flag:1")
	if d, ok := b.Directory(2); !ok || d != dir(9) {
		t.Errorf("directory %x, %v", d, ok)
	}
	b.SetPeers(map[int32]string{2: "registered:2", 3: "x:1", 1: "self:1"})
	check("twice the same", "impostor:1", "registered:2")
	if got := b.Known(); !slices.Equal(got, []int32{2, 3}) {
		t.Errorf("known: %v", got)
	}
}

func TestUUID(t *testing.T) {
	id := [16]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 15: 0xff}
	s := FormatUUID(id)
	if s != "01234567-89ab-cdef-0000-0000000000ff" {
		t.Errorf("got %s", s)
	}
	if got, err := ParseUUID(s); err != nil || got != id {
		t.Errorf("parsed %x, %v", got, err)
	}
	for _, bad := range []string{"", s[1:], strings.ReplaceAll(s, "-", "_"), strings.ReplaceAll(s, "f", "g")} {
		if _, err := ParseUUID(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// A port that cannot be bound is one line that says what, why, and what to do.
func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	for _, c := range []struct {
		address, says string
		is            error
	}{
		{"127.0.0.1:" + port, "the Raft port 127.0.0.1:" + port + " is in use", syscall.EADDRINUSE},
		{"192.0.2.1:5001", "is not one of this machine's", syscall.EADDRNOTAVAIL},
		{"5001", "--raft-addr is host:port", nil},
		{"127.0.0.1:x", "", nil},
	} {
		_, err := Listen(t.Context(), ServerOptions{Address: c.address, Network: TCP{}, Book: NewBook(identity(1))})
		if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", c.address, err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line", c.address)
		}
	}
}

// The machine's network, and a port that is given back.
func TestTCP(t *testing.T) {
	s, err := Listen(t.Context(), ServerOptions{Address: "127.0.0.1:0", Network: TCP{}, Book: NewBook(identity(1))})
	if err != nil {
		t.Fatal(err)
	}
	c, err := TCP{}.DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	again, err := Listen(t.Context(), ServerOptions{Address: s.Addr().String(), Network: TCP{}, Book: NewBook(identity(1))})
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	again.Close()
}
