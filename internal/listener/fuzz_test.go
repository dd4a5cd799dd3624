package listener

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzFraming sends arbitrary bytes in pieces of arbitrary sizes. The frames before the first that cannot be are answered in order, those
// behind it are not; the memory that is held while a frame is not whole is a multiple of what has arrived of it, and none is held in the end.
func FuzzFraming(f *testing.F) {
	f.Add(slices.Concat(request(keyEcho, "one"), request(keyPut, "two"), request(keyEcho, "three")), []byte{1, 2, 3, 50})
	f.Add(slices.Concat(request(keyEcho, "one"), request(keyBad, "two"), request(keyEcho, "three")), []byte{7})
	f.Add(slices.Concat(request(keyPut, "one"), []byte{0x7f, 0xff, 0xff, 0xff, 0, 1, 0, 0}), []byte{255})
	f.Add([]byte{0, 0x7f, 0xff, 0xff, 0, 1, 0, 0, 1, 2, 3}, []byte{4})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte{})
	f.Add(slices.Concat(request(keyLater, "a key that nobody answers at once"), request(keyEcho, "b")), []byte{0, 0, 9})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		want, now, ok := framed(stream)
		if !ok {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			fx := inBubble(t, nil)
			defer fx.stop()
			c := fx.dial()
			defer c.Close()
			got := make(chan []byte)
			go func() {
				all, _ := io.ReadAll(c)
				got <- all
			}()
			for rest := stream; len(rest) > 0; {
				n := len(rest)
				if len(cuts) > 0 {
					n, cuts = min(n, int(cuts[0])*int(cuts[0])+1), cuts[1:]
				}
				if _, err := c.Write(rest[:n]); err != nil {
					break
				}
				rest = rest[n:]
				synctest.Wait()
				if held, most := fx.l.account.Used(), int64(4*len(stream)+2*readBuffer); held > most {
					t.Fatalf("%d bytes are held for %d", held, len(stream)-len(rest))
				}
			}
			for range 25 { // until the sweep has given up on what is not whole, and on the connection
				time.Sleep(time.Minute)
				fx.answerLater()
			}
			if all := <-got; len(all) < now || !bytes.HasPrefix(want, all) {
				t.Fatalf("%d bytes of responses %.60x, want %d to %d: %.60x", len(all), all, now, len(want), want)
			}
			if held := fx.l.account.Used(); held != 0 {
				t.Errorf("%d bytes are held for nobody", held)
			}
		})
	})
}

// framed returns what is answered to a stream by a reader that does no more than the framing asks for, and how much of that
// without a wait for what is answered later: a part of a frame at the end closes the connection before. False: it needs a test of its own.
func framed(stream []byte) (answers []byte, now int, ok bool) {
	now = -1
	for len(stream) >= sizeBytes {
		size := int(int32(binary.BigEndian.Uint32(stream)))
		if size < minFrame || len(stream)-sizeBytes < size {
			break
		}
		frame := stream[sizeBytes : sizeBytes+size]
		stream = stream[sizeBytes+size:]
		switch key := int(int16(binary.BigEndian.Uint16(frame))); key {
		case keyAlone, keyFile:
			return nil, 0, false
		case keyLater:
			if now < 0 {
				now = len(answers)
			}
			answers = append(answers, sized(frame[4:])...)
		case keyEcho, keyPut:
			answers = append(answers, sized(frame[4:])...)
		default:
			stream = nil
		}
	}
	if now < 0 {
		now = len(answers)
	}
	return answers, now, true
}

// answerLater completes the slots that the test's session was asked to leave.
func (f *fixture) answerLater() {
	for {
		select {
		case slot := <-f.h.later:
			c := slot.Client()
			slot.Done()
			c.Flush()
		default:
			return
		}
	}
}
