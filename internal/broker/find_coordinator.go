package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/memory"
	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// Kinds of coordinators.
const (
	coordinatorOfGroups       int8 = 0
	coordinatorOfTransactions int8 = 1
)

// FindCoordinator (key 10), versions 0 to 6, at any broker: which broker looks after a group. It is the
// leader of the partition of __consumer_offsets that the group's name hashes to; the topic is
// created by the first question. Groups of a broker that is down wait for it: COORDINATOR_NOT_AVAILABLE. Whose coordinator is this
// broker, and is only just reading its log, is told when it has, for some clients take COORDINATOR_LOAD_IN_PROGRESS for the end.
//
//   - 0: groups only.
//   - 1: a kind of key, an error message and throttle time in the answer.
//   - 2: the same.
//   - 3: flexible.
//   - 4: several keys (KIP-699).
//   - 5: TRANSACTION_ABORTABLE among the errors (KIP-890).
//   - 6: share groups (KIP-932).
//
// Left out: transactions and share groups, which get INVALID_REQUEST.
func (b *Broker) findCoordinator(c *call, req *kmsg.FindCoordinatorRequest) kmsg.Response {
	keys := req.CoordinatorKeys
	if c.version < 4 {
		keys = []string{req.CoordinatorKey}
	}
	resp := kmsg.NewPtrFindCoordinatorResponse()
	many := len(keys) > fewTopics
	if many && b.answers.Take(c.ctx, 1, 0, memory.Small) != nil {
		return nil
	}
	for _, key := range keys {
		resp.Coordinators = append(resp.Coordinators, b.coordinatorOf(c, req.CoordinatorType, key))
	}
	if many {
		b.answers.Give(1)
	}
	loading, cancel := context.WithTimeout(c.ctx, openWait)
	defer cancel()
	for _, one := range resp.Coordinators {
		if one.NodeID == b.o.NodeID {
			b.o.Groups.awaitLoaded(loading, one.Key)
		}
	}
	if c.version < 4 { // the answer has no list
		one := resp.Coordinators[0]
		resp.NodeID, resp.Host, resp.Port, resp.ErrorCode, resp.ErrorMessage = one.NodeID, one.Host, one.Port, one.ErrorCode, one.ErrorMessage
	}
	return resp
}

func (b *Broker) coordinatorOf(c *call, kind int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	found := kmsg.NewFindCoordinatorResponseCoordinator()
	found.Key, found.NodeID, found.Port = key, -1, -1
	broker, err := b.findCoordinatorOf(c, kind, key)
	if err != nil {
		found.ErrorCode, found.ErrorMessage = code(err), message(err)
		return found
	}
	found.NodeID, found.Host, found.Port = broker.ID, broker.Host(), broker.Port()
	return found
}

func (b *Broker) findCoordinatorOf(c *call, kind int8, key string) (*metadata.Broker, error) {
	switch kind {
	case coordinatorOfGroups:
	case coordinatorOfTransactions:
		return nil, fmt.Errorf("%w: transactions are not supported by this version of the broker; use an idempotent producer without a transactional id", errInvalidRequest)
	default:
		return nil, fmt.Errorf("%w: coordinators of kind %d are not supported, only those of groups", errInvalidRequest, kind)
	}
	began := time.Now()
	topic, err := b.offsetsTopic(c.ctx)
	c.awaited(began)
	if err != nil {
		return nil, err
	}
	n := group.PartitionFor(key, int32(len(topic.Partitions)))
	p := topic.Partitions[n]
	if p.Leader == metadata.NoLeader {
		return nil, fmt.Errorf("%w: partition %d of %s has no leader now; its replicas are on brokers %v", errNoCoordinator, n, group.Topic, p.Replicas)
	}
	broker := b.ctl.Image().Broker(p.Leader)
	if broker == nil || broker.Fenced {
		return nil, fmt.Errorf("%w: broker %d, which leads partition %d of %s, is not available now", errNoCoordinator, p.Leader, n, group.Topic)
	}
	return broker, nil
}

// Refusals of the broker itself.
var (
	errInvalidRequest = errors.New("invalid request")
	errNoCoordinator  = errors.New("the coordinator is not available")
	errNotCreatedYet  = errors.New("the topic could not be created in time")
)

// offsetsTopic returns __consumer_offsets, which is created if it is not there.
func (b *Broker) offsetsTopic(ctx context.Context) (*metadata.Topic, error) {
	if t := b.ctl.Image().TopicByName(group.Topic); t != nil {
		return t, nil
	}
	if b.o.Groups == nil {
		return nil, fmt.Errorf("%w: this broker coordinates no groups", errNoCoordinator)
	}
	created, err := b.createInternal(ctx, b.o.Groups.newTopic())
	if err != nil {
		return nil, fmt.Errorf("%w: %s could not be created: %v", errNoCoordinator, group.Topic, err)
	}
	return created, nil
}

// createInternal creates a topic that the broker needs for itself. That another broker was faster is no error.
func (b *Broker) createInternal(ctx context.Context, topic *clusterv1.CreateTopics_Topic) (*metadata.Topic, error) {
	answer, err := b.ctl.Submit(ctx, &clusterv1.Command{Kind: &clusterv1.Command_CreateTopics{
		CreateTopics: &clusterv1.CreateTopics{Topics: []*clusterv1.CreateTopics_Topic{topic}},
	}})
	if err != nil {
		return nil, err
	}
	if err := metadata.AnswerError(answer); err != nil {
		return nil, err
	}
	for _, t := range answer.GetCreateTopics().GetTopics() {
		if c := int16(t.GetCode()); c != codeNone && c != codeTopicAlreadyExists {
			return nil, &metadata.Error{Code: c, Message: t.GetMessage()}
		}
	}
	if t := b.ctl.Image().TopicByName(topic.GetName()); t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("%w: %s was created and is not in this broker's metadata yet", errNoCoordinator, topic.GetName())
}
