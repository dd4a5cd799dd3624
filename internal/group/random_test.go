package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/coordinator"
)

// TestRandomRebalances lets random members join, die, leave, restart and commit
// in one group while its coordinator loses appends and is replaced, in fake
// time over the real runtime, and holds what members and committers may rely on
// (I-34 to I-36, I-39, I-60 of the invariants).
func TestRandomRebalances(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { newWorld(t, uint64(seed)).run() })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// slowLog commits after a random while, or fails.
type slowLog struct {
	w       *world
	mu      sync.Mutex
	records []coordinator.Record
	epoch   int32
}

func (l *slowLog) Load(_ context.Context, epoch int32, apply func(coordinator.Record) error) error {
	l.mu.Lock()
	records, leader := slices.Clone(l.records), l.epoch
	l.mu.Unlock()
	if epoch != leader {
		return coordinator.ErrNotCoordinator
	}
	time.Sleep(l.w.upTo(50 * time.Millisecond))
	for _, r := range records {
		if err := apply(r); err != nil {
			return err
		}
	}
	return nil
}

func (l *slowLog) Append(epoch int32, records []coordinator.Record, done func(error)) {
	records = slices.Clone(records)
	d, lost := l.w.upTo(20*time.Millisecond), l.w.chance(0.003)
	time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case epoch != l.epoch:
			done(coordinator.ErrNotCoordinator)
		case lost:
			done(fmt.Errorf("a fault of the test: %w", coordinator.ErrUnavailable))
		default:
			l.records = append(l.records, records...)
			done(nil)
		}
	})
}

type world struct {
	t   *testing.T
	r   *coordinator.Runtime[*Machine]
	log *slowLog

	mu          sync.Mutex
	rnd         *rand.Rand
	ids         int
	generations map[int32]generation // what members were told of each
	owners      map[int32]map[string]string
	acked       int64 // the last acknowledged commit
	newest      int32 // the highest generation whose commit was acknowledged
	stopped     bool
	stable      map[int]string // live members: "generation/partitions"
}

// generation is what all its members must have been told alike.
type generation struct{ leader, protocol, members string }

const (
	worldSession   = 10 * time.Second
	worldRebalance = 20 * time.Second
)

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 7)), acked: -1,
		generations: map[int32]generation{}, owners: map[int32]map[string]string{}, stable: map[int]string{},
	}
	w.log = &slowLog{w: w, epoch: 1}
	w.r = coordinator.New(coordinator.Options[*Machine]{
		Topic: Topic, Logger: slog.New(slog.DiscardHandler),
		Machine: func(int32) *Machine { return New(w.options()) },
	})
	return w
}

func (w *world) options() Options {
	return Options{
		MinSessionTimeout: 6 * time.Second, MaxSessionTimeout: 30 * time.Minute, InitialRebalanceDelay: time.Second,
		MaxMetadata: 4096, Retention: 7 * 24 * time.Hour, RetentionCheck: 10 * time.Minute, MaxRecordBytes: 1 << 20,
		NewID: func() string {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ids++
			return fmt.Sprint(w.ids)
		},
	}
}

func (w *world) upTo(d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.rnd.Int64N(int64(d)))
}

func (w *world) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.stopped && w.rnd.Float64() < p
}

