package integration

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// inNamespace runs the test body in a network namespace of its own, where every
// port is free, by running this test alone in a child process. Without root it
// takes a user namespace; where the system allows neither, the test is skipped.
func inNamespace(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	const mark = "TEST_IN_NAMESPACE"
	if os.Getenv(mark) == t.Name() {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("ip link set lo up: %v: %s", err, out)
		}
		body(t)
		return
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("SKIPPED, NOT TESTED: iproute2 is not installed")
	}
	attempts := []*syscall.SysProcAttr{
		{Cloneflags: syscall.CLONE_NEWNET},
		{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		},
	}
	for _, attr := range attempts {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
		cmd.Env = append(os.Environ(), mark+"="+t.Name())
		cmd.SysProcAttr = attr
		attr.Pdeathsig = syscall.SIGKILL
		out := &logWriter{t: t}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Logf("namespace: %v", err)
			continue
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("in its network namespace: %v", err)
		}
		return
	}
	t.Skip("SKIPPED, NOT TESTED: this system gives no network namespace to this user")
}
