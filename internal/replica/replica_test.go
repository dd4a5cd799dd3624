package replica

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/clock"
	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/controller"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/storage"
	"github.com/chronik-stream/chronik/internal/vfs"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a manager on a real directory over memory files, and a cluster's metadata beside it.
type bed struct {
	t    *testing.T
	fs   *vfs.Mem
	disk *vfs.Faults
	log  *bytes.Buffer

	img      *metadata.Image
	index    uint64
	rnd      *rand.Rand
	reported []Created
	report   func([]Created) error // instead of noting the directories

	m    *Manager
	dir  *storage.Directory
	stop func()
	held bool // images are kept back
	then []func()
}

var here = metadata.ID{15: 200}

// inBed runs a test in a bubble.
func inBed(t *testing.T, test func(t *testing.T, b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bed{t: t, fs: vfs.NewMem(), log: &bytes.Buffer{}, img: metadata.Empty(), rnd: rand.New(rand.NewPCG(1, 2))}
		b.disk = vfs.NewFaults(b.fs)
		b.must(b.fs.MkdirAll("/data"))
		b.do(&clusterv1.Command{Kind: &clusterv1.Command_FormCluster{FormCluster: &clusterv1.FormCluster{ClusterId: "cluster-0000000000000"}}})
		b.do(&clusterv1.Command{Kind: &clusterv1.Command_ActivateController{ActivateController: &clusterv1.ActivateController{Node: 1, Term: 1}}})
		for id := int32(1); id <= 2; id++ {
			b.register(id)
			b.unfence(id)
		}
		b.start()
		test(t, b)
		b.stop()
	})
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) start() {
	b.t.Helper()
	cfg, err := config.Load(config.Sources{})
	b.must(err)
	logger := slog.New(slog.NewTextHandler(b.log, nil))
	b.m, err = New(Options{
		NodeID: 1, DirectoryID: here, Resolve: cfg.Topic, Logger: logger, Registerer: prometheus.NewRegistry(),
		Created: func(_ context.Context, c []Created) error {
			if b.report != nil {
				return b.report(c)
			}
			b.reported = append(b.reported, c...)
			b.then = append(b.then, func() { b.assign(c) })
			return nil
		},
	})
	b.must(err)
	b.dir, err = storage.OpenDirectory(storage.DirectoryOptions{
		FS: b.disk, Path: "/data", Clock: clock.NewManual(1_700_000_000_000), OnFlush: b.m.OnFlush, OnFail: b.m.OnFail,
	})
	b.must(err)
	b.must(b.dir.Recover(b.t.Context()))
	b.m.Open(b.dir)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.dir.Run(ctx) })
	wg.Go(func() { _ = b.m.Run(ctx) })
	m, dir := b.m, b.dir
	m.OnImage(b.img, metadata.Diff(metadata.Empty(), b.img))
	b.stop = func() {
		cancel()
		wg.Wait()
		b.must(dir.Close(context.Background()))
		b.m = nil
	}
	b.settle()
}

// settle waits until all is done, reports included.
func (b *bed) settle() {
	for {
		synctest.Wait()
		then := b.then
		b.then = nil
		for _, f := range then {
			f()
		}
		if len(then) == 0 {
			return
		}
	}
}

func (b *bed) do(cmd *clusterv1.Command) *clusterv1.Answer {
	b.t.Helper()
	recs, answer := controller.Decide(b.img, cmd, controller.Env{
		NewID: func() (id metadata.ID) {
			for i := range id {
				id[i] = byte(b.rnd.Uint32())
			}
			return id
		},
		Intn: b.rnd.IntN, Partitions: 1,
	})
	b.must(metadata.AnswerError(answer))
	if len(recs) > 0 {
		b.index++
		img, delta := b.img.Apply(b.index, recs)
		b.img = img
		if b.m != nil && !b.held {
			b.m.OnImage(img, delta)
		}
	}
	return answer
}

