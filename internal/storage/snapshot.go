package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Layout of a producer snapshot; docs/formats/producer-snapshot.md has the diagram. It is Kafka's
// version 1, which keeps the last batch of a producer, followed by an appendix of ours with all
// five: without them a retry after a restart could be refused, or taken for new. Kafka's readers do
// not look behind the entries.
const (
	snapshotVersion   = 1
	snapshotHeader    = 6 // version int16, crc uint32
	snapshotEntrySize = 46
	appendixMagic     = 0x43485231 // "CHR1"
	appendixHeader    = 12         // magic, last offset int64
	appendixBatchSize = 24
)

// encode writes the snapshot of a state.
func (ps *producers) encode() []byte {
	ids := ps.ids()
	be := binary.BigEndian
	p := make([]byte, 0, snapshotHeader+4+len(ids)*(snapshotEntrySize+1+window*appendixBatchSize)+appendixHeader)
	p = be.AppendUint16(p, snapshotVersion)
	p = be.AppendUint32(p, 0) // the CRC comes last
	p = be.AppendUint32(p, uint32(len(ids)))
	for _, id := range ids {
		pr := ps.byID[id]
		last := producedBatch{lastSeq: -1, lastOffset: -1}
		if pr.n > 0 {
			last = *pr.last()
		}
		p = be.AppendUint64(p, uint64(id))
		p = be.AppendUint16(p, uint16(pr.epoch))
		p = be.AppendUint32(p, uint32(last.lastSeq))
		p = be.AppendUint64(p, uint64(last.lastOffset))
		p = be.AppendUint32(p, uint32(last.delta))
		p = be.AppendUint64(p, uint64(pr.lastTimestamp))
		p = be.AppendUint32(p, uint32(pr.coordinatorEpoch))
		p = be.AppendUint64(p, uint64(pr.txnStart))
	}
	p = be.AppendUint32(p, appendixMagic)
	p = be.AppendUint64(p, uint64(ps.lastOffset))
	for _, id := range ids {
		pr := ps.byID[id]
		p = append(p, byte(pr.n))
		for _, b := range pr.batches[:pr.n] {
			p = be.AppendUint32(p, uint32(b.lastSeq))
			p = be.AppendUint64(p, uint64(b.lastOffset))
			p = be.AppendUint32(p, uint32(b.delta))
			p = be.AppendUint64(p, uint64(b.timestamp))
		}
	}
	be.PutUint32(p[2:], crc32.Checksum(p[snapshotHeader:], castagnoli))
	return p
}

// decodeProducers reads a snapshot; one that Kafka wrote has no appendix.
func decodeProducers(p []byte) (producers, error) {
	be := binary.BigEndian
	if len(p) < snapshotHeader+4 {
		return producers{}, fmt.Errorf("%w: producer snapshot of %d bytes", ErrCorrupt, len(p))
	}
	if v := be.Uint16(p); v != snapshotVersion {
		return producers{}, fmt.Errorf("%w: producer snapshot version %d, want %d", ErrCorrupt, v, snapshotVersion)
	}
	if crc, want := crc32.Checksum(p[snapshotHeader:], castagnoli), be.Uint32(p[2:]); crc != want {
		return producers{}, fmt.Errorf("%w: producer snapshot: CRC-32C is %08x, the header says %08x", ErrCorrupt, crc, want)
	}
	n := int(int32(be.Uint32(p[snapshotHeader:])))
	p = p[snapshotHeader+4:]
	if n < 0 || n > len(p)/snapshotEntrySize {
		return producers{}, fmt.Errorf("%w: producer snapshot: %d entries in %d bytes", ErrCorrupt, n, len(p))
	}
	ps := producers{byID: make(map[int64]*producer, n), lastOffset: -1}
	order := make([]*producer, n)
	for i := range n {
		e := p[i*snapshotEntrySize:]
		pr := &producer{
			epoch:            int16(be.Uint16(e[8:])),
			lastTimestamp:    int64(be.Uint64(e[26:])),
			coordinatorEpoch: int32(be.Uint32(e[34:])),
			txnStart:         int64(be.Uint64(e[38:])),
		}
		if offset := int64(be.Uint64(e[14:])); offset >= 0 {
			pr.batches[0] = producedBatch{lastSeq: int32(be.Uint32(e[10:])), lastOffset: offset, delta: int32(be.Uint32(e[22:])), timestamp: pr.lastTimestamp}
			pr.n = 1
			ps.lastOffset = max(ps.lastOffset, offset)
		}
		ps.byID[int64(be.Uint64(e))], order[i] = pr, pr
	}
	if err := ps.decodeAppendix(p[n*snapshotEntrySize:], order); err != nil {
		return producers{}, err
	}
	return ps, nil
}

// decodeAppendix reads the batches of the producers, in the order of the entries.
func (ps *producers) decodeAppendix(p []byte, order []*producer) error {
	be := binary.BigEndian
	if len(p) < appendixHeader || be.Uint32(p) != appendixMagic {
		return nil
	}
	ps.lastOffset = int64(be.Uint64(p[4:]))
	p = p[appendixHeader:]
	for _, pr := range order {
		if len(p) < 1 || int(p[0]) > window || len(p) < 1+int(p[0])*appendixBatchSize {
			return fmt.Errorf("%w: producer snapshot: the appendix is cut short", ErrCorrupt)
		}
		pr.n = int8(p[0])
		for i := range int(pr.n) {
			b := p[1+i*appendixBatchSize:]
			pr.batches[i] = producedBatch{lastSeq: int32(be.Uint32(b)), lastOffset: int64(be.Uint64(b[4:])), delta: int32(be.Uint32(b[12:])), timestamp: int64(be.Uint64(b[16:]))}
		}
		p = p[1+int(pr.n)*appendixBatchSize:]
	}
	return nil
}
