package broker

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/wire"
)

// ApiVersions (18), versions 0 to 5: what this broker serves, straight from the table.
//
//	1  throttle time
//	3  flexible; the client tells its software; features in tags
//	4  features whose lowest level is 0 may be listed
//	5  the client says which cluster and node it means to talk to (KIP-1242)
//
// A version above 5 gets version 0 of the response with UNSUPPORTED_VERSION and the range
// of this API alone (KIP-511), without a look at its body. No feature is supported or finalized
// here: what a feature level would switch on in a client (transactions of version 2, for
// example) is not served.

const apiVersionsKey = 18

var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func (b *Broker) apiVersions(c *call, req *kmsg.ApiVersionsRequest) kmsg.Response {
	resp := kmsg.NewPtrApiVersionsResponse()
	if resp.ErrorCode = b.checkApiVersions(c, req); resp.ErrorCode == codeInvalidRequest {
		return resp
	}
	for _, r := range b.rows {
		if r != nil {
			resp.ApiKeys = append(resp.ApiKeys, r.versions())
		}
	}
	return resp
}

func (b *Broker) checkApiVersions(c *call, req *kmsg.ApiVersionsRequest) int16 {
	if c.version >= 3 && (!softwareName.MatchString(req.ClientSoftwareName) || !softwareName.MatchString(req.ClientSoftwareVersion)) {
		return codeInvalidRequest
	}
	if c.version < 5 {
		return codeNone
	}
	if (req.ClusterID == nil) != (req.NodeID < 0) {
		return codeInvalidRequest
	}
	if req.ClusterID != nil && (*req.ClusterID != b.ctl.Image().ClusterID() || req.NodeID != b.o.NodeID) {
		return codeRebootstrapRequired
	}
	return codeNone
}

func (r *row) versions() kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = r.key, r.min, r.max
	return k
}

// refuseApiVersions answers an ApiVersions request of a version that is not known here.
func (s *session) refuseApiVersions(h wire.Header) {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = codeUnsupportedVersion
	resp.ApiKeys = append(resp.ApiKeys, s.b.rows[apiVersionsKey].versions())
	s.settleProduce() // requests of a connection are answered in order
	out := s.client.Out()
	s.client.SetOut(encode(out, apiVersionsKey, 0, h.CorrelationID, resp))
}
