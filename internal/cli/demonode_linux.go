package cli

import "syscall"

// dieWithParent lets a node of the demo end when the demo itself is killed, with no chance to clean up.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
