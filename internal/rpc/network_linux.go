package rpc

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	errAddressInUse        = syscall.EADDRINUSE
	errAddressNotAvailable = syscall.EADDRNOTAVAIL
	errAccess              = syscall.EACCES
)

// control sets TCP_USER_TIMEOUT. A system that refuses it still serves.
func control(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
}
