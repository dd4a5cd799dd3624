package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Check is one line of a readiness report.
type Check struct {
	Name string
	Err  error // nil: well
}

var errNoRaft = errors.New("this node's Raft does not run")

// Checks tells what of this node's membership is well and what is not, for readiness.
func (c *Cluster) Checks() []Check {
	return []Check{
		{"cluster-formed", c.checkFormed()},
		{"raft-leader", c.checkLeader()},
		{"metadata-image", c.checkImage()},
		{"broker-unfenced", c.checkBroker()},
	}
}

func (c *Cluster) checkFormed() error {
	if c.ClusterID() == "" {
		return errors.New("this node waits for its peers to found the cluster")
	}
	return nil
}

func (c *Cluster) checkLeader() error {
	inst := c.member.current.Load()
	if inst == nil {
		return errNoRaft
	}
	if leader, term, _ := c.leader.get(); leader == 0 {
		return fmt.Errorf("no leader of the metadata log is known (term %d): a majority of the voters has to be up and reachable", term)
	}
	return nil
}

// checkImage compares what brokers read with what is committed.
func (c *Cluster) checkImage() error {
	inst := c.member.current.Load()
	if inst == nil {
		return errNoRaft
	}
	if behind := int64(inst.raft.CommitIndex()) - int64(inst.raft.AppliedIndex()); behind > 0 {
		return fmt.Errorf("the metadata image is %d entries behind", behind)
	}
	if have, made := c.Image().Index(), inst.fsm.image.Load().Index(); have < made {
		return fmt.Errorf("this node's parts have been told of index %d, and %d is applied", have, made)
	}
	return nil
}

func (c *Cluster) checkBroker() error {
	epoch := c.agent.epoch.Load()
	b := c.Image().Broker(c.o.NodeID)
	switch {
	case epoch == 0:
		return errors.New("this broker is not registered yet")
	case b == nil || b.Epoch != epoch:
		return errors.New("another process is registered under this node id")
	case b.Fenced:
		return errors.New("the controller has fenced this broker: it has not asked to serve yet, or its heartbeats do not arrive")
	}
	return nil
}

// stuckImage is how long a new image may wait to be told before this node is not well.
const stuckImage = 2 * time.Second

// health is what the next heartbeat is made from: the node's own word, and what
// this package sees of the metadata log's disk and of the subscribers.
func (c *Cluster) health() Health {
	h := c.o.Health()
	switch waits := c.images.waits(); {
	case h.Err != nil:
	case c.member.stalls.Load():
		h.Err = errors.New("a write of the metadata log is late")
	case waits > stuckImage:
		h.Err = fmt.Errorf("a subscriber of the metadata image has not returned for %s", waits.Round(time.Millisecond))
	}
	return h
}

// lastContact is how long ago the leader was heard, in milliseconds.
func lastContact(i *instance) float64 {
	last := i.raft.LastContact()
	if i.raft.State() == raft.Leader || last.IsZero() {
		return 0
	}
	return float64(time.Since(last).Milliseconds())
}
