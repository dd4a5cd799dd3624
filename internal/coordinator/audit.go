package coordinator

import (
	"context"

	"github.com/chronik-stream/chronik/internal/invariant"
)

// auditEvery is after how many commits a shard is audited in test builds.
const auditEvery = 40

// audit holds invariant I-39, now and then, in test builds: what a machine that can write itself out
// (Dump) has in memory is what its log folds to. It looks when nothing is on its way, so that both are of one moment.
func (s *shard[M]) audit(ctx context.Context) {
	live, ok := any(s.machine).(interface{ Dump() string })
	if !ok || len(s.writes) > 0 || s.commits < auditEvery {
		return
	}
	s.commits = 0
	folded := s.r.o.Machine(s.partition)
	if s.log.Load(ctx, s.epoch, folded.Apply) != nil {
		return // leadership is being lost
	}
	got, want := live.Dump(), any(folded).(interface{ Dump() string }).Dump()
	invariant.Check(got == want, "I-39", "%s-%d has in memory\n%s\nand its log folds to\n%s", s.r.o.Topic, s.partition, got, want)
}
