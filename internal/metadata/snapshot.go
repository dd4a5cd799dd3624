package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/chronik-stream/chronik/internal/invariant"
	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

// A snapshot is a header, frames of records, and an end (the bytes are drawn in
// docs/formats/metadata-log.md). Every part has a CRC-32C, and the end has the
// number of records and the digest of the image, so that bytes that are missing,
// damaged or forgotten by this codec are found before the image is used.

const (
	snapshotMagic    = "CHRNMETA"
	snapshotHeader   = 8 + 4 + 8 + 8 + 4
	frameHeader      = 4 + 4 + 4 + 4
	snapshotEnd      = 4 + 4 + 8 + 8 + 4
	frameRecords     = 4096
	frameBytes       = 4 << 20  // a frame is closed when it has grown to this
	maxFrameBytes    = 32 << 20 // and none is larger than this: frameBytes and the largest record
	zstdWindow       = 1 << 20
	zstdMinimumLimit = 1 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteSnapshot writes img to w. Equal images give equal bytes.
func WriteSnapshot(w io.Writer, img *Image) error {
	h := make([]byte, 0, snapshotHeader)
	h = append(h, snapshotMagic...)
	h = binary.BigEndian.AppendUint32(h, Format)
	h = binary.BigEndian.AppendUint64(h, img.index)
	h = binary.BigEndian.AppendUint64(h, uint64(img.now))
	h = binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
	if _, err := w.Write(h); err != nil {
		return fmt.Errorf("write the header of a metadata snapshot: %w", err)
	}
	f, err := newFrameWriter(w)
	if err != nil {
		return err
	}
	img.records(f.add)
	return f.end(img.digest)
}

// records gives every record that rebuilds i, kinds in a fixed order and each
// kind sorted by its key, until yield returns false.
func (i *Image) records(yield func(*Record) bool) bool {
	return i.clusterRecords(yield) && i.topicRecords(yield) && i.onceRecords(yield)
}

func (i *Image) clusterRecords(yield func(*Record) bool) bool {
	if i.clusterID != "" {
		f := &metadatav1.ClusterFormed{ClusterId: i.clusterID, Founders: founderMessages(i.founders), Generation: i.generation}
		if !yield(&Record{Kind: &metadatav1.Record_ClusterFormed{ClusterFormed: f}}) {
			return false
		}
	}
	if i.controller != 0 || i.term != 0 {
		c := &metadatav1.ControllerActive{Node: i.controller, Term: i.term}
		if !yield(&Record{Kind: &metadatav1.Record_ControllerActive{ControllerActive: c}}) {
			return false
		}
	}
	for _, b := range i.brokers {
		if !yield(BrokerRecord(b)) {
			return false
		}
	}
	return true
}

func (i *Image) topicRecords(yield func(*Record) bool) bool {
	for t := range i.Topics() {
		if !yield(TopicRecord(t.ID, t.Name)) {
			return false
		}
	}
	for t := range i.Topics() {
		for _, p := range t.Partitions {
			r := PartitionRecord(t.ID, p)
			if invariant.Mutant("metadata-snapshot-forgets-partition-epoch") {
				r.GetPartition().PartitionEpoch = 0
			}
			if !yield(r) {
				return false
			}
		}
	}
	for t := range i.Topics() {
		if r := ConfigRecord(t.Name, t.Configs); r != nil && !yield(r) {
			return false
		}
	}
	for _, r := range i.resources {
		if !yield(configRecord(r.Type, r.Name, r.Configs)) {
			return false
		}
	}
	return true
}

func (i *Image) onceRecords(yield func(*Record) bool) bool {
	if i.nextProducerID != 0 {
		if !yield(&Record{Kind: &metadatav1.Record_ProducerIds{ProducerIds: &metadatav1.ProducerIds{Next: i.nextProducerID}}}) {
			return false
		}
	}
	for _, node := range sortedKeys(i.results) {
		for _, r := range i.results[node].oldestFirst() {
			if !yield(resultRecord(r)) {
				return false
			}
		}
	}
	return true
}

// frameWriter gathers records into frames.
type frameWriter struct {
	w     io.Writer
	enc   *zstd.Encoder
	raw   []byte
	out   []byte
	count uint32
	total uint64
	err   error
}

func newFrameWriter(w io.Writer) (*frameWriter, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("compress a metadata snapshot: %w", err)
	}
	return &frameWriter{w: w, enc: enc}, nil
}

