package listener

import "time"

// Timing is where the time of a request has gone, or of several of one API that were served together, until its response
// was complete. What is then left until the response has been written is the listener's to add.
type Timing struct {
	Key      int16
	Requests int
	Bytes    int       // of their responses
	Read     time.Time // Client.ReadAt when they were served

	Queue  time.Duration // from Read until they began to be served
	Local  time.Duration // in which they were served
	Remote time.Duration // in which they waited for something else
}

// maxTimings is how many timings a slot keeps one by one. A run of small responses, which a client need not take, answers
// thousands of requests, and a timing is larger than such a response.
const maxTimings = 64

// Time notes the timing of what the slot answers, for Handler.Answered. Whoever completes the slot calls it before Done.
// Beyond maxTimings requests of one API are told as if they had taken the same time, their mean.
func (s *Slot) Time(t Timing) {
	if len(s.timings) >= maxTimings {
		for i := len(s.timings) - 1; i >= 0; i-- {
			if s.timings[i].Key == t.Key {
				s.timings[i].add(&t)
				return
			}
		}
	}
	s.timings = append(s.timings, t)
}

// add makes t the timing of its own requests and those of o.
func (t *Timing) add(o *Timing) {
	n := t.Requests + o.Requests
	if n == 0 {
		return
	}
	mean := func(own, other time.Duration) time.Duration {
		return own + (other-own)*time.Duration(o.Requests)/time.Duration(n)
	}
	t.Read = t.Read.Add(mean(0, o.Read.Sub(t.Read)))
	t.Queue, t.Local, t.Remote = mean(t.Queue, o.Queue), mean(t.Local, o.Local), mean(t.Remote, o.Remote)
	t.Requests, t.Bytes = n, t.Bytes+o.Bytes
}

// Time is Slot.Time for responses that were appended to Out.
func (c *Client) Time(t Timing) { c.run.Time(t) }

// ReadAt returns when the bytes that are being served were read. It is the reader's.
func (c *Client) ReadAt() time.Time { return c.readAt }

// tell reports the timings of a slot that has been written, or never will be.
func (s *Slot) tell() {
	if len(s.timings) == 0 {
		return
	}
	now := time.Now()
	for i := range s.timings {
		t := &s.timings[i]
		s.c.l.o.Handler.Answered(t, now.Sub(t.Read))
	}
}