func (b *bed) register(id int32) {
	dir := here
	dir[0] = byte(id - 1)
	b.do(&clusterv1.Command{Kind: &clusterv1.Command_RegisterBroker{RegisterBroker: &clusterv1.RegisterBroker{
		Request: &clusterv1.RegisterRequest{
			NodeId: id, Incarnation: []byte{byte(id), 15: 1}, Directories: [][]byte{dir[:]}, ClusterId: "cluster-0000000000000",
			Listeners: []*clusterv1.Listener{{Name: "PLAINTEXT", Host: fmt.Sprint("b", id), Port: 9092}}, RaftAddress: "r:1", BootId: "boot", PreviousBrokerEpoch: -1,
		},
	}}})
}

func (b *bed) unfence(id int32) {
	b.t.Helper()
	b.do(&clusterv1.Command{Kind: &clusterv1.Command_UnfenceBroker{UnfenceBroker: &clusterv1.UnfenceBroker{BrokerId: id, BrokerEpoch: b.img.Broker(id).Epoch}}})
}

func (b *bed) fence(id int32) {
	b.t.Helper()
	b.do(&clusterv1.Command{Kind: &clusterv1.Command_FenceBroker{FenceBroker: &clusterv1.FenceBroker{BrokerId: id, BrokerEpoch: b.img.Broker(id).Epoch}}})
}

func (b *bed) assign(created []Created) {
	cmd := &clusterv1.AssignDirectories{BrokerId: 1, BrokerEpoch: b.img.Broker(1).Epoch}
	for _, c := range created {
		cmd.Assignments = append(cmd.Assignments, &clusterv1.AssignDirectories_Assignment{TopicId: c.TopicID[:], Partition: c.Partition, DirectoryId: here[:]})
	}
	b.do(&clusterv1.Command{Kind: &clusterv1.Command_AssignDirectories{AssignDirectories: cmd}})
}

// topic creates a topic of one partition on this broker.
func (b *bed) topic(name string, configs ...string) metadata.ID {
	b.t.Helper()
	t := &clusterv1.CreateTopics_Topic{
		Name: name, NumPartitions: -1, ReplicationFactor: -1,
		Assignments: []*clusterv1.ReplicaAssignment{{Partition: 0, BrokerIds: []int32{1}}},
	}
	for _, c := range configs {
		k, v, _ := strings.Cut(c, "=")
		t.Configs = append(t.Configs, &clusterv1.ConfigEntry{Name: k, Value: v})
	}
	a := b.do(&clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{CreateTopics: &clusterv1.CreateTopics{Topics: []*clusterv1.CreateTopics_Topic{t}}}})
	for _, t := range a.GetCreateTopics().GetTopics() {
		if t.GetCode() != 0 {
			b.t.Fatal(t.GetMessage())
		}
	}
	return b.img.TopicByName(name).ID
}

func (b *bed) deleteTopic(name string) {
	b.t.Helper()
	b.do(&clusterv1.Command{Kind: &clusterv1.Command_DeleteTopics{DeleteTopics: &clusterv1.DeleteTopics{Topics: []*clusterv1.DeleteTopics_Topic{{Name: name}}}}})
}

func (b *bed) partition(name string) *Partition {
	b.t.Helper()
	p, err := b.m.ByName([]byte(name), 0)
	b.must(err)
	return p
}

func (b *bed) batch(values ...string) record.Batch {
	r := record.NewBuilder()
	for _, v := range values {
		r.Add(1_700_000_000_000, nil, []byte(v))
	}
	batch, err := r.Build()
	b.must(err)
	return batch
}

// append appends one batch and returns the offset after it.
func (b *bed) append(p *Partition, values ...string) int64 {
	b.t.Helper()
	var r Round
	a := []storage.Append{{Batch: b.batch(values...)}}
	b.must(p.AppendLeader(a, &r))
	b.must(a[0].Err)
	r.Finish()
	return NextOffset(&a[0])
}

// read returns the bytes that a consumer gets from an offset on.
func (b *bed) read(p *Partition, from int64) []byte {
	b.t.Helper()
	r, err := p.ReadLeader(ReadRequest{Offset: from, LeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1 << 20})
	b.must(err)
	defer r.Records.Release()
	got, err := r.Records.ReadBytes(nil)
	b.must(err)
	return got
}

func (b *bed) expectErr(err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Fatalf("%v, want %v", err, want)
	}
}

