package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/replica"
	"github.com/chronik-stream/chronik/internal/storage"
	"github.com/chronik-stream/chronik/internal/wire"
)

// Produce (0), versions 0 to 13. Versions 0 to 2 are advertised, because old clients
// conclude from them what a broker can do, and refused by closing the connection, as Kafka does.
//
//	3   record batches v2, transactional id
//	5   log start offset
//	7   zstd
//	8   error message
//	9   flexible
//	10  the leader's id, epoch and endpoint next to NOT_LEADER_OR_FOLLOWER (KIP-951)
//	13  topic ids
//
// Left out: transactions; a transactional id or batch is INVALID_REQUEST.
//
// Requests are checked as they come and appended when the connection's reader settles: all
// batches for one partition that arrived together take one lock and one write. Their
// responses are written there and then, if what they were promised holds already (acks=1 or
// all with write.caching), else by whoever makes it hold.

const (
	produceKey = 0
	// minProduce is the first version with record batches v2.
	minProduce = 3
	// maxGroups bounds the partitions that one settle looks through for a partner to append with.
	maxGroups = 16
	// maxMessages is the number of partitions of a request above which errors go without their texts.
	maxMessages = 100
	// maxPending bounds the requests that are put off.
	maxPending = 128
	// maxRebuilt bounds the bytes of batches that wait in memory of their own: a small request can make many.
	maxRebuilt = 4 << 20
)

const (
	acksNone   int16 = 0
	acksLeader int16 = 1
	acksAll    int16 = -1
)

// producing is what a session puts off of Produce requests.
type producing struct {
	requests []produceRequest // the first n are pending; all are used again
	n        int
	groups   []appendGroup // the first g, one a partition
	g        int
	round    replica.Round
	bytes    int                // of the requests that are pending
	rebuilt  int                // bytes of batches that are not in a request, but were made for the log
	start    time.Time          // when they had been read
	queue    time.Duration      // and how long after that the first began to be served
	local    time.Duration      // how long they were, until they were appended
	answered int                // of them, what can be counted together
	out      int                // bytes of their responses
	recent   *replica.Partition // found last: requests of a connection mostly go to the same few partitions
}

// produceRequest is a decoded request and its verdicts.
type produceRequest struct {
	correlationID int32

	body      wire.Produce
	results   []wire.ProduceResult // of body.Partitions
	targets   []target             // what the answer waits for
	endpoints []wire.Endpoint
	refused   error // of acks=0: why the connection is closed
}

// target is an offset that must be acknowledged before the partition with this position in the request is.
type target struct {
	partition *replica.Partition
	offset    int64
	position  int
}

// appendGroup is what is appended to one partition in one go.
type appendGroup struct {
	partition *replica.Partition
	appends   []storage.Append
	of        []place // of each append
}

// place is where an append came from.
type place struct{ request, position int }

// produce serves one request as far as it can without appending.
func (s *session) produce(c *call, body []byte) (func(), error) {
	if c.version < minProduce {
		return nil, fmt.Errorf("broker: Produce version %d carries an old message format; version %d is the first that is served", c.version, minProduce)
	}
	p := &s.producing
	if p.n == len(p.requests) {
		p.requests = append(p.requests, produceRequest{})
	}
	r := &p.requests[p.n]
	if err := r.body.Decode(body, c.version); err != nil {
		return nil, err
	}
	if !s.waited && s.b.o.Replicas.Busy() && s.opening(r) {
		r.body.Forget()
		return s.again(c, body, (*session).produce), nil
	}
	if n := len(r.body.Partitions); n > manyPartitions && s.took == 0 && !s.waited {
		r.body.Forget()
		return s.within(c, body, n, (*session).produce), nil
	}
	r.begin(c)
	if p.n > 0 && len(r.body.Partitions) > maxGroups-p.g {
		k := p.n
		s.settleProduce()
		p.requests[0], p.requests[k] = p.requests[k], p.requests[0]
		r = &p.requests[0]
	}
	if p.n == 0 {
		p.start, p.queue = c.start, s.begun
	}
	p.n++
	p.bytes += len(body)
	for i := range r.body.Topics {
		s.check(r, &r.body.Topics[i])
	}
	if p.n == maxPending || p.g >= maxGroups {
		s.settleProduce()
	}
	return nil, nil
}

