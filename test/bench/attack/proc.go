package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// resident is the resident memory of a process in bytes, without the pages of files that it maps.
func resident(pid int) (int64, error) {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(p), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}

// settled waits until the resident memory of a process has stopped to fall or rise by more than 1 % a second, at
// most half a minute, and returns it.
func settled(ctx context.Context, pid int) (int64, error) {
	last, err := resident(pid)
	for range 30 {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Second):
		}
		now, err := resident(pid)
		if err != nil {
			return 0, err
		}
		if d := now - last; d < now/100 && -d < now/100 {
			return now, nil
		}
		last = now
	}
	return last, err
}
