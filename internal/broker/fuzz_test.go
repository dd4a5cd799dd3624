package broker

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/wire"
)

// fill gives every field below v a value, so that an encoded request has all its parts.
func fill(v reflect.Value, r *rand.Rand, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), r, depth)
	case reflect.String:
		v.SetString([]string{"", "t", "group", "a name that is longer"}[r.IntN(4)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(int8(r.Uint32()))) // fits all of them
	case reflect.Slice:
		n := 1 + r.IntN(2)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), r, depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), r, depth+1)
		}
	case reflect.Uint8:
		v.SetUint(uint64(r.Uint32() % 256))
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Name != "UnknownTags" && v.Type().Field(i).Name != "Version" {
				fill(f, r, depth)
			}
		}
	}
}

// frames makes a request of every key and version that is served, empty and filled.
func frames(add func(frame []byte)) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, row := range apis() {
		for version := row.min; version <= row.max; version++ {
			for _, filled := range []bool{false, true} {
				req := kmsg.RequestForKey(row.key)
				if filled {
					fill(reflect.ValueOf(req).Elem(), r, 0)
				}
				req.SetVersion(version)
				add(kmsg.NewRequestFormatter(kmsg.FormatterClientID("fuzz")).AppendRequest(nil, req, 7)[wire.SizeBytes:])
			}
		}
	}
}

// FuzzDecode decodes arbitrary frames as the dispatch does it. What is decoded takes no more memory than the account is charged for it, and
// is the same when it is encoded and decoded again.
func FuzzDecode(f *testing.F) {
	rows := map[int16]row{}
	for _, r := range apis() {
		rows[r.key] = r
	}
	frames(func(frame []byte) { f.Add(frame) })
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, err := wire.Prefix(frame)
		if err != nil {
			return
		}
		r, ok := rows[h.Key]
		if !ok || h.Version < r.min || h.Version > r.max || r.raw != nil { // those are package wire's
			return
		}
		body, err := wire.ParseHeader(frame, &h)
		if err != nil {
			return
		}
		c := call{row: &r, version: h.Version}
		req, _, err := c.parse(bytes.Clone(body))
		if err != nil {
			return
		}
		if n := sizeOf(reflect.ValueOf(req)); n > int64(decodeFactor*len(body)+4096) {
			t.Errorf("%s version %d: %d bytes have been made of %d", r.name, h.Version, n, len(body))
		}
		first := req.AppendTo(nil)
		again, _, err := c.parse(bytes.Clone(first))
		if err != nil {
			t.Fatalf("%s version %d: %x, then %v", r.name, h.Version, first, err)
		}
		if then := again.AppendTo(nil); !bytes.Equal(first, then) {
			t.Errorf("%s version %d: %x, then %x", r.name, h.Version, first, then)
		}
	})
}

// TestShapesAreKmsgs: of every key and version that kmsg decodes, a whole request has the shape that is checked before, to its
// last byte, and none of its parts has.
func TestShapesAreKmsgs(t *testing.T) {
	rows := map[int16]row{}
	for _, r := range apis() {
		rows[r.key] = r
	}
	frames(func(frame []byte) {
		h, err := wire.Prefix(frame)
		if err != nil {
			t.Fatal(err)
		}
		r := rows[h.Key]
		body, err := wire.ParseHeader(frame, &h)
		if err != nil {
			t.Fatalf("%s version %d: %v", r.name, h.Version, err)
		}
		if r.raw != nil { // those are package wire's
			return
		}
		if _, err := wire.CheckBody(h.Key, h.Version, body); err != nil {
			t.Fatalf("%s version %d: %v of %x", r.name, h.Version, err, body)
		}
		for n := range body {
			if _, err := wire.CheckBody(h.Key, h.Version, body[:n]); err == nil {
				t.Fatalf("%s version %d: %d of %d bytes are enough", r.name, h.Version, n, len(body))
			}
		}
		c := call{row: &r, version: h.Version}
		if req, _, err := c.parse(bytes.Clone(body)); err != nil || !bytes.Equal(req.AppendTo(nil), body) {
			t.Errorf("%s version %d: %x is not the same when it is encoded again (%v)", r.name, h.Version, body, err)
		}
	})
}

// FuzzServe sends an arbitrary frame to a broker. What comes back is one response that kmsg reads to its last byte, or none; others are
// served as before, and no memory is held for anybody.
func FuzzServe(f *testing.F) {
	n := 0
	frames(func(frame []byte) {
		if n++; !testing.Short() || n%10 == 0 {
			f.Add(frame)
		}
	})
	f.Fuzz(func(t *testing.T, frame []byte) {
		inBox(t, func(t *testing.T, b *box) {
			b.topic("t", 2)
			b.groupTopic()
			conn, err := b.connect(t.Context(), "tcp", "b1:9092")
			b.must(err)
			defer conn.Close()
			var got bytes.Buffer
			done := make(chan struct{})
			go func() {
				defer close(done)
				if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)); err == nil {
					io.Copy(&got, conn)
				}
			}()
			time.Sleep(time.Minute) // nothing waits for longer but a session's end
			c := b.dial()
			do[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest(), 2)
			conn.Close()
			<-done
			checkResponse(t, frame, got.Bytes())
			synctest.Wait()
			if used := b.broker.o.Memory.Used(); used != 0 {
				t.Errorf("%d bytes are held for nobody", used)
			}
		})
	})
}

// checkResponse checks what was answered to one frame.
func checkResponse(t *testing.T, frame, got []byte) {
	if len(got) == 0 {
		return
	}
	h, err := wire.Prefix(frame)
	if err != nil {
		t.Fatalf("an answer to %x", frame)
	}
	if size := len(got) - wire.SizeBytes; size < 4 || int(binary.BigEndian.Uint32(got)) != size {
		t.Fatalf("%d bytes, which begin with %x, are not one response", len(got), got[:min(len(got), 20)])
	}
	if id := int32(binary.BigEndian.Uint32(got[4:])); id != h.CorrelationID {
		t.Fatalf("correlation id %d, want %d", id, h.CorrelationID)
	}
	req := kmsg.RequestForKey(h.Key)
	if h.Key == apiVersionsKey && h.Version > 5 || h.Version < 0 {
		h.Version = 0 // what is not known is answered in this
	}
	req.SetVersion(h.Version)
	resp, body := req.ResponseKind(), got[8:]
	if h.Key != apiVersionsKey && wire.Flexible(h.Key, h.Version) {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		t.Fatalf("%s version %d: the response %x cannot be read: %v", kmsg.NameForKey(h.Key), h.Version, body, err)
	}
	if again := resp.AppendTo(nil); !bytes.Equal(again, body) {
		t.Fatalf("%s version %d: the response is %x, decoded and encoded again %x", kmsg.NameForKey(h.Key), h.Version, body, again)
	}
}
