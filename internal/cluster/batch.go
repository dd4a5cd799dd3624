package cluster

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/chronik-stream/chronik/internal/controller"
	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/metadata"
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

const (
	// batchCommands bounds how many commands one entry answers.
	batchCommands = 4096
	// clientBytes bounds what clients' commands take of an entry: a large entry
	// takes tens of milliseconds, which only a failover may cost.
	clientBytes = 128 << 10
)

// batch is what one entry carries.
type batch struct {
	jobs    []decided
	records []*metadatav1.Record
	bytes   int
	// registered are the brokers that the batch registers. Their epoch is the
	// entry's index, which nobody knows yet.
	registered map[int32]bool
}

// decided is a job with its answer, which stands when the entry is applied.
type decided struct {
	*job
	answer  *clusterv1.Answer
	records int
}

// gather decides what is queued, as far as one entry holds it, urgent things first.
func (l *loop) gather(lead *leadership) *batch {
	b := &batch{}
	draft := metadata.NewDraft(lead.inst.fsm.image.Load())
	env := l.env()
	for c := range classes {
		l.m.queueDepth.WithLabelValues(c.String()).Set(float64(l.queue.depth(c)))
		limit := l.o.Limits.EntryBytes
		if c == classClient {
			limit = min(limit, max(b.bytes, 0)+clientBytes)
		}
		for len(b.jobs) < batchCommands {
			j := l.queue.pop(c)
			if j == nil {
				break
			}
			if !b.admits(j.cmd) {
				l.queue.unpop(j)
				return b
			}
			l.sessions.complete(j.cmd)
			records, answer := controller.Decide(draft.Image(), j.cmd, env)
			size := metadata.RecordsSize(records)
			if len(b.records) > 0 && size > 0 && b.bytes+size > limit {
				l.queue.unpop(j) // the next entry has room, and the image it is then decided on is newer
				return b
			}
			draft.Apply(records)
			b.add(j, records, size, answer)
		}
	}
	return b
}

// admits reports whether cmd may be decided in the batch. After a registration
// only others follow: the draft has no epoch for the new broker yet, and nothing
// that copies an epoch may see that.
func (b *batch) admits(cmd *clusterv1.Command) bool {
	if len(b.registered) == 0 || invariant.Mutant("cluster-two-registrations-at-once") {
		return true
	}
	r, ok := cmd.Kind.(*clusterv1.Command_RegisterBroker)
	return ok && !b.registered[r.RegisterBroker.GetRequest().GetNodeId()]
}

func (b *batch) add(j *job, records []*metadatav1.Record, size int, answer *clusterv1.Answer) {
	b.jobs = append(b.jobs, decided{j, answer, len(records)})
	b.records = append(b.records, records...)
	b.bytes += size
	if r, ok := j.cmd.Kind.(*clusterv1.Command_RegisterBroker); ok && len(records) > 0 {
		if b.registered == nil {
			b.registered = make(map[int32]bool)
		}
		b.registered[r.RegisterBroker.GetRequest().GetNodeId()] = true
	}
}

// answer ends the jobs of a batch. img is the image that holds its effect.
func (l *loop) answer(b *batch, img *metadata.Image, err error) {
	if len(b.jobs) > 0 {
		l.m.entryCommands.Observe(float64(len(b.jobs)))
	}
	if errors.Is(err, errFenced) {
		err = errors.Join(errNotController, err) // applied nowhere: the next controller decides it
	}
	var refusal *metadata.Error
	for _, d := range b.jobs {
		switch {
		case errors.As(err, &refusal):
			l.queue.finish(d.job, &clusterv1.Answer{Code: int32(refusal.Code), Message: refusal.Message}, nil)
			continue
		case err != nil:
			l.queue.finish(d.job, nil, err)
			continue
		}
		if d.answer.GetMore() && d.records > 0 {
			l.queue.unpop(d.job) // the rest of it is the next entry
			continue
		}
		l.queue.finish(d.job, withIndex(d.answer, img.Index()), nil)
	}
}

// withIndex fills in what only the entry's index tells.
func withIndex(a *clusterv1.Answer, index uint64) *clusterv1.Answer {
	if a.GetIndex() == 0 {
		a.Index = index
	}
	if r := a.GetRegisterBroker(); r != nil && r.GetBrokerEpoch() == 0 {
		r = proto.Clone(r).(*clusterv1.RegisterBrokerAnswer)
		r.BrokerEpoch = int64(a.GetIndex())
		a.Kind = &clusterv1.Answer_RegisterBroker{RegisterBroker: r}
	}
	return a
}
