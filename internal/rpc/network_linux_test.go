package rpc

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Both ends of a connection give up after the user timeout, the accepted one too.
func TestBothEndsHaveAUserTimeout(t *testing.T) {
	l, err := TCP{}.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := TCP{}.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	for end, c := range map[string]net.Conn{"dialled": dialled, "accepted": accepted} {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var got int
		if err := raw.Control(func(fd uintptr) {
			got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		}); err != nil {
			t.Fatal(err)
		}
		if err != nil || got != int(userTimeout.Milliseconds()) {
			t.Errorf("%s: %d ms, %v", end, got, err)
		}
	}
}