func (r *produceRequest) begin(c *call) {
	r.correlationID = c.correlationID
	r.results = r.results[:0]
	r.targets = r.targets[:0]
	r.endpoints = r.endpoints[:0]
	r.refused = nil
	for range r.body.Partitions {
		r.results = append(r.results, wire.ProduceResult{BaseOffset: -1, LogAppendTime: -1, LogStart: -1, Leader: wire.NoLeaderHint})
	}
}

// opening reports whether a partition of the request is being opened, so that it is worth waiting for.
func (s *session) opening(r *produceRequest) bool {
	for i := range r.body.Topics {
		t := &r.body.Topics[i]
		for j := t.From; j < t.To; j++ {
			if p, err := s.lookup(r.body.Version >= 13, t.Name, t.ID, r.body.Partitions[j].Index); err == nil && p.Opening() {
				return true
			}
		}
	}
	return false
}

// lookup finds a partition by the topic's name or id.
func (s *session) lookup(byID bool, name []byte, id [16]byte, index int32) (*replica.Partition, error) {
	if byID {
		return s.b.o.Replicas.ByID(id, index)
	}
	return s.b.o.Replicas.ByName(name, index)
}

// leading finds the partition to append to. The one that was found last is known by its name, or id, as
// long as it has not been deleted.
func (s *session) leading(byID bool, t *wire.ProduceTopic, index int32) (*replica.Partition, error) {
	if p := s.producing.recent; p != nil && p.Index == index && !p.Deleted() &&
		(byID && p.TopicID == t.ID || !byID && p.Topic == string(t.Name)) {
		return p, nil
	}
	p, err := s.lookup(byID, t.Name, t.ID, index)
	s.producing.recent = p
	return p, err
}

// check looks at every batch for one topic and puts the good ones into groups.
func (s *session) check(r *produceRequest, t *wire.ProduceTopic) {
	for j := t.From; j < t.To; j++ {
		part := &r.body.Partitions[j]
		p, err := s.leading(r.body.Version >= 13, t, part.Index)
		batch := record.Batch(part.Records)
		if err == nil {
			batch, err = s.checkBatch(r, p, batch)
		}
		if err != nil {
			s.refuse(r, j, p, err)
			continue
		}
		s.put(p, batch, place{s.producing.n - 1, j})
		if s.producing.rebuilt > maxRebuilt {
			s.appendGroups()
		}
	}
}

var (
	errTransactions = errors.New("transactions are not served by this version of the broker; use an idempotent producer without a transactional id")
	errAcks         = errors.New("acks must be 0, 1 or -1 (all)")
	errInternal     = errors.New("the topic is the brokers' own: its records are written by its coordinators alone")
)

// checkBatch tells whether a batch may be appended to p by this request, and returns what is
// appended: the batch itself, unless the topic wants it compressed otherwise.
func (s *session) checkBatch(r *produceRequest, p *replica.Partition, b record.Batch) (record.Batch, error) {
	if isInternal(p.Topic) {
		return nil, errInternal
	}
	if err := p.Leading(-1); err != nil {
		return nil, err
	}
	switch acks := r.body.Acks; {
	case acks != acksNone && acks != acksLeader && acks != acksAll:
		return nil, errAcks
	case acks == acksAll && !p.InSync():
		return nil, replica.ErrNotEnoughReplicas
	case r.body.TransactionalID != nil:
		return nil, errTransactions
	}
	t := p.Config()
	l := s.limits(t, r.body.Version)
	if err := b.CheckProduced(l); err != nil {
		return nil, err
	}
	if b.IsTransactional() {
		return nil, errTransactions
	}
	if t.CompressionType == "producer" && !t.ChecksRecords() {
		return b, nil
	}
	return s.checkRecords(t, l, b)
}

// limits are the topic's rules for batches, with the time now where they need it.
func (s *session) limits(t *config.Topic, version int16) record.Limits {
	l := record.Limits{MaxBytes: int(t.MaxMessageBytes), NoZstd: version < 7}
	if t.LogAppendTime() || t.TimestampBeforeMaxMillis == config.NoLimit && t.TimestampAfterMaxMillis == config.NoLimit {
		return l
	}
	now := s.wallMillis()
	if t.TimestampBeforeMaxMillis < now {
		l.MinTimestamp = now - t.TimestampBeforeMaxMillis
	}
	if t.TimestampAfterMaxMillis < config.NoLimit-now {
		l.MaxTimestamp = now + t.TimestampAfterMaxMillis
	}
	return l
}

