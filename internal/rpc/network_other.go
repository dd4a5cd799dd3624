//go:build !linux && !windows

package rpc

import "syscall"

const (
	errAddressInUse        = syscall.EADDRINUSE
	errAddressNotAvailable = syscall.EADDRNOTAVAIL
	errAccess              = syscall.EACCES
)

// control has nothing to set: TCP_USER_TIMEOUT is Linux's.
func control(_, _ string, _ syscall.RawConn) error { return nil }