func TestNewLogIsCreatedReportedAndFoundAgain(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		id := b.topic("t")
		b.must(b.m.Wait(t.Context()))
		b.settle()
		if !slices.Equal(b.reported, []Created{{"t", id, 0}}) {
			t.Fatalf("reported %v", b.reported)
		}
		p := b.partition("t")
		b.must(p.Leading(0))
		b.append(p, "kept")
		synctest.Wait()
		want := b.read(p, 0)

		b.stop()
		b.start()
		p = b.partition("t")
		b.must(p.Leading(-1))
		if got := b.read(p, 0); !bytes.Equal(got, want) || len(got) == 0 || p.HighWatermark() != 1 {
			t.Errorf("after a restart: %d bytes, high watermark %d", len(got), p.HighWatermark())
		}
		if len(b.reported) != 1 {
			t.Errorf("reported again: %v", b.reported)
		}
	})
}

func TestReportIsTriedAgain(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		tries := 0
		b.report = func([]Created) error {
			if tries++; tries < 4 {
				return errors.New("no controller")
			}
			return nil
		}
		b.topic("t")
		synctest.Wait()
		b.append(b.partition("t"), "served meanwhile")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if tries != 4 {
			t.Errorf("%d tries", tries)
		}
	})
}

// TestAssignedAndMissingIsLost: an empty log must not pass for a full one.
func TestAssignedAndMissingIsLost(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.topic("other")
		b.settle()
		b.append(b.partition("t"), "all that there was")
		b.stop()
		b.must(b.fs.RemoveAll("/data/t-0"))
		b.start()
		p := b.partition("t")
		b.expectErr(p.Leading(-1), storage.ErrStorage)
		b.expectErr(p.AppendLeader([]storage.Append{{Batch: b.batch("x")}}, &Round{}), storage.ErrStorage)
		_, err := p.ReadLeader(ReadRequest{LeaderEpoch: -1, LastFetchedEpoch: -1})
		b.expectErr(err, storage.ErrStorage)
		if _, err := b.fs.Stat("/data/t-0"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the lost log was created again: %v", err)
		}
		if !strings.Contains(b.log.String(), "is lost") {
			t.Errorf("the log does not say so:\n%s", b.log)
		}
		b.must(b.partition("other").Leading(-1))
	})
}

// TestUnassignedAndMissingIsNew: a crash between creation and report leaves nothing, and that is no loss.
func TestUnassignedAndMissingIsNew(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.report = func([]Created) error { return errors.New("no controller") }
		b.topic("t")
		synctest.Wait()
		b.stop()
		b.must(b.fs.RemoveAll("/data/t-0"))
		b.report = nil
		b.start()
		b.must(b.partition("t").Leading(-1))
		if len(b.reported) != 1 {
			t.Errorf("reported %v", b.reported)
		}
	})
}

func TestDeletedTopic(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		first := b.topic("t", "file.delete.delay.ms=0")
		b.settle()
		p := b.partition("t")
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "t-0/*.log", Stall: true})
		target := b.append(p, "x")
		w := &waiter{}
		if p.Await(target, true, w) {
			t.Fatal("acknowledged before the flush")
		}
		rd := &reader{}
		p.Subscribe(&Subscription{Reader: rd})
		b.deleteTopic("t")
		if !slices.ContainsFunc(w.got, func(err error) bool { return errors.Is(err, ErrUnknownPartition) }) || rd.woken == 0 {
			t.Errorf("waiter %v, reader woken %d times", w.got, rd.woken)
		}
		_, err := b.m.ByName([]byte("t"), 0)
		b.expectErr(err, ErrUnknownPartition)
		_, err = b.m.ByID(first, 0)
		b.expectErr(err, ErrUnknownTopicID)
		b.expectErr(p.Leading(-1), ErrUnknownPartition)

		second := b.topic("t") // while the first is still being deleted
		stall.Heal()
		b.settle()
		q := b.partition("t")
		if q == p || q.TopicID != second {
			t.Fatal("the new topic has the old partition")
		}
		b.must(q.Leading(-1))
		if len(b.read(q, 0)) != 0 {
			t.Error("the new topic has the records of the old one")
		}
		b.expectErr(p.AppendLeader([]storage.Append{{Batch: b.batch("late")}}, &Round{}), ErrUnknownPartition)
	})
}