// wallMillis is the wall clock, read once for all that is settled together.
func (s *session) wallMillis() int64 {
	if s.wall == 0 {
		s.wall = s.b.o.Clock.NowMillis()
	}
	return s.wall
}

// put adds a batch to the group of its partition.
func (s *session) put(part *replica.Partition, b record.Batch, at place) {
	p := &s.producing
	var g *appendGroup
	for i := p.g - 1; i >= 0 && i >= p.g-maxGroups; i-- {
		if p.groups[i].partition == part {
			g = &p.groups[i]
			break
		}
	}
	if g == nil {
		if p.g == len(p.groups) {
			p.groups = append(p.groups, appendGroup{})
		}
		g = &p.groups[p.g]
		p.g++
		g.partition, g.appends, g.of = part, g.appends[:0], g.of[:0]
	}
	g.appends = append(g.appends, storage.Append{Batch: b})
	g.of = append(g.of, at)
}

// refuse gives one partition of a request an error.
func (s *session) refuse(r *produceRequest, position int, p *replica.Partition, err error) {
	res := &r.results[position]
	res.Code = code(err)
	s.b.m.error(produceKey, res.Code)
	if res.Code != codeNotLeaderOrFollower && len(r.results) <= maxMessages {
		res.Message = err.Error()
		res.Records = recordErrors(err)
	}
	if r.body.Acks == acksNone && r.refused == nil {
		r.refused = err
	}
	if res.Code == codeNotLeaderOrFollower && r.body.Version >= 10 {
		res.Leader = s.hint(r, position, p)
	}
}

// hint names the leader that the client should have asked, and notes its endpoint.
func (s *session) hint(r *produceRequest, position int, p *replica.Partition) wire.LeaderHint {
	for i := range r.body.Topics {
		if t := &r.body.Topics[i]; position >= t.From && position < t.To {
			h := s.b.leaderHint(t.Name, t.ID, r.body.Version >= 13, r.body.Partitions[position].Index)
			r.endpoints = s.b.addEndpoint(r.endpoints, h.Node)
			return h
		}
	}
	return wire.NoLeaderHint
}

// settleProduce appends what was put off and answers it.
func (s *session) settleProduce() {
	p := &s.producing
	if p.n == 0 {
		return
	}
	s.appendGroups()
	s.begun = time.Since(p.start) // they came in one read
	p.local = s.begun - p.queue
	s.answerProduce(p.requests[:p.n])
	s.b.m.arrived(produceKey, p.bytes)
	p.bytes = 0
	for i := range p.requests[:p.n] {
		r := &p.requests[i]
		r.body.Forget()
		if len(r.results) > maxPending {
			r.results, r.targets = nil, nil
		}
	}
	p.n = 0
}

// appendGroups appends what has been gathered.
func (s *session) appendGroups() {
	p := &s.producing
	for i := range p.groups[:p.g] {
		s.appendGroup(&p.groups[i])
	}
	p.g, p.rebuilt = 0, 0
}

// appendGroup appends a group and writes the verdicts into the requests.
func (s *session) appendGroup(g *appendGroup) {
	err := g.partition.AppendLeader(g.appends, &s.producing.round)
	for i := range g.appends {
		a := &g.appends[i]
		r := &s.producing.requests[g.of[i].request]
		position := g.of[i].position
		switch {
		case a.Err != nil:
			s.refuse(r, position, g.partition, a.Err)
		case err != nil:
			s.refuse(r, position, g.partition, err)
		default:
			res := &r.results[position]
			res.BaseOffset, res.LogAppendTime, res.LogStart = a.BaseOffset, a.LogAppendTime, a.LogStart
			if r.body.Acks != acksNone && !(a.Duplicate && invariant.Mutant("broker-duplicate-acked-at-once")) {
				r.targets = append(r.targets, target{g.partition, replica.NextOffset(a), position})
			}
		}
	}
	clear(g.appends)
	g.partition = nil
}
