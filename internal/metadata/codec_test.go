package metadata_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// sample is an image in which every field of every kind is set.
func sample(tb testing.TB) (*metadata.Image, []*metadatav1.Record) {
	tb.Helper()
	d1, d2, inc, t1, t2 := metadata.ID{1, 1}, metadata.ID{1, 2}, metadata.ID{2}, metadata.ID{3}, metadata.ID{4}
	answer := &clusterv1.Answer{Code: 1, Message: "m", More: true, Kind: &clusterv1.Answer_CreateTopics{CreateTopics: &clusterv1.CreateTopicsAnswer{
		Topics: []*clusterv1.CreateTopicsAnswer_Topic{{Name: "a", TopicId: t1[:], Code: 36, Message: "x", NumPartitions: 2, ReplicationFactor: 1}},
	}}}
	recs := []*metadatav1.Record{
		{Kind: &metadatav1.Record_ClusterFormed{ClusterFormed: &metadatav1.ClusterFormed{
			ClusterId: "cluster", Generation: 2, Founders: []*clusterv1.Founder{{NodeId: 1, DirectoryId: d1[:]}, {NodeId: 2, DirectoryId: d2[:]}},
		}}},
		{Kind: &metadatav1.Record_ControllerActive{ControllerActive: &metadatav1.ControllerActive{Node: 1, Term: 9}}},
		metadata.BrokerRecord(&metadata.Broker{
			ID: 1, Incarnation: inc, Directories: []metadata.ID{d1, d2}, BootID: "boot", RaftAddr: "h:5001", Rack: "r",
			Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "h", Port: 9092, SecurityProtocol: 1}},
			Features:  []metadata.FeatureRange{{Name: "f", Min: 1, Max: 2}}, InControlledShutdown: true,
		}),
		metadata.BrokerRecord(&metadata.Broker{
			ID: 2, Incarnation: inc, Directories: []metadata.ID{d2}, Fenced: true, Listeners: []metadata.Listener{{Host: "h2", Port: 9093}},
		}),
		metadata.TopicRecord(t1, "a.topic"),
		metadata.TopicRecord(t2, "b"),
		metadata.ConfigRecord("a.topic", map[string]string{"retention.ms": "1", "segment.bytes": "2"}),
		metadata.PartitionRecord(t1, &metadata.Partition{
			Index: 0, Leader: metadata.NoLeader, LeaderEpoch: 4, PartitionEpoch: 5, Replicas: []int32{1, 2}, Directories: []metadata.ID{d1, {}},
			LastKnownELR: []int32{1}, Recovering: true,
		}),
		metadata.PartitionRecord(t1, &metadata.Partition{
			Index: 1, Leader: metadata.NoLeader, LeaderEpoch: 1, PartitionEpoch: 2, Replicas: []int32{2}, Directories: make([]metadata.ID, 1), ISR: []int32{2},
		}),
		config(metadatav1.ConfigType_CONFIG_TYPE_BROKER, "", "log.retention.ms", "5"),
		config(metadatav1.ConfigType_CONFIG_TYPE_BROKER, "1", "log.retention.ms", "6", "message.max.bytes", "7"),
		config(metadatav1.ConfigType_CONFIG_TYPE_GROUP, "g", "consumer.session.timeout.ms", "8"),
		{Kind: &metadatav1.Record_ProducerIds{ProducerIds: &metadatav1.ProducerIds{Next: 5000}}},
		{Kind: &metadatav1.Record_CommandResult{CommandResult: &metadatav1.CommandResult{
			RequestId: &clusterv1.RequestId{Node: 1, Incarnation: inc[:], Sequence: 300}, Answer: answer,
		}}},
	}
	img, _ := metadata.Empty().ApplyEntry(77, &metadatav1.Envelope{NowMs: 123456, Records: recs})
	return img, recs
}

// config is the record that sets what the pairs say.
func config(kind metadatav1.ConfigType, name string, pairs ...string) *metadatav1.Record {
	c := &metadatav1.Config{Type: kind, Name: name}
	for i := 0; i < len(pairs); i += 2 {
		c.Entries = append(c.Entries, &metadatav1.Config_Entry{Name: pairs[i], Value: &pairs[i+1]})
	}
	return &metadatav1.Record{Kind: &metadatav1.Record_Config{Config: c}}
}

