package controller

import (
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"

	"github.com/chronik-stream/chronik/internal/metadata"
)

// Env is what a decision needs besides the image and the command.
type Env struct {
	// NewID draws a random id. Decide draws again while one is taken or reserved.
	NewID func() metadata.ID
	// Intn draws a random number of [0, n).
	Intn func(n int) int
	// Partitions is the number of partitions of a topic that names none.
	Partitions int32
	// UncleanElection is what topics that do not say otherwise have for
	// unclean.leader.election.enable.
	UncleanElection bool
	// Limits bound one decision; a zero field takes that of DefaultLimits.
	Limits Limits
}

// Limits bound one decision.
type Limits struct {
	// EntryBytes is what the records of one decision may take.
	EntryBytes int
	// Partitions is how many one request may create.
	Partitions int
	// Resources is how many groups, subscriptions of client metrics and brokers may have settings.
	Resources int
}

// DefaultLimits are those of a cluster.
func DefaultLimits() Limits {
	return Limits{EntryBytes: metadata.MaxEntryBytes, Partitions: 10_000, Resources: 10_000}
}

// Decide returns what is to be recorded for cmd, and what to answer when that is
// applied. With no records, the answer stands as soon as img is known to be
// committed. A caller that puts several decisions into one entry decides each on
// a metadata.Draft that has the records before it.
func Decide(img *metadata.Image, cmd *clusterv1.Command, env Env) ([]*metadatav1.Record, *clusterv1.Answer) {
	if answer := repeated(img, cmd); answer != nil {
		return nil, answer
	}
	d := newDecision(img, env)
	answer, err := d.decide(cmd)
	if err != nil {
		return nil, &clusterv1.Answer{Code: int32(err.Code), Message: err.Message}
	}
	if err := d.keep(cmd, answer); err != nil {
		return nil, &clusterv1.Answer{Code: int32(err.Code), Message: err.Message}
	}
	return d.records, answer
}

func (d *decision) decide(cmd *clusterv1.Command) (*clusterv1.Answer, *metadata.Error) {
	switch k := cmd.GetKind().(type) {
	case *clusterv1.Command_CreateTopics:
		return d.createTopics(k.CreateTopics)
	case *clusterv1.Command_DeleteTopics:
		return d.deleteTopics(k.DeleteTopics)
	case *clusterv1.Command_CreatePartitions:
		return d.createPartitions(k.CreatePartitions)
	case *clusterv1.Command_AllocateProducerIds:
		return d.allocateProducerIDs(k.AllocateProducerIds)
	case *clusterv1.Command_AlterConfigs:
		return d.alterConfigs(k.AlterConfigs)
	case *clusterv1.Command_RegisterBroker:
		return d.registerBroker(k.RegisterBroker)
	case *clusterv1.Command_FenceBroker:
		return d.fenceBroker(k.FenceBroker)
	case *clusterv1.Command_UnfenceBroker:
		return d.unfenceBroker(k.UnfenceBroker)
	case *clusterv1.Command_ShutdownBroker:
		return d.shutdownBroker(k.ShutdownBroker)
	case *clusterv1.Command_AssignDirectories:
		return d.assignDirectories(k.AssignDirectories)
	case *clusterv1.Command_FormCluster:
		return d.formCluster(k.FormCluster)
	case *clusterv1.Command_ActivateController:
		return d.activateController(k.ActivateController)
	case *clusterv1.Command_RepairPartitions:
		return d.repairPartitions()
	}
	return nil, metadata.Errorf(metadata.CodeUnsupportedVersion,
		"the controller does not know this command; it runs an older version than the broker that sent it: upgrade every node")
}

// decision gathers the records of one command.
type decision struct {
	env Env
	// img has the records so far, as far as they matter for what follows; with the
	// first of those it becomes the image of draft, which is nil before.
	img     *metadata.Image
	draft   *metadata.Draft
	records []*metadatav1.Record
	bytes   int
	more    bool
}

func newDecision(img *metadata.Image, env Env) *decision {
	limits := DefaultLimits()
	if env.Limits.EntryBytes == 0 {
		env.Limits.EntryBytes = limits.EntryBytes
	}
	if env.Limits.Partitions == 0 {
		env.Limits.Partitions = limits.Partitions
	}
	if env.Limits.Resources == 0 {
		env.Limits.Resources = limits.Resources
	}
	return &decision{env: env, img: img}
}

