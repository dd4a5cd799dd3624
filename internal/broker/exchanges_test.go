package broker

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// The files in testdata/exchanges are what clients of several families have sent in a small life: metadata, a few
// records in some codec, reading them back. Each line is a frame in hex on one of the client's connections: > from the client,
// < from the broker. TestExchanges sends the requests again and holds the responses against the file, byte for byte; -update
// writes those anew. A file is recorded by
//
//	CHRONIK_RECORD=name CHRONIK_RECORD_BY='a shell command that uses $BOOTSTRAP and the topic exchange' go test ./internal/broker -run TestRecordExchange
//	go test ./internal/broker -run TestExchanges -update

// exchangeTopic makes the topic of all exchanges, for which the clock of clients may be ahead of the test's, and
// gives fetch sessions the same numbers again.
func exchangeTopic(b *box) {
	id := int32(0)
	b.broker.sessions.newID = func() int32 { id++; return id }
	b.topic("exchange", 1, "message.timestamp.after.max.ms=9223372036854775807")
}

func TestExchanges(t *testing.T) {
	families := map[string]bool{}
	for file, text := range exchanges(t) {
		again, different := replayExchange(t, text)
		for _, d := range different {
			if !*update {
				t.Errorf("%s:%s", file, d)
			}
		}
		if *update {
			if err := os.WriteFile(file, []byte(again), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		families[strings.TrimSuffix(filepath.Base(file), ".txt")] = true
	}
	for _, family := range []string{"librdkafka", "java", "franz-go", "sarama"} {
		if !families[family] {
			t.Errorf("there is no exchange of %s", family)
		}
	}
}

// TestExchangesNoticeOneBit: each response is held against what was recorded, to its last bit.
func TestExchangesNoticeOneBit(t *testing.T) {
	for file, text := range exchanges(t) {
		lines := strings.Split(text, "\n")
		changed := 0
		for i, line := range lines {
			if strings.HasPrefix(line, "< ") {
				last := len(line) - 1
				digit, err := strconv.ParseUint(line[last:], 16, 4)
				if err != nil {
					t.Fatal(err)
				}
				lines[i] = line[:last] + strconv.FormatUint(digit^1, 16)
				changed++
			}
		}
		if _, different := replayExchange(t, strings.Join(lines, "\n")); changed == 0 || len(different) != changed {
			t.Errorf("%s: %d of %d responses are found to differ: %v", file, len(different), changed, different)
		}
	}
}

// exchanges returns the recorded files by name.
func exchanges(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/exchanges/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	return texts
}

// replayExchange sends the requests of a file again. It returns the file as it would be now, and where the responses differ.
func replayExchange(t *testing.T, text string) (again string, different []string) {
	t.Helper()
	var now strings.Builder
	inBox(t, func(t *testing.T, b *box) {
		exchangeTopic(b)
		conns := map[string]*rawConn{}
		owed := map[string][][]byte{} // requests of a connection that are not answered
		for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
			f := strings.Fields(line)
			if len(f) < 3 || f[0] != ">" && f[0] != "<" {
				now.WriteString(line + "\n")
				continue
			}
			c := conns[f[1]]
			if c == nil {
				c = b.dial()
				conns[f[1]] = c
			}
			want, err := hex.DecodeString(f[2])
			b.must(err)
			if f[0] == ">" {
				c.writeRaw(want)
				owed[f[1]] = append(owed[f[1]], want)
				b.settle() // or a fetch that waits may see one record or two
				now.WriteString(line + "\n")
				continue
			}
			got := sameKeys(c.readRaw(), want, owed[f[1]][0])
			owed[f[1]] = owed[f[1]][1:]
			fmt.Fprintf(&now, "< %s %x\n", f[1], got)
			if !bytes.Equal(got, want) {
				different = append(different, fmt.Sprintf("%d: the response is\n%x, recorded was\n%x", n+1, got, want))
			}
		}
	})
	return now.String(), different
}

// sameKeys returns a response without the rows for APIs that were not served when the other one was recorded, if it
// answers ApiVersions: these come with every new API, and what was recorded before must stay.
func sameKeys(got, recorded, request []byte) []byte {
	version := int16(binary.BigEndian.Uint16(request[2:]))
	if binary.BigEndian.Uint16(request) != apiVersionsKey || version > 5 {
		return got
	}
	now, then := kmsg.NewPtrApiVersionsResponse(), kmsg.NewPtrApiVersionsResponse()
	now.Version, then.Version = version, version
	if now.ReadFrom(got[4:]) != nil || then.ReadFrom(recorded[4:]) != nil {
		return got
	}
	now.ApiKeys = slices.DeleteFunc(now.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool {
		return !slices.ContainsFunc(then.ApiKeys, func(old kmsg.ApiVersionsResponseApiKey) bool { return old.ApiKey == k.ApiKey })
	})
	return now.AppendTo(slices.Clip(got[:4]))
}

// TestRecordExchange records a file while a command runs that uses a broker through a proxy.
func TestRecordExchange(t *testing.T) {
	name := os.Getenv("CHRONIK_RECORD")
	if name == "" {
		t.Skip("for recording a file of testdata/exchanges")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	n, _ := strconv.Atoi(port)
	b := overTCP(t, func(b *box) { b.ctl.at = &clusterv1.Listener{Name: "PLAINTEXT", Host: "127.0.0.1", Port: int32(n)} })
	exchangeTopic(b)
	r := &recorder{}
	var running sync.WaitGroup
	running.Go(func() { r.serve(ln, b.tcp.Addr().String()) })
	cmd := exec.Command("sh", "-ec", os.Getenv("CHRONIK_RECORD_BY"))
	cmd.Env = append(os.Environ(), "BOOTSTRAP="+ln.Addr().String())
	out, err := cmd.CombinedOutput()
	ln.Close()
	running.Wait()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
	b.must(os.WriteFile("testdata/exchanges/"+name+".txt", []byte("# "+name+": "+os.Getenv("CHRONIK_RECORD_BY")+"\n"+r.lines.String()), 0o644))
}

// recorder writes down the frames that pass a proxy.
type recorder struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (r *recorder) serve(ln net.Listener, to string) {
	var running sync.WaitGroup
	defer running.Wait()
	for n := 1; ; n++ {
		client, err := ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			client.Close()
			return
		}
		running.Go(func() { r.copy(">", n, server, client) })
		running.Go(func() { r.copy("<", n, client, server) })
	}
}

// copy passes frames on and writes them down first, so that a request stands before its response.
func (r *recorder) copy(direction string, n int, to, from net.Conn) {
	defer to.Close()
	for {
		size := make([]byte, 4)
		if _, err := io.ReadFull(from, size); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size))
		if _, err := io.ReadFull(from, frame); err != nil {
			return
		}
		r.mu.Lock()
		fmt.Fprintf(&r.lines, "%s %d %x\n", direction, n, frame)
		r.mu.Unlock()
		if _, err := to.Write(append(size, frame...)); err != nil {
			return
		}
	}
}
