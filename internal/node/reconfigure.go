package node

import (
	"context"
	"strconv"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// reconfigurer puts what is set of this broker's properties at run time in force. What is read from the live
// configuration follows at once, and so do topics. A part that is given a setting when it is made, and is to follow its
// changes, gets a line in apply.
type reconfigurer struct {
	n       *Node
	changed chan struct{} // of capacity 1: something is to be applied
}

func newReconfigurer(n *Node) *reconfigurer {
	return &reconfigurer{n: n, changed: make(chan struct{}, 1)}
}

// OnImage implements metadata.Subscriber.
func (r *reconfigurer) OnImage(img *metadata.Image, d *metadata.Delta) {
	n := r.n
	own := strconv.Itoa(int(n.cfg.NodeID))
	if !d.HasResource(metadata.ResourceBroker, "") && !d.HasResource(metadata.ResourceBroker, own) {
		return
	}
	before := n.live.Config()
	err := n.live.Set(config.Dynamic{
		ClusterDefault: img.Config(metadata.ResourceBroker, ""),
		Broker:         img.Config(metadata.ResourceBroker, own),
	})
	if err != nil {
		// What is set for all brokers was checked by the one that was asked; this one was started with something that
		// does not fit it.
		n.log.Error("what was set for the brokers at run time does not fit what this one was started with; it goes on as before",
			"error", err, "do", "change either, or set the property for this broker alone")
		return
	}
	n.tellChanges(before)
	n.replicas.Reconfigure()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Run applies what may take a while.
func (r *reconfigurer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.changed:
			r.apply(ctx, r.n.live.Config())
		}
	}
}

func (r *reconfigurer) apply(ctx context.Context, c *config.Config) {
	r.n.storage.SetProducerExpiration(c.ProducerIDExpiration)
	r.n.storage.SetCleaner(cleanerOptions(c))
	if limits, err := connectionLimits(ctx, c); err != nil {
		r.n.log.Error("the limits of connections stay as they were", "error", err)
	} else {
		r.n.listener.SetLimits(limits)
	}
}

// tellChanges logs each property whose value is not what it was.
func (n *Node) tellChanges(before *config.Config) {
	for _, v := range n.live.Config().Values() {
		if old, _ := before.Lookup(v.Property.Name); old.Text != v.Text && !v.Property.Sensitive() {
			n.log.Info("a property was changed", "property", v.Property.Name, "value", v.Text, "before", old.Text, "by", v.Origin.String())
		}
	}
}
