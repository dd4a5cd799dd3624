package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/raftstore"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

const second = 1_764_000_000_000 // 2025-11-24T16:00:00Z

// runHere runs a command line in the working directory.
func runHere(args ...string) (code int, stdout, stderr string) {
	var out, log bytes.Buffer
	p := &Program{Version: "test", In: strings.NewReader(""), Out: &out, Err: &log}
	code = p.Main(context.Background(), args)
	return code, out.String(), log.String()
}

// golden compares a run with what it should print.
func golden(t *testing.T, wantCode int, want string, args ...string) {
	t.Helper()
	code, out, log := runHere(args...)
	if code != wantCode {
		t.Errorf("%v: exit code %d, want %d: %s", args, code, wantCode, log)
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("%v: %s", args, diff)
	}
}

func write(t *testing.T, path string, parts ...[]byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Join(parts, nil), 0o644); err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, b *record.Builder) record.Batch {
	t.Helper()
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// batches returns two batches: offsets 0 and 1, and a compressed one of an idempotent producer with offset 2.
func batches(t *testing.T) (one, two record.Batch) {
	b := record.NewBuilder()
	b.LeaderEpoch = 3
	b.Add(second, []byte("k"), []byte("hello world"), record.Header{Key: "h", Value: []byte("v")})
	b.Add(second+1, nil, []byte{0xff})
	c := record.NewBuilder()
	c.BaseOffset, c.LeaderEpoch, c.Codec, c.ProducerID, c.ProducerEpoch, c.BaseSequence = 2, 3, record.Gzip, 1000, 0, 7
	c.Add(second+2, []byte{}, nil)
	return build(t, b), build(t, c)
}

func TestDumpBatches(t *testing.T) {
	t.Chdir(t.TempDir())
	one, two := batches(t)
	path := filepath.Join("orders-0", "00000000000000000000.log")
	write(t, path, one, two, make([]byte, 100))
	head := "segment file=" + path + " bytes=" + itoa(len(one)+len(two)+100) + "\n" +
		"  batch base=0 last=1 records=2 at=0 bytes=" + itoa(len(one)) + " epoch=3 codec=none crc=" + crc(one) +
		" timestamp=2025-11-24T16:00:00.001Z timestampType=CreateTime\n"
	second := "  batch base=2 last=2 records=1 at=" + itoa(len(one)) + " bytes=" + itoa(len(two)) + " epoch=3 codec=gzip crc=" + crc(two) +
		" timestamp=2025-11-24T16:00:00.002Z timestampType=CreateTime producerId=1000 producerEpoch=0 sequence=7\n"
	golden(t, 0, head+second, "dump-log", "orders-0")
	golden(t, 0, head+
		"    record offset=0 timestamp=2025-11-24T16:00:00.000Z key=k value=\"hello world\" headers=[\"h\":\"v\"]\n"+
		"    record offset=1 timestamp=2025-11-24T16:00:00.001Z key=null valueBase64=\"/w==\"\n"+
		second+
		"    record offset=2 timestamp=2025-11-24T16:00:00.002Z key=\"\" value=null\n", "dump-log", path, "--records")
	golden(t, 0, "0\n2\n", "dump-log", "orders-0", "--format", "name")
	golden(t, 0, "2\n", "dump-log", "orders-0", "--format", "name", "--from", "2")
	_, out, _ := runHere("dump-log", "orders-0", "--format", "json", "--records", "--from", "2")
	if want := `{"kind":"record","offset":2,"timestamp":"2025-11-24T16:00:00.002Z","key":"","value":null}`; !strings.Contains(out, want+"\n") {
		t.Errorf("JSON without %s: %s", want, out)
	}
}

func TestDumpDamage(t *testing.T) {
	t.Chdir(t.TempDir())
	one, two := batches(t)
	torn := filepath.Join("torn-0", "00000000000000000000.log")
	write(t, torn, one, two[:len(two)-1])
	flipped := filepath.Join("flipped-0", "00000000000000000000.log")
	bad := bytes.Clone(one)
	bad[len(bad)-1] ^= 1
	write(t, flipped, bad, two)
	for path, want := range map[string]string{
		torn:    "problem at=" + torn + ":" + itoa(len(one)) + ` error="the file ends within a batch, ` + itoa(len(two)-1) + ` bytes after its begin`,
		flipped: "problem at=" + flipped + ":0 error=",
	} {
		code, out, log := runHere("dump-log", path)
		if code != exitFailed || !strings.Contains(out, want) || !strings.Contains(log, "1 place cannot be read, as shown above") {
			t.Errorf("exit code %d, %s%s; want %s", code, out, log, want)
		}
	}
	// What follows a damaged batch is shown all the same.
	if _, out, _ := runHere("dump-log", flipped); !strings.Contains(out, "batch base=2") {
		t.Errorf("the batch behind the damage is missing: %s", out)
	}
	write(t, filepath.Join("new-0", "partition.metadata"))
	golden(t, 0, "empty dir=new-0\n", "dump-log", "new-0")
	write(t, filepath.Join("empty-0", "leader-epoch-checkpoint"))
	for path, want := range map[string]string{"nowhere": "cannot read nowhere", "empty-0": "there is no segment (*.log) in empty-0"} {
		if code, _, log := runHere("dump-log", path); code != exitFailed || !strings.Contains(log, want) {
			t.Errorf("%s: exit code %d, %s", path, code, log)
		}
	}
}

func TestDumpOffsets(t *testing.T) {
	t.Chdir(t.TempDir())
	key := kmsg.OffsetCommitKey{Version: 1, Group: "billing", Topic: "orders", Partition: 4}
	value := kmsg.NewOffsetCommitValue()
	value.Version, value.Offset, value.LeaderEpoch, value.Metadata, value.CommitTimestamp = 3, 42, 5, "by hand", second
	groupKey := kmsg.GroupMetadataKey{Version: 2, Group: "billing"}
	b := record.NewBuilder()
	b.Add(second, key.AppendTo(nil), value.AppendTo(nil))
	b.Add(second, key.AppendTo(nil), nil)
	b.Add(second, groupKey.AppendTo(nil), nil)
	b.Add(second, []byte{0}, nil)
	b.Add(second, []byte{0, 9, 1}, nil)
	path := filepath.Join("__consumer_offsets-7", "00000000000000000000.log")
	write(t, path, build(t, b))
	_, out, _ := runHere("dump-log", "__consumer_offsets-7")
	_, records, _ := strings.Cut(out, "timestampType=CreateTime\n")
	want := `    offset offset=0 timestamp=2025-11-24T16:00:00.000Z group=billing topic=orders partition=4 committed=42 leaderEpoch=5 metadata="by hand" committedAt=2025-11-24T16:00:00.000Z
    offset-deleted offset=1 timestamp=2025-11-24T16:00:00.000Z group=billing topic=orders partition=4
    group-deleted offset=2 timestamp=2025-11-24T16:00:00.000Z group=billing
    unreadable offset=3 timestamp=2025-11-24T16:00:00.000Z error="key of a record of __consumer_offsets: shorter than its version" key="\x00"
    other offset=4 timestamp=2025-11-24T16:00:00.000Z keyVersion=9 key="\x00\t\x01"
`
	if diff := cmp.Diff(want, records); diff != "" {
		t.Error(diff)
	}
}

func TestDumpMetadataLog(t *testing.T) {
	t.Chdir(t.TempDir())
	dir := filepath.Join("node-1", metadataDir)
	stores, err := raftstore.OpenBolt(raftstore.Options{FS: vfs.OS{}, Dir: dir, WriteDeadline: time.Minute, HardDeadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	id := bytes.Repeat([]byte{1}, 16)
	data, err := metadata.Encode(&metadatav1.Envelope{Term: 1, NowMs: second, Records: []*metadata.Record{
		{Kind: &metadatav1.Record_ClusterFormed{ClusterFormed: &metadatav1.ClusterFormed{
			ClusterId: "abc", Generation: 1, Founders: []*clusterv1.Founder{{NodeId: 1, DirectoryId: id}},
		}}},
		{Kind: &metadatav1.Record_ControllerActive{ControllerActive: &metadatav1.ControllerActive{Node: 1, Term: 1}}},
		{Kind: &metadatav1.Record_ProducerIds{ProducerIds: &metadatav1.ProducerIds{Next: 1000}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := stores.Log.StoreLogs([]*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogNoop},
		{Index: 2, Term: 1, Type: raft.LogCommand, Data: data},
	}); err != nil {
		t.Fatal(err)
	}
	if !testing.Short() { // bolt waits a second for its lock
		code, _, log := runHere("dump-log", "node-1", "--raft")
		if code != exitFailed || !strings.Contains(log, "stop the node whose data this is") {
			t.Errorf("while the node runs: exit code %d, %s", code, log)
		}
	}
	if err := stores.Close(); err != nil {
		t.Fatal(err)
	}
	want := "store dir=" + dir + ` term=0 voteTerm=0 candidate="" first=1 last=2
noop index=1 term=1 bytes=0
command index=2 term=1 bytes=` + itoa(len(data)) + ` decidedInTerm=1 now=2025-11-24T16:00:00.000Z records=3
  cluster-formed cluster=abc generation=1 founders=[1@AQEBAQEBAQEBAQEBAQEBAQ]
  controller-active node=1 term=1
  producer-ids next=1000
`
	golden(t, 0, want, "dump-log", "node-1", "--raft", "--records")
	golden(t, 0, "2\n", "dump-log", dir, "--raft", "--format", "name", "--from", "2")
	if code, _, log := runHere("dump-log", ".", "--raft"); code != exitFailed || !strings.Contains(log, "__raft_metadata-0") {
		t.Errorf("exit code %d, %s", code, log)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func crc(b record.Batch) string { return fmt.Sprintf("%08x", b.CRC()) }

// entry makes an entry of an index.
func entry(parts ...uint32) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, p)
	}
	return b
}

func TestDumpVerify(t *testing.T) {
	t.Chdir(t.TempDir())
	one, two := batches(t)
	path := filepath.Join("orders-0", "00000000000000000000.log")
	write(t, path, one, two)
	const ts1, ts2 = uint64(second + 1), uint64(second + 2)
	write(t, filepath.Join("orders-0", "00000000000000000000.index"), entry(2, uint32(len(one))))
	write(t, filepath.Join("orders-0", "00000000000000000000.timeindex"), entry(uint32(ts1>>32), uint32(ts1&0xffffffff), 1, uint32(ts2>>32), uint32(ts2&0xffffffff), 2))
	golden(t, 0, "verified file="+path+" state=ok bytes="+itoa(len(one)+len(two))+" batches=2 records=3 offsetEntries=1 timeEntries=2\n", "dump-log", "orders-0", "--verify")

	for name, c := range map[string]struct {
		file string
		data [][]byte
		want string
	}{
		"position":   {"00000000000000000000.index", [][]byte{entry(2, 7)}, "no batch begins at 7, where offset 2 should be"},
		"offset":     {"00000000000000000000.index", [][]byte{entry(1, uint32(len(one)))}, "begins with offset 2, behind 1"},
		"order":      {"00000000000000000000.index", [][]byte{entry(2, uint32(len(one)), 2, uint32(len(one)))}, "offset 2 at " + itoa(len(one)) + " follows offset 2"},
		"torn":       {"00000000000000000000.index", [][]byte{entry(2, uint32(len(one))), {1}}, "9 bytes are no whole number of entries of 8"},
		"time":       {"00000000000000000000.timeindex", [][]byte{entry(0, 5, 1)}, "is said to be the youngest up to offset 1, but there is one of 2025-11-24T16:00:00.001Z"},
		"time order": {"00000000000000000000.timeindex", [][]byte{entry(uint32(ts2>>32), uint32(ts2&0xffffffff), 2, 0, 5, 2)}, "follows 2025-11-24T16:00:00.002Z at offset 2"},
		"segments":   {"00000000000000000002.log", [][]byte{two}, "it is named after offset 2, but the segment before it ends with 2"},
		"flipped":    {"00000000000000000000.log", [][]byte{one[:len(one)-1], {one[len(one)-1] ^ 1}}, "problem at="},
		"backwards":  {"00000000000000000000.log", [][]byte{one, one}, "the batch begins with offset 0, but what stands before it ends with 1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "orders-0")
			write(t, filepath.Join(dir, "00000000000000000000.log"), one, two)
			write(t, filepath.Join(dir, c.file), c.data...)
			code, out, log := runHere("dump-log", dir, "--verify")
			if code != exitFailed || !strings.Contains(out, c.want) || !strings.Contains(out, "state=damaged") || !strings.Contains(log, "cannot be read, as shown above") {
				t.Errorf("exit code %d, %s%s; want %s", code, out, log, c.want)
			}
		})
	}
	if code, _, log := runHere("dump-log", "orders-0", "--verify", "--records"); code != exitUsage {
		t.Errorf("exit code %d: %s", code, log)
	}
}
