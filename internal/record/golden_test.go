package record_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/internal/record"
)

// The files of testdata/golden were made by other programs; testdata/golden/README.md says how.

// kafkaRecords are the records of the files named kafka-*, by what its README says of them.
func kafkaRecords() []plain {
	all := make([]plain, 100)
	for i := range all {
		r := plain{Offset: 1000 + int64(i), Timestamp: 1700000000000 + int64(i*10-i%3*25)}
		if i%5 != 0 {
			r.Key = fmt.Appendf(nil, "key-%d", i)
		}
		switch {
		case i%7 == 0:
		case i%11 == 0:
			r.Value = []byte{}
		default:
			r.Value = bytes.Repeat(fmt.Appendf(nil, "value-%d ", i), i)
		}
		if i%4 == 0 {
			r.Headers = []record.Header{{Key: "h", Value: []byte{byte(i)}}, {Key: ""}}
		}
		all[i] = r
	}
	return all
}

func golden(t testing.TB, name string) record.Batch {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func checkRecords(t *testing.T, b record.Batch, want []plain) {
	t.Helper()
	got, err := collect(b, mib)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d of %d records, %v", len(got), len(want), err)
	}
	for i := range want {
		if !got[i].equal(want[i]) {
			t.Fatalf("record %d:\n got %v\nwant %v", i, got[i], want[i])
		}
	}
}

func TestGoldenOfKafka(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			b := golden(t, "kafka-"+codec.String()+".batch")
			if err := b.CheckProduced(record.Limits{}); err != nil {
				t.Fatal(err)
			}
			header := fmt.Sprint(b.BaseOffset(), b.LeaderEpoch(), b.Codec(), b.LastOffset(), b.MaxTimestamp(),
				b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LastSequence(), b.Count(), b.IsTransactional(), b.IsControl())
			if want := fmt.Sprint(1000, 7, codec, 1099, 1700000000990, 4711, 3, 100, 199, 100, true, false); header != want {
				t.Errorf("header\n got %s\nwant %s", header, want)
			}
			checkRecords(t, b, kafkaRecords())

			ours := record.NewBuilder()
			ours.BaseOffset, ours.LeaderEpoch, ours.Codec = 1000, 7, codec
			ours.ProducerID, ours.ProducerEpoch, ours.BaseSequence, ours.Transactional = 4711, 3, 100, true
			made := build(t, ours, kafkaRecords())
			if codec == record.None && !bytes.Equal(made, b) {
				t.Error("the same records make other bytes here")
			}
			checkRecords(t, made, kafkaRecords())
		})
	}
}

func TestGoldenOfKafkaLogAppendTime(t *testing.T) {
	b := golden(t, "kafka-logappendtime.batch")
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	want := kafkaRecords()
	for i := range want {
		want[i].Timestamp = 1800000000000
	}
	checkRecords(t, b, want)

	again := golden(t, "kafka-lz4.batch")
	again.SetLogAppendTime(1800000000000)
	if !bytes.Equal(again, b) {
		t.Error("SetLogAppendTime makes another batch than Kafka")
	}
}

func TestGoldenOfKafkaMarker(t *testing.T) {
	b := golden(t, "kafka-commit.batch")
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if !b.IsControl() || !b.IsTransactional() || b.BaseSequence() != record.NoSequence || b.ProducerID() != 4711 {
		t.Errorf("attributes %#x, sequence %d", b.Attributes(), b.BaseSequence())
	}
	ours := record.NewBuilder()
	ours.BaseOffset, ours.LeaderEpoch, ours.ProducerID, ours.ProducerEpoch = 2000, 7, 4711, 3
	ours.Control, ours.Transactional = true, true
	ours.Add(1700000000000, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 9})
	made, err := ours.Build()
	if err != nil || !bytes.Equal(made, b) {
		t.Errorf("the same marker is other bytes here:\n%x\n%x, %v", made, b, err)
	}
}

func TestGoldenOfKafkaCompaction(t *testing.T) {
	b := golden(t, "kafka-compacted.batch")
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	var want []plain
	for _, r := range kafkaRecords() {
		if r.Offset%10 == 3 {
			want = append(want, r)
		}
	}
	checkRecords(t, b, want)
	if b.BaseOffset() != 1000 || b.LastOffset() != 1099 || b.LastSequence() != 199 || b.Count() != 10 {
		t.Errorf("base %d, last %d, last sequence %d, %d records", b.BaseOffset(), b.LastOffset(), b.LastSequence(), b.Count())
	}

	empty := golden(t, "kafka-emptied.batch")
	if err := empty.Check(); err != nil {
		t.Fatal(err)
	}
	checkRecords(t, empty, nil)
	if empty.LastOffset() != 1099 || empty.LastSequence() != 199 {
		t.Errorf("last %d, last sequence %d", empty.LastOffset(), empty.LastSequence())
	}
}

// TestGoldenOfClients reads what clients have sent: one record a line of its text file.
func TestGoldenOfClients(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "client-*.batch"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			b := golden(t, name)
			if err := b.CheckProduced(record.Limits{}); err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(name, "-"+b.Codec().String()+".batch") {
				t.Errorf("codec %s", b.Codec())
			}
			got, err := collect(b, mib)
			if err != nil || len(got) != 200 {
				t.Fatalf("%d records, %v", len(got), err)
			}
			for i, r := range got {
				want := fmt.Sprintf("message %d %s", i, strings.Repeat("abcdefgh", i%30))
				if string(r.Value) != want {
					t.Fatalf("record %d is %q, want %q", i, r.Value, want)
				}
			}
		})
	}
}
