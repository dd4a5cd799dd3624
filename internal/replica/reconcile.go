package replica

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/config"
	"github.com/chronik-stream/chronik/internal/invariant"
	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/storage"
)

// OnImage implements metadata.Subscriber. It does at once what must not wait, under short locks:
// partitions appear (opening), disappear, and lose a leadership that is over. What touches the
// disk is left to Run.
func (m *Manager) OnImage(img *metadata.Image, d *metadata.Delta) {
	m.img.Store(img)
	r := new(Round)
	for _, td := range d.Topics() {
		t := img.TopicByID(td.ID)
		if t == nil {
			m.removeTopic(r, td.ID)
			continue
		}
		var resolved *config.Topic
		if td.Whole || td.Configs {
			c := m.o.Resolve(t.Configs)
			resolved = &c
			if !td.Whole {
				m.reconfigure(t, resolved)
			}
		}
		for part := range td.Partitions(t) {
			m.touch(r, t, part, resolved)
		}
	}
	r.Finish()
	poke(m.wake)
}

// touch brings one partition's wants up to date.
func (m *Manager) touch(r *Round, t *metadata.Topic, part *metadata.Partition, resolved *config.Topic) {
	directory, here := part.Directory(m.o.NodeID)
	m.table.RLock()
	p := m.ids[t.ID].at(part.Index)
	m.table.RUnlock()
	if !here {
		if p != nil {
			m.removePartition(r, p)
		}
		return
	}
	if p == nil {
		if resolved == nil {
			c := m.o.Resolve(t.Configs)
			resolved = &c
		}
		p = m.newPartition(t, part.Index)
	}
	p.wants(r, part, directory, resolved)
	m.mark(p)
}

// newPartition puts an opening partition into the table.
func (m *Manager) newPartition(t *metadata.Topic, index int32) *Partition {
	p := &Partition{Topic: t.Name, TopicID: t.ID, Index: index, m: m}
	p.view.Store(&view{err: ErrOpening, leader: metadata.NoLeader, epoch: -1})
	m.table.Lock()
	defer m.table.Unlock()
	local := m.ids[t.ID]
	if local == nil {
		local = &topic{name: t.Name, id: t.ID}
		m.ids[t.ID] = local
		m.names[t.Name] = local
	}
	for int(index) >= len(local.partitions) {
		local.partitions = append(local.partitions, make([]*Partition, len(t.Partitions)-len(local.partitions))...)
	}
	local.partitions[index] = p
	return p
}

// wants notes what the image says of the partition and takes away a leadership that is over. The
// grant of a new one is Run's: the log must know of the epoch first.
func (p *Partition) wants(r *Round, part *metadata.Partition, directory metadata.ID, resolved *config.Topic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := want{
		leader: part.Leader, epoch: part.LeaderEpoch, partitionEpoch: part.PartitionEpoch,
		isr: part.ISR, directory: directory, topic: p.want.topic,
	}
	if resolved != nil {
		w.topic = resolved
	}
	w.minISR = w.topic.MinISR(len(part.Replicas))
	p.want = w
	v := *p.view.Load()
	v.inSync = int32(len(w.isr)) >= w.minISR
	if v.leader == w.leader && v.epoch == w.epoch {
		p.view.Store(&v)
		return
	}
	v.leader, v.epoch = w.leader, w.epoch
	switch {
	case p.failed != nil:
	case w.leader == p.m.o.NodeID:
		v.err = ErrOpening
	default:
		v.err = ErrNotLeader
	}
	p.view.Store(&v)
	if v.err == ErrNotLeader {
		p.loseLocked(r, ErrNotLeader)
	}
}

// reconfigure hands a topic's changed settings to its partitions.
func (m *Manager) reconfigure(t *metadata.Topic, resolved *config.Topic) {
	m.table.RLock()
	local := m.ids[t.ID]
	var parts []*Partition
	if local != nil {
		parts = slices.Clone(local.partitions)
	}
	m.table.RUnlock()
	for i, p := range parts {
		if p == nil {
			continue
		}
		p.mu.Lock()
		p.want.topic = resolved
		p.want.minISR = resolved.MinISR(len(t.Partitions[i].Replicas))
		p.mu.Unlock()
		m.mark(p)
	}
}

// removeTopic takes a deleted topic out of the table.
func (m *Manager) removeTopic(r *Round, id metadata.ID) {
	m.table.RLock()
	t := m.ids[id]
	m.table.RUnlock()
	if t == nil {
		return
	}
	for _, p := range t.partitions {
		if p != nil {
			m.removePartition(r, p)
		}
	}
}

