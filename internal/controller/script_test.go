package controller

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

var rewrite = flag.Bool("rewrite", false, "write what the decisions are now into testdata")

// TestScripts runs the dialogues of testdata. A block is one entry: lines of
// commands, a line of dashes, and what they led to: the records, then an answer a
// command, each beginning with "->". Words of a command are key=value; ids are
// short words. After each block the records are applied, as replay would do it.
//
//	go test ./internal/controller -run Scripts -rewrite
func TestScripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no scripts in testdata")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newScript(t).run(string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s: decisions differ; if they should, run with -rewrite and read the diff:\n%s", file, firstDifference(string(text), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant: %s\n got: %s", i+1, strings.Join(w[min(i, len(w)):min(i+3, len(w))], "\n      "),
				strings.Join(g[i:min(i+3, len(g))], "\n      "))
		}
	}
	return "the script is longer"
}

// script is the state of one dialogue.
type script struct {
	t     *testing.T
	img   *metadata.Image
	env   Env
	draws int
	start int
}

func newScript(t *testing.T) *script {
	s := &script{t: t, img: metadata.Empty()}
	s.env = Env{
		Partitions: 2,
		NewID: func() metadata.ID {
			s.draws++
			return word(fmt.Sprintf("T%d", s.draws))
		},
		Intn: func(n int) int { return s.start % n },
	}
	return s
}

