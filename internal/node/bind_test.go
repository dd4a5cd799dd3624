package node

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestBindErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{os.NewSyscallError("bind", syscall.EADDRINUSE), "stop what uses it, or give another --port"},
		{os.NewSyscallError("bind", syscall.EADDRNOTAVAIL), "give --host one that has"},
		{os.NewSyscallError("bind", syscall.EACCES), "above 1023"},
		{&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, "give --host an address of this machine"},
	} {
		err := bindError("Kafka", "x:9092", "--host", "--port", &net.OpError{Op: "listen", Net: "tcp", Err: c.err})
		if text := err.Error(); !strings.Contains(text, c.want) || strings.Count(text, "x:9092") != 1 {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}
