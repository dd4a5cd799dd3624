package rpc

import "syscall"

// Winsock's own numbers; package syscall has invented ones under the POSIX names.
const (
	errAddressInUse        = syscall.Errno(10048)
	errAddressNotAvailable = syscall.Errno(10049)
	errAccess              = syscall.Errno(10013)
)

// control has nothing to set: TCP_USER_TIMEOUT is Linux's.
func control(_, _ string, _ syscall.RawConn) error { return nil }