// add returns false when the writing has failed.
func (f *frameWriter) add(r *Record) bool {
	f.raw = binary.AppendUvarint(f.raw, uint64(proto.Size(r)))
	f.raw, f.err = proto.MarshalOptions{Deterministic: true, UseCachedSize: true}.MarshalAppend(f.raw, r)
	f.count++
	if f.err == nil && (f.count == frameRecords || len(f.raw) >= frameBytes) {
		f.flush()
	}
	return f.err == nil
}

func (f *frameWriter) flush() {
	if f.count == 0 {
		return
	}
	f.out = append(f.out[:0], make([]byte, frameHeader)...)
	f.out = f.enc.EncodeAll(f.raw, f.out)
	binary.BigEndian.PutUint32(f.out[0:], uint32(len(f.out)-frameHeader))
	binary.BigEndian.PutUint32(f.out[4:], uint32(len(f.raw)))
	binary.BigEndian.PutUint32(f.out[8:], f.count)
	binary.BigEndian.PutUint32(f.out[12:], frameSum(f.out[:12], f.out[frameHeader:]))
	f.total += uint64(f.count)
	f.raw, f.count = f.raw[:0], 0
	_, f.err = f.w.Write(f.out)
}

func (f *frameWriter) end(digest uint64) error {
	if f.err == nil {
		f.flush()
	}
	if f.err == nil {
		e := make([]byte, 8, snapshotEnd) // a frame of no bytes
		e = binary.BigEndian.AppendUint64(e, f.total)
		e = binary.BigEndian.AppendUint64(e, digest)
		e = binary.BigEndian.AppendUint32(e, crc32.Checksum(e, castagnoli))
		_, f.err = f.w.Write(e)
	}
	if f.err != nil {
		return fmt.Errorf("write a metadata snapshot after %d records: %w", f.total, f.err)
	}
	return nil
}

func frameSum(header, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(header, castagnoli), castagnoli, payload)
}

// SnapshotInfo is what a snapshot says about itself.
type SnapshotInfo struct {
	Index     uint64
	NowMillis int64
	Records   uint64
	Digest    uint64
}

// ReadSnapshot reads what WriteSnapshot wrote, and nothing after it. The error
// wraps ErrCorrupt or ErrUnknown, or is that of r.
func ReadSnapshot(r io.Reader) (*Image, error) {
	d := newDraft(Empty())
	d.final, d.restoring = true, true
	info, err := WalkSnapshot(r, func(rec *Record) error {
		if b := rec.GetBroker(); b != nil && b.GetEpoch() == 0 {
			return fmt.Errorf("%w: broker %d has no epoch", ErrCorrupt, b.GetId())
		}
		if c := rec.GetCommandResult(); c != nil && c.GetIndex() == 0 {
			return fmt.Errorf("%w: a kept answer has no index", ErrCorrupt)
		}
		d.apply(rec)
		return nil
	})
	if err != nil {
		return nil, err
	}
	img := d.img
	img.index, img.now = info.Index, info.NowMillis
	img.digest = img.sumDigest()
	if img.digest != info.Digest {
		return nil, fmt.Errorf("%w: the snapshot of index %d has the digest %016x, its records make %016x", ErrCorrupt, info.Index, info.Digest, img.digest)
	}
	return img, nil
}

// WalkSnapshot reads a snapshot record by record; visit must not keep the bytes
// of an earlier call's record beyond its use. What is damaged later in the file is
// found later: only a nil error says that all of it was right.
func WalkSnapshot(r io.Reader, visit func(*Record) error) (SnapshotInfo, error) {
	s := &snapshotReader{r: r, visit: visit}
	if err := s.read(); err != nil {
		return SnapshotInfo{}, fmt.Errorf("read a metadata snapshot: %w", err)
	}
	return s.info, nil
}

type snapshotReader struct {
	r     io.Reader
	visit func(*Record) error
	info  SnapshotInfo
	seen  uint64
	dec   *zstd.Decoder
	in    bytes.Buffer
	raw   []byte
}

func (s *snapshotReader) read() error {
	if err := s.header(); err != nil {
		return err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxFrameBytes))
	if err != nil {
		return err
	}
	defer dec.Close()
	s.dec = dec
	for {
		last, err := s.frame()
		if err != nil || last {
			return err
		}
	}
}

func (s *snapshotReader) full(b []byte, what string) error {
	_, err := io.ReadFull(s.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends within %s, after %d records", ErrCorrupt, what, s.seen)
	}
	return err
}