// removePartition takes a partition out of the table, ends what waits for it, and leaves its log to Run.
func (m *Manager) removePartition(r *Round, p *Partition) {
	m.table.Lock()
	t := m.ids[p.TopicID]
	t.partitions[p.Index] = nil
	if !slices.ContainsFunc(t.partitions, func(p *Partition) bool { return p != nil }) {
		delete(m.ids, t.id)
		if m.names[t.name] == t {
			delete(m.names, t.name)
		}
	}
	m.table.Unlock()
	p.mu.Lock()
	p.want.deleted = true
	v := *p.view.Load()
	v.err, v.leader = ErrUnknownPartition, metadata.NoLeader
	p.view.Store(&v)
	p.loseLocked(r, ErrUnknownPartition)
	p.mu.Unlock()
	m.mu.Lock()
	delete(m.dirty, p)
	delete(m.unsaid, p)
	m.gone = append(m.gone, p)
	m.pendLocked()
	m.mu.Unlock()
}

// mark queues a partition for Run.
func (m *Manager) mark(p *Partition) {
	m.mu.Lock()
	m.dirty[p] = struct{}{}
	m.pendLocked()
	m.mu.Unlock()
}

func (m *Manager) pendLocked() {
	if m.done == nil {
		m.done = make(chan struct{})
		m.busy.Store(true)
	}
}

// poke leaves a token in a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run reconciles until ctx ends. Open must have been called. Beside the goroutine that calls it, which
// works on logs, there is the reporter, so that a slow controller does not hold up new partitions.
func (m *Manager) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { m.reporter(ctx) })
	var again retry
	defer again.stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-again.due:
			again.due = nil
			m.tryUnopened()
		}
		for m.pass(ctx) && ctx.Err() == nil {
		}
		again.arm(len(m.unopened) > 0)
	}
}

// pass works off what is queued and reports whether there was anything. Deletions come first: a topic
// that was made again has the same directory names.
func (m *Manager) pass(ctx context.Context) bool {
	m.mu.Lock()
	gone, dirty := m.gone, m.dirty
	if len(gone) == 0 && len(dirty) == 0 {
		if m.done != nil {
			close(m.done)
			m.done = nil
			m.busy.Store(false)
		}
		m.mu.Unlock()
		return false
	}
	m.gone, m.dirty = nil, map[*Partition]struct{}{}
	m.mu.Unlock()
	for _, p := range gone {
		m.delete(p)
	}
	ordered := slices.SortedFunc(maps.Keys(dirty), comparePartitions)
	for _, p := range ordered {
		if ctx.Err() != nil {
			return false
		}
		m.reconcile(p)
	}
	return true
}

func comparePartitions(a, b *Partition) int {
	if a.Topic != b.Topic {
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	}
	return int(a.Index) - int(b.Index)
}

// delete removes the log of a partition that is no longer here.
func (m *Manager) delete(p *Partition) {
	delete(m.unopened, p)
	p.mu.Lock()
	log := p.log
	p.mu.Unlock()
	if log == nil {
		// Deleted before it was opened. If a log lies there, it is of this topic, left by an earlier run.
		if log = m.dir.Log(p.Topic, p.Index); log == nil || log.ID().TopicID != p.TopicID {
			return
		}
	}
	m.table.Lock()
	delete(m.byLog, log)
	m.table.Unlock()
	if err := m.dir.Delete(log); err != nil {
		m.o.Logger.Error("cannot delete the log of a partition", "topic", p.Topic, "partition", p.Index, "error", err)
		return
	}
	m.m.deleted.Inc()
	m.o.Logger.Info("deleted the log of a partition", "topic", p.Topic, "partition", p.Index)
}

// reconcile brings one partition to what the newest image wants.
func (m *Manager) reconcile(p *Partition) {
	p.mu.Lock()
	w, log, failed := p.want, p.log, p.failed
	p.mu.Unlock()
	_, again := m.unopened[p]
	if w.deleted || failed != nil && !again {
		return
	}
	if log == nil {
		var err error
		if log, again, err = m.open(p, &w); err != nil {
			m.notOpened(p, again, err)
			return
		}
		m.opened(p)
	} else {
		log.SetOptions(logOptions(w.topic))
	}
	if w.leader == m.o.NodeID {
		if err := log.BeginEpoch(w.epoch); err != nil {
			m.o.Logger.Error("cannot lead a partition: its log does not take the epoch",
				"topic", p.Topic, "partition", p.Index, "epoch", w.epoch, "error", err)
			r := new(Round)
			p.fail(r, err)
			r.Finish()
			return
		}
	}
	p.settle(&w, log)
}

// settle makes what reconcile has prepared visible, unless a newer image has come: then the
// partition is queued again already.
func (p *Partition) settle(w *want, log *storage.Log) {
	r := new(Round)
	p.mu.Lock()
	if p.want.leader != w.leader || p.want.epoch != w.epoch || p.want.deleted || p.failed != nil {
		p.mu.Unlock()
		return
	}
	v := *p.view.Load()
	v.log, v.topic, v.caching = log, w.topic, w.topic.Caches() || invariant.Mutant("replica-ack-before-flush")
	v.inSync = int32(len(p.want.isr)) >= p.want.minISR
	if v.err == ErrOpening {
		v.err = nil
		if w.leader != p.m.o.NodeID {
			v.err = ErrNotLeader
		}
	}
	p.view.Store(&v)
	p.advanceLocked(r)
	p.tellLocked(r, everything) // the watermark may have moved while nobody was told
	p.mu.Unlock()
	r.Finish()
}