func (s *script) run(text string) string {
	var out strings.Builder
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); {
		if lines[i] == "" || strings.HasPrefix(lines[i], "#") {
			out.WriteString(lines[i] + "\n")
			i++
			continue
		}
		var commands []string
		for ; i < len(lines) && lines[i] != "----" && lines[i] != ""; i++ {
			commands = append(commands, lines[i])
		}
		for ; i < len(lines) && lines[i] != ""; i++ { // the old result
			continue
		}
		out.WriteString(strings.Join(commands, "\n") + "\n----\n" + s.block(commands))
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// block decides commands into one entry and applies it.
func (s *script) block(commands []string) string {
	var out strings.Builder
	var all []*metadatav1.Record
	draft := metadata.NewDraft(s.img)
	for _, line := range commands {
		w := newWords(line)
		switch w.verb {
		case "state":
			out.WriteString(describe(s.img))
			continue
		case "set":
			s.set(w)
			continue
		case "put":
			recs := s.put(w)
			draft.Apply(recs)
			all = append(all, recs...)
			continue
		}
		recs, answer := Decide(draft.Image(), s.command(draft.Image(), w), s.env)
		draft.Apply(recs)
		all = append(all, recs...)
		for _, r := range recs {
			out.WriteString(recordText(r) + "\n")
		}
		out.WriteString(answerText(answer) + "\n")
	}
	if len(all) == 0 {
		return out.String()
	}
	data, err := metadata.Encode(&metadatav1.Envelope{Term: 1, Records: all})
	if err != nil {
		s.t.Fatalf("%v: encode: %v", commands, err)
	}
	e, err := metadata.Decode(data)
	if err != nil {
		s.t.Fatalf("%v: decode: %v", commands, err)
	}
	s.img, _ = s.img.ApplyEntry(s.img.Index()+10, e)
	if testing.Short() {
		return out.String()
	}
	var snapshot bytes.Buffer
	if err := metadata.WriteSnapshot(&snapshot, s.img); err != nil {
		s.t.Fatal(err)
	}
	if restored, err := metadata.ReadSnapshot(&snapshot); err != nil || restored.Digest() != s.img.Digest() {
		s.t.Fatalf("%v: a snapshot does not bring the image back: %v", commands, err)
	}
	return out.String()
}

// put makes a topic of one partition as no command can make it yet.
func (s *script) put(w words) []*metadatav1.Record {
	p := &metadata.Partition{Leader: w.int("leader", -1), LeaderEpoch: 5, PartitionEpoch: 7}
	numbers := func(key string) (list []int32) {
		for _, f := range w.list(key) {
			n, _ := strconv.Atoi(f)
			list = append(list, int32(n))
		}
		return list
	}
	p.Replicas, p.ISR, p.LastKnownELR = numbers("replicas"), numbers("isr"), numbers("last-known")
	p.Directories = make([]metadata.ID, len(p.Replicas))
	for i, d := range w.list("dirs") {
		p.Directories[i] = word(d)
	}
	id := s.env.NewID()
	recs := []*metadatav1.Record{metadata.TopicRecord(id, w.get("1", "")), metadata.PartitionRecord(id, p)}
	if v := w.get("unclean", ""); v != "" {
		recs = append(recs, metadata.ConfigRecord(w.get("1", ""), map[string]string{"unclean.leader.election.enable": v}))
	}
	return recs
}

// set changes the environment: start=2 (the random draw), entry=bytes, partitions=n (limits).
func (s *script) set(w words) {
	s.start = int(w.int("start", int32(s.start)))
	s.env.Limits.EntryBytes = int(w.int("entry", int32(s.env.Limits.EntryBytes)))
	s.env.Limits.Partitions = int(w.int("partitions", int32(s.env.Limits.Partitions)))
	s.env.UncleanElection = w.has("unclean")
}

func (s *script) command(img *metadata.Image, w words) *clusterv1.Command {
	c := &clusterv1.Command{}
	if id := w.get("req", ""); id != "" {
		f := strings.Split(id, "/")
		node, _ := strconv.Atoi(f[0])
		seq, _ := strconv.ParseUint(f[2], 10, 64)
		c.RequestId = &clusterv1.RequestId{Node: int32(node), Incarnation: wordBytes(f[1]), Sequence: seq}
	}
	broker := func() (int32, int64) {
		id := w.int("1", 0)
		epoch := int64(-1)
		if b := img.Broker(id); b != nil {
			epoch = b.Epoch
		}
		return id, int64(w.int("epoch", int32(epoch)))
	}
	switch w.verb {
	case "form":
		f := &clusterv1.FormCluster{ClusterId: w.get("1", ""), Generation: 1}
		for _, d := range w.list("founders") {
			f.Founders = append(f.Founders, &clusterv1.Founder{NodeId: int32(len(f.Founders) + 1), DirectoryId: wordBytes(d)})
		}
		c.Kind = &clusterv1.Command_FormCluster{FormCluster: f}
	case "activate":
		c.Kind = &clusterv1.Command_ActivateController{ActivateController: &clusterv1.ActivateController{Node: w.int("1", 0), Term: uint64(w.int("term", 1))}}
	case "repair":
		c.Kind = &clusterv1.Command_RepairPartitions{RepairPartitions: &clusterv1.RepairPartitions{}}
	case "register":
		c.Kind = &clusterv1.Command_RegisterBroker{RegisterBroker: &clusterv1.RegisterBroker{Request: registration(w), SessionAlive: w.has("alive")}}
	case "fence":
		id, epoch := broker()
		c.Kind = &clusterv1.Command_FenceBroker{FenceBroker: &clusterv1.FenceBroker{BrokerId: id, BrokerEpoch: epoch}}
	case "unfence":
		id, epoch := broker()
		c.Kind = &clusterv1.Command_UnfenceBroker{UnfenceBroker: &clusterv1.UnfenceBroker{BrokerId: id, BrokerEpoch: epoch}}
	case "shutdown":
		id, epoch := broker()
		c.Kind = &clusterv1.Command_ShutdownBroker{ShutdownBroker: &clusterv1.ShutdownBroker{BrokerId: id, BrokerEpoch: epoch}}
	case "ids":
		id, epoch := broker()
		c.Kind = &clusterv1.Command_AllocateProducerIds{AllocateProducerIds: &clusterv1.AllocateProducerIds{BrokerId: id, BrokerEpoch: epoch}}
	case "assign":
		id, epoch := broker()
		c.Kind = &clusterv1.Command_AssignDirectories{AssignDirectories: assignDirectories(w, id, epoch)}
	case "create":
		c.Kind = &clusterv1.Command_CreateTopics{CreateTopics: createTopics(w)}
	case "delete":
		c.Kind = &clusterv1.Command_DeleteTopics{DeleteTopics: deleteTopics(w)}
	case "partitions":
		c.Kind = &clusterv1.Command_CreatePartitions{CreatePartitions: createPartitions(w)}
	case "alter":
		c.Kind = &clusterv1.Command_AlterConfigs{AlterConfigs: alterConfigs(w)}
	case "unknown":
	default:
		s.t.Fatalf("no command %q", w.verb)
	}
	return c
}

func registration(w words) *clusterv1.RegisterRequest {
	r := &clusterv1.RegisterRequest{
		NodeId: w.int("1", 0), Incarnation: wordBytes(w.get("inc", "i1")), ClusterId: w.get("cluster", "c1"),
		Generation: uint64(w.int("generation", 1)), PreviousBrokerEpoch: int64(w.int("prev", -1)), BootId: w.get("boot", ""),
		RaftAddress: w.get("raft", "h:5001"), Rack: w.get("rack", ""),
	}
	for _, d := range w.list("dirs") {
		r.Directories = append(r.Directories, wordBytes(d))
	}
	if host := w.get("host", "h"); host != "none" {
		r.Listeners = []*clusterv1.Listener{{Name: "PLAINTEXT", Host: strings.Trim(host, `"`), Port: w.int("port", 9092)}}
	}
	return r
}

// createTopics reads topics separated by "|".
func createTopics(w words) *clusterv1.CreateTopics {
	c := &clusterv1.CreateTopics{ValidateOnly: w.has("validate")}
	for _, w := range w.split() {
		t := &clusterv1.CreateTopics_Topic{
			Name: w.get("name", ""), NumPartitions: w.int("partitions", -1), ReplicationFactor: w.int("rf", -1),
			Assignments: w.assignments("assign"), Internal: w.has("internal"),
		}
		for _, kv := range w.all("config") {
			k, v, _ := strings.Cut(kv, ":")
			t.Configs = append(t.Configs, &clusterv1.ConfigEntry{Name: k, Value: v})
		}
		c.Topics = append(c.Topics, t)
	}
	return c
}

// alterConfigs reads resources separated by "|": type=2 name=a set=retention.ms:5 append=cleanup.policy:compact del=x.
func alterConfigs(w words) *clusterv1.AlterConfigs {
	c := &clusterv1.AlterConfigs{ValidateOnly: w.has("validate")}
	ops := map[string]clusterv1.ConfigOp{
		"set": clusterv1.ConfigOp_CONFIG_OP_SET, "del": clusterv1.ConfigOp_CONFIG_OP_DELETE, "append": clusterv1.ConfigOp_CONFIG_OP_APPEND,
		"sub": clusterv1.ConfigOp_CONFIG_OP_SUBTRACT, "what": 9,
	}
	for _, w := range w.split() {
		r := &clusterv1.AlterConfigs_Resource{Type: w.int("type", 2), Name: w.get("name", ""), Replace: w.has("replace")}
		for _, f := range w.fields {
			verb, kv, _ := strings.Cut(f, "=")
			if op := ops[verb]; op != 0 {
				k, v, _ := strings.Cut(kv, ":")
				r.Changes = append(r.Changes, &clusterv1.AlterConfigs_Change{Name: k, Op: op, Value: v})
			}
		}
		c.Resources = append(c.Resources, r)
	}
	return c
}

func deleteTopics(w words) *clusterv1.DeleteTopics {
	c := &clusterv1.DeleteTopics{}
	for _, w := range w.split() {
		t := &clusterv1.DeleteTopics_Topic{Name: w.get("name", "")}
		if id := w.get("id", ""); id != "" {
			t.TopicId = wordBytes(id)
		}
		c.Topics = append(c.Topics, t)
	}
	return c
}

func createPartitions(w words) *clusterv1.CreatePartitions {
	c := &clusterv1.CreatePartitions{ValidateOnly: w.has("validate")}
	for _, w := range w.split() {
		c.Topics = append(c.Topics, &clusterv1.CreatePartitions_Topic{
			Name: w.get("name", ""), Count: w.int("count", 0), Assignments: w.assignments("assign"),
		})
	}
	return c
}

// assignDirectories reads topic-id/partition=directory.
func assignDirectories(w words, id int32, epoch int64) *clusterv1.AssignDirectories {
	c := &clusterv1.AssignDirectories{BrokerId: id, BrokerEpoch: epoch}
	for _, f := range w.fields[1:] {
		key, dir, _ := strings.Cut(f, "=")
		topic, part, ok := strings.Cut(key, "/")
		if !ok {
			continue
		}
		n, _ := strconv.Atoi(part)
		c.Assignments = append(c.Assignments, &clusterv1.AssignDirectories_Assignment{TopicId: wordBytes(topic), Partition: int32(n), DirectoryId: wordBytes(dir)})
	}
	return c
}