func (s *snapshotReader) header() error {
	var h [snapshotHeader]byte
	if err := s.full(h[:], "the header"); err != nil {
		return err
	}
	if string(h[:8]) != snapshotMagic {
		return fmt.Errorf("%w: it does not begin with %s", ErrCorrupt, snapshotMagic)
	}
	if sum := binary.BigEndian.Uint32(h[28:]); sum != crc32.Checksum(h[:28], castagnoli) {
		return fmt.Errorf("%w: CRC of the header", ErrCorrupt)
	}
	if f := binary.BigEndian.Uint32(h[8:]); f != Format {
		return fmt.Errorf("%w: it has format %d, this version reads %d: upgrade this node", ErrUnknown, f, Format)
	}
	s.info.Index = binary.BigEndian.Uint64(h[12:])
	s.info.NowMillis = int64(binary.BigEndian.Uint64(h[20:]))
	return nil
}

// frame reads one frame, or the end.
func (s *snapshotReader) frame() (last bool, err error) {
	var h [frameHeader]byte
	if err := s.full(h[:8], "a frame's header"); err != nil {
		return false, err
	}
	size, raw := binary.BigEndian.Uint32(h[0:]), binary.BigEndian.Uint32(h[4:])
	if size == 0 && raw == 0 {
		return true, s.end(h[:8])
	}
	if err := s.full(h[8:], "a frame's header"); err != nil {
		return false, err
	}
	if size == 0 || size > maxFrameBytes || raw == 0 || raw > maxFrameBytes {
		return false, fmt.Errorf("%w: a frame of %d bytes, %d unpacked", ErrCorrupt, size, raw)
	}
	// The buffer grows with what is there, not with what the header claims.
	s.in.Reset()
	if _, err := io.CopyN(&s.in, s.r, int64(size)); err != nil {
		if errors.Is(err, io.EOF) {
			return false, fmt.Errorf("%w: it ends within a frame, after %d records", ErrCorrupt, s.seen)
		}
		return false, err
	}
	if binary.BigEndian.Uint32(h[12:]) != frameSum(h[:12], s.in.Bytes()) {
		return false, fmt.Errorf("%w: CRC of the frame after %d records", ErrCorrupt, s.seen)
	}
	if cap(s.raw) < int(raw) {
		s.raw = make([]byte, 0, max(raw, zstdMinimumLimit))
	}
	unpacked, err := s.dec.DecodeAll(s.in.Bytes(), s.raw[:0:max(raw, zstdMinimumLimit)])
	if err != nil || len(unpacked) != int(raw) {
		return false, fmt.Errorf("%w: the frame after %d records does not unpack to %d bytes: %w", ErrCorrupt, s.seen, raw, err)
	}
	return false, s.records(unpacked, binary.BigEndian.Uint32(h[8:]))
}

func (s *snapshotReader) records(raw []byte, count uint32) error {
	for range count {
		n, w := binary.Uvarint(raw)
		if w <= 0 || n > uint64(len(raw)-w) {
			return fmt.Errorf("%w: record %d goes beyond its frame", ErrCorrupt, s.seen+1)
		}
		r := &Record{}
		if err := proto.Unmarshal(raw[w:w+int(n)], r); err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrCorrupt, s.seen+1, err)
		}
		if err := checkRecord(r); err != nil {
			return fmt.Errorf("record %d: %w", s.seen+1, err)
		}
		if err := s.visit(r); err != nil {
			return fmt.Errorf("record %d: %w", s.seen+1, err)
		}
		raw = raw[w+int(n):]
		s.seen++
	}
	if len(raw) > 0 {
		return fmt.Errorf("%w: %d bytes follow record %d in its frame", ErrCorrupt, len(raw), s.seen)
	}
	return nil
}

func (s *snapshotReader) end(zeros []byte) error {
	var e [snapshotEnd]byte
	copy(e[:], zeros)
	if err := s.full(e[8:], "the end"); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(e[24:]) != crc32.Checksum(e[:24], castagnoli) {
		return fmt.Errorf("%w: CRC of the end", ErrCorrupt)
	}
	s.info.Records, s.info.Digest = binary.BigEndian.Uint64(e[8:]), binary.BigEndian.Uint64(e[16:])
	if s.info.Records != s.seen {
		return fmt.Errorf("%w: it has %d records and says %d", ErrCorrupt, s.seen, s.info.Records)
	}
	var more [1]byte
	if n, err := io.ReadFull(s.r, more[:]); n > 0 {
		return fmt.Errorf("%w: bytes follow the end", ErrCorrupt)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
