package wire

import (
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRangesAreKafkas holds the table against Kafka 4.4's, kept as testdata.
func TestRangesAreKafkas(t *testing.T) {
	raw, err := os.ReadFile("testdata/apis.tsv")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int16]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n")[1:] {
		f := strings.Split(line, "\t")
		key64, _ := strconv.ParseInt(f[0], 10, 16)
		key := int16(key64)
		got, ok := LookupAPI(key)
		if served := f[2] != "-"; served != ok {
			t.Errorf("key %d %s: in the table %v, served by Kafka %v", key, f[1], ok, served)
			continue
		} else if !served {
			continue
		}
		seen[key] = true
		flexible := "none"
		if got.FlexibleFrom >= 0 {
			flexible = strconv.Itoa(int(got.FlexibleFrom))
		}
		want := []string{f[1], f[2], f[3], f[5]}
		have := []string{got.Name, strconv.Itoa(int(got.Min)), strconv.Itoa(int(got.Max)), flexible}
		if strings.Join(want, " ") != strings.Join(have, " ") {
			t.Errorf("key %d: %v, Kafka has %v", key, have, want)
		}
		if got.Key != key {
			t.Errorf("row %d has key %d", key, got.Key)
		}
	}
	for key := int16(-1); key <= MaxKey+1; key++ {
		if _, ok := LookupAPI(key); ok && !seen[key] {
			t.Errorf("key %d is in the table and not in Kafka's", key)
		}
	}
}

// TestFlexibleIsKmsgs holds the flexible versions against kmsg, which is generated from Kafka's schemas.
func TestFlexibleIsKmsgs(t *testing.T) {
	for key := int16(0); key <= MaxKey; key++ {
		api, ok := LookupAPI(key)
		if !ok {
			continue
		}
		req := kmsg.RequestForKey(key)
		if req == nil {
			t.Errorf("kmsg has no key %d", key)
			continue
		}
		for v := api.Min; v <= api.Max; v++ {
			req.SetVersion(v)
			if got := Flexible(key, v); got != req.IsFlexible() {
				t.Errorf("%s version %d: flexible %v, kmsg says %v", api.Name, v, got, req.IsFlexible())
			}
		}
	}
}

// TestTrap05_ClientIDStaysAnInt16StringAndTagsFollowNull reads headers as kmsg writes them.
func TestTrap05_ClientIDStaysAnInt16StringAndTagsFollowNull(t *testing.T) {
	for _, id := range []*string{nil, ptr(""), ptr("client"), ptr(strings.Repeat("x", 1024))} {
		for _, v := range []int16{0, 3, 9, 13} {
			req := kmsg.NewPtrProduceRequest()
			req.Version, req.Acks = v, -1
			f := kmsg.NewRequestFormatter()
			if id != nil {
				f = kmsg.NewRequestFormatter(kmsg.FormatterClientID(*id))
			}
			frame := f.AppendRequest(nil, req, 77)[SizeBytes:]
			h, err := Prefix(frame)
			if err != nil {
				t.Fatal(err)
			}
			body, err := ParseHeader(frame, &h)
			if err != nil {
				t.Fatalf("version %d: %v", v, err)
			}
			if h.Key != 0 || h.Version != v || h.CorrelationID != 77 || (id == nil) != (h.ClientID == nil) || id != nil && string(h.ClientID) != *id {
				t.Errorf("version %d: %+v", v, h)
			}
			if want := req.AppendTo(nil); string(body) != string(want) {
				t.Errorf("version %d: body %x, want %x", v, body, want)
			}
		}
	}
}

