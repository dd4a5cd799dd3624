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

// maxKeptTimings is how many timings a free slot keeps room for.
const maxKeptTimings = 64

// Time notes the timing of what the slot answers, for Handler.Answered. Whoever completes the slot calls it before Done.
func (s *Slot) Time(t Timing) { s.timings = append(s.timings, t) }

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
