//go:build !linux

package cli

import "syscall"

// dieWithParent does nothing: only Linux can end a process with its parent.
func dieWithParent() *syscall.SysProcAttr { return nil }
