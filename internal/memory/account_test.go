package memory

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFits(t *testing.T) {
	for _, c := range []struct {
		what         string
		used, n, own int64
		class        Class
		want         bool
	}{
		{"a small one up to the limit", 90, 10, 0, Small, true},
		{"no further", 91, 10, 0, Small, false},
		{"a large one leaves a quarter", 65, 10, 0, Large, true},
		{"and no less", 66, 10, 0, Large, false},
		{"anything when nobody has any", 0, 1000, 0, Large, true},
		{"or nobody else", 100, 1000, 100, Large, true},
		{"a very large one beside half", 50, 60, 0, Large, true},
		{"but not beside more", 51, 60, 0, Large, false},
	} {
		if got := New(100).fits(c.used, c.n, c.own, c.class); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

func TestTakersWaitTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(100)
		a.Force(100)
		var got []int64
		var mu sync.Mutex
		take := func(n int64, c Class) {
			go func() {
				if err := a.Take(t.Context(), n, 0, c); err != nil {
					t.Error(err)
				}
				mu.Lock()
				got = append(got, n)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		take(20, Large)
		take(10, Large)
		take(5, Small)
		take(6, Small)
		want := func(n int) {
			t.Helper()
			synctest.Wait()
			if len(got) != n {
				t.Errorf("%v have been given", got)
			}
		}
		a.Give(5)
		want(1)
		a.Give(6)
		want(2)
		a.Give(20) // used 80: a quarter is not for large ones, and the second does not pass the first
		want(2)
		a.Give(25)
		want(3)
		a.Give(10)
		want(4)
		if a.Used() != 75 || a.Waiting() != 0 {
			t.Errorf("%d used, %d wait", a.Used(), a.Waiting())
		}
	})
}

func TestATakerThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(100)
		a.Force(60)
		ctx, cancel := context.WithCancelCause(t.Context())
		tired, next := make(chan error, 1), make(chan error, 1)
		go func() { tired <- a.Take(ctx, 20, 0, Large) }()
		synctest.Wait()
		go func() { next <- a.Take(t.Context(), 10, 0, Large) }()
		synctest.Wait()
		why := errors.New("tired")
		cancel(why)
		if err := <-tired; !errors.Is(err, why) {
			t.Error(err)
		}
		if err := <-next; err != nil { // it fits, once nobody is before it
			t.Error(err)
		}
		if a.Used() != 70 {
			t.Errorf("%d used", a.Used())
		}
	})
}

// TestWhatIsKeptGivesWay: memory that is kept for use again is let go of when what is taken needs the room.
func TestWhatIsKeptGivesWay(t *testing.T) {
	a := New(160)
	dropped := false
	a.OnShort(func() { a.Keep(-60); dropped = true })
	a.Keep(60)
	if !a.TryTake(110, 0, Small) || dropped {
		t.Error("both fit, but for a sixteenth")
	}
	a.Force(1)
	if !dropped || a.Over() != -49 {
		t.Errorf("dropped %v, %d over", dropped, a.Over())
	}
}

func TestManyTakers(t *testing.T) {
	a := New(1000)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 500 {
				n := int64(1 + (i*37+j*11)%400)
				if err := a.Take(context.Background(), n, 0, Class(i%2)); err != nil {
					t.Error(err)
				}
				a.Give(n)
			}
		})
	}
	wg.Wait()
	if a.Used() != 0 || a.Waiting() != 0 {
		t.Errorf("%d used, %d wait", a.Used(), a.Waiting())
	}
}
