//go:build !linux

package listener

import "net"

// newConn wraps an accepted connection.
func newConn(c net.Conn) Conn { return newNetConn(c) }