// open finds or makes the log of a partition. An error is worth another try if again is set: nothing of the log is there
// yet, so that nothing is lost by making it later.
func (m *Manager) open(p *Partition, w *want) (log *storage.Log, again bool, err error) {
	id := storage.LogID{Topic: p.Topic, Partition: p.Index, TopicID: p.TopicID}
	log = m.dir.Log(p.Topic, p.Index)
	if log != nil && log.ID().TopicID != p.TopicID {
		m.o.Logger.Warn("a log belongs to an earlier topic of the same name; it is set aside",
			"topic", p.Topic, "partition", p.Index, "its_topic_id", metadata.FormatID(log.ID().TopicID))
		if err := m.dir.Stray(log); err != nil {
			return nil, true, fmt.Errorf("set the log of an earlier %s-%d aside: %w", p.Topic, p.Index, err)
		}
		log = nil
	}
	unassigned := w.directory == metadata.ID{}
	if log == nil {
		// What could not be reported yet has no directory in its record, but may have had records.
		there := !unassigned || slices.Contains(m.dir.Missing(), id)
		if there && !invariant.Mutant("replica-recreates-lost-log") {
			return nil, false, m.lost(p, w)
		}
		if log, err = m.dir.Create(id, logOptions(w.topic)); err != nil {
			return nil, true, err
		}
		m.m.created.Inc()
	} else {
		if err := log.Err(); err != nil {
			return nil, false, err
		}
		log.SetOptions(logOptions(w.topic))
	}
	m.table.Lock()
	m.byLog[log] = p
	m.table.Unlock()
	p.mu.Lock()
	p.log = log
	p.hw.Store(max(p.hw.Load(), log.Flushed()))
	p.mu.Unlock()
	if unassigned {
		m.mu.Lock()
		m.unsaid[p] = struct{}{}
		m.mu.Unlock()
		poke(m.said)
	}
	return log, false, nil
}

// lost says loudly that a log which should be here is not.
func (m *Manager) lost(p *Partition, w *want) error {
	m.m.lost.Inc()
	m.o.Logger.Error("the log of a partition is lost: it was created in a directory, and it is not there; it is not created again, because an empty log would pass for the full one",
		"topic", p.Topic, "partition", p.Index, "directory", metadata.FormatID(w.directory), "this_directory", metadata.FormatID(m.o.DirectoryID))
	return fmt.Errorf("%w: the log of %s-%d is not in its directory", storage.ErrStorage, p.Topic, p.Index)
}

// reportPause is how long the reporter waits before it tries again.
const reportPause = time.Second

// reporter has the directories of new logs noted.
func (m *Manager) reporter(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.said:
		}
		if m.report(ctx) {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(reportPause):
			poke(m.said)
		}
	}
}

// report makes the logs that were created durable, together, reports them, and tells whether that is done.
func (m *Manager) report(ctx context.Context) bool {
	m.mu.Lock()
	parts := slices.SortedFunc(maps.Keys(m.unsaid), comparePartitions)
	m.mu.Unlock()
	if len(parts) == 0 {
		return true
	}
	if err := m.dir.SyncCreated(); err != nil {
		m.o.Logger.Error("cannot make new logs durable; they stay unassigned", "logs", len(parts), "error", err)
		return false
	}
	created := make([]Created, len(parts))
	for i, p := range parts {
		created[i] = Created{p.Topic, p.TopicID, p.Index}
	}
	if err := m.o.Created(ctx, created); err != nil {
		if ctx.Err() == nil {
			m.o.Logger.Warn("cannot report new logs yet", "logs", len(parts), "error", err, "again_in", reportPause)
		}
		return false
	}
	m.mu.Lock()
	for _, p := range parts {
		delete(m.unsaid, p)
	}
	m.mu.Unlock()
	return true
}

// SetStraysAside sets logs aside that img, which must be as new as this broker's registration, does not
// place here: their topics were deleted while this broker was away.
func (m *Manager) SetStraysAside(img *metadata.Image) error {
	for _, log := range m.dir.Logs() {
		id := log.ID()
		part := img.Partition(id.TopicID, id.Partition)
		if part != nil {
			if _, here := part.Directory(m.o.NodeID); here {
				continue
			}
		}
		m.o.Logger.Warn("a log has no place here in the metadata; it is set aside and deleted later", "log", id.String(), "topic_id", metadata.FormatID(id.TopicID))
		if err := m.dir.Stray(log); err != nil {
			return fmt.Errorf("set the log %s aside: %w", id, err)
		}
	}
	return nil
}
