package replica

import "github.com/chronik-stream/chronik/internal/storage"

// DeleteRecords asks for the records of a partition below an offset to be deleted.
type DeleteRecords struct {
	Partition *Partition
	Offset    int64 // -1 stands for the high watermark

	LowWatermark int64 // the least log start of all replicas, afterwards
	Err          error
}

// DeleteRecords raises the log starts of partitions that this broker leads, and returns when
// that is durable. No start is raised beyond the high watermark: what is above it no consumer has
// been shown, and a new leader may not have it.
func (m *Manager) DeleteRecords(list []DeleteRecords) {
	var trims []storage.Trim
	var of []*DeleteRecords
	for i := range list {
		d := &list[i]
		v := d.Partition.view.Load()
		if d.Err = v.check(-1); d.Err != nil {
			continue
		}
		hw := d.Partition.hw.Load()
		if d.Offset == -1 {
			d.Offset = hw
		}
		if d.Offset < 0 || d.Offset > hw {
			d.Err = &storage.OutOfRangeError{Offset: d.Offset, Start: v.log.Start(), End: hw}
			continue
		}
		trims, of = append(trims, storage.Trim{Log: v.log, Offset: d.Offset}), append(of, d)
	}
	if len(trims) > 0 {
		m.dir.TrimBefore(trims)
	}
	for i, t := range trims {
		of[i].LowWatermark, of[i].Err = t.Log.Start(), t.Err
	}
}