func TestLogOfAnEarlierTopicIsSetAside(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.settle()
		b.append(b.partition("t"), "of the first")
		b.stop()
		b.deleteTopic("t") // while this broker is away
		b.topic("t")
		b.start()
		p := b.partition("t")
		b.must(p.Leading(-1))
		if len(b.read(p, 0)) != 0 {
			t.Error("the records of the earlier topic are served")
		}
	})
}

func TestStraysAreSetAside(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("gone")
		b.topic("stays")
		b.settle()
		b.stop()
		b.deleteTopic("gone")
		b.start()
		b.must(b.m.SetStraysAside(b.img))
		if b.dir.Log("gone", 0) != nil || b.dir.Log("stays", 0) == nil {
			t.Errorf("logs left: %v", b.dir.Logs())
		}
		b.must(b.partition("stays").Leading(-1))
	})
}

func TestLeaderEpochs(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.settle()
		p := b.partition("t")
		b.append(p, "a")
		b.expectErr(p.Leading(1), ErrUnknownLeaderEpoch)
		b.fence(1)
		b.expectErr(p.Leading(-1), ErrNotLeader)
		b.expectErr(p.AppendLeader([]storage.Append{{Batch: b.batch("x")}}, &Round{}), ErrNotLeader)
		b.unfence(1)
		b.must(b.m.Wait(t.Context()))
		_, epoch := p.LeaderEpoch()
		b.must(p.Leading(epoch))
		b.expectErr(p.Leading(epoch-1), ErrFencedLeaderEpoch)
		a := []storage.Append{{Batch: b.batch("b")}}
		b.must(p.AppendLeader(a, &Round{}))
		if got := a[0].Batch.LeaderEpoch(); got != epoch || epoch < 2 {
			t.Errorf("appended in epoch %d, the leader's is %d", got, epoch)
		}
	})
}

// TestMergedImages: images that were held up come as one, and the last one counts.
func TestMergedImages(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("a")
		b.topic("b")
		b.settle()
		before := b.img
		b.held = true
		b.deleteTopic("a")
		b.topic("c")
		b.fence(1)
		b.unfence(1)
		b.topic("d")
		b.deleteTopic("d")
		b.held = false
		b.m.OnImage(b.img, metadata.Diff(before, b.img))
		b.settle()
		var names []string
		b.m.Partitions(func(p *Partition) bool { names = append(names, p.Topic); return true })
		slices.Sort(names)
		if !slices.Equal(names, []string{"b", "c"}) {
			t.Errorf("partitions %v", names)
		}
		for _, n := range names {
			b.must(b.partition(n).Leading(-1))
		}
	})
}

func TestHighWatermarkIsTheFlushedOffset(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.settle()
		p := b.partition("t")
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Stall: true})
		target := b.append(p, "a", "b")
		if p.HighWatermark() != 0 || p.Acknowledged(target, false) || p.Acknowledged(target, true) || len(b.read(p, 0)) != 0 {
			t.Errorf("high watermark %d before the flush", p.HighWatermark())
		}
		for _, all := range []bool{false, true} {
			if p.Await(target, all, &waiter{}) {
				t.Error("acknowledged before the flush")
			}
		}
		stall.Heal()
		synctest.Wait()
		if p.HighWatermark() != 2 || !p.Acknowledged(target, true) {
			t.Errorf("high watermark %d after the flush", p.HighWatermark())
		}
	})
}

func TestHighWatermarkWithWriteCaching(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t", "write.caching=true")
		b.settle()
		p := b.partition("t")
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Stall: true})
		target := b.append(p, "a")
		if p.HighWatermark() != 1 || !p.Acknowledged(target, true) || len(b.read(p, 0)) == 0 {
			t.Errorf("high watermark %d", p.HighWatermark())
		}
		stall.Heal()
	})
}

func TestCancelAndLostLeadership(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.settle()
		p := b.partition("t")
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Stall: true})
		target := b.append(p, "a")
		gone, stays := &waiter{}, &waiter{}
		p.Await(target, true, gone)
		p.Await(target, true, stays)
		if n := p.Cancel(gone); n != 1 {
			t.Errorf("%d registrations cancelled", n)
		}
		b.fence(1)
		if len(gone.got) != 0 || len(stays.got) != 1 || !errors.Is(stays.got[0], ErrNotLeader) {
			t.Errorf("cancelled %v, waiting %v", gone.got, stays.got)
		}
		late := &waiter{}
		if p.Await(target, true, late) || len(late.got) != 1 {
			t.Errorf("a wait without a leadership: %v", late.got)
		}
		stall.Heal()
	})
}

