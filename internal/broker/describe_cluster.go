package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// Kinds of endpoints.
const (
	endpointBroker     int8 = 1
	endpointController int8 = 2
)

// DescribeCluster (key 60), versions 0 to 2, at any broker: the cluster's id, controller and brokers.
//
//   - 0: flexible from the start.
//   - 1: a kind of endpoint (KIP-919). This is a broker's: asked for controllers, it answers MISMATCHED_ENDPOINT_TYPE.
//   - 2: fenced brokers, if the client asks (KIP-1073).
func (b *Broker) describeCluster(c *call, req *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClusterResponse()
	if c.version >= 1 && req.EndpointType != endpointBroker {
		resp.EndpointType, resp.ErrorCode = req.EndpointType, codeUnsupportedEndpointType
		if req.EndpointType == endpointController {
			resp.ErrorCode = codeMismatchedEndpointType
		}
		resp.ErrorMessage = kmsg.StringPtr("this is the endpoint of a broker: ask for endpoint type 1")
		return resp
	}
	img := b.ctl.Image()
	resp.ClusterID, resp.ControllerID = img.ClusterID(), b.advertisedController(img)
	for _, br := range img.Brokers() {
		if br.Fenced && !req.IncludeFencedBrokers {
			continue
		}
		described := kmsg.NewDescribeClusterResponseBroker()
		described.NodeID, described.Host, described.Port, described.IsFenced = br.ID, br.Host(), br.Port(), br.Fenced
		if br.Rack != "" {
			described.Rack = &br.Rack
		}
		resp.Brokers = append(resp.Brokers, described)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	return resp
}
