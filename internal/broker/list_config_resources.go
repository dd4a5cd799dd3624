package broker

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// listedKinds are those that ListConfigResources knows, in the order of their numbers.
var listedKinds = []config.Kind{config.KindTopic, config.KindBroker, config.KindBrokerLogger, config.KindClientMetrics, config.KindGroup}

// ListConfigResources (key 74), versions 0 to 1, at any broker: the resources that can be described. Topics and brokers
// are all there are; groups and subscriptions of client metrics are those that something was set for.
//
//   - 0: subscriptions of client metrics only (ListClientMetricsResources of KIP-1000).
//   - 1: kinds of resources in the request, none for all; in the answer too (KIP-1142).
func (b *Broker) listConfigResources(c *call, req *kmsg.ListConfigResourcesRequest) kmsg.Response {
	resp := kmsg.NewPtrListConfigResourcesResponse()
	resp.ConfigResources = []kmsg.ListConfigResourcesResponseConfigResource{}
	kinds := []config.Kind{config.KindClientMetrics}
	if c.version >= 1 {
		kinds = nil
		for _, t := range req.ResourceTypes {
			if !slices.Contains(listedKinds, config.Kind(t)) {
				resp.ErrorCode = codeUnsupportedVersion
				return resp
			}
			kinds = append(kinds, config.Kind(t))
		}
		if len(kinds) == 0 {
			kinds = listedKinds
		}
	}
	img := b.ctl.Image()
	for _, kind := range listedKinds { // each once, whatever the request repeats
		if !slices.Contains(kinds, kind) {
			continue
		}
		for _, name := range resourceNames(img, kind) {
			r := kmsg.NewListConfigResourcesResponseConfigResource()
			r.Name, r.Type = name, int8(kind)
			resp.ConfigResources = append(resp.ConfigResources, r)
		}
	}
	return resp
}

func resourceNames(img *metadata.Image, kind config.Kind) []string {
	var names []string
	switch kind {
	case config.KindTopic:
		for t := range img.Topics() {
			names = append(names, t.Name)
		}
	case config.KindBroker, config.KindBrokerLogger:
		for _, br := range img.Brokers() {
			names = append(names, strconv.Itoa(int(br.ID)))
		}
	default:
		for _, r := range img.Resources() {
			if r.Type == metadata.ResourceType(kind) {
				names = append(names, r.Name)
			}
		}
	}
	return names
}
