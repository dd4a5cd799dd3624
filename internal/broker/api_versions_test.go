package broker

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/wire"
)

func askVersions(c *rawConn, version int16, change ...func(*kmsg.ApiVersionsRequest)) *kmsg.ApiVersionsResponse {
	c.t.Helper()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "test-client", "1.2.3"
	for _, f := range change {
		f(req)
	}
	return do[*kmsg.ApiVersionsResponse](c, req, version)
}

// TestTrap14_WhatIsAdvertisedIsServedAsKafkaDoes: every row has Kafka 4.4's range, and nothing else is advertised.
func TestTrap14_WhatIsAdvertisedIsServedAsKafkaDoes(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		for v := int16(0); v <= 5; v++ {
			resp := askVersions(c, v)
			wantEqual(t, "code and rows", []any{resp.ErrorCode, len(resp.ApiKeys)}, []any{0, len(apis())})
			for _, k := range resp.ApiKeys {
				api, ok := wire.LookupAPI(k.ApiKey)
				wantEqual(t, fmt.Sprint("range of ", api.Name), []any{ok, k.MinVersion, k.MaxVersion}, []any{true, api.Min, api.Max})
			}
			// Trap 16: no feature is claimed that is not there.
			wantEqual(t, "features", []any{len(resp.SupportedFeatures), len(resp.FinalizedFeatures)}, []any{0, 0})
		}
	})
}

// TestTrap02_NewerApiVersions: a version that is not known gets version 0 of the response with our range, and the
// connection stays.
func TestTrap02_NewerApiVersions(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		frame := []byte{0, 18, 0, 99, 0, 0, 0, 7, 0xde, 0xad, 0xbe, 0xef} // the body is not looked at
		if _, err := c.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)); err != nil {
			t.Fatal(err)
		}
		size := make([]byte, 4)
		if _, err := io.ReadFull(c.conn, size); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, binary.BigEndian.Uint32(size))
		if _, err := io.ReadFull(c.conn, body); err != nil {
			t.Fatal(err)
		}
		resp := kmsg.NewPtrApiVersionsResponse()
		if err := resp.ReadFrom(body[4:]); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "response", []any{binary.BigEndian.Uint32(body), resp.ErrorCode, len(resp.ApiKeys)}, []any{7, codeUnsupportedVersion, 1})
		wantEqual(t, "range", resp.ApiKeys[0].MaxVersion, 5)
		wantEqual(t, "and again", askVersions(c, 5).ErrorCode, 0)
	})
}

// TestTrap03_UnknownRequestsCloseTheirConnection, and no other.
func TestTrap03_UnknownRequestsCloseTheirConnection(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		other := b.dial()
		wantEqual(t, "before", askVersions(other, 3).ErrorCode, 0)
		for name, frame := range map[string][]byte{
			"unknown key":       {1, 0xf5, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
			"negative key":      {0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
			"unserved key":      {0, 24, 0, 3, 0, 0, 0, 1, 0xff, 0xff},
			"version too new":   {0, 3, 0, 14, 0, 0, 0, 1, 0xff, 0xff},
			"version too old":   {0, 1, 0, 3, 0, 0, 0, 1, 0xff, 0xff},
			"negative version":  {0, 3, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff},
			"no body":           {0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff},
			"array of billions": {0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff},
			"produce garbage":   {0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 1, 2, 3, 4, 5, 6, 0xff, 0xff, 0xff, 0xff, 0x0f},
			"fetch garbage":     {0, 1, 0, 12, 0, 0, 0, 1, 0xff, 0xff, 0, 1, 2, 3, 4, 5, 6, 0xff, 0xff, 0xff, 0xff, 0x0f},
		} {
			c := b.dial()
			if _, err := c.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)); err != nil {
				t.Fatal(err)
			}
			if !c.closed() {
				t.Errorf("%s: still open", name)
			}
			begin := time.Now()
			wantEqual(t, "the neighbour", askVersions(other, 3).ErrorCode, 0)
			wantEqual(t, "its pause", time.Since(begin), time.Duration(0))
		}
	})
}

// TestTrap04_ThrottleTimeIsLast in ApiVersions, byte by byte: to decode with kmsg what kmsg has written shows nothing.
func TestTrap04_ThrottleTimeIsLast(t *testing.T) {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 18, MinVersion: 0, MaxVersion: 5}}
	resp.ThrottleMillis = 9
	resp.Version = 1
	got := encode(nil, apiVersionsKey, 1, 7, resp)
	want := []byte{0, 0, 0, 20, 0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5, 0, 0, 0, 9}
	wantEqual(t, "bytes", got, want)
}

// TestTrap17_SoftwareNamesAndMisroutedClients: KIP-511 and KIP-1242.
func TestTrap17_SoftwareNamesAndMisroutedClients(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		named := func(name, version string) func(*kmsg.ApiVersionsRequest) {
			return func(q *kmsg.ApiVersionsRequest) { q.ClientSoftwareName, q.ClientSoftwareVersion = name, version }
		}
		for _, x := range []struct {
			name, version string
			code          int16
		}{
			{"a", "1", 0},
			{"apache-kafka-java", "4.4.0", 0},
			{"", "1", codeInvalidRequest},
			{"a", "", codeInvalidRequest},
			{"-a", "1", codeInvalidRequest},
			{"a.", "1", codeInvalidRequest},
			{"a b", "1", codeInvalidRequest},
		} {
			resp := askVersions(c, 3, named(x.name, x.version))
			wantEqual(t, fmt.Sprintf("%q %q", x.name, x.version), []any{resp.ErrorCode, len(resp.ApiKeys) > 0}, []any{x.code, x.code == 0})
			wantEqual(t, "before version 3", askVersions(c, 2, named(x.name, x.version)).ErrorCode, 0)
		}
		cluster := b.ctl.Image().ClusterID()
		for _, x := range []struct {
			cluster *string
			node    int32
			code    int16
		}{
			{nil, -1, 0},
			{&cluster, 1, 0},
			{nil, 1, codeInvalidRequest},
			{&cluster, -1, codeInvalidRequest},
			{&cluster, 2, codeRebootstrapRequired},
			{kmsg.StringPtr("another"), 1, codeRebootstrapRequired},
		} {
			resp := askVersions(c, 5, func(q *kmsg.ApiVersionsRequest) { q.ClusterID, q.NodeID = x.cluster, x.node })
			wantEqual(t, fmt.Sprint(x.cluster != nil, x.node), resp.ErrorCode, x.code)
		}
	})
}

// TestTrap11_CorrelationIDOnErrors: do checks the id for every response of these tests; here for
// a request that is answered with an error as a whole.
func TestTrap11_CorrelationIDOnErrors(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		bad := fetchOf(topicRef{name: "t"}, 0, func(q *kmsg.FetchRequest) { q.SessionID, q.SessionEpoch = 5, 5 })
		for range 3 {
			wantEqual(t, "code", do[*kmsg.FetchResponse](c, bad, 11).ErrorCode, codeFetchSessionIDNotFound)
		}
	})
}
