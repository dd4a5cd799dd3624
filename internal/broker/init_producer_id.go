package broker

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// InitProducerId (22), versions 0 to 5: an id for an idempotent producer.
//
//	2  flexible
//	3  the id and epoch that the producer has (KIP-360)
//	4  PRODUCER_FENCED
//	5  TRANSACTION_ABORTABLE
//
// Left out: transactions. A transactional id is INVALID_REQUEST; the response has no room for a
// message, so the log has one. Every call gets a new id with epoch 0, also one that names the id it had:
// an id is never used twice, so a new one fences nothing and loses nothing.

// producerIDs gives out ids of the block that the controller gave this broker. The mutex guards the
// block; a new one is asked for by one request at a time, while the others wait on asking.
type producerIDs struct {
	asking chan struct{} // of capacity 1: full while somebody asks

	mu        sync.Mutex
	next, end int64
}

// take returns an id, false if there is none left.
func (p *producerIDs) take() (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.end {
		return 0, false
	}
	p.next++
	return p.next - 1, true
}

func (b *Broker) initProducerID(c *call, req *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if req.TransactionalID != nil {
		b.seldom.transactional.warn(b.log, "a producer with a transactional id was refused: transactions are not served by this version of the broker",
			"client_id", c.clientID, "client", c.session.client.RemoteAddr(), "transactional_id", *req.TransactionalID)
		resp.ErrorCode = codeInvalidRequest
		return resp
	}
	began := time.Now()
	id, err := b.nextProducerID(c.ctx)
	c.awaited(began)
	if err != nil {
		b.seldom.producerID.warn(b.log, "no producer id to give", "client_id", c.clientID, "error", err)
		resp.ErrorCode = codeCoordinatorLoadInProgress // every client tries again
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return resp
}

// nextProducerID takes an id of the block at hand, or asks the controller for a block.
func (b *Broker) nextProducerID(ctx context.Context) (int64, error) {
	p := &b.producerIDs
	for {
		if id, ok := p.take(); ok {
			return id, nil
		}
		select {
		case p.asking <- struct{}{}:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		err := b.nextBlock(ctx)
		<-p.asking
		if err != nil {
			return 0, err
		}
	}
}

// nextBlock asks for a block, unless somebody has got one meanwhile.
func (b *Broker) nextBlock(ctx context.Context) error {
	p := &b.producerIDs
	p.mu.Lock()
	left := p.end - p.next
	p.mu.Unlock()
	if left > 0 {
		return nil
	}
	var epoch int64
	if br := b.ctl.Image().Broker(b.o.NodeID); br != nil {
		epoch = br.Epoch
	}
	answer, err := b.ctl.Submit(ctx, &clusterv1.Command{Kind: &clusterv1.Command_AllocateProducerIds{
		AllocateProducerIds: &clusterv1.AllocateProducerIds{BrokerId: b.o.NodeID, BrokerEpoch: epoch},
	}})
	if err == nil {
		err = metadata.AnswerError(answer)
	}
	if err != nil {
		return err
	}
	block := answer.GetAllocateProducerIds()
	p.mu.Lock()
	p.next, p.end = block.GetFirst(), block.GetFirst()+int64(block.GetCount())
	p.mu.Unlock()
	return nil
}