// waiter notes what it is told.
type waiter struct {
	mu      sync.Mutex
	got     []error
	flusher Flusher
	trace   *[]string
	name    string
}

func (w *waiter) Reached(_ *Partition, _ int64, err error) Flusher {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, err)
	if w.trace != nil {
		*w.trace = append(*w.trace, "reached "+w.name)
	}
	return w.flusher
}

type flusher struct {
	trace *[]string
	name  string
}

func (f *flusher) Flush() { *f.trace = append(*f.trace, "flush "+f.name) }

// reader wants to be woken for every byte.
type reader struct {
	mu    sync.Mutex
	bytes int64
	woken int
	trace *[]string
}

func (r *reader) Moved(_ *Subscription, bytes int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += bytes
	return true
}

func (r *reader) Wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.woken++
	if r.trace != nil {
		*r.trace = append(*r.trace, "wake")
	}
}

// TestRoundOrder: all slots are marked, then each connection is flushed once, then readers wake.
func TestRoundOrder(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.topic("u")
		b.settle()
		var trace []string
		one, two := &flusher{&trace, "one"}, &flusher{&trace, "two"}
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Stall: true})
		for _, name := range []string{"t", "u"} {
			p := b.partition(name)
			p.Subscribe(&Subscription{Reader: &reader{trace: &trace}})
			target := b.append(p, "x")
			for i, f := range []Flusher{one, two, one} {
				p.Await(target, true, &waiter{trace: &trace, name: fmt.Sprint(name, i), flusher: f})
			}
		}
		stall.Heal()
		synctest.Wait()
		rank := map[string]int{"r": 0, "f": 1, "w": 2}
		rounds := 1
		for i := 1; i < len(trace); i++ {
			if rank[trace[i][:1]] < rank[trace[i-1][:1]] {
				rounds++
			}
		}
		flushes := 0
		for _, s := range trace {
			if strings.HasPrefix(s, "flush") {
				flushes++
			}
		}
		if rounds > 2 || flushes != 2*rounds || len(trace) != 6+flushes+2 {
			t.Errorf("%d rounds: %v", rounds, trace)
		}
	})
}

// TestReadersAreToldOfEveryByte, however appends and flushes race.
func TestReadersAreToldOfEveryByte(t *testing.T) {
	for _, caching := range []bool{false, true} {
		inBed(t, func(t *testing.T, b *bed) {
			b.topic("t", fmt.Sprint("write.caching=", caching))
			b.settle()
			p := b.partition("t")
			rd := &reader{}
			sub := &Subscription{Reader: rd}
			p.Subscribe(sub)
			var want int64
			var mu sync.Mutex
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 100 {
						batch := b.batch("some value")
						mu.Lock()
						want += int64(len(batch))
						mu.Unlock()
						var r Round
						a := []storage.Append{{Batch: batch}}
						if err := p.AppendLeader(a, &r); err != nil {
							t.Error(err)
						}
						r.Finish()
					}
				})
			}
			wg.Wait()
			synctest.Wait()
			rd.mu.Lock()
			if rd.bytes != want || rd.woken == 0 {
				t.Errorf("told of %d of %d bytes in %d wake-ups", rd.bytes, want, rd.woken)
			}
			rd.mu.Unlock()
			sub.Unsubscribe()
			sub.Unsubscribe()
			before := rd.bytes
			b.append(p, "unheard")
			synctest.Wait()
			if rd.bytes != before {
				t.Error("told after it had unsubscribed")
			}
		})
	}
}