func TestSnapshotKeepsEverything(t *testing.T) {
	img, _ := sample(t)
	restored, err := metadata.ReadSnapshot(bytes.NewReader(snapshotOf(t, img)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sample", img, restored)
	if restored.Broker(1).Epoch != 77 || restored.Index() != 77 || restored.NowMillis() != 123456 {
		t.Fatalf("broker epoch %d, index %d, now %d", restored.Broker(1).Epoch, restored.Index(), restored.NowMillis())
	}
	if r, _ := restored.Result(1, metadata.ID{2}, 300); r == nil || r.Index != 77 || r.Answer.GetCreateTopics().GetTopics()[0].GetMessage() != "x" {
		t.Fatalf("kept answer %+v", r)
	}
	empty, err := metadata.ReadSnapshot(bytes.NewReader(snapshotOf(t, metadata.Empty())))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "empty", metadata.Empty(), empty)
}

// The sample sets every exported field of the state, so that a field which is added
// to a type and not to the codec, the digest or the sample is noticed.
func TestSampleIsComplete(t *testing.T) {
	img, _ := sample(t)
	values := map[string]bool{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			walk(path, v.Elem())
		case reflect.Slice:
			values[path] = values[path] || v.Len() > 0
			for i := range v.Len() {
				walk(path, v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					walk(path+"."+f.Name, v.Field(i))
				}
			}
		default:
			values[path] = values[path] || !v.IsZero()
		}
	}
	for _, b := range img.Brokers() {
		walk("Broker", reflect.ValueOf(b))
	}
	for topic := range img.Topics() {
		walk("Topic", reflect.ValueOf(topic))
	}
	for _, f := range img.Founders() {
		walk("Founder", reflect.ValueOf(f))
	}
	for _, r := range img.Resources() {
		walk("Resource", reflect.ValueOf(r))
	}
	if len(values) < 30 {
		t.Fatalf("only %d fields seen", len(values))
	}
	for path, set := range values {
		if !set {
			t.Errorf("%s is never set: set it in sample, and see that snapshot and digest have it", path)
		}
	}
}

// Each field of each record makes another digest.
func TestEveryFieldCounts(t *testing.T) {
	img, recs := sample(t)
	for n, r := range recs {
		for _, change := range fieldChanges(r.ProtoReflect().Interface().(*metadatav1.Record)) {
			changed := append([]*metadatav1.Record(nil), recs...)
			changed[n] = change.record
			if metadata.CheckRecords(changed) != nil {
				continue
			}
			got, _ := apply77(changed)
			if got != nil && got.Digest() == img.Digest() {
				t.Errorf("record %d, %s: the digest does not see the change", n, change.what)
			}
		}
	}
	later, _ := metadata.Empty().ApplyEntry(77, &metadatav1.Envelope{NowMs: 123457, Records: recs})
	other, _ := metadata.Empty().ApplyEntry(78, &metadatav1.Envelope{NowMs: 123456, Records: recs})
	if later.Digest() == img.Digest() || other.Digest() == img.Digest() {
		t.Error("the digest does not see the clock or the index")
	}
}

// apply77 is nil where the change makes a state that invariants refuse.
func apply77(recs []*metadatav1.Record) (img *metadata.Image, err error) {
	defer func() {
		if p := recover(); p != nil {
			img, err = nil, fmt.Errorf("%v", p)
		}
	}()
	img, _ = metadata.Empty().ApplyEntry(77, &metadatav1.Envelope{NowMs: 123456, Records: recs})
	return img, nil
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	img, _ := sample(t)
	good := snapshotOf(t, img)
	for n := range good {
		if _, err := metadata.ReadSnapshot(bytes.NewReader(good[:n])); !errors.Is(err, metadata.ErrCorrupt) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(good), err)
		}
		for _, bit := range []byte{1, 0x80} {
			bad := bytes.Clone(good)
			bad[n] ^= bit
			if _, err := metadata.ReadSnapshot(bytes.NewReader(bad)); !errors.Is(err, metadata.ErrCorrupt) {
				t.Fatalf("byte %d of %d flipped: %v", n, len(good), err)
			}
		}
	}
	if _, err := metadata.ReadSnapshot(bytes.NewReader(append(bytes.Clone(good), 0))); !errors.Is(err, metadata.ErrCorrupt) {
		t.Fatalf("a byte too many: %v", err)
	}
	newer := bytes.Clone(good)
	binary.BigEndian.PutUint32(newer[8:], 2)
	binary.BigEndian.PutUint32(newer[28:], crc32.Checksum(newer[:28], crc32.MakeTable(crc32.Castagnoli)))
	if _, err := metadata.ReadSnapshot(bytes.NewReader(newer)); !errors.Is(err, metadata.ErrUnknown) || !strings.Contains(err.Error(), "upgrade") {
		t.Fatalf("a newer format: %v", err)
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func (f *failing) Read(p []byte) (int, error) { return 0, errors.New("disk gone") }

func TestSnapshotErrorsAreReported(t *testing.T) {
	img, _ := sample(t)
	for after := 0; after < len(snapshotOf(t, img)); after += 97 {
		if err := metadata.WriteSnapshot(&failing{after}, img); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Fatalf("after %d bytes: %v", after, err)
		}
	}
	if _, err := metadata.ReadSnapshot(&failing{}); err == nil || errors.Is(err, metadata.ErrCorrupt) {
		t.Fatalf("an error of the disk is not damage: %v", err)
	}
	stop := errors.New("enough")
	if _, err := metadata.WalkSnapshot(bytes.NewReader(snapshotOf(t, img)), func(*metadatav1.Record) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("the visitor's error: %v", err)
	}
}