// ask submits an event and waits for its answer.
func ask[A any](w *world, do func(m *Machine, now coordinator.Now, answer func(A)) coordinator.Result, failed func(error) A) A {
	answers := make(chan A, 2)
	w.r.Submit(0, coordinator.Event[*Machine]{
		Run: func(m *Machine, now coordinator.Now) coordinator.Result {
			return do(m, now, func(a A) { answers <- a })
		},
		Fail: func(err error) { answers <- failed(err) },
	})
	return <-answers
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	var all, members sync.WaitGroup
	all.Go(func() {
		if err := w.r.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.r.Load(0, 1, w.log)
	live := 0
	quit := map[int]context.CancelFunc{}
	for i := range 40 {
		switch {
		case len(quit) < 2 || len(quit) < 6 && w.chance(0.5):
			mctx, stop := context.WithCancel(ctx)
			quit[i] = stop
			members.Go(func() { w.member(mctx, i) })
		case w.chance(0.6):
			gone := slices.Sorted(maps.Keys(quit))[int(w.upTo(time.Duration(len(quit))))]
			quit[gone]()
			delete(quit, gone)
		}
		if w.chance(0.15) {
			w.replace()
		}
		time.Sleep(w.upTo(15 * time.Second))
	}
	w.mu.Lock()
	w.stopped = true // no more faults
	w.mu.Unlock()
	time.Sleep(2*worldRebalance + 2*worldSession)
	live = len(quit)
	w.settled(live)
	for _, stop := range quit {
		stop()
	}
	members.Wait()
	w.replayed()
	if len(w.generations) < 10 || w.acked < 10 {
		w.t.Errorf("only %d generations and %d commits: the test has tested nothing", len(w.generations), w.acked)
	}
	cancel()
	all.Wait()
}

// replace lets another coordinator take over.
func (w *world) replace() {
	w.log.mu.Lock()
	w.log.epoch++
	epoch := w.log.epoch
	w.log.mu.Unlock()
	w.r.Load(0, epoch, w.log)
}

// settled checks that all live members own a share of the same generation.
func (w *world) settled(live int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gens, owned := map[string]int{}, map[string]bool{}
	for _, s := range w.stable {
		gen, partitions, _ := strings.Cut(s, "/")
		gens[gen]++
		for _, p := range strings.Fields(partitions) {
			if owned[p] {
				w.t.Errorf("partition %s has two owners: %v", p, w.stable)
			}
			owned[p] = true
		}
	}
	if len(gens) != 1 || len(w.stable) != live || len(owned) != 8 {
		w.t.Errorf("after the faults have ended %d live members hold %v", live, w.stable)
	}
}

// replayed checks that the live state is the fold of the log.
func (w *world) replayed() {
	live := ask(w, func(m *Machine, _ coordinator.Now, answer func(string)) coordinator.Result {
		d := m.Dump()
		return coordinator.Result{Replies: []coordinator.Reply{func(error) { answer(d) }}}
	}, error.Error)
	m := New(w.options())
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	for _, r := range w.log.records {
		if err := m.Apply(r); err != nil {
			w.t.Fatal(err)
		}
	}
	if m.Dump() != live {
		w.t.Errorf("the log folds to\n%s\nand the live state is\n%s", m.Dump(), live)
	}
}

// member is a consumer: it joins, syncs, beats and commits until ctx ends; then
// it leaves, or dies.
func (w *world) member(ctx context.Context, n int) {
	id := ""
	var instance *string
	if w.chance(0.3) {
		s := fmt.Sprint("static", n)
		instance = &s
	}
	version := 3 + 3*n%9
	protocols := []Protocol{{"range", []byte(fmt.Sprint(n))}}
	if w.chance(0.5) {
		protocols = append(protocols, Protocol{"sticky", []byte("s")})
	}
	for ctx.Err() == nil {
		began := time.Now()
		j := ask(w, func(m *Machine, now coordinator.Now, answer func(JoinAnswer)) coordinator.Result {
			return m.Join(now, JoinRequest{
				Group: "g", MemberID: id, InstanceID: instance, Client: Client{fmt.Sprint("c", n), "/h"}, ProtocolType: "consumer", Protocols: protocols,
				SessionTimeout: worldSession, RebalanceTimeout: worldRebalance, RequireMemberID: version >= 4, CanSkipAssignment: version >= 9,
			}, answer)
		}, func(err error) JoinAnswer { return JoinAnswer{Err: err, MemberID: id} })
		if d := time.Since(began); d > worldRebalance+5*time.Second {
			w.t.Errorf("member %d waited %v for its JoinGroup", n, d)
		}
		switch {
		case j.Err == nil:
			id = j.MemberID
			w.joined(j)
			if w.chance(0.05) {
				w.replace() // between the generation and its assignment
			}
			if s, ok := w.sync(n, id, j); ok {
				w.live(ctx, n, id, j.Generation, s)
			}
			w.forget(n)
		case errors.Is(j.Err, ErrUnknownMember):
			id = ""
		case errors.Is(j.Err, ErrMemberIDRequired):
			id = j.MemberID
		case errors.Is(j.Err, ErrFencedInstance):
			w.t.Errorf("member %d was fenced", n)
			return
		default:
			time.Sleep(100 * time.Millisecond)
		}
	}
	if id != "" && w.chance(0.5) {
		ask(w, func(m *Machine, now coordinator.Now, answer func(LeaveAnswer)) coordinator.Result {
			return m.Leave(now, "g", []Leaver{{MemberID: id, InstanceID: instance}}, answer)
		}, func(err error) LeaveAnswer { return LeaveAnswer{Err: err} })
	}
}

func (w *world) forget(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.stable, n)
}

// joined checks that all members of a generation are told the same of it.
func (w *world) joined(j JoinAnswer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := generation{j.Leader, j.Protocol, ""}
	for _, m := range j.Members {
		told.members += m.ID + " "
	}
	before, ok := w.generations[j.Generation]
	if ok && (before.leader != told.leader || before.protocol != told.protocol ||
		before.members != "" && told.members != "" && before.members != told.members) {
		w.t.Errorf("generation %d was given twice: %v and %v", j.Generation, before, told)
	}
	told.members = cmp.Or(told.members, before.members)
	w.generations[j.Generation] = told
	if w.newest > j.Generation {
		w.t.Errorf("generation %d began after a commit of generation %d", j.Generation, w.newest)
	}
}

// sync gets the member's share; a leader deals eight partitions out.
func (w *world) sync(n int, id string, j JoinAnswer) (string, bool) {
	assign := map[string][]byte{}
	for i := range 8 {
		if len(j.Members) > 0 {
			to := j.Members[i%len(j.Members)].ID
			assign[to] = fmt.Appendf(assign[to], "%d ", i)
		}
	}
	s := ask(w, func(m *Machine, now coordinator.Now, answer func(SyncAnswer)) coordinator.Result {
		return m.Sync(now, SyncRequest{Group: "g", MemberID: id, Generation: j.Generation, Assignments: assign}, answer)
	}, func(err error) SyncAnswer { return SyncAnswer{Err: err} })
	if s.Err != nil {
		return "", false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	owners := w.owners[j.Generation]
	if owners == nil {
		owners = map[string]string{}
		w.owners[j.Generation] = owners
	}
	for _, p := range strings.Fields(string(s.Assignment)) {
		if other, ok := owners[p]; ok && other != id {
			w.t.Errorf("generation %d: partition %s belongs to %s and %s", j.Generation, p, other, id)
		}
		owners[p] = id
	}
	w.stable[n] = fmt.Sprintf("%d/%s", j.Generation, s.Assignment)
	return string(s.Assignment), true
}

// live beats and commits until the group rebalances or ctx ends.
func (w *world) live(ctx context.Context, n int, id string, gen int32, share string) {
	for ctx.Err() == nil {
		time.Sleep(500*time.Millisecond + w.upTo(time.Second))
		err := ask(w, func(m *Machine, now coordinator.Now, answer func(error)) coordinator.Result {
			return m.Heartbeat(now, HeartbeatRequest{Group: "g", MemberID: id, Generation: gen}, answer)
		}, func(err error) error { return err })
		switch {
		case errors.Is(err, ErrRebalanceInProgress), errors.Is(err, ErrIllegalGeneration), errors.Is(err, ErrUnknownMember):
			return
		case err != nil:
			continue // the coordinator moves
		}
		if strings.Contains(share, "0 ") { // the owner of partition 0 commits it
			w.commit(id, gen)
		}
	}
}

func (w *world) commit(id string, gen int32) {
	w.mu.Lock()
	before := w.acked
	offset := before + 1
	newest := w.newest
	w.mu.Unlock()
	fetched := ask(w, func(m *Machine, now coordinator.Now, answer func(FetchAnswer)) coordinator.Result {
		return m.Fetch(now, FetchRequest{Group: "g", Partitions: []TopicPartition{{"t", 0}}}, answer)
	}, func(err error) FetchAnswer { return FetchAnswer{Err: err} })
	if fetched.Err == nil && fetched.Offsets[0].Offset < before {
		w.t.Errorf("offset %d was fetched after %d had been acknowledged", fetched.Offsets[0].Offset, before)
	}
	c := ask(w, func(m *Machine, now coordinator.Now, answer func(CommitAnswer)) coordinator.Result {
		return m.Commit(now, CommitRequest{
			Group: "g", MemberID: id, Generation: gen, RetentionMillis: -1,
			Offsets: []Offset{{Topic: "t", Offset: offset, LeaderEpoch: -1}},
		}, answer)
	}, func(err error) CommitAnswer { return CommitAnswer{Err: err} })
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.Err != nil || c.Errs[0] != nil {
		return
	}
	if newest > gen {
		w.t.Errorf("a commit of generation %d was accepted after one of generation %d", gen, newest)
	}
	w.acked, w.newest = max(w.acked, offset), max(w.newest, gen)
}
