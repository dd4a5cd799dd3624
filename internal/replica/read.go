package replica

import (
	"errors"

	"github.com/chronik-stream/chronik/internal/storage"
)

// ReadRequest says what a consumer wants of a partition.
type ReadRequest struct {
	Offset           int64
	LeaderEpoch      int32 // the leader epoch that the reader knows, -1 for none
	LastFetchedEpoch int32 // the epoch of the last record that the reader has, -1 for none
	MaxBytes         int
	MinOne           bool // give one batch even if it is larger than MaxBytes
}

// ReadResult is what there is of it. Records must be released.
type ReadResult struct {
	Records       storage.Slice
	HighWatermark int64
	LogStart      int64
	// DivergingEpoch, if it is not -1, tells that the reader's log has left this one: it is to
	// truncate to DivergingEnd, or to the end of its own records of that epoch. There are no records then.
	DivergingEpoch int32
	DivergingEnd   int64
}

// ReadLeader returns records below the high watermark, which is given with an error too if the
// log is there. A reader that is exactly at the watermark, or between it and the end of the log, gets none and no error.
func (p *Partition) ReadLeader(q ReadRequest) (ReadResult, error) {
	v := p.view.Load()
	res := ReadResult{HighWatermark: -1, LogStart: -1, DivergingEpoch: -1, DivergingEnd: -1}
	if err := v.check(q.LeaderEpoch); err != nil {
		return res, err
	}
	// The watermark first: it may rise meanwhile, and then what is read lies below it all the more.
	res.HighWatermark, res.LogStart = p.hw.Load(), v.log.Start()
	if q.LastFetchedEpoch >= 0 {
		epoch, end := v.log.EpochEnd(q.LastFetchedEpoch)
		if epoch < 0 || q.LastFetchedEpoch > v.epoch {
			return res, storage.ErrOutOfRange
		}
		if epoch < q.LastFetchedEpoch || end < q.Offset {
			res.DivergingEpoch, res.DivergingEnd = epoch, end
			return res, nil
		}
	}
	s, err := v.log.Read(q.Offset, res.HighWatermark, q.MaxBytes, q.MinOne)
	if errors.Is(err, storage.ErrClosed) {
		err = ErrNotLeader // deleted or closed since we looked: the client finds out by asking anew
	}
	res.Records = s
	return res, err
}