// A big image takes several frames.
func TestSnapshotFrames(t *testing.T) {
	recs := []*metadatav1.Record{metadata.TopicRecord(metadata.ID{1}, "big")}
	const partitions = 5000
	for n := range partitions {
		recs = append(recs, metadata.PartitionRecord(metadata.ID{1}, &metadata.Partition{
			Index: int32(n), Leader: metadata.NoLeader, Replicas: []int32{int32(n % 7)}, Directories: make([]metadata.ID, 1), ISR: []int32{int32(n % 7)},
		}))
	}
	img, _ := metadata.Empty().Apply(5, recs)
	data := snapshotOf(t, img)
	restored, err := metadata.ReadSnapshot(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if restored.Digest() != img.Digest() || restored.PartitionCount() != partitions {
		t.Fatalf("%d partitions, digest %x instead of %x", restored.PartitionCount(), restored.Digest(), img.Digest())
	}
	info, err := metadata.WalkSnapshot(bytes.NewReader(data), func(*metadatav1.Record) error { return nil })
	if err != nil || info.Records != partitions+1 || info.Index != 5 || info.Digest != img.Digest() {
		t.Fatalf("%+v, %v", info, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	_, recs := sample(t)
	good, err := metadata.Encode(&metadatav1.Envelope{Term: 3, NowMs: 4, Records: recs})
	if err != nil {
		t.Fatal(err)
	}
	again, _ := metadata.Encode(&metadatav1.Envelope{Term: 3, NowMs: 4, Records: recs})
	if !bytes.Equal(good, again) {
		t.Fatal("equal envelopes give different bytes")
	}
	if e, err := metadata.Decode(good); err != nil || e.GetTerm() != 3 || e.GetFormat() != metadata.Format || len(e.GetRecords()) != len(recs) {
		t.Fatalf("%v %v", e, err)
	}
	field2 := func(n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
	}
	field := func(n protowire.Number) []byte { return field2(n, 1) }
	nested := func(n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	topic := metadata.TopicRecord(metadata.ID{1}, "a")
	topicBytes, _ := proto.Marshal(topic)
	format := []byte{8, metadata.Format}
	for _, c := range []struct {
		what string
		data []byte
		is   error
		says string
	}{
		{"nothing", nil, metadata.ErrCorrupt, "no format"},
		{"no protobuf", []byte{0xff}, metadata.ErrCorrupt, "no envelope"},
		{"a newer format", []byte{8, 2}, metadata.ErrUnknown, "format 2"},
		{"a field of the envelope", append(bytes.Clone(good), field(99)...), metadata.ErrUnknown, "field 99 of envelope"},
		{"a kind of record", append(bytes.Clone(format), nested(4, nested(57, nil))...), metadata.ErrUnknown, "record kind 57"},
		{"no kind of record", append(bytes.Clone(format), nested(4, nil)...), metadata.ErrCorrupt, "no kind"},
		{"a field beside a known kind", append(bytes.Clone(format), nested(4, append(bytes.Clone(topicBytes), field(57)...))...), metadata.ErrUnknown, "field 57 of Record"},
		{"a field of a partition", append(bytes.Clone(format), nested(4, nested(22, field(57)))...), metadata.ErrUnknown, "field 57 of Partition"},
		{"a field of a change", append(bytes.Clone(format), nested(4, nested(23, field(57)))...), metadata.ErrUnknown, "field 57 of PartitionChange"},
		{"a field of a list in a change", append(bytes.Clone(format), nested(4, nested(23, nested(8, field(57))))...), metadata.ErrUnknown, "field 57 of Nodes"},
		{"a state of a partition", append(bytes.Clone(format), nested(4, nested(22, field2(10, 7)))...), metadata.ErrUnknown, "value 7"},
		{"a state in a change", append(bytes.Clone(format), nested(4, nested(23, field2(10, 7)))...), metadata.ErrUnknown, "value 7"},
		{"a field beside a change", append(bytes.Clone(format), nested(4, append(nested(23, nil), field(57)...))...), metadata.ErrUnknown, "field 57 of Record"},
		{"a field of a known kind", append(bytes.Clone(format), nested(4, nested(20, field(57)))...), metadata.ErrUnknown, "field 57 of Topic"},
		{"a field deep in a known kind", append(bytes.Clone(format), nested(4, nested(41, nested(2, nested(10, nested(1, field(57))))))...), metadata.ErrUnknown, "field 57 of Topic"},
		{"a value of an enum", append(bytes.Clone(format), nested(4, nested(30, protowire.AppendVarint([]byte{8}, 5)))...), metadata.ErrUnknown, "value 5"},
		{"a short id", append(bytes.Clone(format), nested(4, nested(21, nested(1, []byte{1})))...), metadata.ErrCorrupt, "1 bytes instead of 16"},
	} {
		_, err := metadata.Decode(c.data)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	value := "\xff"
	id := make([]byte, 16)
	listener := []*clusterv1.Listener{{Host: "h", Port: 1}}
	for what, r := range map[string]*metadatav1.Record{
		"no kind":         {},
		"name":            metadata.TopicRecord(metadata.ID{}, "\xff"),
		"empty name":      metadata.TopicRecord(metadata.ID{}, ""),
		"config":          {Kind: &metadatav1.Record_Config{Config: &metadatav1.Config{Type: 2, Name: "a", Entries: []*metadatav1.Config_Entry{{Name: "a", Value: &value}}}}},
		"config of what":  {Kind: &metadatav1.Record_Config{Config: &metadatav1.Config{Name: "a"}}},
		"no listener":     {Kind: &metadatav1.Record_Broker{Broker: &metadatav1.Broker{Incarnation: id}}},
		"no incarnation":  {Kind: &metadatav1.Record_Broker{Broker: &metadatav1.Broker{Listeners: listener}}},
		"epoch":           {Kind: &metadatav1.Record_Broker{Broker: &metadatav1.Broker{Listeners: listener, Incarnation: id, Epoch: -1}}},
		"rack":            {Kind: &metadatav1.Record_Broker{Broker: &metadatav1.Broker{Listeners: listener, Incarnation: id, Rack: "\xff"}}},
		"feature":         {Kind: &metadatav1.Record_Broker{Broker: &metadatav1.Broker{Listeners: listener, Incarnation: id, Features: []*clusterv1.FeatureRange{{Name: "\xff"}}}}},
		"directory":       {Kind: &metadatav1.Record_Broker{Broker: &metadatav1.Broker{Listeners: listener, Incarnation: id, Directories: [][]byte{{1}}}}},
		"host":            {Kind: &metadatav1.Record_Broker{Broker: &metadatav1.Broker{Listeners: []*clusterv1.Listener{{Host: "\xff"}}, Incarnation: id}}},
		"protocol":        {Kind: &metadatav1.Record_Broker{Broker: &metadatav1.Broker{Listeners: []*clusterv1.Listener{{SecurityProtocol: 1 << 20}}, Incarnation: id}}},
		"index":           {Kind: &metadatav1.Record_Partition{Partition: &metadatav1.Partition{TopicId: id, Index: -1}}},
		"directories":     {Kind: &metadatav1.Record_Partition{Partition: &metadatav1.Partition{TopicId: id, Directories: [][]byte{id}}}},
		"change":          {Kind: &metadatav1.Record_PartitionChange{PartitionChange: &metadatav1.PartitionChange{TopicId: id, Directories: &metadatav1.PartitionChange_Directories{Ids: [][]byte{{1}}}}}},
		"producer id":     {Kind: &metadatav1.Record_ProducerIds{ProducerIds: &metadatav1.ProducerIds{Next: -1}}},
		"no answer":       {Kind: &metadatav1.Record_CommandResult{CommandResult: &metadatav1.CommandResult{}}},
		"whose answer":    {Kind: &metadatav1.Record_CommandResult{CommandResult: &metadatav1.CommandResult{Answer: &clusterv1.Answer{}}}},
		"answer's text":   {Kind: &metadatav1.Record_CommandResult{CommandResult: &metadatav1.CommandResult{Answer: &clusterv1.Answer{Message: "\xff"}, RequestId: &clusterv1.RequestId{Incarnation: id}}}},
		"founder":         {Kind: &metadatav1.Record_ClusterFormed{ClusterFormed: &metadatav1.ClusterFormed{ClusterId: "c", Founders: []*clusterv1.Founder{{}}}}},
		"no cluster id":   {Kind: &metadatav1.Record_ClusterFormed{ClusterFormed: &metadatav1.ClusterFormed{}}},
		"topic to remove": {Kind: &metadatav1.Record_TopicRemoved{TopicRemoved: &metadatav1.TopicRemoved{}}},
	} {
		if data, err := metadata.Encode(&metadatav1.Envelope{Records: []*metadatav1.Record{r}}); err == nil {
			t.Errorf("%s: encoded to %d bytes", what, len(data))
		}
	}
}

func TestSizes(t *testing.T) {
	_, recs := sample(t)
	data, err := metadata.Encode(&metadatav1.Envelope{Term: 1, Records: recs})
	if err != nil {
		t.Fatal(err)
	}
	if n := metadata.RecordsSize(recs); n != len(data)-4 { // format and term
		t.Fatalf("records of %d bytes in an entry of %d", n, len(data))
	}
}

// The golden files are what a release wrote: every later one reads them. Those of number 1 are of the first, which
// knew no settings but those of topics.
func TestGolden(t *testing.T) {
	img, recs := sample(t)
	testGolden(t, "2", img, recs)
	recs = slices.DeleteFunc(recs, func(r *metadatav1.Record) bool {
		return r.GetConfig() != nil && r.GetConfig().GetType() != metadatav1.ConfigType_CONFIG_TYPE_TOPIC
	})
	img, _ = metadata.Empty().ApplyEntry(77, &metadatav1.Envelope{NowMs: 123456, Records: recs})
	testGolden(t, "1", img, recs)
}

func testGolden(t *testing.T, n string, img *metadata.Image, recs []*metadatav1.Record) {
	t.Helper()
	entryFile, snapshotFile := "testdata/entry-"+n+".bin", "testdata/snapshot-"+n+".bin"
	data, err := metadata.Encode(&metadatav1.Envelope{Term: 9, NowMs: 123456, Records: recs})
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("CHRONIK_GOLDEN") != "" {
		for name, b := range map[string][]byte{entryFile: data, snapshotFile: snapshotOf(t, img)} {
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	golden, err := os.ReadFile(entryFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, data) {
		t.Error("the bytes of an entry have changed: that needs a new format")
	}
	e, err := metadata.Decode(golden)
	if err != nil {
		t.Fatal(err)
	}
	applied, _ := metadata.Empty().ApplyEntry(77, e)
	same(t, "golden entry", img, applied)
	if golden, err = os.ReadFile(snapshotFile); err != nil {
		t.Fatal(err)
	}
	restored, err := metadata.ReadSnapshot(bytes.NewReader(golden))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "golden snapshot", img, restored)
}

// The bytes that docs/formats/metadata-log.md explains are those that are written.
func TestDocumentedBytes(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats/metadata-log.md")
	if err != nil {
		t.Fatal(err)
	}
	leader, epoch, version := metadata.NoLeader, int32(7), int32(12)
	id := metadata.ID{0xa1, 0xa2, 15: 0xb0}
	entry, err := metadata.Encode(&metadatav1.Envelope{Term: 5, NowMs: 1700000000000, Records: []*metadatav1.Record{
		{Kind: &metadatav1.Record_PartitionChange{PartitionChange: &metadatav1.PartitionChange{
			TopicId: id[:], Index: 3, Leader: &leader, LeaderEpoch: &epoch, PartitionEpoch: &version,
		}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	img, _ := metadata.Empty().ApplyEntry(9, &metadatav1.Envelope{NowMs: 1700000000000, Records: []*metadatav1.Record{
		{Kind: &metadatav1.Record_ProducerIds{ProducerIds: &metadatav1.ProducerIds{Next: 1000}}},
	}})
	snapshot := snapshotOf(t, img)
	end := len(snapshot) - 28
	for what, b := range map[string][]byte{
		"entry: format": entry[:2], "entry: term": entry[2:4], "entry: now": entry[4:11], "entry: record": entry[11:13], "entry: kind": entry[13:16],
		"entry: topic": entry[16:20], "entry: index": entry[34:36], "entry: leader": entry[36:38], "entry: epoch": entry[38:40], "entry: version": entry[40:],
		"magic": snapshot[:12], "index": snapshot[12:20], "now": snapshot[20:28], "header's CRC": snapshot[28:32], "frame": snapshot[32:44], "frame's CRC": snapshot[44:48],
		"payload": snapshot[48:52], "payload's end": snapshot[end-7 : end], "zeros": snapshot[end : end+8], "records": snapshot[end+8 : end+16],
		"digest": snapshot[end+16 : end+24], "end's CRC": snapshot[end+24:],
	} {
		if !strings.Contains(string(doc), fmt.Sprintf("% x", b)) {
			t.Errorf("%s: the page lacks % x", what, b)
		}
	}
}

func FuzzDecode(f *testing.F) {
	_, recs := sample(f)
	data, _ := metadata.Encode(&metadatav1.Envelope{Term: 1, Records: recs})
	f.Add(data)
	for _, r := range recs {
		data, _ := metadata.Encode(&metadatav1.Envelope{Records: []*metadatav1.Record{r}})
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := metadata.Decode(data)
		if err != nil {
			if !errors.Is(err, metadata.ErrCorrupt) && !errors.Is(err, metadata.ErrUnknown) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		again, err := metadata.Encode(e)
		if err != nil {
			t.Fatalf("decoded and not encoded: %v", err)
		}
		twice, err := metadata.Decode(again)
		if err != nil || !proto.Equal(e, twice) {
			t.Fatalf("not what was read before: %v", err)
		}
		// Whatever passes the checks is applied without a crash, and to the same
		// state twice; only states that no controller makes trip an invariant.
		a, err := apply77(e.GetRecords())
		if err != nil {
			if !strings.Contains(err.Error(), "invariant") {
				t.Fatal(err)
			}
			return
		}
		b, _ := apply77(twice.GetRecords())
		if a.Digest() != b.Digest() {
			t.Fatal("two replays differ")
		}
	})
}

func FuzzReadSnapshot(f *testing.F) {
	img, recs := sample(f)
	f.Add(snapshotOf(f, img))
	f.Add(snapshotOf(f, metadata.Empty()))
	few, _ := metadata.Empty().Apply(3, recs[:5])
	f.Add(snapshotOf(f, few))
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := metadata.ReadSnapshot(bytes.NewReader(resum(data)))
		if err != nil {
			if !errors.Is(err, metadata.ErrCorrupt) && !errors.Is(err, metadata.ErrUnknown) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		again, err := metadata.ReadSnapshot(bytes.NewReader(snapshotOf(t, img)))
		if err != nil || again.Digest() != img.Digest() {
			t.Fatalf("read once, not twice: %v", err)
		}
	})
}

// resum sets the CRCs right, so that fuzzing gets behind them.
func resum(data []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	out := bytes.Clone(data)
	if len(out) < 32 {
		return out
	}
	binary.BigEndian.PutUint32(out[28:], crc32.Checksum(out[:28], table))
	for at := 32; at+16 <= len(out); {
		size := int(binary.BigEndian.Uint32(out[at:]))
		if size == 0 || at+16+size > len(out) {
			if at+28 <= len(out) {
				binary.BigEndian.PutUint32(out[at+24:], crc32.Checksum(out[at:at+24], table))
			}
			break
		}
		sum := crc32.Update(crc32.Checksum(out[at:at+12], table), table, out[at+16:at+16+size])
		binary.BigEndian.PutUint32(out[at+12:], sum)
		at += 16 + size
	}
	return out
}
