package storage

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Epoch is a leader epoch and the offset of its first record.
type Epoch struct {
	Epoch int32
	Start int64
}

// The leader epochs of a log rise strictly in both columns; the last one may begin at the log's
// end, when its leader has not written yet. The checkpoint file holds those with records:
// the others answer no question differently by being absent (EpochEnd gives the same end). It
// need not be newer than the recovery point, because the records above carry their epochs.

// Epochs returns the leader epochs, oldest first.
func (l *Log) Epochs() []Epoch { return slices.Clone(*l.epochs.Load()) }

// LatestEpoch returns the newest leader epoch of the log, -1 if there is none.
func (l *Log) LatestEpoch() int32 {
	if e := *l.epochs.Load(); len(e) > 0 {
		return e[len(e)-1].Epoch
	}
	return -1
}

// EpochEnd returns the largest epoch of the log that is not above epoch, and where it ends: the
// start of the next one, or the end of the log. -1, -1 if there is none.
func (l *Log) EpochEnd(epoch int32) (int32, int64) {
	end := l.end.Load() // first, so that a later epoch that began meanwhile is not missed
	all := *l.epochs.Load()
	i := sort.Search(len(all), func(i int) bool { return all[i].Epoch > epoch })
	switch {
	case i == 0:
		return -1, -1
	case i < len(all):
		return all[i-1].Epoch, all[i].Start
	default:
		return all[i-1].Epoch, end
	}
}

// EpochAt returns the leader epoch of the record at offset, -1 if it is not known.
func (l *Log) EpochAt(offset int64) int32 {
	all := *l.epochs.Load()
	i := sort.Search(len(all), func(i int) bool { return all[i].Start > offset })
	if i == 0 {
		return -1
	}
	return all[i-1].Epoch
}

// BeginEpoch notes that epoch begins at the end of the log; nothing if it has begun already. It
// does no I/O.
func (l *Log) BeginEpoch(epoch int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	switch latest := l.LatestEpoch(); {
	case epoch < latest:
		return fmt.Errorf("%w: %d, the log has seen %d", ErrFencedEpoch, epoch, latest)
	case epoch > latest:
		l.beginEpochLocked(epoch, l.end.Load())
	}
	return nil
}

// beginEpochLocked adds an entry; one that has no records gives way.
func (l *Log) beginEpochLocked(epoch int32, start int64) {
	all := addEpoch(slices.Clone(*l.epochs.Load()), epoch, start)
	l.epochs.Store(&all)
}

// addEpoch appends an epoch to a list; entries that begin no earlier have no records and go.
func addEpoch(all []Epoch, epoch int32, start int64) []Epoch {
	for len(all) > 0 && all[len(all)-1].Start >= start {
		all = all[:len(all)-1]
	}
	return append(all, Epoch{Epoch: epoch, Start: start})
}

// cutEpochs returns the epochs of a log that ends at end: also one that begins just there goes,
// since whoever began it may not be in the log's history any more (KAFKA-10706).
func cutEpochs(all []Epoch, end int64) []Epoch {
	i := sort.Search(len(all), func(i int) bool { return all[i].Start >= end })
	return slices.Clone(all[:i])
}

// trimEpochs returns the epochs of a log that begins at start.
func trimEpochs(all []Epoch, start int64) []Epoch {
	i := sort.Search(len(all), func(i int) bool { return all[i].Start > start })
	if i == 0 {
		return all
	}
	all = slices.Clone(all[i-1:])
	all[0].Start = start
	return all
}

// encodeEpochs writes Kafka's checkpoint format: version, count, and a line each.
func encodeEpochs(all []Epoch) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "0\n%d\n", len(all))
	for _, e := range all {
		fmt.Fprintf(&b, "%d %d\n", e.Epoch, e.Start)
	}
	return []byte(b.String())
}

// DecodeEpochs reads a leader-epoch-checkpoint.
func DecodeEpochs(p []byte) ([]Epoch, error) {
	lines := strings.Split(strings.TrimSuffix(string(p), "\n"), "\n")
	if len(lines) < 2 || lines[0] != "0" {
		return nil, fmt.Errorf("%w: leader epochs: version %q, want 0", ErrCorrupt, lines[0])
	}
	if n, err := strconv.Atoi(lines[1]); err != nil || n != len(lines)-2 {
		return nil, fmt.Errorf("%w: leader epochs: %d entries, %q announced", ErrCorrupt, len(lines)-2, lines[1])
	}
	all := make([]Epoch, 0, len(lines)-2)
	for _, line := range lines[2:] {
		epoch, start, _ := strings.Cut(line, " ")
		e, err1 := strconv.ParseInt(epoch, 10, 32)
		s, err2 := strconv.ParseInt(start, 10, 64)
		if err1 != nil || err2 != nil || e < 0 || s < 0 {
			return nil, fmt.Errorf("%w: leader epochs: line %q", ErrCorrupt, line)
		}
		if n := len(all); n > 0 && (all[n-1].Epoch >= int32(e) || all[n-1].Start >= s) {
			return nil, fmt.Errorf("%w: leader epochs do not rise at line %q", ErrCorrupt, line)
		}
		all = append(all, Epoch{Epoch: int32(e), Start: s})
	}
	return all, nil
}