func TestHeaderRefuses(t *testing.T) {
	for name, frame := range map[string][]byte{
		"short":              {0, 0, 0, 9, 0, 0, 0},
		"client id too long": append([]byte{0, 0, 0, 3, 0, 0, 0, 1, 0x04, 0x01}, make([]byte, 1025)...),
		"client id cut off":  {0, 0, 0, 3, 0, 0, 0, 1, 0, 9, 'a'},
		"negative length":    {0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xfe},
		"no tags":            {0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff},
		"tags not rising":    {0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 2, 5, 0, 5, 0},
		"tag cut off":        {0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 1, 0, 9, 1},
		"overlong varint":    {0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0x80, 0x00},
		"many tags":          {0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f},
	} {
		h, err := Prefix(frame)
		if err == nil {
			_, err = ParseHeader(frame, &h)
		}
		if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooMany) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTrap06_ResponseHeaderTagsByKeyAndVersion also covers trap 1: ApiVersions never has the tag byte.
func TestTrap06_ResponseHeaderTagsByKeyAndVersion(t *testing.T) {
	for _, c := range []struct {
		key, version int16
		tags         bool
	}{
		{18, 0, false}, {18, 3, false}, {18, 5, false}, // trap 1: ApiVersions never
		{3, 8, false}, {3, 9, true}, {20, 3, false}, {20, 4, true}, {60, 0, true}, {17, 1, false}, {47, 0, false}, {22, 1, false}, {22, 2, true},
	} {
		b := BeginResponse(nil, c.key, c.version, 5)
		EndResponse(b, 0, 100)
		if (len(b) == 9) != c.tags || binary.BigEndian.Uint32(b[4:]) != 5 || int(binary.BigEndian.Uint32(b)) != len(b)-4+100 {
			t.Errorf("key %d version %d: % x", c.key, c.version, b)
		}
	}
}

func ptr(s string) *string { return &s }

// TestTrap12_ArrayClaimsAreCheckedFirst: a claim that cannot be true costs nothing.
func TestTrap12_ArrayClaimsAreCheckedFirst(t *testing.T) {
	frame := make([]byte, 1<<20)
	for _, v := range []int16{3, 8, 9, 13} {
		body := append([]byte(nil), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1) // transactional id, acks, timeout
		if v >= 9 {
			body = append([]byte(nil), 0, 0xff, 0xff, 0, 0, 0, 1)
		}
		copy(frame, body)
		claim := frame[len(body):]
		if v >= 9 {
			copy(claim, []byte{0xff, 0xff, 0xff, 0x7f})
		} else {
			copy(claim, []byte{0x00, 0x0f, 0xff, 0xff})
		}
		var p Produce
		if n := testing.AllocsPerRun(10, func() { _ = p.Decode(frame, v) }); n > 12 {
			t.Errorf("version %d: %v allocations", v, n)
		}
		if err := p.Decode(frame, v); !errors.Is(err, ErrTooMany) || cap(p.Topics)+cap(p.Partitions) > 0 {
			t.Errorf("version %d: %v, %d topics", v, err, cap(p.Topics))
		}
	}
}

// TestBodyRefuses: what claims more than it holds is refused before anything is made of it.
func TestBodyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		key, version int16
		body         []byte
		want         error
	}{
		"as many tagged fields as there can be": {18, 3, []byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f}, ErrTooMany},
		"the same of an element":                {3, 9, append([]byte{3, 1, 0xff, 0xff, 0xff, 0xff, 0x0f}, make([]byte, 100)...), ErrTooMany},
		"an array of two bytes an element":      {3, 0, []byte{0, 0, 0, 3, 0, 0, 0, 0, 0}, ErrTooMany},
		"a negative array":                      {3, 0, []byte{0xff, 0xff, 0xff, 0xfe}, ErrMalformed},
		"an end in the middle":                  {12, 0, []byte{0, 1, 'g', 0, 0}, ErrTruncated},
		"a key without a shape":                 {7, 0, nil, ErrMalformed},
		"a great many empty names":              {15, 5, append([]byte{0xa2, 0x8d, 0x06}, make([]byte, 100_002)...), ErrTooMany},
		"a key that cannot be":                  {-1, 0, nil, ErrMalformed},
	} {
		if _, err := CheckBody(c.key, c.version, c.body); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := CheckBody(75, 0, []byte{1, 0, 0, 0, 5, 0xff, 0, 9}); err != nil {
		t.Errorf("no cursor, and a byte behind the last field: %v", err)
	}
	body := []byte{1, 1, 0}
	if n := testing.AllocsPerRun(10, func() { _, _ = CheckBody(18, 3, body) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
