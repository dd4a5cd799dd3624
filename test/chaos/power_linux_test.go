//go:build power

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/test/history"
	"github.com/chronik-stream/chronik/test/proctest"
)

// rounds of each campaign; TEST_ROUNDS overrides.
func rounds(t *testing.T) int {
	n := 20
	if s := os.Getenv("TEST_ROUNDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestPowerKillAll kills all three nodes with SIGKILL in the middle of a load.
func TestPowerKillAll(t *testing.T) {
	cl := proctest.Run(t, proctest.Config{Nodes: 3})
	for round := range rounds(t) {
		cut(t, cl, fmt.Sprintf("kill-%d", round), func(*history.Workload) { cl.Kill() })
	}
}

// TestPowerLoss takes the power from a file system: ext4's shutdown ioctl drops
// everything that was not fsynced, journal included.
func TestPowerLoss(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED, NOT TESTED: a loop mount needs root")
	}
	dir := t.TempDir()
	d := &disk{image: filepath.Join(dir, "disk.img"), mount: filepath.Join(dir, "mount")}
	d.create(t)
	cl := proctest.Run(t, proctest.Config{Nodes: 3, Dir: d.mount})
	// The logs of the nodes must outlive the disk.
	cl.Kill()
	for _, n := range cl.Nodes {
		n.LogFile = filepath.Join(dir, filepath.Base(n.LogFile))
	}
	start(t, cl)
	for round := range rounds(t) {
		cut(t, cl, fmt.Sprintf("power-%d", round), func(w *history.Workload) {
			w.Cut()
			d.loseUnsynced(t)
			cl.Kill()
			d.remount(t)
		})
	}
}

func start(t *testing.T, cl *proctest.Cluster) {
	t.Helper()
	if err := cl.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), proctest.Patience)
	defer cancel()
	if err := cl.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// cut runs a load, breaks everything in its middle, starts again and checks.
func cut(t *testing.T, cl *proctest.Cluster, name string, breakAll func(*history.Workload)) {
	t.Helper()
	w := &history.Workload{Run: name, Clients: func(addrs []string, opts ...kgo.Opt) *kgo.Client {
		if addrs == nil {
			addrs = cl.Bootstrap()
		}
		k, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addrs...), kgo.ProducerLinger(0)}, opts...)...)
		if err != nil {
			panic(err) // the options are wrong
		}
		return k
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Load(ctx)
	}()
	time.Sleep(1500*time.Millisecond + rand.N(1500*time.Millisecond))
	breakAll(w)
	cancel()
	<-done
	start(t, cl)
	check, cancel := context.WithTimeout(context.Background(), 2*proctest.Patience)
	defer cancel()
	s, err := w.Check(check, cl.Bootstrap())
	t.Logf("round %s: %v", name, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range s.Wrong {
		t.Error(wrong)
	}
	if s.Acked == 0 || s.Commits == 0 {
		t.Error("nothing was acknowledged: this round shows nothing")
	}
	if t.Failed() {
		t.FailNow()
	}
}

// disk is an ext4 file system on a loop device.
type disk struct{ image, mount string }

func (d *disk) create(t *testing.T) {
	t.Helper()
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(4 << 30); err != nil {
		t.Fatal(err)
	}
	f.Close()
	sh(t, "mkfs.ext4", "-q", "-F", d.image)
	if err := os.MkdirAll(d.mount, 0o755); err != nil {
		t.Fatal(err)
	}
	sh(t, "mount", "-o", "loop", d.image, d.mount)
	t.Cleanup(func() {
		if out, err := exec.Command("umount", d.mount).CombinedOutput(); err != nil {
			t.Logf("umount: %v: %s", err, out)
			_ = exec.Command("umount", "-l", d.mount).Run()
		}
	})
}

// loseUnsynced is FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: from here on
// every call fails with EIO, and what was not fsynced is gone. A call of
// fdatasync that the ioctl overtakes may return success although its transaction
// was thrown away: it looks for the transaction only after the journal was
// aborted, and takes one that is neither running nor committing for committed.
// So what is told after the ioctl has begun must not be believed.
func (d *disk) loseUnsynced(t *testing.T) {
	t.Helper()
	f, err := os.Open(d.mount)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags := uint32(2)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), 0x8004587d, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Fatalf("FS_IOC_SHUTDOWN: %v", errno)
	}
}

func (d *disk) remount(t *testing.T) {
	t.Helper()
	sh(t, "umount", d.mount)
	sh(t, "mount", "-o", "loop", d.image, d.mount)
}

func sh(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
}
