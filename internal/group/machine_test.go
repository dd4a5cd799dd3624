package group

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/coordinator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var rewrite = flag.Bool("rewrite", false, "write the outputs of testdata anew")

// bench runs a machine on a clock of its own: records are committed as soon as
// they are made, timers fire when the clock is moved.
type bench struct {
	t      *testing.T
	o      Options
	m      *Machine
	start  time.Time
	now    time.Time
	log    []coordinator.Record
	dumps  map[int]string // what the machine said its log amounts to, by length of the log
	sparse bool           // dumps are made by whoever set this
	timers []benchTimer
	ids    int
	out    []string
}

type benchTimer struct {
	id any
	at time.Time
}

func newBench(t *testing.T) *bench {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := &bench{t: t, start: start, now: start, dumps: map[int]string{0: ""}}
	b.o = Options{
		MinSessionTimeout: 6 * time.Second, MaxSessionTimeout: 30 * time.Minute,
		InitialRebalanceDelay: 3 * time.Second, MaxMetadata: 4096,
		Retention: 7 * 24 * time.Hour, RetentionCheck: 10 * time.Minute, MaxRecordBytes: 1 << 20,
		NewID: func() string { b.ids++; return strconv.Itoa(b.ids) },
	}
	b.reload(nil)
	return b
}

func (b *bench) when() coordinator.Now {
	return coordinator.Now{Time: b.now, Millis: b.now.Sub(b.start).Milliseconds()}
}

// reload replaces the machine by one that is loaded from the log, as a coordinator that takes over does.
func (b *bench) reload(why error) {
	if b.m != nil {
		for _, reply := range b.m.Unload() {
			reply(why)
		}
	}
	b.timers = nil
	b.m = New(b.o)
	for _, r := range b.log {
		if err := b.m.Apply(r); err != nil {
			b.t.Fatal(err)
		}
	}
	b.take(b.m.Loaded(b.when()))
}

// take does what the runtime does with a result.
func (b *bench) take(res coordinator.Result) {
	for _, tm := range res.Timers {
		b.timers = slices.DeleteFunc(b.timers, func(o benchTimer) bool { return o.id == tm.ID })
		if tm.After >= 0 {
			b.timers = append(b.timers, benchTimer{tm.ID, b.now.Add(tm.After)})
		}
	}
	for _, r := range res.Records {
		if err := b.m.Apply(r); err != nil {
			b.t.Fatal(err)
		}
		b.log = append(b.log, r)
	}
	for _, reply := range res.Replies {
		reply(nil)
	}
	if !b.sparse {
		b.dumps[len(b.log)] = b.m.Dump()
	}
}

// advance moves the clock, firing timers on the way.
func (b *bench) advance(d time.Duration) {
	for end := b.now.Add(d); ; {
		slices.SortStableFunc(b.timers, func(x, y benchTimer) int { return x.at.Compare(y.at) })
		if len(b.timers) == 0 || b.timers[0].at.After(end) {
			b.now = end
			return
		}
		tm := b.timers[0]
		b.timers = b.timers[1:]
		b.now = tm.at
		b.take(b.m.Expire(b.when(), tm.id))
	}
}

