package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// IncrementalAlterConfigs (key 44), versions 0 to 1, at any broker, which has the controller decide; a broker's own
// configuration and the levels of its loggers at that broker. SET and DELETE, and of lists APPEND and SUBTRACT, which are
// done on what the controller has. A resource is changed as a whole or not at all. A success is answered when this
// broker's own metadata has it.
//
//   - 0: KIP-339. The response header is not flexible.
//   - 1: flexible.
func (b *Broker) incrementalAlterConfigs(c *call, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	alterations := make([]alteration, 0, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		a := alteration{kind: config.Kind(r.ResourceType), r: &clusterv1.AlterConfigs_Resource{Name: r.ResourceName}}
		for _, e := range r.Configs {
			a.change(e.Name, int8(e.Op), e.Value)
		}
		alterations = append(alterations, a)
	}
	b.alter(c, alterations, req.ValidateOnly)
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for _, a := range alterations {
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(a.kind), text(a.r.Name)
		r.ErrorCode, r.ErrorMessage = a.result()
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}