// record adds recs and lets what is decided next see them.
func (d *decision) record(recs ...*metadatav1.Record) {
	d.note(recs...)
	d.see(recs...)
}

// see lets what is decided next see recs.
func (d *decision) see(recs ...*metadatav1.Record) {
	if d.draft == nil {
		d.draft = metadata.NewDraft(d.img)
		d.img = d.draft.Image()
	}
	d.draft.Apply(recs)
}

// note adds recs that nothing which is decided next depends on.
func (d *decision) note(recs ...*metadatav1.Record) {
	d.records = append(d.records, recs...)
	d.bytes += metadata.RecordsSize(recs)
}

// room reports whether another change of a partition fits the entry; if not, the
// command is to be decided again.
func (d *decision) room(r *metadatav1.Record) bool {
	if d.bytes+metadata.RecordSize(r) <= d.env.Limits.EntryBytes {
		return true
	}
	d.more = true
	return false
}

// ok is the answer of a command that has nothing to say.
func (d *decision) ok() *clusterv1.Answer { return &clusterv1.Answer{More: d.more} }

// kept reports whether the command must not be carried out twice.
func kept(cmd *clusterv1.Command) bool {
	switch cmd.GetKind().(type) {
	case *clusterv1.Command_CreateTopics, *clusterv1.Command_DeleteTopics,
		*clusterv1.Command_CreatePartitions, *clusterv1.Command_AllocateProducerIds, *clusterv1.Command_AlterConfigs:
		return true
	}
	return false
}

// repeated answers a command that was carried out before, or that cannot be told
// from one that was. It returns nil for a new one.
func repeated(img *metadata.Image, cmd *clusterv1.Command) *clusterv1.Answer {
	id := cmd.GetRequestId()
	if !kept(cmd) || id == nil {
		return nil
	}
	incarnation, ok := toID(id.GetIncarnation())
	if !ok {
		return refuse(metadata.CodeInvalidRequest, "the incarnation of a request id has %d bytes instead of 16", len(id.GetIncarnation()))
	}
	r, overwritten := img.Result(id.GetNode(), incarnation, id.GetSequence())
	switch {
	case r != nil:
		return copied(r.Answer, r.Index)
	case overwritten:
		return refuse(metadata.CodeRequestTimedOut,
			"request %d of node %d is too old: its answer is no longer kept, so whether it was carried out is not known", id.GetSequence(), id.GetNode())
	}
	// Answers of an incarnation go when a newer one appears, so a late request of
	// the older could be carried out a second time, and would clear the newer's.
	if b := img.Broker(id.GetNode()); b != nil && b.Incarnation != incarnation {
		return refuse(metadata.CodeStaleBrokerEpoch,
			"node %d sent this as another process than the one that is registered: register first", id.GetNode())
	}
	return nil
}

// keep adds the record of the answer, and refuses a command that one entry does
// not hold. A command without records is not kept: deciding it again does no harm.
func (d *decision) keep(cmd *clusterv1.Command, answer *clusterv1.Answer) *metadata.Error {
	if !kept(cmd) || len(d.records) == 0 {
		return nil
	}
	if cmd.GetRequestId() != nil {
		// A copy: the caller writes the entry's index into the answer it gives.
		d.note(metadata.NewResult(cmd.GetRequestId(), copied(answer, 0)))
	}
	if d.bytes > d.env.Limits.EntryBytes {
		return metadata.Errorf(metadata.CodePolicyViolation,
			"the request needs %d bytes of metadata and one entry holds %d: ask for less in one request", d.bytes, d.env.Limits.EntryBytes)
	}
	return nil
}

// copied is a with another index; what is below is shared and only read.
func copied(a *clusterv1.Answer, index uint64) *clusterv1.Answer {
	return &clusterv1.Answer{Code: a.GetCode(), Message: a.GetMessage(), Index: index, More: a.GetMore(), Kind: a.GetKind()}
}

func refuse(code int16, format string, args ...any) *clusterv1.Answer {
	err := metadata.Errorf(code, format, args...)
	return &clusterv1.Answer{Code: int32(err.Code), Message: err.Message}
}

// toID reads 16 bytes.
func toID(b []byte) (metadata.ID, bool) {
	var id metadata.ID
	return id, copy(id[:], b) == len(b) && len(b) == len(id)
}
