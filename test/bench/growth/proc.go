package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// processor is the CPU time that a process has used. USER_HZ, the unit of /proc/PID/stat, is 100 wherever Go runs on Linux.
func processor(pid int) (time.Duration, error) {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command's name may hold spaces and brackets: fields start after the last of those.
	f := bytes.Fields(p[bytes.LastIndexByte(p, ')')+1:])
	if len(f) < 13 {
		return 0, fmt.Errorf("process %d has no times", pid)
	}
	user, err := strconv.Atoi(string(f[11]))
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(string(f[12]))
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// openFiles is how many descriptors a process has.
func openFiles(pid int) (int, error) {
	d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(d), err
}