// TestFlushBeforeTheNote: a flush can be done with an append before the one who appended has noted it. Readers
// must hear of it all the same, or they wait until their time is up.
func TestFlushBeforeTheNote(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t")
		b.settle()
		p := b.partition("t")
		rd := &reader{}
		p.Subscribe(&Subscription{Reader: rd})
		log, err := p.Log()
		b.must(err)
		a := []storage.Append{{Batch: b.batch("x")}}
		b.must(log.Append(0, a))
		synctest.Wait()
		if p.HighWatermark() != 1 || rd.woken != 0 {
			t.Fatalf("high watermark %d, woken %d times", p.HighWatermark(), rd.woken)
		}
		var r Round
		p.note(sum(a), false, &r)
		r.Finish()
		if rd.woken != 1 || rd.bytes != int64(len(a[0].Batch)) {
			t.Errorf("told of %d bytes, woken %d times", rd.bytes, rd.woken)
		}
	})
}

func TestSettingsReachTheLog(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t", "segment.bytes=2000000", "message.timestamp.type=LogAppendTime", "retention.ms=5000")
		b.settle()
		log, err := b.partition("t").Log()
		b.must(err)
		o := log.Options()
		if o.SegmentBytes != 2_000_000 || !o.LogAppendTime || o.RetentionMillis != 5000 || o.WriteCaching {
			t.Errorf("options %+v", o)
		}
	})
}

// TestZeroIsNotUnset: what is 0 on purpose is not taken for a setting that nobody has made.
func TestZeroIsNotUnset(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("t", "retention.ms=0", "retention.bytes=0", "flush.ms=0", "index.interval.bytes=0")
		b.topic("u", "write.caching=true", "flush.messages=1")
		b.settle()
		log, err := b.partition("t").Log()
		b.must(err)
		if o := log.Options(); o.RetentionMillis != storage.RetainNothing || o.RetentionBytes != storage.RetainNothing || o.FlushMillis != 1 || o.IndexIntervalBytes != 1 {
			t.Errorf("options %+v", o)
		}
		// flush.messages=1 is fsync before the acknowledgement, as in Kafka, whatever write.caching says.
		stall := b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "*.log", Stall: true})
		p := b.partition("u")
		target := b.append(p, "a")
		if p.HighWatermark() != 0 || p.Acknowledged(target, false) || p.Acknowledged(target, true) {
			t.Error("acknowledged before the flush")
		}
		stall.Heal()
		b.settle()
		if !p.Acknowledged(target, true) {
			t.Error("not acknowledged after the flush")
		}
	})
}

// TestFailedLogTakesItsPartitionOffline and no other.
func TestFailedLogTakesItsPartitionOffline(t *testing.T) {
	inBed(t, func(t *testing.T, b *bed) {
		b.topic("bad")
		b.topic("good")
		b.settle()
		bad := b.partition("bad")
		b.disk.Inject(vfs.Rule{Ops: vfs.OpSync, Path: "bad-0/*.log", Err: errors.New("disk on fire")})
		w := &waiter{}
		var r Round
		a := []storage.Append{{Batch: b.batch("x")}}
		// The flush may fail before the append has returned.
		if err := cmp.Or(bad.AppendLeader(a, &r), a[0].Err); err != nil {
			w.got = append(w.got, err)
		} else {
			bad.Await(NextOffset(&a[0]), true, w)
		}
		synctest.Wait()
		if len(w.got) != 1 || !errors.Is(w.got[0], storage.ErrStorage) {
			t.Errorf("the append was told %v", w.got)
		}
		b.expectErr(bad.Leading(-1), storage.ErrStorage)
		b.fence(1)
		b.unfence(1)
		synctest.Wait()
		b.expectErr(bad.Leading(-1), storage.ErrStorage)
		good := b.partition("good")
		target := b.append(good, "x")
		synctest.Wait()
		if !good.Acknowledged(target, true) {
			t.Error("the other partition does not go on")
		}
		b.disk.Heal()
	})
}

func BenchmarkLookup(b *testing.B) {
	cfg, err := config.Load(config.Sources{})
	if err != nil {
		b.Fatal(err)
	}
	m, err := New(Options{Resolve: cfg.Topic, Created: func(context.Context, []Created) error { return nil }, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10_000 {
		t := &topic{name: fmt.Sprint("topic-", i), partitions: []*Partition{{}}}
		m.names[t.name] = t
	}
	name := []byte("topic-777")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.ByName(name, 0); err != nil {
			b.Fatal(err)
		}
	}
}
