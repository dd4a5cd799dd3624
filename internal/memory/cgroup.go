package memory

import (
	"math"
	"path"
	"strconv"
	"strings"
)

// Where Linux tells of control groups.
const (
	ownGroups = "/proc/self/cgroup"
	groups    = "/sys/fs/cgroup"
)

// Granted returns how many bytes of memory the control group of the process, or one that it lies in, may have: the
// limit of a container or a systemd unit. 0 if there is none. read reads a file.
func Granted(read func(name string) ([]byte, error)) int64 {
	own, err := read(ownGroups)
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	// The group's own path is that of the host, which a container does not see, so the root is looked at in any case.
	for line := range strings.Lines(string(own)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		kinds, p, ok := strings.Cut(rest, ":")
		root, file := groups, "memory.max" // version 2
		switch {
		case !ok:
			continue
		case kinds == "":
		case strings.Contains(","+kinds+",", ",memory,"):
			root, file = groups+"/memory", "memory.limit_in_bytes" // version 1
		default:
			continue
		}
		for p = path.Clean("/" + p); ; p = path.Dir(p) {
			if text, err := read(path.Join(root, p, file)); err == nil {
				least = min(least, parseLimit(string(text)))
			}
			if p == "/" {
				break
			}
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// unlimited is from where on a limit of version 1 means none: it writes the largest number of pages.
const unlimited = math.MaxInt64 / 2

func parseLimit(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n <= 0 || n >= unlimited { // "max" is no number
		return math.MaxInt64
	}
	return n
}
