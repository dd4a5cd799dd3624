package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Network is where connections come from: the machine's (TCP), or a virtual one in tests.
type Network interface {
	// Listen binds an address, as net.ListenConfig does.
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	// DialContext connects, resolving the name anew, as net.Dialer does.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// userTimeout is after how long without an acknowledgement the system gives a
// connection up (TCP_USER_TIMEOUT), where it can be told to. Without it a dead
// path is noticed after about 15 minutes, and calls queue on the stale
// connection even when the path is healed.
const userTimeout = time.Second

// TCP is the machine's network.
type TCP struct{}

// Listen implements Network.
func (TCP) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return listener{l}, nil
}

// listener sets the options of what it accepts.
type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			_ = control("", "", raw) // the connection serves without it
		}
	}
	return c, nil
}

// DialContext implements Network.
func (TCP) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: control}
	return d.DialContext(ctx, network, address)
}

// listenError says of a failed Listen what, why, and what to do.
func listenError(address string, err error) error {
	var resolve *net.DNSError
	var parse *net.AddrError
	switch {
	case errors.Is(err, errAddressInUse):
		return fmt.Errorf("the Raft port %s is in use: another process listens there, perhaps another chronik-server; stop it, or give --raft-addr another port: %w", address, err)
	case errors.Is(err, errAddressNotAvailable):
		return fmt.Errorf("the Raft address %s is not one of this machine's: give --raft-addr an address that an interface has, or 0.0.0.0 for all: %w", address, err)
	case errors.Is(err, errAccess):
		return fmt.Errorf("this user may not bind the Raft port %s: give --raft-addr a port above 1023: %w", address, err)
	case errors.As(err, &resolve), errors.As(err, &parse):
		return fmt.Errorf("the Raft address %s cannot be understood: --raft-addr is host:port, such as 0.0.0.0:5001: %w", address, err)
	}
	return fmt.Errorf("cannot listen on the Raft address %s: %w", address, err)
}
