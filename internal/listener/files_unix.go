//go:build unix

package listener

import (
	"math"

	"golang.org/x/sys/unix"
)

// maxFiles is how many descriptors the process may have, 0 if that is not known or not bounded.
func maxFiles() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil || uint64(r.Cur) > math.MaxInt32 {
		return 0
	}
	return int(r.Cur)
}