// checkReplay folds every prefix of the log and compares with what the live
// machine said when its log was that long.
func (b *bench) checkReplay() {
	b.t.Helper()
	m := New(b.o)
	for n := 0; ; n++ {
		if want, ok := b.dumps[n]; ok {
			if got := m.Dump(); got != want {
				b.t.Fatalf("the first %d records fold to\n%s\nand the live machine had\n%s", n, got, want)
			}
		}
		if n == len(b.log) {
			return
		}
		if err := m.Apply(b.log[n]); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) printf(format string, args ...any) {
	b.out = append(b.out, fmt.Sprintf(format, args...))
}

func errName(err error) string {
	names := map[error]string{
		ErrInvalidGroupID: "invalid-group-id", ErrGroupNotFound: "group-not-found", ErrUnknownMember: "unknown-member",
		ErrMemberIDRequired: "member-id-required", ErrFencedInstance: "fenced-instance", ErrIllegalGeneration: "illegal-generation",
		ErrInconsistentProtocol: "inconsistent-protocol", ErrRebalanceInProgress: "rebalance-in-progress",
		ErrInvalidSessionTimeout: "invalid-session-timeout", ErrGroupFull: "group-full",
		ErrNonEmptyGroup: "non-empty-group", ErrSubscribed: "subscribed", ErrDeletionUnfinished: "deletion-unfinished",
		ErrMetadataTooLarge: "metadata-too-large", ErrNoRoom: "no-room", ErrGroupTooLarge: "group-too-large",
		coordinator.ErrNotCoordinator: "not-coordinator",
	}
	for e, name := range names {
		if errors.Is(err, e) {
			return name
		}
	}
	return fmt.Sprint(err)
}

// args are the key=value pairs of a command.
type args map[string]string

func (a args) str(key, def string) string {
	if v, ok := a[key]; ok {
		return v
	}
	return def
}

func (a args) ptr(key string) *string {
	if v, ok := a[key]; ok {
		return &v
	}
	return nil
}

func (a args) num(key string, def int64) int64 {
	n, err := strconv.ParseInt(a.str(key, strconv.FormatInt(def, 10)), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (a args) dur(key, def string) time.Duration {
	d, err := time.ParseDuration(a.str(key, def))
	if err != nil {
		panic(err)
	}
	return d
}

// pairs splits "a:x,b:y".
func (a args) pairs(key, def string) [][2]string {
	var list [][2]string
	for _, s := range strings.Split(a.str(key, def), ",") {
		if name, value, _ := strings.Cut(s, ":"); name != "" {
			list = append(list, [2]string{name, value})
		}
	}
	return list
}

func (b *bench) run(line string) {
	fields := strings.Fields(line)
	a := args{}
	for _, f := range fields[1:] {
		k, v, _ := strings.Cut(f, "=")
		a[k] = v
	}
	group := a.str("group", "g")
	member := a.str("member", "")
	name := a.str("as", cmp.Or(member, a.str("instance", ""), a.str("client", "c")))
	switch cmd := fields[0]; cmd {
	case "options":
		b.setOptions(a)
	case "join":
		b.join(group, member, name, a)
	case "sync":
		req := SyncRequest{
			Group: group, MemberID: member, InstanceID: a.ptr("instance"), Generation: int32(a.num("gen", 1)),
			ProtocolType: a.ptr("type"), Protocol: a.ptr("protocol"), Assignments: map[string][]byte{},
		}
		for _, p := range a.pairs("assign", "") {
			req.Assignments[p[0]] = []byte(p[1])
		}
		b.take(b.m.Sync(b.when(), req, func(s SyncAnswer) {
			if s.Err != nil {
				b.printf("sync %s: %s", name, errName(s.Err))
				return
			}
			b.printf("sync %s: %q type=%s protocol=%s", name, s.Assignment, s.ProtocolType, s.Protocol)
		}))
	case "heartbeat":
		req := HeartbeatRequest{Group: group, MemberID: member, InstanceID: a.ptr("instance"), Generation: int32(a.num("gen", 1))}
		b.take(b.m.Heartbeat(b.when(), req, func(err error) { b.printf("heartbeat %s: %s", name, okOr(err)) }))
	case "beat": // heartbeats of some members every 5 s for a time: what changes is printed
		b.beat(a)
	case "leave":
		var leavers []Leaver
		for _, p := range a.pairs("members", "") {
			l := Leaver{MemberID: strings.TrimPrefix(p[0], "-")}
			if p[1] != "" {
				l.InstanceID = &p[1]
			}
			leavers = append(leavers, l)
		}
		b.take(b.m.Leave(b.when(), group, leavers, func(l LeaveAnswer) {
			b.printf("leave: %s %s", okOr(l.Err), errNames(l.Errs))
		}))
	case "delete":
		b.take(b.m.Delete(b.when(), group, func(err error) { b.printf("delete %s: %s", group, okOr(err)) }))
	case "commit", "fetch", "delete-topic", "delete-offsets":
		b.offsets(cmd, group, member, a)
	case "describe":
		b.take(b.m.Describe(b.when(), group, func(d Description) { b.describe(d) }))
	case "list":
		b.take(b.m.List(b.when(), func(l ListAnswer) {
			for _, g := range l.Groups {
				b.printf("%s type=%q %v", g.Group, g.ProtocolType, g.State)
			}
		}))
	case "advance":
		d, err := time.ParseDuration(fields[1])
		if err != nil {
			b.t.Fatal(err)
		}
		b.advance(d)
	case "reload":
		b.reload(coordinator.ErrNotCoordinator)
	case "dump":
		b.printf("%s", cmp.Or(strings.TrimSuffix(b.m.Dump(), "\n"), "nothing"))
	case "log":
		b.printf("%d records", len(b.log))
	default:
		b.t.Fatalf("unknown command %q", line)
	}
}

func (b *bench) beat(a args) {
	last := map[string]string{}
	for left := a.dur("for", "60s"); left > 0; left -= 5 * time.Second {
		b.advance(min(left, 5*time.Second))
		for _, p := range a.pairs("members", "") {
			req := HeartbeatRequest{Group: a.str("group", "g"), MemberID: p[0], Generation: int32(a.num("gen", 1))}
			b.take(b.m.Heartbeat(b.when(), req, func(err error) {
				if s := okOr(err); s != last[p[0]] {
					b.printf("heartbeat %s at %v: %s", p[0], b.now.Sub(b.start), s)
					last[p[0]] = s
				}
			}))
		}
	}
}

func (b *bench) setOptions(a args) {
	b.o.MaxSize = int(a.num("max-size", int64(b.o.MaxSize)))
	b.o.InitialRebalanceDelay = a.dur("delay", b.o.InitialRebalanceDelay.String())
	b.o.MaxMetadata = int(a.num("max-metadata", int64(b.o.MaxMetadata)))
	b.o.Retention = a.dur("retention", b.o.Retention.String())
	b.o.RetentionCheck = a.dur("check", b.o.RetentionCheck.String())
	if a["max-pending"]+a["max-bytes"] != "" {
		b.o.Account = NewAccount(a.num("max-pending", 10_000), a.num("max-bytes", 1<<20), nil)
	}
	if id := a.num("gone", 0); id != 0 {
		b.o.Deleted = func(topicID [16]byte) bool { return int64(topicID[0]) == id }
	}
	b.o.MaxRecordBytes = int(a.num("max-record", int64(b.o.MaxRecordBytes)))
	b.o.setDefaults()
	b.m.o = b.o
}

func (b *bench) join(group, member, name string, a args) {
	version := a.num("v", 9)
	req := JoinRequest{
		Group: group, MemberID: member, InstanceID: a.ptr("instance"),
		Client:       Client{a.str("client", "c"), "/127.0.0.1"},
		ProtocolType: a.str("type", "consumer"), SessionTimeout: a.dur("session", "10s"), RebalanceTimeout: a.dur("rebalance", "60s"),
		RequireMemberID: version >= 4, CanSkipAssignment: version >= 9, Reason: a.str("reason", ""),
	}
	for _, p := range a.pairs("protocols", "range:") {
		req.Protocols = append(req.Protocols, Protocol{p[0], metadataOf(p[1])})
	}
	b.take(b.m.Join(b.when(), req, func(j JoinAnswer) {
		if j.Err != nil {
			b.printf("join %s: %s member=%q", name, errName(j.Err), j.MemberID)
			return
		}
		s := fmt.Sprintf("join %s: member=%s generation=%d type=%s protocol=%s leader=%s", name, j.MemberID, j.Generation, j.ProtocolType, j.Protocol, j.Leader)
		if j.SkipAssignment {
			s += " skip-assignment"
		}
		for _, m := range j.Members {
			s += fmt.Sprintf(" %s:%q", m.ID, m.Metadata)
			if m.InstanceID != nil {
				s += "(" + *m.InstanceID + ")"
			}
		}
		b.printf("%s", s)
	}))
}

// metadataOf is s itself, or for "@t+u" a consumer's subscription to t and u.
func metadataOf(s string) []byte {
	topics, ok := strings.CutPrefix(s, "@")
	if !ok {
		return []byte(s)
	}
	list := strings.Split(topics, "+")
	out := []byte{0, 1, 0, 0, 0, byte(len(list))}
	for _, t := range list {
		out = append(append(out, 0, byte(len(t))), t...)
	}
	return append(out, 0xff, 0xff, 0xff, 0xff)
}

func (b *bench) offsets(cmd, group, member string, a args) {
	id := [16]byte{byte(a.num("id", 0))}
	switch cmd {
	case "commit":
		req := CommitRequest{Group: group, MemberID: member, InstanceID: a.ptr("instance"), Generation: int32(a.num("gen", -1)), RetentionMillis: -1}
		if _, ok := a["retention"]; ok {
			req.RetentionMillis = a.dur("retention", "").Milliseconds()
		}
		for i, p := range a.pairs("offsets", "0:0") { // partition:offset
			partition, _ := strconv.Atoi(p[0])
			offset, _ := strconv.Atoi(p[1])
			req.Offsets = append(req.Offsets, Offset{
				Topic: a.str("topic", "t"), TopicID: id, Partition: int32(partition), Offset: int64(offset),
				LeaderEpoch: int32(a.num("epoch", -1)), Metadata: a.str(fmt.Sprint("metadata", i), a.str("metadata", "")),
			})
		}
		b.take(b.m.Commit(b.when(), req, func(c CommitAnswer) { b.printf("commit: %s %s", okOr(c.Err), errNames(c.Errs)) }))
	case "fetch":
		req := FetchRequest{Group: group, All: a.str("all", "") == "yes"}
		for _, p := range a.pairs("partitions", "") {
			partition, _ := strconv.Atoi(p[0])
			req.Partitions = append(req.Partitions, TopicPartition{a.str("topic", "t"), int32(partition)})
		}
		b.take(b.m.Fetch(b.when(), req, func(f FetchAnswer) {
			for _, c := range f.Offsets {
				b.printf("%s-%d: %d epoch=%d metadata=%q id=%d", c.Topic, c.Partition, c.Offset, c.LeaderEpoch, c.Metadata, c.TopicID[0])
			}
		}))
	case "delete-offsets":
		var list []TopicPartition
		for _, p := range a.pairs("partitions", "0") {
			partition, _ := strconv.Atoi(p[0])
			list = append(list, TopicPartition{a.str("topic", "t"), int32(partition)})
		}
		b.take(b.m.DeleteOffsets(b.when(), group, list, func(c CommitAnswer) { b.printf("delete-offsets: %s %s", okOr(c.Err), errNames(c.Errs)) }))
	case "delete-topic":
		b.take(b.m.TopicDeleted(b.when(), a.str("topic", "t"), id))
	}
}

func (b *bench) describe(d Description) {
	b.printf("%s %v type=%q protocol=%q err=%s", d.Group, d.State, d.ProtocolType, d.Protocol, okOr(d.Err))
	for _, m := range d.Members {
		b.printf("  %s instance=%q client=%s host=%s metadata=%q assignment=%q", m.ID, orEmpty(m.InstanceID), m.Client.ID, m.Client.Host, m.Metadata, m.Assignment)
	}
}

func okOr(err error) string {
	if err == nil {
		return "ok"
	}
	return errName(err)
}

func errNames(errs []error) string {
	var list []string
	for _, err := range errs {
		list = append(list, okOr(err))
	}
	return "[" + strings.Join(list, " ") + "]"
}

// TestDialogues runs the files of testdata. A paragraph is a comment, one or more
// commands, a line "----" and what they print; run with -rewrite to write it anew.
// Every prefix of the log that a file leads to must fold to the state the machine had.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no files")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var written strings.Builder
			b := newBench(t)
			for i, paragraph := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
				commands, want, _ := strings.Cut(paragraph, "\n----")
				b.out = nil
				for _, line := range strings.Split(commands, "\n") {
					if strings.HasPrefix(line, "new") {
						b.checkReplay()
						out := b.out
						b = newBench(t)
						b.out = out
						continue
					}
					if line != "" && !strings.HasPrefix(line, "#") {
						b.run(line)
					}
				}
				if i > 0 {
					written.WriteString("\n")
				}
				written.WriteString(commands)
				got := strings.Join(b.out, "\n")
				if strings.Contains(paragraph, "\n----") || got != "" {
					written.WriteString("\n----")
					if got != "" {
						written.WriteString("\n" + got)
					}
				}
				written.WriteString("\n")
				if want = strings.TrimPrefix(want, "\n"); got != want && !*rewrite {
					t.Errorf("%s\n--- got\n%s\n--- want\n%s", commands, got, want)
				}
			}
			b.checkReplay()
			if *rewrite {
				if err := os.WriteFile(file, []byte(written.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestManyProtocols: the time for a JoinGroup grows with its size, not with its square. A request of 1 MiB has room for more protocols than these.
func TestManyProtocols(t *testing.T) {
	b := newBench(t)
	protocols := make([]Protocol, 200_000)
	for i := range protocols {
		protocols[i].Name = strconv.Itoa(i)
	}
	began := time.Now()
	for range 2 {
		b.take(b.m.Join(b.when(), JoinRequest{
			Group: "g", ProtocolType: "consumer", Protocols: protocols, SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Minute,
		}, func(JoinAnswer) {}))
	}
	b.advance(5 * time.Second)
	// Compared with each other the names would take minutes; so no machine is too slow for this bound, and none is fast enough to hide that.
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}
