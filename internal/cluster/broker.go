package cluster

import (
	"context"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// Broker is what a node registers of itself as a broker.
type Broker struct {
	// Directories are the data directories that are online.
	Directories [][16]byte
	// Listeners are the endpoints of the Kafka protocol; the first is the one that Metadata shows.
	Listeners []metadata.Listener
	Rack      string
	Features  []metadata.FeatureRange
	// PreviousEpoch is the broker epoch in the clean-shutdown file; -1 without one.
	PreviousEpoch int64
	// BootID is what the host's page cache lives and dies with; compared for equality only.
	BootID string
}
