package coordinator

import (
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

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/invariant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memLog is a Log in memory whose high watermark the test moves.
type memLog struct {
	mu       sync.Mutex
	records  []Record   // below the high watermark
	batches  [][]Record // appended, not committed
	dones    []func(error)
	epoch    int32 // refuses others; 0: none
	auto     bool  // commit at once
	fail     error // answer appends with this
	loadWait chan struct{}
	loads    int
	sizes    []int // records of each batch, in order
}

func (l *memLog) Load(ctx context.Context, epoch int32, apply func(Record) error) error {
	l.mu.Lock()
	l.loads++
	wait := l.loadWait
	l.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	records, leader := slices.Clone(l.records), l.epoch
	l.mu.Unlock()
	if leader != 0 && epoch != leader {
		return fmt.Errorf("epoch %d: %w", epoch, ErrNotCoordinator)
	}
	for _, r := range records {
		if err := apply(r); err != nil {
			return err
		}
	}
	return nil
}

func (l *memLog) Append(epoch int32, records []Record, done func(error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.epoch != 0 && epoch != l.epoch:
		done(ErrNotCoordinator)
	case l.fail != nil:
		done(l.fail)
	default:
		l.sizes = append(l.sizes, len(records))
		l.batches = append(l.batches, slices.Clone(records))
		l.dones = append(l.dones, done)
		if l.auto {
			l.commitLocked(nil)
		}
	}
}

// commit moves the high watermark past all that was appended, or drops it with err.
func (l *memLog) commit(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commitLocked(err)
}

func (l *memLog) commitLocked(err error) {
	for i, b := range l.batches {
		if err == nil {
			l.records = append(l.records, b...)
		}
		l.dones[i](err)
	}
	l.batches, l.dones = nil, nil
}

// kv is a machine of keys and values. A value "!" is refused by Apply.
type kv struct {
	state  map[string]string
	parked []Reply
	fired  []string
}

func newKV(int32) *kv { return &kv{state: map[string]string{}} }

func (m *kv) Apply(r Record) error {
	switch {
	case r.Value == nil:
		delete(m.state, string(r.Key))
	case string(r.Value) == "!":
		return errors.New("unreadable")
	default:
		m.state[string(r.Key)] = string(r.Value)
	}
	return nil
}

func (m *kv) Loaded(Now) Result { return Result{} }

func (m *kv) Expire(_ Now, id any) Result {
	m.fired = append(m.fired, fmt.Sprint(id))
	return Result{}
}

func (m *kv) Unload() []Reply { return m.parked }

func (m *kv) Dump() string { return fmt.Sprint(m.state) }

func set(key, value string, reply Reply) Event[*kv] {
	return Event[*kv]{
		Run: func(*kv, Now) Result {
			return Result{Key: key, Records: []Record{{[]byte(key), []byte(value)}}, Replies: []Reply{reply}}
		},
		Fail: reply,
	}
}

func get(key string, answer func(string, error)) Event[*kv] {
	return Event[*kv]{
		Run: func(m *kv, _ Now) Result {
			v := m.state[key]
			return Result{Key: key, Replies: []Reply{func(err error) {
				if err != nil {
					v = ""
				}
				answer(v, err)
			}}}
		},
		Fail: func(err error) { answer("", err) },
	}
}

// transcript collects answers in the order in which they came.
type transcript struct {
	mu    sync.Mutex
	lines []string
}

func (t *transcript) reply(name string) Reply {
	return func(err error) { t.add(name + ": " + verdict(err)) }
}

func (t *transcript) read(name string) func(string, error) {
	return func(v string, err error) { t.add(name + ": " + v + " " + verdict(err)) }
}

func (t *transcript) add(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, s)
}

func (t *transcript) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.Join(t.lines, ", ")
	t.lines = nil
	return s
}

func verdict(err error) string {
	for e, name := range map[error]string{
		ErrNotCoordinator: "not coordinator", ErrLoading: "loading", ErrTimedOut: "timed out",
		ErrOverloaded: "overloaded", ErrTooLarge: "too large", ErrUnavailable: "unavailable",
	} {
		if errors.Is(err, e) {
			return name
		}
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// run starts a runtime in the bubble; its end is waited for when the test ends.
func run(t *testing.T, o Options[*kv]) *Runtime[*kv] {
	t.Helper()
	o.Topic, o.Logger = "__test", slog.New(slog.DiscardHandler)
	if o.Machine == nil {
		o.Machine = newKV
	}
	r := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return r
}

func want(t *testing.T, got, wanted string) {
	t.Helper()
	if got != wanted {
		t.Errorf("got  %q\nwant %q", got, wanted)
	}
}

func TestReplyWaitsForTheHighWatermark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{}, &transcript{}
		r := run(t, Options[*kv]{})
		r.Load(0, 1, log)
		synctest.Wait()
		r.Submit(0, set("a", "1", tr.reply("set a")))
		r.Submit(0, get("a", tr.read("get a")))
		r.Submit(0, get("b", tr.read("get b")))
		synctest.Wait()
		want(t, tr.take(), "get b:  ok") // nobody has written b: nothing to wait for
		log.commit(nil)
		synctest.Wait()
		want(t, tr.take(), "set a: ok, get a: 1 ok")
	})
}

func TestEventsGatherWhileAnAppendIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{}, &transcript{}
		r := run(t, Options[*kv]{})
		r.Load(0, 1, log)
		synctest.Wait()
		r.Submit(0, set("a", "1", tr.reply("1")))
		synctest.Wait()
		for i := range 50 {
			r.Submit(0, set(fmt.Sprint(i), "x", func(error) {}))
			synctest.Wait()
		}
		log.commit(nil)
		synctest.Wait()
		log.commit(nil)
		synctest.Wait()
		want(t, fmt.Sprint(log.sizes), "[1 50]")
	})
}

func TestBatchesEndAtTheirLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{}, &transcript{}
		r := run(t, Options[*kv]{GatherBytes: 100, MaxBatchBytes: 200})
		r.Load(0, 1, log)
		synctest.Wait()
		r.Submit(0, set("a", "1", tr.reply("a")))
		synctest.Wait()
		r.Submit(0, set("b", strings.Repeat("x", 40), tr.reply("b")))
		r.Submit(0, set("c", strings.Repeat("x", 40), tr.reply("c")))
		r.Submit(0, set("d", strings.Repeat("x", 200), tr.reply("d")))
		r.Submit(0, get("d", tr.read("get d")))
		synctest.Wait()
		want(t, tr.take(), "d: too large, get d:  ok") // and was not applied
		for range 3 {
			log.commit(nil)
			synctest.Wait()
		}
		want(t, tr.take(), "a: ok, b: ok, c: ok")
		want(t, fmt.Sprint(log.sizes), "[1 1 1]")
	})
}

func TestRecordsWithoutKeyConcernAllKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{}, &transcript{}
		r := run(t, Options[*kv]{})
		r.Load(0, 1, log)
		synctest.Wait()
		all := set("", "x", tr.reply("all"))
		r.Submit(0, all)
		r.Submit(0, get("b", tr.read("get b")))
		synctest.Wait()
		want(t, tr.take(), "")
		log.commit(nil)
		synctest.Wait()
		want(t, tr.take(), "all: ok, get b:  ok")
	})
}

func TestAFailedAppendLoadsTheShardAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{}, &transcript{}
		r := run(t, Options[*kv]{})
		r.Load(0, 1, log)
		synctest.Wait()
		r.Submit(0, set("a", "1", tr.reply("first")))
		synctest.Wait()
		log.commit(nil)
		r.Submit(0, set("a", "2", tr.reply("second")))
		synctest.Wait()
		r.Submit(0, set("b", "3", tr.reply("gathered")))
		r.Submit(0, get("a", tr.read("get a")))
		synctest.Wait()
		tr.take()
		log.commit(fmt.Errorf("disk: %w", ErrUnavailable))
		synctest.Wait()
		want(t, tr.take(), "second: unavailable, get a:  unavailable, gathered: unavailable")
		if err := r.State(0); !errors.Is(err, ErrLoading) {
			t.Errorf("state %v", err)
		}
		time.Sleep(time.Second)
		r.Submit(0, get("a", tr.read("get a")))
		synctest.Wait()
		want(t, tr.take(), "get a: 1 ok")
		if log.loads != 2 {
			t.Errorf("%d loads", log.loads)
		}
	})
}

func TestALostLeadershipAnswersNotCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{epoch: 1}, &transcript{}
		r := run(t, Options[*kv]{})
		r.Load(0, 1, log)
		synctest.Wait()
		log.mu.Lock()
		log.epoch = 2
		log.mu.Unlock()
		r.Submit(0, set("a", "1", tr.reply("late")))
		synctest.Wait()
		want(t, tr.take(), "late: not coordinator")
		r.Submit(0, get("a", tr.read("get")))
		time.Sleep(10 * time.Second)
		r.Submit(0, get("a", tr.read("get")))
		synctest.Wait()
		want(t, tr.take(), "get:  not coordinator, get:  not coordinator")
		r.Load(0, 2, log)
		synctest.Wait()
		r.Submit(0, get("a", tr.read("get")))
		synctest.Wait()
		want(t, tr.take(), "get:  ok")
	})
}

func TestWhileItLoadsTheShardSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{loadWait: make(chan struct{})}, &transcript{}
		log.records = []Record{{[]byte("a"), []byte("1")}}
		r := run(t, Options[*kv]{})
		r.Submit(0, get("a", tr.read("before")))
		r.Load(0, 1, log)
		synctest.Wait()
		r.Submit(0, get("a", tr.read("during")))
		synctest.Wait()
		close(log.loadWait)
		synctest.Wait()
		r.Submit(0, get("a", tr.read("after")))
		synctest.Wait()
		want(t, tr.take(), "before:  not coordinator, during:  loading, after: 1 ok")
		want(t, fmt.Sprint(r.Partitions()), "[0]")
	})
}

func TestARecordThatCannotBeReadKeepsTheShardFromServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{}, &transcript{}
		log.records = []Record{{[]byte("a"), []byte("!")}}
		r := run(t, Options[*kv]{})
		r.Load(0, 1, log)
		time.Sleep(10 * time.Second)
		r.Submit(0, get("a", tr.read("get")))
		synctest.Wait()
		want(t, tr.take(), "get:  loading")
		if log.loads < 5 || log.loads > 30 {
			t.Errorf("%d attempts in 10 s", log.loads)
		}
	})
}

func TestUnloadAndNewerEpochs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{}, &transcript{}
		r := run(t, Options[*kv]{})
		r.Load(0, 5, log)
		synctest.Wait()
		r.Load(0, 5, log)
		r.Load(0, 4, log)
		r.Unload(0, 4) // of a leadership that is over already
		synctest.Wait()
		if log.loads != 1 {
			t.Errorf("%d loads", log.loads)
		}
		r.Submit(0, set("a", "1", tr.reply("set")))
		r.Submit(0, Event[*kv]{Run: func(m *kv, _ Now) Result {
			m.parked = append(m.parked, tr.reply("parked"))
			return Result{}
		}})
		synctest.Wait()
		r.Load(0, 6, log)
		synctest.Wait()
		want(t, tr.take(), "set: not coordinator, parked: not coordinator")
		log.commit(nil) // the append of the former life: nobody listens
		r.Submit(0, get("a", tr.read("get")))
		synctest.Wait()
		want(t, tr.take(), "get:  ok")
		r.Unload(0, 6)
		r.Submit(0, get("a", tr.read("get")))
		synctest.Wait()
		want(t, tr.take(), "get:  not coordinator")
	})
}

func TestAReplyGivesUpWhenItsWriteIsNotCommittedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{}, &transcript{}
		r := run(t, Options[*kv]{WriteTimeout: time.Second})
		r.Load(0, 1, log)
		synctest.Wait()
		r.Submit(0, set("a", "1", tr.reply("set")))
		time.Sleep(500 * time.Millisecond)
		r.Submit(0, get("a", tr.read("get")))
		time.Sleep(600 * time.Millisecond)
		want(t, tr.take(), "set: timed out")
		time.Sleep(500 * time.Millisecond)
		want(t, tr.take(), "get:  timed out")
		r.Submit(0, get("a", tr.read("later")))
		synctest.Wait()
		log.commit(nil)
		synctest.Wait()
		want(t, tr.take(), "later: 1 ok")
	})
}

func TestTheMailboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{}, &transcript{}
		r := run(t, Options[*kv]{QueueLimit: 10, GatherBytes: 10})
		r.Load(0, 1, log)
		synctest.Wait()
		for i := range maxWrites + 20 {
			r.Submit(0, set(fmt.Sprint(i), "x", tr.reply(fmt.Sprint(i))))
			synctest.Wait()
		}
		refused := tr.take()
		if n := strings.Count(refused, "overloaded"); n == 0 || n > 10 {
			t.Fatalf("refused: %s", refused)
		}
		for range 40 {
			log.commit(nil)
			synctest.Wait()
		}
		if n := strings.Count(tr.take(), ": ok"); n+strings.Count(refused, "overloaded") != maxWrites+20 {
			t.Errorf("%d answered", n)
		}
	})
}

func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memLog{auto: true}
		r := run(t, Options[*kv]{})
		r.Load(0, 1, log)
		synctest.Wait()
		timers := func(ts ...Timer) {
			r.Submit(0, Event[*kv]{Run: func(*kv, Now) Result { return Result{Timers: ts} }, Fail: func(error) { t.Error("refused") }})
			synctest.Wait()
		}
		var fired []string
		look := func() {
			r.Submit(0, Event[*kv]{Run: func(m *kv, _ Now) Result { fired = slices.Clone(m.fired); return Result{} }})
			synctest.Wait()
		}
		timers(Timer{"a", 3 * time.Second}, Timer{"b", time.Second}, Timer{"c", 2 * time.Second}, Timer{"never", time.Second})
		timers(Timer{"never", -1}, Timer{"unknown", -1}, Timer{"c", 5 * time.Second}, Timer{"now", 0})
		time.Sleep(3 * time.Second)
		look()
		want(t, fmt.Sprint(fired), "[now b a]")
		time.Sleep(2 * time.Second)
		look()
		want(t, fmt.Sprint(fired), "[now b a c]")
	})
}

func TestTheEndOfRunAnswersAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, tr := &memLog{}, &transcript{}
		r := New(Options[*kv]{Topic: "__test", Machine: newKV, Registerer: prometheus.NewRegistry()})
		r.Load(0, 1, log) // before Run: begins with it
		r.Load(1, 1, &memLog{})
		r.Unload(1, 1) // and this one never does
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		r.Submit(0, set("a", "1", tr.reply("set")))
		r.Submit(1, get("a", tr.read("unloaded")))
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.Load(0, 9, log)
		r.Submit(0, get("a", tr.read("after the end")))
		want(t, tr.take(), "unloaded:  not coordinator, set: not coordinator, after the end:  not coordinator")
		if err := r.Run(t.Context()); err == nil {
			t.Error("a second Run was not refused")
		}
	})
}

// TestRandomFaults drives one shard with random events while its log commits,
// fails, and changes leaders. Every event is answered once; what was
// acknowledged is in the log; a reader never sees a value that is not in the
// log; and the live state is the fold of the log.
func TestRandomFaults(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { randomFaults(t, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func randomFaults(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	log := &memLog{epoch: 1}
	r := run(t, Options[*kv]{QueueLimit: 64, GatherBytes: 200})
	epoch := int32(1)
	r.Load(0, epoch, log)
	var mu sync.Mutex
	answers := map[string]int{}
	acked := map[string]bool{}
	committed := func(v string) bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return slices.ContainsFunc(log.records, func(r Record) bool { return string(r.Value) == v })
	}
	submitted := 0
	for i := range 400 {
		key := fmt.Sprint("k", rnd.IntN(5))
		switch n := rnd.IntN(20); {
		case n < 10:
			v := fmt.Sprint("v", i)
			submitted++
			r.Submit(0, set(key, v, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				answers[v]++
				if acked[v] = err == nil; acked[v] && !committed(v) {
					t.Errorf("%s was acknowledged and is not in the log", v)
				}
			}))
		case n < 14:
			submitted++
			r.Submit(0, get(key, func(v string, err error) {
				mu.Lock()
				defer mu.Unlock()
				answers[fmt.Sprint("get", i)]++
				if err == nil && v != "" && !committed(v) {
					t.Errorf("%s was read and is not in the log", v)
				}
			}))
		case n < 18:
			log.commit(nil)
		case n < 19:
			if rnd.IntN(4) == 0 {
				log.commit(errors.New("storage"))
				time.Sleep(2 * time.Second)
			}
		default:
			if rnd.IntN(4) == 0 {
				epoch++
				log.mu.Lock()
				log.epoch = epoch
				log.mu.Unlock()
				log.commit(ErrNotCoordinator)
				r.Load(0, epoch, log)
			}
		}
		if rnd.IntN(3) == 0 {
			synctest.Wait()
		}
	}
	for range 10 {
		synctest.Wait()
		log.commit(nil)
	}
	time.Sleep(10 * time.Second)
	var live string
	r.Submit(0, Event[*kv]{Run: func(m *kv, _ Now) Result { live = m.Dump(); return Result{} }, Fail: func(err error) { t.Error(err) }})
	synctest.Wait()
	replayed := newKV(0)
	for _, rec := range log.records {
		if err := replayed.Apply(rec); err != nil {
			t.Fatal(err)
		}
	}
	want(t, live, replayed.Dump())
	if len(answers) != submitted {
		t.Errorf("%d of %d events were answered", len(answers), submitted)
	}
	for _, k := range slices.Sorted(maps.Keys(answers)) {
		if answers[k] != 1 {
			t.Errorf("%s was answered %d times", k, answers[k])
		}
	}
}

// TestTheAuditSeesAStateThatIsNotInTheLog: the assertion of I-39 can fail.
func TestTheAuditSeesAStateThatIsNotInTheLog(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("needs -tags invariant")
	}
	audit := func(change func(m *kv)) (violation any) {
		defer func() { violation = recover() }()
		s := newShard(New(Options[*kv]{Machine: newKV}), 0, 1, &memLog{records: []Record{{[]byte("a"), []byte("1")}}})
		if err := s.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.commits = auditEvery
		change(s.machine)
		s.audit(t.Context())
		return nil
	}
	if v := audit(func(*kv) {}); v != nil {
		t.Error(v)
	}
	if v := audit(func(m *kv) { m.state["b"] = "2" }); v == nil || !strings.Contains(fmt.Sprint(v), "I-39") {
		t.Errorf("violation %v", v)
	}
}
