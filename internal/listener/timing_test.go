package listener

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTimings: each request is told of once, when its response has been written, whatever was written with it, or when
// it cannot be any more.
func TestTimings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inBubble(t, nil)
		defer f.stop()
		c := f.dial()
		send(t, c, request(keyLater, "first"), request(keyLater, "second"))
		first, second := <-f.h.later, <-f.h.later
		read := first.Client().ReadAt()
		second.Time(Timing{Key: 2, Requests: 3, Read: read})
		second.Done()
		second.Client().Flush()
		synctest.Wait()
		if len(f.h.answered) != 0 {
			t.Fatal("a response that waits for another was told of")
		}
		time.Sleep(time.Second)
		first.Time(Timing{Key: 1, Requests: 1, Read: read})
		first.Done()
		second.Client().Flush()
		expect(t, c, "first")
		expect(t, c, "second")
		synctest.Wait()
		for i, want := range []Timing{{Key: 1, Requests: 1, Read: read}, {Key: 2, Requests: 3, Read: read}} {
			if i >= len(f.h.answered) || f.h.answered[i] != want || f.h.took[i] != time.Second {
				t.Fatalf("told of %v and %v", f.h.answered, f.h.took)
			}
		}

		send(t, c, request(keyLater, "third"))
		third := <-f.h.later
		c.Close()
		time.Sleep(time.Second)
		third.Time(Timing{Key: 3, Requests: 1, Read: read})
		client := third.Client()
		third.Done()
		client.Flush()
		synctest.Wait()
		if len(f.h.answered) != 3 || f.h.took[2] != 2*time.Second {
			t.Fatalf("told of %v and %v", f.h.answered, f.h.took)
		}
	})
}

// TestTimingsAreFew: a run of very many small responses notes no more timings than one of a few, and forgets no request.
func TestTimingsAreFew(t *testing.T) {
	var s Slot
	began := time.Now()
	for i := range 10_000 {
		s.Time(Timing{Key: int16(i % 7), Requests: 1, Bytes: 10, Read: began.Add(time.Duration(i)), Queue: time.Millisecond, Local: time.Duration(i % 3)})
	}
	requests, bytes := 0, 0
	for i := range s.timings {
		tm := &s.timings[i]
		requests += tm.Requests
		bytes += tm.Bytes
		if tm.Queue != time.Millisecond || tm.Local < 0 || tm.Local > 2 || tm.Read.Before(began) || tm.Read.After(began.Add(10_000)) {
			t.Errorf("%+v is not between those that it stands for", tm)
		}
	}
	if len(s.timings) != maxTimings || requests != 10_000 || bytes != 100_000 {
		t.Errorf("%d timings of %d requests, %d bytes", len(s.timings), requests, bytes)
	}
	s.Time(Timing{Key: 8, Requests: 1})
	if len(s.timings) != maxTimings+1 {
		t.Error("an API that was not there has no timing")
	}
}
